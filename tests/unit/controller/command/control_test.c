#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/controller/command/control_script.h"

/* A stream "s" that is ACTIVE, at version 6. */
#define ONE_STREAM                                         \
    "> bootstrap\nOK\n"                                    \
    "> broker 1 zone=a\nOK, disk 1\n  v2: brokers 1\n"     \
    "> broker 2 zone=b\nOK, disk 1\n  v3: brokers 2\n"     \
    "> broker 3 zone=c\nOK, disk 1\n  v4: brokers 3\n"     \
    "> make s time=1000000\nOK, CREATING at v5 [stream]\n" \
    "> active 1/0 epoch=1\nOK\n  v6: streams 1 shards 1/0\n"
#define PLAIN "mode 0 record 0 monitoring 0 warm 0 "

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

static void a_change_makes_a_stream_updating_until_it_has_settled(void **state)
{
    control_check(
        *state, ONE_STREAM
        "> control s record kib=2048\nOK, UPDATING at v7 [stream]\n"
        "> attributes 1\nUPDATING mode 0 record 2048 monitoring 0 warm 0 change 1 updating 1\n"
        "> control s record kib=4096\n"
        "IN_USE: Stream s under account 000000000000 not ACTIVE, instead in state UPDATING\n"
        "> settled 1 change=0\nOK\n"
        "> settled 1 change=1\nOK [stream]\n"
        "> settled 1 change=1\nOK\n"
        "> settled 2 change=1\nOK\n"
        "> attributes 1\nACTIVE mode 0 record 2048 monitoring 0 warm 0 change 1 updating 0\n"
        "> control s record kib=2048\nOK, ACTIVE at v9 [stream]\n"
        "> control s record kib=1023\n"
        "VALIDATION: The largest record of a stream is 1024 to 10240 KiB, not 1023.\n"
        "> control s record kib=10241\n"
        "VALIDATION: The largest record of a stream is 1024 to 10240 KiB, not 10241.\n"
        "> restart\n"
        "> attributes 1\nACTIVE mode 0 record 2048 monitoring 0 warm 0 change 1 updating 0\n");
}

static void what_is_not_there_is_not_found(void **state)
{
    control_check(*state, ONE_STREAM
                  "> control t record kib=2048\n"
                  "NOT_FOUND: Stream t under account 000000000000 not found.\n"
                  "> control s record kib=2048 id=2\n"
                  "NOT_FOUND: Stream s under account 000000000000 not found.\n"
                  "> control s deregister consumer=c\n"
                  "NOT_FOUND: Consumer c of stream s under account 000000000000 not found.\n"
                  "> control s record kib=2048 id=1\nOK, UPDATING at v7 [stream]\n");
}

static void retention_goes_the_way_that_was_said(void **state)
{
    control_check(
        *state, ONE_STREAM
        "> control s retention hours=48 direction=1\nOK, UPDATING at v7 [stream]\n"
        "> settled 1 change=9\nOK [stream]\n"
        "> control s retention hours=24 direction=1\n"
        "INVALID: Requested retention period (24 hours) for stream s can not be shorter than existing "
        "retention period (48 hours). Use DecreaseRetentionPeriod API.\n"
        "> control s retention hours=72 direction=2\n"
        "INVALID: Requested retention period (72 hours) for stream s can not be longer than existing "
        "retention period (48 hours). Use IncreaseRetentionPeriod API.\n"
        "> control s retention hours=23 direction=2\n"
        "INVALID: Minimum allowed retention period is 24 hours. Requested retention period (23 hours) "
        "is too short.\n"
        "> control s retention hours=8761 direction=1\n"
        "INVALID: Maximum allowed retention period is 8760 hours. Requested retention period (8761 "
        "hours) is too long.\n"
        "> control s retention hours=24 direction=2\nOK, UPDATING at v9 [stream]\n"
        "> show streams\nstream 1 s UPDATING hours 24 shards 1 waiting 0 created 1000000\n");
}

static void monitoring_answers_what_was_and_what_is(void **state)
{
    control_check(*state, ONE_STREAM "> control s monitoring on=5\n"
                                     "OK, UPDATING at v7, monitoring 0 -> 5 [stream]\n"
                                     "> settled 1 change=1\nOK [stream]\n"
                                     "> control s monitoring off=4\n"
                                     "OK, UPDATING at v9, monitoring 5 -> 1 [stream]\n"
                                     "> settled 1 change=2\nOK [stream]\n"
                                     "> control s monitoring on=127\n"
                                     "OK, UPDATING at v11, monitoring 1 -> 127 [stream]\n"
                                     "> settled 1 change=3\nOK [stream]\n"
                                     "> control s monitoring on=255\n"
                                     "OK, ACTIVE at v13 [stream]\n");
}

static void consumers_come_and_go(void **state)
{
    control_check(*state, ONE_STREAM
                  "> control s register consumer=b set=k:v time=2000000\n"
                  "OK, ACTIVE at v7, b:2000 CREATING [stream]\n"
                  "> control s register consumer=a\nOK, ACTIVE at v8, a:2001 CREATING [stream]\n"
                  "> control s register consumer=a\n"
                  "IN_USE: Consumer a of stream s under account 000000000000 already exists.\n"
                  "> settled 1 change=1\nOK [stream]\n"
                  "> attributes 1\nACTIVE " PLAIN "change 2 updating 0\n"
                  "  a:2001 CREATING\n"
                  "  b:2000 ACTIVE tags k:v\n"
                  "> control s deregister consumer=b second=1999\n"
                  "NOT_FOUND: Consumer b of stream s under account 000000000000 not found.\n"
                  "> control s deregister consumer=b second=2000\n"
                  "OK, ACTIVE at v10, b:2000 DELETING [stream]\n"
                  "> control s register consumer=b\n"
                  "IN_USE: Consumer b of stream s under account 000000000000 already exists.\n"
                  "> settled 1 change=3\nOK [stream]\n"
                  "> control s register consumer=b\nOK, ACTIVE at v12, b:2002 CREATING [stream]\n"
                  "> control s register consumer=x/y\n"
                  "INVALID: a stream's name has 1 to 128 characters of a-z A-Z 0-9 _ . -\n"
                  "> attributes 1\nACTIVE " PLAIN "change 4 updating 0\n"
                  "  a:2001 ACTIVE\n"
                  "  b:2002 CREATING\n");
}

static void a_stream_has_so_many_consumers(void **state)
{
    char text[16 * 1024];
    int size = snprintf(text, sizeof(text), "%s", ONE_STREAM);
    for (int i = 0; i < 20; i++) {
        size += snprintf(text + size, sizeof(text) - (size_t)size,
                         "> control s register consumer=c%d\n"
                         "OK, ACTIVE at v%d, c%d:%d CREATING [stream]\n"
                         "> settled 1 change=%d\nOK [stream]\n",
                         i + 100, 7 + 2 * i, i + 100, 1000 + i, i + 1);
    }
    (void)snprintf(
        text + size, sizeof(text) - (size_t)size,
        "> control s register consumer=more\n"
        "LIMIT: Stream s under account 000000000000 has 20 registered consumers, as many "
        "as its limit of 20 allows.\n"
        "> control - commit on=1\nOK [settings]\n"
        "> control s register consumer=m1\nOK, ACTIVE at v48, m1:1020 CREATING [stream]\n"
        "> control s register consumer=m2\nOK, ACTIVE at v49, m2:1021 CREATING [stream]\n"
        "> control s register consumer=m3\nOK, ACTIVE at v50, m3:1022 CREATING [stream]\n"
        "> control s register consumer=m4\nOK, ACTIVE at v51, m4:1023 CREATING [stream]\n"
        "> control s register consumer=m5\nOK, ACTIVE at v52, m5:1024 CREATING [stream]\n"
        "> control s register consumer=m6\n"
        "LIMIT: Stream s under account 000000000000 has 5 consumers in state CREATING; "
        "wait until they are ACTIVE.\n"
        "> control - limits consumers=3\nOK [settings]\n"
        "> settled 1 change=99\nOK [stream]\n"
        "> control s register consumer=m6\n"
        "LIMIT: Stream s under account 000000000000 has 25 registered consumers, as many "
        "as its limit of 3 allows.\n");
    control_check(*state, text);
}

static void a_stream_with_consumers_is_deleted_only_when_that_is_meant(void **state)
{
    control_check(
        *state, ONE_STREAM
        "> control s register consumer=c\nOK, ACTIVE at v7, c:1000 CREATING [stream]\n"
        "> control s delete\n"
        "IN_USE: Stream s under account 000000000000 has registered consumers: deregister "
        "them first, or set EnforceConsumerDeletion.\n"
        "> control s delete enforce=1\nOK, DELETING at v8 [stream]\n"
        "> control s delete enforce=1\n"
        "IN_USE: Stream s under account 000000000000 not ACTIVE, instead in state DELETING\n"
        "> control s tag set=a:1\n"
        "IN_USE: Stream s under account 000000000000 not ACTIVE, instead in state DELETING\n"
        "> dropped 1 1/0\nOK\n  v8: drops\n> dropped 2 1/0\nOK\n  v8: drops\n"
        "> dropped 3 1/0\nOK\n  v9: gone 1 drops\n"
        "> attributes 1\nGONE " PLAIN "change 0 updating 0\n");
}

static void tags_are_kept_by_key(void **state)
{
    control_check(
        *state, ONE_STREAM
        "> control s tag set=b:2,a:1\nOK, ACTIVE at v7 [stream]\n"
        "> control s tag set=c:,b:3 remove=a\nOK, ACTIVE at v8 [stream]\n"
        "> control s tag remove=nobody\nOK, ACTIVE at v9 [stream]\n"
        "> attributes 1\nACTIVE " PLAIN "change 0 updating 0 tags b:3,c:\n"
        "> control s tag set=AWS:x:1\nINVALID: The prefix aws: of tag keys is reserved.\n"
        "> control s tag set=a*b:1\n"
        "INVALID: Some tags contain invalid characters. Valid characters: Unicode letters, digits, "
        "white space, _ . / = + - % @.\n"
        "> control s tag set=\xc3\xa4:\xe2\x82\xac\nOK, ACTIVE at v10 [stream]\n"
        "> control s tag set=48*\n"
        "INVALID: Failed to add tags to stream s under account 000000000000 because a given stream "
        "cannot have more than 50 tags associated with it.\n"
        "> control s tag set=47*\nOK, ACTIVE at v11 [stream]\n"
        "> control s tag set=x:1 remove=c\nOK, ACTIVE at v12 [stream]\n"
        "> attributes 1\nACTIVE " PLAIN
        "change 0 updating 0 tags b:3,t100:t100,t101:t101,t102:t102,t103:t103,... 50\n");
}

static void policies_are_of_streams_and_of_consumers(void **state)
{
    control_check(*state, ONE_STREAM
                  "> control s policy text={}\nOK, ACTIVE at v7 [stream]\n"
                  "> control s register consumer=c\nOK, ACTIVE at v8, c:1000 CREATING [stream]\n"
                  "> control s policy consumer=c text={1}\nOK, ACTIVE at v9 [stream]\n"
                  "> control s tag consumer=c set=a:1\nOK, ACTIVE at v10 [stream]\n"
                  "> control s policy consumer=d text={1}\n"
                  "NOT_FOUND: Consumer d of stream s under account 000000000000 not found.\n"
                  "> attributes 1\nACTIVE " PLAIN "change 1 updating 0 policy {}\n"
                  "  c:1000 CREATING tags a:1 policy {1}\n"
                  "> control s policy\nOK, ACTIVE at v11 [stream]\n"
                  "> control s policy\n"
                  "NOT_FOUND: No resource policy found for stream s under account 000000000000.\n"
                  "> control s policy consumer=c\nOK, ACTIVE at v12 [stream]\n"
                  "> control s policy consumer=c\n"
                  "NOT_FOUND: No resource policy found for consumer c under account 000000000000.\n"
                  "> attributes 1\nACTIVE " PLAIN "change 1 updating 0\n"
                  "  c:1000 CREATING tags a:1\n");
}

static void a_mode_changes_twice_a_day(void **state)
{
    control_check(
        *state, ONE_STREAM
        "> control s mode to=1 time=1000000\nOK, UPDATING at v7 [stream]\n"
        "> settled 1 change=1\nOK [stream]\n"
        "> control s mode to=1\nOK, ACTIVE at v9 [stream]\n"
        "> control s mode to=0 time=2000000\nOK, UPDATING at v10 [stream]\n"
        "> settled 1 change=2\nOK [stream]\n"
        "> control s mode to=1 time=87399999\n"
        "LIMIT: The mode of stream s under account 000000000000 was changed 2 times within 24 "
        "hours; the limit is 2.\n"
        "> control s mode to=1 time=87400000\nOK, UPDATING at v12 [stream]\n"
        "> settled 1 change=3\nOK [stream]\n"
        "> control s mode to=0\n"
        "LIMIT: The mode of stream s under account 000000000000 was changed 2 times within 24 "
        "hours; the limit is 2.\n"
        "> control - limits modes=4294967295\nOK [settings]\n"
        "> control s mode to=0\nOK, UPDATING at v15 [stream]\n"
        "> settled 1 change=4\nOK [stream]\n"
        "> control s mode to=7\nINVALID: A stream's mode is PROVISIONED or ON_DEMAND.\n"
        "> control - limits demand=1\nOK [settings]\n"
        "> make t mode=1\nOK, CREATING at v18 [stream]\n"
        "> control s mode to=1\n"
        "LIMIT: Account 000000000000 has 1 on-demand streams, as many as its limit of 1 "
        "allows.\n");
}

static void warm_throughput_needs_on_demand_and_the_commitment(void **state)
{
    control_check(
        *state, ONE_STREAM
        "> control s warm warm=5\n"
        "VALIDATION: Warm throughput is for streams in ON_DEMAND mode only.\n"
        "> control s mode to=1 warm=5\n"
        "VALIDATION: Warm throughput needs the minimum throughput billing commitment of the "
        "account (UpdateAccountSettings).\n"
        "> control - commit on=1\nOK [settings]\n"
        "> control s mode to=1 warm=10241\n"
        "INVALID: Warm throughput is at most 10240 MiB/s.\n"
        "> control s mode to=1 warm=5\nOK, UPDATING at v8 [stream]\n"
        "> settled 1 change=1\nOK [stream]\n"
        "> control s warm warm=7\nOK, UPDATING at v10 [stream]\n"
        "> settled 1 change=2\nOK [stream]\n"
        "> control s mode to=0\nOK, UPDATING at v12 [stream]\n"
        "> attributes 1\n"
        "UPDATING mode 0 record 0 monitoring 0 warm 0 change 3 updating 3\n");
}

#define K  "00000000-0000-0000-0000-00000000000a"
#define K2 "00000000-0000-0000-0000-00000000000b"
#define TWO_KEYS                                         \
    "> ring create " K " alias=alias/k\nOK [settings]\n" \
    "> ring create " K2 " alias=alias/other\nOK [settings]\n"

static void encryption_starts_and_stops_with_its_key(void **state)
{
    control_check(
        *state, ONE_STREAM TWO_KEYS
        "> control s decrypt key=alias/k\nOK, ACTIVE at v9 [stream]\n"
        "> control s encrypt\nINVALID: A key id has 1 to 2048 characters.\n"
        "> control s encrypt key=alias/k ring=" K2 " version=1\n"
        "BUSY: the key ring has just been changed: retry\n"
        "> control s encrypt key=alias/k ring=" K " version=1\nOK, UPDATING at v10 [stream]\n"
        "> settled 1 change=1\nOK [stream]\n"
        "> control s encrypt key=" K " ring=" K " version=1\nOK, ACTIVE at v12 [stream]\n"
        "> control s decrypt key=alias/other\n"
        "INVALID: Stream s under account 000000000000 is not encrypted with this key.\n"
        "> control s encrypt key=alias/other ring=" K2 " version=1\nOK, UPDATING at v13 [stream]\n"
        "> settled 1 change=2\nOK [stream]\n"
        "> attributes 1\nACTIVE " PLAIN
        "change 2 updating 0 key alias/other data-key 1 data-key 2\n"
        "> control s decrypt key=arn:aws:kms:us-east-1:000000000000:key/" K2 "\n"
        "OK, UPDATING at v15 [stream]\n"
        "> attributes 1\nUPDATING " PLAIN "change 3 updating 3 data-key 1 data-key 2\n"
        "> settled 1 change=3\nOK [stream]\n"
        "> control s encrypt key=arn:aws:kms:us-east-1:000000000000:alias/other ring=" K2
        " version=1\nOK, UPDATING at v17 [stream]\n"
        "> attributes 1\nUPDATING " PLAIN "change 4 updating 4 key "
        "arn:aws:kms:us-east-1:000000000000:alias/other data-key 1 data-key 2\n");
}

static void encryption_wants_a_key_that_may_be_used(void **state)
{
    control_check(
        *state, ONE_STREAM TWO_KEYS
        "> control s encrypt key=alias/none ring=" K " version=1\n"
        "KEY_NOT_FOUND: Key alias/none does not exist: weirctl keyring list shows the keys.\n"
        "> control s encrypt key=arn:aws:kms:us-east-1:000000000001:key/" K " version=1\n"
        "KEY_NOT_FOUND: Key arn:aws:kms:us-east-1:000000000001:key/" K
        " does not exist: weirctl keyring list shows the keys.\n"
        "> ring disable alias/k\nOK [settings]\n"
        "> control s encrypt key=alias/k ring=" K " version=1\n"
        "KEY_DISABLED: Key alias/k is disabled.\n"
        "> ring delete alias/k deletion=9000\nOK [settings]\n"
        "> control s encrypt key=alias/k ring=" K " version=1\n"
        "KEY_STATE: Key alias/k is pending deletion.\n"
        "> ring enable alias/k\n"
        "KEY_STATE: key " K " is pending deletion: cancel that first\n"
        "> ring cancel alias/k\nOK [settings]\n"
        "> ring enable alias/k\nOK [settings]\n"
        "> control s encrypt key=alias/k ring=" K " version=1\nOK, UPDATING at v13 [stream]\n");
}

static void a_rotated_key_gives_its_streams_new_data_keys(void **state)
{
    control_check(*state, ONE_STREAM TWO_KEYS
                  "> control s encrypt key=alias/k ring=" K " version=1\n"
                  "OK, UPDATING at v9 [stream]\n"
                  "> settled 1 change=1\nOK [stream]\n"
                  "> ring rotate alias/k\nOK [settings]\n"
                  "> datakey 1 as=2 ring=" K " version=1\n"
                  "STALE: the stream or the key ring has changed meanwhile\n"
                  "> datakey 1 as=3 ring=" K " version=2\n"
                  "STALE: the stream or the key ring has changed meanwhile\n"
                  "> datakey 1 as=2 ring=" K " version=2\nOK [stream]\n"
                  "> datakey 7 as=2 ring=" K " version=2\nNOT_FOUND: there is no stream 7\n"
                  "> attributes 1\nACTIVE " PLAIN
                  "change 1 updating 0 key alias/k data-key 1 data-key 2/2\n");
}

static void keys_of_the_ring_are_named_and_destroyed(void **state)
{
    control_check(*state,
                  "> bootstrap\nOK\n"
                  "> ring create " K " alias=alias/aws/kinesis\n"
                  "INVALID: names that begin with alias/aws/ are reserved\n"
                  "> ring create " K " alias=alias/aws/kinesis first=1\nOK [settings]\n"
                  "> ring create " K2 " alias=alias/aws/kinesis first=1\n"
                  "EXISTS: the key ring has alias/aws/kinesis already\n"
                  "> ring create " K2 " alias=k\n"
                  "INVALID: an alias is alias/NAME, with 1 to 250 characters of a-z A-Z 0-9 / _ -\n"
                  "> ring create " K2 "\nOK [settings]\n"
                  "> ring alias " K2 " alias=alias/a\nOK [settings]\n"
                  "> ring alias " K " alias=alias/a\nOK [settings]\n"
                  "> ring unalias - alias=alias/a\nOK [settings]\n"
                  "> ring unalias - alias=alias/a\nKEY_NOT_FOUND: the key ring has no alias/a\n"
                  "> ring delete " K " deletion=100\n"
                  "KEY_STATE: key " K
                  " is the cluster's own (alias/aws/kinesis): it can be disabled, not deleted\n"
                  "> ring delete " K2 " deletion=100\nOK [settings]\n"
                  "> ring delete " K2 " gone=1 time=99\nOK\n"
                  "> ring delete " K2 " gone=1 time=100\nOK [settings]\n"
                  "> ring enable " K2 "\nKEY_NOT_FOUND: the key ring has no key " K2 "\n");
}

static void a_new_stream_keeps_to_the_limits_of_the_account(void **state)
{
    control_check(
        *state, ONE_STREAM
        "> make s\nIN_USE: Stream s under account 000000000000 already exists.\n"
        "> make t kib=99\nVALIDATION: The largest record of a stream is 1024 to 10240 KiB, not 99.\n"
        "> make t stream_id=x\nINVALID: a stream id is 20 characters, a dash, 3 more\n"
        "> make t tags=aws:x:1\nINVALID: The prefix aws: of tag keys is reserved.\n"
        "> make t tags=51*\nINVALID: A stream has at most 50 tags.\n"
        "> make t kib=2048 mode=1 tags=a:1 stream_id=abcdefghij0123456789-xyz\n"
        "OK, CREATING at v7 [stream]\n"
        "> attributes 2\nCREATING mode 1 record 2048 monitoring 0 warm 0 change 0 updating 0 id "
        "abcdefghij0123456789-xyz tags a:1\n"
        "> control t record kib=4096\n"
        "IN_USE: Stream t under account 000000000000 not ACTIVE, instead in state CREATING\n"
        "> control - limits shards=4 creating=2\nOK [settings]\n"
        "> make u shards=3\n"
        "LIMIT: This request would exceed the shard limit for the account 000000000000 in us-east-1. "
        "Current shard count for the account: 2. Limit: 4. Number of additional shards that would have "
        "resulted from this request: 3.\n"
        "> make u shards=2\nOK, CREATING at v9 [stream]\n"
        "> make v\nLIMIT: Account 000000000000 has 2 streams in state CREATING; the limit is 2.\n"
        "> make v free=1\nOK, CREATING at v10 [stream]\n");
}

static void a_commitment_lasts_a_day_at_least(void **state)
{
    control_check(
        *state,
        "> bootstrap\nOK\n"
        "> control - commit on=0 time=1000\nOK [settings]\n"
        "> control - commit on=1 time=5000\nOK [settings]\n"
        "> control - commit on=0 time=6000\nOK [settings]\n"
        "> settings\naccount 000000000000 region us-east-1 keys 0 commitment 2 from 5000 to 0 shards 0 "
        "creating 0\n"
        "> control - commit on=1 time=7000\nOK [settings]\n"
        "> settings\naccount 000000000000 region us-east-1 keys 0 commitment 1 from 5000 to 0 shards 0 "
        "creating 0\n"
        "> control - commit on=0 time=86405000\nOK [settings]\n"
        "> settings\naccount 000000000000 region us-east-1 keys 0 commitment 0 from 5000 to 86405000 "
        "shards 0 creating 0\n"
        "> control - commit on=1 time=90000000\nOK [settings]\n"
        "> settings\naccount 000000000000 region us-east-1 keys 0 commitment 1 from 90000000 to 0 "
        "shards 0 creating 0\n");
}

static void access_keys_are_made_switched_and_deleted(void **state)
{
    control_check(
        *state,
        "> bootstrap\nOK\n"
        "> key create WEIRAAAAAAAAAAAAAAAA name=joe request=5\nOK [settings]\n"
        "> key create WEIRZZZZZZZZZZZZZZZZ name=joe request=5\nOK\n"
        "> key create WEIRAAAAAAAAAAAAAAAA name=ann\n"
        "EXISTS: there is an access key WEIRAAAAAAAAAAAAAAAA already\n"
        "> key create weir name=ann\nINVALID: an access key's id or secret is not well formed\n"
        "> key create WEIRBBBBBBBBBBBBBBBB name=a/b\n"
        "INVALID: the name of a key's owner has 1 to 64 characters of a-z A-Z 0-9 _ . - + = , @\n"
        "> key disable WEIRAAAAAAAAAAAAAAAA\nOK [settings]\n"
        "> key disable WEIRAAAAAAAAAAAAAAAA\nOK\n"
        "> keys\nWEIRAAAAAAAAAAAAAAAA joe disabled sealed 8\n"
        "> key enable WEIRAAAAAAAAAAAAAAAA\nOK [settings]\n"
        "> restart\n"
        "> keys\nWEIRAAAAAAAAAAAAAAAA joe enabled sealed 8\n"
        "> key delete WEIRAAAAAAAAAAAAAAAA\nOK [settings]\n"
        "> key delete WEIRAAAAAAAAAAAAAAAA\nNOT_FOUND: there is no access key WEIRAAAAAAAAAAAAAAAA\n"
        "> key enable WEIRAAAAAAAAAAAAAAAA\nNOT_FOUND: there is no access key WEIRAAAAAAAAAAAAAAAA\n"
        "> keys\n"
        "> token first=1\nOK [settings]\n"
        "> token first=1\nEXISTS: there is a token key already\n"
        "> token\nOK [settings]\n"
        "> settings\naccount 000000000000 region us-east-1 keys 6 commitment 0 from 0 to 0 shards 0 "
        "creating 0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_makes_a_stream_updating_until_it_has_settled,
                                        open_script, close_script),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_not_found, open_script, close_script),
        cmocka_unit_test_setup_teardown(retention_goes_the_way_that_was_said, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(monitoring_answers_what_was_and_what_is, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(consumers_come_and_go, open_script, close_script),
        cmocka_unit_test_setup_teardown(a_stream_has_so_many_consumers, open_script, close_script),
        cmocka_unit_test_setup_teardown(a_stream_with_consumers_is_deleted_only_when_that_is_meant,
                                        open_script, close_script),
        cmocka_unit_test_setup_teardown(tags_are_kept_by_key, open_script, close_script),
        cmocka_unit_test_setup_teardown(policies_are_of_streams_and_of_consumers, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(a_mode_changes_twice_a_day, open_script, close_script),
        cmocka_unit_test_setup_teardown(warm_throughput_needs_on_demand_and_the_commitment,
                                        open_script, close_script),
        cmocka_unit_test_setup_teardown(encryption_starts_and_stops_with_its_key, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(encryption_wants_a_key_that_may_be_used, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(a_rotated_key_gives_its_streams_new_data_keys, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(keys_of_the_ring_are_named_and_destroyed, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(a_new_stream_keeps_to_the_limits_of_the_account,
                                        open_script, close_script),
        cmocka_unit_test_setup_teardown(a_commitment_lasts_a_day_at_least, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(access_keys_are_made_switched_and_deleted, open_script,
                                        close_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
