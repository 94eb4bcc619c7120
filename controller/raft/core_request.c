/* Submitted entries and linearizable reads: who waits for what. */
#include "base/check.h"
#include "controller/raft/core.h"

void raft_core_request_finish(struct raft_core *core, struct raft_node_request *request,
                              enum status status)
{
    list_remove(&request->node);
    request->round = status;
    list_push(&core->finished, &request->node);
}

static void finish_all(struct raft_core *core, struct list *list, enum status status)
{
    LIST_FOR_EACH_SAFE (node, list) {
        raft_core_request_finish(core, CONTAINER_OF(node, struct raft_node_request, node), status);
    }
}

void raft_core_requests_lost(struct raft_core *core)
{
    finish_all(core, &core->submitted, STATUS_UNCERTAIN);
    finish_all(core, &core->reads, STATUS_NOT_ACTIVE);
}

struct raft_node_request *raft_core_request_of(struct raft_core *core, uint64_t index,
                                               uint64_t term)
{
    if (list_empty(&core->submitted)) {
        return NULL;
    }
    struct raft_node_request *request =
        CONTAINER_OF(core->submitted.next, struct raft_node_request, node);
    return request->index == index && request->term == term ? request : NULL;
}

/* ---- reads ----
 *
 * A read notes the commit index, then a majority must say that it knows no later term. Whoever led
 * a later term would have needed the vote of one of them, which therefore came after its answer and
 * so after the read began: what that leader acknowledged is not yet owed to this read. (Raft
 * dissertation, 6.4; no entry is written for it.) Reads that come while a round is under way wait
 * for the next. */

static uint32_t voter_bits(const struct raft_core *core)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < core->raft.configuration.n; i++) {
        if (core->raft.configuration.servers[i].role == RAFT_VOTER) {
            bits |= 1U << i;
        }
    }
    return bits;
}

static void mark_answer(struct raft_core *core, uint64_t id)
{
    for (unsigned i = 0; i < core->raft.configuration.n; i++) {
        if (core->raft.configuration.servers[i].id == id) {
            core->round_answers |= 1U << i;
        }
    }
}

static void send_probes(struct raft_core *core)
{
    core->round_sent_ms = core->now;
    struct raft_packet packet = {
        .type = RAFT_READ_PROBE, .term = raft_current_term(&core->raft), .round = core->round};
    for (unsigned i = 0; i < core->raft.configuration.n; i++) {
        const struct raft_server *server = &core->raft.configuration.servers[i];
        if (server->role == RAFT_VOTER && server->id != core->options.id &&
            (core->round_answers & 1U << i) == 0) {
            core->options.ops->send(core->options.data, (uint32_t)server->id, &packet);
        }
    }
}

static uint64_t configuration_index(const struct raft_core *core)
{
    return core->raft.configuration_uncommitted_index != 0
               ? core->raft.configuration_uncommitted_index
               : core->raft.configuration_committed_index;
}

static void start_round(struct raft_core *core)
{
    core->round++;
    core->round_answers = 0;
    core->round_configuration = configuration_index(core);
    mark_answer(core, core->options.id);
    send_probes(core);
}

enum status raft_core_read(struct raft_core *core, uint64_t now, struct raft_node_request *request)
{
    if (!raft_core_alive(core)) {
        return STATUS_UNAVAILABLE;
    }
    if (!raft_core_is_active(core)) {
        return STATUS_NOT_ACTIVE;
    }
    if (now > core->now) {
        core->now = now;
    }
    request->index = raft_commit_index(&core->raft);
    request->term = raft_current_term(&core->raft);
    request->round = core->round + 1;
    list_push(&core->reads, &request->node);
    if (core->round == core->round_done) {
        start_round(core);
        core->poll = true; /* we alone may be the majority */
    }
    return STATUS_OK;
}

void raft_core_requests_advance(struct raft_core *core)
{
    if (core->round > core->round_done && raft_core_is_active(core) &&
        core->round_configuration != configuration_index(core)) {
        start_round(core);
        core->poll = true;
    }
    if (core->round > core->round_done) {
        uint32_t voters = voter_bits(core);
        if (__builtin_popcount(core->round_answers & voters) * 2 > __builtin_popcount(voters)) {
            core->round_done = core->round;
        }
    }
    bool more = false;
    LIST_FOR_EACH_SAFE (node, &core->reads) {
        struct raft_node_request *request = CONTAINER_OF(node, struct raft_node_request, node);
        if (request->round > core->round_done) {
            more = more || request->round > core->round;
        } else if (core->cursor >= request->index) {
            raft_core_request_finish(core, request, STATUS_OK);
        }
    }
    if (more && core->round == core->round_done && raft_core_is_active(core)) {
        start_round(core);
        core->poll = true;
    }
}

void raft_core_read_tick(struct raft_core *core)
{
    if (core->round > core->round_done && raft_core_is_active(core) &&
        core->now - core->round_sent_ms >= core->options.heartbeat_ms) {
        send_probes(core);
    }
}

void raft_core_read_probe(struct raft_core *core, uint32_t from, const struct raft_packet *packet)
{
    uint64_t term = raft_current_term(&core->raft);
    if (term == 0) {
        return;
    }
    struct raft_packet answer = {.type = RAFT_READ_ANSWER, .term = term, .round = packet->round};
    core->options.ops->send(core->options.data, from, &answer);
}

void raft_core_read_answer(struct raft_core *core, uint32_t from, const struct raft_packet *packet)
{
    if (raft_core_is_active(core) && packet->term <= raft_current_term(&core->raft) &&
        packet->round == core->round && core->round_configuration == configuration_index(core)) {
        mark_answer(core, from);
    }
}
