#include "controller/lease/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { APP = 7, TERM = 3000, HAND_OVER = 5000, WORKERS_MAX = 4, LEASES_MAX = 8 };

/* The rows as the controllers would have them: effects are carried out by commit(). */
struct fixture {
    struct leases *l;
    struct lease_effects effects;
    struct lease_answer answer;
    uint64_t now, next_counter;
    struct lease_worker_row worker[WORKERS_MAX];
    size_t workers;
    struct lease_row row[LEASES_MAX];
    size_t rows;
    uint64_t bytes[LEASES_MAX];
};

static void step(struct fixture *f, struct lease_input in)
{
    assert_int_equal(lease_step(f->l, f->now, &in, &f->effects), STATUS_OK);
}

static void tell_app(struct fixture *f)
{
    struct lease_stream_row stream = {.stream = 1, .next_shard = LEASES_MAX};
    step(f, (struct lease_input){.type = LEASE_APPLICATION,
                                 .application = APP,
                                 .name = "app",
                                 .workers = f->worker,
                                 .worker_count = f->workers,
                                 .streams = &stream,
                                 .stream_count = 1});
}

static void tell_rows(struct fixture *f)
{
    for (size_t i = 0; i < f->rows; i++) {
        step(f, (struct lease_input){.type = LEASE_ROW, .application = APP, .row = &f->row[i]});
    }
}

static void activate(struct fixture *f)
{
    step(f, (struct lease_input){.type = LEASE_ACTIVATED});
    tell_app(f);
    tell_rows(f);
    step(f, (struct lease_input){.type = LEASE_LOADED});
}

static void commit(struct fixture *f)
{
    for (size_t e = 0; e < f->effects.count; e++) {
        const struct lease_effect *effect = &f->effects.effect[e];
        for (size_t i = 0; i < f->rows; i++) {
            struct lease_row *row = &f->row[i];
            bool assigned = effect->type == LEASE_ASSIGN && effect->shard == row->shard &&
                            effect->counter == row->counter;
            bool freed = effect->type == LEASE_GONE && effect->worker == row->worker;
            if (assigned || freed) {
                row->worker = assigned ? effect->worker : 0;
                row->counter = f->next_counter++;
            }
        }
        for (size_t i = 0; effect->type == LEASE_GONE && i < f->workers; i++) {
            if (f->worker[i].id == effect->worker) {
                f->worker[i] = f->worker[--f->workers];
            }
        }
    }
    lease_effects_clear(&f->effects);
    tell_app(f);
    tell_rows(f);
}

static void tick(struct fixture *f, uint64_t ms)
{
    for (uint64_t end = f->now + ms; f->now < end;) {
        f->now += 100;
        step(f, (struct lease_input){.type = LEASE_TICK});
        commit(f);
    }
}

static void join(struct fixture *f, uint64_t id)
{
    f->worker[f->workers] = (struct lease_worker_row){.id = id};
    f->worker[f->workers].name[0] = (char)('a' + id);
    f->worker[f->workers++].incarnation[0] = (uint8_t)id;
    tell_app(f);
}

/* The worker's call: it lists what it owns, but `but` (an index; LEASES_MAX: nothing). */
static enum status sync_as(struct fixture *f, uint64_t id, size_t but, uint64_t released,
                           bool draining)
{
    uint64_t shards[LEASES_MAX], counters[LEASES_MAX], bytes[LEASES_MAX];
    uint32_t stream = 1;
    char name[2] = {(char)('a' + id), '\0'};
    struct lease_call call = {.application = "app",
                              .worker = name,
                              .incarnation = {(uint8_t)id},
                              .streams = &stream,
                              .stream_count = 1,
                              .shards = shards,
                              .counters = counters,
                              .bytes_per_s = bytes,
                              .released = &released,
                              .released_count = released != 0,
                              .draining = draining};
    for (size_t i = 0; i < f->rows; i++) {
        if (f->row[i].worker == id && i != but && f->row[i].counter != released) {
            shards[call.held_count] = f->row[i].shard;
            counters[call.held_count] = f->row[i].counter;
            bytes[call.held_count++] = f->bytes[i];
        }
    }
    enum status status = lease_sync(f->l, f->now, &call, &f->effects, &f->answer);
    commit(f);
    return status;
}

static void sync_all(struct fixture *f)
{
    for (size_t i = 0; i < f->workers; i++) {
        assert_int_equal(sync_as(f, f->worker[i].id, LEASES_MAX, 0, false), STATUS_OK);
    }
}

/* Everybody renews and does what it is asked for. */
static void live(struct fixture *f, uint64_t ms)
{
    for (uint64_t end = f->now + ms; f->now < end;) {
        tick(f, 500);
        for (size_t i = 0; i < f->workers; i++) {
            uint64_t id = f->worker[i].id;
            assert_int_equal(sync_as(f, id, LEASES_MAX, 0, false), STATUS_OK);
            if (f->answer.hand_over_count > 0) {
                assert_int_equal(sync_as(f, id, LEASES_MAX, f->answer.hand_over[0].counter, false),
                                 STATUS_OK);
            }
        }
    }
}

static size_t owned(const struct fixture *f, uint64_t id)
{
    size_t count = 0;
    for (size_t i = 0; i < f->rows; i++) {
        count += f->row[i].worker == id;
    }
    return count;
}

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->l =
        leases_new(&(struct lease_limits){.term_ms = TERM, .hand_over_ms = HAND_OVER, .moves = 2});
    assert_non_null(f->l);
    f->now = 1000;
    f->next_counter = 100;
    for (; f->rows < 6; f->rows++) {
        f->row[f->rows] =
            (struct lease_row){.shard = (uint64_t)1 << 32 | f->rows, .counter = f->next_counter++};
    }
    activate(f);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    leases_free(f->l);
    lease_effects_release(&f->effects);
    lease_answer_release(&f->answer);
    free(f);
    return 0;
}

static void workers_that_come_together_share_the_leases(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    join(f, 2);
    sync_all(f);
    tick(f, 200);
    assert_int_equal(owned(f, 0), 6); /* more may come */
    tick(f, 500);
    assert_int_equal(owned(f, 1), 3);
    assert_int_equal(owned(f, 2), 3);
}

static void what_a_worker_does_not_know_is_told_again(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    sync_all(f);
    tick(f, 1000);
    assert_int_equal(owned(f, 1), 6);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sync_as(f, 1, 2, 0, false), STATUS_OK);
        assert_int_equal(f->answer.assigned_count, 1);
        assert_int_equal(f->answer.assigned[0], f->row[2].shard);
    }
    tick(f, 2000); /* it never starts it, and renews the others */
    (void)sync_as(f, 1, 2, 0, false);
    tick(f, 2000);
    assert_int_equal(f->row[2].worker, 0);
    assert_int_equal(owned(f, 1), 5);
}

static void a_silent_worker_loses_everything_after_a_term_and_not_before(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    join(f, 2);
    sync_all(f);
    tick(f, 1000);
    sync_all(f);
    tick(f, 2000);
    (void)sync_as(f, 2, LEASES_MAX, 0, false);
    tick(f, 900);
    assert_int_equal(owned(f, 1), 3);
    tick(f, 700);
    assert_int_equal(owned(f, 1), 0);
    assert_int_equal(owned(f, 2), 6);
    assert_int_equal(sync_as(f, 1, LEASES_MAX, 0, false), STATUS_EXPIRED);
}

static void a_new_active_controller_gives_full_terms(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    sync_all(f);
    tick(f, 2900);
    step(f, (struct lease_input){.type = LEASE_DEACTIVATED});
    activate(f);
    tick(f, 2900);
    assert_int_equal(owned(f, 1), 6);
    assert_int_equal(sync_as(f, 1, LEASES_MAX, 0, false), STATUS_OK);
    tick(f, 2000);
    assert_int_equal(owned(f, 1), 6);
}

static void views_tell_who_holds_what_and_since_when(void **state)
{
    struct fixture *f = *state;
    uint64_t shard = f->row[0].shard;
    struct lease_worker_view worker;
    struct lease_view lease;
    assert_int_equal(lease_view(f->l, f->now, APP, shard, &lease), STATUS_OK);
    assert_true(lease.nobody_reads);
    assert_int_equal(lease_worker_view(f->l, f->now, APP, 1, &worker), STATUS_NOT_FOUND);
    join(f, 1);
    live(f, 1000);
    assert_int_equal(lease_worker_view(f->l, f->now, APP, 1, &worker), STATUS_OK);
    assert_true(worker.seen);
    assert_int_equal(worker.leases, 6);
    assert_false(worker.draining);
    assert_int_equal(lease_worker_view(f->l, f->now + 700, APP, 1, &worker), STATUS_OK);
    assert_in_range(worker.age_ms, 700, 1300);
    assert_int_equal(lease_view(f->l, f->now, APP, shard, &lease), STATUS_OK);
    assert_true(lease.confirmed);
    assert_false(lease.nobody_reads);
    assert_int_equal(lease.hand_over_ms, 0);
    /* Whoever has to hand something over is shown with the time that is left. */
    join(f, 2);
    assert_int_equal(sync_as(f, 2, LEASES_MAX, 0, false), STATUS_OK);
    tick(f, 1000);
    unsigned asked = 0;
    for (size_t i = 0; i < f->rows; i++) {
        assert_int_equal(lease_view(f->l, f->now, APP, f->row[i].shard, &lease), STATUS_OK);
        asked += lease.hand_over_ms > 0;
        assert_true(lease.hand_over_ms <= HAND_OVER);
    }
    assert_int_equal(asked, 2); /* as many as move at a time */
    assert_int_equal(lease_view(f->l, f->now, APP, shard + LEASES_MAX, &lease), STATUS_NOT_FOUND);
    assert_int_equal(lease_view(f->l, f->now, APP + 1, shard, &lease), STATUS_NOT_FOUND);
    /* There is something to look at, and before the next term is over. */
    assert_in_range(lease_deadline(f->l), f->now, f->now + TERM + HAND_OVER);
    step(f, (struct lease_input){.type = LEASE_DEACTIVATED});
    assert_int_equal(lease_view(f->l, f->now, APP, shard, &lease), STATUS_NOT_ACTIVE);
    assert_int_equal(lease_worker_view(f->l, f->now, APP, 1, &worker), STATUS_NOT_ACTIVE);
    assert_int_equal(lease_deadline(f->l), UINT64_MAX);
}

static void another_incarnation_is_fenced(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    f->worker[0].incarnation[0] = 9;
    f->worker[0].id = 5; /* as the command does it */
    tell_app(f);
    assert_int_equal(sync_as(f, 1, LEASES_MAX, 0, false), STATUS_FENCED);
}

static void a_new_worker_gets_its_share_by_hand_over_a_few_at_a_time(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    sync_all(f);
    tick(f, 1000);
    sync_all(f);
    join(f, 2);
    sync_all(f);
    tick(f, 1000);
    assert_int_equal(owned(f, 1), 6); /* it was only asked */
    (void)sync_as(f, 1, LEASES_MAX, 0, false);
    assert_int_equal(f->answer.hand_over_count, 2);
    uint64_t counter = f->answer.hand_over[0].counter;
    (void)sync_as(f, 1, LEASES_MAX, counter, false);
    assert_int_equal(owned(f, 2), 1);
    live(f, 5000);
    assert_int_equal(owned(f, 1), 3);
    assert_int_equal(owned(f, 2), 3);
}

static void who_does_not_hand_over_loses_the_lease_in_the_end(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    sync_all(f);
    tick(f, 1000);
    sync_all(f);
    join(f, 2);
    for (int i = 0; i < 5; i++) {
        sync_all(f);
        tick(f, 1000);
        assert_int_equal(owned(f, 2), 0);
    }
    sync_all(f);
    tick(f, 1000);
    assert_int_equal(owned(f, 2), 2);
}

static void leases_are_balanced_by_throughput(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    join(f, 2);
    sync_all(f);
    tick(f, 1000);
    f->bytes[0] = 60000; /* one is as heavy as all the others */
    for (size_t i = 1; i < f->rows; i++) {
        f->bytes[i] = 8000;
    }
    live(f, 60000);
    assert_int_equal(owned(f, f->row[0].worker), 1);
    size_t moved = 0;
    for (size_t i = 0; i < f->rows; i++) {
        moved = f->row[i].counter > moved ? f->row[i].counter : moved;
    }
    live(f, 60000); /* and then it stays */
    for (size_t i = 0; i < f->rows; i++) {
        assert_true(f->row[i].counter <= moved);
    }
}

static void children_wait_for_their_parents_and_go_to_who_read_them(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    join(f, 2);
    sync_all(f);
    tick(f, 1000);
    sync_all(f);
    f->row[f->rows++] = (struct lease_row){
        .shard = (uint64_t)1 << 32 | 6,
        .counter = f->next_counter++,
        .parent_count = 2,
        .parent = {f->row[0].shard, f->row[1].shard}
    };
    uint64_t readers[2] = {f->row[0].worker, f->row[1].worker};
    tell_rows(f);
    tick(f, 1000);
    assert_int_equal(f->row[6].worker, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(f->row[6].worker, 0);
        sync_all(f);
        f->row[i].finished = true;
        f->row[i].worker = 0;
        tell_rows(f);
        tick(f, 300);
    }
    assert_true(f->row[6].worker != 0 &&
                (f->row[6].worker == readers[0] || f->row[6].worker == readers[1]));
}

static void a_draining_worker_hands_everything_over(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    join(f, 2);
    sync_all(f);
    tick(f, 1000);
    sync_all(f);
    (void)sync_as(f, 1, LEASES_MAX, 0, true);
    assert_int_equal(f->answer.hand_over_count, 3);
    while (f->answer.hand_over_count > 0) {
        (void)sync_as(f, 1, LEASES_MAX, f->answer.hand_over[0].counter, true);
        (void)sync_as(f, 1, LEASES_MAX, 0, true);
    }
    assert_int_equal(owned(f, 2), 6);
}

static void shards_that_are_new_or_gone_are_proposed_until_they_are_known(void **state)
{
    struct fixture *f = *state;
    step(f, (struct lease_input){.type = LEASE_STREAM, .stream = 1, .shards = LEASES_MAX + 1});
    step(f, (struct lease_input){.type = LEASE_SHARD_GONE, .shard = f->row[0].shard});
    step(f, (struct lease_input){.type = LEASE_TICK});
    assert_int_equal(f->effects.count, 2);
    assert_int_equal(f->effects.effect[0].type, LEASE_GROW);
    assert_int_equal(f->effects.effect[1].type, LEASE_FORGET);
    lease_effects_clear(&f->effects);
    f->now += 500;
    step(f, (struct lease_input){.type = LEASE_TICK});
    assert_int_equal(f->effects.count, 0);
    f->now += 1000;
    step(f, (struct lease_input){.type = LEASE_TICK});
    assert_int_equal(f->effects.count, 2);
}

/* ---- many leases
 * ----------------------------------------------------------------------------------- */

enum { MANY = 1000 };

struct many {
    struct leases *l;
    struct lease_effects effects;
    struct lease_answer answer;
    uint64_t now, counter[MANY], shard[MANY], bytes[MANY];
};

static void many_step(struct many *m, struct lease_input in)
{
    assert_int_equal(lease_step(m->l, m->now, &in, &m->effects), STATUS_OK);
}

static void many_workers(struct many *m, size_t count)
{
    const struct lease_worker_row workers[] = {
        {.id = 1, .name = "a"},
        {.id = 2, .name = "b"}
    };
    const struct lease_stream_row stream = {.stream = 1, .next_shard = MANY};
    many_step(m, (struct lease_input){.type = LEASE_APPLICATION,
                                      .application = APP,
                                      .name = "app",
                                      .workers = workers,
                                      .worker_count = count,
                                      .streams = &stream,
                                      .stream_count = 1});
}

static void many_rows(struct many *m, uint64_t worker, uint64_t first_counter)
{
    for (size_t i = 0; i < MANY; i++) {
        m->shard[i] = (uint64_t)1 << 32 | i;
        m->counter[i] = first_counter + i;
        const struct lease_row row = {
            .shard = m->shard[i], .worker = worker, .counter = m->counter[i]};
        many_step(m, (struct lease_input){.type = LEASE_ROW, .application = APP, .row = &row});
    }
}

static void many_sync(struct many *m, const char *worker, size_t held)
{
    const uint32_t stream = 1;
    const struct lease_call call = {.application = "app",
                                    .worker = worker,
                                    .streams = &stream,
                                    .stream_count = 1,
                                    .shards = m->shard,
                                    .counters = m->counter,
                                    .bytes_per_s = m->bytes,
                                    .held_count = held};
    assert_int_equal(lease_sync(m->l, m->now, &call, &m->effects, &m->answer), STATUS_OK);
}

/* How many leases the only worker is asked for at once when a second comes. */
static size_t moved_at_once(uint32_t moves)
{
    struct many m = {.now = 1000};
    m.l = leases_new(&(struct lease_limits){.term_ms = TERM, .moves = moves});
    assert_non_null(m.l);
    many_step(&m, (struct lease_input){.type = LEASE_ACTIVATED});
    many_workers(&m, 1);
    many_rows(&m, 0, 100);
    many_step(&m, (struct lease_input){.type = LEASE_LOADED});
    many_sync(&m, "a", 0);
    lease_effects_clear(&m.effects);
    m.now += 100;
    many_step(&m, (struct lease_input){.type = LEASE_TICK});
    assert_int_equal(m.effects.count, MANY); /* all of them, at once */
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(m.effects.effect[i].type, LEASE_ASSIGN);
        assert_int_equal(m.effects.effect[i].worker, 1);
    }
    many_rows(&m, 1, 2000);
    many_workers(&m, 2);
    for (int i = 0; i < 10; i++) {
        many_sync(&m, "b", 0);
        many_sync(&m, "a", MANY);
        m.now += 200;
        many_step(&m, (struct lease_input){.type = LEASE_TICK});
    }
    many_sync(&m, "a", MANY);
    size_t asked = m.answer.hand_over_count;
    leases_free(m.l);
    lease_effects_release(&m.effects);
    lease_answer_release(&m.answer);
    return asked;
}

static void free_leases_are_given_out_all_at_once_and_moved_a_share_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(moved_at_once(0), MANY / LEASE_MOVES_SHARE);
    assert_int_equal(moved_at_once(7), 7);
}

/* While nothing changes, leases are looked at now and then only; what has a time limit is not
 * overlooked for that. */
static void what_has_a_time_limit_is_looked_at_in_time(void **state)
{
    struct fixture *f = *state;
    join(f, 1);
    sync_all(f);
    tick(f, 500);
    sync_all(f);
    for (int i = 0; i < 20; i++) { /* calm */
        tick(f, 300);
        sync_all(f);
    }
    uint64_t counter = f->row[2].counter, from = f->now;
    while (f->row[2].counter == counter && f->now < from + 2 * (uint64_t)TERM) {
        assert_int_equal(sync_as(f, 1, 2, 0, false), STATUS_OK); /* lists all but this one */
        tick(f, 100);
    }
    assert_in_range(f->now, from + TERM, from + TERM + 300);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(workers_that_come_together_share_the_leases),
        TEST(views_tell_who_holds_what_and_since_when),
        TEST(what_a_worker_does_not_know_is_told_again),
        TEST(a_silent_worker_loses_everything_after_a_term_and_not_before),
        TEST(a_new_active_controller_gives_full_terms),
        TEST(another_incarnation_is_fenced),
        TEST(a_new_worker_gets_its_share_by_hand_over_a_few_at_a_time),
        TEST(who_does_not_hand_over_loses_the_lease_in_the_end),
        TEST(leases_are_balanced_by_throughput),
        TEST(children_wait_for_their_parents_and_go_to_who_read_them),
        TEST(a_draining_worker_hands_everything_over),
        TEST(what_has_a_time_limit_is_looked_at_in_time),
        cmocka_unit_test(free_leases_are_given_out_all_at_once_and_moved_a_share_at_a_time),
        TEST(shards_that_are_new_or_gone_are_proposed_until_they_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
