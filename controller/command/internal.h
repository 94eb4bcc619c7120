/* Private to controller/command: one function per kind of command, called inside the entry's
 * transaction. Each fills `result`, which comes zeroed (OK, no text, no body). */
#pragma once

#include "controller/command/command.h"
#include "proto/schema/command.pb-c.h"
#include "proto/schema/metadata.pb-c.h"

/* The kinds: name in Weir__Command, name of its case. */
#define COMMAND_KINDS(X)                      \
    X(bootstrap, BOOTSTRAP)                   \
    X(register_broker, REGISTER_BROKER)       \
    X(broker_down, BROKER_DOWN)               \
    X(create_stream, CREATE_STREAM)           \
    X(delete_stream, DELETE_STREAM)           \
    X(change_retention, CHANGE_RETENTION)     \
    X(electing, ELECTING)                     \
    X(active, ACTIVE)                         \
    X(stable, STABLE)                         \
    X(shards_dropped, SHARDS_DROPPED)         \
    X(allocate_producers, ALLOCATE_PRODUCERS) \
    X(replicas_made, REPLICAS_MADE)           \
    X(reshard, RESHARD)                       \
    X(shards_sealed, SHARDS_SEALED)           \
    X(expire_shards, EXPIRE_SHARDS)           \
    X(stream_control, STREAM_CONTROL)         \
    X(move_begin, MOVE_BEGIN)                 \
    X(move_join, MOVE_JOIN)                   \
    X(move_end, MOVE_END)                     \
    X(broker_control, BROKER_CONTROL)         \
    X(rebalanced, REBALANCED)                 \
    X(force_recover, FORCE_RECOVER)           \
    X(balance, BALANCE)                       \
    X(prefer, PREFER)                         \
    X(held_shards, HELD_SHARDS)               \
    X(stream_settled, STREAM_SETTLED)         \
    X(key_create, KEY_CREATE)                 \
    X(key_enable, KEY_ENABLE)                 \
    X(key_delete, KEY_DELETE)                 \
    X(token_key, TOKEN_KEY)                   \
    X(ring, RING)                             \
    X(data_key, DATA_KEY)                     \
    X(scale, SCALE)                           \
    X(lease_join, LEASE_JOIN)                 \
    X(lease_gone, LEASE_GONE)                 \
    X(lease_change, LEASE_CHANGE)             \
    X(lease_checkpoint, LEASE_CHECKPOINT)     \
    X(app_control, APP_CONTROL)

#define X(name, kind) \
    void command_##name(struct db *db, const Weir__Command *command, struct db_result *result);
COMMAND_KINDS(X)
#undef X

/* Fills the result's status and sentence. */
void command_refuse(struct db_result *result, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Packs `message` as the result's body. Out of memory becomes the result's status, which ends the
 * process: see command_apply(). */
void command_answer(struct db_result *result, const ProtobufCMessage *message);

/* A StreamReply with the stream's row and the version that this transaction makes. */
void command_answer_stream(struct db *db, struct db_result *result, const struct db_stream *stream);

/* The same for a change of its attributes. Tags, policies, consumers and keys stay out of the
 * answer, which is kept for a repeated request. `before` and `consumer` may be NULL. */
void command_answer_change(struct db *db, struct db_result *result, const struct db_stream *stream,
                           const Weir__StreamAttributes *attributes,
                           const Weir__StreamAttributes *before, const Weir__Consumer *consumer);

/* Deletes a stream that is not DELETING, and answers. */
void command_begin_deletion(struct db *db, struct db_stream *stream, struct db_result *result);

/* Whether a name has 1 to STREAM_NAME_MAX of the characters that Kinesis allows; else refuses. */
bool command_name_is_good(const char *name, struct db_result *result);

/* A shard's first leader is there, or its SEAL is committed: does what the stream's split, merge or
 * way to another number of shards allows now. */
void command_reshard_advance(struct db *db, uint32_t stream, struct db_result *result);

/* Every broker that holds a replica of the shard owes its deletion; the row is DELETED. */
void command_drop_shard(struct db *db, const struct db_shard *shard);

/* The shard's row has become stable: its move is done, or goes back to copying (moves.c). */
/* The replica is wanted no longer: its broker is told, for good (R16), unless `other` is there. */
void command_drop_replica(struct db *db, uint64_t shard, struct db_replica replica,
                          struct db_replica other);
void command_move_settled(struct db *db, struct db_shard *row);

/* True, and refused with the reason: after a restore no shard may get a number yet. */
bool command_waits_for_held(struct db *db, struct db_result *result);
/* The broker has told all that it holds, or never will: nobody waits for it any more. */
void command_held_told(struct db *db, uint32_t broker, struct db_result *result);

/* Removes streams that are DELETING and have no broker alive that still has to drop a shard. What
 * dead brokers owe stays in the drops. */
void command_finish_deletions(struct db *db);
