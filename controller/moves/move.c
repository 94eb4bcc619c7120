#include "controller/moves/move.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/mutant.h"

enum { MUTANT_DROPPED_TOO_EARLY = 18 }; /* R15: broker/replica/mutant.h */

static uint32_t find(const struct election_config *cfg, struct election_replica id)
{
    uint32_t at = 0;
    while (at < cfg->voter_count &&
           (cfg->voter[at].broker != id.broker || cfg->voter[at].disk_gen != id.disk_gen)) {
        at++;
    }
    return at;
}

static bool has(const struct election_config *cfg, struct election_replica id)
{
    return find(cfg, id) < cfg->voter_count;
}

/* R15: nothing follows from a row whose previous configuration is still possible. */
static bool is_settled(const struct election_row *row)
{
    return row->phase == ELECTION_ACTIVE &&
           (row->prev_cfg.voter_count == 0 || MUTANT_IS(MUTANT_DROPPED_TOO_EARLY));
}

/* It replaces nobody: a forced recovery left the shard with fewer replicas than it should have. */
static bool adds(const struct move *move, const struct election_row *row)
{
    return move->from.broker == 0 && row->cfg.voter_count < REPLICAS_PER_SHARD;
}

enum move_step move_next(const struct move *move, const struct election_row *row)
{
    if (row->phase == ELECTION_DELETED) {
        return MOVE_VOID;
    }
    if (!is_settled(row)) {
        return MOVE_WAIT;
    }
    if (has(&row->cfg, move->to)) {
        return MOVE_DONE;
    }
    if (!has(&row->cfg, move->from) && !adds(move, row)) {
        return MOVE_VOID;
    }
    return move->state == MOVE_JOINING ? MOVE_AGAIN : MOVE_COPY;
}

bool move_may_join(const struct move *move, const struct election_row *row)
{
    return move->state == MOVE_COPYING && move_next(move, row) == MOVE_COPY &&
           row->prev_cfg.voter_count == 0 && row->epoch != UINT32_MAX &&
           (row->leader.broker != move->from.broker || row->leader.disk_gen != move->from.disk_gen);
}

void move_join(const struct move *move, struct election_row *row)
{
    uint32_t at = adds(move, row) ? row->cfg.voter_count : find(&row->cfg, move->from);
    CHECK(at < row->cfg.voter_count || adds(move, row));
    row->prev_cfg = row->cfg;
    row->cfg.voter_count += at == row->cfg.voter_count ? 1 : 0;
    row->cfg.version++;
    row->cfg.voter[at] = move->to;
    row->phase = ELECTION_ELECTING;
    row->epoch++;
    if (row->preferred == move->from.broker) {
        row->preferred = move->to.broker;
    }
}
