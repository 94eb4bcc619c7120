/* The raft core in a simulated cluster: elections, crashes, partitions, snapshots, reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "raft_sim.h"

static struct sim_options calm(uint32_t nodes)
{
    return (struct sim_options){.seed = 7,
                                .nodes = nodes,
                                .delay_ms = 2,
                                .write_ms = 3,
                                .snapshot_entries = 1000,
                                .trailing_entries = 50,
                                .chunk_bytes = 1000,
                                .tail_bytes = 1 << 20};
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

static void assert_sound(struct sim *sim)
{
    if (sim_violation(sim) != NULL) {
        fail_msg("%s", sim_violation(sim));
    }
}

static void bootstraps_1_3_and_5_controllers(void **state)
{
    (void)state;
    for (uint32_t nodes = 1; nodes <= 5; nodes += 2) {
        struct sim_options options = calm(nodes);
        struct sim *sim = sim_new(&options);
        put(sim, 20);
        assert_true(sim_settle(sim, 2000));
        assert_int_equal(sim_counters(sim)->acknowledged, 20);
        for (uint32_t id = 1; id <= nodes; id++) {
            assert_int_equal(sim_applied_count(sim, id), 20);
        }
        assert_sound(sim);
        sim_free(sim);
    }
}

static void a_killed_leader_is_replaced_and_nothing_is_lost(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 50);
    for (int round = 0; round < 10; round++) {
        uint32_t old = sim_active(sim);
        uint64_t killed = sim_now(sim);
        sim_crash(sim, old);
        while (sim_active(sim) == 0 && sim_now(sim) < killed + 3000) {
            sim_run(sim, 1);
        }
        assert_int_not_equal(sim_active(sim), 0);
        assert_in_range(sim_now(sim) - killed, 1, 1500);
        put(sim, 10);
        sim_restart(sim, old);
        assert_true(sim_settle(sim, 2000));
    }
    assert_int_equal(sim_applied_count(sim, 1), sim_applied_count(sim, 2));
    assert_int_equal(sim_applied_count(sim, 1), sim_applied_count(sim, 3));
    assert_true(sim_applied_count(sim, 1) >= 150);
    assert_sound(sim);
    sim_free(sim);
}

static void a_suspected_leader_is_replaced_at_once(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t old = sim_active(sim);
    sim_crash(sim, old);
    uint64_t killed = sim_now(sim);
    for (uint32_t id = 1; id <= 3; id++) {
        if (id != old) {
            raft_core_suspect(sim_core(sim, id), sim_now(sim), old);
        }
    }
    while (sim_active(sim) == 0 && sim_now(sim) < killed + 3000) {
        sim_run(sim, 1);
    }
    assert_in_range(sim_now(sim) - killed, 1, 180); /* the election timeout is 200 to 400 */
    assert_sound(sim);
    sim_free(sim);
}

static void a_partitioned_leader_steps_down_and_cannot_acknowledge(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t old = sim_active(sim);
    sim_cut(sim, old, true);
    uint64_t acknowledged = sim_counters(sim)->acknowledged;
    assert_true(sim_submit(sim, old));
    assert_true(sim_read(sim, old));
    uint64_t reads = sim_counters(sim)->reads;
    sim_run(sim, 1500);
    assert_int_equal(sim_counters(sim)->acknowledged, acknowledged);
    assert_int_equal(sim_counters(sim)->uncertain, 1);
    assert_int_equal(sim_counters(sim)->reads, reads);
    assert_int_equal(sim_counters(sim)->refused_reads, 1);
    assert_false(raft_core_is_active(sim_core(sim, old)));
    assert_int_not_equal(sim_active(sim), 0);
    assert_int_not_equal(sim_active(sim), old);
    put(sim, 5);
    sim_cut(sim, old, false);
    assert_true(sim_settle(sim, 2000));
    assert_int_equal(sim_applied_count(sim, old), 10);
    assert_sound(sim);
    sim_free(sim);
}

static void a_follower_that_was_away_does_not_disturb_the_leader(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t active = sim_active(sim), away = active % 3 + 1;
    uint64_t term = sim_core(sim, active)->raft.current_term;
    sim_cut(sim, away, true);
    sim_run(sim, 5000);
    sim_cut(sim, away, false);
    assert_true(sim_settle(sim, 2000));
    assert_int_equal(sim_active(sim), active);
    assert_int_equal(sim_core(sim, active)->raft.current_term, term);
    assert_sound(sim);
    sim_free(sim);
}

/* libraft answers a pre-vote with the candidate's own term, so that the one with the longer log
 * would never learn why it is refused. */
static void a_longer_log_in_an_older_term_is_elected(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t longer = sim_active(sim), shorter = longer % 3 + 1;
    sim_cut(sim, longer, true);
    assert_true(sim_submit(sim, longer));
    sim_run(sim, 20);
    for (uint32_t id = 1; id <= 3; id++) {
        sim_crash(sim, id);
    }
    sim_cut(sim, longer, false);
    sim_raise_term(sim, shorter, 4);
    sim_restart(sim, longer);
    sim_restart(sim, shorter);
    sim_run(sim, 3000);
    assert_int_equal(sim_active(sim), longer);
    assert_sound(sim);
    sim_free(sim);
}

static void a_candidate_that_is_cut_off_does_not_raise_its_term(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t active = sim_active(sim), to = active % 3 + 1;
    uint64_t term = sim_core(sim, active)->raft.current_term;
    assert_int_equal(raft_core_transfer(sim_core(sim, active), sim_now(sim), to), STATUS_OK);
    while (sim_core(sim, to)->raft.state != RAFT_CANDIDATE && sim_now(sim) < 10000) {
        sim_run(sim, 1);
    }
    sim_cut(sim, to, true);
    sim_run(sim, 5000);
    assert_int_equal(sim_core(sim, to)->raft.current_term, term + 1);
    sim_cut(sim, to, false);
    assert_true(sim_settle(sim, 3000));
    assert_sound(sim);
    sim_free(sim);
}

static void a_late_answer_to_a_pre_vote_does_not_depose_the_leader(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t active = sim_active(sim), other = active % 3 + 1;
    for (uint32_t id = 1; id <= 3; id++) {
        struct raft_core *core = sim_core(sim, id);
        uint64_t term = core->raft.current_term;
        struct raft_packet packet = {.type = RAFT_REQUEST_VOTE_RESULT, .term = term + 1};
        packet.message.type = RAFT_REQUEST_VOTE_RESULT;
        packet.message.request_vote_result = (struct raft_request_vote_result){
            .version = 2, .term = term + 1, .vote_granted = true, .pre_vote = true};
        raft_core_receive(core, sim_now(sim), id == other ? active : other, &packet);
        assert_int_equal(core->raft.current_term, term);
    }
    assert_int_equal(sim_active(sim), active);
    sim_free(sim);
}

/* libraft's follower records a configuration under the index of its message's first entry. */
static void a_configuration_among_others_keeps_its_index(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t active = sim_active(sim), away = active % 3 + 1;
    sim_cut(sim, away, true);
    put(sim, 3);
    assert_true(sim_change(sim, active));
    put(sim, 3);
    sim_cut(sim, away, false);
    assert_true(sim_settle(sim, 3000));
    assert_int_equal(sim_core(sim, away)->raft.configuration_committed_index,
                     sim_core(sim, active)->raft.configuration_committed_index);
    assert_true(sim_core(sim, away)->raft.configuration_committed_index > 1);
    assert_sound(sim);
    sim_free(sim);
}

static void only_answers_of_this_round_and_term_confirm_a_read(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t active = sim_active(sim), other = active % 3 + 1;
    struct raft_core *core = sim_core(sim, active);
    sim_cut(sim, active, true);
    assert_true(sim_read(sim, active));
    struct raft_packet answer = {.type = RAFT_READ_ANSWER, .round = 1};
    answer.term = core->raft.current_term;
    raft_core_receive(core, sim_now(sim), other, &answer);
    answer.round = core->round - 1;
    raft_core_receive(core, sim_now(sim), other, &answer);
    answer.round = core->round;
    answer.term = core->raft.current_term + 1;
    raft_core_receive(core, sim_now(sim), other, &answer);
    answer.term = core->raft.current_term;
    raft_core_receive(core, sim_now(sim), active, &answer); /* our own voice counts once */
    raft_core_receive(core, sim_now(sim), 9, &answer);
    assert_int_equal(sim_counters(sim)->reads, 0);
    raft_core_receive(core, sim_now(sim), other, &answer);
    assert_int_equal(sim_counters(sim)->reads, 1);
    sim_free(sim);
}

static void a_follower_far_behind_gets_a_snapshot_in_chunks(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    options.snapshot_entries = 100;
    options.trailing_entries = 20;
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t active = sim_active(sim), away = active % 3 + 1;
    sim_crash(sim, away);
    put(sim, 400);
    assert_true(sim_counters(sim)->snapshots > 0);
    assert_true(sim_core(sim, active)->snapshot.bytes > 2 * (uint64_t)options.chunk_bytes);
    sim_restart(sim, away);
    uint64_t restores = sim_counters(sim)->restores;
    assert_true(sim_settle(sim, 3000));
    assert_int_equal(sim_applied_count(sim, away), 405);
    assert_true(sim_counters(sim)->restores > restores);
    assert_int_equal(sim_active(sim), active);
    sim_run(sim, 50);
    for (uint32_t i = 0; i < RAFT_NODE_SERVERS_MAX; i++) {
        assert_int_equal(sim_core(sim, active)->transfers[i].to, 0);
    }
    /* and it takes part with the snapshot as its whole log */
    sim_crash(sim, away);
    sim_restart(sim, away);
    put(sim, 10);
    assert_true(sim_settle(sim, 2000));
    assert_int_equal(sim_applied_count(sim, away), 415);
    assert_sound(sim);
    sim_free(sim);
}

static void leadership_is_handed_over_on_request(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    struct sim *sim = sim_new(&options);
    put(sim, 5);
    uint32_t old = sim_active(sim), to = old % 3 + 1;
    assert_int_equal(raft_core_transfer(sim_core(sim, old), sim_now(sim), 9), STATUS_INVALID);
    assert_int_equal(raft_core_transfer(sim_core(sim, to), sim_now(sim), to), STATUS_NOT_ACTIVE);
    assert_int_equal(raft_core_transfer(sim_core(sim, old), sim_now(sim), to), STATUS_OK);
    assert_int_equal(raft_core_transfer(sim_core(sim, old), sim_now(sim), to), STATUS_BUSY);
    sim_run(sim, 60);
    assert_int_equal(sim_active(sim), to);
    put(sim, 5);
    assert_true(sim_settle(sim, 2000));
    assert_sound(sim);
    sim_free(sim);
}

static void what_waits_is_bounded_and_checked(void **state)
{
    (void)state;
    struct sim_options options = calm(3);
    options.write_ms = 50;
    struct sim *sim = sim_new(&options);
    put(sim, 1);
    struct raft_core *core = sim_core(sim, sim_active(sim));
    struct raft_node_request request = {0};
    uint32_t taken = 0;
    while (sim_submit(sim, sim_active(sim))) {
        taken++;
    }
    assert_int_equal(taken, RAFT_NODE_INFLIGHT_MAX);
    assert_int_equal(raft_core_submit(core, sim_now(sim), bytes_of("x", 1), &request), STATUS_BUSY);
    assert_int_equal(raft_core_submit(core, sim_now(sim), bytes_of("x", 0), &request),
                     STATUS_INVALID);
    uint8_t *large = calloc(1, RAFT_NODE_ENTRY_MAX + 1);
    assert_non_null(large);
    assert_int_equal(
        raft_core_submit(core, sim_now(sim), bytes_of(large, RAFT_NODE_ENTRY_MAX + 1), &request),
        STATUS_TOO_LARGE);
    free(large);
    sim_free(sim);
}

static void a_log_shorter_than_the_state_machine_is_refused(void **state)
{
    (void)state;
    struct sim_options options = calm(1);
    struct sim *sim = sim_new(&options);
    put(sim, 100);
    sim_crash(sim, 1);
    sim_wipe_log_behind_back(sim, 1);
    if (sim_applied_count(sim, 1) > 0) {
        sim_restart(sim, 1);
        assert_null(sim_core(sim, 1));
        assert_non_null(sim_violation(sim));
        assert_non_null(strstr(sim_violation(sim), "must be replaced"));
    }
    sim_free(sim);
}

/* RAFT_SIM_SEEDS (a count) and RAFT_SIM_FROM for longer runs. */
static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void no_history_diverges_and_nothing_acknowledged_is_lost_under_chaos(void **state)
{
    (void)state;
    uint64_t from = from_environment("RAFT_SIM_FROM", 1);
    uint64_t count = from_environment("RAFT_SIM_SEEDS", 200);
    struct sim_counters total = {0};
    for (uint64_t seed = from; seed < from + count; seed++) {
        struct rng rng;
        rng_init(&rng, seed * 77);
        struct sim_options options = {
            .seed = seed,
            .nodes = rng_once_in(&rng, 3) ? 5 : 3,
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
        bool settled = sim_settle(sim, 20000);
        assert_sound(sim);
        if (!settled) {
            fail_msg("seed %llu does not come to rest", (unsigned long long)seed);
        }
        const struct sim_counters *counters = sim_counters(sim);
        total.acknowledged += counters->acknowledged;
        total.uncertain += counters->uncertain;
        total.reads += counters->reads;
        total.crashes += counters->crashes;
        total.elections += counters->elections;
        total.restores += counters->restores;
        total.snapshots += counters->snapshots;
        total.loads += counters->loads;
        sim_free(sim);
    }
    print_message("%llu seeds: %llu acknowledged, %llu uncertain, %llu reads, %llu crashes, %llu "
                  "elections, %llu snapshots, %llu restores, %llu loads\n",
                  (unsigned long long)count, (unsigned long long)total.acknowledged,
                  (unsigned long long)total.uncertain, (unsigned long long)total.reads,
                  (unsigned long long)total.crashes, (unsigned long long)total.elections,
                  (unsigned long long)total.snapshots, (unsigned long long)total.restores,
                  (unsigned long long)total.loads);
    assert_true(total.acknowledged > 0 && total.restores > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bootstraps_1_3_and_5_controllers),
        cmocka_unit_test(a_killed_leader_is_replaced_and_nothing_is_lost),
        cmocka_unit_test(a_suspected_leader_is_replaced_at_once),
        cmocka_unit_test(a_partitioned_leader_steps_down_and_cannot_acknowledge),
        cmocka_unit_test(a_follower_that_was_away_does_not_disturb_the_leader),
        cmocka_unit_test(a_longer_log_in_an_older_term_is_elected),
        cmocka_unit_test(a_candidate_that_is_cut_off_does_not_raise_its_term),
        cmocka_unit_test(a_late_answer_to_a_pre_vote_does_not_depose_the_leader),
        cmocka_unit_test(a_configuration_among_others_keeps_its_index),
        cmocka_unit_test(only_answers_of_this_round_and_term_confirm_a_read),
        cmocka_unit_test(a_follower_far_behind_gets_a_snapshot_in_chunks),
        cmocka_unit_test(leadership_is_handed_over_on_request),
        cmocka_unit_test(what_waits_is_bounded_and_checked),
        cmocka_unit_test(a_log_shorter_than_the_state_machine_is_refused),
        cmocka_unit_test(no_history_diverges_and_nothing_acknowledged_is_lost_under_chaos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
