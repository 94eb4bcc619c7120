#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "raft_sim_internal.h"

void sim_violate(struct sim *sim, const char *format, ...)
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

void sim_entries_free(struct disk_entry *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        buf_release(&entries[i].data);
    }
}

void sim_disk_truncate(struct node *node, uint64_t from)
{
    uint64_t keep = from > node->first ? from - node->first : 0;
    if (keep < node->count) {
        sim_entries_free(node->log + keep, node->count - keep);
        node->count = keep;
    }
}

void sim_disk_push(struct node *node, struct disk_entry *entry)
{
    if (node->count == node->log_capacity) {
        node->log_capacity = node->log_capacity * 2 + 64;
        node->log = realloc(node->log, node->log_capacity * sizeof(*node->log));
        CHECK(node->log != NULL);
    }
    node->log[node->count++] = *entry;
    *entry = (struct disk_entry){0};
}

void sim_write_free(struct disk_write *write)
{
    sim_entries_free(write->entries, write->count);
    free(write->entries);
    buf_release(&write->snapshot);
    free(write);
}

void sim_disk_apply(struct node *node, struct disk_write *write)
{
    if (write->durable) {
        return;
    }
    write->durable = true;
    if (write->compact) {
        uint64_t drop = write->from >= node->first ? write->from - node->first + 1 : 0;
        drop = drop < node->count ? drop : node->count;
        sim_entries_free(node->log, drop);
        memmove(node->log, node->log + drop, (node->count - drop) * sizeof(*node->log));
        node->count -= drop;
        node->first += drop;
        return;
    }
    if (write->kind == RAFT_WRITE_ENTRIES) {
        sim_disk_truncate(node, write->from);
        CHECK(write->from == node->first + node->count);
        for (uint32_t i = 0; i < write->count; i++) {
            sim_disk_push(node, &write->entries[i]);
        }
        return;
    }
    node->info = write->info;
    buf_release(&node->snapshot);
    node->snapshot = write->snapshot;
    write->snapshot = (struct buf){0};
    if (write->kind == RAFT_WRITE_INSTALL) {
        sim_disk_truncate(node, node->first);
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

enum status sim_op_save_vote(void *data, uint64_t term, uint64_t voted_for)
{
    struct node *node = data;
    LIST_FOR_EACH (link, &node->writes) {
        sim_disk_apply(node, CONTAINER_OF(link, struct disk_write, node));
    }
    if (term < node->term ||
        (term == node->term && node->voted_for != 0 && node->voted_for != voted_for)) {
        sim_violate(node->sim, "controller-%u takes back its vote", node->id);
    }
    node->term = term;
    node->voted_for = voted_for;
    return STATUS_OK;
}

enum status sim_op_append(void *data, uint64_t from, const struct raft_entry_view *entries,
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

enum status sim_op_save_snapshot(void *data, const struct raft_snapshot_info *snapshot,
                                 uint64_t *out_write)
{
    struct node *node = data;
    struct disk_write *write = disk_queue(node, RAFT_WRITE_SNAPSHOT, out_write);
    write->info = *snapshot;
    write->snapshot = node->taken;
    node->taken = (struct buf){0};
    return STATUS_OK;
}

enum status sim_op_compact(void *data, uint64_t upto)
{
    struct disk_write *write = disk_queue(data, RAFT_WRITE_ENTRIES, NULL);
    write->compact = true;
    write->from = upto;
    return STATUS_OK;
}

enum status sim_op_install(void *data, const struct raft_snapshot_info *snapshot,
                           uint64_t *out_write)
{
    struct node *node = data;
    struct disk_write *write = disk_queue(node, RAFT_WRITE_INSTALL, out_write);
    write->info = *snapshot;
    write->snapshot = node->incoming;
    node->incoming = (struct buf){0};
    return STATUS_OK;
}

enum status sim_op_load(void *data, uint64_t index, uint64_t *out_term, uint32_t *out_type,
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

uint64_t sim_machine_index(const struct machine *machine)
{
    return machine->count == 0 ? 0 : machine->records[machine->count - 1].index;
}

enum status sim_op_take_snapshot(void *data)
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

void sim_snapshot_taken(struct node *node)
{
    struct raft_snapshot_info info = {0};
    node->taking = false;
    buf_release(&node->taken);
    node->taken = (struct buf){0};
    CHECK(buf_append(&node->taken, node->machine.records,
                     node->machine.count * sizeof(*node->machine.records)) == STATUS_OK);
    info.index = sim_machine_index(&node->machine);
    info.bytes = node->taken.size;
    hash_of(buf_bytes(&node->taken), info.hash);
    node->sim->counters.snapshots++;
    raft_core_snapshot_taken(&node->core, node->sim->now, STATUS_OK, &info);
}

enum status sim_op_read_snapshot(void *data, uint64_t offset, uint8_t *out, size_t size)
{
    struct node *node = data;
    CHECK(offset + size <= node->snapshot.size);
    memcpy(out, node->snapshot.data + offset, size);
    return STATUS_OK;
}

enum status sim_op_receive_begin(void *data)
{
    struct node *node = data;
    buf_release(&node->incoming);
    node->incoming = (struct buf){0};
    return STATUS_OK;
}

enum status sim_op_receive_append(void *data, struct bytes chunk)
{
    return buf_append(&((struct node *)data)->incoming, chunk.data, chunk.size);
}

enum status sim_op_receive_end(void *data, const uint8_t hash[RAFT_HASH_BYTES])
{
    uint8_t own[RAFT_HASH_BYTES];
    hash_of(buf_bytes(&((struct node *)data)->incoming), own);
    return memcmp(own, hash, RAFT_HASH_BYTES) == 0 ? STATUS_OK : STATUS_CORRUPT;
}

enum status sim_op_restore(void *data, uint64_t index, struct error *error)
{
    struct node *node = data;
    (void)error;
    node->machine.count = 0;
    const struct machine_record *records = (const void *)node->snapshot.data;
    for (uint64_t i = 0; i < node->snapshot.size / sizeof(*records); i++) {
        machine_push(&node->machine, records[i].index, records[i].command);
    }
    node->sim->counters.restores++;
    if (sim_machine_index(&node->machine) != index) {
        sim_violate(node->sim, "controller-%u restores another index", node->id);
    }
    return STATUS_OK;
}

enum status sim_op_apply(void *data, const struct raft_node_command *command, struct error *error)
{
    struct node *node = data;
    struct sim *sim = node->sim;
    (void)error;
    uint64_t id = get_u64(command->entry.data);
    CHECK(command->index < COMMANDS_MAX);
    if (command->index <= sim_machine_index(&node->machine)) {
        sim_violate(sim, "controller-%u applies %llu twice", node->id,
                    (unsigned long long)command->index);
    }
    if (command->index >= node->first + node->count) {
        sim_violate(sim, "controller-%u applies what is not on its disk", node->id);
    }
    if (sim->committed[command->index] == 0) {
        sim_check_commit(node, command->index);
        sim->committed[command->index] = id;
    } else if (sim->committed[command->index] != id) {
        sim_violate(sim, "controller-%u applies another command at %llu", node->id,
                    (unsigned long long)command->index);
    }
    machine_push(&node->machine, command->index, id);
    sim->counters.applied++;
    return STATUS_OK;
}

void sim_op_changed(void *data, bool active, uint64_t term, uint32_t leader)
{
    struct node *node = data;
    struct sim *sim = node->sim;
    (void)leader;
    CHECK(term < TERMS_MAX);
    if (active) {
        if (sim->leaders[term] == 0) {
            sim->leaders[term] = node->id;
            sim_check_election(node, term);
            sim->counters.elections++;
        } else if (sim->leaders[term] != node->id) {
            sim_violate(sim, "two leaders in term %llu", (unsigned long long)term);
        }
        for (uint64_t earlier = 0; earlier < term; earlier++) {
            if (sim_machine_index(&node->machine) < sim->acked_in[earlier]) {
                sim_violate(sim, "controller-%u is active without what was acknowledged", node->id);
            }
        }
    }
}
