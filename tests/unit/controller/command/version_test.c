/* Since when commands and their fields exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/formats.h"
#include "controller/command/command.h"
#include "proto/schema/command.pb-c.h"

static uint32_t version_of_kind(Weir__Command__KindCase kind, ProtobufCMessage *body)
{
    Weir__Command command;
    weir__command__init(&command);
    command.kind_case = kind;
    command.prefer = (Weir__CmdPrefer *)(void *)body; /* the choices share their place */
    return command_version(&command.base);
}

static void a_kind_has_the_version_that_brought_it(void **state)
{
    (void)state;
    Weir__CmdDeleteStream older;
    Weir__CmdPrefer newer;
    Weir__CmdHeldShards held;
    Weir__CmdBalance balance;
    weir__cmd_delete_stream__init(&older);
    weir__cmd_prefer__init(&newer);
    weir__cmd_held_shards__init(&held);
    weir__cmd_balance__init(&balance);
    assert_int_equal(version_of_kind(WEIR__COMMAND__KIND_DELETE_STREAM, &older.base), 1);
    assert_int_equal(version_of_kind(WEIR__COMMAND__KIND_PREFER, &newer.base), 2);
    assert_int_equal(version_of_kind(WEIR__COMMAND__KIND_HELD_SHARDS, &held.base), 2);
    assert_int_equal(version_of_kind(WEIR__COMMAND__KIND_BALANCE, &balance.base), 2);
}

static void a_list_is_as_new_as_its_newest_command(void **state)
{
    (void)state;
    Weir__CmdDeleteStream older;
    Weir__CmdPrefer newer;
    Weir__Command command[2], *commands[] = {&command[0], &command[1]};
    Weir__CommandList list;
    weir__cmd_delete_stream__init(&older);
    weir__cmd_prefer__init(&newer);
    weir__command__init(&command[0]);
    weir__command__init(&command[1]);
    weir__command_list__init(&list);
    command[0].kind_case = command[1].kind_case = WEIR__COMMAND__KIND_DELETE_STREAM;
    command[0].delete_stream = command[1].delete_stream = &older;
    list.commands = commands;
    assert_int_equal(command_version(&list.base), 1);
    list.n_commands = 2;
    assert_int_equal(command_version(&list.base), 1);
    command[1].kind_case = WEIR__COMMAND__KIND_PREFER;
    command[1].prefer = &newer;
    assert_int_equal(command_version(&list.base), 2);
}

static void a_field_that_is_not_set_needs_nobody_to_know_it(void **state)
{
    (void)state;
    Weir__Command command;
    weir__command__init(&command);
    assert_int_equal(command_version(&command.base), 1);
}

/* ---- nobody is forgotten ---- */

enum { MESSAGES_MAX = 200 };

struct schema {
    const ProtobufCMessageDescriptor *seen[MESSAGES_MAX];
    size_t seen_count;
    uint32_t fields, newest, hash;
};

/* All fields that a command of version `up_to` can have, message by message. */
static void walk(struct schema *schema, const ProtobufCMessageDescriptor *message, uint32_t up_to)
{
    for (size_t i = 0; i < schema->seen_count; i++) {
        if (schema->seen[i] == message) {
            return;
        }
    }
    assert_true(schema->seen_count < MESSAGES_MAX);
    schema->seen[schema->seen_count++] = message;
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        uint32_t version = command_field_version(message, field->id);
        schema->newest = version > schema->newest ? version : schema->newest;
        if (version > up_to) {
            continue;
        }
        schema->fields++;
        /* A sum, so that the order of the fields does not matter. */
        uint32_t hash = crc32c(0, message->name, strlen(message->name));
        schema->hash += crc32c(hash, &field->id, sizeof(field->id));
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            walk(schema, field->descriptor, up_to);
        }
    }
}

/* When this fails, a field was added: give it a row in controller/command/version.c with the
 * version that is not released yet (raise FORMAT_COMMAND when there is none, and add a line here).
 * Only the last line changes then. */
static void every_field_of_a_command_has_its_version(void **state)
{
    (void)state;
    static const struct {
        uint32_t fields, hash;
    } versions[] = {
        {248, 0x90d23195},
        {264, 0x327e45ef},
    };
    assert_int_equal(sizeof(versions) / sizeof(versions[0]), FORMAT_COMMAND);
    for (uint32_t version = OLDEST_COMMAND; version <= FORMAT_COMMAND; version++) {
        struct schema schema = {0};
        walk(&schema, &weir__command_list__descriptor, version);
        assert_true(schema.newest <= FORMAT_COMMAND);
        assert_int_equal(schema.fields, versions[version - 1].fields);
        assert_int_equal(schema.hash, versions[version - 1].hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kind_has_the_version_that_brought_it),
        cmocka_unit_test(a_list_is_as_new_as_its_newest_command),
        cmocka_unit_test(a_field_that_is_not_set_needs_nobody_to_know_it),
        cmocka_unit_test(every_field_of_a_command_has_its_version),
    };
    return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
