/* The parts of the simulated cluster: raft_sim.c is network, controllers and chaos; raft_sim_disk.c
 * is disks and state machines; raft_sim_change.c is the set of controllers. */
#pragma once

#include "base/check.h"
#include "raft_sim.h"

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
    /* the set */
    bool joins;   /* it began without a configuration */
    bool retired; /* it was told that it is no member: it never comes back */
    bool may_go, gone, voter_once;
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
    uint64_t *changes;  /* index of the last change, by term */
    struct sim_counters counters;
    char violation[256];
};

void sim_violate(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_entries_free(struct disk_entry *entries, uint64_t count);
void sim_disk_truncate(struct node *node, uint64_t from);
void sim_disk_push(struct node *node, struct disk_entry *entry);
void sim_write_free(struct disk_write *write);
void sim_disk_apply(struct node *node, struct disk_write *write);
enum status sim_op_save_vote(void *data, uint64_t term, uint64_t voted_for);
enum status sim_op_append(void *data, uint64_t from, const struct raft_entry_view *entries,
                          uint32_t count, uint64_t *out_write);
enum status sim_op_save_snapshot(void *data, const struct raft_snapshot_info *snapshot,
                                 uint64_t *out_write);
enum status sim_op_compact(void *data, uint64_t upto);
enum status sim_op_install(void *data, const struct raft_snapshot_info *snapshot,
                           uint64_t *out_write);
enum status sim_op_load(void *data, uint64_t index, uint64_t *out_term, uint32_t *out_type,
                        struct buf *buf);
uint64_t sim_machine_index(const struct machine *machine);
enum status sim_op_take_snapshot(void *data);
void sim_snapshot_taken(struct node *node);
enum status sim_op_read_snapshot(void *data, uint64_t offset, uint8_t *out, size_t size);
enum status sim_op_receive_begin(void *data);
enum status sim_op_receive_append(void *data, struct bytes chunk);
enum status sim_op_receive_end(void *data, const uint8_t hash[RAFT_HASH_BYTES]);
enum status sim_op_restore(void *data, uint64_t index, struct error *error);
enum status sim_op_apply(void *data, const struct raft_node_command *command, struct error *error);
void sim_node_start(struct node *node);
uint32_t sim_slots(const struct sim *sim);
void sim_chaos_change(struct sim *sim);
/* Whether a majority of the voters as `node` knows them is among `ids` (a bit each). */
bool sim_is_majority(const struct node *node, uint32_t ids);
void sim_check_commit(struct node *node, uint64_t index);
void sim_check_election(struct node *node, uint64_t term);
void sim_check_set(struct sim *sim); /* in the end */
/* What raft_node_receive() does before the core is asked: false for a message of no member. */
bool sim_is_heard(struct node *to, struct node *from);
void sim_op_changed(void *data, bool active, uint64_t term, uint32_t leader);
