#include "broker/tip/tip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct replica_id id(uint32_t broker, uint32_t disk_gen)
{
    return (struct replica_id){.broker = broker, .disk_gen = disk_gen};
}

/* Of a leader with so many other voters: brokers 2, 3, ... */
static struct replica_view view_of(uint32_t others)
{
    struct replica_view view = {.role = REPLICA_LEADING, .open = true, .epoch = 7};
    for (uint32_t i = 0; i < others; i++) {
        view.member[view.member_count++].id = id(2 + i, 1);
    }
    return view;
}

static void one_of_two_others_is_a_majority(void **state)
{
    (void)state;
    struct replica_view view = view_of(2);
    struct tip_round round;
    tip_begin(&round, &view);
    assert_int_equal(tip_verdict(&round), TIP_OPEN);
    tip_heard(&round, id(3, 1), true);
    assert_int_equal(tip_verdict(&round), TIP_LEADS);
}

static void one_that_has_promised_more_is_not_the_end_of_it(void **state)
{
    (void)state;
    struct replica_view view = view_of(2);
    struct tip_round round;
    tip_begin(&round, &view);
    tip_heard(&round, id(2, 1), false);
    assert_int_equal(tip_verdict(&round), TIP_OPEN);
    tip_heard(&round, id(3, 1), true);
    assert_int_equal(tip_verdict(&round), TIP_LEADS);
}

static void without_a_majority_nothing_is_known(void **state)
{
    (void)state;
    struct replica_view view = view_of(2);
    struct tip_round round;
    tip_begin(&round, &view);
    tip_heard(&round, id(2, 1), false);
    tip_heard(&round, id(3, 1), false);
    assert_int_equal(tip_verdict(&round), TIP_UNKNOWN);
}

static void each_voter_counts_once_and_others_do_not(void **state)
{
    (void)state;
    struct replica_view view = view_of(4);
    struct tip_round round;
    tip_begin(&round, &view);
    tip_heard(&round, id(2, 1), true);
    tip_heard(&round, id(2, 1), true);
    tip_heard(&round, id(3, 2), true); /* another disk: another replica */
    tip_heard(&round, id(9, 1), true);
    assert_int_equal(tip_verdict(&round), TIP_OPEN);
    tip_heard(&round, id(3, 1), true);
    assert_int_equal(tip_verdict(&round), TIP_LEADS);
}

static void learners_are_not_asked(void **state)
{
    (void)state;
    struct replica_view view = view_of(3);
    view.member[2].learner = true;
    struct tip_round round;
    tip_begin(&round, &view);
    assert_int_equal(round.count, 2);
    tip_heard(&round, id(4, 1), true);
    assert_int_equal(tip_verdict(&round), TIP_OPEN);
}

static void a_shard_of_one_replica_asks_nobody(void **state)
{
    (void)state;
    struct replica_view view = view_of(0);
    struct tip_round round;
    tip_begin(&round, &view);
    assert_int_equal(tip_verdict(&round), TIP_LEADS);
}

/* ---- the other side ---- */

static enum status no_point(void *context, uint64_t end, struct log_point *out)
{
    (void)context;
    *out = (struct log_point){0};
    return end == 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

static struct replica *replica_with(uint32_t promised, bool uncertain)
{
    static const struct replica_log log = {.point_at = no_point};
    const struct replica_recovered recovered = {
        .shard = 1, .self = id(2, 1), .boot = 3, .promised = promised, .uncertain = uncertain};
    struct replica *r = replica_new(&recovered, &log);
    assert_non_null(r);
    return r;
}

static void who_has_promised_nothing_higher_follows(void **state)
{
    (void)state;
    struct replica *r = replica_with(7, false);
    assert_true(replica_follows(r, 7));
    assert_true(replica_follows(r, 8));
    assert_false(replica_follows(r, 6));
    replica_free(r);
}

static void a_fence_that_is_not_synced_yet_counts(void **state)
{
    (void)state;
    struct replica *r = replica_with(7, false);
    const struct replica_input fence = {
        .type = REPLICA_FENCE,
        .epoch = 8,
        .config = {.version = 1, .voter_count = 1, .voter = {{.broker = 2, .disk_gen = 1}}}
    };
    struct replica_effects effects;
    assert_int_equal(replica_step(r, &fence, &effects), STATUS_OK);
    assert_false(replica_follows(r, 7));
    replica_free(r);
}

static void one_whose_promises_may_be_lost_says_no(void **state)
{
    (void)state;
    struct replica *r = replica_with(7, true);
    assert_false(replica_follows(r, 7));
    replica_free(r);
}

static void a_status_of_the_same_epoch_is_a_yes(void **state)
{
    (void)state;
    const struct tip_status status = {.follows = true, .epoch = 7, .promised = 7};
    assert_true(tip_follows_by_status(&status, 7));
}

/* No promise: a replica on another disk, of which its leader does not know. */
static void a_status_of_any_other_epoch_is_none(void **state)
{
    (void)state;
    const struct tip_status status[] = {
        {.follows = true,  .epoch = 7, .promised = 8, .uncertain = false},
        {.follows = true,  .epoch = 6, .promised = 7, .uncertain = false},
        {.follows = true,  .epoch = 6, .promised = 6, .uncertain = false},
        {.follows = true,  .epoch = 0, .promised = 0, .uncertain = false},
        {.follows = false, .epoch = 7, .promised = 7, .uncertain = false},
        {.follows = true,  .epoch = 7, .promised = 7, .uncertain = true },
    };
    for (size_t i = 0; i < sizeof(status) / sizeof(status[0]); i++) {
        assert_false(tip_follows_by_status(&status[i], 7));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_two_others_is_a_majority),
        cmocka_unit_test(one_that_has_promised_more_is_not_the_end_of_it),
        cmocka_unit_test(without_a_majority_nothing_is_known),
        cmocka_unit_test(each_voter_counts_once_and_others_do_not),
        cmocka_unit_test(learners_are_not_asked),
        cmocka_unit_test(a_shard_of_one_replica_asks_nobody),
        cmocka_unit_test(who_has_promised_nothing_higher_follows),
        cmocka_unit_test(a_fence_that_is_not_synced_yet_counts),
        cmocka_unit_test(one_whose_promises_may_be_lost_says_no),
        cmocka_unit_test(a_status_of_the_same_epoch_is_a_yes),
        cmocka_unit_test(a_status_of_any_other_epoch_is_none),
    };
    return cmocka_run_group_tests_name("tip", tests, NULL, NULL);
}
