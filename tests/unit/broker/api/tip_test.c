/* Who reads to the end of what a leader has is told whether that is what is newest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/trace.h"
#include "broker/api/api.h"
#include "proto/schema/data.pb-c.h"
#include "tests/unit/broker/api/fake_net.h"
#include "tests/unit/broker/shard/world.h"

struct bench {
    struct world world;
    struct route *route;
    struct api *api;
    bool leads; /* what the others say */
    int asked;
};

static void confirm(void *context, struct api_tip *tip)
{
    struct bench *b = context;
    b->asked++;
    tip->done(tip, b->leads);
}

static void bench_open(struct bench *b)
{
    static const uint8_t cluster[CLUSTER_ID_BYTES];
    *b = (struct bench){.leads = true};
    world_open(&b->world);
    b->route = route_new(cluster);
    const struct api_options options = {.shards = b->world.broker[1].shards,
                                        .route = b->route,
                                        .broker = 1,
                                        .confirm = confirm,
                                        .context = b};
    b->api = api_new(&options);
    assert_non_null(b->api);
    world_elect(&b->world, 1, 1);
}

static void bench_close(struct bench *b)
{
    api_close(b->api);
    world_close(&b->world);
    api_free(b->api);
    route_free(b->route);
}

/* Reads at the end; whether that is the tip. It is answered in any case: positions are never wrong.
 */
static bool read_end(struct bench *b, bool wants)
{
    struct fake_call call;
    Weir__Read message = WEIR__READ__INIT;
    message.shard = SHARD_ID;
    message.offset = world_shard(&b->world, 1)->commit;
    message.tip = wants;
    fake_call_init(&call, RPC_READ, &message.base, (struct bytes){0});
    assert_true(api_called(b->api, &call.call));
    assert_int_equal(call.replies, 1);
    assert_int_equal(call.status, STATUS_OK);
    Weir__ReadReply *reply = weir__read_reply__unpack(NULL, call.body.size, call.body.data);
    assert_non_null(reply);
    bool tip = reply->tip;
    weir__read_reply__free_unpacked(reply, NULL);
    fake_call_release(&call);
    return tip;
}

static void a_leader_makes_sure_once_a_second(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    world_shard(&b.world, 1)->confirmed_ms = 0;
    fake_timers_fire(5000);
    assert_false(read_end(&b, false)); /* nobody wants to know: nobody is asked */
    assert_int_equal(b.asked, 0);
    assert_true(read_end(&b, true));
    fake_timers_fire(5000 + API_TIP_MS);
    assert_true(read_end(&b, true));
    assert_int_equal(b.asked, 1);
    fake_timers_fire(5001 + API_TIP_MS);
    assert_true(read_end(&b, true));
    assert_int_equal(b.asked, 2);
    bench_close(&b);
}

static void one_that_may_be_deposed_says_that_it_does_not_know(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    world_shard(&b.world, 1)->confirmed_ms = 0;
    fake_timers_fire(9000);
    b.leads = false;
    assert_false(read_end(&b, true));
    assert_int_equal(b.asked, 1);
    b.leads = true;
    assert_true(read_end(&b, true));
    bench_close(&b);
}

static void ignore_trace(enum trace_level level, const char *part, const char *text)
{
    (void)level;
    (void)part;
    (void)text;
}

int main(void)
{
    trace_set_sink(ignore_trace);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_makes_sure_once_a_second),
        cmocka_unit_test(one_that_may_be_deposed_says_that_it_does_not_know),
    };
    return cmocka_run_group_tests_name("tips", tests, NULL, NULL);
}
