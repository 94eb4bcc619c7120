/* The committed rows, and who commits them (metadata.c, controller.c, controllers.c). A part of
 * world.h.
 *
 * In most seeds the controllers' Raft is a stand-in: a log that commits late, or not, or for a
 * deposed controller. In the others (plan.raft) each controller has the real core of
 * controller/raft, with a disk and links of its own; whatever changes a row is a command then, and
 * whoever applies it first changes the truth. */
#pragma once

#include "tests/sim/world.h"

enum command_type {
    COMMAND_ELECTION,    /* .proposal */
    COMMAND_RECONFIGURE, /* .slot .to .empty */
    COMMAND_MOVE,        /* .slot .to */
    COMMAND_MOVE_STEP,   /* .step */
    COMMAND_GIVE_UP,     /* .to */
    COMMAND_JOIN,        /* .to */
    COMMAND_SEALED,
    COMMAND_REGISTER, /* .to .boot */
};

/* An entry of the controllers' log, as it is stored and sent. */
struct command {
    uint64_t id, boot;
    enum command_type type;
    uint32_t shard, epoch, slot, step;
    bool empty;
    struct election_replica to;
    struct election_effect proposal;
};

/* metadata.c */
void metadata_init(struct world *w);
void metadata_put(struct world *w, uint32_t shard, const struct election_row *row);
/* Replaces the voter at `slot` of the shard's configuration by the replica on `broker`. */
bool metadata_reconfigure(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker,
                          bool empty);
bool metadata_repair(struct world *w, uint32_t shard);
/* Nothing is committed. */
bool metadata_is_cut(const struct world *w);
/* A command of the log, when the first controller applies it. */
void metadata_apply(struct world *w, const struct command *command);
bool is_voter(const struct election_row *row, struct replica_id id);
struct replica_config core_config(const struct election_config *cfg);

/* controller.c */
void controller_activate(struct world *w, uint32_t index);
void controller_deactivate(struct world *w, uint32_t index, uint64_t activation);
/* The process is gone, and all that it had in memory. */
void controller_forget(struct world *w, uint32_t index);
void controller_on_message(struct world *w, uint32_t index, const struct message *m);
void controller_on_commit(struct world *w, struct event *event);
void controller_on_register(struct world *w, uint32_t broker, uint64_t boot);
void controller_on_apply(struct world *w, uint32_t index);
void controller_on_row(struct world *w, uint32_t index, const struct election_row *row);
void controller_on_liveness(struct world *w, uint32_t index, uint64_t activation);
void controller_on_tick(struct world *w, uint32_t index, uint64_t activation);
void controller_fail_over(struct world *w);
void controller_false_down(struct world *w, uint32_t broker);
void controller_release(struct world *w);

/* moves.c */
void moves_on_event(struct world *w, uint32_t shard);
bool moves_begin(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker);
void moves_on_learned(struct world *w, uint32_t index, const struct message *m);
void moves_apply(struct world *w, const struct command *command);

/* reshard.c */
void reshard_apply(struct world *w, uint32_t parent);

/* controllers.c: only where plan.raft */
enum raft_event_kind {
    RAFT_TICKS,
    RAFT_SYNCED,
    RAFT_REPORTED,
    RAFT_COPIED,
    RAFT_STARTS,
    RAFT_VOTED
};
void controllers_init(struct world *w);
void controllers_release(struct world *w);
void controllers_on_event(struct world *w, uint32_t index, enum raft_event_kind kind,
                          uint64_t life);
void controllers_on_message(struct world *w, uint32_t index, const struct message *m);
/* The command goes to the core of the controller a little later. */
void controllers_propose(struct world *w, uint32_t index, const struct command *command);
void controllers_submit(struct world *w, struct event *event);
/* By whoever became active last; false: it is not active any more. */
bool controllers_ask(struct world *w, const struct command *command);
void controllers_register(struct world *w, uint32_t broker, uint64_t boot);
void controllers_registered(struct world *w, uint32_t broker, uint64_t boot);
/* As the controller itself has applied it. */
const struct election_row *controllers_row(const struct world *w, uint32_t index, uint32_t shard);
/* Faults: of one controller, or of all of them. */
void controllers_fault(struct world *w);
void controllers_cut(struct world *w);
void controllers_heal(struct world *w);
bool controllers_absent(const struct world *w); /* none is active */
/* NULL: all have applied the same. */
const char *controllers_unequal(const struct world *w);
void controllers_end(struct world *w);
/* A message with a letter was doubled, or is gone. */
void letter_take(struct letter *letter);
void letter_drop(struct letter *letter);
