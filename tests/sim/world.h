/* A deterministic world for the real cores of replication and of elections: simulated network,
 * disks, clocks and faults around broker/replica and controller/election.
 *
 * One 64-bit seed sets everything. Two runs of a seed give the same trace hash.
 *
 *     world.c      the clock, the queue of events, what happens when
 *     faults.c     what the seed allows to go wrong, and when it does
 *     nemesis.c    whole stories of faults, aimed at one rule each
 *     network.c    links, sessions, messages
 *     disk.c       the journal of a broker: group sync, crash, damage
 *     log.c        the batches of a replica
 *     broker.c     the shell around replicas: steps, messages
 *     effects.c    … what the cores ask for
 *     put.c        … what clients ask for
 *     life.c       brokers start, crash, stand still
 *     moves.c      replicas move: learners, joint epochs, dropped replicas; leaderships move
 *     metadata.c   the committed rows, and a stand-in for the controllers' Raft
 *     controller.c active controllers, their sessions with brokers
 *     controllers.c, _log.c, _disk.c: the controllers' real Raft, in one seed of four
 *     client.c     four kinds of clients: puts, retries, answers
 *     reader.c     … and the fourth, which reads and checks
 *     holes.c      batches become unreadable in the middle of logs, are found and repaired
 *     version.c    brokers and controllers of the version before
 *     tip.c        … and asks leaders what is newest
 *     dedup.c      the real tables of producers and tokens, on the simulated logs
 *     reshard.c    shards are closed, and their children opened
 *     checks.c     the invariants I1 … I14 of docs/replication.md (I15: tests/sim/lease)
 *     ending.c     heals everything and waits for I16 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/rng.h"
#include "broker/health/clock.h"
#include "broker/replica/replica.h"
#include "broker/tip/tip.h"
#include "controller/election/election.h"
#include "controller/moves/move.h"
#include "tests/sim/client.h"
#include "tests/sim/mutant.h"
#include "tests/sim/plan.h"
#include "tests/sim/situations.h"

enum {
    BROKERS_MAX = 5,
    SHARDS_MAX = 4,
    CONTROLLERS_MAX = 3,
    CLIENTS_MAX = 4,
    ENDPOINTS =
        BROKERS_MAX + CONTROLLERS_MAX + 2, /* 1 …: brokers, then controllers, then clients */
    CLIENTS = BROKERS_MAX + CONTROLLERS_MAX + 1, /* all clients are one endpoint */
    APPEND_BATCHES_MAX = 8,
    MS = 1000, /* the world's clock counts microseconds */
    SECOND = 1000 * MS,
};

/* ------------------------------------------------------------------------------- log.c */

enum rot { ROT_NONE, ROT_PAYLOAD, ROT_HEADER };

struct batch {
    struct replica_batch core;
    uint64_t id; /* which operation, or which EPOCH_START */
    uint64_t producer, token, append_ms, stored_us;
    uint32_t seq;
    uint16_t producer_epoch;
    /* Of this copy: what of it cannot be read; whether somebody has met that, which is kept over
     * restarts; whether the core was told. What it was stays here, for the checks. */
    uint8_t rot;
    bool known, told;
};

/* Batches without a gap from offset 0. */
struct log {
    struct batch *batch;
    uint32_t count, capacity;
};

uint64_t log_end(const struct log *log);
struct log_point log_last(const struct log *log);
/* False where no batch ends. For the checks: damage or not. */
bool log_point_at(const struct log *log, uint64_t end, struct log_point *out);
/* The index of the batch with this base; count if there is none. */
uint32_t log_find_base(const struct log *log, uint64_t base);
const struct batch *log_batch_ending(const struct log *log, uint64_t end);
/* Whether the batch that ends at point.end is this very one; so all before is the same, too. */
bool log_holds(const struct log *log, struct log_point point);
void log_push(struct log *log, const struct batch *batch);
/* Puts a batch where it belongs; what an unrecorded truncation left behind it stays (a splice). */
void log_overwrite(struct log *log, const struct batch *batch);
void log_truncate(struct log *log, uint64_t end);
void log_copy(struct log *to, const struct log *from);
void log_release(struct log *log);

/* ------------------------------------------------------------------------------ disk.c */

enum op_type { OP_WRITE, OP_TRUNCATE, OP_PROMISE, OP_UNCERTAIN, OP_LOG_START, OP_INSTALL, OP_NONE };

/* One record of a journal. */
struct op {
    enum op_type type;
    uint32_t shard, epoch;
    uint64_t seq, end, commit; /* commit: as known when it was written (the commit hint) */
    bool flag, lost;           /* lost: a mutant believes that it is on the disk */
    struct batch batch;
};

/* What the medium holds of one replica: all synced records applied. */
struct medium {
    struct log log;
    uint32_t promised;
    bool uncertain;
    uint64_t uncertain_end, commit_hint, log_start;
};

struct journal {
    struct op *op; /* not synced yet, oldest first */
    uint32_t count, capacity;
    uint32_t syncing;             /* how many of them the sync under way covers */
    bool in_flight, fails, hangs; /* the next sync */
};

/* ---------------------------------------------------------------------------- broker.c */

struct pending_put {
    uint64_t end, attempt;
    uint32_t client;
    uint32_t epoch;
    bool duplicate;
};

struct replica_shell {
    struct replica *core; /* NULL while the broker is down, or has no such replica */
    bool exists;
    struct replica_log log;
    struct reading {
        struct world *world;
        struct broker *broker;
        uint32_t shard;
    } reading; /* the context of `log` */
    struct log live;
    struct medium medium;
    uint64_t repair_us; /* when holes are asked for again; UINT64_MAX: none is known */
    uint64_t tick_us;   /* of the earliest scheduled tick */
    uint64_t commit;    /* as its COMMIT effects told */
    uint64_t resigned_us;
    uint32_t told_promise;   /* I4: the highest that anybody was told */
    uint32_t reported_epoch; /* of the newest fence, and the best of what was said of it */
    uint64_t reported_end, reported_holes_end;
    struct pending_put *put;
    uint32_t puts, puts_capacity;
    struct producer_table *producers; /* NULL: nobody has asked since it began */
    bool open_known;                  /* a child's: that it is open */
    bool was_here;                    /* this broker had a replica of the shard before */
    uint32_t uncertain_epoch;         /* the shard's when it became uncertain */
};

struct broker {
    uint32_t id, disk_gen;
    uint64_t boot;
    bool up, paused, full, out; /* out: the disk has failed */
    bool old, was_old, started; /* of the version before; in its last boot; it has had a boot */
    uint64_t resume_us, full_until_us;
    uint64_t clock_ms; /* ahead of the cluster's time */
    struct cluster_clock clock;
    struct journal journal;
    struct replica_shell replica[SHARDS_MAX];
};

/* Replicas of replaced disks and batches of damaged ones: copies that were acknowledged, then lost
 * by what the fault model allows. */
struct ghost {
    struct replica_id id;
    uint32_t shard;
    struct log log;
};

/* ------------------------------------------------------------------------ controller.c */

/* The committed rows: the truth that the controllers' Raft would keep. */
struct row_entry {
    struct election_row row;
};

struct granted {
    struct election_replica leader;
    uint64_t boot;
    struct election_config cfg;
};

struct session {
    bool up, down;
    uint64_t boot, seen_us;
};

struct controller {
    struct election *core;
    bool active;      /* believes so */
    uint32_t applied; /* entries of the metadata log that it has seen */
    uint64_t tick_us, activation;
    struct session session[BROKERS_MAX + 1];
};

struct metadata {
    struct election_row row[SHARDS_MAX];
    struct row_entry *entry;
    uint32_t entries, entries_capacity;
    uint32_t leader; /* the controller whose proposals commit */
    uint64_t next_activation;
    struct move move[SHARDS_MAX]; /* state 0: none */
    uint32_t drops[SHARDS_MAX];   /* bit b: broker b has to drop its replica */
    uint64_t cut_until_us;        /* no majority: nothing is committed before */
    uint32_t heir[SHARDS_MAX];    /* whom the last leader named */
    uint32_t parents[SHARDS_MAX]; /* bit p: shard p is a parent */
    bool sealed[SHARDS_MAX], open[SHARDS_MAX];
    struct granted *granted[SHARDS_MAX]; /* by epoch: I1 */
    uint32_t granted_capacity[SHARDS_MAX];
};

/* --------------------------------------------------------------------------- network.c */

enum message_type {
    MESSAGE_APPEND,
    MESSAGE_ANSWER,
    MESSAGE_FENCE,
    MESSAGE_REPORT,
    MESSAGE_GRANT,
    MESSAGE_OPENED,
    MESSAGE_RESIGNED,
    MESSAGE_LEARN,       /* .fence: voters are the learners */
    MESSAGE_LEARNED,     /* .opened: heir is the learner's broker */
    MESSAGE_HANDOVER,    /* .fence: leader is the heir */
    MESSAGE_SEALED,      /* .opened */
    MESSAGE_REPAIR_GET,  /* .repair.offset */
    MESSAGE_REPAIR_DATA, /* .repair */
    MESSAGE_CONFIRM,     /* .tip */
    MESSAGE_CONFIRMED,   /* ditto */
    MESSAGE_PUT,
    MESSAGE_PUT_DONE,
    MESSAGE_RAFT, /* .letter */
};

struct message {
    enum message_type type;
    uint32_t from, to, shard;
    struct replica_id sender;
    uint64_t session;
    union {
        struct {
            struct replica_append append;
            struct replica_batch core[APPEND_BATCHES_MAX];
            struct batch batch[APPEND_BATCHES_MAX];
        } append;
        struct replica_answer answer;
        struct {
            uint32_t epoch;
            struct replica_config voters, previous; /* previous: of a GRANT */
            struct replica_id leader;
            uint64_t boot;
        } fence; /* GRANT too */
        struct {
            uint32_t epoch;
            struct replica_report report;
        } report;
        struct {
            uint32_t epoch, promised, heir;
            uint64_t boot;
            bool stalled;
        } opened; /* RESIGNED too */
        struct {
            uint64_t offset, log_start;
            uint32_t promised, count, gone_epoch;
            bool absent, gone;
            struct batch batch[APPEND_BATCHES_MAX];
        } repair;
        struct {
            uint64_t number;
            uint32_t epoch;
            struct replica_id voter;
            bool follows;
            bool unknown, by_status; /* CONFIRM is not known; SHARD_STATUS is asked instead */
        } tip;                       /* CONFIRM, CONFIRMED */
        struct {
            uint64_t attempt, offset, producer, token;
            uint32_t client, count, epoch, seq;
            uint16_t producer_epoch;
            bool duplicate;
            enum status status;
        } put; /* PUT_DONE too */
        struct letter *letter;
    } as;
    struct message *next_free;
};

struct link {
    bool blocked; /* one way */
    uint64_t unblock_us;
    uint64_t last_us; /* of the newest delivery, where order is kept */
};

struct pair { /* the session of broker a with broker b, at [a][b] as a sees it */
    bool up;
    uint64_t number; /* at [smaller][greater] */
};

/* ----------------------------------------------------------------------------- world.c */

enum event_type {
    EVENT_MESSAGE,
    EVENT_TICK,          /* a: broker, b: shard */
    EVENT_SYNCED,        /* a: broker, c: boot */
    EVENT_PUMP,          /* a: broker, b: shard, c: peer's broker | disk generation << 8 */
    EVENT_CONNECT,       /* a, b: brokers */
    EVENT_RESTART,       /* a: broker */
    EVENT_REGISTER,      /* a: broker, c: boot: its registration commits */
    EVENT_REGISTERED,    /* a: broker, c: boot, floors: it learns the epochs of that moment */
    EVENT_RESUME,        /* a: broker */
    EVENT_UNBLOCK,       /* a, b: endpoints */
    EVENT_COMMIT,        /* proposal */
    EVENT_APPLY,         /* a: controller */
    EVENT_LIVENESS,      /* a: controller, c: activation */
    EVENT_ELECTION_TICK, /* a: controller, c: activation */
    EVENT_ACTIVATE,      /* a: controller */
    EVENT_DEACTIVATE,    /* a: controller, c: activation */
    EVENT_CLIENT,        /* a: client */
    EVENT_FAULT,         /* b: enum fault */
    EVENT_NEMESIS,       /* a: story, b: step */
    EVENT_CRASH,         /* a: broker, b: how, c: boot */
    EVENT_REPLACE,       /* b: shard: heal its configuration */
    EVENT_MOVE,          /* b: shard: the next step of its replicas' moves */
    EVENT_RESHARD,       /* the controllers want shards closed, until their children are open */
    EVENT_SEALED,        /* a: controller, b: shard: the row that says that it ends */
    EVENT_OPEN,          /* a: broker, b: shard: it learns that the child is open */
    EVENT_REPAIR,        /* a: broker, b: shard, c: when it was due */
    EVENT_DISK,          /* a: broker: its disk is not full any more */
    EVENT_UPGRADE,       /* a: broker, c: boot */
    EVENT_HEAL,
    EVENT_ENDING,
    EVENT_RAFT, /* a: controller, b: enum raft_event_kind, c: which of its lives */
};

struct event {
    uint64_t at_us, order;
    enum event_type type;
    uint32_t a, b;
    uint64_t c;
    void *payload;
};

enum crash_how { CRASH_PLAIN, CRASH_DAMAGED, CRASH_DISK_LOST, CRASH_OLD_IMAGE };

struct counters {
    uint64_t steps, messages, commits, puts_acked, crashes, elections, damages, disks_lost,
        truncations, reconfigurations, seals, installs, moves, handovers;
};

/* A leader was asked what is newest, and asks whether it still leads. number 0: free. */
enum { TIPS_MAX = 4 };
struct tip_question {
    uint64_t number, boot, until_us, committed;
    uint32_t shard;
    struct tip_round round;
};

struct world {
    uint64_t seed, now_us, next_order, next_id;
    struct rng rng;
    struct versions version;
    struct plan plan;
    bool trace, healing;
    uint64_t trace_hash;
    struct counters count;

    struct event *event; /* a heap */
    uint32_t events, events_capacity;
    struct message *free_message;
    struct message **all_message;
    uint32_t all_messages, all_messages_capacity;

    struct broker broker[BROKERS_MAX + 1]; /* by id, from 1 */
    struct link link[ENDPOINTS][ENDPOINTS];
    struct pair pair[BROKERS_MAX + 1][BROKERS_MAX + 1];
    struct controller controller[CONTROLLERS_MAX];
    struct metadata metadata;
    struct controllers *raft; /* NULL: the stand-in */
    struct client client[CLIENTS_MAX];
    struct tip_question tip[BROKERS_MAX + 1][TIPS_MAX];
    uint64_t next_tip;
    struct op_record *operation; /* by id: I10, I11 */
    uint32_t operations_capacity;
    const struct limits *limits; /* of the minimiser; NULL: none */
    uint64_t seen[SITUATION_COUNT];
    uint64_t seal_end[SHARDS_MAX]; /* of the committed SEAL; 0: there is none */
    struct election_effects effects;

    /* What was committed, as the first leader to do so held it. */
    struct {
        struct log log;
        uint32_t *by_epoch; /* of the leader that committed the batch */
        uint32_t capacity;
    } truth[SHARDS_MAX];
    struct ghost *ghost;
    uint32_t ghosts, ghosts_capacity;
    struct written *written; /* I2: an open-addressed table */
    uint32_t writtens, writtens_capacity;
    struct granted *led[SHARDS_MAX]; /* by epoch: I1 */
    uint32_t led_capacity[SHARDS_MAX];

    struct {
        uint32_t first[SHARDS_MAX], leader[SHARDS_MAX], returns[SHARDS_MAX]; /* brokers */
        uint32_t reigns[SHARDS_MAX], grants[SHARDS_MAX]; /* how many leaderships go wrong */
    } nemesis;
    struct {
        uint64_t deadline_us, first_attempt;
        bool acked[SHARDS_MAX];
        uint32_t phase;
    } ending;

    jmp_buf on_violation;
    char violation[256];
};

/* Runs a seed to its end. False: an invariant broke, w->violation says which. */
bool world_run(struct world *w, uint64_t seed, const struct limits *limits, bool trace);
void world_release(struct world *w);

void schedule(struct world *w, uint64_t delay_us, struct event event);
/* Never two draws among the arguments of one call: compilers order them differently. */
uint64_t draw(struct world *w, uint64_t low, uint64_t high);
bool chance(struct world *w, uint32_t per_1000);
/* Whether the unusual happens here. */
bool knob(struct world *w, enum knob knob);
/* Exponential with this mean, at least 1. */
uint64_t draw_exponential(struct world *w, uint64_t mean);
void trace_line(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void violated(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void *grow(void *array, uint32_t *capacity, uint32_t needed, size_t size);
void *sim_alloc(size_t size);

#define TRACE(w, ...)                   \
    do {                                \
        if ((w)->trace) {               \
            trace_line(w, __VA_ARGS__); \
        }                               \
    } while (0)

static inline uint64_t now_ms(const struct world *w)
{
    return w->now_us / MS;
}

static inline uint32_t controller_endpoint(uint32_t index)
{
    return BROKERS_MAX + 1 + index;
}

static inline uint64_t shard_key(uint32_t shard)
{
    return (uint64_t)1 << 32 | shard;
}

/* disk.c */
void install_copy(struct log *to, const struct log *truth, uint64_t end);
void journal_append(struct world *w, struct broker *b, const struct op *op);
void journal_kick(struct world *w, struct broker *b);
void journal_on_synced(struct world *w, struct broker *b, uint64_t boot);
/* What un-synced records survive is drawn; then the media are what recovery reads. */
void journal_crash(struct world *w, struct broker *b);
/* The last synced batches of a replica become unreadable. False: the fault budget forbids it. */
bool medium_damage(struct world *w, struct broker *b, uint32_t shard);
bool disk_may_go(const struct world *w, const struct broker *b);
/* The next sync fails, or takes seconds. */
void disk_break(struct world *w, struct broker *b);
void disk_hang(struct world *w, struct broker *b);
void disk_lose(struct world *w, struct broker *b);

/* broker.c */
void broker_init(struct world *w, uint32_t id);
void broker_release(struct broker *b);
void broker_crash(struct world *w, struct broker *b, enum crash_how how, uint64_t down_us);
void broker_restart(struct world *w, struct broker *b);
void broker_on_registered(struct world *w, struct event *event);
void broker_pause(struct world *w, struct broker *b, uint64_t for_us);
void broker_on_message(struct world *w, struct broker *b, const struct message *m);
void broker_on_tick(struct world *w, struct broker *b, uint32_t shard, uint64_t due_us);
void broker_on_peer(struct world *w, struct broker *b, uint32_t peer, bool up);
void broker_pump(struct world *w, struct broker *b, uint32_t shard, uint64_t peer);
void broker_drop_replica(struct world *w, struct broker *b, uint32_t shard);
void broker_recover(struct world *w, struct broker *b, uint32_t shard);
void broker_retain(struct world *w, struct broker *b, uint32_t shard);
/* One request to close the shard. */
void broker_seal(struct world *w, uint32_t shard);
/* Feeds one input and carries out what the core asks for. */
enum status broker_step(struct world *w, struct broker *b, uint32_t shard, struct replica_input *in,
                        const struct batch *batches);
void broker_put(struct world *w, struct broker *b, const struct message *m);
void broker_put_done(struct world *w, struct broker *b, uint32_t shard, const struct pending_put *p,
                     enum status status, uint64_t offset);
void broker_tell(struct world *w, struct broker *b, uint32_t shard, enum message_type type,
                 uint32_t epoch, uint32_t promised, const struct replica_report *report,
                 bool stalled);
enum status broker_propose(struct world *w, struct broker *b, uint32_t shard, struct batch *made,
                           uint32_t count, uint32_t flags, const struct replica_slot *slot);
void broker_carry_out(struct world *w, struct broker *b, uint32_t shard,
                      const struct replica_effect *e, const struct batch *batches,
                      uint32_t asked_epoch);
/* `copy` may be NULL; else its batches below `end` are there from the start. `promised`: a broker
 * that had a replica of the shard before must refuse the leaders that the old one refused. */
void broker_create_replica(struct world *w, struct broker *b, uint32_t shard, uint32_t promised,
                           const struct log *copy, uint64_t end);
struct replica_id broker_rid(const struct broker *b);

/* network.c */
struct message *message_new(struct world *w, enum message_type type, uint32_t from, uint32_t to,
                            uint32_t shard);
void message_free(struct world *w, struct message *m);
void network_send(struct world *w, struct message *m);
void network_send_copy(struct world *w, const struct message *m);
void network_on_message(struct world *w, struct message *m);
void network_block(struct world *w, uint32_t from, uint32_t to, uint64_t for_us);
void network_unblock(struct world *w, uint32_t from, uint32_t to);
void network_reset(struct world *w, uint32_t a, uint32_t b);
void network_connect(struct world *w, uint32_t a, uint32_t b);
void network_broker_gone(struct world *w, uint32_t id);
void network_broker_here(struct world *w, uint32_t id);

/* faults.c, nemesis.c */
void plan_draw(struct world *w);
void fault_on_event(struct world *w, enum fault fault);
void faults_start(struct world *w);
struct broker *leader_of(struct world *w, uint32_t shard);
uint32_t other_broker(struct world *w, uint32_t shard, uint32_t a, uint32_t b);
void nemesis_start(struct world *w);
void nemesis_on_event(struct world *w, uint32_t story, uint32_t step, uint64_t context);
void nemesis_on_control(struct world *w, const struct message *m);
void nemesis_on_connect(struct world *w, uint32_t a, uint32_t b);
void nemesis_on_seal(struct world *w, struct broker *b);
void nemesis_on_lead(struct world *w, struct broker *b, uint32_t shard);

/* checks.c */
void check_init(struct world *w);
void check_release(struct world *w);
void check_write(struct world *w, struct broker *b, uint32_t shard, const struct batch *batch);
/* Where the committed SEAL of the shard ends; 0: there is none. */
uint64_t committed_seal(const struct world *w, uint32_t shard);
void check_sealed(struct world *w, struct broker *b, uint32_t shard, uint64_t end);
void check_lead(struct world *w, struct broker *b, uint32_t shard, uint32_t epoch);
void check_commit(struct world *w, struct broker *b, uint32_t shard, uint64_t end);
void check_answer(struct world *w, struct broker *b, uint32_t shard,
                  const struct replica_answer *answer);
void check_report(struct world *w, struct broker *b, uint32_t shard, uint32_t epoch,
                  const struct replica_report *report);
void check_view(struct world *w, struct broker *b, uint32_t shard);
/* Whoever leads with holes, although not all voters have replied, has others to ask (2.9). */
void check_choice(struct world *w, const struct election_effect *active);
void check_recovered(struct world *w, struct broker *b, uint32_t shard);
/* epoch 0: a retry's, whose original may be of any. */
void check_acked(struct world *w, uint32_t shard, uint64_t attempt, uint64_t offset,
                 uint32_t epoch);
/* The id of something that may be stored once at most. */
void check_operation(struct world *w, uint64_t id);
void check_row(struct world *w, uint32_t shard, const struct election_row *row);
void check_drop(struct world *w, struct broker *b, uint32_t shard);
void check_trim(struct world *w, struct broker *b, uint32_t shard, uint64_t end);
void check_granted(struct world *w, const struct election_row *row);
void ghost_add(struct world *w, struct replica_id id, uint32_t shard, const struct log *log);

/* ending.c */
void ending_start(struct world *w);
void ending_on_event(struct world *w);
void ending_on_acked(struct world *w, uint32_t shard, uint64_t attempt);

#include "tests/sim/holes.h" /* below, for they need all of the above */
#include "tests/sim/metadata.h"
#include "tests/sim/tip.h"
#include "tests/sim/version.h"
