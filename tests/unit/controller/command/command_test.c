#include "controller/command/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/schema/command.pb-c.h"
#include "tests/unit/controller/command/script.h"

#define THREE_BROKERS                                  \
    "> bootstrap\nOK\n"                                \
    "> broker 1 zone=a\nOK, disk 1\n  v2: brokers 1\n" \
    "> broker 2 zone=b\nOK, disk 1\n  v3: brokers 2\n" \
    "> broker 3 zone=c\nOK, disk 1\n  v4: brokers 3\n"

static int open_script(void **state)
{
    static struct script script;
    script_open(&script);
    *state = &script;
    return 0;
}

static int close_script(void **state)
{
    script_close(*state);
    return 0;
}

static void a_cluster_is_bootstrapped_once(void **state)
{
    script_check(*state, "> create orders\n"
                         "UNAVAILABLE: the cluster has not been bootstrapped yet\n"
                         "> bootstrap cluster=9\nOK\n"
                         "> bootstrap cluster=9\nOK\n"
                         "> bootstrap cluster=8\n"
                         "WRONG_CLUSTER: this is another cluster already\n"
                         "> show\nindex 4 version 1 time 0\n");
}

static void a_broker_registers_with_a_boot_that_rises(void **state)
{
    script_check(*state,
                 "> bootstrap\nOK\n"
                 "> broker 1 boot=5 process=77\nOK, disk 1\n  v2: brokers 1\n"
                 "> broker 1 boot=5 process=77\nOK, disk 1\n"
                 "> broker 1 boot=5 process=78\n"
                 "STALE: boot 5 of broker-1 was another process: the disk was copied or restored; "
                 "format it and start with an empty one\n"
                 "> broker 1 boot=4 process=79\n"
                 "STALE: boot 4 of broker-1 is older than boot 5, which was seen: the disk was "
                 "restored from a copy; format it and start with an empty one\n"
                 "> broker 1 boot=6 process=80 zone=b\nOK, disk 1\n  v3: brokers 1\n"
                 "> show brokers\n"
                 "broker 1 boot 6 disk 1 zone b alive replicas 0 preferred 0\n");
}

static void a_new_disk_is_another_replica_and_nobody_elses(void **state)
{
    script_check(*state,
                 "> bootstrap\nOK\n"
                 "> broker 1 boot=5 disk=11\nOK, disk 1\n  v2: brokers 1\n"
                 "> broker 1 boot=1 disk=12\nOK, disk 2\n  v3: brokers 1\n"
                 "> broker 2 boot=9 disk=12\n"
                 "WRONG_IDENTITY: this disk belongs to broker-1: broker-2 needs a directory of its "
                 "own\n"
                 "> broker 1 boot=5 disk=11\nOK, disk 1\n  v4: brokers 1\n"
                 "> broker 1 boot=4 disk=11\n"
                 "STALE: boot 4 of broker-1 is older than boot 5, which was seen: the disk was "
                 "restored from a copy; format it and start with an empty one\n");
}

static void a_broker_without_zone_port_or_id_is_refused(void **state)
{
    script_check(*state, "> bootstrap\nOK\n"
                         "> broker 0\nINVALID: a broker's id and boot id begin at 1\n"
                         "> broker 1 boot=0\nINVALID: a broker's id and boot id begin at 1\n"
                         "> broker 1 port=0\n"
                         "INVALID: a broker says under which host and port it can be reached\n"
                         "> broker 1 port=65536\n"
                         "INVALID: a broker says under which host and port it can be reached\n"
                         "> broker 1 zone=\n"
                         "INVALID: a zone has 1 to 63 printable characters without spaces\n"
                         "> show brokers\n");
}

static void a_death_of_an_earlier_boot_is_ignored(void **state)
{
    script_check(*state, "> bootstrap\nOK\n"
                         "> broker 1 boot=5\nOK, disk 1\n  v2: brokers 1\n"
                         "> down 1 boot=4\nSTALE: broker-1 has registered again\n"
                         "> down 1 boot=5\nOK\n  v3: brokers 1\n"
                         "> down 1 boot=5\nOK\n"
                         "> down 2 boot=5\nNOT_FOUND: there is no broker-2\n"
                         "> show brokers\n"
                         "broker 1 boot 5 disk 1 zone a dead replicas 0 preferred 0\n"
                         "> broker 1 boot=5\nOK, disk 1\n  v4: brokers 1\n");
}

static void a_stream_is_made_with_its_shards_in_their_first_epoch(void **state)
{
    script_check(*state,
                 THREE_BROKERS "> create orders shards=2 time=5000\n"
                               "OK, stream 1 at version 5\n"
                               "  v5: streams 1 shards 1/0,1/1\n"
                               "> show streams\n"
                               "stream 1 orders CREATING hours 24 shards 2 waiting 2 created 5000\n"
                               "> show shards\n"
                               "shard 1/0 ELECTING epoch 1 cfg 1:1.1,2.1,3.1 prefers 1\n"
                               "shard 1/1 ELECTING epoch 1 cfg 1:2.1,3.1,1.1 prefers 2\n"
                               "> show brokers\n"
                               "broker 1 boot 1 disk 1 zone a alive replicas 2 preferred 1\n"
                               "broker 2 boot 1 disk 1 zone b alive replicas 2 preferred 1\n"
                               "broker 3 boot 1 disk 1 zone c alive replicas 2 preferred 0\n"
                               "> create orders shards=1\n"
                               "EXISTS: there is a stream orders already\n"
                               "> create more time=4000 hours=48\n"
                               "OK, stream 2 at version 6\n"
                               "  v6: streams 2 shards 2/0\n"
                               "> show\nindex 7 version 6 time 5000\n");
}

static void a_bad_stream_is_refused_with_a_sentence(void **state)
{
    char text[1024];
    char name[STREAM_NAME_MAX + 2];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    (void)snprintf(text, sizeof(text),
                   "> create %s\n"
                   "INVALID: a stream's name has 1 to 128 characters of a-z A-Z 0-9 _ . -\n",
                   name);
    script_check(*state, THREE_BROKERS
                 "> create a/b\n"
                 "INVALID: a stream's name has 1 to 128 characters of a-z A-Z 0-9 _ . -\n"
                 "> create\n"
                 "INVALID: a stream's name has 1 to 128 characters of a-z A-Z 0-9 _ . -\n"
                 "> create a.b_c-D9 shards=0\n"
                 "INVALID: a stream has 1 to 10000 shards\n"
                 "> create a.b_c-D9 shards=10001\n"
                 "INVALID: a stream has 1 to 10000 shards\n"
                 "> create a.b_c-D9 hours=8761\n"
                 "INVALID: records are kept for 1 to 8760 hours\n"
                 "> retention a.b_c-D9 hours=0\n"
                 "INVALID: records are kept for 1 to 8760 hours\n"
                 "> retention a.b_c-D9 hours=30\n"
                 "NOT_FOUND: there is no stream a.b_c-D9\n"
                 "> delete a.b_c-D9\n"
                 "NOT_FOUND: there is no stream a.b_c-D9\n"
                 "> show streams\n");
    script_check(*state, text);
}

static void a_stream_needs_three_brokers_alive_in_three_zones(void **state)
{
    script_check(*state,
                 "> bootstrap\nOK\n"
                 "> broker 1 zone=a\nOK, disk 1\n  v2: brokers 1\n"
                 "> broker 2 zone=b\nOK, disk 1\n  v3: brokers 2\n"
                 "> broker 3 zone=c\nOK, disk 1\n  v4: brokers 3\n"
                 "> broker 4 zone=b\nOK, disk 1\n  v5: brokers 4\n"
                 "> down 3\nOK\n  v6: brokers 3\n"
                 "> create x\n"
                 "PLACEMENT: 3 replicas need brokers in 3 zones; alive brokers are in: a, b\n"
                 "> create x fewer=1\nOK, stream 1 at version 7\n  v7: streams 1 shards 1/0\n"
                 "> show shards\n"
                 "shard 1/0 ELECTING epoch 1 cfg 1:1.1,2.1,4.1 prefers 1\n"
                 "> down 4\nOK\n  v8: brokers 4\n"
                 "> create y fewer=1\n"
                 "PLACEMENT: 3 replicas need 3 brokers; 2 are alive, in zones: a, b\n");
}

static void an_election_moves_only_along_its_epochs(void **state)
{
    script_check(*state, THREE_BROKERS
                 "> create s shards=2\nOK, stream 1 at version 5\n  v5: streams 1 shards 1/0,1/1\n"
                 "> active 1/0 epoch=2\nOK\n"
                 "> active 1/0 epoch=1 leader=4\nOK\n"
                 "> active 1/0 epoch=1 cfg=2:1.1,2.1,3.1\nOK\n"
                 "> active 1/0 epoch=1 leader=2 boot=9\nOK\n  v6: streams 1 shards 1/0\n"
                 "> active 1/0 epoch=1 leader=3 boot=9\nOK\n"
                 "> electing 1/0 epoch=1\nOK\n"
                 "> stable 1/0 epoch=1\nOK\n"
                 "> show shards\n"
                 "shard 1/0 ACTIVE epoch 1 leader 2.1 boot 9 cfg 1:1.1,2.1,3.1 prefers 1\n"
                 "shard 1/1 ELECTING epoch 1 cfg 1:2.1,3.1,1.1 prefers 2\n"
                 "> electing 1/0 epoch=7\nOK\n  v7: shards 1/0\n"
                 "> electing 1/0 epoch=6\nOK\n"
                 "> electing 1/1 epoch=2\nOK\n  v8: shards 1/1\n"
                 "> active 1/1 epoch=1 cfg=1:2.1,3.1,1.1\nOK\n"
                 "> active 1/1 epoch=2 leader=1 cfg=1:2.1,3.1,1.1\nOK\n  v9: streams 1 shards 1/1\n"
                 "> electing 3/1 epoch=2\nOK\n"
                 "> show shards\n"
                 "shard 1/0 ELECTING epoch 7 cfg 1:1.1,2.1,3.1 prefers 1\n"
                 "shard 1/1 ACTIVE epoch 2 leader 1.1 boot 1 cfg 1:2.1,3.1,1.1 prefers 2\n"
                 "> show streams\n"
                 "stream 1 s ACTIVE hours 24 shards 2 waiting 0 created 0\n");
}

static void a_replica_that_has_reported_is_made_once_and_for_all(void **state)
{
    script_check(*state, THREE_BROKERS
                 "> create s\nOK, stream 1 at version 5\n  v5: streams 1 shards 1/0\n"
                 "> active 1/0 epoch=1 leader=1 made=1.1,2.1,9.9\nOK\n  v6: streams 1 shards 1/0\n"
                 "> show shards\n"
                 "shard 1/0 ACTIVE epoch 1 leader 1.1 boot 1 cfg 1:1.1!,2.1!,3.1 prefers 1\n"
                 "> made 1/0 replica=3.2\nOK\n"
                 "> made 1/0 replica=3.1\nOK\n  v7: shards 1/0\n"
                 "> made 1/0 replica=3.1\nOK\n"
                 "> electing 1/0 epoch=2\nOK\n  v8: shards 1/0\n"
                 "> active 1/0 epoch=2 leader=2\nOK\n  v9: shards 1/0\n"
                 "> show shards\n"
                 "shard 1/0 ACTIVE epoch 2 leader 2.1 boot 1 cfg 1:1.1!,2.1!,3.1! prefers 1\n");
}

static void the_commands_of_an_entry_see_each_other_and_share_a_version(void **state)
{
    script_check(*state, THREE_BROKERS ">> create s\n"
                                       ">> create s\n"
                                       ">> delete t\n"
                                       "> active 1/0 epoch=1\n"
                                       "OK, stream 1 at version 5\n"
                                       "EXISTS: there is a stream s already\n"
                                       "NOT_FOUND: there is no stream t\n"
                                       "OK\n"
                                       "  v5: streams 1 shards 1/0\n"
                                       "> show streams\n"
                                       "stream 1 s ACTIVE hours 24 shards 1 waiting 0 created 0\n");
}

static void a_deleted_stream_goes_when_the_living_have_dropped_it(void **state)
{
    script_check(*state, THREE_BROKERS
                 "> create s shards=2\nOK, stream 1 at version 5\n  v5: streams 1 shards 1/0,1/1\n"
                 "> active 1/0 epoch=1\nOK\n  v6: streams 1 shards 1/0\n"
                 "> delete s\nOK, stream 1 at version 7\n  v7: streams 1 shards 1/0,1/1 drops\n"
                 "> delete s\nBUSY: stream s is being deleted already\n"
                 "> create s\nEXISTS: stream s is still being deleted\n"
                 "> retention s hours=30\nNOT_FOUND: there is no stream s\n"
                 "> electing 1/0 epoch=9\nOK\n"
                 "> active 1/1 epoch=1\nOK\n"
                 "> show shards\n"
                 "shard 1/0 DELETED epoch 1 cfg 1:1.1,2.1,3.1 prefers 1\n"
                 "shard 1/1 DELETED epoch 1 cfg 1:2.1,3.1,1.1 prefers 2\n"
                 "> show brokers\n"
                 "broker 1 boot 1 disk 1 zone a alive replicas 0 preferred 0\n"
                 "broker 2 boot 1 disk 1 zone b alive replicas 0 preferred 0\n"
                 "broker 3 boot 1 disk 1 zone c alive replicas 0 preferred 0\n"
                 "> dropped 1 1/0 1/1\nOK\n  v7: drops\n"
                 "> dropped 1 1/0 1/1\nOK\n"
                 "> dropped 2 1/0\nOK\n  v7: drops\n"
                 "> show drops\n"
                 "broker 2 owes  1/1\n"
                 "broker 3 owes  1/0,1/1\n"
                 "> down 3\nOK\n  v8: brokers 3\n"
                 "> dropped 2 1/1\nOK\n  v9: gone 1 drops\n"
                 "> show streams\n"
                 "> show shards\n"
                 "> show drops\n"
                 "broker 3 owes  1/0,1/1\n"
                 "> broker 3 zone=c boot=2\nOK, disk 1\n  v10: brokers 3\n"
                 "> create s\nOK, stream 2 at version 11\n  v11: streams 2 shards 2/0\n"
                 "> dropped 3 1/0 1/1\nOK\n  v11: drops\n"
                 "> show drops\n");
}

static void a_death_finishes_a_deletion_that_waited_for_it(void **state)
{
    script_check(*state, THREE_BROKERS
                 "> create s\nOK, stream 1 at version 5\n  v5: streams 1 shards 1/0\n"
                 "> delete s\nOK, stream 1 at version 6\n  v6: streams 1 shards 1/0 drops\n"
                 "> dropped 1 1/0\nOK\n  v6: drops\n"
                 "> dropped 2 1/0\nOK\n  v6: drops\n"
                 "> down 3\nOK\n  v7: brokers 3 gone 1\n"
                 "> show streams\n");
}

static void a_repeated_request_gets_its_first_result(void **state)
{
    script_check(*state, THREE_BROKERS
                 "> create s request=7\nOK, stream 1 at version 5\n  v5: streams 1 shards 1/0\n"
                 "> create s request=7\nOK, stream 1 at version 5\n"
                 "> create s request=8\nEXISTS: there is a stream s already\n"
                 "> delete s request=9\nOK, stream 1 at version 6\n"
                 "  v6: streams 1 shards 1/0 drops\n"
                 "> delete s request=9\nOK, stream 1 at version 6\n"
                 "> create s request=8\nEXISTS: there is a stream s already\n"
                 "> producers request=10\nOK, 1048576 from 1\n"
                 "> restart\n"
                 "> producers request=10\nOK, 1048576 from 1\n"
                 "> producers request=11\nOK, 1048576 from 1048577\n"
                 "> producers count=0\n"
                 "INVALID: producer ids come in blocks of 1 to 1048576\n");
}

static void a_result_is_forgotten_after_a_day(void **state)
{
    script_check(*state, "> bootstrap\nOK\n"
                         "> producers request=1 time=1000\nOK, 1048576 from 1\n"
                         "> producers request=1 time=86401000\nOK, 1048576 from 1\n"
                         "> producers request=2 time=86401000\nOK, 1048576 from 1048577\n"
                         "> producers request=1 time=86401000\nOK, 1048576 from 1\n"
                         "> producers request=3 time=86401001\nOK, 1048576 from 2097153\n"
                         "> producers request=1 time=86401001\nOK, 1048576 from 3145729\n");
}

static const char long_script[] =
    "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n> broker 3 zone=c\n> broker 4 zone=a\n"
    ">> create s shards=7 request=3 time=777\n> create t shards=3\n> active 1/0 epoch=1\n"
    "> electing 1/0 epoch=4\n> down 2\n> delete t\n> dropped 1 2/0 2/1\n> broker 2 boot=3 zone=d\n"
    "> create u shards=40 request=4\n> producers request=5\n> retention s hours=99\n"
    "> show brokers\n> show shards\n> show streams\n> show drops\n> show\n";

static void the_same_log_gives_the_same_rows_and_state_hash(void **state)
{
    struct script *first = *state;
    struct script second;
    script_open(&second);
    assert_string_equal(script_run(first, long_script), script_run(&second, long_script));
    assert_true(db_meta(first->db)->state_hash == db_meta(second.db)->state_hash);
    assert_true(db_meta(first->db)->state_hash != 0);
    script_run(&second, "> retention s hours=98\n");
    script_run(first, "> retention s hours=97\n");
    assert_true(db_meta(first->db)->state_hash != db_meta(second.db)->state_hash);
    script_close(&second);
}

static void an_entry_that_was_applied_is_skipped(void **state)
{
    struct script *script = *state;
    script_run(script, "> bootstrap\n> producers\n");
    struct db_meta before = *db_meta(script->db);
    script_restart(script);
    assert_int_equal(before.applied_index, 2);
    struct command_results results = {.count = 9};
    assert_int_equal(command_apply(script->db, 2, bytes_of("junk", 4), &results, NULL), STATUS_OK);
    assert_int_equal(results.count, 0);
    assert_memory_equal(&before, db_meta(script->db), sizeof(before));
}

static void what_is_not_a_command_stops_the_controller(void **state)
{
    struct script *script = *state;
    struct command_results results;
    struct error error;
    assert_int_equal(command_apply(script->db, 1, bytes_of("junk", 4), &results, &error),
                     STATUS_CORRUPT);
    assert_string_equal(error.text, "entry 1 is not a list of commands");
    /* A list of one command without a kind that we know: field 1, one empty message. */
    assert_int_equal(command_apply(script->db, 1, bytes_of("\x0a\x00", 2), &results, &error),
                     STATUS_UNSUPPORTED);
    assert_int_equal(db_meta(script->db)->applied_index, 0);
}

/* Whoever skipped it would come to differ from those that know it. */
static void a_field_of_a_newer_version_stops_the_controller(void **state)
{
    struct script *script = *state;
    uint8_t cluster[CLUSTER_ID_BYTES] = {1}, entry[128] = {0x0a}, *at = entry + 2;
    Weir__CmdBootstrap bootstrap;
    Weir__Command command;
    weir__cmd_bootstrap__init(&bootstrap);
    weir__command__init(&command);
    bootstrap.cluster = (ProtobufCBinaryData){.len = sizeof(cluster), .data = cluster};
    command.kind_case = WEIR__COMMAND__KIND_BOOTSTRAP;
    command.bootstrap = &bootstrap;
    assert_true(command_is_known(&command.base));
    at += weir__command__pack(&command, at);
    struct command_results results;
    struct error error = {0};
    for (int newer = 1; newer >= 0; newer--) {
        /* Field 2047, a number: inside of the bootstrap message, which is the last of the command.
         */
        static const uint8_t field[] = {0xf8, 0x7f, 1};
        size_t size = (size_t)(at - entry) - 2;
        uint8_t copy[sizeof(entry)];
        memcpy(copy, entry, sizeof(entry));
        if (newer != 0) {
            assert_int_equal(copy[3], size - 2); /* of the bootstrap message */
            memcpy(copy + 2 + size, field, sizeof(field));
            copy[3] = (uint8_t)(copy[3] + sizeof(field));
            size += sizeof(field);
        }
        copy[1] = (uint8_t)size;
        enum status status =
            command_apply(script->db, 1, bytes_of(copy, size + 2), &results, &error);
        assert_int_equal(status, newer != 0 ? STATUS_UNSUPPORTED : STATUS_OK);
        assert_int_equal(db_meta(script->db)->applied_index, newer != 0 ? 0 : 1);
    }
    assert_non_null(strstr(error.text, "newer Weir"));
    command_results_release(&results);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_script, close_script)
    const struct CMUnitTest tests[] = {
        TEST(a_field_of_a_newer_version_stops_the_controller),
        TEST(a_cluster_is_bootstrapped_once),
        TEST(a_broker_registers_with_a_boot_that_rises),
        TEST(a_new_disk_is_another_replica_and_nobody_elses),
        TEST(a_broker_without_zone_port_or_id_is_refused),
        TEST(a_death_of_an_earlier_boot_is_ignored),
        TEST(a_stream_is_made_with_its_shards_in_their_first_epoch),
        TEST(a_bad_stream_is_refused_with_a_sentence),
        TEST(a_stream_needs_three_brokers_alive_in_three_zones),
        TEST(an_election_moves_only_along_its_epochs),
        TEST(a_replica_that_has_reported_is_made_once_and_for_all),
        TEST(the_commands_of_an_entry_see_each_other_and_share_a_version),
        TEST(a_deleted_stream_goes_when_the_living_have_dropped_it),
        TEST(a_death_finishes_a_deletion_that_waited_for_it),
        TEST(a_repeated_request_gets_its_first_result),
        TEST(a_result_is_forgotten_after_a_day),
        TEST(the_same_log_gives_the_same_rows_and_state_hash),
        TEST(an_entry_that_was_applied_is_skipped),
        TEST(what_is_not_a_command_stops_the_controller),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
