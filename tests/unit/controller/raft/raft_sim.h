/* A simulated cluster of raft cores: clock, network, disks and state machines in memory, from one
 * seed. Every message is packed and parsed as between processes. It checks at every step that no
 * term has two leaders, that no two controllers apply different commands at one index, that nothing
 * is applied before it is on the disk, and that reads see what was acknowledged before them.
 *
 * With `spares` the set of controllers changes as well, and it checks that whoever leads was voted
 * for, and whatever is committed is held, by a majority of the configuration in force; that changes
 * come one at a time and move one voter; and that those which were acknowledged stay. */
#pragma once

#include <stdint.h>

#include "base/rng.h"
#include "controller/raft/core.h"

enum { SIM_NODES_MAX = 12 };

struct sim_options {
    uint64_t seed;
    uint32_t nodes;  /* the first set, all of them voters */
    uint32_t spares; /* ids behind those, that may be added; 0: the set stays as it is */
    uint32_t loss_one_in, duplicate_one_in, delay_ms, stall_one_in;
    uint32_t write_ms; /* longest */
    uint32_t snapshot_entries, trailing_entries, chunk_bytes;
    uint64_t tail_bytes;
};

struct sim_counters {
    uint64_t submitted, acknowledged, uncertain, reads, refused_reads, crashes, elections, restores,
        snapshots, loads, applied, added, promoted, removed, refused_changes, uncertain_changes;
};

struct sim;

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *sim);
void sim_run(struct sim *sim, uint64_t ms);

/* Chaos is drawn from the seed while the simulation runs. */
void sim_chaos(struct sim *sim, bool on);
void sim_heal(struct sim *sim); /* everybody up and connected, no loss */

void sim_crash(struct sim *sim, uint32_t id);
void sim_restart(struct sim *sim, uint32_t id);
void sim_cut(struct sim *sim, uint32_t id, bool cut); /* from everybody */
void sim_wipe_log_behind_back(struct sim *sim, uint32_t id);
void sim_raise_term(struct sim *sim, uint32_t id, uint64_t by); /* of one that is down */

uint32_t sim_active(const struct sim *sim); /* 0: none */
bool sim_submit(struct sim *sim, uint32_t id);
bool sim_read(struct sim *sim, uint32_t id);
bool sim_change(struct sim *sim, uint32_t id);            /* commits the configuration anew */
struct raft_core *sim_core(struct sim *sim, uint32_t id); /* NULL while it is down */
/* raft_core_change() of `id` on controller `by`; one that is added is started first, empty. */
enum status sim_member(struct sim *sim, uint32_t by, enum raft_change_kind kind, uint32_t id);
/* 0: no member, as controller `by` sees it; else RAFT_VOTER + 1 or RAFT_STANDBY + 1. */
int sim_role(struct sim *sim, uint32_t by, uint32_t id);
uint64_t sim_applied_count(const struct sim *sim, uint32_t id);
uint64_t sim_now(const struct sim *sim);

/* Runs until somebody is active and everybody has applied everything that was acknowledged; false
 * after `ms`. */
bool sim_settle(struct sim *sim, uint64_t ms);
const struct sim_counters *sim_counters(const struct sim *sim);
const char *sim_violation(const struct sim *sim); /* NULL: none */
