/* One controller's Raft: libraft's raft_step() with everything that libraft leaves to its user and
 * can be decided without a disk, a socket or a clock. Time comes in, effects go out through the
 * operations below, so that the same code runs in a process and in a simulation.
 *
 * What libraft 0.22 does not check itself, or does wrongly, is put right here before a message goes
 * in and after one comes out; docs/decisions/0001-libraft.md lists each point. */
#pragma once

#include <stdint.h>

#include <raft.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/status.h"
#include "controller/raft/message.h"
#include "controller/raft/raft.h"
#include "controller/raft/tail.h"

/* A stored copy of the state machine. `configuration` is libraft's encoding. */
struct raft_snapshot_info {
    uint64_t index, term; /* 0: there is none */
    uint64_t configuration_index;
    uint8_t configuration[2048]; /* RAFT_NODE_SERVERS_MAX servers with their addresses */
    size_t configuration_size;
    uint64_t bytes;
    uint8_t hash[RAFT_HASH_BYTES];
};

/* Storage is a queue: writes are durable in the order in which they were given, and each is
 * acknowledged with raft_core_written() in that order. A failure of any operation, now or later
 * (raft_core_fail()), ends the core: nothing is acknowledged after it. */
struct raft_core_ops {
    /* Durable when it returns, and so is everything given before. */
    enum status (*save_vote)(void *data, uint64_t term, uint64_t voted_for);
    /* Replaces everything from `from` on by these entries (borrowed). */
    enum status (*append)(void *data, uint64_t from, const struct raft_entry_view *entries,
                          uint32_t count, uint64_t *out_write);
    /* The snapshot that was taken is ours now; the log stays. */
    enum status (*save_snapshot)(void *data, const struct raft_snapshot_info *snapshot,
                                 uint64_t *out_write);
    /* Drops the entries up to and with `upto`, some time. */
    enum status (*compact)(void *data, uint64_t upto);
    /* The received snapshot becomes ours and the log becomes empty, in one step. */
    enum status (*install)(void *data, const struct raft_snapshot_info *snapshot,
                           uint64_t *out_write);
    /* Reads an entry that was acknowledged as written; `buf` is emptied and filled. */
    enum status (*load)(void *data, uint64_t index, uint64_t *out_term, uint32_t *out_type,
                        struct buf *buf);

    /* Starts a copy of the state machine; raft_core_snapshot_taken() follows. */
    enum status (*take_snapshot)(void *data);
    /* Bytes of the snapshot that is ours. */
    enum status (*read_snapshot)(void *data, uint64_t offset, uint8_t *out, size_t size);
    /* The incoming copy: starts anew, grows, is complete and has this hash (CORRUPT: it has not;
     * not a failure of the core). */
    enum status (*receive_begin)(void *data);
    enum status (*receive_append)(void *data, struct bytes chunk);
    enum status (*receive_end)(void *data, const uint8_t hash[RAFT_HASH_BYTES]);

    /* May lose it. Everything is borrowed for the call. */
    void (*send)(void *data, uint32_t to, const struct raft_packet *packet);

    /* The state machine, as in struct raft_node_handlers. */
    enum status (*apply)(void *data, const struct raft_node_command *command, struct error *error);
    enum status (*restore)(void *data, uint64_t index, struct error *error);
    void (*changed)(void *data, bool active, uint64_t term, uint32_t leader);
};

struct raft_core_options {
    const struct raft_core_ops *ops;
    void *data;
    uint32_t id;
    uint32_t election_ms, heartbeat_ms;
    uint32_t snapshot_entries, trailing_entries;
    uint64_t snapshot_bytes;
    uint64_t tail_bytes;  /* kept in memory */
    uint32_t chunk_bytes; /* of a snapshot that is sent; at most RAFT_CHUNK_BYTES_MAX */
    unsigned seed;
};

/* What the store found. Entries need data only where they are configurations. */
struct raft_core_state {
    uint64_t term, voted_for;
    struct raft_snapshot_info snapshot;
    uint64_t first; /* of the entries; snapshot.index + 1 or 1 when there are none */
    struct raft_entry_view *entries;
    uint32_t count;
    uint64_t bytes;   /* of the entries */
    uint64_t applied; /* what the state machine records */
    bool joining;     /* bootstrapped without a configuration: the log may be empty */
};

enum raft_write_kind { RAFT_WRITE_ENTRIES, RAFT_WRITE_SNAPSHOT, RAFT_WRITE_INSTALL };

struct raft_write {
    struct list node;
    uint64_t id;
    enum raft_write_kind kind;
    uint64_t first, last; /* entries; last sinks when they are replaced meanwhile */
};

/* A snapshot on its way to one follower. */
struct raft_transfer_out {
    uint32_t to; /* 0: unused */
    uint64_t index, offset;
    uint64_t sent_ms;  /* the newest chunk */
    uint64_t asked_ms; /* the follower, or libraft, asked for more */
};

struct raft_core {
    uint64_t heard_commit; /* commit index of the leader, as it said last; 0: nobody has */
    struct raft_core_options options;
    struct raft raft;
    struct raft_tail tail;
    uint64_t now;
    struct error error; /* status OK while it lives */
    bool started;

    uint64_t cursor;  /* committed entries have been handled up to here */
    uint64_t applied; /* by the state machine */
    struct list writes;
    uint32_t depth; /* of calls: callbacks may call back */
    bool poll;      /* something waits for the next tick */

    /* leadership */
    uint64_t term_start; /* the log's end when it began */
    bool told_active;
    uint64_t told_term;
    uint32_t told_leader;
    bool told;

    /* requests */
    struct list submitted, finished, reads;
    uint64_t round, round_done, round_sent_ms;
    uint32_t round_answers;       /* a bit for each server of the configuration */
    uint64_t round_configuration; /* its index: with another one the bits mean others */

    /* snapshots */
    struct raft_snapshot_info snapshot; /* ours */
    struct raft_snapshot_info pending;  /* being saved or installed */
    struct raft_snapshot_info incoming; /* being received */
    uint64_t incoming_offset;
    uint32_t incoming_from;
    bool taking, saving, install_waits;
    uint64_t taking_configuration_index;
    uint64_t bytes_since_snapshot, retry_snapshot_at;
    struct raft_transfer_out transfers[RAFT_NODE_SERVERS_MAX];
};

/* NO_MEMORY, CORRUPT. The state is copied. */
NODISCARD enum status raft_core_init(struct raft_core *core,
                                     const struct raft_core_options *options,
                                     const struct raft_core_state *state, uint64_t now,
                                     struct error *error);

/* Answers all requests (UNCERTAIN, CLOSING) and frees. */
void raft_core_release(struct raft_core *core);

/* Time has come: at raft_core_deadline(), or earlier. */
void raft_core_tick(struct raft_core *core, uint64_t now);
uint64_t raft_core_deadline(const struct raft_core *core);

/* A message of a controller of the configuration. Takes what it wants out of the packet, which the
 * caller releases. */
void raft_core_receive(struct raft_core *core, uint64_t now, uint32_t from,
                       struct raft_packet *packet);

/* All writes up to and with `write` are durable. */
void raft_core_written(struct raft_core *core, uint64_t now, uint64_t write);

/* The end of take_snapshot(): `info` has index, bytes and hash when status is OK. */
void raft_core_snapshot_taken(struct raft_core *core, uint64_t now, enum status status,
                              const struct raft_snapshot_info *info);

NODISCARD enum status raft_core_submit(struct raft_core *core, uint64_t now, struct bytes entry,
                                       struct raft_node_request *request);
NODISCARD enum status raft_core_read(struct raft_core *core, uint64_t now,
                                     struct raft_node_request *request);
NODISCARD enum status raft_core_transfer(struct raft_core *core, uint64_t now, uint32_t to);

/* As raft_node_change(). */
NODISCARD enum status raft_core_change(struct raft_core *core, uint64_t now,
                                       const struct raft_node_change *change,
                                       struct raft_node_request *request);

/* The connection to the leader broke: it is probably dead, so do not wait for the whole timeout. */
void raft_core_suspect(struct raft_core *core, uint64_t now, uint32_t id);

/* Ends it: no operation is called any more but `changed`, and requests are answered. */
void raft_core_fail(struct raft_core *core, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline bool raft_core_alive(const struct raft_core *core)
{
    return core->error.status == STATUS_OK;
}

bool raft_core_is_active(const struct raft_core *core);
uint32_t raft_core_leader(const struct raft_core *core);
uint64_t raft_core_last(const struct raft_core *core);

/* ---- between the core's own files ---- */

/* raft_step() and what follows from it. False when the step was refused (submit, transfer: *out_rv)
 * or the core has failed. */
bool raft_core_step(struct raft_core *core, struct raft_event *event, int *out_rv);

/* An entry from memory, or from the store by way of `scratch`. False: the core has failed. */
bool raft_core_entry(struct raft_core *core, uint64_t index, struct raft_entry_view *out,
                     struct buf *scratch);
/* 0: unknown, because the log begins later. */
uint64_t raft_core_term_of(struct raft_core *core, uint64_t index);

bool raft_core_write_add(struct raft_core *core, enum raft_write_kind kind, uint64_t id,
                         uint64_t first, uint64_t last);

/* Around every call from outside: callbacks come at the end of the outermost one. */
void raft_core_enter(struct raft_core *core, uint64_t now);
void raft_core_leave(struct raft_core *core);

/* core_message.c */
void raft_core_send(struct raft_core *core, const struct raft_message *messages, uint32_t count);

/* core_snapshot.c */
void raft_core_install(struct raft_core *core, const struct raft_update *update);
void raft_core_installed(struct raft_core *core);
void raft_core_snapshot_saved(struct raft_core *core);
bool raft_core_is_wanted(struct raft_core *core, uint32_t from, const struct raft_message *message);
void raft_core_snapshot_tick(struct raft_core *core);
void raft_core_snapshot_maybe_take(struct raft_core *core);
void raft_core_snapshot_send(struct raft_core *core, const struct raft_message *message);
void raft_core_snapshot_next(struct raft_core *core, uint32_t from,
                             const struct raft_packet *packet);
void raft_core_snapshot_chunk(struct raft_core *core, uint32_t from, struct raft_packet *packet);
void raft_core_deliver(struct raft_core *core, uint32_t from, struct raft_message *message);

/* core.c: appends one entry of the leader's and says who waits for it; takes `batch`. */
NODISCARD enum status raft_core_append(struct raft_core *core, uint32_t type, void *batch,
                                       size_t size, struct raft_node_request *request);

/* core_change.c: the address that one who was added brought along; false: it has none. */
bool raft_core_address(const char *text, struct raft_node_server *out);

/* core_request.c */
void raft_core_requests_lost(struct raft_core *core);
void raft_core_requests_advance(struct raft_core *core);
struct raft_node_request *raft_core_request_of(struct raft_core *core, uint64_t index,
                                               uint64_t term);
void raft_core_request_finish(struct raft_core *core, struct raft_node_request *request,
                              enum status status);
void raft_core_read_tick(struct raft_core *core);
void raft_core_read_probe(struct raft_core *core, uint32_t from, const struct raft_packet *packet);
void raft_core_read_answer(struct raft_core *core, uint32_t from, const struct raft_packet *packet);
