/* Snapshots: taking one, making it ours, and handing it to a follower in chunks that it asks for
 * one after another. libraft sees a snapshot only when it is whole. */
#include <stdlib.h>

#include "base/check.h"
#include "controller/raft/core.h"

enum {
    TRANSFER_IDLE_MS = 30000,  /* a follower that asks for nothing more */
    TRANSFER_AGAIN_MS = 10000, /* all was sent, and nothing came of it */
};

static bool decode(struct raft_core *core, const struct raft_snapshot_info *info,
                   struct raft_configuration *out)
{
    struct raft_buffer encoded = {.base = (void *)(uintptr_t)info->configuration,
                                  .len = info->configuration_size};
    if (raft_configuration_decode(&encoded, out) != 0) {
        raft_core_fail(core, STATUS_CORRUPT, "the configuration of a snapshot is damaged");
        return false;
    }
    return true;
}

static bool encode(const struct raft_configuration *configuration, struct raft_snapshot_info *info)
{
    struct raft_buffer encoded;
    if (configuration->n == 0 || raft_configuration_encode(configuration, &encoded) != 0) {
        return false;
    }
    bool fits = encoded.len <= sizeof(info->configuration);
    if (fits) {
        memcpy(info->configuration, encoded.base, encoded.len);
        info->configuration_size = encoded.len;
    }
    raft_free(encoded.base);
    return fits;
}

/* ---- taking ---- */

static bool is_sending(const struct raft_core *core)
{
    for (uint32_t i = 0; i < RAFT_NODE_SERVERS_MAX; i++) {
        const struct raft_transfer_out *transfer = &core->transfers[i];
        if (transfer->to != 0 && transfer->offset < core->snapshot.bytes) {
            return true;
        }
    }
    return false;
}

void raft_core_snapshot_maybe_take(struct raft_core *core)
{
    if (core->taking || core->saving || core->raft.snapshot.installing || core->install_waits ||
        core->cursor < core->retry_snapshot_at || core->cursor > raft_commit_index(&core->raft) ||
        (core->cursor - core->snapshot.index < core->options.snapshot_entries &&
         core->bytes_since_snapshot < core->options.snapshot_bytes) ||
        core->applied <= core->snapshot.index || is_sending(core)) {
        return;
    }
    core->pending = (struct raft_snapshot_info){0};
    core->retry_snapshot_at = core->cursor + core->options.snapshot_entries / 8 + 1;
    if (!encode(&core->raft.configuration_committed, &core->pending)) {
        return;
    }
    core->taking_configuration_index = core->raft.configuration_committed_index;
    core->pending.configuration_index = core->taking_configuration_index;
    /* A failure is tried again later. */
    core->taking = core->options.ops->take_snapshot(core->options.data) == STATUS_OK;
}

/* The copy may be of any moment since it was asked for; its configuration must be the one noted
 * then. */
static void save(struct raft_core *core, const struct raft_snapshot_info *info)
{
    uint64_t configuration = core->taking_configuration_index;
    if (info->index <= core->raft.trail.snapshot.index || info->index > core->cursor ||
        core->raft.configuration_committed_index != configuration || configuration > info->index ||
        core->install_waits || core->raft.snapshot.installing) {
        return;
    }
    uint64_t term = raft_core_term_of(core, info->index);
    if (term == 0) {
        return;
    }
    memcpy(core->pending.hash, info->hash, sizeof(info->hash));
    core->pending.bytes = info->bytes;
    core->pending.index = info->index;
    core->pending.term = term;
    uint64_t write = 0;
    enum status status =
        core->options.ops->save_snapshot(core->options.data, &core->pending, &write);
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "the snapshot cannot be stored: %s", status_text(status));
        return;
    }
    core->saving = raft_core_write_add(core, RAFT_WRITE_SNAPSHOT, write, 0, 0);
}

void raft_core_snapshot_taken(struct raft_core *core, uint64_t now, enum status status,
                              const struct raft_snapshot_info *info)
{
    raft_core_enter(core, now);
    core->taking = false;
    core->retry_snapshot_at = core->cursor + core->options.snapshot_entries / 8 + 1;
    if (raft_core_alive(core) && status == STATUS_OK) {
        save(core, info);
    }
    if (core->install_waits && !core->saving && raft_core_alive(core)) {
        raft_core_install(core, NULL);
    }
    raft_core_leave(core);
}

void raft_core_snapshot_saved(struct raft_core *core)
{
    core->saving = false;
    core->snapshot = core->pending;
    core->bytes_since_snapshot = 0;
    core->retry_snapshot_at = 0;
    if (core->install_waits) {
        raft_core_install(core, NULL);
        return;
    }
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    event.snapshot.metadata.index = core->snapshot.index;
    event.snapshot.metadata.term = core->snapshot.term;
    event.snapshot.metadata.configuration_index = core->snapshot.configuration_index;
    event.snapshot.trailing = core->options.trailing_entries;
    if (!decode(core, &core->snapshot, &event.snapshot.metadata.configuration) ||
        !raft_core_step(core, &event, NULL)) {
        return;
    }
    uint64_t upto = core->raft.trail.offset;
    if (upto > 0) {
        raft_tail_evict(&core->tail, upto + 1, 0);
        enum status status = core->options.ops->compact(core->options.data, upto);
        if (status != STATUS_OK) {
            raft_core_fail(core, status, "the log cannot be compacted: %s", status_text(status));
        }
    }
    raft_core_snapshot_tick(core);
}

/* ---- sending ---- */

static struct raft_transfer_out *transfer_of(struct raft_core *core, uint32_t to)
{
    for (uint32_t i = 0; i < RAFT_NODE_SERVERS_MAX; i++) {
        if (core->transfers[i].to == to) {
            return &core->transfers[i];
        }
    }
    return NULL;
}

static void send_chunk(struct raft_core *core, struct raft_transfer_out *transfer)
{
    const struct raft_snapshot_info *info = &core->snapshot;
    uint64_t left = info->bytes - transfer->offset;
    size_t size = left < core->options.chunk_bytes ? (size_t)left : core->options.chunk_bytes;
    transfer->sent_ms = core->now;
    uint8_t *chunk = malloc(size);
    if (chunk == NULL) {
        return; /* asked for again */
    }
    enum status status =
        core->options.ops->read_snapshot(core->options.data, transfer->offset, chunk, size);
    struct raft_packet packet = {.type = RAFT_INSTALL_SNAPSHOT,
                                 .term = raft_current_term(&core->raft),
                                 .snapshot_index = info->index,
                                 .snapshot_bytes = info->bytes,
                                 .chunk_offset = transfer->offset,
                                 .chunk = bytes_of(chunk, size)};
    packet.message.type = RAFT_INSTALL_SNAPSHOT;
    struct raft_install_snapshot *install = &packet.message.install_snapshot;
    install->term = packet.term;
    install->last_index = info->index;
    install->last_term = info->term;
    install->conf_index = info->configuration_index;
    memcpy(packet.snapshot_hash, info->hash, sizeof(info->hash));
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "the snapshot cannot be read: %s", status_text(status));
    } else if (decode(core, info, &install->conf)) {
        core->options.ops->send(core->options.data, transfer->to, &packet);
        raft_configuration_close(&install->conf);
    }
    free(chunk);
}

/* Sends what was probably lost again, and a newer snapshot instead of the one that it replaced
 * (libraft, which knows of the older one only, would wait for its timeout of 30 seconds). */
void raft_core_snapshot_tick(struct raft_core *core)
{
    for (uint32_t i = 0; i < RAFT_NODE_SERVERS_MAX && raft_core_alive(core); i++) {
        struct raft_transfer_out *transfer = &core->transfers[i];
        raft_index match = 0;
        if (transfer->to == 0) {
            continue;
        }
        if (raft_match_index(&core->raft, transfer->to, &match) != 0 || match >= transfer->index ||
            core->now - transfer->asked_ms >= TRANSFER_IDLE_MS) {
            *transfer = (struct raft_transfer_out){0};
            continue;
        }
        bool all = transfer->offset >= core->snapshot.bytes;
        uint64_t idle = core->now - transfer->sent_ms;
        if (transfer->index != core->snapshot.index || (all && idle >= TRANSFER_AGAIN_MS)) {
            transfer->index = core->snapshot.index;
            transfer->offset = 0;
            send_chunk(core, transfer);
        } else if (!all && idle >= 2 * (uint64_t)core->options.heartbeat_ms) {
            send_chunk(core, transfer);
        }
    }
}

/* libraft asks for it again and again while the follower has not got it. */
void raft_core_snapshot_send(struct raft_core *core, const struct raft_message *message)
{
    uint32_t to = (uint32_t)message->server_id;
    struct raft_transfer_out *transfer = transfer_of(core, to);
    if (transfer != NULL) {
        transfer->asked_ms = core->now;
        return;
    }
    transfer = transfer_of(core, 0);
    if (transfer == NULL) {
        return; /* more followers than the configuration may have */
    }
    *transfer =
        (struct raft_transfer_out){.to = to, .index = core->snapshot.index, .asked_ms = core->now};
    send_chunk(core, transfer);
}

void raft_core_snapshot_next(struct raft_core *core, uint32_t from,
                             const struct raft_packet *packet)
{
    struct raft_transfer_out *transfer = transfer_of(core, from);
    if (raft_state(&core->raft) != RAFT_LEADER || transfer == NULL ||
        packet->snapshot_index != core->snapshot.index ||
        packet->snapshot_index != transfer->index || packet->chunk_offset > core->snapshot.bytes) {
        return;
    }
    transfer->asked_ms = core->now;
    if (packet->chunk_offset == transfer->offset &&
        core->now - transfer->sent_ms < core->options.heartbeat_ms) {
        return; /* it is on its way: the question was doubled */
    }
    transfer->offset = packet->chunk_offset;
    transfer->sent_ms = core->now;
    if (transfer->offset < core->snapshot.bytes) {
        send_chunk(core, transfer);
    }
}

/* ---- receiving ---- */

static void ask_next(struct raft_core *core, uint32_t from)
{
    struct raft_packet packet = {.type = RAFT_SNAPSHOT_NEXT,
                                 .term = raft_current_term(&core->raft),
                                 .snapshot_index = core->incoming.index,
                                 .chunk_offset = core->incoming_offset};
    if (packet.term != 0) {
        core->options.ops->send(core->options.data, from, &packet);
    }
}

/* The configuration goes to libraft with the message. */
static void deliver(struct raft_core *core, uint32_t from, struct raft_packet *packet)
{
    if (raft_core_is_wanted(core, from, &packet->message)) {
        struct raft_message message = packet->message;
        raft_configuration_init(&packet->message.install_snapshot.conf);
        raft_core_deliver(core, from, &message);
    }
}

static bool is_incoming(const struct raft_core *core, uint32_t from,
                        const struct raft_packet *packet)
{
    const struct raft_snapshot_info *info = &core->incoming;
    return core->incoming_from == from && info->index == packet->snapshot_index &&
           info->bytes == packet->snapshot_bytes &&
           info->term == packet->message.install_snapshot.last_term &&
           memcmp(info->hash, packet->snapshot_hash, RAFT_HASH_BYTES) == 0;
}

static enum status begin(struct raft_core *core, uint32_t from, const struct raft_packet *packet)
{
    const struct raft_install_snapshot *install = &packet->message.install_snapshot;
    core->incoming = (struct raft_snapshot_info){
        .index = packet->snapshot_index,
        .term = install->last_term,
        .configuration_index = install->conf_index,
        .bytes = packet->snapshot_bytes,
    };
    memcpy(core->incoming.hash, packet->snapshot_hash, RAFT_HASH_BYTES);
    core->incoming_from = from;
    core->incoming_offset = 0;
    if (!encode(&install->conf, &core->incoming)) {
        return STATUS_NO_MEMORY;
    }
    return core->options.ops->receive_begin(core->options.data);
}

void raft_core_snapshot_chunk(struct raft_core *core, uint32_t from, struct raft_packet *packet)
{
    if (packet->term < raft_current_term(&core->raft) ||
        packet->snapshot_index <= raft_commit_index(&core->raft)) {
        deliver(core, from, packet); /* libraft knows the answer without the bytes */
        return;
    }
    if (core->raft.snapshot.installing) {
        return;
    }
    enum status status = STATUS_OK;
    if (!is_incoming(core, from, packet)) {
        status = begin(core, from, packet);
    }
    if (status == STATUS_OK && packet->chunk_offset == core->incoming_offset) {
        status = core->options.ops->receive_append(core->options.data, packet->chunk);
        core->incoming_offset += packet->chunk.size;
    }
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "a snapshot cannot be stored: %s", status_text(status));
        return;
    }
    if (core->incoming_offset < core->incoming.bytes) {
        ask_next(core, from);
        return;
    }
    status = core->options.ops->receive_end(core->options.data, core->incoming.hash);
    if (status == STATUS_OK) {
        ask_next(core, from); /* which says that we have it all */
        deliver(core, from, packet);
    } else if (status != STATUS_CORRUPT) {
        raft_core_fail(core, status, "a snapshot cannot be stored: %s", status_text(status));
    }
    if (!core->raft.snapshot.installing) {
        core->incoming = (struct raft_snapshot_info){0};
        core->incoming_offset = 0;
    }
}

/* ---- installing ---- */

/* libraft gives up its log for the snapshot that was received. `update` is NULL when it had to wait
 * for one of our own that was being taken. */
void raft_core_install(struct raft_core *core, const struct raft_update *update)
{
    if (update != NULL) {
        struct raft_configuration configuration = update->snapshot.metadata.configuration;
        raft_configuration_close(&configuration);
        CHECK(update->snapshot.metadata.index == core->incoming.index);
        raft_tail_reset(&core->tail, core->incoming.index + 1);
    }
    core->install_waits = core->taking || core->saving;
    if (core->install_waits || !raft_core_alive(core)) {
        return;
    }
    core->pending = core->incoming;
    uint64_t write = 0;
    enum status status = core->options.ops->install(core->options.data, &core->pending, &write);
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "a snapshot cannot be stored: %s", status_text(status));
        return;
    }
    (void)raft_core_write_add(core, RAFT_WRITE_INSTALL, write, 0, 0);
}

void raft_core_installed(struct raft_core *core)
{
    struct error error = {.status = STATUS_OK};
    core->snapshot = core->pending;
    core->incoming = (struct raft_snapshot_info){0};
    core->incoming_offset = 0;
    core->bytes_since_snapshot = 0;
    core->retry_snapshot_at = 0;
    enum status status =
        core->options.ops->restore(core->options.data, core->snapshot.index, &error);
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "the state machine cannot be restored: %s", error.text);
        return;
    }
    core->cursor = core->applied = core->snapshot.index;
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    event.persisted_snapshot.metadata.index = core->snapshot.index;
    event.persisted_snapshot.metadata.term = core->snapshot.term;
    event.persisted_snapshot.metadata.configuration_index = core->snapshot.configuration_index;
    event.persisted_snapshot.last = true;
    if (decode(core, &core->snapshot, &event.persisted_snapshot.metadata.configuration)) {
        (void)raft_core_step(core, &event, NULL);
    }
}
