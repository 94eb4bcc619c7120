/* From what the store found to a core that takes part. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "controller/raft/core.h"

/* The configuration that counts: the newest of the log, or the snapshot's. */
static bool alone(const struct raft_core *core, const struct raft_core_state *state)
{
    struct bytes encoded =
        bytes_of(state->snapshot.configuration, state->snapshot.configuration_size);
    for (uint32_t i = 0; i < state->count; i++) {
        if (state->entries[i].type == RAFT_CHANGE) {
            encoded = state->entries[i].data;
        }
    }
    struct raft_buffer buffer = {.base = (void *)(uintptr_t)encoded.data, .len = encoded.size};
    struct raft_configuration configuration;
    if (encoded.size == 0 || raft_configuration_decode(&buffer, &configuration) != 0) {
        return false;
    }
    uint32_t voters = 0;
    bool we_vote = false;
    for (unsigned i = 0; i < configuration.n; i++) {
        if (configuration.servers[i].role == RAFT_VOTER) {
            voters++;
            we_vote = we_vote || configuration.servers[i].id == core->options.id;
        }
    }
    raft_configuration_close(&configuration);
    return we_vote && voters == 1;
}

/* libraft's asserts are compiled out: what it takes for granted is asked here. */
static enum status check(const struct raft_core_state *state, struct error *error)
{
    uint64_t last = state->first + state->count - 1;
    if (state->first > state->snapshot.index + 1 || last < state->snapshot.index ||
        state->term == 0 || (state->snapshot.index == 0 && state->count == 0 && !state->joining)) {
        return error_set(error, STATUS_CORRUPT, "the log does not fit its snapshot");
    }
    if (state->snapshot.index == 0 && state->count > 0 && state->entries[0].type != RAFT_CHANGE) {
        return error_set(error, STATUS_CORRUPT, "the log does not begin with a configuration");
    }
    uint64_t term = 0;
    for (uint32_t i = 0; i < state->count; i++) {
        const struct raft_entry_view *entry = &state->entries[i];
        if (entry->index != state->first + i || entry->term < term || entry->term == 0 ||
            entry->term > state->term) {
            return error_set(error, STATUS_CORRUPT, "entry %llu of the log is out of place",
                             (unsigned long long)state->first + i);
        }
        if (entry->type == RAFT_CHANGE && !raft_configuration_is_sound(entry->data)) {
            return error_set(error, STATUS_CORRUPT, "entry %llu is not a configuration",
                             (unsigned long long)entry->index);
        }
        term = entry->term;
    }
    if (state->applied > last) {
        return error_set(error, STATUS_CORRUPT,
                         "the log ends at %llu, but the state machine has applied %llu: entries "
                         "that were acknowledged are gone, this controller must be replaced",
                         (unsigned long long)last, (unsigned long long)state->applied);
    }
    return STATUS_OK;
}

static enum status start(struct raft_core *core, const struct raft_core_state *state,
                         struct error *error)
{
    struct raft_event event = {.time = core->now, .type = RAFT_START, .capacity = UINT16_MAX};
    event.start.term = state->term;
    event.start.voted_for = state->voted_for;
    if (alone(core, state)) {
        /* libraft leads again in the old term; a term of its own for each run is clearer. */
        event.start.term = state->term + 1;
        event.start.voted_for = core->options.id;
        enum status status = core->options.ops->save_vote(core->options.data, event.start.term,
                                                          event.start.voted_for);
        if (status != STATUS_OK) {
            return error_set(error, status, "the term and vote cannot be stored");
        }
    }
    struct raft_snapshot_metadata metadata = {.index = state->snapshot.index,
                                              .term = state->snapshot.term,
                                              .configuration_index =
                                                  state->snapshot.configuration_index};
    struct raft_entry *entries = raft_calloc(state->count + 1, sizeof(*entries));
    void *batch = raft_malloc(1); /* libraft frees array and batch on an error, and only then */
    if (entries == NULL || batch == NULL) {
        raft_free(entries);
        raft_free(batch);
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < state->count; i++) {
        const struct raft_entry_view *view = &state->entries[i];
        entries[i].term = view->term;
        entries[i].type = (enum raft_entry_type)view->type;
        entries[i].buf.base = (void *)(uintptr_t)view->data.data;
        entries[i].buf.len = view->data.size;
        entries[i].batch = batch;
    }
    if (state->snapshot.index != 0) {
        struct raft_buffer encoded = {.base = (void *)(uintptr_t)state->snapshot.configuration,
                                      .len = state->snapshot.configuration_size};
        if (raft_configuration_decode(&encoded, &metadata.configuration) != 0) {
            raft_free(entries);
            raft_free(batch);
            return error_set(error, STATUS_CORRUPT, "the snapshot's configuration is damaged");
        }
        event.start.metadata = &metadata;
    }
    event.start.start_index = state->first;
    event.start.entries = entries;
    event.start.n_entries = state->count;
    if (!raft_core_step(core, &event, NULL)) {
        *error = core->error;
        return core->error.status;
    }
    raft_free(entries);
    raft_free(batch);
    return STATUS_OK;
}

static enum status prepare(struct raft_core *core, const struct raft_core_state *state,
                           struct error *error)
{
    enum status status = check(state, error);
    if (status != STATUS_OK) {
        return status;
    }
    core->snapshot = state->snapshot;
    core->applied = state->applied;
    core->bytes_since_snapshot = state->bytes;
    if (core->applied < core->snapshot.index) {
        status = core->options.ops->restore(core->options.data, core->snapshot.index, error);
        if (status != STATUS_OK) {
            return status;
        }
        core->applied = core->snapshot.index;
    }
    raft_tail_init(&core->tail, state->first + state->count);
    status = start(core, state, error);
    if (status == STATUS_OK) {
        /* The first entry is the configuration that was bootstrapped, which libraft takes for
         * committed. */
        uint64_t first = state->count > 0 ? 1 : 0;
        core->cursor = core->snapshot.index != 0 ? core->snapshot.index : first;
        core->poll = true;
    }
    return status;
}

enum status raft_core_init(struct raft_core *core, const struct raft_core_options *options,
                           const struct raft_core_state *state, uint64_t now, struct error *error)
{
    *core = (struct raft_core){.options = *options, .now = now, .term_start = UINT64_MAX};
    list_init(&core->writes);
    list_init(&core->submitted);
    list_init(&core->finished);
    list_init(&core->reads);
    char address[32];
    (void)snprintf(address, sizeof(address), "controller-%u", options->id);
    if (raft_init(&core->raft, NULL, NULL, options->id, address) != 0) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    raft_seed(&core->raft, options->seed);
    raft_set_heartbeat_timeout(&core->raft, options->heartbeat_ms);
    raft_set_election_timeout(&core->raft, options->election_ms);
    raft_set_pre_vote(&core->raft, true);
    raft_set_max_inflight_entries(&core->raft, RAFT_BATCH_ENTRIES);
    enum status status = prepare(core, state, error);
    if (status != STATUS_OK) {
        raft_core_release(core);
    }
    return status;
}

static void answer(struct list *list, enum status status)
{
    while (!list_empty(list)) {
        struct raft_node_request *request =
            CONTAINER_OF(list_pop(list), struct raft_node_request, node);
        request->done(request, status);
    }
}

void raft_core_release(struct raft_core *core)
{
    if (raft_core_alive(core)) {
        (void)error_set(&core->error, STATUS_CLOSING, "closed");
    }
    while (!list_empty(&core->finished)) {
        struct raft_node_request *request =
            CONTAINER_OF(list_pop(&core->finished), struct raft_node_request, node);
        request->done(request, (enum status)request->round);
    }
    answer(&core->submitted, STATUS_UNCERTAIN);
    answer(&core->reads, STATUS_CLOSING);
    while (!list_empty(&core->writes)) {
        free(CONTAINER_OF(list_pop(&core->writes), struct raft_write, node));
    }
    raft_tail_release(&core->tail);
    raft_close(&core->raft, NULL);
}
