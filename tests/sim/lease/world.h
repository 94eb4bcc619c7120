/* The simulated world of weir-lease-sim: one application, its workers, a controller that changes,
 * and shards that split and merge. The lease core, the commands and the database are the real ones.
 */
#pragma once

#include <setjmp.h>

#include "base/rng.h"
#include "controller/command/command.h"
#include "controller/lease/lease.h"
#include "proto/schema/command.pb-c.h"

enum {
    STEP_MS = 10,
    TERM_MS = 3000,
    HAND_OVER_MS = 4000,
    MOVES = 2,
    FAULTS_MS = 60000,
    QUIET_MS = 90000,
    WORKERS = 6,
    SHARDS_MAX = 64, /* in all streams together */
    STREAMS = 2,
    LISTED_MAX = 2 * SHARDS_MAX,
    MAIL_MAX = 512,
    COMMANDS_MAX = 256,
    OWNERS_MAX = 100000, /* counters in one run */
};

struct held {
    uint64_t shard, counter, offset, since_ms;
    bool asked, ended;   /* SHARD_END is under way */
    uint64_t release_ms; /* 0: it does not mean to */
};

struct sim_worker {
    char name[8];
    uint8_t incarnation[16];
    bool alive, joined, draining, leaving, flying;
    uint32_t streams; /* mask */
    uint64_t paused_until_ms, sent_ms, ok_sent_ms, next_ms, healthy_ms, back_ms;
    uint64_t refuses; /* a shard that it never starts; 0: none */
    struct held held[LISTED_MAX];
    size_t held_count;
    uint64_t released[LISTED_MAX];
    size_t released_count;
};

enum mail_type { MAIL_SYNC, MAIL_SYNC_REPLY, MAIL_CHECKPOINT, MAIL_CHECKPOINT_REPLY };

struct mail {
    enum mail_type type;
    bool used;
    uint64_t due_ms, sent_ms;
    size_t worker;
    uint8_t incarnation[16];
    enum status status;
    /* SYNC */
    bool join, draining, leaving;
    uint32_t streams;
    uint64_t shards[LISTED_MAX], counters[LISTED_MAX], bytes[LISTED_MAX];
    size_t count;
    uint64_t released[LISTED_MAX];
    size_t released_count;
    /* SYNC_REPLY: shards and counters are the assigned ones, released the lost counters, bytes the
     * shards to hand over */
    size_t hand_over_count;
    uint64_t next_sync_ms;
    /* CHECKPOINT and its reply */
    uint64_t shard, counter, offset;
    bool end;
};

struct pending_command {
    uint64_t due_ms;
    struct buf packed;
    struct mail *answer; /* of whom the outcome is told; NULL */
};

struct track { /* of a shard, what the checks remember */
    uint64_t counter, worker, offset;
    bool there, finished;
    uint64_t bad_since_ms;   /* nobody who is well processes it; 0: somebody does */
    uint64_t asked_since_ms; /* its owner was asked for it; 0: not */
    uint64_t owned_ms, listed_ms;
    uint64_t late_ms; /* it was listed after a term or more: its end may be under way */
    uint64_t bytes_per_s;
    uint64_t closed_ms, gone_ms; /* 0: open; kept */
    uint32_t parent_count;
    uint64_t parent[DB_PARENTS_MAX];
};

struct world {
    uint64_t seed, now_ms, index, hash;
    struct rng rng;
    struct db *db;
    struct leases *leases;
    struct lease_effects effects;
    struct lease_effect late; /* proposed once more, long after its time */
    uint64_t late_at_ms;      /* 0: none */
    bool active, quiet;
    uint64_t active_since_ms, change_ms, reshard_ms, reset_ms;
    struct sim_worker worker[WORKERS];
    struct mail mail[MAIL_MAX];
    struct pending_command command[COMMANDS_MAX];
    size_t command_count;
    uint64_t shard[SHARDS_MAX]; /* ids */
    struct track track[SHARDS_MAX];
    size_t shard_count;
    uint64_t owner[OWNERS_MAX];
    uint64_t commands, moves, resets, takeovers, reshards;
    uint64_t last_move_ms;
    bool trace, resetting;
    bool was_in[WORKERS]; /* its row was there before the command */
    uint64_t late_moves;
    char violation[256];
    jmp_buf on_violation;
};

void violate(struct world *w, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void note(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* world.c: streams, shards, the log. */
void world_open(struct world *w);
void world_close(struct world *w);
void world_split_or_merge(struct world *w);
void world_expire_shard(struct world *w);
size_t world_shard(const struct world *w, uint64_t id);
void command_later(struct world *w, const Weir__Command *command, struct mail *answer);
void commands_run(struct world *w, bool all);
void controller_feed_all(struct world *w);
void controller_change(struct world *w);
void controller_tick(struct world *w);

/* workers.c */
void workers_open(struct world *w);
void workers_run(struct world *w);
void workers_faults(struct world *w);
void mail_run(struct world *w);
bool worker_is_well(const struct world *w, const struct sim_worker *worker);
bool worker_processes(const struct sim_worker *worker, uint64_t shard, uint64_t counter);
void command_answered(struct world *w, struct mail *mail, const struct db_result *result);

/* checks.c */
void check_before(struct world *w);
void check_checkpoint(struct world *w, const struct mail *mail);
void check_after(struct world *w);
void check_time(struct world *w);
void check_end(struct world *w);
