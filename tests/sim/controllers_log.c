/* What must hold of the controllers' real log: the first controller to apply an entry says what it
 * is, the others have to agree, and what was acknowledged stays. */
#include <string.h>

#include "tests/sim/controllers.h"

void raft_log_read(struct raft_controller *c)
{
    struct world *w = c->world;
    struct controller *shell = &w->controller[c->index];
    uint32_t end = c->applied == 0 ? w->plan.shards : w->raft->truth[c->applied].entries;
    for (uint32_t i = 0; i < end; i++) {
        const struct election_row *row = &w->metadata.entry[i].row;
        c->row[row->shard & UINT32_MAX] = *row;
    }
    shell->applied = end;
}

static void extend(struct world *w, const struct news *n)
{
    struct controllers *r = w->raft;
    r->truth = grow(r->truth, &r->truth_capacity, (uint32_t)n->index + 1, sizeof *r->truth);
    for (uint64_t i = r->truth_end + 1; i < n->index; i++) { /* Raft's own entries */
        r->truth[i].id = r->truth[i].term = 0;
        r->truth[i].entries = w->metadata.entries;
    }
    struct fate *fate = &r->fate[n->command.id];
    if (fate->applied) {
        violated(w, "RAFT: command %llu is in the log twice", (unsigned long long)n->command.id);
    }
    fate->applied = true;
    SEEN_IF(w, PROPOSAL_BY_SUCCESSOR, fate->uncertain);
    metadata_apply(w, &n->command);
    r->truth_end = n->index;
    r->truth[n->index].id = n->command.id;
    r->truth[n->index].term = n->term;
    r->truth[n->index].entries = w->metadata.entries;
}

void raft_log_apply(struct raft_controller *c, const struct news *n)
{
    struct world *w = c->world;
    struct controllers *r = w->raft;
    struct controller *shell = &w->controller[c->index];
    if (n->index <= c->applied || n->index > raft_disk_last(c)) {
        violated(w, "RAFT: controller %u applies %llu, has come to %llu, and its disk to %llu",
                 c->index, (unsigned long long)n->index, (unsigned long long)c->applied,
                 (unsigned long long)raft_disk_last(c));
    }
    if (n->index > r->truth_end) {
        extend(w, n);
    } else if (r->truth[n->index].id != n->command.id || r->truth[n->index].term != n->term) {
        violated(w, "RAFT: controller %u applies another command at %llu than was applied there",
                 c->index, (unsigned long long)n->index);
    }
    c->applied = n->index;
    while (shell->applied < r->truth[n->index].entries) {
        struct election_row row = w->metadata.entry[shell->applied++].row;
        c->row[row.shard & UINT32_MAX] = row;
        if (shell->active) {
            controller_on_row(w, c->index, &row);
        }
    }
}

const struct election_row *controllers_row(const struct world *w, uint32_t index, uint32_t shard)
{
    return &w->raft->controller[index].row[shard];
}

/* ------------------------------------------------------------------------ leadership */

static void note_term(struct world *w, uint64_t term)
{
    struct controllers *r = w->raft;
    uint32_t old = r->terms;
    r->term = grow(r->term, &r->terms, (uint32_t)term + 1, sizeof *r->term);
    memset(r->term + old, 0, (r->terms - old) * sizeof *r->term);
}

bool controllers_absent(const struct world *w)
{
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        if (w->controller[i].active) {
            return false;
        }
    }
    return true;
}

static void note_activation(struct world *w, struct raft_controller *c)
{
    bool nobody = controllers_absent(w);
    for (uint32_t s = 0; s < w->plan.shards && nobody && c->applied > 0; s++) {
        const struct broker *b = &w->broker[c->row[s].leader.broker];
        bool dead =
            c->row[s].phase == ELECTION_ACTIVE && (!b->up || b->boot != c->row[s].leader_boot);
        SEEN_IF(w, ELECTION_AWAITED_ACTIVE, c->row[s].phase == ELECTION_ELECTING || dead);
    }
    SEEN_IF(w, CONTROLLERS_ALL_BACK, w->raft->all_down && c->applied > 0);
    w->raft->all_down = false;
}

void raft_log_active(struct raft_controller *c, uint64_t term)
{
    struct world *w = c->world;
    struct controllers *r = w->raft;
    note_term(w, term);
    if (r->term[term].active != 0 && r->term[term].active != c->index + 1) {
        violated(w, "RAFT: controllers %u and %u are active in term %llu", r->term[term].active - 1,
                 c->index, (unsigned long long)term);
    }
    r->term[term].active = c->index + 1;
    for (uint64_t t = 0; t < term; t++) {
        if (r->term[t].acked > c->applied) {
            violated(w,
                     "RAFT: controller %u is active in term %llu without %llu, acknowledged in "
                     "term %llu",
                     c->index, (unsigned long long)term, (unsigned long long)r->term[t].acked,
                     (unsigned long long)t);
        }
    }
    if (w->controller[c->index].active) {
        return;
    }
    note_activation(w, c);
    TRACE(w, "controller %u leads term %llu from %llu on", c->index, (unsigned long long)term,
          (unsigned long long)c->applied);
    w->metadata.leader = c->index;
    controller_activate(w, c->index);
}

void raft_log_done(struct raft_controller *c, const struct news *n)
{
    struct world *w = c->world;
    struct controllers *r = w->raft;
    struct fate *fate = &r->fate[n->id];
    if (n->status != STATUS_OK) {
        fate->uncertain = true;
        return;
    }
    fate->acked = true;
    if (n->index > r->truth_end || r->truth[n->index].id != n->id) {
        violated(w, "RAFT: controller %u acknowledges what is not in the log at %llu", c->index,
                 (unsigned long long)n->index);
    }
    note_term(w, n->term);
    r->term[n->term].acked = n->index;
}

/* ---------------------------------------------------------------------- in the end */

const char *controllers_unequal(const struct world *w)
{
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        const struct raft_controller *c = &w->raft->controller[i];
        if (!c->up || c->applied != w->raft->truth_end) {
            return "a controller has not applied all that another one has";
        }
        for (uint32_t s = 0; s < w->plan.shards; s++) {
            const struct election_row *row = &w->metadata.row[s];
            if (c->row[s].epoch != row->epoch || c->row[s].phase != row->phase ||
                c->row[s].leader_boot != row->leader_boot ||
                c->row[s].cfg.version != row->cfg.version) {
                return "the rows of two controllers differ";
            }
        }
    }
    return controllers_absent(w) ? "no controller is active" : NULL;
}

/* What was acknowledged is in the log for good; of the rest, some is not. */
void controllers_end(struct world *w)
{
    for (uint64_t id = 1; id <= w->raft->next_command; id++) {
        const struct fate *fate = &w->raft->fate[id];
        SEEN_IF(w, PROPOSAL_LOST_WITH_LEADER, fate->uncertain && !fate->applied);
        if (fate->acked && !fate->applied) {
            violated(w, "RAFT: command %llu was acknowledged, and is lost", (unsigned long long)id);
        }
    }
}
