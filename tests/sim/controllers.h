/* The controllers' real Raft in the simulated world: what controllers.c,
 * controllers_disk.c and controllers_log.c share.
 *
 * Each controller has the core of controller/raft, as controller/raft/node.c runs it: a log on a
 * simulated disk, whose writes are durable some time after they were given; letters over the
 * simulated network; and a state machine, which is how far in the log it has come: what an entry
 * does to the rows is known from whoever applied it first.
 *
 * What the core calls back is news, carried out when it has returned: as in a process, where it
 * waits for the loop's turn. */
#pragma once

#include "base/bytes.h"
#include "base/list.h"
#include "controller/raft/core.h"
#include "tests/sim/world.h"

struct stored_entry {
    uint64_t term;
    uint32_t type;
    struct buf data;
};

enum disk_write_kind { WRITE_ENTRIES, WRITE_COMPACT, WRITE_SNAPSHOT, WRITE_INSTALL };

/* One transaction: after a crash it is there, or not. */
struct disk_write {
    struct list node;
    uint64_t id, due_us, from; /* from: entries from here on; or compact up to */
    enum disk_write_kind kind;
    bool durable;
    struct stored_entry *entry;
    uint32_t count;
    struct raft_snapshot_info info;
};

struct controller_disk {
    uint64_t term, voted_for;
    uint64_t first;
    struct stored_entry *entry;
    uint32_t count, capacity;
    struct raft_snapshot_info snapshot;
    struct list writes; /* given, and not reported */
    uint64_t next_write;
};

enum news_type { NEWS_APPLY, NEWS_CHANGED, NEWS_DONE, NEWS_RESTORE };
struct news {
    enum news_type type;
    bool active;
    enum status status;
    uint64_t index, term, id;
    struct command command;
};

struct raft_controller {
    struct world *world;
    uint32_t index; /* its id is one more */
    bool up, draining;
    uint64_t life, tick_us, applied;
    struct raft_core core;
    struct controller_disk disk;
    struct buf incoming;
    struct election_row row[SHARDS_MAX];
    struct news *news;
    uint32_t news_count, news_capacity;
};

/* What became of a command, by its id. */
struct fate {
    bool acked, uncertain, applied;
};

struct controllers {
    struct raft_controller controller[CONTROLLERS_MAX];
    struct list letters;
    struct { /* by index, from 1: the log as it was first applied */
        uint64_t id, term;
        uint32_t entries; /* of the metadata log, with what this one added */
    } * truth;
    uint64_t truth_end; /* the last index */
    uint32_t truth_capacity;
    struct {
        uint32_t active; /* the controller's id */
        uint64_t acked;  /* the last index that was acknowledged */
    } * term;
    uint32_t terms;
    struct fate *fate;
    uint32_t fates;
    uint64_t next_command;
    uint64_t registered[BROKERS_MAX + 1]; /* boots */
    bool all_down;
};

/* controllers_disk.c: the storage that the core asks for. */
enum status raft_disk_save_vote(void *data, uint64_t term, uint64_t voted_for);
enum status raft_disk_append(void *data, uint64_t from, const struct raft_entry_view *entries,
                             uint32_t count, uint64_t *out_write);
enum status raft_disk_save_snapshot(void *data, const struct raft_snapshot_info *snapshot,
                                    uint64_t *out_write);
enum status raft_disk_compact(void *data, uint64_t upto);
enum status raft_disk_install(void *data, const struct raft_snapshot_info *snapshot,
                              uint64_t *out_write);
enum status raft_disk_load(void *data, uint64_t index, uint64_t *out_term, uint32_t *out_type,
                           struct buf *buf);
/* A copy of the state machine is the index that it has come to. */
enum status raft_disk_read_snapshot(void *data, uint64_t offset, uint8_t *out, size_t size);
enum status raft_disk_receive_begin(void *data);
enum status raft_disk_receive_append(void *data, struct bytes chunk);
enum status raft_disk_receive_end(void *data, const uint8_t hash[RAFT_HASH_BYTES]);
struct raft_snapshot_info raft_disk_copy_info(uint64_t index);

void raft_disk_bootstrap(struct raft_controller *c, uint32_t controllers);
/* Carries out what is due; the last write of it, 0: none. */
uint64_t raft_disk_run(struct raft_controller *c);
/* Of what was not durable, a prefix arrived. */
void raft_disk_crash(struct raft_controller *c);
/* A mutant: the newest entries are gone. */
void raft_disk_forget(struct raft_controller *c, uint32_t count);
uint64_t raft_disk_last(const struct raft_controller *c);
void raft_disk_release(struct raft_controller *c);

/* controllers_log.c: what an entry means to its controller, and what must hold of it. */
/* The rows, as they were when the log had come to where the controller has. */
void raft_log_read(struct raft_controller *c);
void raft_log_apply(struct raft_controller *c, const struct news *n);
void raft_log_active(struct raft_controller *c, uint64_t term);
void raft_log_done(struct raft_controller *c, const struct news *n);
