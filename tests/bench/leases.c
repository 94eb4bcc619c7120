/* What the leases of many consumers cost the active controller.
 *
 * usage: weir_bench_leases BIN [--shards N] [--workers N] [--seconds S] [--port P] [--late 1]
 *
 * Three controllers (BIN/weir-controller, with Raft, SQLite and TLS) run in processes of their own.
 * This one plays three brokers, and 200 workers that share 10,000 shards, each with a connection of
 * its own that renews as often as it is told to. It prints
 *
 *     how long it takes from the first worker's join until every lease is held,
 *     the processor time of the active controller, from /proc, in percent of a core: before there
 *     are leases, with renewals, with a checkpoint of each lease every 60 s, and every 5 s,
 *     and how long after a worker fell silent all its leases are held by others.
 *
 * With --late 1 the first worker has all leases before the others join. */
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "proto/schema/lease.pb-c.h"
#include "proto/schema/metadata.pb-c.h"
#include "tests/unit/controller/rpc/rig.h"

enum { CONTROLLERS = 3, STREAMS = 10, SHARDS_MAX = 20000, WORKERS_MAX = 500, TICK_MS = 20 };

struct worker {
    char name[24];
    uint8_t incarnation[16];
    uint64_t shard[SHARDS_MAX], counter[SHARDS_MAX], bytes[SHARDS_MAX], released[SHARDS_MAX];
    uint64_t due_ms, checkpoint_ms;
    size_t count, released_count;
    struct net_link *link;
    struct session_request sync, checkpoint;
    bool joined, syncing, checkpointing, silent;
};

static struct rig rig;
static struct worker *workers;
static size_t worker_count = 200, shard_count = 10000;
static unsigned seconds = 30, port = 29400, late;
static uint64_t checkpoint_every_ms, offset = 1;
static uint64_t calls, moves, checkpoints, refused;
static pid_t pids[CONTROLLERS];
static char app_name[] = "app", stream_names[STREAMS][24];

/* ---- processes
 * ------------------------------------------------------------------------------------- */

static void write_config(uint32_t id)
{
    char path[128], name[32], uri[160];
    (void)snprintf(name, sizeof(name), "controller-%u", id);
    (void)snprintf(uri, sizeof(uri), "spiffe://%s/controller/%s", CLUSTER_ONE, name);
    certs_make(&rig.certs, name, uri, (struct certs_dates){-3600, 3600});
    (void)snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/%s.conf", rig.dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    (void)fprintf(file,
                  "id = %u\ndata-dir = %s/%s\nlisten-host = 127.0.0.1\nlisten-port = %u\n"
                  "controllers = 1=127.0.0.1:%u,2=127.0.0.1:%u,3=127.0.0.1:%u\n"
                  "election-timeout = 5s\n" /* a busy machine must not end the measurement */
                  "ca-file = %s/ca.pem\ncert-file = %s/%s.pem\nkey-file = %s/%s.key\n",
                  id, rig.dir, name, port + id, port + 1, port + 2, port + 3, rig.certs.dir,
                  rig.certs.dir, name, rig.certs.dir, name);
    assert_int_equal(fclose(file), 0);
}

static void start_controllers(const char *bin)
{
    char program[256], config[128], log[128];
    for (uint32_t id = 1; id <= CONTROLLERS; id++) {
        write_config(id);
    }
    for (uint32_t id = 1; id <= CONTROLLERS; id++) {
        (void)snprintf(program, sizeof(program), "%s/weir-controller", bin);
        (void)snprintf(config, sizeof(config), "%s/controller-%u.conf", rig.dir, id);
        (void)snprintf(log, sizeof(log), "%s/controller-%u.log", rig.dir, id);
        pids[id - 1] = fork();
        assert_true(pids[id - 1] >= 0);
        if (pids[id - 1] == 0) {
            if (freopen(log, "we", stderr) != NULL) {
                (void)execl(program, program, "--config", config, (char *)NULL);
            }
            _exit(127);
        }
    }
}

static void stop_controllers(void)
{
    for (size_t i = 0; i < CONTROLLERS; i++) {
        if (pids[i] > 0) {
            (void)kill(pids[i], SIGKILL);
            (void)waitpid(pids[i], NULL, 0);
        }
    }
}

/* The processor time that a process has used so far, in seconds. */
static double used_s(pid_t pid)
{
    char path[64], line[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    assert_int_equal(fclose(file), 0);
    const char *at = strrchr(line, ')');
    double ticks = 0;
    for (int field = 3; at != NULL && field <= 15; field++) {
        at = strchr(at + 1, ' ');
        ticks += at != NULL && field >= 14 ? strtod(at, NULL) : 0;
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

static bool listens(uint16_t at)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(at), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    bool there = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    assert_int_equal(close(fd), 0);
    return there;
}

/* Finds out who is active; its sessions are rig's then. */
static void meet_active(void)
{
    for (int tries = 0; tries < 100; tries++) {
        for (rig.id = 1; rig.id <= CONTROLLERS; rig.id++) {
            rig.port = (uint16_t)(port + rig.id);
            if (!listens(rig.port)) {
                continue;
            }
            rig_meet(&rig);
            Weir__AppControl list = WEIR__APP_CONTROL__INIT;
            list.action = WEIR__APP_CONTROL__ACTION__LIST;
            if (rig_call(&rig, RPC_APP_CONTROL, &list.base) == STATUS_OK) {
                return;
            }
            rig_part(&rig);
        }
        rig_run_ms(&rig, 100);
    }
    fail_msg("no controller became active");
}

/* ---- workers
 * --------------------------------------------------------------------------------------- */

static void on_checkpointed(struct session_request *request, const struct session_reply *reply)
{
    struct worker *worker = CONTAINER_OF(request, struct worker, checkpoint);
    Weir__LeaseCheckpointReply *answer =
        reply->status != STATUS_OK
            ? NULL
            : weir__lease_checkpoint_reply__unpack(NULL, reply->body.size, reply->body.data);
    worker->checkpointing = false;
    for (size_t i = 0; answer != NULL && i < answer->n_results; i++) {
        checkpoints += answer->results[i] == STATUS_OK;
        refused += answer->results[i] != STATUS_OK;
    }
    refused += answer == NULL;
    weir__lease_checkpoint_reply__free_unpacked(answer, NULL);
}

static void call_checkpoint(struct worker *worker)
{
    static Weir__LeaseCheckpointItem item[1000], *items[1000];
    Weir__LeasePosition position = WEIR__LEASE_POSITION__INIT;
    Weir__LeaseCheckpoint call = WEIR__LEASE_CHECKPOINT__INIT;
    position.type = WEIR__LEASE_POSITION_TYPE__LEASE_AT_OFFSET;
    position.offset = offset++;
    for (size_t i = 0; i < worker->count && i < 1000; i++) {
        weir__lease_checkpoint_item__init(&item[i]);
        item[i].shard = worker->shard[i];
        item[i].counter = worker->counter[i];
        item[i].checkpoint = &position;
        items[call.n_items++] = &item[i];
    }
    call.application = app_name;
    call.worker = worker->name;
    call.incarnation = (ProtobufCBinaryData){.data = worker->incarnation, .len = 16};
    call.items = items;
    worker->checkpointing = session_call(net_link_session(worker->link), RPC_LEASE_CHECKPOINT,
                                         (struct session_payload){.body = &call.base}, 20000,
                                         &worker->checkpoint, on_checkpointed) == STATUS_OK;
}

static void forget(struct worker *worker, uint64_t counter)
{
    for (size_t i = 0; i < worker->count; i++) {
        if (worker->counter[i] == counter) {
            worker->count--;
            worker->shard[i] = worker->shard[worker->count];
            worker->counter[i] = worker->counter[worker->count];
            return;
        }
    }
}

static void on_synced(struct session_request *request, const struct session_reply *reply)
{
    struct worker *worker = CONTAINER_OF(request, struct worker, sync);
    Weir__LeaseSyncReply *answer =
        reply->status != STATUS_OK
            ? NULL
            : weir__lease_sync_reply__unpack(NULL, reply->body.size, reply->body.data);
    uint64_t now = net_now_ms(rig.loop);
    worker->syncing = false;
    worker->due_ms = now + 200;
    calls++;
    if (answer == NULL) {
        print_message("%s: %s\n", worker->name, reply->error.text);
        if (reply->status == STATUS_EXPIRED) {
            worker->joined = false;
            worker->count = 0;
        }
        return;
    }
    worker->joined = true;
    for (size_t i = 0; i < answer->n_lost; i++) {
        forget(worker, answer->lost[i]);
    }
    for (size_t i = 0; i < answer->n_assigned && worker->count < SHARDS_MAX; i++) {
        worker->shard[worker->count] = answer->assigned[i]->shard;
        worker->counter[worker->count] = answer->assigned[i]->counter;
        worker->bytes[worker->count++] = 100000;
    }
    worker->released_count = 0;
    for (size_t i = 0; i < answer->n_hand_over; i++) {
        forget(worker, answer->hand_over[i]->counter);
        worker->released[worker->released_count++] = answer->hand_over[i]->counter;
        moves++;
    }
    worker->due_ms =
        answer->n_assigned + answer->n_hand_over > 0 ? now : now + answer->next_sync_ms;
    weir__lease_sync_reply__free_unpacked(answer, NULL);
}

static void call_sync(struct worker *worker)
{
    Weir__LeaseStream stream[STREAMS], *streams[STREAMS];
    Weir__LeaseSync sync = WEIR__LEASE_SYNC__INIT;
    for (size_t i = 0; i < STREAMS; i++) {
        weir__lease_stream__init(&stream[i]);
        stream[i].name = stream_names[i];
        streams[i] = &stream[i];
    }
    sync.application = app_name;
    sync.worker = worker->name;
    sync.incarnation = (ProtobufCBinaryData){.data = worker->incarnation, .len = 16};
    sync.join = !worker->joined;
    sync.streams = streams;
    sync.n_streams = STREAMS;
    sync.shards = worker->shard;
    sync.counters = worker->counter;
    sync.bytes_per_s = worker->bytes;
    sync.released = worker->released;
    sync.n_released = worker->released_count;
    sync.n_shards = sync.n_counters = sync.n_bytes_per_s = worker->count;
    worker->syncing = session_call(net_link_session(worker->link), RPC_LEASE_SYNC,
                                   (struct session_payload){.body = &sync.base}, 20000,
                                   &worker->sync, on_synced) == STATUS_OK;
}

/* Everybody calls when it is time. */
static void run_ms(uint64_t ms)
{
    for (uint64_t end = net_now_ms(rig.loop) + ms; net_now_ms(rig.loop) < end;) {
        uint64_t now = net_now_ms(rig.loop);
        for (size_t i = 0; i < worker_count; i++) {
            struct worker *worker = &workers[i];
            if (worker->silent || net_link_session(worker->link) == NULL) {
                continue;
            }
            if (!worker->syncing && worker->due_ms <= now) {
                call_sync(worker);
            }
            if (checkpoint_every_ms > 0 && !worker->checkpointing && worker->count > 0 &&
                worker->checkpoint_ms <= now) {
                worker->checkpoint_ms = now + checkpoint_every_ms;
                call_checkpoint(worker);
            }
        }
        rig_run_ms(&rig, TICK_MS);
    }
}

/* Leases that somebody holds who is not silent. */
static size_t held(size_t *most)
{
    size_t sum = 0;
    *most = 0;
    for (size_t i = 0; i < worker_count; i++) {
        size_t count = workers[i].silent ? 0 : workers[i].count;
        sum += count;
        *most = count > *most ? count : *most;
    }
    return sum;
}

/* How long until nobody has more than a quarter above the mean. */
static double wait_until_even(unsigned limit_s)
{
    size_t most;
    uint64_t begin = net_now_ms(rig.loop);
    while (held(&most) < shard_count || most * worker_count * 4 > shard_count * 5) {
        run_ms(TICK_MS);
        if (net_now_ms(rig.loop) > begin + (uint64_t)limit_s * 1000) {
            fail_msg("one worker has %zu leases after %u s", most, limit_s);
        }
    }
    return (double)(net_now_ms(rig.loop) - begin) / 1000;
}

/* How long until all leases are held. */
static double wait_until_held(unsigned limit_s)
{
    size_t most;
    uint64_t begin = net_now_ms(rig.loop);
    while (held(&most) < shard_count) {
        run_ms(TICK_MS);
        if (net_now_ms(rig.loop) > begin + (uint64_t)limit_s * 1000) {
            fail_msg("%zu of %zu leases are held after %u s", held(&most), shard_count, limit_s);
        }
    }
    return (double)(net_now_ms(rig.loop) - begin) / 1000;
}

static void measure(const char *what, uint64_t every_ms)
{
    checkpoint_every_ms = every_ms;
    for (size_t i = 0; every_ms > 0 && i < worker_count; i++) { /* spread over the time */
        workers[i].checkpoint_ms = net_now_ms(rig.loop) + every_ms * i / worker_count;
    }
    pid_t pid = pids[rig.id - 1];
    uint64_t calls_before = calls, moves_before = moves, checkpoints_before = checkpoints,
             begin = net_now_ms(rig.loop);
    double before = used_s(pid);
    run_ms((uint64_t)seconds * 1000);
    double cpu = used_s(pid) - before, span = (double)(net_now_ms(rig.loop) - begin) / 1000;
    size_t most;
    print_message("%s: %.1f %% of a core in %.0f s (%zu leases held, %.0f calls, %.0f moves and "
                  "%.0f checkpoints a second)\n",
                  what, 100 * cpu / span, span, held(&most), (double)(calls - calls_before) / span,
                  (double)(moves - moves_before) / span,
                  (double)(checkpoints - checkpoints_before) / span);
}

/* ---- the run
 * --------------------------------------------------------------------------------------- */

static void called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "no");
}

static void closed(struct session *session, const struct error *why)
{
    (void)session;
    (void)why;
}

static const struct session_handlers handlers = {.called = called, .closed = closed};

static void connect_workers(void)
{
    const struct session_options options = {
        .loop = rig.loop, .tls = rig.user_tls, .handlers = &handlers};
    for (size_t i = 0; i < worker_count; i++) {
        (void)snprintf(workers[i].name, sizeof(workers[i].name), "w%zu", i);
        workers[i].incarnation[0] = (uint8_t)i;
        workers[i].incarnation[1] = (uint8_t)(1 + i / 256);
        workers[i].due_ms = UINT64_MAX;
        workers[i].link =
            net_link_open(&options, "127.0.0.1", rig.port, RPC_ROLE_CONTROLLER, rig.id);
        assert_non_null(workers[i].link);
    }
    for (size_t open = 0; open < worker_count;) {
        rig_run_ms(&rig, TICK_MS);
        open = 0;
        for (size_t i = 0; i < worker_count; i++) {
            open += net_link_session(workers[i].link) != NULL;
        }
    }
}

static void make_streams(void)
{
    for (uint32_t id = 1; id <= 3; id++) {
        rig_broker_up(&rig, id, 1);
    }
    for (size_t i = 0; i < STREAMS; i++) {
        Weir__CreateStream create = WEIR__CREATE_STREAM__INIT;
        (void)snprintf(stream_names[i], sizeof(stream_names[i]), "s%zu", i);
        create.name = stream_names[i];
        create.shards = (uint32_t)(shard_count / STREAMS);
        if (rig_call(&rig, RPC_CREATE_STREAM, &create.base) != STATUS_OK) {
            fail_msg("%s: %s", stream_names[i], rig.reply.text);
        }
        rig_run_ms(&rig, 200);
    }
    rig_run_ms(&rig, 5000); /* leaders are elected */
}

static void ten_thousand_leases(void **state)
{
    (void)state;
    rig.loop = net_loop_new(NULL);
    rig.user_tls = certs_tls(&rig.certs, CLUSTER_ONE, "admin", "admin");
    meet_active();
    make_streams();
    connect_workers();
    measure("before the first join", 0);
    if (late) {
        workers[0].due_ms = 0;
        print_message("one worker holds %zu leases after %.1f s\n", shard_count,
                      wait_until_held(120));
    }
    for (size_t i = late; i < worker_count; i++) {
        workers[i].due_ms = 0;
    }
    size_t most;
    double span = wait_until_held(120);
    (void)held(&most);
    print_message("%zu leases are held %.1f s after the first of %zu workers began to join; one "
                  "has %zu at most\n",
                  shard_count, span, worker_count, most);
    print_message("%.1f s later nobody has more than a quarter above the mean\n",
                  wait_until_even(300));
    run_ms(15000);
    measure("renewals", 0);
    measure("... and a checkpoint of each lease every 60 s", 60000);
    measure("... every 5 s", 5000);
    checkpoint_every_ms = 0;
    workers[0].silent = true;
    net_link_close(workers[0].link);
    print_message("the %zu leases of a worker that fell silent are held by others after %.1f s\n",
                  workers[0].count, wait_until_held(60));
    print_message("%llu checkpoints were refused\n", (unsigned long long)refused);
}

static void take_options(int argc, char **argv)
{
    for (int i = 2; i + 1 < argc; i += 2) {
        unsigned long value = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--shards") == 0 && value >= STREAMS && value <= SHARDS_MAX) {
            shard_count = value / STREAMS * STREAMS;
        } else if (strcmp(argv[i], "--workers") == 0 && value >= 2 && value <= WORKERS_MAX) {
            worker_count = value;
        } else if (strcmp(argv[i], "--seconds") == 0 && value >= 1 && value <= 3600) {
            seconds = (unsigned)value;
        } else if (strcmp(argv[i], "--late") == 0 && value <= 1) {
            late = (unsigned)value;
        } else if (strcmp(argv[i], "--port") == 0 && value >= 1024 && value <= 65000) {
            port = (unsigned)value;
        } else {
            (void)fprintf(stderr, "weir_bench_leases: %s %s?\n", argv[i], argv[i + 1]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc % 2 != 0) {
        (void)fprintf(stderr, "usage: weir_bench_leases BIN [--shards N] [--workers N] "
                              "[--seconds S] [--port P] [--late 1]\n");
        return 2;
    }
    take_options(argc, argv);
    workers = calloc(worker_count, sizeof(*workers));
    CHECK(workers != NULL);
    (void)snprintf(rig.dir, sizeof(rig.dir), "/tmp/weir-leases-XXXXXX");
    CHECK(mkdtemp(rig.dir) != NULL);
    certs_init(&rig.certs);
    start_controllers(argv[1]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(ten_thousand_leases)};
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    stop_controllers();
    certs_release(&rig.certs);
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", rig.dir);
    return system(command) == 0 ? result : 1;
}
