/* Messages between libraft and the others, and what must be put right in them on the way. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "controller/raft/core.h"

/* ---- out ---- */

struct batch {
    struct raft_entry entries[RAFT_BATCH_ENTRIES];
    struct buf loaded[RAFT_BATCH_ENTRIES]; /* data of entries that are not in memory */
    uint32_t count;
    size_t bytes;
};

static void batch_reset(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        buf_release(&batch->loaded[i]);
    }
    batch->count = 0;
    batch->bytes = 0;
}

static void batch_send(struct raft_core *core, uint32_t to, struct raft_packet *packet,
                       uint64_t prev_index, uint64_t prev_term, struct batch *batch)
{
    struct raft_append_entries *append = &packet->message.append_entries;
    append->prev_log_index = prev_index;
    append->prev_log_term = prev_term;
    append->entries = batch->entries;
    append->n_entries = batch->count;
    core->options.ops->send(core->options.data, to, packet);
}

/* libraft names a range and leaves finding the entries to us. A message is cut before it grows too
 * large; and before a configuration, because libraft's follower would record one that is not the
 * first of its message under a wrong index. */
static void send_entries(struct raft_core *core, uint32_t to, struct raft_packet *packet)
{
    uint64_t prev_index = packet->message.append_entries.prev_log_index;
    uint64_t prev_term = packet->message.append_entries.prev_log_term;
    uint64_t last = prev_index + packet->message.append_entries.n_entries;
    struct batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL) {
        raft_core_fail(core, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    for (uint64_t index = prev_index + 1; index <= last; index++) {
        struct raft_entry_view entry;
        struct buf scratch = {0};
        if (!raft_core_entry(core, index, &entry, &scratch)) {
            buf_release(&scratch);
            break;
        }
        if (batch->count == RAFT_BATCH_ENTRIES ||
            (batch->count > 0 &&
             (entry.type == RAFT_CHANGE || batch->bytes + entry.data.size > RAFT_BATCH_BYTES))) {
            batch_send(core, to, packet, prev_index, prev_term, batch);
            prev_index += batch->count;
            prev_term = batch->entries[batch->count - 1].term;
            batch_reset(batch);
        }
        batch->entries[batch->count] = (struct raft_entry){
            .term = entry.term,
            .type = (enum raft_entry_type)entry.type,
            .buf = {.base = (void *)(uintptr_t)entry.data.data, .len = entry.data.size},
        };
        batch->loaded[batch->count] = scratch;
        batch->count++;
        batch->bytes += entry.data.size;
    }
    if (raft_core_alive(core)) {
        batch_send(core, to, packet, prev_index, prev_term, batch);
    }
    batch_reset(batch);
    free(batch);
}

static void send_one(struct raft_core *core, const struct raft_message *message)
{
    struct raft_packet packet = {.type = (uint32_t)message->type,
                                 .term = raft_current_term(&core->raft),
                                 .message = *message};
    uint32_t to = (uint32_t)message->server_id;
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        send_entries(core, to, &packet);
        return;
    case RAFT_INSTALL_SNAPSHOT:
        raft_core_snapshot_send(core, message);
        return;
    case RAFT_APPEND_ENTRIES_RESULT: {
        /* A refusal for its term leaves this field unset. */
        uint64_t *last = (uint64_t *)&packet.message.append_entries_result.last_log_index;
        if (*last > raft_core_last(core)) {
            *last = raft_core_last(core);
        }
        break;
    }
    case RAFT_REQUEST_VOTE:
        packet.term = message->request_vote.term; /* of a pre-vote: the next one */
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        /* libraft echoes the candidate's own term in every answer to a pre-vote. A candidate that
         * is refused because its term is old must learn the present one, or candidates in three
         * different terms refuse one another for ever. */
        if (!message->request_vote_result.pre_vote || message->request_vote_result.vote_granted) {
            packet.term = message->request_vote_result.term;
        }
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
    core->options.ops->send(core->options.data, to, &packet);
}

void raft_core_send(struct raft_core *core, const struct raft_message *messages, uint32_t count)
{
    for (uint32_t i = 0; i < count && raft_core_alive(core); i++) {
        send_one(core, &messages[i]);
    }
}

/* ---- in ---- */

/* Entries up to our commit index are those that we have: every leader of this term or a later one
 * has them (Raft's leader completeness), so they are left out and the message begins there. libraft
 * itself cannot compare what is compacted away: it would append such entries at a wrong index, or
 * refuse the message for ever. False: what is committed here differs, and nothing is safe. */
static bool clip(struct raft_core *core, struct raft_append_entries *append)
{
    uint64_t commit = raft_commit_index(&core->raft);
    if (commit < core->raft.trail.snapshot.index) {
        commit = core->raft.trail.snapshot.index; /* being installed: it holds what is committed */
    }
    if (append->prev_log_index >= commit) {
        return true;
    }
    uint64_t ahead = commit - append->prev_log_index;
    uint64_t known = append->n_entries < ahead ? append->n_entries : ahead;
    uint64_t term = raft_core_term_of(core, commit);
    if (term == 0 || (known == ahead && append->entries[known - 1].term != term)) {
        return false;
    }
    append->entries += known;
    append->n_entries -= (unsigned)known;
    append->prev_log_index = commit;
    append->prev_log_term = term;
    return true;
}

bool raft_core_is_wanted(struct raft_core *core, uint32_t from, const struct raft_message *message)
{
    struct raft *raft = &core->raft;
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return !(raft_state(raft) == RAFT_LEADER &&
                 message->append_entries.term == raft_current_term(raft));
    case RAFT_INSTALL_SNAPSHOT:
        return !raft->snapshot.installing &&
               !(raft_state(raft) == RAFT_LEADER &&
                 message->install_snapshot.term == raft_current_term(raft));
    case RAFT_APPEND_ENTRIES_RESULT: {
        /* A refusal of what is known to match is late; libraft would step below the match. */
        raft_index match = 0;
        return message->append_entries_result.rejected == 0 ||
               message->append_entries_result.term != raft_current_term(raft) ||
               raft_match_index(raft, from, &match) != 0 ||
               message->append_entries_result.rejected > match;
    }
    case RAFT_REQUEST_VOTE:
        return message->request_vote.candidate_id == from;
    case RAFT_REQUEST_VOTE_RESULT:
        /* libraft looks at a candidate's fields before it asks whether it is one. */
        return raft_state(raft) == RAFT_CANDIDATE &&
               message->request_vote_result.pre_vote == raft->candidate_state.in_pre_vote;
    case RAFT_TIMEOUT_NOW:
        return true;
    }
    return false;
}

/* libraft keeps one uncommitted configuration and the committed one before it. A change that comes
 * while an earlier one has not been seen committed here proves that the earlier one is: leaders
 * make one at a time. libraft would forget it, and roll back to an older one. */
struct earlier_change {
    uint64_t index; /* 0: there is none */
    struct raft_configuration configuration;
};

static void earlier_note(struct raft_core *core, const struct raft_append_entries *append,
                         struct earlier_change *out)
{
    out->index = 0;
    uint64_t index = core->raft.configuration_uncommitted_index;
    if (index == 0 || append->n_entries == 0 || append->entries[0].type != RAFT_CHANGE ||
        append->prev_log_index < index) {
        return;
    }
    struct raft_buffer encoded;
    if (raft_configuration_encode(&core->raft.configuration, &encoded) != 0) {
        raft_core_fail(core, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    if (raft_configuration_decode(&encoded, &out->configuration) != 0) {
        raft_core_fail(core, STATUS_NO_MEMORY, "out of memory");
    } else {
        out->index = index;
    }
    raft_free(encoded.base);
}

static void earlier_settle(struct raft_core *core, struct earlier_change *earlier)
{
    if (earlier->index == 0) {
        return;
    }
    if (core->raft.configuration_uncommitted_index > earlier->index &&
        core->raft.configuration_committed_index < earlier->index) {
        raft_configuration_close(&core->raft.configuration_committed);
        core->raft.configuration_committed = earlier->configuration;
        core->raft.configuration_committed_index = earlier->index;
    } else {
        raft_configuration_close(&earlier->configuration);
    }
}

/* libraft refuses its vote when its own configuration does not make it a voter. It may have been
 * promoted by an entry that it has not got yet, and then its vote can be the one that is missing
 * for ever: the candidate, who knows, decides whether it counts (Raft dissertation, 4.1). */
static void vote(struct raft_core *core, struct raft_event *event)
{
    struct raft_configuration *configuration = &core->raft.configuration;
    for (unsigned i = 0; i < configuration->n; i++) {
        struct raft_server *server = &configuration->servers[i];
        if (server->id == core->options.id && server->role == RAFT_STANDBY) {
            server->role = RAFT_VOTER;
            (void)raft_core_step(core, event, NULL);
            server->role = RAFT_STANDBY;
            return;
        }
    }
    (void)raft_core_step(core, event, NULL);
}

void raft_core_deliver(struct raft_core *core, uint32_t from, struct raft_message *message)
{
    if (!raft_core_is_wanted(core, from, message)) {
        return;
    }
    char address[32];
    (void)snprintf(address, sizeof(address), "controller-%u", from);
    message->server_id = from;
    message->server_address = address;
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = message;
    if (message->type == RAFT_REQUEST_VOTE) {
        vote(core, &event);
        return;
    }
    if (message->type != RAFT_APPEND_ENTRIES) {
        (void)raft_core_step(core, &event, NULL);
        return;
    }
    /* The array stays ours; the batch goes to libraft, or comes back with entries to store. */
    struct raft_append_entries *append = &message->append_entries;
    struct raft_entry *entries = append->entries;
    void *batch = append->n_entries > 0 ? entries[0].batch : NULL;
    if (append->term >= raft_current_term(&core->raft)) {
        core->heard_commit = append->leader_commit;
    }
    if (append->term >= raft_current_term(&core->raft) && !clip(core, append)) {
        raft_core_fail(core, STATUS_CORRUPT,
                       "controller-%u sent an entry that differs from a committed one", from);
    } else {
        if (append->n_entries > 0) {
            batch = NULL;
        }
        struct earlier_change earlier;
        earlier_note(core, append, &earlier);
        (void)raft_core_step(core, &event, NULL);
        earlier_settle(core, &earlier);
    }
    raft_free(batch);
    raft_free(entries);
    append->entries = NULL;
    append->n_entries = 0;
}
