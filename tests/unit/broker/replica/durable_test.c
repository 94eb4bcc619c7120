#include <stdlib.h>

#include "fixture.h"

static uint32_t allocations_left = UINT32_MAX;

void *__real_realloc(void *pointer, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool may_allocate(void)
{
    if (allocations_left == UINT32_MAX) {
        return true;
    }
    if (allocations_left == 0) {
        return false;
    }
    allocations_left--;
    return true;
}

void *__wrap_realloc(void *pointer, size_t size)
{
    return may_allocate() ? __real_realloc(pointer, size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

static int stop(void **state)
{
    allocations_left = UINT32_MAX;
    return hosts_stop(state);
}

static void a_replica_is_whole_or_not_there(void **state)
{
    (void)state;
    struct epoch_pair history[] = {
        {1, 0},
        {2, 5}
    };
    struct replica_recovered recovered = {
        .self = A.id, .last = {9, 2, 7},
             .history = history, .history_count = 2
    };
    for (uint32_t n = 0; n < 2; n++) {
        allocations_left = n;
        assert_null(replica_new(&recovered, &A.log));
    }
    allocations_left = 2;
    struct replica *r = replica_new(&recovered, &A.log);
    assert_non_null(r);
    uint32_t count;
    const struct epoch_pair *copy = replica_history(r, &count);
    assert_int_equal(count, 2);
    assert_int_equal(copy[1].epoch, 2);
    assert_int_equal(copy[1].start, 5);
    replica_free(r);
}

static void a_proposal_without_memory_changes_nothing(void **state)
{
    (void)state;
    fence(&A, 1);
    synced(&A);
    grant(&A, 1);
    for (uint32_t n = 0; n < 2; n++) {
        allocations_left = n; /* the writes that wait, then the epochs */
        assert_string_equal(propose(&A, 1), "NO_MEMORY");
        assert_int_equal(view_of(&A).last.end, 0);
    }
    allocations_left = UINT32_MAX;
    assert_string_equal(propose(&A, 1), "write up to 1\nwake 2\nwake 3\n");
}

static void an_append_without_memory_changes_nothing(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &C, NULL);
    next_append(&A, &B, &wire);
    for (uint32_t n = 0; n < 2; n++) {
        allocations_left = n;
        assert_string_equal(deliver(&B, &wire), "NO_MEMORY");
        assert_int_equal(view_of(&B).promised, 0);
    }
    allocations_left = UINT32_MAX;
    assert_string_equal(deliver(&B, &wire), "promise 1\nwrite up to 1\ncommit 1\n");
}

static void many_writes_wait_for_one_sync(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    for (uint32_t i = 0; i < 100; i++) {
        propose(&A, 1);
    }
    assert_int_equal(view_of(&A).durable_end, 1);
    synced_to(&A, A.newest_seq - 40);
    assert_int_equal(view_of(&A).durable_end, 61);
    for (uint32_t i = 0; i < 20; i++) {
        propose(&A, 1);
    }
    synced(&A);
    assert_int_equal(view_of(&A).durable_end, 121);
    assert_string_equal(synced(&A), "STALE");
}

/* B follows A with writes of epoch 1 that are not synced, when a leader of epoch 2 cuts them. */
static void a_truncation_limits_what_earlier_writes_make_durable(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    for (uint32_t i = 0; i < 3; i++) {
        propose(&A, 2);
        next_append(&A, &B, &wire);
        deliver(&B, &wire);
    }
    uint64_t written = B.newest_seq; /* ends 3, 5, 7 are in flight */
    replicate(&A, &C);
    C.batches = 2; /* C lost the last two, and leads */
    host_recover(&C, 1, 1);
    fence(&C, 2);
    synced(&C);
    grant(&C, 2);
    propose(&C, 1);
    next_append(&C, &B, &wire);
    assert_string_equal(deliver(&B, &wire), "promise 2\ntruncate to 3\nwrite up to 4\n");
    synced_to(&B, written - 2);
    assert_int_equal(view_of(&B).durable_end, 3);
    synced_to(&B, written); /* 5 and 7 are on the disk, and void */
    assert_int_equal(view_of(&B).durable_end, 3);
    synced_to(&B, written + 2);
    assert_int_equal(view_of(&B).durable_end, 3);
    assert_string_equal(synced(&B), "answer 3: ok 4 in 2\n");
    assert_int_equal(view_of(&B).durable_end, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, hosts_start, stop)
        TEST(a_replica_is_whole_or_not_there),
        TEST(a_proposal_without_memory_changes_nothing),
        TEST(an_append_without_memory_changes_nothing),
        TEST(many_writes_wait_for_one_sync),
        TEST(a_truncation_limits_what_earlier_writes_make_durable),
    };
    return cmocka_run_group_tests_name("broker/replica/durable", tests, NULL, NULL);
}
