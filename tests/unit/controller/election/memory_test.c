/* The n-th allocation fails: nothing is lost but time. */
#include "controller/election/election.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static int allocations_left = -1;

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static int may_allocate(void)
{
    if (allocations_left == 0) {
        return 0;
    }
    allocations_left -= allocations_left > 0;
    return 1;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate() ? __real_realloc(old, size) : NULL;
}

static struct election_input up(uint32_t broker)
{
    return (struct election_input){
        .type = ELECTION_BROKER_UP, .broker = broker, .boot = 10, .disk_gen = 1};
}

/* Feeds it, once more if memory was short the first time. True if it was. */
static bool insist(struct election *e, const struct election_input *in,
                   struct election_effects *effects)
{
    enum status status = election_step(e, 1000, in, effects);
    if (status == STATUS_OK) {
        return false;
    }
    assert_int_equal(status, STATUS_NO_MEMORY);
    assert_int_equal(allocations_left, 0);
    allocations_left = -1;
    assert_int_equal(election_step(e, 1000, in, effects), STATUS_OK);
    return true;
}

static void every_failing_allocation_only_delays(void **state)
{
    (void)state;
    int failures = 0;
    for (int n = 0; n < 12; n++) {
        struct election_effects effects = {0};
        struct election *e = election_new();
        struct election_input in = {.type = ELECTION_ACTIVATED};
        assert_non_null(e);
        assert_int_equal(election_step(e, 1000, &in, &effects), STATUS_OK);
        allocations_left = n;
        for (uint32_t id = 1; id <= 3; id++) {
            in = up(id);
            failures += insist(e, &in, &effects);
        }
        struct election_row row = {
            .shard = 1,
            .phase = ELECTION_ELECTING,
            .epoch = 5,
            .cfg = {.version = 1, .voter_count = 3, .voter = {{1, 1}, {2, 1}, {3, 1}}}
        };
        in = (struct election_input){.type = ELECTION_ROW, .row = &row};
        failures += insist(e, &in, &effects);
        allocations_left = -1;
        election_effects_clear(&effects);
        in = (struct election_input){.type = ELECTION_TICK};
        uint64_t due_ms = election_deadline(e);
        assert_int_equal(due_ms, 1000 + ELECTION_RESEND_MS);
        assert_int_equal(election_step(e, due_ms, &in, &effects), STATUS_OK);
        assert_int_equal(effects.count, 3); /* a fence to each */
        election_free(e);
        election_effects_release(&effects);
    }
    assert_true(failures >= 5); /* table, pending list, index, shard, brokers, effects */
}

static void no_memory_for_an_election_at_all_is_told(void **state)
{
    (void)state;
    allocations_left = 0;
    assert_null(election_new());
    allocations_left = -1;
    election_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_allocation_only_delays),
        cmocka_unit_test(no_memory_for_an_election_at_all_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
