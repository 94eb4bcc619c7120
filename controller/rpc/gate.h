/* Which commands every controller knows: what one of them does not know stops it, so the active one
 * proposes nothing of the kind while the controllers are being upgraded.
 *
 * A member's word counts until it says another one: also while it is away, so that a cluster with
 * a dead member goes on. One that has said nothing since this process started knows what there has
 * always been, version 1.
 *
 * Pure: no clock, no I/O. One thread. */
#pragma once

#include <stdint.h>

#include "controller/raft/raft.h"

enum { GATE_TEXT_BYTES = 160 };

struct gate_member {
    uint32_t id;
    uint32_t version; /* of commands that it applies; 0: it has not told */
};

struct gate {
    uint32_t self, count;
    struct gate_member member[RAFT_NODE_SERVERS_MAX];
};

void gate_init(struct gate *gate, uint32_t self);

/* These are the members, whether they vote or not, ourselves included; at most
 * RAFT_NODE_SERVERS_MAX. What was heard of others is forgotten. */
void gate_follow(struct gate *gate, const uint32_t *ids, uint32_t count);

/* Controller `id` applies commands up to `version`. Of one that is no member nothing is kept. */
void gate_heard(struct gate *gate, uint32_t id, uint32_t version);

/* The first member that is not known to apply commands of `version`; NULL: all are, or none needs
 * to be asked. We ourselves apply all that we propose. */
const struct gate_member *gate_holder(const struct gate *gate, uint32_t version);

/* Why it holds them back, and what to do. */
void gate_text(const struct gate_member *holder, char out[GATE_TEXT_BYTES]);
