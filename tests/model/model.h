/* The model check: every state that a shard's replicas can reach within small bounds, searched
 * breadth first, with the real core of replication (broker/replica) and the real choice of the
 * controllers (controller/election) making every step.
 *
 *     state.c     a world: clones, its fingerprint (equal under renaming of the replicas)
 *     shell.c     what a broker does around its core: disk, messages, recovery
 *     controllers.c  the shard's row, and what the election core says to it
 *     actions.c   what can happen next
 *     main.c      the search, and the path to what it finds
 *
 * What is modelled. Every message ever sent may arrive at any later time, any number of times, in
 * any order, or never. A crash keeps any prefix of what was not synced, in journal order. Time
 * stands still: whatever a timer would do may happen at any time. One batch is one record.
 *
 * What is left out. Windows in bytes, BUSY and stalls (they only delay); a refusal of a fence with
 * a higher promise (controllers that come from a backup); two shards. docs/testing.md has the
 * bounds that are searched. Pure: no clock but for the progress line; one thread. */
#pragma once

#include "broker/replica/core.h"
#include "controller/election/election.h"

enum {
    MODEL_REPLICAS = 4,
    MODEL_LOG = 8,       /* records in a log, EPOCH_STARTs and SEAL among them */
    MODEL_EPOCHS = 6,    /* epochs 1 … 5 */
    MODEL_OPS = 16,      /* written and not synced */
    MODEL_MESSAGES = 96, /* in flight for ever */
    MODEL_PENDING = 24,
};

struct bounds {
    uint32_t replicas, epochs, records, crashes, corruptions, disks, reconfigurations;
    bool learner, seal, trim, tell, timeouts, settled, prompt;
};

struct entry {
    uint32_t crc;
    uint8_t epoch, flags;
};

/* entry[x] is the batch [x, x + 1). What lies below start is gone, but for the last entry's crc. */
struct log {
    uint32_t start, end;
    struct entry entry[MODEL_LOG];
};

enum op_type { OP_PROMISE, OP_TRUNCATE, OP_WRITE, OP_UNCERTAIN, OP_INSTALL, OP_LOG_START };

struct op {
    uint8_t type, epoch, flag;
    uint32_t end, crc;
    uint64_t seq; /* 0: part of the next one */
    struct entry entry;
};

struct medium {
    uint32_t promised;
    struct log log;
    bool uncertain;
    uint32_t uncertain_end, commit_hint;
};

struct site { /* a broker, its disk, and its replica of the shard */
    bool exists;
    uint32_t disk_gen, boot;
    struct medium disk;
    struct log live;
    uint32_t op_count;
    struct op op[MODEL_OPS];
    struct replica_log log; /* for the core: points to `live` */
    struct replica core;
    struct epoch_pair history[MODEL_LOG];
    struct pending_write pending[MODEL_PENDING];
};

enum message_kind { MESSAGE_APPEND, MESSAGE_ANSWER };

struct message {
    uint8_t kind, from, to, count; /* sites; batches or epoch pairs */
    bool ok, uncertain, install;
    uint32_t from_gen, to_gen, epoch, cfg_ver, boot, to_boot;
    uint32_t commit, log_start, leader_end, end, probed;
    struct log_point prev;
    struct entry entry[MODEL_LOG];
    struct epoch_pair pair[MODEL_EPOCHS];
};

struct grant {
    bool made;
    struct replica_id leader;
    uint32_t boot;
    struct replica_config config;
};

struct committed {
    uint32_t crc;
    uint8_t epoch, flags, by; /* committed by the leader of that epoch */
};

struct world {
    uint32_t crashes, corruptions, disks, reconfigurations, records;
    struct election_row row;
    bool opened, trimmed;
    struct election_report report[MODEL_REPLICAS]; /* the newest of each site; epoch 0: none */
    struct grant grant[MODEL_EPOCHS];
    uint32_t committed_count, seal_end;
    struct committed committed[MODEL_LOG];
    struct site site[MODEL_REPLICAS];
    uint32_t message_count;
    struct message message[MODEL_MESSAGES];
};

struct fingerprint {
    uint64_t low, high;
};

extern struct bounds bounds;
/* Set by model_violated(); NULL: none. */
extern const char *violation;
void model_violated(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* state.c */
void world_init(
    struct world *w); /* nothing has happened; with bounds.settled, see actions_settle() */
void world_copy(struct world *to, const struct world *from);
struct fingerprint world_fingerprint(const struct world *w);

/* shell.c */
void site_recover(struct world *w, uint32_t s);
/* Feeds the core and carries out what it wants. False: it changed nothing. `source` has the batches
 * of an append. */
bool site_step(struct world *w, uint32_t s, const struct replica_input *in);
bool site_deliver(struct world *w, const struct message *m);
/* A message that can never matter again. */
bool message_is_dead(const struct world *w, const struct message *m);
void site_sync(struct world *w, uint32_t s);
void site_sync_all(struct world *w);
/* Restarts with the first `kept` operations on the disk, less the last `damaged` records. */
void site_crash(struct world *w, uint32_t s, uint32_t kept, uint32_t damaged);
void site_replace_disk(struct world *w, uint32_t s);
bool site_propose(struct world *w, uint32_t s, uint32_t flags);
struct replica_id site_id(const struct world *w, uint32_t s);

/* controllers.c */
void controllers_elect(struct world *w);
bool controllers_reconfigure(struct world *w, uint32_t leaves, uint32_t comes);
bool controllers_choose(struct world *w, uint32_t preferred);
bool controllers_settle(struct world *w);
void controllers_hear(struct world *w, uint32_t s, uint32_t epoch,
                      const struct replica_report *report);
struct replica_config controllers_fence_list(const struct world *w);

/* actions.c: an action is what happens, and to what. */
enum action_type {
    ACTION_ELECT,
    ACTION_RECONFIGURE, /* leaves << 4 | comes */
    ACTION_FENCE,       /* site */
    ACTION_CHOOSE,      /* preferred site */
    ACTION_GRANT,       /* epoch */
    ACTION_SETTLE,
    ACTION_LEARN,   /* site */
    ACTION_PROPOSE, /* site */
    ACTION_SEAL,    /* site */
    ACTION_RETAIN,  /* site */
    ACTION_SYNC,    /* site */
    ACTION_TIMEOUT, /* site */
    ACTION_TICK,    /* site */
    ACTION_DELIVER, /* message */
    ACTION_CRASH,   /* site << 5 | kept */
    ACTION_CORRUPT, /* site << 5 | records lost */
    ACTION_FLOOR,   /* site */
    ACTION_DISK,    /* site */
    ACTION_TYPES,
};

/* False: it cannot happen here, or changes nothing. */
bool action_apply(struct world *w, uint16_t action);
void action_describe(const struct world *before, uint16_t action, char *out, size_t size);
/* Epoch 1 is open, and all voters hold and know its EPOCH_START: where the log begins to matter. */
void actions_settle(struct world *w);
/* Calls `each` with whatever may be possible. */
void action_each(const struct world *w, void (*each)(void *context, uint16_t action),
                 void *context);
static inline uint16_t action_make(enum action_type type, uint32_t argument)
{
    return (uint16_t)((uint32_t)type << 8 | argument);
}
