#include "controller/rpc/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/net/net.h"

/* The Raft node of this test: keeps the last entry. */
static struct {
    enum status answer;
    unsigned submitted;
    size_t commands, bytes;
    struct raft_node_request *request;
} node;

enum status raft_node_submit(struct raft_node *raft, struct bytes entry,
                             struct raft_node_request *request,
                             void (*done)(struct raft_node_request *request, enum status status))
{
    (void)raft;
    if (node.answer != STATUS_OK) {
        return node.answer;
    }
    Weir__CommandList *list = weir__command_list__unpack(NULL, entry.size, entry.data);
    assert_non_null(list);
    node.commands = list->n_commands;
    node.bytes = entry.size;
    node.submitted++;
    node.request = request;
    request->done = done;
    weir__command_list__free_unpacked(list, NULL);
    return STATUS_OK;
}

uint64_t net_clock_us(void)
{
    static uint64_t now_us;
    return now_us += 1000;
}

/* What the node does when an entry is committed: apply, then done. */
static void commit(struct pipeline *pipeline)
{
    struct command_results results = {.count = node.commands};
    results.result = calloc(node.commands + 1, sizeof(*results.result));
    assert_non_null(results.result);
    for (size_t i = 0; i < node.commands; i++) {
        results.result[i].status = STATUS_OK;
        (void)snprintf(results.result[i].text, sizeof(results.result[i].text), "%zu", i);
    }
    pipeline_applied(pipeline, node.request, &results);
    command_results_release(&results);
    node.request->done(node.request, STATUS_OK);
}

enum { WAITING = 600 };
static struct waiting {
    struct pipeline_request request;
    unsigned answers;
    enum status status;
    char text[8];
} waiting[WAITING];

static void done(struct pipeline_request *request, const struct db_result *result)
{
    struct waiting *w = CONTAINER_OF(request, struct waiting, request);
    w->answers++;
    w->status = result->status;
    (void)snprintf(w->text, sizeof(w->text), "%.7s", result->text);
}

static enum status submit(struct pipeline *pipeline, size_t i, uint32_t weight, size_t name_bytes)
{
    Weir__CmdDeleteStream delete;
    weir__cmd_delete_stream__init(&delete);
    char *name = calloc(1, name_bytes + 1);
    assert_non_null(name);
    memset(name, 'x', name_bytes);
    delete.name = name;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_DELETE_STREAM;
    command.delete_stream = &delete;
    enum status status = pipeline_submit(pipeline, &command, weight, &waiting[i].request, done);
    free(name);
    return status;
}

static struct gate gate;

static int setup(void **state)
{
    static struct pipeline pipeline;
    memset(&node, 0, sizeof(node));
    memset(waiting, 0, sizeof(waiting));
    gate_init(&gate, 1);
    pipeline_init(&pipeline, &gate);
    *state = &pipeline;
    return 0;
}

static int teardown(void **state)
{
    pipeline_release(*state);
    return 0;
}

static void what_waits_goes_into_one_entry_and_one_is_in_flight(void **state)
{
    struct pipeline *p = *state;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(submit(p, i, 1, 5), STATUS_OK);
    }
    assert_int_equal(node.submitted, 0);
    pipeline_flush(p);
    assert_int_equal(node.commands, 5);
    assert_int_equal(submit(p, 5, 1, 5), STATUS_OK);
    assert_int_equal(submit(p, 6, 1, 5), STATUS_OK);
    pipeline_flush(p);
    assert_int_equal(node.submitted, 1);
    commit(p);
    assert_int_equal(node.submitted, 2); /* without waiting for the end of the turn */
    assert_int_equal(node.commands, 2);
    for (size_t i = 0; i < 5; i++) {
        char text[8];
        (void)snprintf(text, sizeof(text), "%zu", i);
        assert_int_equal(waiting[i].answers, 1);
        assert_string_equal(waiting[i].text, text);
    }
    assert_int_equal(waiting[5].answers, 0);
    commit(p);
    assert_string_equal(waiting[6].text, "1");
}

static void an_entry_has_its_limits(void **state)
{
    struct pipeline *p = *state;
    for (size_t i = 0; i < 520; i++) {
        assert_int_equal(submit(p, i, 1, 5), STATUS_OK);
    }
    pipeline_flush(p);
    assert_int_equal(node.commands, COMMAND_ENTRY_COMMANDS_MAX);
    commit(p);
    assert_int_equal(node.commands, 8);
    commit(p);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(submit(p, i, 6000, 5), STATUS_OK);
    }
    pipeline_flush(p);
    assert_int_equal(node.commands, 1); /* two would be too many rows */
    commit(p);
    commit(p);
    commit(p);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(submit(p, i, 1, 500000), STATUS_OK);
    }
    pipeline_flush(p);
    assert_int_equal(node.commands, 2);
    assert_true(node.bytes <= COMMAND_ENTRY_BYTES_MAX);
    commit(p);
    commit(p);
    assert_int_equal(submit(p, 0, 1, COMMAND_ENTRY_BYTES_MAX), STATUS_TOO_LARGE);
}

static void lost_leadership_leaves_the_flying_uncertain_and_refuses_the_waiting(void **state)
{
    struct pipeline *p = *state;
    assert_int_equal(submit(p, 0, 1, 5), STATUS_OK);
    pipeline_flush(p);
    assert_int_equal(submit(p, 1, 1, 5), STATUS_OK);
    pipeline_refuse(p, STATUS_NOT_ACTIVE, "no");
    assert_int_equal(waiting[0].answers, 0);
    assert_int_equal(waiting[1].status, STATUS_NOT_ACTIVE);
    node.request->done(node.request, STATUS_UNCERTAIN);
    assert_int_equal(waiting[0].status, STATUS_UNCERTAIN);
    assert_int_equal(node.submitted, 1);
}

static void a_node_that_refuses_an_entry_refuses_its_commands(void **state)
{
    struct pipeline *p = *state;
    node.answer = STATUS_NOT_ACTIVE;
    assert_int_equal(submit(p, 0, 1, 5), STATUS_OK);
    assert_int_equal(submit(p, 1, 1, 5), STATUS_OK);
    pipeline_flush(p);
    assert_int_equal(waiting[0].status, STATUS_NOT_ACTIVE);
    assert_int_equal(waiting[1].status, STATUS_NOT_ACTIVE);
    assert_int_equal(waiting[1].answers, 1);
    node.answer = STATUS_OK;
    assert_int_equal(submit(p, 2, 1, 5), STATUS_OK);
    pipeline_flush(p);
    commit(p);
    assert_int_equal(waiting[2].status, STATUS_OK);
}

static void too_many_that_wait_are_told_to_come_later(void **state)
{
    struct pipeline *p = *state;
    p->waiting_count = PIPELINE_WAITING_MAX;
    assert_int_equal(submit(p, 0, 1, 5), STATUS_BUSY);
    p->waiting_count = 0;
    p->waiting_bytes = PIPELINE_WAITING_BYTES_MAX;
    assert_int_equal(submit(p, 0, 1, 5), STATUS_BUSY);
    p->waiting_bytes = 0;
}

static enum status submit_newer(struct pipeline *pipeline)
{
    Weir__CmdPrefer prefer;
    Weir__Command command;
    weir__cmd_prefer__init(&prefer);
    weir__command__init(&command);
    command.kind_case = WEIR__COMMAND__KIND_PREFER;
    command.prefer = &prefer;
    return pipeline_submit(pipeline, &command, 1, &waiting[0].request, done);
}

static void what_a_member_does_not_know_is_not_proposed(void **state)
{
    struct pipeline *p = *state;
    static const uint32_t ids[] = {1, 2};
    gate_follow(&gate, ids, 2);
    assert_int_equal(submit_newer(p), STATUS_UNSUPPORTED);
    assert_int_equal(submit(p, 1, 1, 5), STATUS_OK);
    pipeline_flush(p);
    assert_int_equal(node.commands, 1);
    commit(p);
    gate_heard(&gate, 2, 2);
    assert_int_equal(submit_newer(p), STATUS_OK);
    pipeline_flush(p);
    assert_int_equal(node.submitted, 2);
    commit(p);
    assert_int_equal(waiting[0].answers, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_waits_goes_into_one_entry_and_one_is_in_flight),
        TEST(an_entry_has_its_limits),
        TEST(lost_leadership_leaves_the_flying_uncertain_and_refuses_the_waiting),
        TEST(a_node_that_refuses_an_entry_refuses_its_commands),
        TEST(too_many_that_wait_are_told_to_come_later),
        TEST(what_a_member_does_not_know_is_not_proposed),
    };
    return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
