/* Workers as the client library is: they call, process, checkpoint, release, and now and then
 * crash, stop for a while, leave, or do not do what they are told. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/schema/lease.pb-c.h"
#include "tests/sim/lease/world.h"

static void new_life(struct world *w, struct sim_worker *worker)
{
    char name[sizeof(worker->name)];
    memcpy(name, worker->name, sizeof(name));
    *worker = (struct sim_worker){.alive = true, .next_ms = w->now_ms};
    memcpy(worker->name, name, sizeof(name));
    for (size_t i = 0; i < 16; i++) {
        worker->incarnation[i] = (uint8_t)rng_next(&w->rng);
    }
    worker->streams = rng_once_in(&w->rng, 8) ? 1 : 3;
    if (!w->quiet && rng_once_in(&w->rng, 10)) {
        worker->refuses = w->shard[rng_below(&w->rng, w->shard_count)];
    }
    note(w, "%s starts", worker->name);
}

void workers_open(struct world *w)
{
    for (size_t i = 0; i < WORKERS; i++) {
        (void)snprintf(w->worker[i].name, sizeof(w->worker[i].name), "w%zu", i);
        if (rng_once_in(&w->rng, 2)) {
            new_life(w, &w->worker[i]);
        } else {
            w->worker[i].back_ms = w->now_ms + rng_below(&w->rng, 20000);
        }
    }
}

bool worker_is_well(const struct world *w, const struct sim_worker *worker)
{
    return worker->alive && worker->joined && !worker->draining && !worker->leaving &&
           w->now_ms >= worker->paused_until_ms && worker->healthy_ms != 0;
}

bool worker_processes(const struct sim_worker *worker, uint64_t shard, uint64_t counter)
{
    for (size_t i = 0; i < worker->held_count; i++) {
        if (worker->held[i].shard == shard && worker->held[i].counter == counter) {
            return true;
        }
    }
    return false;
}

/* ---- mail
 * ------------------------------------------------------------------------------------------ */

static struct mail *post(struct world *w, enum mail_type type, size_t worker)
{
    struct mail *mail = w->mail;
    while (mail < w->mail + MAIL_MAX && mail->used) {
        mail++;
    }
    CHECK(mail < w->mail + MAIL_MAX);
    memset(mail, 0, sizeof(*mail));
    mail->used = true;
    mail->type = type;
    mail->worker = worker;
    mail->sent_ms = w->now_ms;
    mail->due_ms = w->now_ms + rng_between(&w->rng, 1, 30);
    if (!w->quiet && rng_once_in(&w->rng, 40)) {
        mail->due_ms += rng_below(&w->rng, 4000); /* slow */
    }
    memcpy(mail->incarnation, w->worker[worker].incarnation, sizeof(mail->incarnation));
    return mail;
}

static void send_sync(struct world *w, struct sim_worker *worker)
{
    struct mail *mail = post(w, MAIL_SYNC, (size_t)(worker - w->worker));
    mail->join = !worker->joined;
    mail->draining = worker->draining;
    mail->leaving = worker->leaving;
    mail->streams = worker->streams;
    for (size_t i = 0; i < worker->held_count; i++) {
        uint64_t rate = w->track[world_shard(w, worker->held[i].shard)].bytes_per_s;
        mail->shards[mail->count] = worker->held[i].shard;
        mail->counters[mail->count] = worker->held[i].counter;
        mail->bytes[mail->count++] = rate - rate / 20 + rng_below(&w->rng, rate / 10 + 1);
    }
    memcpy(mail->released, worker->released, sizeof(mail->released));
    mail->released_count = worker->released_count;
    worker->flying = true;
    worker->sent_ms = w->now_ms;
}

static void drop(struct sim_worker *worker, size_t at)
{
    worker->held[at] = worker->held[--worker->held_count];
}

static void drop_counter(struct sim_worker *worker, uint64_t counter)
{
    for (size_t i = 0; i < worker->held_count; i++) {
        if (worker->held[i].counter == counter) {
            drop(worker, i);
            return;
        }
    }
}

static void lose_all(struct sim_worker *worker)
{
    worker->held_count = worker->released_count = 0;
    worker->healthy_ms = 0;
}

/* ---- at the controller
 * ----------------------------------------------------------------------------- */

static void sync_reply(struct world *w, struct mail *mail)
{
    struct lease_call call = {.application = "app",
                              .worker = w->worker[mail->worker].name,
                              .shards = mail->shards,
                              .counters = mail->counters,
                              .bytes_per_s = mail->bytes,
                              .held_count = mail->count,
                              .released = mail->released,
                              .released_count = mail->released_count,
                              .draining = mail->draining,
                              .leaving = mail->leaving};
    uint32_t streams[STREAMS];
    for (uint32_t s = 0; s < STREAMS; s++) {
        if ((mail->streams >> s & 1) != 0) {
            streams[call.stream_count++] = s + 1;
        }
    }
    call.streams = streams;
    memcpy(call.incarnation, mail->incarnation, sizeof(call.incarnation));
    struct lease_answer answer = {0};
    enum status status = lease_sync(w->leases, w->now_ms, &call, &w->effects, &answer);
    struct mail *reply = post(w, MAIL_SYNC_REPLY, mail->worker);
    memcpy(reply->incarnation, mail->incarnation, sizeof(reply->incarnation));
    reply->sent_ms = mail->sent_ms;
    reply->status = status;
    reply->leaving = mail->leaving;
    reply->next_sync_ms = answer.next_sync_ms;
    struct db_application app;
    struct db_lease lease;
    for (size_t i = 0; i < answer.assigned_count; i++) {
        if (db_application_find(w->db, "app", &app) &&
            db_lease_get(w->db, app.id, answer.assigned[i], &lease)) {
            reply->shards[reply->count] = lease.shard;
            reply->counters[reply->count++] = lease.counter;
        }
    }
    for (size_t i = 0; i < answer.lost_count; i++) {
        reply->released[reply->released_count++] = answer.lost[i];
    }
    for (size_t i = 0; i < answer.hand_over_count; i++) {
        reply->bytes[reply->hand_over_count++] = answer.hand_over[i].counter;
    }
    for (size_t i = 0; status == STATUS_OK && i < mail->count; i++) {
        struct track *track = &w->track[world_shard(w, mail->shards[i])];
        if (track->counter == mail->counters[i]) {
            uint64_t last = track->listed_ms > track->owned_ms ? track->listed_ms : track->owned_ms;
            track->late_ms = w->now_ms >= last + TERM_MS ? w->now_ms : track->late_ms;
            track->listed_ms = w->now_ms;
        }
    }
    lease_answer_release(&answer);
    if (!w->quiet && rng_once_in(&w->rng, 40)) {
        reply->used = false; /* lost */
    }
}

static void join(struct world *w, struct mail *mail)
{
    Weir__LeaseStream streams[STREAMS], *list[STREAMS];
    char names[STREAMS][8];
    Weir__CmdLeaseJoin in = WEIR__CMD_LEASE_JOIN__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    for (uint32_t s = 0; s < STREAMS; s++) {
        weir__lease_stream__init(&streams[s]);
        (void)snprintf(names[s], sizeof(names[s]), "s%u", s + 1);
        streams[s].name = names[s];
        list[s] = &streams[s];
    }
    char app[] = "app";
    in.application = app;
    in.worker = w->worker[mail->worker].name;
    in.incarnation = (ProtobufCBinaryData){.data = mail->incarnation, .len = 16};
    in.streams = list;
    in.n_streams = STREAMS;
    command.kind_case = WEIR__COMMAND__KIND_LEASE_JOIN;
    command.lease_join = &in;
    command_later(w, &command, mail);
}

static void checkpoint(struct world *w, struct mail *mail)
{
    Weir__LeasePosition position = WEIR__LEASE_POSITION__INIT;
    Weir__LeaseCheckpointItem item = WEIR__LEASE_CHECKPOINT_ITEM__INIT, *items[] = {&item};
    Weir__LeaseCheckpoint in = WEIR__LEASE_CHECKPOINT__INIT;
    Weir__CmdLeaseCheckpoint cmd = WEIR__CMD_LEASE_CHECKPOINT__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    char app[] = "app";
    position.type = mail->end ? WEIR__LEASE_POSITION_TYPE__LEASE_SHARD_END
                              : WEIR__LEASE_POSITION_TYPE__LEASE_AT_OFFSET;
    position.offset = mail->offset;
    item.shard = mail->shard;
    item.counter = mail->counter;
    item.checkpoint = &position;
    in.application = app;
    in.worker = w->worker[mail->worker].name;
    in.incarnation = (ProtobufCBinaryData){.data = mail->incarnation, .len = 16};
    in.items = items;
    in.n_items = 1;
    cmd.checkpoint = &in;
    command.kind_case = WEIR__COMMAND__KIND_LEASE_CHECKPOINT;
    command.lease_checkpoint = &cmd;
    command_later(w, &command, mail);
}

void command_answered(struct world *w, struct mail *mail, const struct db_result *result)
{
    if (mail->type == MAIL_SYNC) {
        if (w->active && result->status == STATUS_OK) {
            sync_reply(w, mail);
        }
        mail->used = false;
        return;
    }
    mail->type = MAIL_CHECKPOINT_REPLY;
    mail->used = w->quiet || !rng_once_in(&w->rng, 40);
    mail->due_ms = w->now_ms + rng_between(&w->rng, 1, 30);
    mail->status = result->status;
    if (result->status == STATUS_OK) {
        Weir__LeaseCheckpointReply *reply =
            weir__lease_checkpoint_reply__unpack(NULL, result->body.size, result->body.data);
        CHECK(reply != NULL && reply->n_results == 1);
        mail->status = (enum status)reply->results[0];
        weir__lease_checkpoint_reply__free_unpacked(reply, NULL);
        check_checkpoint(w, mail);
    }
}

/* ---- at the worker
 * --------------------------------------------------------------------------------- */

static void start(struct world *w, struct sim_worker *worker, uint64_t shard, uint64_t counter)
{
    if (shard == worker->refuses || worker_processes(worker, shard, counter) ||
        worker->held_count == LISTED_MAX) {
        return;
    }
    for (size_t i = 0; i < worker->released_count; i++) {
        if (worker->released[i] == counter) {
            return;
        }
    }
    worker->held[worker->held_count++] =
        (struct held){.shard = shard,
                      .counter = counter,
                      .offset = w->track[world_shard(w, shard)].offset,
                      .since_ms = w->now_ms};
}

static void hear(struct world *w, struct sim_worker *worker, const struct mail *mail)
{
    worker->flying = false;
    worker->next_ms = w->now_ms + (mail->status == STATUS_OK ? mail->next_sync_ms : 500);
    if (mail->status == STATUS_EXPIRED || mail->status == STATUS_FENCED) {
        lose_all(worker);
        worker->joined = false;
        worker->alive = mail->status == STATUS_EXPIRED && !worker->leaving;
        return;
    }
    if (mail->status != STATUS_OK) {
        return;
    }
    worker->joined = true;
    worker->ok_sent_ms = mail->sent_ms;
    worker->healthy_ms = worker->healthy_ms == 0 ? w->now_ms : worker->healthy_ms;
    worker->released_count = 0;
    for (size_t i = 0; i < mail->released_count; i++) {
        drop_counter(worker, mail->released[i]);
    }
    for (size_t i = 0; i < mail->count; i++) {
        start(w, worker, mail->shards[i], mail->counters[i]);
    }
    for (size_t i = 0; i < mail->hand_over_count; i++) {
        for (size_t k = 0; k < worker->held_count; k++) {
            struct held *held = &worker->held[k];
            if (held->counter == mail->bytes[i] && !held->asked) {
                held->asked = true;
                bool never = !w->quiet && rng_once_in(&w->rng, 8);
                held->release_ms = never ? 0 : w->now_ms + rng_between(&w->rng, 20, 800);
            }
        }
    }
    if (worker->draining && worker->held_count == 0) {
        worker->leaving = true;
        worker->next_ms = w->now_ms;
    }
}

static void hear_checkpoint(struct world *w, struct sim_worker *worker, const struct mail *mail)
{
    for (size_t i = 0; i < worker->held_count; i++) {
        struct held *held = &worker->held[i];
        if (held->shard != mail->shard || held->counter != mail->counter) {
            continue;
        }
        if (mail->status == STATUS_FENCED || (mail->status == STATUS_OK && mail->end)) {
            worker->next_ms = w->now_ms;
            drop(worker, i);
        } else if (mail->end) {
            held->ended = false;
        }
        return;
    }
}

void mail_run(struct world *w)
{
    for (struct mail *mail = w->mail; mail < w->mail + MAIL_MAX; mail++) {
        struct sim_worker *worker = &w->worker[mail->worker];
        if (!mail->used || mail->due_ms > w->now_ms) {
            continue;
        }
        if (mail->type == MAIL_SYNC || mail->type == MAIL_CHECKPOINT) {
            mail->due_ms = UINT64_MAX;
            bool dead = memcmp(mail->incarnation, worker->incarnation, 16) != 0 || !worker->alive;
            if (!w->active || w->command_count > COMMANDS_MAX / 2 || (mail->join && dead)) {
                mail->used = false;
            } else if (mail->type == MAIL_CHECKPOINT) {
                checkpoint(w, mail);
            } else if (mail->join) {
                join(w, mail);
            } else {
                sync_reply(w, mail);
                mail->used = false;
            }
            continue;
        }
        if (worker->alive && w->now_ms < worker->paused_until_ms) {
            continue; /* it finds it when it goes on */
        }
        bool mine = worker->alive &&
                    memcmp(mail->incarnation, worker->incarnation, sizeof(mail->incarnation)) == 0;
        if (mine && mail->type == MAIL_SYNC_REPLY && mail->leaving && mail->status == STATUS_OK) {
            worker->alive = false;
            worker->back_ms = w->now_ms + rng_between(&w->rng, 100, 20000);
        } else if (mine && mail->type == MAIL_SYNC_REPLY && mail->sent_ms == worker->sent_ms) {
            hear(w, worker, mail);
        } else if (mine && mail->type == MAIL_CHECKPOINT_REPLY) {
            hear_checkpoint(w, worker, mail);
        }
        mail->used = false;
    }
}

static void work(struct world *w, struct sim_worker *worker)
{
    for (size_t i = worker->held_count; i > 0; i--) {
        struct held *held = &worker->held[i - 1];
        const struct track *track = &w->track[world_shard(w, held->shard)];
        bool ends = track->closed_ms != 0 && !held->ended && w->now_ms > held->since_ms + 200 &&
                    rng_once_in(&w->rng, 30);
        held->offset += rng_below(&w->rng, 3);
        if (ends || rng_once_in(&w->rng, 150)) {
            struct mail *mail = post(w, MAIL_CHECKPOINT, (size_t)(worker - w->worker));
            mail->shard = held->shard;
            mail->counter = held->counter;
            mail->offset = held->offset;
            mail->end = ends;
            held->ended = held->ended || ends;
        }
        bool bored = !w->quiet && rng_once_in(&w->rng, 20000);
        if (bored || (held->release_ms != 0 && w->now_ms >= held->release_ms)) {
            if (worker->released_count < LISTED_MAX) {
                worker->released[worker->released_count++] = held->counter;
                drop(worker, i - 1);
                worker->next_ms = w->now_ms;
            }
        }
    }
}

void workers_run(struct world *w)
{
    for (size_t i = 0; i < WORKERS; i++) {
        struct sim_worker *worker = &w->worker[i];
        if (!worker->alive) {
            if (worker->back_ms != 0 && w->now_ms >= worker->back_ms) {
                new_life(w, worker);
            } else if (w->quiet && worker->back_ms == 0) {
                worker->back_ms = w->now_ms + rng_between(&w->rng, 1, 8000);
            }
            continue;
        }
        if (w->now_ms < worker->paused_until_ms) {
            continue;
        }
        if (worker->joined && w->now_ms >= worker->ok_sent_ms + TERM_MS) {
            lose_all(worker); /* its own watch */
        }
        if (worker->flying && w->now_ms >= worker->sent_ms + 700) {
            worker->flying = false; /* the call timed out */
            worker->next_ms = w->now_ms;
        }
        work(w, worker);
        for (size_t k = 0; k < worker->held_count; k++) {
            /* An answer to SHARD_END may get lost. */
            worker->held[k].ended = worker->held[k].ended && !rng_once_in(&w->rng, 100);
        }
        if (!worker->flying && w->now_ms >= worker->next_ms) {
            if (worker->leaving) {
                worker->held_count = 0;
            }
            send_sync(w, worker);
        }
    }
}

void workers_faults(struct world *w)
{
    for (size_t i = 0; i < WORKERS; i++) {
        struct sim_worker *worker = &w->worker[i];
        if (!worker->alive || !rng_once_in(&w->rng, 1500)) {
            continue;
        }
        switch (rng_below(&w->rng, 5)) {
        case 0:
            note(w, "%s crashes", worker->name);
            worker->alive = false;
            worker->back_ms = w->now_ms + rng_between(&w->rng, 50, 10000);
            break;
        case 1:
        case 2:
            worker->paused_until_ms = w->now_ms + rng_between(&w->rng, 100, 3 * TERM_MS);
            worker->healthy_ms = 0;
            note(w, "%s stops for %llu ms", worker->name,
                 (unsigned long long)(worker->paused_until_ms - w->now_ms));
            break;
        case 3:
            worker->draining = true;
            note(w, "%s drains", worker->name);
            break;
        default:
            worker->leaving = worker->joined;
            worker->next_ms = w->now_ms;
            break;
        }
    }
}
