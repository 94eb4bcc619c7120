#include "client/cli/upgrade.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 400, RELEASES_AT_ONCE = 2 };

struct judge {
    const struct upgrade_process *process;
    size_t count;
    upgrade_say *say;
    void *to;
};

/* "weir 1.2.3", as one number that grows with the release; 0: not a release. */
static uint64_t release_of(const char *software)
{
    unsigned part[3];
    /* NOLINTNEXTLINE(cert-err34-c): four digits always fit */
    if (sscanf(software, "weir %4u.%4u.%4u", &part[0], &part[1], &part[2]) != 3) {
        return 0;
    }
    return (uint64_t)part[0] << 40 | (uint64_t)part[1] << 20 | (uint64_t)part[2] |
           (uint64_t)1 << 60;
}

static const struct weir_format *format_of(const struct upgrade_process *p, const char *name)
{
    for (size_t i = 0; i < p->format_count; i++) {
        if (strcmp(p->formats[i].name, name) == 0) {
            return &p->formats[i];
        }
    }
    return NULL;
}

/* The first of these processes with the newest, or the oldest, known release. NULL: none is. */
static const struct upgrade_process *extreme(const struct judge *j, bool newest)
{
    const struct upgrade_process *found = NULL;
    for (size_t i = 0; i < j->count; i++) {
        const struct upgrade_process *p = &j->process[i];
        uint64_t release = release_of(p->software);
        if (release == 0) {
            continue;
        }
        uint64_t best = found == NULL ? 0 : release_of(found->software);
        if (found == NULL || (newest ? release > best : release < best)) {
            found = p;
        }
    }
    return found;
}

/* More releases than two: somebody was forgotten when the last upgrade ended. */
static void judge_releases(const struct judge *j)
{
    const struct upgrade_process *first[RELEASES_AT_ONCE + 1];
    size_t releases = 0;
    for (size_t i = 0; i < j->count && releases <= RELEASES_AT_ONCE; i++) {
        bool is_new = release_of(j->process[i].software) != 0;
        for (size_t k = 0; is_new && k < releases; k++) {
            is_new = release_of(first[k]->software) != release_of(j->process[i].software);
        }
        if (is_new) {
            first[releases++] = &j->process[i];
        }
    }
    if (releases > RELEASES_AT_ONCE) {
        const struct upgrade_process *oldest = extreme(j, false);
        char text[TEXT_BYTES];
        (void)snprintf(text, sizeof(text),
                       "more than two releases run at once: %s (%s), %s (%s), %s (%s); only "
                       "neighbours go together: upgrade %s first",
                       first[0]->software, first[0]->name, first[1]->software, first[1]->name,
                       first[2]->software, first[2]->name, oldest->name);
        j->say(j->to, UPGRADE_AGAINST, text);
    }
}

/* Who writes what another one does not read: of the protocol nobody may, of what controllers send
 * one another as snapshots it only matters when one has to catch up. */
static void judge_pair(const struct judge *j, const struct upgrade_process *a,
                       const struct upgrade_process *b)
{
    char text[TEXT_BYTES];
    const struct weir_format *ours = format_of(a, "protocol"), *theirs = format_of(b, "protocol");
    if (ours != NULL && theirs != NULL && ours->oldest > theirs->version) {
        (void)snprintf(
            text, sizeof(text),
            "%s speaks protocol %u to %u and %s only %u: they do not talk to each other, "
            "because they are more than one release apart; upgrade %s by one release at "
            "a time",
            a->name, ours->oldest, ours->version, b->name, theirs->version, b->name);
        j->say(j->to, UPGRADE_AGAINST, text);
    }
    ours = format_of(a, "state");
    theirs = format_of(b, "state");
    if (ours != NULL && theirs != NULL && a->is_active && ours->version > theirs->version) {
        (void)snprintf(
            text, sizeof(text),
            "the active %s writes state %u, %s reads up to %u: when it has been away for "
            "long it can catch up only after its upgrade",
            a->name, ours->version, b->name, theirs->version);
        j->say(j->to, UPGRADE_CAREFUL, text);
    }
}

static void judge_order(const struct judge *j)
{
    char text[TEXT_BYTES];
    for (size_t i = 0; i < j->count; i++) {
        const struct upgrade_process *c = &j->process[i];
        for (size_t k = 0; c->is_controller && k < j->count; k++) {
            const struct upgrade_process *other = &j->process[k];
            uint64_t release = release_of(other->software);
            if (release == 0 || release >= release_of(c->software) ||
                (other->is_controller && !c->is_active)) {
                continue;
            }
            (void)snprintf(text, sizeof(text), "%s runs %s and %s still %s: %s", c->name,
                           c->software, other->name, other->software,
                           other->is_controller
                               ? "the active controller is upgraded last; let this one follow soon"
                               : "brokers are upgraded before controllers, who might ask them "
                                 "for what they do not know");
            j->say(j->to, UPGRADE_CAREFUL, text);
            break; /* one of them tells enough */
        }
    }
}

static unsigned rank(const struct upgrade_process *p)
{
    return p->is_active ? 2 : p->is_controller ? 1 : 0;
}

static void choose_next(const struct judge *j)
{
    const struct upgrade_process *newest = extreme(j, true), *next = NULL;
    for (size_t i = 0; newest != NULL && i < j->count; i++) {
        const struct upgrade_process *p = &j->process[i];
        uint64_t release = release_of(p->software);
        if (release != 0 && release < release_of(newest->software) &&
            (next == NULL || rank(p) < rank(next))) {
            next = p;
        }
    }
    if (next != NULL) {
        j->say(j->to, UPGRADE_NEXT, next->name);
    }
}

void upgrade_judge(const struct upgrade_process *processes, size_t count, upgrade_say *say,
                   void *to)
{
    const struct judge j = {.process = processes, .count = count, .say = say, .to = to};
    judge_releases(&j);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            judge_pair(&j, &processes[i], &processes[k]);
        }
    }
    judge_order(&j);
    choose_next(&j);
}
