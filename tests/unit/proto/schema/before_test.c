/* Messages of the version before: what they do not say has the meaning that it had before anybody
 * could say it; and what they do not know does not hinder them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/rpc/rpc.h"
#include "proto/schema/control.pb-c.h"
#include "proto/schema/data.pb-c.h"
#include "proto/schema/repair.pb-c.h"

/* Field `number` as a varint below 128, as any writer puts it. */
static size_t field(uint8_t *to, unsigned number, uint8_t value)
{
    size_t n = 0;
    unsigned key = number << 3;
    if (key > 127) {
        to[n++] = (uint8_t)((key & 127) | 128);
        key >>= 7;
    }
    to[n++] = (uint8_t)key;
    to[n++] = value;
    return n;
}

static void a_report_without_holes_is_one_of_a_whole_log(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = field(bytes, 1, 9);
    n += field(bytes + n, 2, 4);
    n += field(bytes + n, 3, 1);
    n += field(bytes + n, 4, 1);
    n += field(bytes + n, 8, 77);
    Weir__ReportShard *report = weir__report_shard__unpack(NULL, n, bytes);
    assert_non_null(report);
    assert_true(report->ok && report->certain);
    assert_int_equal(report->end, 77);
    assert_int_equal(report->holes, 0);
    assert_int_equal(report->holes_begin, 0);
    assert_int_equal(report->holes_end, 0);
    weir__report_shard__free_unpacked(report, NULL);
}

/* No promise: then nothing is told to a core that waits to hear that something never was there. */
static void repair_data_of_before_says_nothing_of_what_is_absent(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = field(bytes, 1, 20);
    n += field(bytes + n, 2, 40);
    n += field(bytes + n, 3, 3);
    Weir__RepairData *data = weir__repair_data__unpack(NULL, n, bytes);
    assert_non_null(data);
    assert_int_equal(data->end, 40);
    assert_int_equal(data->promised, 0);
    assert_int_equal(data->disk_gen, 0);
    assert_false(data->absent || data->gone);
    assert_int_equal(data->gone_epoch, 0);
    assert_int_equal(data->log_start, 0);
    weir__repair_data__free_unpacked(data, NULL);
}

/* 0 is what nobody writes who says it (broker/server/receive.c). */
static void an_answer_of_before_does_not_say_what_it_heard(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = field(bytes, 1, 9);
    n += field(bytes + n, 2, 1);
    n += field(bytes + n, 4, 12);
    Weir__ShardAnswer *answer = weir__shard_answer__unpack(NULL, n, bytes);
    assert_non_null(answer);
    assert_true(answer->ok);
    assert_int_equal(answer->end, 12);
    assert_int_equal(answer->heard, 0);
    weir__shard_answer__free_unpacked(answer, NULL);
}

static void appends_puts_and_beats_of_before_ask_for_nothing_new(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = field(bytes, 1, 9);
    Weir__ShardAppend *append = weir__shard_append__unpack(NULL, n, bytes);
    Weir__Put *put = weir__put__unpack(NULL, n, bytes);
    Weir__BrokerBeat *beat = weir__broker_beat__unpack(NULL, n, bytes);
    Weir__Pong *pong = weir__pong__unpack(NULL, n, bytes);
    Weir__ReadReply *read = weir__read_reply__unpack(NULL, n, bytes);
    if (append == NULL || put == NULL || beat == NULL || pong == NULL || read == NULL) {
        fail();
        return;
    }
    assert_false(append->header_only);
    assert_false(put->keeps);
    assert_int_equal(beat->unfit, 0); /* it may lead */
    assert_int_equal(pong->sync_us, 0);
    assert_false(read->tip); /* nobody confirmed it */
    weir__shard_append__free_unpacked(append, NULL);
    weir__put__free_unpacked(put, NULL);
    weir__broker_beat__free_unpacked(beat, NULL);
    weir__pong__free_unpacked(pong, NULL);
    weir__read_reply__free_unpacked(read, NULL);
}

/* As the version before meets what this one says. */
static void a_field_that_nobody_here_knows_changes_nothing(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = field(bytes, 1, 9);
    n += field(bytes + n, 900, 55);
    n += field(bytes + n, 8, 77);
    Weir__ReportShard *report = weir__report_shard__unpack(NULL, n, bytes);
    assert_non_null(report);
    assert_int_equal(report->shard, 9);
    assert_int_equal(report->end, 77);
    weir__report_shard__free_unpacked(report, NULL);
}

/* … which is what makes a leader ask for SHARD_STATUS instead (broker/server/tips.c). */
static void a_method_that_is_not_known_is_told_to_be_unsupported(void **state)
{
    (void)state;
    assert_int_equal(rpc_method_check(65000, RPC_CALL, RPC_ROLE_BROKER, RPC_ROLE_BROKER),
                     STATUS_UNSUPPORTED);
    assert_int_equal(rpc_method_check(RPC_CONFIRM, RPC_CALL, RPC_ROLE_BROKER, RPC_ROLE_BROKER),
                     STATUS_OK);
    assert_int_equal(rpc_method_check(RPC_SHARD_STATUS, RPC_CALL, RPC_ROLE_BROKER, RPC_ROLE_BROKER),
                     STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_without_holes_is_one_of_a_whole_log),
        cmocka_unit_test(repair_data_of_before_says_nothing_of_what_is_absent),
        cmocka_unit_test(an_answer_of_before_does_not_say_what_it_heard),
        cmocka_unit_test(appends_puts_and_beats_of_before_ask_for_nothing_new),
        cmocka_unit_test(a_field_that_nobody_here_knows_changes_nothing),
        cmocka_unit_test(a_method_that_is_not_known_is_told_to_be_unsupported),
    };
    return cmocka_run_group_tests_name("proto/schema/before", tests, NULL, NULL);
}
