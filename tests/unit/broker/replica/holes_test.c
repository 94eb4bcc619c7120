/* Known damage below the end of the log: docs/replication.md 2.9. */
#include "fixture.h"

static const struct replica_holes none;

static const char *damage(struct host *h, uint32_t count, uint64_t begin, uint64_t end)
{
    return step(h,
                (struct replica_input){
                    .type = REPLICA_DAMAGE, .holes = {.count = count, .begin = begin, .end = end}
    });
}

static const char *absent(struct host *h, struct replica_id from, uint32_t promised,
                          uint64_t offset)
{
    return step(h, (struct replica_input){
                       .type = REPLICA_ABSENT, .from = from, .epoch = promised, .offset = offset});
}

static const char *gone(struct host *h, struct replica_id from, uint64_t offset, uint32_t epoch)
{
    return step(h, (struct replica_input){.type = REPLICA_ABSENT,
                                          .from = from,
                                          .epoch = 3,
                                          .offset = offset,
                                          .gone = true,
                                          .gone_epoch = epoch});
}

/* A has ten batches of epoch 1, the last five of which nobody else has, and a hole at 7. */
static void granted_with_a_hole(uint64_t commit_hint)
{
    host_has(&A, 1, 10);
    host_recover(&A, 3, commit_hint);
    assert_string_equal(damage(&A, 1, 7, 8), "");
    (void)grant(&A, 3);
}

static void a_report_tells_of_holes(void **state)
{
    (void)state;
    host_has(&A, 1, 10);
    host_recover(&A, 1, 0);
    assert_string_equal(damage(&A, 2, 3, 9), "");
    (void)fence(&A, 2);
    (void)synced(&A);
    const struct replica_effect *e = &A.effects.effect[0];
    assert_int_equal(e->type, REPLICA_DO_REPORT);
    assert_true(e->report.certain);
    assert_int_equal(e->report.end, 10);
    assert_int_equal(e->report.holes.count, 2);
    assert_int_equal(e->report.holes.begin, 3);
    assert_int_equal(e->report.holes.end, 9);
}

static void a_leader_with_a_hole_begins_when_it_is_filled(void **state)
{
    (void)state;
    granted_with_a_hole(0);
    struct replica_slot slot;
    assert_true(view_of(&A).filling);
    assert_int_equal(A.effects.effect[0].type, REPLICA_DO_REPAIR);
    assert_int_equal(A.effects.effect[0].end, 7);
    assert_int_equal(replica_slot(A.replica, &slot), STATUS_BUSY);
    (void)step(&A, (struct replica_input){.type = REPLICA_DAMAGE, .holes = none});
    assert_int_equal(A.effects.effect[0].type, REPLICA_DO_START_EPOCH);
    assert_int_equal(A.effects.effect[0].end, 10);
    assert_false(view_of(&A).filling);
    assert_int_equal(replica_slot(A.replica, &slot), STATUS_OK);
}

static void a_leader_says_nothing_while_it_fills_a_hole(void **state)
{
    (void)state;
    granted_with_a_hole(0);
    struct replica_append append;
    uint64_t end;
    assert_int_equal(replica_next_append(A.replica, B.id, 0, &append, &end), STATUS_NOT_FOUND);
}

static void what_no_voter_ever_had_ends_the_log_at_the_hole(void **state)
{
    (void)state;
    granted_with_a_hole(5);
    assert_string_equal(absent(&A, B.id, 3, 7), "");
    assert_int_equal(view_of(&A).last.end, 10);
    (void)absent(&A, C.id, 3, 7);
    assert_int_equal(A.effects.effect[0].type, REPLICA_DO_TRUNCATE);
    assert_int_equal(A.effects.effect[0].end, 7);
    assert_int_equal(A.effects.effect[1].type, REPLICA_DO_START_EPOCH);
    assert_int_equal(view_of(&A).last.end, 7);
    assert_int_equal(view_of(&A).holes.count, 0);
}

static void who_has_not_promised_the_epoch_does_not_count(void **state)
{
    (void)state;
    granted_with_a_hole(5);
    assert_string_equal(absent(&A, B.id, 2, 7), "STALE");
    assert_string_equal(absent(&A, B.id, 3, 6), "STALE");
    assert_string_equal(absent(&A, (struct replica_id){.broker = 2, .disk_gen = 2}, 3, 7), "STALE");
    assert_string_equal(absent(&A, C.id, 3, 7), "");
    assert_int_equal(view_of(&A).last.end, 10);
}

static void damage_of_the_same_batch_elsewhere_proves_nothing(void **state)
{
    (void)state;
    granted_with_a_hole(5);
    assert_string_equal(gone(&A, B.id, 7, 1), "");
    assert_string_equal(absent(&A, C.id, 3, 7), "");
    assert_true(view_of(&A).filling);
    assert_int_equal(view_of(&A).last.end, 10);
    (void)gone(&A, B.id, 7, 2); /* another epoch's: it never had ours */
    assert_int_equal(view_of(&A).last.end, 7);
}

static void what_is_known_as_committed_is_never_cut_for_a_hole(void **state)
{
    (void)state;
    granted_with_a_hole(9);
    (void)absent(&A, B.id, 3, 7);
    (void)absent(&A, C.id, 3, 7);
    assert_int_equal(A.effects.effect[0].type, REPLICA_DO_START_EPOCH);
    assert_int_equal(view_of(&A).last.end, 10);
    assert_int_equal(view_of(&A).holes.count, 1);
}

static void a_leader_that_cannot_fill_its_hole_is_stalled(void **state)
{
    (void)state;
    granted_with_a_hole(0);
    struct replica_slot slot;
    (void)tick_at(&A, A.now_ms + REPLICA_STALL_MS);
    assert_int_equal(replica_slot(A.replica, &slot), STATUS_NO_QUORUM);
}

/* B holds what A does, but cannot read the batch that ends at 8. */
static struct replica_append append_of_a(uint64_t prev)
{
    const struct replica_batch *last = &A.batch[prev - 1];
    return (struct replica_append){
        .epoch = 3,
        .leader = A.id,
        .leader_boot = A.boot,
        .prev = {.end = prev, .epoch = last->epoch, .crc = last->crc},
        .leader_end = 10
    };
}

static void a_batch_that_cannot_be_read_is_matched_by_its_epoch(void **state)
{
    (void)state;
    host_has(&A, 1, 10);
    host_has(&B, 1, 10);
    host_recover(&B, 1, 10);
    B.unreadable = 8;
    (void)step(&B,
               (struct replica_input){.type = REPLICA_RECEIVE_APPEND, .append = append_of_a(8)});
    assert_int_equal(view_of(&B).role, REPLICA_FOLLOWING); /* not halted: 8 is below its commit */
    assert_int_equal(view_of(&B).verified_end, 8);
    assert_int_equal(view_of(&B).last.end, 10);
}

static void a_batch_that_cannot_be_read_and_is_of_another_epoch_does_not_match(void **state)
{
    (void)state;
    host_has(&A, 1, 5);
    host_has(&A, 2, 5);
    host_has(&B, 1, 10);
    host_recover(&B, 1, 0);
    B.unreadable = 8;
    (void)step(&B,
               (struct replica_input){.type = REPLICA_RECEIVE_APPEND, .append = append_of_a(8)});
    assert_int_equal(view_of(&B).verified_end, 0);
    assert_false(B.answer.ok);
    assert_int_equal(view_of(&B).last.end, 10); /* the search goes on; nothing is cut for it */
}

static void a_known_hole_above_the_commit_is_not_acknowledged(void **state)
{
    (void)state;
    host_has(&A, 1, 10);
    host_has(&B, 1, 10);
    host_recover(&B, 3, 4);
    assert_string_equal(damage(&B, 1, 6, 7), "");
    (void)step(&B,
               (struct replica_input){.type = REPLICA_RECEIVE_APPEND, .append = append_of_a(10)});
    assert_true(B.answer.ok);
    assert_int_equal(B.answer.end, 6);
    (void)step(&B, (struct replica_input){.type = REPLICA_DAMAGE, .holes = none});
    assert_int_equal(B.answer.end, 10);
}

/* Else nobody repairs what lies above it. */
static void a_leader_drops_a_hole_that_another_voter_has_dropped(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    for (uint32_t i = 0; i < 5; i++) {
        propose(&A, 1);
    }
    synced(&A);
    replicate(&A, &B);
    assert_int_equal(view_of(&A).commit, 6);
    damage(&A, 2, 2, 5);
    struct replica_input in = {.type = REPLICA_ABSENT,
                               .from = B.id,
                               .epoch = 1,
                               .offset = 2,
                               .log_start = 7,
                               .gone = true};
    assert_string_equal(step(&A, in), "STALE"); /* that much there is not */
    propose(&A, 1);
    assert_string_equal(step(&A, in), "STALE"); /* nor is it committed */
    assert_int_equal(view_of(&A).commit, 6);
    in.log_start = 2;
    assert_string_equal(step(&A, in), "STALE");
    in.log_start = 4;
    in.gone = false;
    assert_string_equal(step(&A, in), "STALE"); /* it never had it */
    in.gone = true;
    (void)step(&A, in);
    assert_int_equal(view_of(&A).log_start, 4);
    assert_int_equal(view_of(&A).holes.begin, 4);
}

/* Who begins behind a SEAL does not know of it (2.12). */
static void a_seal_is_not_dropped_with_a_hole(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    propose_flags(&A, REPLICA_BATCH_CONTROL | REPLICA_BATCH_SEAL);
    synced(&A);
    replicate(&A, &B);
    assert_int_equal(view_of(&A).seal_end, 3);
    assert_int_equal(view_of(&A).commit, 3);
    damage(&A, 1, 1, 2);
    assert_string_equal(step(&A, (struct replica_input){.type = REPLICA_ABSENT,
                                                        .from = B.id,
                                                        .epoch = 1,
                                                        .offset = 1,
                                                        .log_start = 3,
                                                        .gone = true}),
                        "STALE");
    assert_int_equal(view_of(&A).log_start, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, hosts_start, hosts_stop)
    const struct CMUnitTest tests[] = {
        T(a_report_tells_of_holes),
        T(a_leader_with_a_hole_begins_when_it_is_filled),
        T(a_leader_says_nothing_while_it_fills_a_hole),
        T(what_no_voter_ever_had_ends_the_log_at_the_hole),
        T(who_has_not_promised_the_epoch_does_not_count),
        T(damage_of_the_same_batch_elsewhere_proves_nothing),
        T(what_is_known_as_committed_is_never_cut_for_a_hole),
        T(a_leader_that_cannot_fill_its_hole_is_stalled),
        T(a_batch_that_cannot_be_read_is_matched_by_its_epoch),
        T(a_batch_that_cannot_be_read_and_is_of_another_epoch_does_not_match),
        T(a_known_hole_above_the_commit_is_not_acknowledged),
        T(a_leader_drops_a_hole_that_another_voter_has_dropped),
        T(a_seal_is_not_dropped_with_a_hole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
