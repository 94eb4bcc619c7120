#include "broker/keys/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NOON_MS = 43200000 }; /* of 1970-01-01 … */
#define DAY_MS UINT64_C(86400000)
static const uint64_t today_ms = 10 * DAY_MS + NOON_MS; /* … and of 1970-01-11 */

/* An answer with the keys named, each with the days of `wall_ms`. */
struct answer {
    Weir__SigningKeys reply;
    Weir__SigningKeys__Key key[4], *keys[4];
    Weir__SigningKeys__Day day[4][KEYS_DAYS], *days[4][KEYS_DAYS];
    Weir__SigningKeys__Token token, *tokens[1];
    char dates[KEYS_DAYS][SIGV4_DATE_BYTES];
    uint8_t bytes[4][KEYS_DAYS][SIGV4_KEY_BYTES], token_bytes[TOKEN_KEY_BYTES];
};

static struct answer *answer(uint64_t version, uint64_t wall_ms, size_t count, char *const *ids)
{
    static struct answer a;
    static char owner[] = "joe";
    memset(&a, 0, sizeof(a));
    weir__signing_keys__init(&a.reply);
    keys_dates(wall_ms, a.dates);
    for (size_t i = 0; i < count; i++) {
        weir__signing_keys__key__init(&a.key[i]);
        a.key[i].id = ids[i];
        a.key[i].principal = owner;
        a.key[i].n_days = KEYS_DAYS;
        a.key[i].days = a.days[i];
        for (size_t d = 0; d < KEYS_DAYS; d++) {
            a.bytes[i][d][0] = (uint8_t)(16 * i + d);
            weir__signing_keys__day__init(&a.day[i][d]);
            a.day[i][d].date = a.dates[d];
            a.day[i][d].key = (ProtobufCBinaryData){SIGV4_KEY_BYTES, a.bytes[i][d]};
            a.days[i][d] = &a.day[i][d];
        }
        a.keys[i] = &a.key[i];
    }
    weir__signing_keys__token__init(&a.token);
    a.token.id = 7;
    a.token.key = (ProtobufCBinaryData){TOKEN_KEY_BYTES, a.token_bytes};
    a.tokens[0] = &a.token;
    a.reply.version = version;
    a.reply.keys = a.keys;
    a.reply.n_keys = count;
    a.reply.tokens = a.tokens;
    a.reply.n_tokens = 1;
    return &a;
}

static char key_a[] = "WEIRA", key_b[] = "WEIRB", key_c[] = "WEIRC";

static enum sigv4_key look(struct keys *keys, const char *id, const char *date, uint8_t *out_first)
{
    uint8_t key[SIGV4_KEY_BYTES] = {0xff};
    char principal[SIGV4_PRINCIPAL_BYTES] = "";
    enum sigv4_key found = keys_signing_key(id, date, (struct bytes){0}, key, principal, keys);
    assert_string_equal(principal, found == SIGV4_KEY_FOUND ? "joe" : "");
    *out_first = key[0];
    return found;
}

static void a_key_is_found_by_id_and_day(void **state)
{
    (void)state;
    struct keys *keys = keys_new();
    char *ids[] = {key_a, key_c};
    uint8_t first;
    assert_int_equal(look(keys, key_a, "19700111", &first), SIGV4_KEY_UNAVAILABLE);
    assert_null(keys_tokens(keys));
    assert_int_equal(keys_take(keys, &answer(3, today_ms, 2, ids)->reply), STATUS_OK);
    assert_int_equal(look(keys, key_a, "19700110", &first), SIGV4_KEY_FOUND);
    assert_int_equal(first, 0);
    assert_int_equal(look(keys, key_c, "19700111", &first), SIGV4_KEY_FOUND);
    assert_int_equal(first, 17);
    assert_int_equal(look(keys, key_c, "19700112", &first), SIGV4_KEY_FOUND);
    assert_int_equal(look(keys, key_c, "19700113", &first), SIGV4_KEY_UNAVAILABLE);
    assert_int_equal(look(keys, key_b, "19700111", &first), SIGV4_KEY_UNKNOWN);
    assert_int_equal(look(keys, "", "19700111", &first), SIGV4_KEY_UNKNOWN);
    assert_int_equal(keys_tokens(keys)->count, 1);
    assert_int_equal(keys_tokens(keys)->keys[0].id, 7);
    keys_free(keys);
}

static void a_session_token_belongs_to_no_key(void **state)
{
    (void)state;
    struct keys *keys = keys_new();
    char *ids[] = {key_a};
    uint8_t key[SIGV4_KEY_BYTES];
    char principal[SIGV4_PRINCIPAL_BYTES] = "";
    assert_int_equal(keys_take(keys, &answer(3, today_ms, 1, ids)->reply), STATUS_OK);
    assert_int_equal(keys_signing_key(key_a, "19700111", bytes_of("t", 1), key, principal, keys),
                     SIGV4_KEY_UNKNOWN);
    keys_free(keys);
}

static void keys_are_due_with_another_version_and_when_a_day_begins(void **state)
{
    (void)state;
    struct keys *keys = keys_new();
    char *ids[] = {key_a, key_b};
    uint8_t first;
    assert_true(keys_are_due(keys, 0, today_ms));
    assert_int_equal(keys_take(keys, &answer(3, today_ms, 2, ids)->reply), STATUS_OK);
    assert_false(keys_are_due(keys, 3, today_ms));
    assert_true(keys_are_due(keys, 4, today_ms));
    assert_true(keys_are_due(keys, 2, today_ms)); /* restored controllers */
    assert_false(keys_are_due(keys, 3, today_ms + DAY_MS / 2 - 1));
    assert_true(keys_are_due(keys, 3, today_ms + DAY_MS / 2));
    /* Nobody answers: tomorrow's keys are here. */
    assert_int_equal(look(keys, key_a, "19700112", &first), SIGV4_KEY_FOUND);
    assert_int_equal(keys_take(keys, &answer(3, today_ms + DAY_MS, 2, ids)->reply), STATUS_OK);
    assert_false(keys_are_due(keys, 3, today_ms + DAY_MS));
    assert_int_equal(look(keys, key_a, "19700110", &first), SIGV4_KEY_UNAVAILABLE);
    keys_free(keys);
}

static void a_key_that_is_not_in_the_answer_is_unknown_from_then_on(void **state)
{
    (void)state;
    struct keys *keys = keys_new();
    char *both[] = {key_a, key_b}, *one[] = {key_b};
    uint8_t first;
    assert_int_equal(keys_take(keys, &answer(3, today_ms, 2, both)->reply), STATUS_OK);
    assert_int_equal(keys_take(keys, &answer(4, today_ms, 1, one)->reply), STATUS_OK);
    assert_int_equal(look(keys, key_a, "19700111", &first), SIGV4_KEY_UNKNOWN);
    assert_int_equal(look(keys, key_b, "19700111", &first), SIGV4_KEY_FOUND);
    keys_free(keys);
}

static void controllers_without_a_cluster_key_know_no_access_key(void **state)
{
    (void)state;
    struct keys *keys = keys_new();
    char *ids[] = {key_a};
    uint8_t first;
    keys_take_none(keys);
    assert_int_equal(look(keys, key_a, "19700111", &first), SIGV4_KEY_UNKNOWN);
    assert_true(keys_are_due(keys, 0, today_ms));
    /* One controller without it does not take away what another has told. */
    assert_int_equal(keys_take(keys, &answer(1, today_ms, 1, ids)->reply), STATUS_OK);
    keys_take_none(keys);
    assert_int_equal(look(keys, key_a, "19700111", &first), SIGV4_KEY_FOUND);
    keys_free(keys);
}

static void a_malformed_answer_changes_nothing(void **state)
{
    (void)state;
    struct keys *keys = keys_new();
    char *ids[] = {key_a, key_b}, *unsorted[] = {key_b, key_a}, *twice[] = {key_a, key_a};
    char *other[] = {key_c};
    uint8_t first;
    assert_int_equal(keys_take(keys, &answer(3, today_ms, 2, ids)->reply), STATUS_OK);
    assert_int_equal(keys_take(keys, &answer(4, today_ms, 2, unsorted)->reply), STATUS_INVALID);
    assert_int_equal(keys_take(keys, &answer(4, today_ms, 2, twice)->reply), STATUS_INVALID);
    struct answer *a = answer(4, today_ms, 1, other);
    a->day[0][1].key.len = 31;
    assert_int_equal(keys_take(keys, &a->reply), STATUS_INVALID);
    a = answer(4, today_ms, 1, other);
    a->token.key.len = 31;
    assert_int_equal(keys_take(keys, &a->reply), STATUS_INVALID);
    a = answer(4, today_ms, 1, other);
    static char date[] = "197001111";
    a->day[0][0].date = date;
    assert_int_equal(keys_take(keys, &a->reply), STATUS_INVALID);
    assert_int_equal(look(keys, key_a, "19700111", &first), SIGV4_KEY_FOUND);
    assert_int_equal(look(keys, key_c, "19700111", &first), SIGV4_KEY_UNKNOWN);
    assert_false(keys_are_due(keys, 3, today_ms));
    keys_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_found_by_id_and_day),
        cmocka_unit_test(a_session_token_belongs_to_no_key),
        cmocka_unit_test(keys_are_due_with_another_version_and_when_a_day_begins),
        cmocka_unit_test(a_key_that_is_not_in_the_answer_is_unknown_from_then_on),
        cmocka_unit_test(controllers_without_a_cluster_key_know_no_access_key),
        cmocka_unit_test(a_malformed_answer_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
