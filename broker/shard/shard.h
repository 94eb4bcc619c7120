/* The shards of a broker: the shell around the replication core and the log.
 *
 * This is the only caller of replica_step() in a broker. Inputs come from the links to other
 * brokers and controllers, from puts, and from the disk; effects are carried out in order: what
 * must be durable goes into the journal and comes back as SYNCED, what is for others goes to the
 * hooks. Nothing here knows sockets.
 *
 * One home thread. Callbacks of puts and readers come from shards_turn(), never from inside the
 * call that caused them; hooks are called from inside. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "broker/log/log.h"
#include "broker/replica/replica.h"
#include "broker/shard/producer_table.h"
#include "proto/wire/batch.h"

enum {
    SHARD_PUTS_MAX = 8192,    /* waiting for their commit; the next one gets BUSY */
    SHARD_PACE_MS_MAX = 50,   /* what producers are asked to wait when so many nearly do */
    SHARD_READERS_MAX = 1024, /* waiting for a record; the next one gets BUSY */
    SHARD_PEERS_MAX = REPLICA_MEMBERS_MAX - 1,
    SHARD_RESIGN_MS = 1000, /* a resignation is repeated after this while its reason lasts */
};

struct shards;
struct shard;

/* Another voter of a shard, as the links see it. `node` and `link_data` are the links' own. */
struct shard_peer {
    struct list node;
    struct shard *shard;
    struct replica_id id; /* broker 0: unused */
    bool queued;          /* on a list of the links' */
    uint64_t spared_end;  /* up to here a payload was left out once: never again (2.6) */
    void *link_data;
};

struct shards_hooks {
    void *context;
    uint64_t (*now_ms)(void *context);  /* monotonic */
    uint64_t (*wall_ms)(void *context); /* Unix, near cluster time: what appends are stamped with */
    /* Random bytes for secrets; false when there are none. */
    bool (*random)(void *context, uint8_t *to, size_t size);
    /* There is something to send: replica_next_append() until it says NOT_FOUND. */
    void (*wake)(void *context, struct shard_peer *peer);
    /* The struct is about to go, or its session has nothing to say any more. */
    void (*forget)(void *context, struct shard_peer *peer);
    void (*answer)(void *context, const struct shard *shard, struct replica_id to,
                   const struct replica_answer *answer);
    void (*report)(void *context, const struct shard *shard, uint32_t epoch,
                   const struct replica_report *report);
    void (*leading)(void *context, const struct shard *shard, uint32_t epoch);
    /* Leader: its SEAL, which ends at `end`, is committed; `time_ms` is not before any record's. */
    void (*sealed)(void *context, const struct shard *shard, uint64_t end, uint64_t time_ms);
    /* We cannot lead this epoch on. `promised`: 0 while we still do, but commit nothing; else we
     * have stepped down, a majority has promised at least this. Repeated. `heir`: we hand over to
     * that broker, which has all of the log; 0: nobody. */
    void (*resign)(void *context, const struct shard *shard, uint32_t epoch, uint32_t promised,
                   uint32_t heir);
    /* Leads, and writes nothing before its log's holes from `offset` on are filled: all other
     * voters are to be asked, and what they lack goes to shard_absent(). Repeated. */
    void (*repair)(void *context, const struct shard *shard, uint64_t offset);
    /* Leader: this learner lags so little that it may become a voter. */
    void (*learned)(void *context, const struct shard *shard, struct replica_id learner);
    void (*dropped)(void *context, uint64_t shard);
    /* Encrypts a batch that is about to be appended, if its stream is encrypted or `must` says so:
     * then *h and *payload become what is stored (*payload is borrowed until the next call), else
     * they stay. *h has all of the leader's fields, and the salt. KEY_ statuses, BUSY: it may not
     * be stored now, in clear least of all. NULL: nothing is ever encrypted. */
    enum status (*seal)(void *context, const struct shard *shard, bool must, struct batch_header *h,
                        struct bytes *payload, struct error *error);
    /* Whether there is a session to that broker: a new leader asks. */
    bool (*is_connected)(void *context, uint32_t broker);
    /* Call shards_turn() at the end of this turn of the loop. */
    void (*schedule)(void *context);
};

/* Data and keys of records; since the broker started. */
struct shard_counters {
    uint64_t in_bytes, in_records;   /* committed while it led */
    uint64_t out_bytes, out_records; /* read here */
    uint64_t write_exceeded;         /* records refused by a limit */
    uint64_t read_exceeded;          /* calls */
    uint64_t iterator_age_ms;        /* of the last record of the last read; 0 at the tip */
};

/* Read by everyone, written by this folder only. */
struct shard {
    struct shards *set;
    uint64_t id;
    struct shard_log *log;
    struct replica *replica;
    struct replica_log points;
    struct replica_id self;

    /* What the core said last. */
    enum replica_role role;
    bool open; /* leads, and EPOCH_START is committed (R7) */
    uint32_t epoch;
    uint64_t end, commit, log_start;
    uint32_t left_epoch, left_promised; /* stepped down from, with the controllers not knowing */
    uint32_t given_epoch;               /* last handed over to whoever is best; 0: none */
    bool is_alone;                      /* leads, and no other voter answers: see shard_alone() */
    bool is_stalled;                    /* ditto, or commits nothing */
    uint64_t alone_ms;                  /* the caller's: since when; 0: one does */
    uint64_t confirmed_ms;              /* it led at this time, for certain; 0: not known */
    uint64_t mark_end, mark_ms;         /* once this is committed, it led at that time; 0: none */
    uint64_t resign_ms;                 /* when it is said again, UINT64_MAX: nothing to say */
    uint64_t seal_end;                  /* where the log's SEAL ends, 0: it has none */
    bool sealed; /* ... and it is committed: no record follows, ever (2.12) */

    bool waits_for_parents;  /* a child of a split or merge that is not open yet: takes no puts */
    bool was_opened;         /* shard_open_child() came: a late grant does not close it again */
    uint32_t generation;     /* recovery generation, from the grant */
    uint32_t log_generation; /* of the newest batch, with last_ms */
    bool is_last_ms_known;
    uint64_t last_ms; /* append time of the newest batch: the next one's is never below */

    /* Of encryption, in the epoch that we lead (broker/crypt/crypt.h). */
    struct shard_salt {
        uint32_t epoch; /* 0: none yet */
        uint64_t batches, bytes;
        uint8_t salt[BATCH_SALT_BYTES];
    } salt;

    /* Right up to `producers_upto`; the rest of the log is still being read until it is built. */
    struct producer_table *producers;
    bool producers_built, is_rebuilding;
    uint64_t producers_upto;
    uint64_t truncations; /* so far: what a read brought may be gone */
    struct shard_grant *waiting_grant;

    struct shard_counters counted; /* shard_observe() has told so much of them */
    uint64_t commit_before;        /* commit when it was observed last */

    struct list puts, readers; /* puts by rising end */
    uint32_t put_count, reader_count;

    struct list node; /* on shards->synced while SYNCED is due */
    struct list job;  /* on shards->jobs */
    uint64_t synced_seq;
    uint64_t deadline_ms;
    uint32_t heap_index; /* 0: no deadline */
    bool dropped, quarantined;
    struct shard_peer peers[SHARD_PEERS_MAX];

    struct shard_counters counters; /* broker/api's */

    /* For retention (docs/replication.md 2.12). The caller's. */
    uint32_t retention_hours;
    bool retention_lowered;
    uint64_t trimmed_minute_ms;
    uint32_t trimmed_segments;

    /* Since the controllers were told last, while it led. The caller's. */
    struct {
        uint64_t in_bytes, out_bytes, records;
    } traffic;

    uint64_t unlisted_ms; /* since when the metadata do not list it; 0: they do. The caller's. */
};

/* Takes all shards that the store has. `store` and `hooks` are borrowed; broker is our id. */
NODISCARD enum status shards_open(struct store *store, const struct shards_hooks *hooks,
                                  uint32_t broker, struct shards **out);
/* Waiting puts and readers are told CLOSING, all pointers to shards are gone. Then the owner closes
 * the store, which ends the reads that are under way, and frees the set. NULL is fine. */
void shards_close(struct shards *set);
void shards_free(struct shards *set);

struct store *shards_store(const struct shards *set);
struct shard *shards_find(const struct shards *set, uint64_t id);         /* NULL: none */
struct shard *shards_next(const struct shards *set, struct shard *after); /* NULL: first */
uint32_t shards_count(const struct shards *set, uint32_t *out_leading);

/* A new, empty replica with this disk generation (R14: the controllers said that it is fresh),
 * which has promised this epoch: there may have been a replica of the shard here before. EXISTS,
 * NO_MEMORY, BUSY, IO. */
NODISCARD enum status shards_create(struct shards *set, uint64_t id, uint32_t disk_gen,
                                    uint32_t promised, struct shard **out);
/* The controllers deleted it. hooks->dropped follows once that is durable; waiting puts and readers
 * are told NOT_FOUND. The pointer is gone afterwards. IO, BUSY: it is still there. */
NODISCARD enum status shards_drop(struct shards *set, struct shard *shard);

/* Metadata do not list it (docs/replication.md R16): as shards_drop(), but its files are moved to
 * quarantine, and nobody is told that it was deleted. */
NODISCARD enum status shards_quarantine(struct shards *set, struct shard *shard);

/* Dropped, and not yet durably. */
bool shards_is_dropping(const struct shards *set, uint64_t id);

/* The disk's part: call store_poll() here whenever store_event_fd() is readable. IO: the disk is
 * out, every shard refuses to write until the process is started again. */
void shards_poll(struct shards *set);
bool shards_are_out(const struct shards *set);
/* Says of every shard that is led here that it is not, any more: another broker is to lead. Done by
 * itself when the disk goes out; may have got lost, so the owner repeats it while that lasts. */
void shards_resign(struct shards *set);

/* Ends a turn: writes what was appended, answers puts, wakes readers. */
void shards_turn(struct shards *set);

/* When to call shards_tick(), UINT64_MAX for never. */
uint64_t shards_deadline(const struct shards *set);
void shards_tick(struct shards *set);

/* A broker's session began or ended: all shards that it has a voter of are told. */
void shards_peer_up(struct shards *set, uint32_t broker, uint64_t boot);
void shards_peer_down(struct shards *set, uint32_t broker);

/* ---- one shard ---- */

/* From the controllers. Errors as replica_step(), and IO when the disk is out. */
NODISCARD enum status shard_fence(struct shard *shard, uint32_t epoch,
                                  const struct replica_config *config);

/* The shard's epoch in the controllers' rows, at or after this boot's registration: a damaged
 * replica takes it for its promise and says nothing before (2.9). STALE: it needs none. */
NODISCARD enum status shard_floor(struct shard *shard, uint32_t epoch);

struct shard_grant {
    uint32_t epoch, generation;
    bool waits_for_parents;
    struct replica_id replica;
    uint64_t boot;
    struct replica_config config;
    struct replica_config previous; /* while it is still possible; no voters: it is not */
};
NODISCARD enum status shard_grant(struct shard *shard, const struct shard_grant *grant);

/* The controllers want the shard closed: appends SEAL, or tells again that it is committed
 * (hooks->sealed). NOT_LEADER; else as replica_step(): they ask again. */
NODISCARD enum status shard_seal(struct shard *shard);

/* Leader of `epoch`: these and no others are its learners (hooks->learned). Errors as
 * replica_step(): the controllers ask again. */
NODISCARD enum status shard_learn(struct shard *shard, uint32_t epoch,
                                  const struct replica_config *learners);

/* Leader: lets `heir` lead; broker 0: whichever voter has most of the log. Puts get BUSY until that
 * is done (hooks->resign), a second at most. BUSY: nobody is near enough; NOT_FOUND, NOT_LEADER
 * (with broker 0 also if it was handed over before and came back: the others leave, too). */
NODISCARD enum status shard_hand_over(struct shard *shard, struct replica_id heir);

/* Leader: for REPLICA_STALL_MS no other voter has answered anything, or one does again. While that
 * lasts puts get NO_QUORUM at once, those that wait UNCERTAIN, and the controllers are told
 * (hooks->resign): they have another one lead, if they see a majority. */
void shard_alone(struct shard *shard, bool alone);

/* What is known of damage in its log has changed (shard_log_holes()), or something can be read
 * again that could not be. */
void shard_damaged(struct shard *shard);

/* A voter that has durably promised `promised` does not have the batch at `offset`. `gone`: it had
 * something there, of `gone_epoch`, and has trimmed it, up to log_start, or it is damaged, too. */
struct shard_absence {
    struct replica_id from;
    uint64_t offset, log_start;
    uint32_t promised, gone_epoch;
    bool gone;
};
void shard_absent(struct shard *shard, const struct shard_absence *absence);

/* Leader: others confirmed that it led at `at_ms` (docs/replication.md 2.10). */
void shard_confirmed(struct shard *shard, uint64_t at_ms);

/* All parents are sealed (docs/replication.md I12): puts may come. */
void shard_open_child(struct shard *shard);

/* From a leader. `head` has everything but the batches, which are `data`: they are checked (both
 * CRCs, their shard, the chain) before the core sees them. With head->install `data` is the
 * leader's producer table at head->prev, or nothing. CORRUPT  the data is damaged or no chain:
 * nothing changed BUSY     the journal is full for the moment: try again after shards_poll() Else
 * as replica_step(). Below the disk reserve it goes on without the batches. */
NODISCARD enum status shard_receive(struct shard *shard, const struct replica_append *head,
                                    struct bytes data);
/* From a follower. */
NODISCARD enum status shard_answered(struct shard *shard, struct replica_id from,
                                     const struct replica_answer *answer);

/* Leader: drop what lies below `offset`. */
NODISCARD enum status shard_retain(struct shard *shard, uint64_t offset);

/* ---- watching ---- */

/* About once a second: what was counted since the last call (of iterator_age_ms the newest), and
 * which commit all replicas should have reached by the next one. */
void shard_observe(struct shard *shard, struct shard_counters *out);

/* What a leader says of its replicas. Whole: it is open, and all voters are connected and have what
 * was committed when the shard was observed last. */
struct shard_lack {
    bool whole;
    uint32_t missing; /* the broker of a voter that is away or behind; 0: none is */
    uint32_t count;   /* of the voters */
    uint64_t behind;  /* records that the last of the voters lacks of what is committed now */
    struct replica_id voters[REPLICA_MEMBERS_MAX]; /* all of them but ourselves */
    uint64_t lag[REPLICA_MEMBERS_MAX];             /* records that each lacks of the log's end */
};
void shard_lack(const struct shard *shard, struct shard_lack *out);

/* ---- puts ---- */

/* Embedded in what waits for it. */
struct shard_put {
    struct list node;
    struct shard *shard;
    uint64_t base_offset, end, append_ms;
    uint32_t generation, count; /* records */
    struct bytes records;       /* decompressed, in clear: until the next put anywhere */
    bool encrypt;               /* in: the stream is encrypted, whatever the metadata here say */
    bool checked;               /* in: the caller has checked payload and records of this batch */
    uint32_t keeper;            /* in: a broker that has the batch in struct kept; 0: none */
    uint32_t pace_ms;           /* once done: the producer should send nothing for so long */
    bool duplicate; /* it was in the log already; base_offset is the original's, append_ms 0 */
    enum status status;
    /* OK: committed. UNCERTAIN: leadership was lost, it may or may not survive. NOT_FOUND: the
     * shard was deleted. CLOSING. */
    void (*done)(struct shard_put *put);
};

/* Appends a producer's batch. On OK `done` follows; on anything else it does not, and *error has
 * the sentence. `batch` is copied before it returns.
 *
 * NOT_LEADER, NO_QUORUM, IO (the disk is out), BUSY, DISK_FULL
 * SEALED: the batch is not in the log and never will be (retries of what is are answered before)
 * INVALID, CORRUPT, UNSUPPORTED, TOO_LARGE          the batch
 * KEY_NOT_FOUND, KEY_DISABLED, KEY_STATE, KEY_DENIED, KEY_UNAVAILABLE   encryption
 * OUT_OF_ORDER, PRODUCER_FENCED, UNKNOWN_PRODUCER   its producer (docs/replication.md 2.11) */
NODISCARD enum status shard_put(struct shard *shard, struct bytes batch, struct shard_put *put,
                                struct error *error);

/* Whether the batch is a retry of one that the log has, as far as is known. */
bool shard_has(const struct shard *shard, const struct batch_header *h);

/* ---- readers ---- */

/* Waits until offset < commit, or the shard has ended; embedded, zeroed before its first use.
 * `woken` comes once. */
struct shard_reader {
    struct list node;
    struct shard *shard; /* while it waits, else NULL */
    bool pending;        /* `woken` will come */
    uint64_t offset;
    enum status status; /* OK, NOT_FOUND: deleted, INTERNAL: halted, CLOSING */
    void (*woken)(struct shard_reader *reader);
};
/* BUSY: too many wait. The offset must not be below the commit. */
NODISCARD enum status shard_wait(struct shard *shard, struct shard_reader *reader);
void shard_wait_cancel(struct shard_reader *reader); /* harmless when it is not waiting */

/* Append time of the newest committed record as far as we know, 0 if unknown. */
uint64_t shard_newest_ms(const struct shard *shard);

/* Tells the core what was sent to a peer and moves its deadline. */
/* An append of one batch without its payload, which should be in shards_kept(). Where it is not,
 * the leader hears that it was lost, and sends it whole. As shard_receive(); CORRUPT: not a header.
 */
NODISCARD enum status shard_receive_header(struct shard *shard, const struct replica_append *head,
                                           struct bytes header);

/* Batches that this broker has sent to other leaders. */
struct kept *shards_kept(struct shards *set);

void shard_sent(struct shard_peer *peer, uint64_t upto, uint64_t bytes);
