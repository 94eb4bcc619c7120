/* The set of controllers in the simulation: who is added, promoted and removed, and what must hold
 * meanwhile. An id is used once, as in life: who was removed stays away. */
#include <stdlib.h>

#include "raft_sim_internal.h"

uint32_t sim_slots(const struct sim *sim)
{
    return sim->options.nodes + sim->options.spares;
}

static int role_in(const struct raft_configuration *configuration, uint32_t id)
{
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == id) {
            return (int)configuration->servers[i].role + 1;
        }
    }
    return 0;
}

int sim_role(struct sim *sim, uint32_t by, uint32_t id)
{
    return role_in(&sim->nodes[by - 1].core.raft.configuration, id);
}

static uint32_t voters_of(const struct raft_configuration *configuration)
{
    uint32_t ids = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].role == RAFT_VOTER) {
            ids |= 1U << configuration->servers[i].id;
        }
    }
    return ids;
}

static uint32_t count_of(uint32_t ids)
{
    return (uint32_t)__builtin_popcount(ids);
}

static bool is_majority_of(const struct raft_configuration *configuration, uint32_t ids)
{
    uint32_t voters = voters_of(configuration);
    return 2 * count_of(voters & ids) > count_of(voters);
}

/* By the newest configuration; or by the one before it, that is committed: what counts may have
 * been decided just before the newest came. */
bool sim_is_majority(const struct node *node, uint32_t ids)
{
    const struct raft *raft = &node->core.raft;
    return is_majority_of(&raft->configuration, ids) ||
           (raft->configuration_uncommitted_index != 0 &&
            is_majority_of(&raft->configuration_committed, ids));
}

void sim_check_commit(struct node *node, uint64_t index)
{
    struct sim *sim = node->sim;
    uint32_t holders = 0;
    if (raft_state(&node->core.raft) != RAFT_LEADER) {
        return; /* it has it from one who has counted, perhaps by a set unknown here */
    }
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        const struct node *other = &sim->nodes[i];
        if (other->info.index >= index || other->first + other->count > index) {
            holders |= 1U << other->id;
        }
    }
    if (!sim_is_majority(node, holders)) {
        sim_violate(sim, "controller-%u commits %llu without a majority", node->id,
                    (unsigned long long)index);
    }
}

void sim_check_election(struct node *node, uint64_t term)
{
    struct sim *sim = node->sim;
    uint32_t voted = 0;
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        const struct node *other = &sim->nodes[i];
        if (other->term > term || (other->term == term && other->voted_for == node->id)) {
            voted |= 1U << other->id;
        }
    }
    if (!sim_is_majority(node, voted)) {
        sim_violate(sim, "controller-%u leads without a majority's votes", node->id);
    }
}

bool sim_is_heard(struct node *to, struct node *from)
{
    const struct raft *raft = &to->core.raft;
    if (!raft_core_is_active(&to->core) || raft->configuration_uncommitted_index != 0 ||
        role_in(&raft->configuration, from->id) != 0) {
        return true;
    }
    /* It is told, and ends, unless it knows better. */
    const struct raft *theirs = &from->core.raft;
    if (from->up && !raft_core_is_active(&from->core) &&
        (role_in(&theirs->configuration_committed, from->id) == 0 ||
         theirs->configuration_committed_index < raft->configuration_committed_index)) {
        sim_crash(from->sim, from->id);
        from->retired = true;
    }
    return false;
}

struct change {
    struct raft_node_request request;
    struct node *node, *member;
    enum raft_change_kind kind;
};

static void changed(struct raft_node_request *request, enum status status)
{
    struct change *change = CONTAINER_OF(request, struct change, request);
    struct node *member = change->member;
    struct sim_counters *counters = &change->node->sim->counters;
    if (status != STATUS_OK) {
        counters->uncertain_changes++;
    } else if (change->kind == RAFT_CHANGE_ADD) {
        counters->added++;
    } else if (change->kind == RAFT_CHANGE_PROMOTE) {
        counters->promoted++;
        member->voter_once = true;
    } else {
        counters->removed++;
        member->gone = true;
    }
    free(change);
}

static void check_change(struct node *node, uint32_t voters_before, uint64_t commit_before)
{
    struct sim *sim = node->sim;
    uint64_t term = raft_current_term(&node->core.raft);
    if (sim->changes[term] > commit_before) {
        sim_violate(sim, "controller-%u makes two changes at once", node->id);
    }
    if (commit_before >= node->first && commit_before < node->first + node->count &&
        node->log[commit_before - node->first].term != term) {
        sim_violate(sim, "controller-%u changes the set before it has committed anything",
                    node->id);
    }
    if (count_of(voters_before ^ voters_of(&node->core.raft.configuration)) > 1) {
        sim_violate(sim, "controller-%u moves two voters at once", node->id);
    }
    sim->changes[term] = raft_core_last(&node->core);
}

enum status sim_member(struct sim *sim, uint32_t by, enum raft_change_kind kind, uint32_t id)
{
    struct node *node = &sim->nodes[by - 1], *member = &sim->nodes[id - 1];
    if (kind == RAFT_CHANGE_ADD && member->term == 0) {
        member->joins = true;
        member->term = member->first = 1;
        sim_node_start(member);
    }
    if (!node->up) {
        return STATUS_UNAVAILABLE;
    }
    struct change *change = calloc(1, sizeof(*change));
    CHECK(change != NULL);
    *change = (struct change){.node = node, .member = member, .kind = kind};
    change->request.done = changed;
    struct raft_node_change wanted = {
        .kind = kind, .server = {.id = id, .host = "host", .port = (uint16_t)(7000 + id)}
    };
    uint32_t voters = voters_of(&node->core.raft.configuration);
    uint64_t commit = raft_commit_index(&node->core.raft);
    enum status status = raft_core_change(&node->core, sim->now, &wanted, &change->request);
    if (status != STATUS_OK) {
        sim->counters.refused_changes++;
        free(change);
        return status;
    }
    member->may_go = member->may_go || kind == RAFT_CHANGE_REMOVE;
    /* Alone, it may have been done with on the spot. */
    check_change(node, voters, commit);
    return STATUS_OK;
}

void sim_chaos_change(struct sim *sim)
{
    if (!rng_once_in(&sim->rng, 50)) {
        return;
    }
    uint32_t by = sim_active(sim), id = (uint32_t)rng_between(&sim->rng, 1, sim_slots(sim));
    if (by == 0 || sim->nodes[id - 1].retired) {
        return;
    }
    int role = sim_role(sim, by, id);
    enum raft_change_kind kind = RAFT_CHANGE_ADD;
    if (role == RAFT_STANDBY + 1 && !rng_once_in(&sim->rng, 5)) {
        kind = RAFT_CHANGE_PROMOTE;
    } else if (role != 0) {
        kind = RAFT_CHANGE_REMOVE;
        if (!rng_once_in(&sim->rng, 4)) {
            return;
        }
    } else if (sim->nodes[id - 1].may_go) {
        return;
    }
    /* A second one at once has to be refused. */
    (void)sim_member(sim, by, kind, id);
    if (rng_once_in(&sim->rng, 3)) {
        uint32_t other = (uint32_t)rng_between(&sim->rng, 1, sim_slots(sim));
        if (sim->nodes[by - 1].up && sim_role(sim, by, other) == RAFT_STANDBY + 1) {
            (void)sim_member(sim, by, RAFT_CHANGE_PROMOTE, other);
        }
    }
}

void sim_check_set(struct sim *sim)
{
    uint32_t active = sim_active(sim);
    for (uint32_t id = 1; active != 0 && id <= sim_slots(sim); id++) {
        const struct node *node = &sim->nodes[id - 1];
        int role = sim_role(sim, active, id);
        bool began = id <= sim->options.nodes;
        if (node->gone && role != 0) {
            sim_violate(sim, "controller-%u is back, but its removal was acknowledged", id);
        }
        if ((node->voter_once || began) && !node->may_go && role != RAFT_VOTER + 1) {
            sim_violate(sim, "controller-%u does not vote, but was made a voter", id);
        }
    }
}
