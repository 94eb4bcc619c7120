/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>

#include "proto/rpc/calls.h"
#include "proto/rpc/rpc.h"

static const struct {
    unsigned number;
    const char *name;
} listed[] = {
#define X(number, NAME, kind, from, to, what) {(number), #NAME},
    RPC_METHODS(X)
#undef X
};

enum { LISTED = sizeof(listed) / sizeof(listed[0]) };

static void every_method_has_its_name_and_a_number_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < LISTED; i++) {
        assert_string_equal(rpc_method_name(listed[i].number), listed[i].name);
    }
    assert_null(rpc_method_name(0));
    assert_null(rpc_method_name(9));
    assert_null(rpc_method_name(65535));
}

static void roles_may_do_what_the_table_says_and_nothing_else(void **state)
{
    (void)state;
    const enum rpc_role controller = RPC_ROLE_CONTROLLER, broker = RPC_ROLE_BROKER;
    assert_int_equal(rpc_method_check(RPC_PUT, RPC_CALL, RPC_ROLE_USER, broker), STATUS_OK);
    assert_int_equal(rpc_method_check(RPC_PUT, RPC_CALL, RPC_ROLE_USER, controller), STATUS_DENIED);
    assert_int_equal(rpc_method_check(RPC_PUT, RPC_CALL, controller, broker), STATUS_DENIED);
    assert_int_equal(rpc_method_check(RPC_PUT, RPC_MESSAGE, broker, broker), STATUS_INVALID);
    assert_int_equal(rpc_method_check(RPC_FENCE, RPC_MESSAGE, broker, broker), STATUS_DENIED);
    assert_int_equal(rpc_method_check(RPC_FENCE, RPC_MESSAGE, controller, broker), STATUS_OK);
    assert_int_equal(rpc_method_check(RPC_APPEND, RPC_MESSAGE, controller, broker), STATUS_DENIED);
    assert_int_equal(rpc_method_check(RPC_RAFT, RPC_MESSAGE, broker, controller), STATUS_DENIED);
    assert_int_equal(rpc_method_check(RPC_RAFT, RPC_MESSAGE, RPC_ROLE_ADMIN, controller),
                     STATUS_DENIED);
    assert_int_equal(rpc_method_check(12345, RPC_CALL, broker, broker), STATUS_UNSUPPORTED);
    assert_int_equal(rpc_method_check(0, RPC_CALL, broker, broker), STATUS_UNSUPPORTED);
}

static void an_identity_is_cluster_role_and_name(void **state)
{
    (void)state;
    struct rpc_identity identity;
    char text[CLUSTER_ID_TEXT_BYTES];
    assert_int_equal(
        rpc_identity_parse("spiffe://01234567-89AB-cdef-0123-456789abcdef/broker/broker-12",
                           &identity),
        STATUS_OK);
    assert_int_equal(identity.role, RPC_ROLE_BROKER);
    assert_int_equal(identity.id, 12);
    assert_string_equal(identity.name, "broker-12");
    rpc_cluster_id_format(identity.cluster, text);
    assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
    assert_int_equal(
        rpc_identity_parse("spiffe://01234567-89ab-cdef-0123-456789abcdef/user/app-7", &identity),
        STATUS_OK);
    assert_int_equal(identity.role, RPC_ROLE_USER);
    assert_int_equal(identity.id, 0);
}

#define CLUSTER "01234567-89ab-cdef-0123-456789abcdef"

static void other_uris_are_no_identities(void **state)
{
    (void)state;
    static const char *const uris[] = {
        "",
        "spiffe://",
        "http://" CLUSTER "/broker/broker-1",
        "spiffe://" CLUSTER,
        "spiffe://" CLUSTER "/",
        "spiffe://" CLUSTER "/broker",
        "spiffe://" CLUSTER "/broker/",
        "spiffe://" CLUSTER "/broker/broker",
        "spiffe://" CLUSTER "/broker/broker-",
        "spiffe://" CLUSTER "/broker/broker-0",
        "spiffe://" CLUSTER "/broker/broker-01",
        "spiffe://" CLUSTER "/broker/broker-1x",
        "spiffe://" CLUSTER "/broker/broker-4294967296",
        "spiffe://" CLUSTER "/broker/controller-1",
        "spiffe://" CLUSTER "/broker/broker-1/x",
        "spiffe://" CLUSTER "/king/king-1",
        "spiffe://" CLUSTER "/averylongrolename/x",
        "spiffe://" CLUSTER "/user/with space",
        "spiffe://" CLUSTER
        "/user/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "spiffe://01234567-89ab-cdef-0123-456789abcde/broker/broker-1",
        "spiffe://01234567-89ab-cdef-0123-456789abcdeg/broker/broker-1",
        "spiffe://0123456789abcdef0123456789abcdef----/broker/broker-1",
    };
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        struct rpc_identity identity = {.id = 99};
        assert_int_equal(rpc_identity_parse(uris[i], &identity), STATUS_INVALID);
        assert_int_equal(identity.id, 99);
    }
}

static void roles_have_names(void **state)
{
    (void)state;
    static const enum rpc_role roles[] = {RPC_ROLE_CONTROLLER, RPC_ROLE_BROKER, RPC_ROLE_ADMIN,
                                          RPC_ROLE_USER};
    for (size_t i = 0; i < 4; i++) {
        enum rpc_role role;
        assert_int_equal(rpc_role_parse(rpc_role_name(roles[i]), &role), STATUS_OK);
        assert_int_equal(role, roles[i]);
    }
    enum rpc_role role;
    assert_int_equal(rpc_role_parse("root", &role), STATUS_INVALID);
}

static void a_reply_finds_its_call_and_a_late_one_finds_none(void **state)
{
    (void)state;
    struct rpc_calls calls = {0};
    int owners[SESSION_CALLS_MAX];
    uint64_t ids[SESSION_CALLS_MAX], id;
    for (size_t i = 0; i < SESSION_CALLS_MAX; i++) {
        assert_int_equal(rpc_calls_add(&calls, &owners[i], &ids[i]), STATUS_OK);
        assert_true(ids[i] != 0);
    }
    assert_int_equal(rpc_calls_add(&calls, &id, &id), STATUS_BUSY);
    for (size_t i = 0; i < SESSION_CALLS_MAX; i += 2) {
        assert_ptr_equal(rpc_calls_find(&calls, ids[i]), &owners[i]);
        assert_ptr_equal(rpc_calls_take(&calls, ids[i]), &owners[i]);
        assert_null(rpc_calls_take(&calls, ids[i]));
    }
    assert_int_equal(rpc_calls_add(&calls, &owners[0], &id), STATUS_OK);
    for (size_t i = 0; i < SESSION_CALLS_MAX; i += 2) {
        assert_null(rpc_calls_find(&calls, ids[i])); /* though its slot is in use again */
    }
    assert_null(rpc_calls_find(&calls, 0));
    assert_null(rpc_calls_find(&calls, UINT64_MAX));
    unsigned left = 0;
    while (rpc_calls_take_any(&calls) != NULL) {
        left++;
    }
    assert_int_equal(left, SESSION_CALLS_MAX / 2 + 1);
    assert_int_equal(calls.count, 0);
    rpc_calls_release(&calls);
    assert_null(rpc_calls_find(&calls, ids[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_has_its_name_and_a_number_of_its_own),
        cmocka_unit_test(roles_may_do_what_the_table_says_and_nothing_else),
        cmocka_unit_test(an_identity_is_cluster_role_and_name),
        cmocka_unit_test(other_uris_are_no_identities),
        cmocka_unit_test(roles_have_names),
        cmocka_unit_test(a_reply_finds_its_call_and_a_late_one_finds_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
