#include "controller/rpc/agreement.h"

#include <stddef.h>

void agreement_init(struct agreement *agreement, uint32_t self, uint32_t voters)
{
    *agreement = (struct agreement){.self = self, .voters = voters};
}

void agreement_voters(struct agreement *agreement, uint32_t voters)
{
    agreement->voters = voters;
}

static const struct agreement_member *member_find(const struct agreement *a, uint32_t id)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->member[i].id == id) {
            return &a->member[i];
        }
    }
    return NULL;
}

static const struct agreement_mark *mark_find(const struct agreement_member *member, uint64_t index)
{
    for (uint32_t i = 0; member != NULL && i < AGREEMENT_MARKS; i++) {
        if (index != 0 && member->mark[i].index == index) {
            return &member->mark[i];
        }
    }
    return NULL;
}

static bool mark_equal(const struct agreement_mark *a, const struct agreement_mark *b)
{
    return a->rolling == b->rolling && a->rows == b->rows;
}

void agreement_heard(struct agreement *a, uint32_t id, const struct agreement_mark *mark)
{
    const struct agreement_member *known = member_find(a, id);
    if (mark->index == 0 || (known == NULL && a->count == RAFT_NODE_SERVERS_MAX)) {
        return;
    }
    struct agreement_member *member = known == NULL ? &a->member[a->count] : NULL;
    if (known != NULL) {
        member = &a->member[known - a->member];
    } else {
        *member = (struct agreement_member){.id = id};
        a->count++;
    }
    const struct agreement_mark *old = mark_find(member, mark->index);
    if (old != NULL) {
        member->mark[old - member->mark] = *mark; /* started anew, it may have looked again */
        return;
    }
    member->mark[member->next] = *mark;
    member->next = (member->next + 1) % AGREEMENT_MARKS;
}

/* How many have at this index just what `mark` says. */
static uint32_t supporters(const struct agreement *a, const struct agreement_mark *mark)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct agreement_mark *other = mark_find(&a->member[i], mark->index);
        count += other != NULL && mark_equal(other, mark) ? 1 : 0;
    }
    return count;
}

enum agreement_verdict agreement_judge(const struct agreement *a, uint64_t *out_index)
{
    const struct agreement_member *self = member_find(a, a->self);
    enum agreement_verdict verdict = AGREEMENT_NONE;
    for (uint32_t i = 0; self != NULL && i < AGREEMENT_MARKS; i++) {
        const struct agreement_mark *ours = &self->mark[i];
        for (uint32_t j = 0; j < a->count; j++) {
            const struct agreement_mark *theirs = mark_find(&a->member[j], ours->index);
            if (theirs == NULL || mark_equal(theirs, ours)) {
                continue;
            }
            *out_index = ours->index;
            if (supporters(a, theirs) >= a->voters / 2 + 1) {
                return AGREEMENT_OURS;
            }
            verdict = AGREEMENT_OTHER;
        }
    }
    return verdict;
}

uint64_t agreement_with(const struct agreement *a, uint32_t id, bool *out_differs)
{
    const struct agreement_member *self = member_find(a, a->self), *other = member_find(a, id);
    uint64_t index = 0;
    for (uint32_t i = 0; self != NULL && other != NULL && i < AGREEMENT_MARKS; i++) {
        const struct agreement_mark *theirs = mark_find(other, self->mark[i].index);
        if (theirs != NULL && theirs->index > index) {
            index = theirs->index;
            *out_differs = !mark_equal(theirs, &self->mark[i]);
        }
    }
    return index;
}

const struct agreement_mark *agreement_newest(const struct agreement *a)
{
    const struct agreement_member *self = member_find(a, a->self);
    const struct agreement_mark *newest = NULL;
    for (uint32_t i = 0; self != NULL && i < AGREEMENT_MARKS; i++) {
        if (self->mark[i].index != 0 && (newest == NULL || self->mark[i].index > newest->index)) {
            newest = &self->mark[i];
        }
    }
    return newest;
}
