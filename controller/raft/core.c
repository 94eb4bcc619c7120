#include "controller/raft/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/cleanup.h"

enum {
    APPLY_BATCH = 512,           /* entries handled before the loop gets its turn */
    APPLY_BATCH_BYTES = 1 << 20, /* or bytes */
};

/* libraft defines these without parentheses. */
enum {
    UPDATED_TERM = RAFT_UPDATE_CURRENT_TERM,
    UPDATED_VOTE = RAFT_UPDATE_VOTED_FOR,
    UPDATED_ENTRIES = RAFT_UPDATE_ENTRIES,
    UPDATED_SNAPSHOT = RAFT_UPDATE_SNAPSHOT,
    UPDATED_MESSAGES = RAFT_UPDATE_MESSAGES,
    UPDATED_STATE = RAFT_UPDATE_STATE,
};

static void tell(struct raft_core *core);

void raft_core_fail(struct raft_core *core, enum status status, const char *format, ...)
{
    if (!raft_core_alive(core)) {
        return;
    }
    va_list args;
    va_start(args, format);
    char text[ERROR_TEXT_BYTES];
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)error_set(&core->error, status, "%s", text);
    raft_core_requests_lost(core);
    core->poll = true;
}

uint64_t raft_core_last(const struct raft_core *core)
{
    return core->tail.next - 1;
}

/* ---- entries ---- */

bool raft_core_entry(struct raft_core *core, uint64_t index, struct raft_entry_view *out,
                     struct buf *scratch)
{
    if (raft_tail_get(&core->tail, index, out)) {
        return true;
    }
    uint64_t term = 0;
    uint32_t type = 0;
    scratch->size = 0;
    enum status status = core->options.ops->load(core->options.data, index, &term, &type, scratch);
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "entry %llu of the log cannot be read back: %s",
                       (unsigned long long)index, status_text(status));
        return false;
    }
    *out = (struct raft_entry_view){
        .index = index, .term = term, .type = type, .data = buf_bytes(scratch)};
    return true;
}

uint64_t raft_core_term_of(struct raft_core *core, uint64_t index)
{
    if (index == core->raft.trail.snapshot.index) {
        return core->raft.trail.snapshot.term;
    }
    if (index <= core->raft.trail.offset || index > raft_core_last(core)) {
        return 0;
    }
    AUTO(buf_release) struct buf scratch = {0};
    struct raft_entry_view entry;
    return raft_core_entry(core, index, &entry, &scratch) ? entry.term : 0;
}

bool raft_core_write_add(struct raft_core *core, enum raft_write_kind kind, uint64_t id,
                         uint64_t first, uint64_t last)
{
    struct raft_write *write = calloc(1, sizeof(*write));
    if (write == NULL) {
        raft_core_fail(core, STATUS_NO_MEMORY, "out of memory");
        return false;
    }
    *write = (struct raft_write){.id = id, .kind = kind, .first = first, .last = last};
    list_push(&core->writes, &write->node);
    return true;
}

/* Entries that libraft wants on disk. A batch always begins where the log must end: what was behind
 * is replaced, and writes of it that are still under way must not be reported. */
static void append_entries(struct raft_core *core, const struct raft_update *update)
{
    const struct raft_entry *batch = update->entries.batch;
    uint64_t first = update->entries.index;
    uint32_t count = update->entries.n;
    struct raft_entry_view *views = calloc(count, sizeof(*views));
    enum status status = views == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    LIST_FOR_EACH (node, &core->writes) {
        struct raft_write *write = CONTAINER_OF(node, struct raft_write, node);
        if (write->kind == RAFT_WRITE_ENTRIES && write->last >= first) {
            write->last = first - 1;
        }
    }
    raft_tail_truncate(&core->tail, first);
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        views[i] = (struct raft_entry_view){.index = first + i,
                                            .term = batch[i].term,
                                            .type = (uint32_t)batch[i].type,
                                            .data = bytes_of(batch[i].buf.base, batch[i].buf.len)};
        status = raft_tail_append(&core->tail, &views[i]);
    }
    uint64_t write = 0;
    if (status == STATUS_OK) {
        status = core->options.ops->append(core->options.data, first, views, count, &write);
    }
    free(views);
    raft_free(batch[0].batch);
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "entries cannot be stored: %s", status_text(status));
        return;
    }
    (void)raft_core_write_add(core, RAFT_WRITE_ENTRIES, write, first, first + count - 1);
}

/* ---- steps ---- */

static void state_updated(struct raft_core *core)
{
    if (raft_state(&core->raft) == RAFT_LEADER) {
        core->term_start = raft_core_last(core);
        /* No answer to an earlier leadership of ours, or to an earlier run, may count. */
        core->round = core->round_done = raft_current_term(&core->raft) << 24;
        return;
    }
    core->term_start = UINT64_MAX;
    for (uint32_t i = 0; i < RAFT_NODE_SERVERS_MAX; i++) {
        core->transfers[i] = (struct raft_transfer_out){0};
    }
    raft_core_requests_lost(core);
}

bool raft_core_step(struct raft_core *core, struct raft_event *event, int *out_rv)
{
    if (!raft_core_alive(core)) {
        return false;
    }
    struct raft_update update = {0};
    event->time = core->now;
    event->capacity = UINT16_MAX;
    int rv = raft_step(&core->raft, event, &update);
    if (rv != 0) {
        if (out_rv != NULL && rv != RAFT_NOMEM) {
            *out_rv = rv;
            return false;
        }
        raft_core_fail(core, rv == RAFT_SHUTDOWN ? STATUS_CORRUPT : STATUS_INTERNAL,
                       "libraft refused an event of type %d: %s (%s)", (int)event->type,
                       raft_strerror(rv), raft_errmsg(&core->raft));
        return false;
    }
    if ((update.flags & (unsigned)(UPDATED_TERM | UPDATED_VOTE)) != 0) {
        enum status status = core->options.ops->save_vote(
            core->options.data, raft_current_term(&core->raft), raft_voted_for(&core->raft));
        if (status != STATUS_OK) {
            raft_core_fail(core, status, "the term and vote cannot be stored: %s",
                           status_text(status));
        }
    }
    if ((update.flags & (unsigned)UPDATED_ENTRIES) != 0) {
        append_entries(core, &update);
    }
    if ((update.flags & (unsigned)UPDATED_STATE) != 0) {
        state_updated(core);
    }
    if ((update.flags & (unsigned)UPDATED_SNAPSHOT) != 0) {
        raft_core_install(core, &update);
    }
    if ((update.flags & (unsigned)UPDATED_MESSAGES) != 0 && raft_core_alive(core)) {
        raft_core_send(core, update.messages.batch, update.messages.n);
    }
    return raft_core_alive(core);
}

/* ---- committed entries ---- */

/* Never beyond what is on our own disk: the state machine must not be ahead of the log after a
 * crash. */
static uint64_t ready(const struct raft_core *core)
{
    uint64_t commit = raft_commit_index(&core->raft);
    return commit < core->raft.last_stored ? commit : core->raft.last_stored;
}

static void handle_configuration(struct raft_core *core, const struct raft_entry_view *entry)
{
    struct raft_buffer encoded = {.base = (void *)(uintptr_t)entry->data.data,
                                  .len = entry->data.size};
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    event.configuration.index = entry->index;
    if (!raft_configuration_is_sound(entry->data) ||
        raft_configuration_decode(&encoded, &event.configuration.conf) != 0) {
        raft_core_fail(core, STATUS_CORRUPT, "entry %llu is not a configuration",
                       (unsigned long long)entry->index);
        return;
    }
    (void)raft_core_step(core, &event, NULL);
}

/* A change of the configuration that somebody waits for. */
static void finish_change(struct raft_core *core, const struct raft_entry_view *entry)
{
    struct raft_node_request *request = raft_core_request_of(core, entry->index, entry->term);
    if (request != NULL && raft_core_alive(core)) {
        raft_core_request_finish(core, request, STATUS_OK);
    }
}

static void handle_command(struct raft_core *core, const struct raft_entry_view *entry)
{
    struct raft_node_command command = {
        .index = entry->index,
        .term = entry->term,
        .entry = entry->data,
        .request = raft_core_request_of(core, entry->index, entry->term),
    };
    struct error error = {.status = STATUS_OK};
    enum status status = core->options.ops->apply(core->options.data, &command, &error);
    if (status != STATUS_OK) {
        raft_core_fail(core, status, "command %llu cannot be applied: %s",
                       (unsigned long long)entry->index, error.text);
        return;
    }
    core->applied = entry->index;
    /* It may have been forgotten meanwhile. */
    struct raft_node_request *request = raft_core_request_of(core, entry->index, entry->term);
    if (request != NULL) {
        raft_core_request_finish(core, request, STATUS_OK);
    }
}

/* A bounded number of committed entries; core->poll says whether there are more. */
static void advance(struct raft_core *core)
{
    AUTO(buf_release) struct buf scratch = {0};
    uint64_t bytes = 0;
    for (uint32_t i = 0; raft_core_alive(core) && core->cursor < ready(core); i++) {
        struct raft_entry_view entry;
        if (i == APPLY_BATCH || bytes > APPLY_BATCH_BYTES) {
            core->poll = true;
            return;
        }
        if (!raft_core_entry(core, core->cursor + 1, &entry, &scratch)) {
            return;
        }
        bytes += entry.data.size;
        core->bytes_since_snapshot += entry.data.size;
        if (entry.type == RAFT_CHANGE) {
            handle_configuration(core, &entry);
            finish_change(core, &entry);
        } else if (entry.type == RAFT_COMMAND && entry.index > core->applied) {
            handle_command(core, &entry);
        }
        if (raft_core_alive(core)) {
            core->cursor++;
        }
    }
    raft_tail_evict(&core->tail, core->cursor, core->options.tail_bytes);
}

/* ---- calls from outside ---- */

void raft_core_enter(struct raft_core *core, uint64_t now)
{
    core->depth++;
    if (now > core->now) {
        core->now = now;
    }
}

/* Callbacks come here, at the end of the outermost call, when libraft is in order again. */
void raft_core_leave(struct raft_core *core)
{
    if (core->depth == 1) {
        core->poll = false;
        if (raft_core_alive(core)) {
            advance(core);
            raft_core_requests_advance(core);
            tell(core);
            raft_core_snapshot_maybe_take(core);
        }
        while (!list_empty(&core->finished)) {
            struct raft_node_request *request =
                CONTAINER_OF(list_pop(&core->finished), struct raft_node_request, node);
            request->done(request, (enum status)request->round);
        }
        tell(core);
    }
    core->depth--;
}

static void tell(struct raft_core *core)
{
    bool active = raft_core_is_active(core);
    uint64_t term = raft_current_term(&core->raft);
    uint32_t leader = raft_core_leader(core);
    if (core->told && active == core->told_active && term == core->told_term &&
        leader == core->told_leader) {
        return;
    }
    core->told = true;
    core->told_active = active;
    core->told_term = term;
    core->told_leader = leader;
    core->options.ops->changed(core->options.data, active, term, leader);
}

/* A candidate whose election failed asks for pre-votes again, instead of raising its term for as
 * long as it is cut off. A follower that stays one, because it does not know that it votes, would
 * believe in its leader for ever, and refuse everybody else. */
static void before_timeout(struct raft_core *core)
{
    struct raft *raft = &core->raft;
    if (raft_state(raft) == RAFT_CANDIDATE && raft->pre_vote) {
        raft->candidate_state.in_pre_vote = true;
    }
    if (raft_state(raft) == RAFT_FOLLOWER) {
        raft->follower_state.current_leader.id = 0;
    }
}

void raft_core_tick(struct raft_core *core, uint64_t now)
{
    raft_core_enter(core, now);
    if (raft_core_alive(core) && core->now >= raft_timeout(&core->raft)) {
        before_timeout(core);
        struct raft_event event = {.type = RAFT_TIMEOUT};
        (void)raft_core_step(core, &event, NULL);
    }
    if (raft_core_alive(core)) {
        raft_core_read_tick(core);
        raft_core_snapshot_tick(core);
    }
    raft_core_leave(core);
}

uint64_t raft_core_deadline(const struct raft_core *core)
{
    if (core->poll || !list_empty(&core->finished)) {
        return core->now;
    }
    if (!raft_core_alive(core)) {
        return UINT64_MAX;
    }
    uint64_t timeout = raft_timeout(&core->raft);
    return timeout > core->now ? timeout : core->now + 1;
}

static void written(struct raft_core *core, const struct raft_write *write)
{
    switch (write->kind) {
    case RAFT_WRITE_ENTRIES:
        /* Those that a snapshot replaces come before its own write. */
        if (write->last >= write->first && write->last > core->raft.last_stored &&
            !core->raft.snapshot.installing) {
            struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
            event.persisted_entries.index = write->last;
            (void)raft_core_step(core, &event, NULL);
        }
        break;
    case RAFT_WRITE_SNAPSHOT:
        raft_core_snapshot_saved(core);
        break;
    case RAFT_WRITE_INSTALL:
        raft_core_installed(core);
        break;
    }
}

void raft_core_written(struct raft_core *core, uint64_t now, uint64_t write_id)
{
    raft_core_enter(core, now);
    while (raft_core_alive(core) && !list_empty(&core->writes)) {
        struct raft_write *write = CONTAINER_OF(core->writes.next, struct raft_write, node);
        if (write->id > write_id) {
            break;
        }
        list_remove(&write->node);
        written(core, write);
        free(write);
    }
    raft_core_leave(core);
}

void raft_core_receive(struct raft_core *core, uint64_t now, uint32_t from,
                       struct raft_packet *packet)
{
    raft_core_enter(core, now);
    if (raft_core_alive(core)) {
        switch (packet->type) {
        case RAFT_READ_PROBE:
            raft_core_read_probe(core, from, packet);
            break;
        case RAFT_READ_ANSWER:
            raft_core_read_answer(core, from, packet);
            break;
        case RAFT_SNAPSHOT_NEXT:
            raft_core_snapshot_next(core, from, packet);
            break;
        case RAFT_INSTALL_SNAPSHOT:
            raft_core_snapshot_chunk(core, from, packet);
            break;
        default:
            raft_core_deliver(core, from, &packet->message);
            break;
        }
    }
    raft_core_leave(core);
}

void raft_core_suspect(struct raft_core *core, uint64_t now, uint32_t id)
{
    raft_core_enter(core, now);
    struct raft *raft = &core->raft;
    if (raft_core_alive(core) && raft_state(raft) == RAFT_FOLLOWER &&
        raft->follower_state.current_leader.id == id) {
        /* A fresh, short and random wait from now on; whoever still hears the leader refuses the
         * pre-vote. */
        uint32_t wait = raft_random(&raft->random, core->options.heartbeat_ms,
                                    core->options.heartbeat_ms + core->options.election_ms / 2);
        uint64_t left = raft_timeout(raft) > core->now ? raft_timeout(raft) - core->now : 0;
        if (wait < left) {
            raft->election_timer_start -= left - wait;
        }
        raft->follower_state.current_leader.id = 0; /* so that we may grant a pre-vote at once */
    }
    raft_core_leave(core);
}

bool raft_core_is_active(const struct raft_core *core)
{
    return raft_core_alive(core) && core->raft.state == RAFT_LEADER &&
           core->cursor >= core->term_start;
}

uint32_t raft_core_leader(const struct raft_core *core)
{
    if (core->raft.state == RAFT_LEADER) {
        return core->options.id;
    }
    return core->raft.state == RAFT_FOLLOWER ? (uint32_t)core->raft.follower_state.current_leader.id
                                             : 0;
}

enum status raft_core_submit(struct raft_core *core, uint64_t now, struct bytes entry,
                             struct raft_node_request *request)
{
    if (!raft_core_alive(core)) {
        return STATUS_UNAVAILABLE;
    }
    if (entry.size == 0) {
        return STATUS_INVALID;
    }
    if (entry.size > RAFT_NODE_ENTRY_MAX) {
        return STATUS_TOO_LARGE;
    }
    if (!raft_core_is_active(core)) {
        return STATUS_NOT_ACTIVE;
    }
    if (raft_core_last(core) - core->cursor >= RAFT_NODE_INFLIGHT_MAX ||
        raft_transferee(&core->raft) != 0) {
        return STATUS_BUSY;
    }
    void *batch = raft_malloc(entry.size);
    if (batch == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(batch, entry.data, entry.size);
    if (now > core->now) {
        core->now = now;
    }
    return raft_core_append(core, RAFT_COMMAND, batch, entry.size, request);
}

enum status raft_core_append(struct raft_core *core, uint32_t type, void *batch, size_t size,
                             struct raft_node_request *request)
{
    struct raft_entry new = {
        .term = raft_current_term(&core->raft), .type = (enum raft_entry_type)type, .batch = batch};
    new.buf.base = batch;
    new.buf.len = size;
    struct raft_event event = {.type = RAFT_SUBMIT};
    event.submit.entries = &new;
    event.submit.n = 1;
    int rv = 0;
    uint64_t index = raft_core_last(core) + 1, term = new.term;
    if (!raft_core_step(core, &event, &rv)) {
        if (rv != 0) {
            raft_free(batch); /* taken otherwise */
        }
        return rv == RAFT_NOTLEADER    ? STATUS_NOT_ACTIVE
               : rv == RAFT_CANTCHANGE ? STATUS_BUSY
                                       : STATUS_UNAVAILABLE;
    }
    if (request != NULL) {
        request->index = index;
        request->term = term;
        list_push(&core->submitted, &request->node);
    }
    return STATUS_OK;
}

enum status raft_core_transfer(struct raft_core *core, uint64_t now, uint32_t to)
{
    if (!raft_core_is_active(core)) {
        return STATUS_NOT_ACTIVE;
    }
    if (raft_transferee(&core->raft) != 0) {
        return STATUS_BUSY;
    }
    if (now > core->now) {
        core->now = now;
    }
    struct raft_event event = {.type = RAFT_TRANSFER};
    event.transfer.server_id = to;
    int rv = 0;
    if (!raft_core_step(core, &event, &rv)) {
        return rv == 0 ? STATUS_UNAVAILABLE : STATUS_INVALID;
    }
    return STATUS_OK;
}
