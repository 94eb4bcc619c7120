/* Settings of automatic balancing, and where leaderships belong. */
#include <stddef.h>
#include <string.h>

#include "controller/command/internal.h"

enum {
    SECOND_MS = 1000,
    DAY_MS = 24 * 60 * 60 * 1000,
    MOVES_MAX = 64,
    THRESHOLD_LEAST = 5,
    THRESHOLD_MOST = 1000,
};

static const struct {
    const char *key;
    size_t field;
    uint32_t least, most;
} numbers[] = {
    {"interval",          offsetof(Weir__BalanceSettings, interval_ms),       SECOND_MS / 2,   DAY_MS   },
    {"rest",              offsetof(Weir__BalanceSettings, rest_ms),           SECOND_MS,       DAY_MS   },
    {"leader-threshold",  offsetof(Weir__BalanceSettings, leader_threshold),  THRESHOLD_LEAST,
     THRESHOLD_MOST                                                                                     },
    {"leader-lasts",      offsetof(Weir__BalanceSettings, leader_lasts_ms),   SECOND_MS,       DAY_MS   },
    {"leader-moves",      offsetof(Weir__BalanceSettings, leader_moves),      1,               MOVES_MAX},
    {"replica-threshold", offsetof(Weir__BalanceSettings, replica_threshold), THRESHOLD_LEAST,
     THRESHOLD_MOST                                                                                     },
    {"replica-lasts",     offsetof(Weir__BalanceSettings, replica_lasts_ms),  SECOND_MS,       DAY_MS   },
    {"replica-moves",     offsetof(Weir__BalanceSettings, replica_moves),     1,               MOVES_MAX},
};

static bool change(Weir__BalanceSettings *settings, const Weir__BalanceChange *in,
                   struct db_result *result)
{
    bool on = in->value != 0; /* UINT64_MAX: the default, which is on */
    if (strcmp(in->key, "leaders") == 0) {
        settings->leaders_off = !on;
        return true;
    }
    if (strcmp(in->key, "replicas") == 0) {
        settings->replicas_off = !on;
        return true;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(in->key, numbers[i].key) != 0) {
            continue;
        }
        uint32_t *field = (uint32_t *)(void *)((char *)settings + numbers[i].field);
        if (in->value == UINT64_MAX) {
            *field = 0;
        } else if (in->value < numbers[i].least || in->value > numbers[i].most) {
            command_refuse(result, STATUS_INVALID,
                           "%s must be from %u to %u (times in ms), not %llu", in->key,
                           numbers[i].least, numbers[i].most, (unsigned long long)in->value);
            return false;
        } else {
            *field = (uint32_t)in->value;
        }
        return true;
    }
    command_refuse(result, STATUS_INVALID,
                   "there is no setting %.40s: interval, rest, leader-threshold, leader-lasts, "
                   "leader-moves, replica-threshold, replica-lasts and replica-moves are there",
                   in->key);
    return false;
}

void command_balance(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__BalanceControl *in = command->balance->control;
    Weir__BalanceSettings *settings = db_balance_get(db);
    if (settings == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    bool good = true;
    for (size_t i = 0; good && i < in->n_changes; i++) {
        good = change(settings, in->changes[i], result);
    }
    if (good && in->n_changes > 0) {
        db_balance_put(db, settings);
    }
    weir__balance_settings__free_unpacked(settings, NULL);
}

void command_prefer(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    for (size_t i = 0; i < command->prefer->n_items; i++) {
        const Weir__CmdPrefer__Item *in = command->prefer->items[i];
        struct db_shard row;
        if (in->shard > INT64_MAX || !db_shard_get(db, in->shard, &row) ||
            row.phase == DB_SHARD_DELETED || row.preferred == in->broker) {
            continue;
        }
        for (uint32_t v = 0; v < row.cfg.voter_count; v++) {
            if (row.cfg.voter[v].broker == in->broker) {
                db_broker_load_add(db, row.preferred, 0, -1);
                db_broker_load_add(db, in->broker, 0, 1);
                row.preferred = in->broker;
                db_shard_put(db, &row);
                break;
            }
        }
    }
}
