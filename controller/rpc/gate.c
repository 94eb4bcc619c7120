#include "controller/rpc/gate.h"

#include <stddef.h>
#include <stdio.h>

#include "base/check.h"
#include "base/formats.h"

void gate_init(struct gate *gate, uint32_t self)
{
    *gate = (struct gate){.self = self};
}

static struct gate_member *member_find(struct gate *gate, uint32_t id)
{
    for (uint32_t i = 0; i < gate->count; i++) {
        if (gate->member[i].id == id) {
            return &gate->member[i];
        }
    }
    return NULL;
}

void gate_follow(struct gate *gate, const uint32_t *ids, uint32_t count)
{
    CHECK(count <= RAFT_NODE_SERVERS_MAX);
    struct gate old = *gate;
    gate->count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct gate_member *known = member_find(&old, ids[i]);
        gate->member[i] = known == NULL ? (struct gate_member){.id = ids[i]} : *known;
    }
}

void gate_heard(struct gate *gate, uint32_t id, uint32_t version)
{
    struct gate_member *member = member_find(gate, id);
    if (member != NULL) {
        member->version = version;
    }
}

const struct gate_member *gate_holder(const struct gate *gate, uint32_t version)
{
    for (uint32_t i = 0; version > OLDEST_COMMAND && i < gate->count; i++) {
        if (gate->member[i].id != gate->self && gate->member[i].version < version) {
            return &gate->member[i];
        }
    }
    return NULL;
}

void gate_text(const struct gate_member *holder, char out[GATE_TEXT_BYTES])
{
    if (holder->version == 0) {
        (void)snprintf(out, GATE_TEXT_BYTES,
                       "controller-%u has not been heard of yet and may run an older version: "
                       "bring it back, or remove it",
                       holder->id);
    } else {
        (void)snprintf(out, GATE_TEXT_BYTES,
                       "controller-%u runs an older version, which does not know this change: "
                       "upgrade it first",
                       holder->id);
    }
}
