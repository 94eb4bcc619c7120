/* Raft's messages as libraft knows them, and as they travel: proto/schema/raft.proto with entries
 * or a chunk of a snapshot in the attachment. Pure. */
#pragma once

#include <stdint.h>

#include <raft.h>

#include "base/bytes.h"
#include "base/status.h"
#include "controller/raft/raft.h"
#include "proto/schema/raft.pb-c.h"

/* Ours, beside enum raft_message_type. */
enum {
    RAFT_READ_PROBE = 65,   /* leader: is your term still at most mine? */
    RAFT_READ_ANSWER = 66,  /* my term */
    RAFT_SNAPSHOT_NEXT = 67 /* receiver of a snapshot: send me the chunk at this offset */
};

enum {
    RAFT_BATCH_ENTRIES = 64,              /* of one message, and in flight to one follower */
    RAFT_BATCH_BYTES = 4 * 1024 * 1024,   /* of one message, unless one entry is larger */
    RAFT_CHUNK_BYTES = 512 * 1024,        /* of a snapshot */
    RAFT_CHUNK_BYTES_MAX = 1024 * 1024,   /* that we accept */
    RAFT_HASH_BYTES = 32,                 /* SHA-256 */
    RAFT_CONFIGURATION_BYTES_MAX = 16384, /* of an encoded configuration */
};

struct raft_packet {
    uint32_t type;
    uint64_t term;
    struct raft_message message; /* libraft's types; server_id and address are the shell's */
    uint64_t round;              /* READ_PROBE, READ_ANSWER */
    /* INSTALL_SNAPSHOT (message.install_snapshot.data stays empty) and SNAPSHOT_NEXT */
    uint64_t snapshot_index, snapshot_bytes, chunk_offset;
    uint8_t snapshot_hash[RAFT_HASH_BYTES];
    struct bytes chunk; /* borrowed */
};

/* A packet as a protobuf message and attachment pieces. Borrows everything from the packet. */
struct raft_frame {
    Weir__RaftMessage body;
    Weir__RaftEntry entries[RAFT_BATCH_ENTRIES];
    Weir__RaftEntry *entry_pointers[RAFT_BATCH_ENTRIES];
    Weir__RaftServer servers[RAFT_NODE_SERVERS_MAX];
    Weir__RaftServer *server_pointers[RAFT_NODE_SERVERS_MAX];
    struct bytes pieces[RAFT_BATCH_ENTRIES];
    uint32_t piece_count;
};
void raft_frame_fill(struct raft_frame *frame, const struct raft_packet *packet);

/* INVALID: whatever libraft would trip over (it is built without assertions): unknown types, zero
 * or falling terms, counts and sizes that do not fit, a malformed configuration. NO_MEMORY.
 *
 * Entries (one batch) and the configuration are allocated as libraft wants them and belong to the
 * packet until raft_packet_release(); `chunk` borrows the attachment. */
NODISCARD enum status raft_packet_parse(struct bytes body, struct bytes attachment,
                                        struct raft_packet *out);

/* Frees what raft_packet_parse() allocated and nobody took (see raft_core_receive()). */
void raft_packet_release(struct raft_packet *packet);

/* libraft's encoding of a configuration, checked before its decoder, which trusts its input. */
bool raft_configuration_is_sound(struct bytes encoded);
