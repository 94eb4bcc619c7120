/* The disk of a simulated controller: the log of controller/raft, in transactions that are durable
 * some time after they were given, in their order. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/controllers.h"

static void entries_free(struct stored_entry *entry, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        buf_release(&entry[i].data);
    }
}

static void write_free(struct disk_write *write)
{
    list_remove(&write->node);
    entries_free(write->entry, write->count);
    free(write->entry);
    free(write);
}

static void truncate_from(struct controller_disk *disk, uint64_t from)
{
    uint64_t keep = from > disk->first ? from - disk->first : 0;
    if (keep < disk->count) {
        entries_free(disk->entry + keep, disk->count - (uint32_t)keep);
        disk->count = (uint32_t)keep;
    }
}

static void push(struct controller_disk *disk, struct stored_entry *entry)
{
    disk->entry = grow(disk->entry, &disk->capacity, disk->count + 1, sizeof *disk->entry);
    disk->entry[disk->count++] = *entry;
    *entry = (struct stored_entry){0};
}

static void compact(struct controller_disk *disk, uint64_t upto)
{
    uint64_t drop = upto >= disk->first ? upto - disk->first + 1 : 0;
    drop = drop < disk->count ? drop : disk->count;
    entries_free(disk->entry, (uint32_t)drop);
    memmove(disk->entry, disk->entry + drop, (disk->count - drop) * sizeof *disk->entry);
    disk->count -= (uint32_t)drop;
    disk->first += drop;
}

static void make_durable(struct controller_disk *disk, struct disk_write *write)
{
    if (write->durable) {
        return;
    }
    write->durable = true;
    switch (write->kind) {
    case WRITE_COMPACT:
        compact(disk, write->from);
        return;
    case WRITE_ENTRIES:
        truncate_from(disk, write->from);
        CHECK(write->from == disk->first + disk->count);
        for (uint32_t i = 0; i < write->count; i++) {
            push(disk, &write->entry[i]);
        }
        return;
    case WRITE_INSTALL:
        truncate_from(disk, disk->first);
        disk->first = write->info.index + 1;
        disk->snapshot = write->info;
        return;
    case WRITE_SNAPSHOT:
        disk->snapshot = write->info;
        return;
    }
    UNREACHABLE();
}

static struct disk_write *give(struct raft_controller *c, enum disk_write_kind kind, uint64_t *out)
{
    struct world *w = c->world;
    struct disk_write *write = sim_alloc(sizeof *write);
    uint64_t delay_us = draw(w, w->plan.sync_us / 2, 2 * w->plan.sync_us);
    bool slow = w->plan.fault[FAULT_SLOW_SYNC] && !w->healing && chance(w, 20);
    delay_us += slow ? draw_exponential(w, w->plan.slow_sync_us) : 0;
    write->kind = kind;
    write->id = ++c->disk.next_write;
    write->due_us = w->now_us + delay_us;
    if (!list_empty(&c->disk.writes)) {
        uint64_t before = CONTAINER_OF(c->disk.writes.prev, struct disk_write, node)->due_us;
        write->due_us = write->due_us > before ? write->due_us : before;
    }
    list_push(&c->disk.writes, &write->node);
    schedule(w, write->due_us - w->now_us,
             (struct event){.type = EVENT_RAFT, .a = c->index, .b = RAFT_SYNCED, .c = c->life});
    if (MUTANT(LOG_WRITTEN_UNSYNCED)) {
        schedule(
            w, 1,
            (struct event){.type = EVENT_RAFT, .a = c->index, .b = RAFT_REPORTED, .c = c->life});
    }
    if (out != NULL) {
        *out = write->id;
    }
    return write;
}

uint64_t raft_disk_run(struct raft_controller *c)
{
    uint64_t done = 0;
    while (!list_empty(&c->disk.writes)) {
        struct disk_write *write = CONTAINER_OF(c->disk.writes.next, struct disk_write, node);
        if (write->due_us > c->world->now_us) {
            break;
        }
        make_durable(&c->disk, write);
        done = write->id;
        write_free(write);
    }
    return done;
}

void raft_disk_crash(struct raft_controller *c)
{
    struct world *w = c->world;
    bool kept = true;
    while (!list_empty(&c->disk.writes)) {
        struct disk_write *write = CONTAINER_OF(c->disk.writes.next, struct disk_write, node);
        kept = kept && (write->durable || chance(w, 500));
        SEEN_IF(w, CONTROLLER_LOST_UNSYNCED, !kept && write->kind == WRITE_ENTRIES);
        if (kept) {
            make_durable(&c->disk, write);
        }
        write_free(write);
    }
}

/* It is a transaction of its own, and what was given before it is durable with it. */
enum status raft_disk_save_vote(void *data, uint64_t term, uint64_t voted_for)
{
    struct raft_controller *c = data;
    struct world *w = c->world;
    LIST_FOR_EACH (link, &c->disk.writes) {
        if (!MUTANT(LOG_WRITTEN_UNSYNCED)) {
            make_durable(&c->disk, CONTAINER_OF(link, struct disk_write, node));
        }
    }
    c->disk.term = term;
    c->disk.voted_for = voted_for;
    if (voted_for != 0 && voted_for != c->index + 1 && w->plan.fault[FAULT_CONTROLLER] &&
        !w->healing && chance(w, 30)) {
        schedule(w, draw(w, 1, 20 * MS),
                 (struct event){.type = EVENT_RAFT, .a = c->index, .b = RAFT_VOTED, .c = c->life});
    }
    return STATUS_OK;
}

enum status raft_disk_append(void *data, uint64_t from, const struct raft_entry_view *entries,
                             uint32_t count, uint64_t *out_write)
{
    struct disk_write *write = give(data, WRITE_ENTRIES, out_write);
    write->from = from;
    write->count = count;
    write->entry = sim_alloc(count * sizeof *write->entry);
    for (uint32_t i = 0; i < count; i++) {
        write->entry[i].term = entries[i].term;
        write->entry[i].type = entries[i].type;
        CHECK(buf_append(&write->entry[i].data, entries[i].data.data, entries[i].data.size) ==
              STATUS_OK);
    }
    return STATUS_OK;
}

enum status raft_disk_save_snapshot(void *data, const struct raft_snapshot_info *snapshot,
                                    uint64_t *out_write)
{
    give(data, WRITE_SNAPSHOT, out_write)->info = *snapshot;
    return STATUS_OK;
}

enum status raft_disk_compact(void *data, uint64_t upto)
{
    give(data, WRITE_COMPACT, NULL)->from = upto;
    return STATUS_OK;
}

enum status raft_disk_install(void *data, const struct raft_snapshot_info *snapshot,
                              uint64_t *out_write)
{
    give(data, WRITE_INSTALL, out_write)->info = *snapshot;
    return STATUS_OK;
}

enum status raft_disk_load(void *data, uint64_t index, uint64_t *out_term, uint32_t *out_type,
                           struct buf *buf)
{
    const struct raft_controller *c = data;
    if (index < c->disk.first || index >= c->disk.first + c->disk.count) {
        return STATUS_CORRUPT;
    }
    const struct stored_entry *entry = &c->disk.entry[index - c->disk.first];
    *out_term = entry->term;
    *out_type = entry->type;
    return buf_append(buf, entry->data.data, entry->data.size);
}

/* ------------------------------------------------------------------------------ copies */

struct raft_snapshot_info raft_disk_copy_info(uint64_t index)
{
    struct raft_snapshot_info info = {.index = index, .bytes = sizeof index};
    memcpy(info.hash, &index, sizeof index);
    return info;
}

enum status raft_disk_read_snapshot(void *data, uint64_t offset, uint8_t *out, size_t size)
{
    const struct raft_controller *c = data;
    CHECK(offset + size <= sizeof c->disk.snapshot.index);
    memcpy(out, (const uint8_t *)&c->disk.snapshot.index + offset, size);
    return STATUS_OK;
}

enum status raft_disk_receive_begin(void *data)
{
    struct raft_controller *c = data;
    c->incoming.size = 0;
    return STATUS_OK;
}

enum status raft_disk_receive_append(void *data, struct bytes chunk)
{
    struct raft_controller *c = data;
    return buf_append(&c->incoming, chunk.data, chunk.size);
}

enum status raft_disk_receive_end(void *data, const uint8_t hash[RAFT_HASH_BYTES])
{
    const struct raft_controller *c = data;
    bool same = c->incoming.size == sizeof(uint64_t) &&
                memcmp(c->incoming.data, hash, sizeof(uint64_t)) == 0;
    return same ? STATUS_OK : STATUS_CORRUPT;
}

/* ------------------------------------------------------------------------ its whole life */

void raft_disk_bootstrap(struct raft_controller *c, uint32_t controllers)
{
    struct raft_configuration configuration;
    struct raft_buffer encoded;
    raft_configuration_init(&configuration);
    for (uint32_t i = 1; i <= controllers; i++) {
        char address[] = "controller-0";
        address[sizeof address - 2] = (char)('0' + i);
        CHECK(raft_configuration_add(&configuration, i, address, RAFT_VOTER) == 0);
    }
    CHECK(raft_configuration_encode(&configuration, &encoded) == 0);
    struct stored_entry entry = {.term = 1, .type = RAFT_CHANGE};
    CHECK(buf_append(&entry.data, encoded.base, encoded.len) == STATUS_OK);
    list_init(&c->disk.writes);
    c->disk.first = c->disk.term = 1;
    push(&c->disk, &entry);
    raft_free(encoded.base);
    raft_configuration_close(&configuration);
}

uint64_t raft_disk_last(const struct raft_controller *c)
{
    return c->disk.first + c->disk.count - 1;
}

void raft_disk_forget(struct raft_controller *c, uint32_t count)
{
    uint64_t last = raft_disk_last(c);
    uint64_t least = c->disk.snapshot.index > 1 ? c->disk.snapshot.index : 1;
    uint64_t end = last > least + count ? last - count : least;
    truncate_from(&c->disk, end + 1);
}

void raft_disk_release(struct raft_controller *c)
{
    if (c->disk.writes.next == NULL) {
        return;
    }
    while (!list_empty(&c->disk.writes)) {
        write_free(CONTAINER_OF(c->disk.writes.next, struct disk_write, node));
    }
    entries_free(c->disk.entry, c->disk.count);
    free(c->disk.entry);
    buf_release(&c->incoming);
}
