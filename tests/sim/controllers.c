/* The controllers' Raft, where a seed has the real one: processes around the cores of
 * controller/raft, as controller/raft/node.c and controller/rpc/controller.c are, their letters,
 * and the faults that are theirs alone. */
#include "tests/sim/controllers.h"

#include <stdlib.h>
#include <string.h>

static uint64_t raft_ms(const struct world *w)
{
    return 1000 + now_ms(w);
}

static void settle(struct raft_controller *c);

/* ----------------------------------------------------------------------------- letters */

struct letter {
    struct list node;
    uint32_t copies;
    struct buf body, attachment;
};

static void letter_free(struct letter *letter)
{
    list_remove(&letter->node);
    buf_release(&letter->body);
    buf_release(&letter->attachment);
    free(letter);
}

void letter_take(struct letter *letter)
{
    letter->copies++;
}

void letter_drop(struct letter *letter)
{
    letter->copies--;
    if (letter->copies == 0) {
        letter_free(letter);
    }
}

static void on_send(void *data, uint32_t to, const struct raft_packet *packet)
{
    static struct raft_frame frame;
    const struct raft_controller *c = data;
    struct world *w = c->world;
    if (to == 0 || to > w->plan.controllers || to == c->index + 1) {
        return;
    }
    struct letter *letter = sim_alloc(sizeof *letter);
    raft_frame_fill(&frame, packet);
    size_t size = weir__raft_message__get_packed_size(&frame.body);
    CHECK(buf_reserve(&letter->body, size + 1) == STATUS_OK);
    letter->body.size = weir__raft_message__pack(&frame.body, letter->body.data);
    for (uint32_t i = 0; i < frame.piece_count; i++) {
        CHECK(buf_append(&letter->attachment, frame.pieces[i].data, frame.pieces[i].size) ==
              STATUS_OK);
    }
    letter->copies = 1;
    list_push(&w->raft->letters, &letter->node);
    struct message *m =
        message_new(w, MESSAGE_RAFT, controller_endpoint(c->index), controller_endpoint(to - 1), 0);
    m->as.letter = letter;
    network_send(w, m);
}

void controllers_on_message(struct world *w, uint32_t index, const struct message *m)
{
    struct raft_controller *c = &w->raft->controller[index];
    struct raft_packet packet;
    if (!c->up) {
        return;
    }
    if (raft_packet_parse(buf_bytes(&m->as.letter->body), buf_bytes(&m->as.letter->attachment),
                          &packet) != STATUS_OK) {
        violated(w, "RAFT: controller %u refuses a letter of another one", index);
    }
    raft_core_receive(&c->core, raft_ms(w), m->from - BROKERS_MAX, &packet);
    raft_packet_release(&packet);
    settle(c);
}

/* ------------------------------------------------------------- what the core calls back */

static struct news *tell(struct raft_controller *c, enum news_type type)
{
    c->news = grow(c->news, &c->news_capacity, c->news_count + 1, sizeof *c->news);
    struct news *n = &c->news[c->news_count++];
    memset(n, 0, sizeof *n);
    n->type = type;
    return n;
}

static enum status on_apply(void *data, const struct raft_node_command *command,
                            struct error *error)
{
    (void)error;
    struct news *n = tell(data, NEWS_APPLY);
    n->index = command->index;
    n->term = command->term;
    CHECK(command->entry.size == sizeof n->command);
    memcpy(&n->command, command->entry.data, sizeof n->command);
    return STATUS_OK;
}

static enum status on_restore(void *data, uint64_t index, struct error *error)
{
    (void)error;
    tell(data, NEWS_RESTORE)->index = index;
    return STATUS_OK;
}

static void on_changed(void *data, bool active, uint64_t term, uint32_t leader)
{
    (void)leader;
    struct news *n = tell(data, NEWS_CHANGED);
    n->active = active;
    n->term = term;
}

static enum status on_take_snapshot(void *data)
{
    const struct raft_controller *c = data;
    uint64_t delay_us = draw(c->world, 1, 40 * MS);
    schedule(c->world, delay_us,
             (struct event){.type = EVENT_RAFT, .a = c->index, .b = RAFT_COPIED, .c = c->life});
    return STATUS_OK;
}

struct proposal {
    struct raft_node_request request;
    struct raft_controller *controller;
    uint64_t id;
};

static void on_done(struct raft_node_request *request, enum status status)
{
    struct proposal *p = CONTAINER_OF(request, struct proposal, request);
    struct news *n = tell(p->controller, NEWS_DONE);
    n->status = status;
    n->index = request->index;
    n->term = request->term;
    n->id = p->id;
    free(p);
}

/* ------------------------------------------------------------------------- a process */

static void happened(struct raft_controller *c, const struct news *n)
{
    struct world *w = c->world;
    switch (n->type) {
    case NEWS_APPLY:
        raft_log_apply(c, n);
        return;
    case NEWS_RESTORE:
        SEEN(w, CONTROLLER_RESTORED);
        if (n->index > w->raft->truth_end) {
            violated(w, "RAFT: controller %u restores %llu, which nobody has applied", c->index,
                     (unsigned long long)n->index);
        }
        c->applied = n->index;
        raft_log_read(c);
        return;
    case NEWS_DONE:
        raft_log_done(c, n);
        return;
    case NEWS_CHANGED:
        if (n->active) {
            raft_log_active(c, n->term);
        } else if (w->controller[c->index].active) {
            controller_deactivate(w, c->index, w->controller[c->index].activation);
        }
        return;
    }
    UNREACHABLE();
}

/* After every call of the core: what it told is carried out, and its next tick is planned. */
static void settle(struct raft_controller *c)
{
    struct world *w = c->world;
    CHECK(!c->draining);
    c->draining = true;
    for (uint32_t i = 0; i < c->news_count; i++) {
        struct news n = c->news[i];
        happened(c, &n);
    }
    c->news_count = 0;
    c->draining = false;
    if (!c->up) {
        return;
    }
    if (!raft_core_alive(&c->core)) {
        violated(w, "RAFT: controller %u failed: %s", c->index, c->core.error.text);
    }
    uint64_t due_ms = raft_core_deadline(&c->core);
    uint64_t due_us = due_ms <= raft_ms(w) ? w->now_us + 1 : (due_ms - 1000) * MS;
    if (due_us < c->tick_us) {
        c->tick_us = due_us;
        schedule(w, due_us - w->now_us,
                 (struct event){.type = EVENT_RAFT, .a = c->index, .b = RAFT_TICKS, .c = c->life});
    }
}

static const struct raft_core_ops ops = {
    .save_vote = raft_disk_save_vote,
    .append = raft_disk_append,
    .save_snapshot = raft_disk_save_snapshot,
    .compact = raft_disk_compact,
    .install = raft_disk_install,
    .load = raft_disk_load,
    .take_snapshot = on_take_snapshot,
    .read_snapshot = raft_disk_read_snapshot,
    .receive_begin = raft_disk_receive_begin,
    .receive_append = raft_disk_receive_append,
    .receive_end = raft_disk_receive_end,
    .send = on_send,
    .apply = on_apply,
    .restore = on_restore,
    .changed = on_changed,
};

static void start(struct raft_controller *c)
{
    struct world *w = c->world;
    if (c->up) {
        return;
    }
    if (MUTANT(CONTROLLER_AMNESIA) && c->life > 0) {
        raft_disk_forget(c, 3);
        c->applied = c->applied < raft_disk_last(c) ? c->applied : raft_disk_last(c);
    }
    version_on_controller(w, c->index);
    raft_log_read(c);
    struct raft_entry_view *views = sim_alloc((c->disk.count + 1) * sizeof *views);
    for (uint32_t i = 0; i < c->disk.count; i++) {
        views[i] = (struct raft_entry_view){.index = c->disk.first + i,
                                            .term = c->disk.entry[i].term,
                                            .type = c->disk.entry[i].type,
                                            .data = buf_bytes(&c->disk.entry[i].data)};
    }
    struct raft_core_state state = {.term = c->disk.term,
                                    .voted_for = MUTANT(VOTE_FORGOTTEN) ? 0 : c->disk.voted_for,
                                    .snapshot = c->disk.snapshot,
                                    .first = c->disk.first,
                                    .entries = views,
                                    .count = c->disk.count,
                                    .applied = c->applied};
    uint32_t election_ms = (uint32_t)w->plan.raft_election_ms;
    struct raft_core_options options = {.ops = &ops,
                                        .data = c,
                                        .id = c->index + 1,
                                        .election_ms = election_ms,
                                        .heartbeat_ms = election_ms / 10,
                                        .snapshot_entries = w->plan.raft_snapshot,
                                        .trailing_entries = w->plan.raft_snapshot / 2,
                                        .snapshot_bytes = 1 << 26,
                                        .tail_bytes = 16384,
                                        .chunk_bytes = 5,
                                        .seed = (unsigned)rng_next(&w->rng)};
    struct error error = {0};
    enum status status = raft_core_init(&c->core, &options, &state, raft_ms(w), &error);
    free(views);
    if (status != STATUS_OK) {
        violated(w, "RAFT: controller %u does not start: %s", c->index, error.text);
    }
    TRACE(w, "controller %u starts in term %llu with %llu of %llu applied", c->index,
          (unsigned long long)c->disk.term, (unsigned long long)c->applied,
          (unsigned long long)raft_disk_last(c));
    c->up = true;
    c->tick_us = UINT64_MAX;
    settle(c);
}

static void crash(struct world *w, uint32_t index, uint64_t down_us)
{
    struct raft_controller *c = &w->raft->controller[index];
    if (!c->up || w->healing) {
        return;
    }
    TRACE(w, "controller %u crashes", index);
    SEEN_IF(w, CONTROLLER_CRASHED_ACTIVE, w->controller[index].active);
    c->up = false;
    c->life++;
    controller_forget(w, index);
    raft_core_release(&c->core);
    raft_disk_crash(c);
    settle(c);
    /* Its database is not synced: any end of what it has applied may be gone. */
    uint64_t kept = draw(w, c->applied > 100 ? c->applied - 100 : 0, c->applied);
    SEEN_IF(w, CONTROLLER_REPLAYS, kept < c->applied);
    c->applied = kept;
    w->raft->all_down = true;
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        struct raft_controller *other = &w->raft->controller[i];
        w->raft->all_down = w->raft->all_down && !other->up;
        if (other->up && chance(w, 500)) { /* it sees the connection reset */
            raft_core_suspect(&other->core, raft_ms(w), index + 1);
            settle(other);
        }
    }
    schedule(w, down_us,
             (struct event){.type = EVENT_RAFT, .a = index, .b = RAFT_STARTS, .c = c->life});
}

/* Who voted forgets all that it may, while whom it voted for hears nobody: the same term must not
 * have another leader. */
static void after_vote(struct world *w, struct raft_controller *c)
{
    uint32_t us = controller_endpoint((uint32_t)c->disk.voted_for - 1);
    uint64_t for_us = draw(w, 1, 8) * w->plan.raft_election_ms * MS;
    SEEN(w, CONTROLLER_CRASHED_VOTED);
    crash(w, c->index, draw(w, 1, 50) * MS);
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        network_block(w, us, controller_endpoint(i), for_us);
        network_block(w, controller_endpoint(i), us, for_us);
    }
}

void controllers_on_event(struct world *w, uint32_t index, enum raft_event_kind kind, uint64_t life)
{
    struct raft_controller *c = &w->raft->controller[index];
    if (c->life != life) {
        return;
    }
    if (kind == RAFT_STARTS) {
        start(c);
        return;
    }
    if (kind == RAFT_VOTED) {
        after_vote(w, c);
        return;
    }
    if (kind == RAFT_TICKS) {
        c->tick_us = UINT64_MAX;
        raft_core_tick(&c->core, raft_ms(w));
    } else if (kind == RAFT_COPIED) {
        struct raft_snapshot_info info = raft_disk_copy_info(c->applied);
        raft_core_snapshot_taken(&c->core, raft_ms(w), STATUS_OK, &info);
    } else {
        uint64_t done = kind == RAFT_REPORTED ? c->disk.next_write : raft_disk_run(c);
        if (done != 0) {
            raft_core_written(&c->core, raft_ms(w), done);
        }
    }
    settle(c);
}

/* ------------------------------------------------------------------------- proposals */

void controllers_propose(struct world *w, uint32_t index, const struct command *command)
{
    struct controllers *r = w->raft;
    struct command *copy = sim_alloc(sizeof *copy);
    *copy = *command;
    copy->id = ++r->next_command;
    uint32_t old = r->fates;
    r->fate = grow(r->fate, &r->fates, (uint32_t)copy->id + 1, sizeof *r->fate);
    memset(r->fate + old, 0, (r->fates - old) * sizeof *r->fate);
    schedule(w, draw(w, 1, 2 * MS),
             (struct event){.type = EVENT_COMMIT,
                            .a = index,
                            .c = w->controller[index].activation,
                            .payload = copy});
}

bool controllers_ask(struct world *w, const struct command *command)
{
    if (!w->controller[w->metadata.leader].active) {
        return false;
    }
    controllers_propose(w, w->metadata.leader, command);
    return true;
}

void controllers_submit(struct world *w, struct event *event)
{
    struct raft_controller *c = &w->raft->controller[event->a];
    struct command *command = event->payload;
    event->payload = NULL;
    if (!c->up || w->controller[event->a].activation != event->c) {
        SEEN(w, PROPOSAL_LOST);
        free(command);
        return;
    }
    struct proposal *p = sim_alloc(sizeof *p);
    *p = (struct proposal){.controller = c, .id = command->id};
    p->request.done = on_done;
    enum status status =
        raft_core_submit(&c->core, raft_ms(w), bytes_of(command, sizeof *command), &p->request);
    if (status == STATUS_BUSY) { /* as it waits in a process until fewer are under way */
        schedule(
            w, 2 * MS,
            (struct event){.type = EVENT_COMMIT, .a = event->a, .c = event->c, .payload = command});
        free(p);
        return;
    }
    SEEN_IF(w, PROPOSAL_LOST, status != STATUS_OK);
    free(command);
    if (status != STATUS_OK) {
        free(p);
    }
    settle(c);
}

/* 2.9 taken out: any controller answers, with what it knows. */
static void answer_early(struct world *w, uint32_t broker, uint64_t boot)
{
    uint32_t *epoch = sim_alloc(SHARDS_MAX * sizeof *epoch);
    uint32_t any = (uint32_t)draw(w, 0, w->plan.controllers - 1);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        epoch[s] = w->raft->controller[any].row[s].epoch;
    }
    schedule(w, 2 * MS,
             (struct event){.type = EVENT_REGISTERED, .a = broker, .c = boot, .payload = epoch});
}

void controllers_register(struct world *w, uint32_t broker, uint64_t boot)
{
    const struct broker *b = &w->broker[broker];
    uint32_t us = controller_endpoint(w->metadata.leader);
    if (!b->up || b->boot != boot || w->raft->registered[broker] == boot) {
        return;
    }
    bool asks = !b->paused && !w->link[us][broker].blocked && !w->link[broker][us].blocked &&
                !knob(w, KNOB_LATE_REGISTRATION) && (w->healing || !chance(w, 100)) &&
                controllers_ask(
                    w, &(struct command){
                           .type = COMMAND_REGISTER, .to = {broker, b->disk_gen},
                                .boot = boot
    });
    SEEN_IF(w, REGISTRATION_REPEATED, !asks);
    if (MUTANT(REGISTERED_UNCOMMITTED)) {
        answer_early(w, broker, boot);
        return;
    }
    schedule(w, asks ? 300 * MS : 50 * MS,
             (struct event){.type = EVENT_REGISTER, .a = broker, .c = boot});
}

void controllers_registered(struct world *w, uint32_t broker, uint64_t boot)
{
    uint64_t *known = &w->raft->registered[broker];
    *known = boot > *known ? boot : *known;
}

/* ---------------------------------------------------------------------------- faults */

static void cut_one(struct world *w, uint32_t index, bool hears, bool speaks)
{
    uint64_t for_us = draw(w, 100, 2500) * MS;
    uint32_t us = controller_endpoint(index);
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        if (!hears) {
            network_block(w, controller_endpoint(i), us, for_us);
        }
        if (!speaks) {
            network_block(w, us, controller_endpoint(i), for_us);
        }
    }
}

void controllers_fault(struct world *w)
{
    uint32_t active = w->metadata.leader;
    uint32_t any = (uint32_t)draw(w, 0, w->plan.controllers - 1);
    uint64_t down_us = draw_exponential(w, 300 * MS);
    struct raft_controller *c = &w->raft->controller[active];
    switch (draw(w, 0, 5)) {
    case 0:
    case 1:
        crash(w, active, down_us);
        return;
    case 2:
        crash(w, any, down_us);
        return;
    case 3:
        SEEN(w, CONTROLLER_CUT_ACTIVE);
        cut_one(w, active, false, false);
        return;
    case 4: {
        bool hears = chance(w, 500);
        cut_one(w, chance(w, 700) ? active : any, hears, !hears);
        return;
    }
    default:
        if (c->up) {
            status_ignore(raft_core_transfer(&c->core, raft_ms(w), any + 1),
                          "a refusal is as good");
            settle(c);
        }
        return;
    }
}

void controllers_cut(struct world *w)
{
    bool crashes = chance(w, 500);
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        if (crashes) {
            crash(w, i, draw(w, 1, 800) * MS);
        } else {
            cut_one(w, i, false, false);
        }
    }
}

void controllers_heal(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        start(&w->raft->controller[i]);
    }
}

/* ------------------------------------------------------------------- the whole world */

void controllers_init(struct world *w)
{
    w->raft = sim_alloc(sizeof *w->raft);
    list_init(&w->raft->letters);
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        struct raft_controller *c = &w->raft->controller[i];
        c->world = w;
        c->index = i;
        raft_disk_bootstrap(c, w->plan.controllers);
        start(c);
    }
}

void controllers_release(struct world *w)
{
    struct controllers *r = w->raft;
    for (uint32_t i = 0; r != NULL && i < CONTROLLERS_MAX; i++) {
        struct raft_controller *c = &r->controller[i];
        if (c->up) {
            raft_core_release(&c->core);
        }
        raft_disk_release(c);
        free(c->news);
    }
    while (r != NULL && !list_empty(&r->letters)) {
        letter_free(CONTAINER_OF(r->letters.next, struct letter, node));
    }
    if (r != NULL) {
        free(r->truth);
        free(r->term);
        free(r->fate);
    }
    free(r);
}
