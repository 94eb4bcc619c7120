/* Batches of a shard that is closed: what it has is found out there, the rest is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/producer/delivery.h"

enum { BATCHES = 4 };

static struct rng rng;
static struct delivery delivery;
static struct delivery_batch batch[BATCHES];
static uint64_t now;

/* What is sent now, as digits. */
static const char *sent(void)
{
    static char text[16];
    struct delivery_effect effect;
    size_t count = 0;
    while (delivery_next(&delivery, now, &effect)) {
        assert_int_equal(effect.type, DELIVERY_DO_SEND);
        text[count++] = (char)('0' + (effect.batch - batch));
    }
    text[count] = '\0';
    return text;
}

static int begin(void **state)
{
    (void)state;
    memset(batch, 0, sizeof(batch));
    now = 1000;
    rng_init(&rng, 7);
    delivery_init(&delivery, 3, &rng);
    delivery_route(&delivery, 1);
    for (unsigned i = 0; i < BATCHES; i++) {
        batch[i].count = 10;
        batch[i].deadline_ms = 100000;
        delivery_add(&delivery, &batch[i]);
    }
    assert_string_equal(sent(), "012");
    return 0;
}

static enum delivery_outcome reply(unsigned index, enum status status)
{
    return delivery_reply(&delivery, &batch[index], status, now);
}

static void what_is_refused_is_given_back_in_order(void **state)
{
    (void)state;
    assert_int_equal(reply(0, STATUS_OK), DELIVERY_ACKED);
    assert_int_equal(reply(1, STATUS_SEALED), DELIVERY_KEPT);
    assert_string_equal(sent(), ""); /* one is on its way still */
    assert_false(delivery_is_over(&delivery));
    assert_int_equal(reply(2, STATUS_OUT_OF_ORDER), DELIVERY_KEPT);
    now += 2000;
    assert_string_equal(sent(), "");
    assert_true(delivery_is_over(&delivery));
    for (unsigned i = 1; i < BATCHES; i++) {
        assert_ptr_equal(delivery_take(&delivery), &batch[i]);
    }
    assert_null(delivery_take(&delivery));
}

static void what_may_be_there_is_asked_for_first(void **state)
{
    (void)state;
    assert_int_equal(reply(0, STATUS_UNCERTAIN), DELIVERY_KEPT);
    assert_int_equal(reply(1, STATUS_UNCERTAIN), DELIVERY_KEPT);
    assert_int_equal(reply(2, STATUS_UNCERTAIN), DELIVERY_KEPT);
    delivery_seal(&delivery); /* the metadata say so */
    assert_false(delivery_is_over(&delivery));
    now += 2000;
    assert_string_equal(sent(), "012");                    /* not the one that never left */
    assert_int_equal(reply(0, STATUS_OK), DELIVERY_ACKED); /* it was there: a duplicate */
    assert_int_equal(reply(1, STATUS_SEALED), DELIVERY_KEPT);
    assert_int_equal(reply(2, STATUS_UNCERTAIN), DELIVERY_KEPT); /* its leader died */
    now += 2000;
    assert_true(delivery_is_over(&delivery)); /* without the one before it, it cannot be there */
    assert_ptr_equal(delivery_take(&delivery), &batch[1]);
    assert_ptr_equal(delivery_take(&delivery), &batch[2]);
    assert_ptr_equal(delivery_take(&delivery), &batch[3]);
}

static void a_shard_that_closes_while_nothing_is_sent_gives_all_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(reply(i, STATUS_BUSY), DELIVERY_KEPT);
    }
    delivery_seal(&delivery);
    assert_true(delivery_is_over(&delivery));
    assert_false(delivery_has_room(&delivery));
    assert_ptr_equal(delivery_take(&delivery), &batch[0]);
}

static void a_producer_that_is_forgotten_there_is_uncertain(void **state)
{
    (void)state;
    struct delivery_effect effect;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(reply(i, STATUS_UNCERTAIN), DELIVERY_KEPT);
    }
    delivery_seal(&delivery);
    now += 2000;
    assert_string_equal(sent(), "012");
    assert_int_equal(reply(0, STATUS_UNKNOWN_PRODUCER), DELIVERY_KEPT);
    assert_int_equal(reply(1, STATUS_UNKNOWN_PRODUCER), DELIVERY_KEPT);
    assert_int_equal(reply(2, STATUS_UNKNOWN_PRODUCER), DELIVERY_KEPT);
    now += 2000;
    for (unsigned i = 0; i < 3; i++) { /* sent elsewhere, they could be stored twice */
        assert_true(delivery_next(&delivery, now, &effect));
        assert_int_equal(effect.type, DELIVERY_DO_FAIL);
        assert_int_equal(effect.status, STATUS_UNCERTAIN);
    }
    assert_false(delivery_next(&delivery, now, &effect));
    assert_ptr_equal(delivery_take(&delivery), &batch[3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_refused_is_given_back_in_order, begin),
        cmocka_unit_test_setup(what_may_be_there_is_asked_for_first, begin),
        cmocka_unit_test_setup(a_shard_that_closes_while_nothing_is_sent_gives_all_back, begin),
        cmocka_unit_test_setup(a_producer_that_is_forgotten_there_is_uncertain, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
