#include "controller/raft/message.h"

#include <string.h>

#include "base/check.h"

static void fill_entries(struct raft_frame *frame, const struct raft_append_entries *append)
{
    CHECK(append->n_entries <= RAFT_BATCH_ENTRIES);
    for (uint32_t i = 0; i < append->n_entries; i++) {
        const struct raft_entry *entry = &append->entries[i];
        weir__raft_entry__init(&frame->entries[i]);
        frame->entries[i].term = entry->term;
        frame->entries[i].type = (uint32_t)entry->type;
        frame->entries[i].bytes = (uint32_t)entry->buf.len;
        frame->entry_pointers[i] = &frame->entries[i];
        frame->pieces[i] = bytes_of(entry->buf.base, entry->buf.len);
    }
    frame->body.n_entries = append->n_entries;
    frame->body.entries = frame->entry_pointers;
    frame->piece_count = append->n_entries;
}

static void fill_snapshot(struct raft_frame *frame, const struct raft_packet *packet)
{
    const struct raft_install_snapshot *install = &packet->message.install_snapshot;
    CHECK(install->conf.n <= RAFT_NODE_SERVERS_MAX);
    for (uint32_t i = 0; i < install->conf.n; i++) {
        const struct raft_server *server = &install->conf.servers[i];
        weir__raft_server__init(&frame->servers[i]);
        frame->servers[i].id = server->id;
        frame->servers[i].address = server->address;
        frame->servers[i].role = (uint32_t)server->role;
        frame->server_pointers[i] = &frame->servers[i];
    }
    frame->body.n_configuration = install->conf.n;
    frame->body.configuration = frame->server_pointers;
    frame->body.configuration_index = install->conf_index;
    frame->body.last_index = install->last_index;
    frame->body.last_term = install->last_term;
    frame->body.snapshot_bytes = packet->snapshot_bytes;
    frame->body.chunk_offset = packet->chunk_offset;
    frame->body.snapshot_hash.len = RAFT_HASH_BYTES;
    frame->body.snapshot_hash.data = (uint8_t *)(uintptr_t)packet->snapshot_hash;
    frame->pieces[0] = packet->chunk;
    frame->piece_count = 1;
}

static void fill_vote(Weir__RaftMessage *body, const struct raft_message *message)
{
    if (message->type == RAFT_REQUEST_VOTE) {
        const struct raft_request_vote *vote = &message->request_vote;
        body->version = vote->version;
        body->candidate_id = vote->candidate_id;
        body->last_log_index = vote->last_log_index;
        body->last_log_term = vote->last_log_term;
        body->disrupt_leader = vote->disrupt_leader;
        body->pre_vote = vote->pre_vote;
        return;
    }
    const struct raft_request_vote_result *result = &message->request_vote_result;
    body->version = result->version;
    body->vote_granted = result->vote_granted;
    body->pre_vote = result->pre_vote;
    body->features = result->features;
    body->capacity = result->capacity;
}

static void fill_append(struct raft_frame *frame, const struct raft_message *message)
{
    Weir__RaftMessage *body = &frame->body;
    if (message->type == RAFT_APPEND_ENTRIES) {
        const struct raft_append_entries *append = &message->append_entries;
        body->version = append->version;
        body->prev_log_index = append->prev_log_index;
        body->prev_log_term = append->prev_log_term;
        body->leader_commit = append->leader_commit;
        fill_entries(frame, append);
        return;
    }
    const struct raft_append_entries_result *result = &message->append_entries_result;
    body->version = result->version;
    body->rejected = result->rejected;
    body->last_log_index = result->last_log_index;
    body->features = result->features;
    body->capacity = result->capacity;
}

void raft_frame_fill(struct raft_frame *frame, const struct raft_packet *packet)
{
    Weir__RaftMessage *body = &frame->body;
    weir__raft_message__init(body);
    frame->piece_count = 0;
    body->type = packet->type;
    body->term = packet->term;
    switch (packet->type) {
    case RAFT_REQUEST_VOTE:
    case RAFT_REQUEST_VOTE_RESULT:
        fill_vote(body, &packet->message);
        break;
    case RAFT_APPEND_ENTRIES:
    case RAFT_APPEND_ENTRIES_RESULT:
        fill_append(frame, &packet->message);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        fill_snapshot(frame, packet);
        break;
    case RAFT_TIMEOUT_NOW:
        body->version = packet->message.timeout_now.version;
        body->last_log_index = packet->message.timeout_now.last_log_index;
        body->last_log_term = packet->message.timeout_now.last_log_term;
        break;
    case RAFT_READ_PROBE:
    case RAFT_READ_ANSWER:
        body->round = packet->round;
        break;
    case RAFT_SNAPSHOT_NEXT:
        body->last_index = packet->snapshot_index;
        body->chunk_offset = packet->chunk_offset;
        break;
    default:
        UNREACHABLE();
    }
}

bool raft_configuration_is_sound(struct bytes encoded)
{
    if (encoded.size > RAFT_CONFIGURATION_BYTES_MAX) {
        return false;
    }
    struct reader reader = reader_of(encoded);
    uint8_t format = reader_u8(&reader);
    uint64_t count = reader_u64(&reader);
    if (reader.failed || format != 1 || count == 0 || count > RAFT_NODE_SERVERS_MAX) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = reader_u64(&reader);
        if (reader.failed || id == 0 || reader.rest.size == 0) {
            return false;
        }
        const uint8_t *end = memchr(reader.rest.data, 0, reader.rest.size);
        if (end == NULL) {
            return false;
        }
        (void)reader_take(&reader, (size_t)(end - reader.rest.data) + 1);
        uint8_t role = reader_u8(&reader);
        if (reader.failed || role > RAFT_SPARE) {
            return false;
        }
    }
    return true;
}

static bool entry_is_sound(const Weir__RaftEntry *entry, struct bytes data, uint64_t term_before,
                           uint64_t term)
{
    if (entry->term == 0 || entry->term < term_before || entry->term > term) {
        return false;
    }
    switch (entry->type) {
    case RAFT_COMMAND:
        return data.size <= RAFT_NODE_ENTRY_MAX;
    case RAFT_BARRIER:
        return data.size <= 64;
    case RAFT_CHANGE:
        return raft_configuration_is_sound(data);
    default:
        return false;
    }
}

/* All entries of a message live in one batch, which libraft frees as a whole. */
static enum status parse_entries(const Weir__RaftMessage *body, struct bytes attachment,
                                 struct raft_append_entries *out)
{
    if (body->n_entries == 0) {
        return attachment.size == 0 ? STATUS_OK : STATUS_INVALID;
    }
    if (body->n_entries > RAFT_BATCH_ENTRIES) {
        return STATUS_INVALID;
    }
    struct reader reader = reader_of(attachment);
    uint64_t term_before = body->prev_log_term;
    for (size_t i = 0; i < body->n_entries; i++) {
        const Weir__RaftEntry *entry = body->entries[i];
        struct bytes data = reader_take(&reader, entry->bytes);
        if (reader.failed || !entry_is_sound(entry, data, term_before, body->term)) {
            return STATUS_INVALID;
        }
        term_before = entry->term;
    }
    if (reader.rest.size != 0) {
        return STATUS_INVALID;
    }
    uint8_t *batch = raft_malloc(attachment.size + 1);
    struct raft_entry *entries = raft_calloc(body->n_entries, sizeof(*entries));
    if (batch == NULL || entries == NULL) {
        raft_free(batch);
        raft_free(entries);
        return STATUS_NO_MEMORY;
    }
    if (attachment.size > 0) {
        memcpy(batch, attachment.data, attachment.size);
    }
    size_t offset = 0;
    for (size_t i = 0; i < body->n_entries; i++) {
        entries[i].term = body->entries[i]->term;
        entries[i].type = (enum raft_entry_type)body->entries[i]->type;
        entries[i].buf.base = batch + offset;
        entries[i].buf.len = body->entries[i]->bytes;
        entries[i].batch = batch;
        offset += body->entries[i]->bytes;
    }
    out->entries = entries;
    out->n_entries = (unsigned)body->n_entries;
    return STATUS_OK;
}

static enum status parse_append(const Weir__RaftMessage *body, struct bytes attachment,
                                struct raft_message *message)
{
    if ((body->prev_log_index == 0) != (body->prev_log_term == 0) ||
        body->prev_log_term > body->term) {
        return STATUS_INVALID;
    }
    struct raft_append_entries *append = &message->append_entries;
    append->version = (unsigned char)body->version;
    append->term = body->term;
    append->prev_log_index = body->prev_log_index;
    append->prev_log_term = body->prev_log_term;
    append->leader_commit = body->leader_commit;
    return parse_entries(body, attachment, append);
}

static enum status parse_servers(const Weir__RaftMessage *body, struct raft_configuration *out)
{
    if (body->n_configuration == 0 || body->n_configuration > RAFT_NODE_SERVERS_MAX) {
        return STATUS_INVALID;
    }
    struct raft_configuration configuration;
    raft_configuration_init(&configuration);
    for (size_t i = 0; i < body->n_configuration; i++) {
        const Weir__RaftServer *server = body->configuration[i];
        int rv = RAFT_MALFORMED;
        if (server->id != 0 && server->role <= RAFT_SPARE && strlen(server->address) < 256) {
            rv = raft_configuration_add(&configuration, server->id, server->address,
                                        (int)server->role);
        }
        if (rv != 0) {
            raft_configuration_close(&configuration);
            return rv == RAFT_NOMEM ? STATUS_NO_MEMORY : STATUS_INVALID;
        }
    }
    *out = configuration;
    return STATUS_OK;
}

static enum status parse_snapshot(const Weir__RaftMessage *body, struct bytes attachment,
                                  struct raft_packet *packet)
{
    if (body->last_index == 0 || body->last_term == 0 || body->last_term > body->term ||
        body->configuration_index == 0 || body->configuration_index > body->last_index ||
        body->snapshot_hash.len != RAFT_HASH_BYTES || body->snapshot_bytes == 0 ||
        attachment.size == 0 || attachment.size > RAFT_CHUNK_BYTES_MAX ||
        body->chunk_offset >= body->snapshot_bytes ||
        attachment.size > body->snapshot_bytes - body->chunk_offset) {
        return STATUS_INVALID;
    }
    struct raft_install_snapshot *install = &packet->message.install_snapshot;
    enum status status = parse_servers(body, &install->conf);
    if (status != STATUS_OK) {
        return status;
    }
    install->version = (unsigned char)body->version;
    install->term = body->term;
    install->last_index = body->last_index;
    install->last_term = body->last_term;
    install->conf_index = body->configuration_index;
    packet->snapshot_index = body->last_index;
    packet->snapshot_bytes = body->snapshot_bytes;
    packet->chunk_offset = body->chunk_offset;
    memcpy(packet->snapshot_hash, body->snapshot_hash.data, RAFT_HASH_BYTES);
    packet->chunk = attachment;
    return STATUS_OK;
}

static enum status parse_vote(const Weir__RaftMessage *body, struct raft_message *message)
{
    if (message->type == RAFT_REQUEST_VOTE) {
        if (body->candidate_id == 0 || (body->last_log_index == 0) != (body->last_log_term == 0)) {
            return STATUS_INVALID;
        }
        message->request_vote = (struct raft_request_vote){
            .version = (unsigned char)body->version,
            .term = body->term,
            .candidate_id = body->candidate_id,
            .last_log_index = body->last_log_index,
            .last_log_term = body->last_log_term,
            .disrupt_leader = body->disrupt_leader,
            .pre_vote = body->pre_vote,
        };
        return STATUS_OK;
    }
    message->request_vote_result = (struct raft_request_vote_result){
        .version = (unsigned char)body->version,
        .term = body->term,
        .vote_granted = body->vote_granted,
        .pre_vote = body->pre_vote,
        .features = (unsigned short)body->features,
        .capacity = (unsigned short)body->capacity,
    };
    return STATUS_OK;
}

static enum status parse_body(const Weir__RaftMessage *body, struct bytes attachment,
                              struct raft_packet *packet)
{
    struct raft_message *message = &packet->message;
    packet->type = body->type;
    packet->term = body->term;
    if (body->type <= RAFT_TIMEOUT_NOW) {
        message->type = (enum raft_message_type)body->type;
    }
    if (body->term == 0 || body->term > INT64_MAX || body->version > UINT8_MAX) {
        return STATUS_INVALID;
    }
    switch (body->type) {
    case RAFT_APPEND_ENTRIES:
        return parse_append(body, attachment, message);
    case RAFT_APPEND_ENTRIES_RESULT:
        message->append_entries_result = (struct raft_append_entries_result){
            .version = (unsigned char)body->version,
            .term = body->term,
            .rejected = body->rejected,
            .last_log_index = body->last_log_index,
            .features = (unsigned short)body->features,
            .capacity = (unsigned short)body->capacity,
        };
        return STATUS_OK;
    case RAFT_REQUEST_VOTE:
    case RAFT_REQUEST_VOTE_RESULT:
        return parse_vote(body, message);
    case RAFT_INSTALL_SNAPSHOT:
        return parse_snapshot(body, attachment, packet);
    case RAFT_TIMEOUT_NOW:
        message->timeout_now = (struct raft_timeout_now){
            .version = (unsigned char)body->version,
            .term = body->term,
            .last_log_index = body->last_log_index,
            .last_log_term = body->last_log_term,
        };
        return STATUS_OK;
    case RAFT_READ_PROBE:
    case RAFT_READ_ANSWER:
        packet->round = body->round;
        return STATUS_OK;
    case RAFT_SNAPSHOT_NEXT:
        packet->snapshot_index = body->last_index;
        packet->chunk_offset = body->chunk_offset;
        return STATUS_OK;
    default:
        return STATUS_INVALID;
    }
}

enum status raft_packet_parse(struct bytes body, struct bytes attachment, struct raft_packet *out)
{
    Weir__RaftMessage *message = weir__raft_message__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return STATUS_INVALID;
    }
    struct raft_packet packet = {0};
    enum status status = parse_body(message, attachment, &packet);
    weir__raft_message__free_unpacked(message, NULL);
    if (status == STATUS_OK) {
        *out = packet;
    }
    return status;
}

void raft_packet_release(struct raft_packet *packet)
{
    if (packet->type == RAFT_APPEND_ENTRIES) {
        struct raft_append_entries *append = &packet->message.append_entries;
        if (append->n_entries > 0) {
            raft_free(append->entries[0].batch);
        }
        raft_free(append->entries);
        append->entries = NULL;
        append->n_entries = 0;
    } else if (packet->type == RAFT_INSTALL_SNAPSHOT) {
        raft_configuration_close(&packet->message.install_snapshot.conf);
        raft_configuration_init(&packet->message.install_snapshot.conf);
    }
}
