#include <stdio.h>
#include <stdlib.h>

#include "raft_sim_internal.h"

/* ---- network ---- */

static void pack(struct message *message, const struct raft_packet *packet)
{
    struct raft_frame *frame = calloc(1, sizeof(*frame));
    CHECK(frame != NULL);
    raft_frame_fill(frame, packet);
    size_t size = weir__raft_message__get_packed_size(&frame->body);
    CHECK(buf_reserve(&message->body, size + 1) == STATUS_OK);
    message->body.size = weir__raft_message__pack(&frame->body, message->body.data);
    for (uint32_t i = 0; i < frame->piece_count; i++) {
        CHECK(buf_append(&message->attachment, frame->pieces[i].data, frame->pieces[i].size) ==
              STATUS_OK);
    }
    free(frame);
}

static void op_send(void *data, uint32_t to, const struct raft_packet *packet)
{
    struct node *node = data;
    struct sim *sim = node->sim;
    if (to == 0 || to > sim_slots(sim)) {
        return;
    }
    uint32_t copies = sim->lossy && rng_once_in(&sim->rng, sim->options.duplicate_one_in) ? 2 : 1;
    for (uint32_t i = 0; i < copies && sim->message_count < MESSAGES_MAX; i++) {
        if (sim->lossy && rng_once_in(&sim->rng, sim->options.loss_one_in)) {
            continue;
        }
        struct message *message = &sim->messages[sim->message_count++];
        *message = (struct message){.from = node->id, .to = to};
        message->due_ms = sim->now + 1 + rng_below(&sim->rng, sim->options.delay_ms + 1);
        pack(message, packet);
    }
}

static void message_deliver(struct sim *sim, struct message *message)
{
    struct node *node = &sim->nodes[message->to - 1];
    if (node->up && sim->links[message->from - 1][message->to - 1] && !node->cut &&
        !sim->nodes[message->from - 1].cut) {
        struct raft_packet packet;
        enum status status =
            raft_packet_parse(buf_bytes(&message->body), buf_bytes(&message->attachment), &packet);
        if (status != STATUS_OK) {
            sim_violate(sim, "a message of our own is refused");
        } else if (!sim_is_heard(node, &sim->nodes[message->from - 1])) {
            raft_packet_release(&packet);
        } else {
            raft_core_receive(&node->core, sim->now, message->from, &packet);
            raft_packet_release(&packet);
        }
    }
    buf_release(&message->body);
    buf_release(&message->attachment);
}

static void deliver_due(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->message_count;) {
        const struct node *to = &sim->nodes[sim->messages[i].to - 1];
        if (sim->messages[i].due_ms > sim->now || (to->up && to->stalled_until > sim->now)) {
            i++;
            continue;
        }
        struct message message = sim->messages[i];
        sim->messages[i] = sim->messages[--sim->message_count];
        message_deliver(sim, &message);
    }
}

/* ---- controllers ---- */

static const struct raft_core_ops ops = {
    .save_vote = sim_op_save_vote,
    .append = sim_op_append,
    .save_snapshot = sim_op_save_snapshot,
    .compact = sim_op_compact,
    .install = sim_op_install,
    .load = sim_op_load,
    .take_snapshot = sim_op_take_snapshot,
    .read_snapshot = sim_op_read_snapshot,
    .receive_begin = sim_op_receive_begin,
    .receive_append = sim_op_receive_append,
    .receive_end = sim_op_receive_end,
    .send = op_send,
    .apply = sim_op_apply,
    .restore = sim_op_restore,
    .changed = sim_op_changed,
};

void sim_node_start(struct node *node)
{
    struct sim *sim = node->sim;
    struct raft_entry_view *views = calloc(node->count + 1, sizeof(*views));
    CHECK(views != NULL);
    for (uint64_t i = 0; i < node->count; i++) {
        views[i] = (struct raft_entry_view){.index = node->first + i,
                                            .term = node->log[i].term,
                                            .type = node->log[i].type,
                                            .data = buf_bytes(&node->log[i].data)};
    }
    struct raft_core_state state = {.term = node->term,
                                    .voted_for = node->voted_for,
                                    .snapshot = node->info,
                                    .first = node->first,
                                    .entries = views,
                                    .count = (uint32_t)node->count,
                                    .applied = sim_machine_index(&node->machine),
                                    .joining = node->joins};
    struct raft_core_options options = {.ops = &ops,
                                        .data = node,
                                        .id = node->id,
                                        .election_ms = 200,
                                        .heartbeat_ms = 20,
                                        .snapshot_entries = sim->options.snapshot_entries,
                                        .trailing_entries = sim->options.trailing_entries,
                                        .snapshot_bytes = 1 << 20,
                                        .tail_bytes = sim->options.tail_bytes,
                                        .chunk_bytes = sim->options.chunk_bytes,
                                        .seed = (unsigned)rng_next(&sim->rng)};
    struct error error = {0};
    if (raft_core_init(&node->core, &options, &state, sim->now, &error) != STATUS_OK) {
        sim_violate(sim, "controller-%u does not start: %s", node->id, error.text);
    } else {
        node->up = true;
    }
    free(views);
}

void sim_crash(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    if (!node->up) {
        return;
    }
    node->up = false;
    node->taking = false;
    sim->counters.crashes++;
    raft_core_release(&node->core);
    bool kept = true;
    while (!list_empty(&node->writes)) {
        struct disk_write *write = CONTAINER_OF(list_pop(&node->writes), struct disk_write, node);
        kept = kept && rng_once_in(&sim->rng, 2);
        if (kept) {
            sim_disk_apply(node, write);
        }
        sim_write_free(write);
    }
    /* The state machine is not synced: any end of it may be gone. */
    node->machine.count = rng_between(&sim->rng, 0, node->machine.count);
}

void sim_restart(struct sim *sim, uint32_t id)
{
    if (!sim->nodes[id - 1].up && !sim->nodes[id - 1].retired && sim->nodes[id - 1].term > 0) {
        sim_node_start(&sim->nodes[id - 1]);
    }
}

static void node_run(struct node *node)
{
    struct sim *sim = node->sim;
    if (node->stalled_until > sim->now) {
        return;
    }
    uint64_t done = 0;
    while (!list_empty(&node->writes)) {
        struct disk_write *write = CONTAINER_OF(node->writes.next, struct disk_write, node);
        if (write->due_ms > sim->now) {
            break;
        }
        sim_disk_apply(node, write);
        done = write->id;
        list_remove(&write->node);
        sim_write_free(write);
    }
    if (done != 0) {
        raft_core_written(&node->core, sim->now, done);
    }
    if (node->taking && node->taken_ms <= sim->now) {
        sim_snapshot_taken(node);
    }
    if (raft_core_deadline(&node->core) <= sim->now) {
        raft_core_tick(&node->core, sim->now);
    }
    if (!raft_core_alive(&node->core)) {
        sim_violate(sim, "controller-%u failed: %s", node->id, node->core.error.text);
    }
}

/* ---- requests ---- */

static void submitted(struct raft_node_request *request, enum status status)
{
    struct pending *pending = CONTAINER_OF(request, struct pending, request);
    struct sim *sim = pending->sim;
    if (status == STATUS_OK) {
        sim->counters.acknowledged++;
        if (sim->committed[request->index] != pending->command) {
            sim_violate(sim, "acknowledged what was not applied");
        }
        sim->acked[request->index] = 1;
        sim->acked_in[request->term] = request->index;
        sim->acked_index = sim->acked_index > request->index ? sim->acked_index : request->index;
    } else {
        sim->counters.uncertain++;
    }
    free(pending);
}

bool sim_submit(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    struct pending *pending = calloc(1, sizeof(*pending));
    CHECK(pending != NULL);
    *pending = (struct pending){.sim = sim, .node = node, .command = sim->next_command};
    pending->request.done = submitted;
    uint8_t entry[300];
    memset(entry, (int)(sim->next_command & 0xff), sizeof(entry));
    put_u64(entry, sim->next_command);
    size_t size = rng_between(&sim->rng, 8, sizeof(entry));
    if (!node->up || raft_core_submit(&node->core, sim->now, bytes_of(entry, size),
                                      &pending->request) != STATUS_OK) {
        free(pending);
        return false;
    }
    sim->next_command++;
    sim->counters.submitted++;
    return true;
}

static void was_read(struct raft_node_request *request, enum status status)
{
    struct pending *pending = CONTAINER_OF(request, struct pending, request);
    struct sim *sim = pending->sim;
    if (status == STATUS_OK) {
        sim->counters.reads++;
        if (sim_machine_index(&pending->node->machine) < pending->must_see) {
            sim_violate(sim, "a read of controller-%u misses what was acknowledged before it",
                        pending->node->id);
        }
    } else {
        sim->counters.refused_reads++;
    }
    free(pending);
}

bool sim_read(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    struct pending *pending = calloc(1, sizeof(*pending));
    CHECK(pending != NULL);
    *pending = (struct pending){.sim = sim, .node = node, .must_see = sim->acked_index};
    pending->request.done = was_read;
    if (!node->up || raft_core_read(&node->core, sim->now, &pending->request) != STATUS_OK) {
        free(pending);
        return false;
    }
    return true;
}

bool sim_change(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    struct raft_buffer encoded;
    if (!node->up || !raft_core_is_active(&node->core) ||
        raft_configuration_encode(&node->core.raft.configuration, &encoded) != 0) {
        return false;
    }
    struct raft_entry entry = {.term = node->core.raft.current_term,
                               .type = RAFT_CHANGE,
                               .buf = encoded,
                               .batch = encoded.base};
    struct raft_event event = {.type = RAFT_SUBMIT};
    event.submit.entries = &entry;
    event.submit.n = 1;
    int rv = 0;
    bool taken = raft_core_step(&node->core, &event, &rv);
    if (rv != 0) {
        raft_free(encoded.base);
    }
    return taken;
}

/* ---- the run ---- */

static void chaos(struct sim *sim)
{
    uint32_t id = (uint32_t)rng_between(&sim->rng, 1, sim_slots(sim));
    for (int i = 0; sim->options.spares > 0 && i < 8 && !sim->nodes[id - 1].up; i++) {
        id = (uint32_t)rng_between(&sim->rng, 1, sim_slots(sim));
    }
    struct node *node = &sim->nodes[id - 1];
    if (rng_once_in(&sim->rng, 1500) && node->up) {
        sim_crash(sim, id);
        node->restart_ms = sim->now + rng_between(&sim->rng, 10, 1500);
    }
    if (rng_once_in(&sim->rng, 1200)) {
        bool heal = rng_once_in(&sim->rng, 2);
        for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
            for (uint32_t j = 0; j < SIM_NODES_MAX; j++) {
                sim->links[i][j] = heal || !rng_once_in(&sim->rng, 3);
            }
        }
    }
    if (rng_once_in(&sim->rng, sim->options.stall_one_in)) {
        node->stalled_until = sim->now + rng_between(&sim->rng, 5, 600);
    }
    if (node->up && rng_once_in(&sim->rng, 2500)) {
        status_ignore(raft_core_transfer(&node->core, sim->now,
                                         (uint32_t)rng_below(&sim->rng, sim_slots(sim) + 1)),
                      "a refusal is as good");
    }
    if (node->up && rng_once_in(&sim->rng, 1000)) {
        raft_core_suspect(&node->core, sim->now,
                          (uint32_t)rng_between(&sim->rng, 1, sim_slots(sim)));
    }
    if (rng_once_in(&sim->rng, 4)) {
        for (uint64_t n = rng_between(&sim->rng, 1, 6); n > 0; n--) {
            (void)sim_submit(sim, id);
        }
    }
    if (rng_once_in(&sim->rng, 15)) {
        (void)sim_read(sim, id);
    }
    if (sim->options.spares > 0) {
        sim_chaos_change(sim);
    } else if (rng_once_in(&sim->rng, 100)) {
        (void)sim_change(sim, id);
    }
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        struct node *other = &sim->nodes[i];
        if (!other->up && !other->retired && other->restart_ms != 0 &&
            other->restart_ms <= sim->now) {
            sim_node_start(other);
        }
    }
}

void sim_run(struct sim *sim, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && sim->violation[0] == 0; i++) {
        sim->now++;
        deliver_due(sim);
        for (uint32_t n = 0; n < sim_slots(sim); n++) {
            if (sim->nodes[n].up) {
                node_run(&sim->nodes[n]);
            }
        }
        if (sim->chaos) {
            chaos(sim);
        }
    }
}

void sim_chaos(struct sim *sim, bool on)
{
    sim->chaos = sim->lossy = on;
}

void sim_heal(struct sim *sim)
{
    sim_chaos(sim, false);
    memset(sim->links, 1, sizeof(sim->links));
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        sim->nodes[i].cut = false;
        sim->nodes[i].stalled_until = 0;
        sim_restart(sim, i + 1);
    }
}

void sim_cut(struct sim *sim, uint32_t id, bool cut)
{
    sim->nodes[id - 1].cut = cut;
}

uint32_t sim_active(const struct sim *sim)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        const struct node *node = &sim->nodes[i];
        if (node->up && raft_core_is_active(&node->core) &&
            (best == 0 ||
             node->core.raft.current_term > sim->nodes[best - 1].core.raft.current_term)) {
            best = i + 1;
        }
    }
    return best;
}

static bool is_settled(struct sim *sim)
{
    if (sim_active(sim) == 0) {
        return false;
    }
    const struct machine *first = &sim->nodes[sim_active(sim) - 1].machine;
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        const struct machine *machine = &sim->nodes[i].machine;
        if (sim->nodes[i].up && sim_role(sim, sim_active(sim), i + 1) != 0 &&
            (machine->count != first->count || sim_machine_index(machine) < sim->acked_index)) {
            return false;
        }
    }
    return true;
}

static void check_end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        const struct machine *machine = &sim->nodes[i].machine;
        uint64_t seen = 0, acked = 0;
        for (uint64_t r = 0; sim->nodes[i].up && r < machine->count; r++) {
            if (sim->committed[machine->records[r].index] != machine->records[r].command) {
                sim_violate(sim, "the history of controller-%u differs", i + 1);
            }
            seen += sim->acked[machine->records[r].index];
        }
        for (uint64_t index = 0; index <= sim->acked_index; index++) {
            acked += sim->acked[index];
        }
        bool member = sim_active(sim) == 0 || sim_role(sim, sim_active(sim), i + 1) != 0;
        if (sim->nodes[i].up && member && seen != acked) {
            sim_violate(sim, "controller-%u has %llu of %llu acknowledged commands", i + 1,
                        (unsigned long long)seen, (unsigned long long)acked);
        }
    }
}

bool sim_settle(struct sim *sim, uint64_t ms)
{
    uint64_t until = sim->now + ms;
    do {
        sim_run(sim, 5);
    } while (sim->now < until && sim->violation[0] == 0 && !is_settled(sim));
    check_end(sim);
    sim_check_set(sim);
    return is_settled(sim) && sim->violation[0] == 0;
}

struct raft_core *sim_core(struct sim *sim, uint32_t id)
{
    return sim->nodes[id - 1].up ? &sim->nodes[id - 1].core : NULL;
}

uint64_t sim_applied_count(const struct sim *sim, uint32_t id)
{
    return sim->nodes[id - 1].machine.count;
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

const struct sim_counters *sim_counters(const struct sim *sim)
{
    return &sim->counters;
}

const char *sim_violation(const struct sim *sim)
{
    return sim->violation[0] == 0 ? NULL : sim->violation;
}

void sim_wipe_log_behind_back(struct sim *sim, uint32_t id)
{
    struct node *node = &sim->nodes[id - 1];
    sim_disk_truncate(node, node->first + 1);
}

void sim_raise_term(struct sim *sim, uint32_t id, uint64_t by)
{
    struct node *node = &sim->nodes[id - 1];
    CHECK(!node->up);
    node->term += by;
    node->voted_for = 0;
}

static void bootstrap(struct node *node, uint32_t nodes)
{
    struct raft_configuration configuration;
    struct raft_buffer encoded;
    raft_configuration_init(&configuration);
    for (uint32_t i = 1; i <= nodes; i++) {
        char address[32];
        (void)snprintf(address, sizeof(address), "controller-%u", i);
        CHECK(raft_configuration_add(&configuration, i, address, RAFT_VOTER) == 0);
    }
    CHECK(raft_configuration_encode(&configuration, &encoded) == 0);
    struct disk_entry entry = {.term = 1, .type = RAFT_CHANGE};
    CHECK(buf_append(&entry.data, encoded.base, encoded.len) == STATUS_OK);
    node->first = node->term = 1;
    sim_disk_push(node, &entry);
    raft_free(encoded.base);
    raft_configuration_close(&configuration);
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    CHECK(sim != NULL);
    sim->options = *options;
    rng_init(&sim->rng, options->seed);
    sim->now = 1000;
    sim->next_command = 1;
    sim->messages = calloc(MESSAGES_MAX, sizeof(*sim->messages));
    sim->committed = calloc(COMMANDS_MAX, sizeof(*sim->committed));
    sim->acked = calloc(COMMANDS_MAX, 1);
    sim->leaders = calloc(TERMS_MAX, sizeof(*sim->leaders));
    CHECK(sim->messages != NULL && sim->committed != NULL);
    sim->acked_in = calloc(TERMS_MAX, sizeof(*sim->acked_in));
    sim->changes = calloc(TERMS_MAX, sizeof(*sim->changes));
    CHECK(sim->acked != NULL && sim->leaders != NULL && sim->changes != NULL);
    CHECK(sim->acked_in != NULL);
    memset(sim->links, 1, sizeof(sim->links));
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        struct node *node = &sim->nodes[i];
        node->sim = sim;
        node->id = i + 1;
        list_init(&node->writes);
        if (i < options->nodes) {
            bootstrap(node, options->nodes);
            sim_node_start(node);
        }
    }
    return sim;
}

void sim_free(struct sim *sim)
{
    for (uint32_t i = 0; i < sim_slots(sim); i++) {
        struct node *node = &sim->nodes[i];
        sim_crash(sim, i + 1);
        sim_entries_free(node->log, node->count);
        free(node->log);
        free(node->machine.records);
        buf_release(&node->snapshot);
        buf_release(&node->incoming);
        buf_release(&node->taken);
    }
    for (uint32_t i = 0; i < sim->message_count; i++) {
        buf_release(&sim->messages[i].body);
        buf_release(&sim->messages[i].attachment);
    }
    free(sim->messages);
    free(sim->committed);
    free(sim->acked);
    free(sim->leaders);
    free(sim->changes);
    free(sim->acked_in);
    free(sim);
}
