/* What renewals cost: a controller with 10,000 leases of 200 workers, each of which calls as often
 * as it is told. Prints the processor time of the whole process (the controller, and what plays
 * workers and brokers) in percent of one core: an upper bound for the controller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "proto/schema/lease.pb-c.h"
#include "proto/schema/metadata.pb-c.h"
#include "tests/unit/controller/rpc/rig.h"

enum { SHARDS = 10000, WORKERS = 200, SECONDS = 20, HELD_MAX = 512 };

struct worker {
    char name[8];
    uint8_t incarnation[16];
    uint64_t shard[HELD_MAX], counter[HELD_MAX], bytes[HELD_MAX], due_ms;
    size_t count;
};

static struct rig rig;
static struct worker workers[WORKERS];
static char app_name[] = "app", stream_name[] = "s";

static double now_s(clockid_t clock)
{
    struct timespec at;
    (void)clock_gettime(clock, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void sync_worker(struct worker *worker, bool join)
{
    Weir__LeaseStream stream = WEIR__LEASE_STREAM__INIT, *streams[] = {&stream};
    Weir__LeaseSync sync = WEIR__LEASE_SYNC__INIT;
    stream.name = stream_name;
    sync.application = app_name;
    sync.worker = worker->name;
    sync.incarnation = (ProtobufCBinaryData){.data = worker->incarnation, .len = 16};
    sync.join = join;
    sync.streams = streams;
    sync.n_streams = 1;
    sync.shards = worker->shard;
    sync.counters = worker->counter;
    sync.bytes_per_s = worker->bytes;
    sync.n_shards = sync.n_counters = sync.n_bytes_per_s = worker->count;
    enum status status = rig_call(&rig, RPC_LEASE_SYNC, &sync.base);
    Weir__LeaseSyncReply *reply =
        status != STATUS_OK ? NULL
                            : weir__lease_sync_reply__unpack(NULL, rig.reply.size, rig.reply.body);
    if (reply == NULL) {
        fail_msg("%s: %s", worker->name, rig.reply.text);
        return;
    }
    for (size_t i = 0; i < reply->n_assigned && worker->count < HELD_MAX; i++) {
        worker->shard[worker->count] = reply->assigned[i]->shard;
        worker->counter[worker->count] = reply->assigned[i]->counter;
        worker->bytes[worker->count++] = 100000;
    }
    worker->due_ms = (uint64_t)(now_s(CLOCK_MONOTONIC) * 1000) + reply->next_sync_ms;
    weir__lease_sync_reply__free_unpacked(reply, NULL);
}

/* Everybody calls when it is time; how many calls that were. */
static uint64_t run_for(double seconds)
{
    uint64_t calls = 0;
    for (double end = now_s(CLOCK_MONOTONIC) + seconds; now_s(CLOCK_MONOTONIC) < end;) {
        uint64_t now = (uint64_t)(now_s(CLOCK_MONOTONIC) * 1000);
        for (size_t i = 0; i < WORKERS; i++) {
            if (workers[i].due_ms <= now) {
                sync_worker(&workers[i], false);
                calls++;
            }
        }
        rig_run_ms(&rig, 2);
    }
    return calls;
}

static void renewals_of_ten_thousand_leases_are_cheap(void **state)
{
    (void)state;
    rig_open(&rig);
    for (uint32_t id = 1; id <= 3; id++) {
        rig_broker_up(&rig, id, 1);
    }
    Weir__CreateStream create = WEIR__CREATE_STREAM__INIT;
    create.name = stream_name;
    create.shards = SHARDS;
    assert_int_equal(rig_call(&rig, RPC_CREATE_STREAM, &create.base), STATUS_OK);
    for (size_t i = 0; i < WORKERS; i++) {
        (void)snprintf(workers[i].name, sizeof(workers[i].name), "w%zu", i);
        workers[i].incarnation[0] = (uint8_t)i;
        workers[i].incarnation[1] = 1;
        sync_worker(&workers[i], true);
    }
    (void)run_for(10);
    size_t held = 0;
    for (size_t i = 0; i < WORKERS; i++) {
        held += workers[i].count;
    }
    double cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t calls = run_for(SECONDS);
    cpu = now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    double idle = now_s(CLOCK_PROCESS_CPUTIME_ID);
    rig_run_ms(&rig, 4000); /* shorter than a term: nobody calls, nothing ends */
    idle = now_s(CLOCK_PROCESS_CPUTIME_ID) - idle;
    printf(
        "%zu leases held by %d workers, %.0f calls a second: %.1f %% of a core, of which %.1f %% "
        "without any call\n",
        held, WORKERS, (double)calls / SECONDS, 100 * cpu / SECONDS, 100 * idle / 4);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renewals_of_ten_thousand_leases_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
