/* The divergence search (2.8). Epochs that were granted but never used leave gaps in the histories:
 * only epochs that both logs hold are compared (KIP-279 failed by answering for an unknown one). */
#include "broker/replica/core.h"

void search_describe(const struct replica *r, uint64_t probed, struct replica_answer *answer)
{
    const struct epoch_history *h = &r->history;
    uint64_t limit = min_u64(probed, r->last.end);
    answer->history_count = 0;
    for (uint32_t i = h->count; i > 0 && answer->history_count < REPLICA_HISTORY_SENT; i--) {
        if (h->pair[i - 1].start < limit) {
            answer->history[answer->history_count++] = h->pair[i - 1];
        }
    }
}

static uint64_t own_epoch_end(const struct replica *r, uint32_t index)
{
    return index + 1 < r->history.count ? r->history.pair[index + 1].start : r->last.end;
}

/* The greatest boundary of our log at or below `end` that can be found without a scan. */
static uint64_t boundary_below(const struct replica *r, uint64_t end)
{
    struct log_point point;
    if (end <= r->last.end && replica_point_at(r, end, &point) == STATUS_OK) {
        return end;
    }
    for (uint32_t i = r->history.count; i > 0; i--) {
        uint64_t start = r->history.pair[i - 1].start;
        if (start <= end && start >= r->log_start) {
            return start;
        }
    }
    return end < r->log_start ? end : r->log_start;
}

/* The greatest epoch that both hold; false if there is none among the pairs sent. */
static bool common_epoch(const struct replica *r, const struct replica_answer *no,
                         uint32_t *out_ours, uint32_t *out_theirs)
{
    uint32_t ours = r->history.count, theirs = 0;
    while (ours > 0 && theirs < no->history_count) {
        uint32_t our_epoch = r->history.pair[ours - 1].epoch;
        uint32_t their_epoch = no->history[theirs].epoch;
        if (our_epoch == their_epoch) {
            *out_ours = ours - 1;
            *out_theirs = theirs;
            return true;
        }
        if (our_epoch > their_epoch) {
            ours--;
        } else {
            theirs++;
        }
    }
    return false;
}

uint64_t search_next(const struct replica *r, const struct replica_answer *no, bool *out_guess)
{
    uint64_t limit = min_u64(no->probed, no->end);
    uint64_t point = limit;
    uint32_t ours, theirs;
    *out_guess = false;
    if (common_epoch(r, no, &ours, &theirs)) {
        uint64_t their_end = theirs == 0 ? limit : no->history[theirs - 1].start;
        point = min_u64(their_end, own_epoch_end(r, ours));
        if (point >= no->probed) { /* equal epochs, different crc: only below them can they agree */
            point = min_u64(no->history[theirs].start, r->history.pair[ours].start);
        }
    } else if (no->history_count > 0) {
        point = no->history[no->history_count - 1].start;
        *out_guess = true;
    }
    if (point >= no->probed) { /* nonsense from the other side must not stop the search */
        point = no->probed - 1;
        *out_guess = true;
    }
    point = boundary_below(r, point);
    /* A log that was trimmed ends the search at its start, once. */
    if (point < r->log_start && no->end >= r->log_start && no->probed > r->log_start) {
        point = r->log_start;
    }
    return point;
}
