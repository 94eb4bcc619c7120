#include "controller/placement/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BROKERS_MAX = 12 };

/* "abcab": broker 1 in zone a, 2 in b, 3 in c, 4 in a, 5 in b. */
static uint32_t make_brokers(const char *zones, struct placement_broker *out)
{
    static const char names[][2] = {"a", "b", "c", "d", "e", "f"};
    uint32_t count = (uint32_t)strlen(zones);
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (struct placement_broker){.id = i + 1, .zone = names[zones[i] - 'a']};
    }
    return count;
}

static const char *zone_of(const struct placement_broker *brokers, uint32_t id)
{
    return brokers[id - 1].zone;
}

static void check_choices(const struct placement_broker *brokers,
                          const struct placement_choice *choices, uint32_t shards,
                          uint32_t zones_wanted)
{
    for (uint32_t s = 0; s < shards; s++) {
        uint32_t zones = 0;
        for (uint32_t i = 0; i < REPLICAS_PER_SHARD; i++) {
            bool seen = false;
            for (uint32_t j = 0; j < i; j++) {
                assert_int_not_equal(choices[s].broker[i], choices[s].broker[j]);
                seen = seen || strcmp(zone_of(brokers, choices[s].broker[i]),
                                      zone_of(brokers, choices[s].broker[j])) == 0;
            }
            zones += seen ? 0 : 1;
        }
        assert_int_equal(zones, zones_wanted);
    }
}

static void replicas_are_in_three_zones_and_the_load_is_even(void **state)
{
    (void)state;
    static const struct {
        const char *zones;
        uint32_t shards, replicas_spread, preferred_spread;
    } table[] = {
        {"abc",       100,  0, 1},
        {"abcabc",    100,  1, 1},
        {"abcabcabc", 1000, 1, 1},
        {"abcd",      100,  1, 1},
        {"abcdef",    997,  1, 1},
        {"aabbcc",    300,  1, 1},
        {"aabbccdd",  64,   1, 1},
    };
    for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++) {
        struct placement_broker brokers[BROKERS_MAX];
        uint32_t count = make_brokers(table[t].zones, brokers);
        struct placement_choice *choices = calloc(table[t].shards, sizeof(*choices));
        assert_int_equal(placement_choose(brokers, count, table[t].shards, false, choices, NULL),
                         STATUS_OK);
        check_choices(brokers, choices, table[t].shards, 3);
        uint32_t low = UINT32_MAX, high = 0, led_low = UINT32_MAX, led_high = 0;
        for (uint32_t i = 0; i < count; i++) {
            low = brokers[i].replicas < low ? brokers[i].replicas : low;
            high = brokers[i].replicas > high ? brokers[i].replicas : high;
            led_low = brokers[i].preferred < led_low ? brokers[i].preferred : led_low;
            led_high = brokers[i].preferred > led_high ? brokers[i].preferred : led_high;
        }
        assert_true(high - low <= table[t].replicas_spread);
        assert_true(led_high - led_low <= table[t].preferred_spread);
        free(choices);
    }
}

static void the_first_of_a_choice_is_the_one_that_leads_least(void **state)
{
    (void)state;
    struct placement_broker brokers[BROKERS_MAX];
    uint32_t count = make_brokers("abc", brokers);
    brokers[0].preferred = 2;
    brokers[1].preferred = 1;
    struct placement_choice choices[3];
    assert_int_equal(placement_choose(brokers, count, 3, false, choices, NULL), STATUS_OK);
    assert_int_equal(choices[0].broker[0], 3);
    assert_int_equal(choices[1].broker[0], 2);
    assert_int_equal(choices[2].broker[0], 3);
}

static void a_new_broker_is_filled_before_the_others(void **state)
{
    (void)state;
    struct placement_broker brokers[BROKERS_MAX];
    uint32_t count = make_brokers("abca", brokers);
    brokers[0].replicas = brokers[1].replicas = brokers[2].replicas = 50;
    struct placement_choice choices[50];
    assert_int_equal(placement_choose(brokers, count, 50, false, choices, NULL), STATUS_OK);
    check_choices(brokers, choices, 50, 3);
    assert_int_equal(brokers[0].replicas, 50);
    assert_int_equal(brokers[3].replicas, 50);
}

static void what_is_missing_is_said_and_nothing_is_changed(void **state)
{
    (void)state;
    static const struct {
        const char *zones;
        bool fewer;
        const char *text;
    } table[] = {
        {"",     false, "3 replicas need 3 brokers; 0 are alive, in zones: -"           },
        {"ab",   false, "3 replicas need 3 brokers; 2 are alive, in zones: a, b"        },
        {"ab",   true,  "3 replicas need 3 brokers; 2 are alive, in zones: a, b"        },
        {"aabb", false, "3 replicas need brokers in 3 zones; alive brokers are in: a, b"},
        {"ccc",  false, "3 replicas need brokers in 3 zones; alive brokers are in: c"   },
    };
    for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++) {
        struct placement_broker brokers[BROKERS_MAX];
        uint32_t count = make_brokers(table[t].zones, brokers);
        struct placement_choice choice = {
            .broker = {77, 77, 77}
        };
        struct error error;
        assert_int_equal(placement_choose(brokers, count, 1, table[t].fewer, &choice, &error),
                         STATUS_PLACEMENT);
        assert_string_equal(error.text, table[t].text);
        assert_int_equal(choice.broker[0], 77);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(brokers[i].replicas, 0);
        }
    }
}

static void replicas_share_a_zone_only_when_allowed_and_needed(void **state)
{
    (void)state;
    static const struct {
        const char *zones;
        uint32_t zones_wanted;
    } table[] = {
        {"aaa",   1},
        {"aab",   2},
        {"aabb",  2},
        {"aabc",  3},
        {"abcde", 3}
    };
    for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++) {
        struct placement_broker brokers[BROKERS_MAX];
        uint32_t count = make_brokers(table[t].zones, brokers);
        struct placement_choice choices[40];
        assert_int_equal(placement_choose(brokers, count, 40, true, choices, NULL), STATUS_OK);
        check_choices(brokers, choices, 40, table[t].zones_wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_are_in_three_zones_and_the_load_is_even),
        cmocka_unit_test(the_first_of_a_choice_is_the_one_that_leads_least),
        cmocka_unit_test(a_new_broker_is_filled_before_the_others),
        cmocka_unit_test(what_is_missing_is_said_and_nothing_is_changed),
        cmocka_unit_test(replicas_share_a_zone_only_when_allowed_and_needed),
    };
    return cmocka_run_group_tests_name("placement", tests, NULL, NULL);
}
