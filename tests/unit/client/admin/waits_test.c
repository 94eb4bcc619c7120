/* Changes that are begun and then waited for: all of them look until it has happened, or until
 * their time is over. */
#include <weir/control.h>

#include "tests/unit/client/handle/scene.h"

enum { PATIENCE_MS = 300, LONG_MS = 5000 };

static enum weir_status begin_delete(uint32_t timeout_ms, bool no_wait)
{
    return weir_stream_delete_async(scene.fake.client, "orders", !no_wait, timeout_ms, done, NULL);
}

static enum weir_status begin_split(uint32_t timeout_ms, bool no_wait)
{
    const struct weir_reshard change = {
        .type = WEIR_SPLIT, .timeout_ms = timeout_ms, .no_wait = no_wait};
    return weir_stream_reshard_async(scene.fake.client, "orders", &change, done, NULL);
}

static enum weir_status begin_mode(uint32_t timeout_ms, bool no_wait)
{
    const struct weir_change change = {
        .type = WEIR_CHANGE_MODE, .on_demand = true, .timeout_ms = timeout_ms, .no_wait = no_wait};
    return weir_stream_change_async(scene.fake.client, "orders", &change, done, NULL);
}

static unsigned looks(void)
{
    return scene.fake.controllers[scene.fake.active - 1].calls[RPC_GET_METADATA];
}

static void is_seen_to_happen(enum weir_status (*change)(uint32_t timeout_ms, bool no_wait))
{
    begin(true);
    unsigned before = looks();
    assert_int_equal(change(LONG_MS, false), WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_OK);
    assert_int_equal(looks() - before, 2);
    end();
}

static void ends_in_time(enum weir_status (*change)(uint32_t timeout_ms, bool no_wait),
                         const char *sentence)
{
    begin(true);
    scene.fake.stays = true;
    assert_int_equal(change(PATIENCE_MS, false), WEIR_OK);
    wait_over(); /* fails after 10 s */
    assert_int_equal(scene.error.status, WEIR_TIMEOUT);
    assert_non_null(strstr(scene.error.text, sentence));
    end();
}

static void is_not_waited_for(enum weir_status (*change)(uint32_t timeout_ms, bool no_wait))
{
    begin(true);
    unsigned before = looks();
    scene.fake.stays = true;
    assert_int_equal(change(LONG_MS, true), WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_OK);
    assert_int_equal(looks() - before, 0);
    end();
}

static void a_deletion_is_waited_for_no_longer_than_was_said(void **state)
{
    (void)state;
    is_seen_to_happen(begin_delete);
    ends_in_time(begin_delete, "is not gone yet");
    is_not_waited_for(begin_delete);
}

static void a_split_is_waited_for_no_longer_than_was_said(void **state)
{
    (void)state;
    is_seen_to_happen(begin_split);
    ends_in_time(begin_split, "not done yet");
    is_not_waited_for(begin_split);
}

static void a_change_is_waited_for_no_longer_than_was_said(void **state)
{
    (void)state;
    is_seen_to_happen(begin_mode);
    ends_in_time(begin_mode, "not all brokers know of it yet");
    is_not_waited_for(begin_mode);
}

static void a_stream_that_vanishes_meanwhile_is_no_success_of_its_change(void **state)
{
    (void)state;
    begin(true);
    scene.fake.stays = true;
    assert_int_equal(begin_mode(LONG_MS, false), WEIR_OK);
    fake_run_ms(&scene.fake, 50);
    scene.fake.created = false;
    wait_over();
    assert_int_equal(scene.error.status, WEIR_NOT_FOUND);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deletion_is_waited_for_no_longer_than_was_said),
        cmocka_unit_test(a_split_is_waited_for_no_longer_than_was_said),
        cmocka_unit_test(a_change_is_waited_for_no_longer_than_was_said),
        cmocka_unit_test(a_stream_that_vanishes_meanwhile_is_no_success_of_its_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
