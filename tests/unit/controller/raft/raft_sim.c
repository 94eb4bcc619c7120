#include "raft_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

enum { COMMANDS_MAX = 1 << 16, TERMS_MAX = 1 << 14, MESSAGES_MAX = 8192 };

struct disk_entry {
    uint64_t term;
    uint32_t type;
    struct buf data;
};

struct disk_write {
    struct list node;
    uint64_t id, due_ms;
    enum raft_write_kind kind;
    bool compact, durable;
    uint64_t from; /* entries from here on; or compact up to */
    struct disk_entry *entries;
    uint32_t count;
    struct raft_snapshot_info info;
    struct buf snapshot;
};

struct machine_record {
    uint64_t index, command;
};

struct machine {
    struct machine_record *records;
    uint64_t count, capacity;
};

struct node {
    struct sim *sim;
    uint32_t id;
    bool up, cut;
    uint64_t restart_ms, stalled_until;
    struct raft_core core;
    /* the disk */
    uint64_t term, voted_for, first, count;
    struct disk_entry *log;
    uint64_t log_capacity;
    struct raft_snapshot_info info;
    struct buf snapshot;
    struct list writes;
    uint64_t next_write;
    struct buf incoming, taken;
    bool taking;
    uint64_t taken_ms;
    struct machine machine;
    uint64_t machine_base; /* a crash does not take the machine below this record */
};

struct message {
    uint64_t due_ms;
    uint32_t from, to;
    struct buf body, attachment;
};

struct pending {
    struct raft_node_request request;
    struct sim *sim;
    struct node *node;
    uint64_t command, must_see;
};

struct sim {
    struct sim_options options;
    struct rng rng;
    uint64_t now;
    bool chaos, lossy;
    struct node nodes[SIM_NODES_MAX];
    bool links[SIM_NODES_MAX][SIM_NODES_MAX];
    struct message *messages;
    uint32_t message_count;
    uint64_t *committed; /* command by index */
    uint32_t *leaders;   /* by term */
    uint64_t next_command, acked_index;
    uint8_t *acked;     /* by index */
    uint64_t *acked_in; /* the last index, by term */
    struct sim_counters counters;
    char violation[256];
};

static void violate(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void violate(struct sim *sim, const char *format, ...)
{
    if (sim->violation[0] == 0) {
        va_list args;
        va_start(args, format);
        int used = snprintf(sim->violation, sizeof(sim->violation),
                            "seed %llu at %llu ms: ", (unsigned long long)sim->options.seed,
                            (unsigned long long)sim->now);
        (void)vsnprintf(sim->violation + used, sizeof(sim->violation) - (size_t)used, format, args);
        va_end(args);
    }
}

/* ---- disk ---- */

static void entries_free(struct disk_entry *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        buf_release(&entries[i].data);
    }
}

static void disk_truncate(struct node *node, uint64_t from)
{
    uint64_t keep = from > node->first ? from - node->first : 0;
    if (keep < node->count) {
        entries_free(node->log + keep, node->count - keep);
        node->count = keep;
    }
}

static void disk_push(struct node *node, struct disk_entry *entry)
{
    if (node->count == node->log_capacity) {
        node->log_capacity = node->log_capacity * 2 + 64;
        node->log = realloc(node->log, node->log_capacity * sizeof(*node->log));
        CHECK(node->log != NULL);
    }
    node->log[node->count++] = *entry;
    *entry = (struct disk_entry){0};
}

static void write_free(struct disk_write *write)
{
    entries_free(write->entries, write->count);
    free(write->entries);
    buf_release(&write->snapshot);
    free(write);
}

static void disk_apply(struct node *node, struct disk_write *write)
{
    if (write->durable) {
        return;
    }
    write->durable = true;
    if (write->compact) {
        uint64_t drop = write->from >= node->first ? write->from - node->first + 1 : 0;
        drop = drop < node->count ? drop : node->count;
        entries_free(node->log, drop);
        memmove(node->log, node->log + drop, (node->count - drop) * sizeof(*node->log));
        node->count -= drop;
        node->first += drop;
        return;
    }
    if (write->kind == RAFT_WRITE_ENTRIES) {
        disk_truncate(node, write->from);
        CHECK(write->from == node->first + node->count);
        for (uint32_t i = 0; i < write->count; i++) {
            disk_push(node, &write->entries[i]);
        }
        return;
    }
    node->info = write->info;
    buf_release(&node->snapshot);
    node->snapshot = write->snapshot;
    write->snapshot = (struct buf){0};
    if (write->kind == RAFT_WRITE_INSTALL) {
        disk_truncate(node, node->first);
        node->first = write->info.index + 1;
    }
}

static struct disk_write *disk_queue(struct node *node, enum raft_write_kind kind,
                                     uint64_t *out_write)
{
    struct disk_write *write = calloc(1, sizeof(*write));
    CHECK(write != NULL);
    write->kind = kind;
    write->id = ++node->next_write;
    write->due_ms = node->sim->now + rng_below(&node->sim->rng, node->sim->options.write_ms + 1);
    if (!list_empty(&node->writes)) {
        uint64_t before = CONTAINER_OF(node->writes.prev, struct disk_write, node)->due_ms;
        write->due_ms = write->due_ms > before ? write->due_ms : before;
    }
    list_push(&node->writes, &write->node);
    if (out_write != NULL) {
        *out_write = write->id;
    }
    return write;
}

static enum status op_save_vote(void *data, uint64_t term, uint64_t voted_for)
{
    struct node *node = data;
    LIST_FOR_EACH (link, &node->writes) {
        disk_apply(node, CONTAINER_OF(link, struct disk_write, node));
    }
    if (term < node->term ||
        (term == node->term && node->voted_for != 0 && node->voted_for != voted_for)) {
        violate(node->sim, "controller-%u takes back its vote", node->id);
    }
    node->term = term;
    node->voted_for = voted_for;
    return STATUS_OK;
}

static enum status op_append(void *data, uint64_t from, const struct raft_entry_view *entries,
                             uint32_t count, uint64_t *out_write)
{
    struct disk_write *write = disk_queue(data, RAFT_WRITE_ENTRIES, out_write);
    write->from = from;
    write->count = count;
    write->entries = calloc(count, sizeof(*write->entries));
    CHECK(write->entries != NULL);
    for (uint32_t i = 0; i < count; i++) {
        write->entries[i].term = entries[i].term;
        write->entries[i].type = entries[i].type;
        CHECK(buf_append(&write->entries[i].data, entries[i].data.data, entries[i].data.size) ==
              STATUS_OK);
    }
    return STATUS_OK;
}

static enum status op_save_snapshot(void *data, const struct raft_snapshot_info *snapshot,
                                    uint64_t *out_write)
{
    struct node *node = data;
    struct disk_write *write = disk_queue(node, RAFT_WRITE_SNAPSHOT, out_write);
    write->info = *snapshot;
    write->snapshot = node->taken;
    node->taken = (struct buf){0};
    return STATUS_OK;
}

static enum status op_compact(void *data, uint64_t upto)
{
    struct disk_write *write = disk_queue(data, RAFT_WRITE_ENTRIES, NULL);
    write->compact = true;
    write->from = upto;
    return STATUS_OK;
}

static enum status op_install(void *data, const struct raft_snapshot_info *snapshot,
                              uint64_t *out_write)
{
    struct node *node = data;
    struct disk_write *write = disk_queue(node, RAFT_WRITE_INSTALL, out_write);
    write->info = *snapshot;
    write->snapshot = node->incoming;
    node->incoming = (struct buf){0};
    return STATUS_OK;
}

static enum status op_load(void *data, uint64_t index, uint64_t *out_term, uint32_t *out_type,
                           struct buf *buf)
{
    struct node *node = data;
    if (index < node->first || index >= node->first + node->count) {
        return STATUS_CORRUPT;
    }
    const struct disk_entry *entry = &node->log[index - node->first];
    *out_term = entry->term;
    *out_type = entry->type;
    node->sim->counters.loads++;
    return buf_append(buf, entry->data.data, entry->data.size);
}

/* ---- snapshots and the state machine ---- */

static void machine_push(struct machine *machine, uint64_t index, uint64_t command)
{
    if (machine->count == machine->capacity) {
        machine->capacity = machine->capacity * 2 + 64;
        machine->records = realloc(machine->records, machine->capacity * sizeof(*machine->records));
        CHECK(machine->records != NULL);
    }
    machine->records[machine->count++] =
        (struct machine_record){.index = index, .command = command};
}

static uint64_t machine_index(const struct machine *machine)
{
    return machine->count == 0 ? 0 : machine->records[machine->count - 1].index;
}

static enum status op_take_snapshot(void *data)
{
    struct node *node = data;
    node->taking = true;
    node->taken_ms = node->sim->now + rng_below(&node->sim->rng, 40);
    return STATUS_OK;
}

static void hash_of(struct bytes bytes, uint8_t out[RAFT_HASH_BYTES])
{
    uint64_t hash = 14695981039346656037ULL;
    for (size_t i = 0; i < bytes.size; i++) {
        hash = (hash ^ bytes.data[i]) * 1099511628211ULL;
    }
    memset(out, 0, RAFT_HASH_BYTES);
    put_u64(out, hash);
}

static void snapshot_taken(struct node *node)
{
    struct raft_snapshot_info info = {0};
    node->taking = false;
    buf_release(&node->taken);
    node->taken = (struct buf){0};
    CHECK(buf_append(&node->taken, node->machine.records,
                     node->machine.count * sizeof(*node->machine.records)) == STATUS_OK);
    info.index = machine_index(&node->machine);
    info.bytes = node->taken.size;
    hash_of(buf_bytes(&node->taken), info.hash);
    node->sim->counters.snapshots++;
    raft_core_snapshot_taken(&node->core, node->sim->now, STATUS_OK, &info);
}

static enum status op_read_snapshot(void *data, uint64_t offset, uint8_t *out, size_t size)
{
    struct node *node = data;
    CHECK(offset + size <= node->snapshot.size);
    memcpy(out, node->snapshot.data + offset, size);
    return STATUS_OK;
}

static enum status op_receive_begin(void *data)
{
    struct node *node = data;
    buf_release(&node->incoming);
    node->incoming = (struct buf){0};
    return STATUS_OK;
}

static enum status op_receive_append(void *data, struct bytes chunk)
{
    return buf_append(&((struct node *)data)->incoming, chunk.data, chunk.size);
}

static enum status op_receive_end(void *data, const uint8_t hash[RAFT_HASH_BYTES])
{
    uint8_t own[RAFT_HASH_BYTES];
    hash_of(buf_bytes(&((struct node *)data)->incoming), own);
    return memcmp(own, hash, RAFT_HASH_BYTES) == 0 ? STATUS_OK : STATUS_CORRUPT;
}

static enum status op_restore(void *data, uint64_t index, struct error *error)
{
    struct node *node = data;
    (void)error;
    node->machine.count = 0;
    const struct machine_record *records = (const void *)node->snapshot.data;
    for (uint64_t i = 0; i < node->snapshot.size / sizeof(*records); i++) {
        machine_push(&node->machine, records[i].index, records[i].command);
    }
    node->sim->counters.restores++;
    if (machine_index(&node->machine) != index) {
        violate(node->sim, "controller-%u restores another index", node->id);
    }
    return STATUS_OK;
}

static enum status op_apply(void *data, const struct raft_node_command *command,
                            struct error *error)
{
    struct node *node = data;
    struct sim *sim = node->sim;
    (void)error;
    uint64_t id = get_u64(command->entry.data);
    CHECK(command->index < COMMANDS_MAX);
    if (command->index <= machine_index(&node->machine)) {
        violate(sim, "controller-%u applies %llu twice", node->id,
                (unsigned long long)command->index);
    }
    if (command->index >= node->first + node->count) {
        violate(sim, "controller-%u applies what is not on its disk", node->id);
    }
    if (sim->committed[command->index] == 0) {
        sim->committed[command->index] = id;
    } else if (sim->committed[command->index] != id) {
        violate(sim, "controller-%u applies another command at %llu", node->id,
                (unsigned long long)command->index);
    }
    machine_push(&node->machine, command->index, id);
    sim->counters.applied++;
    return STATUS_OK;
}

static void op_changed(void *data, bool active, uint64_t term, uint32_t leader)
{
    struct node *node = data;
    struct sim *sim = node->sim;
    (void)leader;
    CHECK(term < TERMS_MAX);
    if (active) {
        if (sim->leaders[term] == 0) {
            sim->leaders[term] = node->id;
            sim->counters.elections++;
        } else if (sim->leaders[term] != node->id) {
            violate(sim, "two leaders in term %llu", (unsigned long long)term);
        }
        for (uint64_t earlier = 0; earlier < term; earlier++) {
            if (machine_index(&node->machine) < sim->acked_in[earlier]) {
                violate(sim, "controller-%u is active without what was acknowledged", node->id);
            }
        }
    }
}

/* ---- network ---- */

static void pack(struct message *message, const struct raft_packet *packet)
{
    struct raft_frame *frame = calloc(1, sizeof(*frame));
    CHECK(frame != NULL);
    raft_frame_fill(frame, packet);
    size_t size = weir__raft_message__get_packed_size(&frame->body);
    CHECK(buf_reserve(&message->body, size + 1) == STATUS_OK);
    message->body.size = weir__raft_message__pack(&frame->body, message->body.data);
    for (uint32_t i = 0; i < frame->piece_count; i++) {
        CHECK(buf_append(&message->attachment, frame->pieces[i].data, frame->pieces[i].size) ==
              STATUS_OK);
    }
    free(frame);
}

static void op_send(void *data, uint32_t to, const struct raft_packet *packet)
{
    struct node *node = data;
    struct sim *sim = node->sim;
    if (to == 0 || to > sim->options.nodes) {
        return;
    }
    uint32_t copies = sim->lossy && rng_once_in(&sim->rng, sim->options.duplicate_one_in) ? 2 : 1;
    for (uint32_t i = 0; i < copies && sim->message_count < MESSAGES_MAX; i++) {
        if (sim->lossy && rng_once_in(&sim->rng, sim->options.loss_one_in)) {
            continue;
        }
        struct message *message = &sim->messages[sim->message_count++];
        *message = (struct message){.from = node->id, .to = to};
        message->due_ms = sim->now + 1 + rng_below(&sim->rng, sim->options.delay_ms + 1);
        pack(message, packet);
    }
}

static void message_deliver(struct sim *sim, struct message *message)
{
    struct node *node = &sim->nodes[message->to - 1];
    if (node->up && sim->links[message->from - 1][message->to - 1] && !node->cut &&
        !sim->nodes[message->from - 1].cut) {
        struct raft_packet packet;
        enum status status =
            raft_packet_parse(buf_bytes(&message->body), buf_bytes(&message->attachment), &packet);
        if (status != STATUS_OK) {
            violate(sim, "a message of our own is refused");
        } else {
            raft_core_receive(&node->core, sim->now, message->from, &packet);
            raft_packet_release(&packet);
        }
    }
    buf_release(&message->body);
    buf_release(&message->attachment);
}

static void deliver_due(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->message_count;) {
        const struct node *to = &sim->nodes[sim->messages[i].to - 1];
        if (sim->messages[i].due_ms > sim->now || (to->up && to->stalled_until > sim->now)) {
            i++;
            continue;
        }
        struct message message = sim->messages[i];
        sim->messages[i] = sim->messages[--sim->message_count];
        message_deliver(sim, &message);
    }
}

/* ---- controllers ---- */

static const struct raft_core_ops ops = {
    .save_vote = op_save_vote,
    .append = op_append,
    .save_snapshot = op_save_snapshot,
    .compact = op_compact,
    .install = op_install,
    .load = op_load,
    .take_snapshot = op_take_snapshot,
    .read_snapshot = op_read_snapshot,
    .receive_begin = op_receive_begin,
    .receive_append = op_receive_append,
    .receive_end = op_receive_end,
    .send = op_send,
    .apply = op_apply,
    .restore = op_restore,
    .changed = op_changed,
};

static void node_start(struct node *node)
{
    struct sim *sim = node->sim;
    struct raft_entry_view *views = calloc(node->count + 1, sizeof(*views));
    CHECK(views != NULL);
    for (uint64_t i = 0; i < node->count; i++) {
        views[i] = (struct raft_entry_view){.index = node->first + i,
                                            .term = node->log[i].term,
                                            .type = node->log[i].type,
                                            .data = buf_bytes(&node->log[i].data)};
    }
    struct raft_core_state state = {.term = node->term,
                                    .voted_for = node->voted_for,
                                    .snapshot = node->info,
                                    .first = node->first,
                                    .entries = views,
                                    .count = (uint32_t)node->count,
                                    .applied = machine_index(&node->machine)};
    struct raft_core_options options = {.ops = &ops,
                                        .data = node,
                                        .id = node->id,
                                        .election_ms = 200,
                                        .heartbeat_ms = 20,
                                        .snapshot_entries = sim->options.snapshot_entries,
                                        .trailing_entries = sim->options.trailing_entries,
                                        .snapshot_bytes = 1 << 20,
                                        .tail_bytes = sim->options.tail_bytes,
                                        .chunk_bytes = sim->options.chunk_bytes,
                                        .seed = (unsigned)rng_next(&sim->rng)};
    struct error error = {0};
    if (raft_core_init(&node->core, &options, &state, sim->now, &error) != STATUS_OK) {
        violate(sim, "controller-%u does not start: %s", node->id, error.text);
    } else {
        node->up = true;
    }
    free(views);
}

void sim_crash(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    if (!node->up) {
        return;
    }
    node->up = false;
    node->taking = false;
    sim->counters.crashes++;
    raft_core_release(&node->core);
    bool kept = true;
    while (!list_empty(&node->writes)) {
        struct disk_write *write = CONTAINER_OF(list_pop(&node->writes), struct disk_write, node);
        kept = kept && rng_once_in(&sim->rng, 2);
        if (kept) {
            disk_apply(node, write);
        }
        write_free(write);
    }
    /* The state machine is not synced: any end of it may be gone. */
    node->machine.count = rng_between(&sim->rng, 0, node->machine.count);
}

void sim_restart(struct sim *sim, uint32_t id)
{
    if (!sim->nodes[id - 1].up) {
        node_start(&sim->nodes[id - 1]);
    }
}

static void node_run(struct node *node)
{
    struct sim *sim = node->sim;
    if (node->stalled_until > sim->now) {
        return;
    }
    uint64_t done = 0;
    while (!list_empty(&node->writes)) {
        struct disk_write *write = CONTAINER_OF(node->writes.next, struct disk_write, node);
        if (write->due_ms > sim->now) {
            break;
        }
        disk_apply(node, write);
        done = write->id;
        list_remove(&write->node);
        write_free(write);
    }
    if (done != 0) {
        raft_core_written(&node->core, sim->now, done);
    }
    if (node->taking && node->taken_ms <= sim->now) {
        snapshot_taken(node);
    }
    if (raft_core_deadline(&node->core) <= sim->now) {
        raft_core_tick(&node->core, sim->now);
    }
    if (!raft_core_alive(&node->core)) {
        violate(sim, "controller-%u failed: %s", node->id, node->core.error.text);
    }
}

/* ---- requests ---- */

static void submitted(struct raft_node_request *request, enum status status)
{
    struct pending *pending = CONTAINER_OF(request, struct pending, request);
    struct sim *sim = pending->sim;
    if (status == STATUS_OK) {
        sim->counters.acknowledged++;
        if (sim->committed[request->index] != pending->command) {
            violate(sim, "acknowledged what was not applied");
        }
        sim->acked[request->index] = 1;
        sim->acked_in[request->term] = request->index;
        sim->acked_index = sim->acked_index > request->index ? sim->acked_index : request->index;
    } else {
        sim->counters.uncertain++;
    }
    free(pending);
}

bool sim_submit(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    struct pending *pending = calloc(1, sizeof(*pending));
    CHECK(pending != NULL);
    *pending = (struct pending){.sim = sim, .node = node, .command = sim->next_command};
    pending->request.done = submitted;
    uint8_t entry[300];
    memset(entry, (int)(sim->next_command & 0xff), sizeof(entry));
    put_u64(entry, sim->next_command);
    size_t size = rng_between(&sim->rng, 8, sizeof(entry));
    if (!node->up || raft_core_submit(&node->core, sim->now, bytes_of(entry, size),
                                      &pending->request) != STATUS_OK) {
        free(pending);
        return false;
    }
    sim->next_command++;
    sim->counters.submitted++;
    return true;
}

static void was_read(struct raft_node_request *request, enum status status)
{
    struct pending *pending = CONTAINER_OF(request, struct pending, request);
    struct sim *sim = pending->sim;
    if (status == STATUS_OK) {
        sim->counters.reads++;
        if (machine_index(&pending->node->machine) < pending->must_see) {
            violate(sim, "a read of controller-%u misses what was acknowledged before it",
                    pending->node->id);
        }
    } else {
        sim->counters.refused_reads++;
    }
    free(pending);
}

bool sim_read(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    struct pending *pending = calloc(1, sizeof(*pending));
    CHECK(pending != NULL);
    *pending = (struct pending){.sim = sim, .node = node, .must_see = sim->acked_index};
    pending->request.done = was_read;
    if (!node->up || raft_core_read(&node->core, sim->now, &pending->request) != STATUS_OK) {
        free(pending);
        return false;
    }
    return true;
}

bool sim_change(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    struct raft_buffer encoded;
    if (!node->up || !raft_core_is_active(&node->core) ||
        raft_configuration_encode(&node->core.raft.configuration, &encoded) != 0) {
        return false;
    }
    struct raft_entry entry = {.term = node->core.raft.current_term,
                               .type = RAFT_CHANGE,
                               .buf = encoded,
                               .batch = encoded.base};
    struct raft_event event = {.type = RAFT_SUBMIT};
    event.submit.entries = &entry;
    event.submit.n = 1;
    int rv = 0;
    bool taken = raft_core_step(&node->core, &event, &rv);
    if (rv != 0) {
        raft_free(encoded.base);
    }
    return taken;
}

/* ---- the run ---- */

static void chaos(struct sim *sim)
{
    uint32_t id = (uint32_t)rng_between(&sim->rng, 1, sim->options.nodes);
    struct node *node = &sim->nodes[id - 1];
    if (rng_once_in(&sim->rng, 1500) && node->up) {
        sim_crash(sim, id);
        node->restart_ms = sim->now + rng_between(&sim->rng, 10, 1500);
    }
    if (rng_once_in(&sim->rng, 1200)) {
        bool heal = rng_once_in(&sim->rng, 2);
        for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
            for (uint32_t j = 0; j < SIM_NODES_MAX; j++) {
                sim->links[i][j] = heal || !rng_once_in(&sim->rng, 3);
            }
        }
    }
    if (rng_once_in(&sim->rng, sim->options.stall_one_in)) {
        node->stalled_until = sim->now + rng_between(&sim->rng, 5, 600);
    }
    if (node->up && rng_once_in(&sim->rng, 2500)) {
        status_ignore(raft_core_transfer(&node->core, sim->now,
                                         (uint32_t)rng_below(&sim->rng, sim->options.nodes + 1)),
                      "a refusal is as good");
    }
    if (node->up && rng_once_in(&sim->rng, 1000)) {
        raft_core_suspect(&node->core, sim->now,
                          (uint32_t)rng_between(&sim->rng, 1, sim->options.nodes));
    }
    if (rng_once_in(&sim->rng, 4)) {
        for (uint64_t n = rng_between(&sim->rng, 1, 6); n > 0; n--) {
            (void)sim_submit(sim, id);
        }
    }
    if (rng_once_in(&sim->rng, 15)) {
        (void)sim_read(sim, id);
    }
    if (rng_once_in(&sim->rng, 100)) {
        (void)sim_change(sim, id);
    }
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        struct node *other = &sim->nodes[i];
        if (!other->up && other->restart_ms != 0 && other->restart_ms <= sim->now) {
            node_start(other);
        }
    }
}

void sim_run(struct sim *sim, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && sim->violation[0] == 0; i++) {
        sim->now++;
        deliver_due(sim);
        for (uint32_t n = 0; n < sim->options.nodes; n++) {
            if (sim->nodes[n].up) {
                node_run(&sim->nodes[n]);
            }
        }
        if (sim->chaos) {
            chaos(sim);
        }
    }
}

void sim_chaos(struct sim *sim, bool on)
{
    sim->chaos = sim->lossy = on;
}

void sim_heal(struct sim *sim)
{
    sim_chaos(sim, false);
    memset(sim->links, 1, sizeof(sim->links));
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        sim->nodes[i].cut = false;
        sim->nodes[i].stalled_until = 0;
        sim_restart(sim, i + 1);
    }
}

void sim_cut(struct sim *sim, uint32_t id, bool cut)
{
    sim->nodes[id - 1].cut = cut;
}

uint32_t sim_active(const struct sim *sim)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct node *node = &sim->nodes[i];
        if (node->up && raft_core_is_active(&node->core) &&
            (best == 0 ||
             node->core.raft.current_term > sim->nodes[best - 1].core.raft.current_term)) {
            best = i + 1;
        }
    }
    return best;
}

static bool is_settled(const struct sim *sim)
{
    if (sim_active(sim) == 0) {
        return false;
    }
    const struct machine *first = &sim->nodes[sim_active(sim) - 1].machine;
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct machine *machine = &sim->nodes[i].machine;
        if (sim->nodes[i].up &&
            (machine->count != first->count || machine_index(machine) < sim->acked_index)) {
            return false;
        }
    }
    return true;
}

static void check_end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        const struct machine *machine = &sim->nodes[i].machine;
        uint64_t seen = 0, acked = 0;
        for (uint64_t r = 0; sim->nodes[i].up && r < machine->count; r++) {
            if (sim->committed[machine->records[r].index] != machine->records[r].command) {
                violate(sim, "the history of controller-%u differs", i + 1);
            }
            seen += sim->acked[machine->records[r].index];
        }
        for (uint64_t index = 0; index <= sim->acked_index; index++) {
            acked += sim->acked[index];
        }
        if (sim->nodes[i].up && seen != acked) {
            violate(sim, "controller-%u has %llu of %llu acknowledged commands", i + 1,
                    (unsigned long long)seen, (unsigned long long)acked);
        }
    }
}

bool sim_settle(struct sim *sim, uint64_t ms)
{
    uint64_t until = sim->now + ms;
    do {
        sim_run(sim, 5);
    } while (sim->now < until && sim->violation[0] == 0 && !is_settled(sim));
    check_end(sim);
    return is_settled(sim) && sim->violation[0] == 0;
}

struct raft_core *sim_core(struct sim *sim, uint32_t id)
{
    return sim->nodes[id - 1].up ? &sim->nodes[id - 1].core : NULL;
}

uint64_t sim_applied_count(const struct sim *sim, uint32_t id)
{
    return sim->nodes[id - 1].machine.count;
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

const struct sim_counters *sim_counters(const struct sim *sim)
{
    return &sim->counters;
}

const char *sim_violation(const struct sim *sim)
{
    return sim->violation[0] == 0 ? NULL : sim->violation;
}

void sim_wipe_log_behind_back(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    disk_truncate(node, node->first + 1);
}

void sim_raise_term(struct sim *sim, uint32_t id, uint64_t by)
{
    struct node *node = &sim->nodes[id - 1];
    CHECK(!node->up);
    node->term += by;
    node->voted_for = 0;
}

static void bootstrap(struct node *node, uint32_t nodes)
{
    struct raft_configuration configuration;
    struct raft_buffer encoded;
    raft_configuration_init(&configuration);
    for (uint32_t i = 1; i <= nodes; i++) {
        char address[32];
        (void)snprintf(address, sizeof(address), "controller-%u", i);
        CHECK(raft_configuration_add(&configuration, i, address, RAFT_VOTER) == 0);
    }
    CHECK(raft_configuration_encode(&configuration, &encoded) == 0);
    struct disk_entry entry = {.term = 1, .type = RAFT_CHANGE};
    CHECK(buf_append(&entry.data, encoded.base, encoded.len) == STATUS_OK);
    node->first = node->term = 1;
    disk_push(node, &entry);
    raft_free(encoded.base);
    raft_configuration_close(&configuration);
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    CHECK(sim != NULL);
    sim->options = *options;
    rng_init(&sim->rng, options->seed);
    sim->now = 1000;
    sim->next_command = 1;
    sim->messages = calloc(MESSAGES_MAX, sizeof(*sim->messages));
    sim->committed = calloc(COMMANDS_MAX, sizeof(*sim->committed));
    sim->acked = calloc(COMMANDS_MAX, 1);
    sim->leaders = calloc(TERMS_MAX, sizeof(*sim->leaders));
    CHECK(sim->messages != NULL && sim->committed != NULL);
    sim->acked_in = calloc(TERMS_MAX, sizeof(*sim->acked_in));
    CHECK(sim->acked != NULL && sim->leaders != NULL);
    CHECK(sim->acked_in != NULL);
    memset(sim->links, 1, sizeof(sim->links));
    for (uint32_t i = 0; i < options->nodes; i++) {
        struct node *node = &sim->nodes[i];
        node->sim = sim;
        node->id = i + 1;
        list_init(&node->writes);
        bootstrap(node, options->nodes);
        node_start(node);
    }
    return sim;
}

void sim_free(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->options.nodes; i++) {
        struct node *node = &sim->nodes[i];
        sim_crash(sim, i + 1);
        entries_free(node->log, node->count);
        free(node->log);
        free(node->machine.records);
        buf_release(&node->snapshot);
        buf_release(&node->incoming);
        buf_release(&node->taken);
    }
    for (uint32_t i = 0; i < sim->message_count; i++) {
        buf_release(&sim->messages[i].body);
        buf_release(&sim->messages[i].attachment);
    }
    free(sim->messages);
    free(sim->committed);
    free(sim->acked);
    free(sim->leaders);
    free(sim->acked_in);
    free(sim);
}
