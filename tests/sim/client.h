/* Clients of the simulated world: what they want stored and read, over all their tries. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum client_kind {
    CLIENT_PLAIN,  /* puts without waiting, and never again */
    CLIENT_NATIVE, /* idempotent: producer id, epoch, sequence numbers; tries until it is answered
                    */
    CLIENT_SDK,    /* an AWS SDK that retries: the same token for every try */
    CLIENT_READER, /* reads from any replica, from the first record to the last, and checks */
    CLIENT_KINDS,
};

enum { CLIENT_OPS_MAX = 8, CLIENT_SHARDS = 4 };

/* One thing to store. Its id is the content: all tries have the same. */
struct put_op {
    uint64_t id; /* 0: free */
    uint64_t due_us;
    uint32_t shard, count, seq, tries, first_epoch;
    uint16_t producer_epoch;
};

struct client {
    enum client_kind kind;
    uint64_t producer;
    uint16_t producer_epoch;
    uint32_t window; /* how many operations at once */
    uint32_t belief[CLIENT_SHARDS], next_seq[CLIENT_SHARDS];
    uint32_t view;   /* bit s: it believes that shard s takes records */
    uint32_t closed; /* bit s: it was told that shard s takes none any more */
    struct put_op op[CLIENT_OPS_MAX];
    uint64_t position[CLIENT_SHARDS]; /* a reader's */
    uint32_t ended;                   /* bit s: it has read shard s to its end */
};

/* What became of an id that may be in the log once at most (I11). */
struct op_record {
    uint64_t offset;
    uint32_t shard;
    bool once, committed, stored; /* stored: some leader has taken it before */
};

struct world;
struct broker;
struct message;
struct batch;
struct replica_shell;

/* client.c */
void client_init(struct world *w, uint32_t client);
void client_on_event(struct world *w, uint32_t client);
void client_on_done(struct world *w, const struct message *m);
uint64_t client_put(struct world *w, uint32_t client, uint32_t shard);
/* Whether every operation of every client has been answered. */
bool clients_are_done(const struct world *w);

/* reader.c */
void reader_turn(struct world *w, struct client *c);

/* dedup.c: the real tables of broker/shard, filled from the simulated logs */
/* What broker/shard/put.c asks: EXISTS with the original's offset, OK, or why not. */
enum status dedup_check(struct world *w, struct broker *b, uint32_t shard, const struct message *m,
                        uint64_t *out_original);
void dedup_add(struct replica_shell *r, const struct batch *batch);
void dedup_truncate(struct replica_shell *r, uint64_t end);
void dedup_forget(struct replica_shell *r);

/* reshard.c: splits and merges, as the controllers' rows order them */
void reshard_init(struct world *w);
void reshard_on_event(struct world *w);
void reshard_on_sealed(struct world *w, uint32_t controller, const struct message *m);
/* A proposal of the above reaches the log. */
void reshard_on_commit(struct world *w, uint32_t controller, uint32_t parent);
/* Whether a child's leader has to wait for its parents (2.12). */
bool reshard_waits(const struct world *w, const struct broker *b, uint32_t shard);
void reshard_on_known(struct world *w, uint32_t broker, uint32_t shard);
bool reshard_is_done(const struct world *w);
