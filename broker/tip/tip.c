#include "broker/tip/tip.h"

void tip_begin(struct tip_round *round, const struct replica_view *view)
{
    *round = (struct tip_round){.epoch = view->epoch, .voters = 1, .follow = 1};
    for (uint32_t i = 0; i < view->member_count; i++) {
        if (!view->member[i].learner) { /* they promise nothing that an election asks for */
            round->voters++;
            round->voter[round->count++] = view->member[i].id;
        }
    }
}

void tip_heard(struct tip_round *round, struct replica_id from, bool follows)
{
    for (uint32_t i = 0; i < round->count; i++) {
        if (!replica_id_equal(round->voter[i], from) || round->heard[i]) {
            continue;
        }
        round->heard[i] = true;
        round->follow += follows ? 1 : 0;
        round->silent += follows ? 0 : 1;
    }
}

enum tip_verdict tip_verdict(const struct tip_round *round)
{
    uint32_t needed = round->voters / 2 + 1;
    if (round->follow >= needed) {
        return TIP_LEADS;
    }
    return round->voters - round->silent < needed ? TIP_UNKNOWN : TIP_OPEN;
}

bool tip_follows_by_status(const struct tip_status *status, uint32_t epoch)
{
    return status->follows && !status->uncertain && status->epoch == epoch &&
           status->promised == epoch;
}
