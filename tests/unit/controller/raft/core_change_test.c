/* Changes of the controllers' set: what is refused, what follows, and that nothing is lost when
 * they meet crashes, lost messages and new leaders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft_sim.h"

enum { VOTER = RAFT_VOTER + 1, STANDBY = RAFT_STANDBY + 1 };

static struct sim *begin(uint32_t nodes, uint32_t spares)
{
    struct sim_options options = {.seed = 11,
                                  .nodes = nodes,
                                  .spares = spares,
                                  .delay_ms = 2,
                                  .write_ms = 3,
                                  .snapshot_entries = 1000,
                                  .trailing_entries = 50,
                                  .chunk_bytes = 1000,
                                  .tail_bytes = 1 << 20};
    struct sim *sim = sim_new(&options);
    while (sim_active(sim) == 0 && sim_now(sim) < 10000) {
        sim_run(sim, 1);
    }
    assert_int_not_equal(sim_active(sim), 0);
    return sim;
}

static void end(struct sim *sim)
{
    if (sim_violation(sim) != NULL) {
        fail_msg("%s", sim_violation(sim));
    }
    sim_free(sim);
}

static void put(struct sim *sim, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t tries = 0; tries < 3000; tries++) {
            uint32_t active = sim_active(sim);
            if (active != 0 && sim_submit(sim, active)) {
                break;
            }
            sim_run(sim, 1);
        }
    }
    sim_run(sim, 200);
}

/* Asks until it is taken, and lets it be done. */
static void change(struct sim *sim, enum raft_change_kind kind, uint32_t id)
{
    enum status status = STATUS_BUSY;
    for (uint32_t tries = 0; tries < 3000 && status == STATUS_BUSY; tries++) {
        uint32_t active = sim_active(sim);
        status = active == 0 ? STATUS_BUSY : sim_member(sim, active, kind, id);
        sim_run(sim, 1);
    }
    assert_int_equal(status, STATUS_OK);
    sim_run(sim, 100);
}

static void a_new_controller_learns_and_then_votes(void **state)
{
    (void)state;
    struct sim *sim = begin(3, 1);
    put(sim, 30);
    change(sim, RAFT_CHANGE_ADD, 4);
    assert_int_equal(sim_role(sim, sim_active(sim), 4), STANDBY);
    assert_true(sim_settle(sim, 2000));
    assert_int_equal(sim_applied_count(sim, 4), 30);
    change(sim, RAFT_CHANGE_PROMOTE, 4);
    assert_int_equal(sim_counters(sim)->promoted, 1);
    for (uint32_t id = 1; id <= 4; id++) {
        assert_int_equal(sim_role(sim, id, 4), VOTER);
    }
    /* Four voters: two of them are no majority any more. */
    uint32_t active = sim_active(sim);
    for (uint32_t id = 1, cut = 0; id <= 4 && cut < 2; id++) {
        if (id != active) {
            sim_cut(sim, id, true);
            cut++;
        }
    }
    uint64_t acknowledged = sim_counters(sim)->acknowledged;
    (void)sim_submit(sim, active);
    sim_run(sim, 1500);
    assert_int_equal(sim_counters(sim)->acknowledged, acknowledged);
    sim_heal(sim);
    assert_true(sim_settle(sim, 3000));
    end(sim);
}

static void one_that_learns_does_not_count(void **state)
{
    (void)state;
    struct sim *sim = begin(3, 2);
    change(sim, RAFT_CHANGE_ADD, 4);
    change(sim, RAFT_CHANGE_ADD, 5);
    put(sim, 5);
    uint32_t active = sim_active(sim);
    for (uint32_t id = 1; id <= 3; id++) {
        sim_cut(sim, id, id != active);
    }
    uint64_t acknowledged = sim_counters(sim)->acknowledged;
    assert_true(sim_submit(sim, active));
    sim_run(sim, 1500);
    assert_int_equal(sim_counters(sim)->acknowledged, acknowledged);
    assert_int_equal(sim_active(sim), 0);
    sim_heal(sim);
    assert_true(sim_settle(sim, 3000));
    end(sim);
}

static void what_cannot_be_done_is_refused(void **state)
{
    (void)state;
    struct sim *sim = begin(3, 2);
    put(sim, 3);
    uint32_t active = sim_active(sim), other = active % 3 + 1;
    assert_int_equal(sim_member(sim, other, RAFT_CHANGE_ADD, 4), STATUS_NOT_ACTIVE);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_ADD, other), STATUS_EXISTS);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_PROMOTE, other), STATUS_EXISTS);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_PROMOTE, 5), STATUS_NOT_FOUND);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_REMOVE, 5), STATUS_NOT_FOUND);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_REMOVE, active), STATUS_INVALID);
    assert_int_equal(sim_member(sim, active, (enum raft_change_kind)7, other), STATUS_INVALID);
    /* one at a time */
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_ADD, 4), STATUS_OK);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_ADD, 5), STATUS_BUSY);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_REMOVE, other), STATUS_BUSY);
    sim_run(sim, 100);
    /* not while the leadership is on its way */
    assert_int_equal(raft_core_transfer(sim_core(sim, active), sim_now(sim), other), STATUS_OK);
    assert_int_equal(sim_member(sim, active, RAFT_CHANGE_ADD, 5), STATUS_BUSY);
    assert_true(sim_settle(sim, 2000));
    /* not before one that learns has learned */
    change(sim, RAFT_CHANGE_ADD, 5);
    sim_cut(sim, 5, true);
    put(sim, 100);
    assert_int_equal(sim_member(sim, sim_active(sim), RAFT_CHANGE_PROMOTE, 5), STATUS_BUSY);
    sim_cut(sim, 5, false);
    assert_true(sim_settle(sim, 2000));
    change(sim, RAFT_CHANGE_PROMOTE, 5);
    end(sim);
}

static void the_set_has_an_upper_bound(void **state)
{
    (void)state;
    struct sim *sim = begin(5, 5);
    for (uint32_t id = 6; id <= RAFT_NODE_SERVERS_MAX; id++) {
        change(sim, RAFT_CHANGE_ADD, id);
    }
    assert_int_equal(sim_member(sim, sim_active(sim), RAFT_CHANGE_ADD, 10), STATUS_TOO_LARGE);
    end(sim);
}

static void who_is_removed_is_told_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct sim *sim = begin(5, 0);
    put(sim, 10);
    uint32_t active = sim_active(sim), first = active % 5 + 1, second = first % 5 + 1;
    change(sim, RAFT_CHANGE_REMOVE, first);
    change(sim, RAFT_CHANGE_REMOVE, second);
    sim_run(sim, 3000); /* they ask for votes, and are told */
    assert_null(sim_core(sim, first));
    assert_null(sim_core(sim, second));
    assert_int_equal(sim_active(sim), active);
    uint64_t acknowledged = sim_counters(sim)->acknowledged;
    sim_cut(sim, second % 5 + 1, true); /* two of three are enough */
    put(sim, 10);
    assert_int_equal(sim_counters(sim)->acknowledged, acknowledged + 10);
    sim_heal(sim);
    assert_true(sim_settle(sim, 3000));
    end(sim);
}

static void a_change_that_nobody_else_has_is_taken_back(void **state)
{
    (void)state;
    struct sim *sim = begin(3, 1);
    put(sim, 5);
    uint32_t old = sim_active(sim), gone = old % 3 + 1;
    sim_cut(sim, old, true);
    assert_int_equal(sim_member(sim, old, RAFT_CHANGE_REMOVE, gone), STATUS_OK);
    assert_int_equal(sim_role(sim, old, gone), 0);
    sim_run(sim, 1500);
    assert_int_equal(sim_counters(sim)->uncertain_changes, 1);
    put(sim, 5);
    sim_cut(sim, old, false);
    assert_true(sim_settle(sim, 3000));
    assert_int_equal(sim_role(sim, old, gone), VOTER);
    end(sim);
}

static void a_new_leader_commits_something_of_its_own_first(void **state)
{
    (void)state;
    struct sim *sim = begin(3, 1);
    put(sim, 5);
    uint32_t to = sim_active(sim) % 3 + 1;
    assert_int_equal(raft_core_transfer(sim_core(sim, sim_active(sim)), sim_now(sim), to),
                     STATUS_OK);
    bool refused = false, taken = false;
    for (uint32_t i = 0; i < 1000 && !taken; i++) {
        sim_run(sim, 1);
        struct raft_core *core = sim_core(sim, to);
        if (raft_state(&core->raft) == RAFT_LEADER) {
            enum status status = sim_member(sim, to, RAFT_CHANGE_ADD, 4);
            refused = refused || status == STATUS_BUSY || status == STATUS_NOT_ACTIVE;
            taken = status == STATUS_OK;
        }
    }
    assert_true(refused && taken); /* and the simulation has looked at the term */
    assert_true(sim_settle(sim, 2000));
    end(sim);
}

static void addresses_are_read_or_refused(void **state)
{
    (void)state;
    struct raft_node_server server = {0};
    assert_true(raft_core_address("controller-4 a.example:7301", &server));
    assert_string_equal(server.host, "a.example");
    assert_int_equal(server.port, 7301);
    assert_true(raft_core_address("controller-4 ::1:65535", &server));
    assert_string_equal(server.host, "::1");
    assert_int_equal(server.port, 65535);
    static const char *const bad[] = {
        "",     "controller-4", "controller-4 host", "c host:",   "c host:0",
        "c :1", "c host:65536", "c host:1x",         "c host:-1", "c host:99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(raft_core_address(bad[i], &server));
    }
    char text[HOST_BYTES + 32] = "c ";
    memset(text + 2, 'h', HOST_BYTES);
    memcpy(text + 2 + HOST_BYTES, ":1", 3);
    assert_false(raft_core_address(text, &server));
    assert_int_equal(server.port, 65535);
}

/* RAFT_SIM_SEEDS (a count) and RAFT_SIM_FROM for longer runs. */
static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void nothing_is_lost_while_the_set_changes_under_chaos(void **state)
{
    (void)state;
    uint64_t from = from_environment("RAFT_SIM_FROM", 1);
    uint64_t count = from_environment("RAFT_SIM_SEEDS", 150);
    struct sim_counters total = {0};
    for (uint64_t seed = from; seed < from + count; seed++) {
        struct rng rng;
        rng_init(&rng, seed * 79);
        struct sim_options options = {
            .seed = seed,
            .nodes = rng_once_in(&rng, 4)   ? 5
                     : rng_once_in(&rng, 6) ? 1
                                            : 3,
            .spares = (uint32_t)rng_between(&rng, 3, 7),
            .loss_one_in = rng_once_in(&rng, 4) ? 0 : (uint32_t)rng_between(&rng, 8, 100),
            .duplicate_one_in = rng_once_in(&rng, 3) ? 0 : (uint32_t)rng_between(&rng, 5, 100),
            .delay_ms = (uint32_t)rng_between(&rng, 0, 30),
            .stall_one_in = rng_once_in(&rng, 2) ? 0 : 400,
            .write_ms = (uint32_t)rng_between(&rng, 0, 30),
            .snapshot_entries = (uint32_t)rng_between(&rng, 20, 300),
            .trailing_entries = (uint32_t)rng_between(&rng, 0, 60),
            .chunk_bytes = (uint32_t)rng_between(&rng, 500, 4000),
            .tail_bytes = rng_once_in(&rng, 2) ? 0 : 20000,
        };
        struct sim *sim = sim_new(&options);
        sim_chaos(sim, true);
        sim_run(sim, 10000);
        sim_heal(sim);
        if (!sim_settle(sim, 20000) && sim_violation(sim) == NULL) {
            fail_msg("seed %llu does not come to rest", (unsigned long long)seed);
        }
        const struct sim_counters *counters = sim_counters(sim);
        total.acknowledged += counters->acknowledged;
        total.crashes += counters->crashes;
        total.elections += counters->elections;
        total.restores += counters->restores;
        total.added += counters->added;
        total.promoted += counters->promoted;
        total.removed += counters->removed;
        total.uncertain_changes += counters->uncertain_changes;
        total.refused_changes += counters->refused_changes;
        end(sim);
    }
    print_message("%llu seeds: %llu acknowledged, %llu crashes, %llu elections, %llu restores; "
                  "%llu added, %llu promoted, %llu removed, %llu uncertain, %llu refused\n",
                  (unsigned long long)count, (unsigned long long)total.acknowledged,
                  (unsigned long long)total.crashes, (unsigned long long)total.elections,
                  (unsigned long long)total.restores, (unsigned long long)total.added,
                  (unsigned long long)total.promoted, (unsigned long long)total.removed,
                  (unsigned long long)total.uncertain_changes,
                  (unsigned long long)total.refused_changes);
    assert_true(total.added > 0 && total.promoted > 0 && total.removed > 0);
    assert_true(total.uncertain_changes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_controller_learns_and_then_votes),
        cmocka_unit_test(one_that_learns_does_not_count),
        cmocka_unit_test(what_cannot_be_done_is_refused),
        cmocka_unit_test(the_set_has_an_upper_bound),
        cmocka_unit_test(who_is_removed_is_told_and_the_rest_goes_on),
        cmocka_unit_test(a_change_that_nobody_else_has_is_taken_back),
        cmocka_unit_test(a_new_leader_commits_something_of_its_own_first),
        cmocka_unit_test(addresses_are_read_or_refused),
        cmocka_unit_test(nothing_is_lost_while_the_set_changes_under_chaos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
