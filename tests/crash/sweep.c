/* Fails the n-th allocation, and the n-th call that changes a file, for every n in turn.
 *
 * usage: weir-crash-sweep [--all]
 *
 * A broker's store is opened, appended to, read, trimmed and closed; a controller's entries are
 * applied; whatever fails on the way, nothing crashes or leaks, and what was reported as durable is
 * there when all is well again. After a failed write or sync power is lost as well: nothing counts
 * that was not synced. By default every third n is taken. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "controller/command/command.h"
#include "tests/crash/heap.h"
#include "tests/crash/record.h"
#include "tests/support/store_fixture.h"
#include "tests/unit/controller/command/script.h"

enum { SHARDS = 2, APPENDS = 60, ENTRIES_MAX = 64, POLLS_MAX = 20000 };

static char what[96];

static void fail_run(const char *why)
{
    heap_fail(0);
    (void)fprintf(stderr, "%s, with %s\n", why, what);
    exit(1);
}

/* ---- a broker's store ---- */

struct acked {
    uint64_t lsn, end[SHARDS];
    uint32_t promised[SHARDS];
};

struct broker {
    struct store_fixture f;
    struct acked step[APPENDS * SHARDS * 2 + 8];
    uint32_t steps;
    struct acked durable;
};

static void note(struct broker *b, uint64_t lsn, uint32_t shard, const struct shard_log *log,
                 uint32_t promised)
{
    struct acked now = b->steps > 0 ? b->step[b->steps - 1] : (struct acked){0};
    struct replica_recovered r;
    shard_log_recovered(log, &r);
    now.lsn = lsn;
    now.end[shard] = r.last.end;
    now.promised[shard] = promised > now.promised[shard] ? promised : now.promised[shard];
    b->step[b->steps++] = now;
}

static bool poll_store(struct broker *b)
{
    uint64_t synced = 0;
    enum status status = store_poll(b->f.store, &synced);
    if (status == STATUS_OK) {
        for (uint32_t i = 0; i < b->steps && b->step[i].lsn <= synced; i++) {
            b->durable = b->step[i];
        }
    }
    return status == STATUS_OK;
}

static void append_one(struct broker *b, struct shard_log *log, uint32_t shard)
{
    struct batch_header header;
    struct bytes batch = test_batch(log, 1, 1, 900, 1000, &header);
    struct log_appended appended;
    if (store_admit(b->f.store, batch.size) == STATUS_OK &&
        shard_log_append(log, &header, &batch, 1, &appended) == STATUS_OK) {
        note(b, appended.lsn, shard, log, 0);
    }
}

static void read_ended(struct log_read *read)
{
    *(bool *)read->owner = true;
}

static void read_some(struct broker *b, struct shard_log *log)
{
    bool ended = false;
    struct log_read read = {
        .log = log, .end = UINT64_MAX, .max_bytes = 5000, .done = read_ended, .owner = &ended};
    if (store_read(b->f.store, &read) == STATUS_OK) {
        for (int i = 0; !ended && i < POLLS_MAX; i++) {
            (void)poll_store(b);
            (void)usleep(50);
        }
        if (!ended) {
            fail_run("a read never ends");
        }
    }
    buf_release(&read.data);
}

static void use_store(struct broker *b)
{
    struct shard_log *log[SHARDS] = {NULL};
    uint64_t lsn;
    for (uint32_t i = 0; i < SHARDS; i++) {
        if (store_create_shard(b->f.store, i + 1, 1, 0, &log[i], &lsn) != STATUS_OK) {
            log[i] = store_find_shard(b->f.store, i + 1);
        }
    }
    for (uint32_t n = 0; n < APPENDS; n++) {
        for (uint32_t i = 0; i < SHARDS; i++) {
            if (log[i] != NULL) {
                append_one(b, log[i], i);
            }
        }
        store_flush(b->f.store);
        (void)poll_store(b);
        if (n % 20 == 19) {
            status_ignore(store_sync(b->f.store, true), "it may have failed");
            (void)poll_store(b);
        }
        if (n == 40 && log[0] != NULL && shard_log_promise(log[0], 7, &lsn) == STATUS_OK) {
            note(b, lsn, 0, log[0], 7);
        }
    }
    if (log[0] != NULL) {
        read_some(b, log[0]);
    }
    status_ignore(store_sync(b->f.store, false), "it may have failed");
    (void)poll_store(b);
}

static void broker_options(struct broker *b, const char *dir)
{
    memset(b, 0, sizeof(*b));
    (void)snprintf(b->f.dir, sizeof(b->f.dir), "%s", dir);
    store_options_init(&b->f.options);
    b->f.options.dir = b->f.dir;
    b->f.options.broker = 1;
    b->f.options.segment_bytes = 64 * 1024;
    b->f.options.journal_file_bytes = 64 * 1024;
    b->f.options.journal_files = 4;
    b->f.options.ring_bytes = 256 * 1024;
    b->f.options.block_bytes = 8192;
    b->f.options.reserve_bytes = 0;
    b->f.options.backend = JOURNAL_BACKEND_THREAD;
    b->f.options.buffered = true;
}

static void run_broker(struct broker *b)
{
    struct error error = {0};
    if (store_open(&b->f.options, &b->f.store, &error) == STATUS_OK) {
        use_store(b);
        store_close(b->f.store);
        b->f.store = NULL;
    } else if (error.text[0] == '\0') {
        fail_run("the store does not open and does not say why");
    }
}

static void check_broker(struct broker *b)
{
    struct error error = {0};
    if (store_open(&b->f.options, &b->f.store, &error) != STATUS_OK) {
        fail_run(error.text);
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard_log *log = store_find_shard(b->f.store, i + 1);
        struct replica_recovered r = {0};
        if (log != NULL) {
            shard_log_recovered(log, &r);
            (void)fixture_check_log(&b->f, log);
        }
        if (r.last.end < b->durable.end[i] || r.promised < b->durable.promised[i] || r.uncertain) {
            fail_run("something durable is lost");
        }
    }
    store_close(b->f.store);
    b->f.store = NULL;
}

static void empty(const char *dir)
{
    struct image nothing;
    image_init(&nothing);
    image_store(&nothing, dir);
    image_release(&nothing);
}

/* Returns whether the n-th was reached. */
static bool fail_broker_memory(struct broker *b, const char *dir, uint64_t n)
{
    empty(dir);
    broker_options(b, dir);
    (void)snprintf(what, sizeof(what), "allocation %llu of a broker failing",
                   (unsigned long long)n);
    int64_t before = heap_live();
    heap_fail(n);
    run_broker(b);
    bool reached = heap_failed();
    heap_fail(0);
    if (heap_live() != before) {
        fail_run("memory leaks");
    }
    check_broker(b);
    return reached;
}

static bool fail_broker_disk(struct broker *b, const char *dir, uint64_t n, int error)
{
    struct trace trace;
    struct medium medium;
    struct image start;
    empty(dir);
    broker_options(b, dir);
    (void)snprintf(what, sizeof(what), "call %llu of a broker's disk failing (%s)",
                   (unsigned long long)n, strerror(error));
    image_load(dir, &start);
    trace_init(&trace, &start);
    record_begin(dir, &trace);
    record_fail(n, error);
    run_broker(b);
    bool reached = record_calls() >= n;
    record_end();
    /* What was never synced is gone. */
    medium_init(&medium, &trace);
    while (medium.at < trace.count) {
        medium_step(&medium);
    }
    image_store(&medium.durable, dir);
    check_broker(b);
    medium_release(&medium);
    trace_release(&trace);
    image_release(&start);
    return reached;
}

/* ---- a controller's state machine ---- */

static struct {
    struct buf entry[ENTRIES_MAX];
    uint64_t hash[ENTRIES_MAX + 1];
    uint32_t count;
} captured;

enum status __real_command_apply(struct db *db, uint64_t index, struct bytes entry,
                                 struct command_results *out, struct error *error);
enum status __wrap_command_apply(struct db *db, uint64_t index, struct bytes entry,
                                 struct command_results *out, struct error *error);

/* The linker sends the script's calls here: its entries are kept, to be applied again. */
enum status __wrap_command_apply(struct db *db, uint64_t index, struct bytes entry,
                                 struct command_results *out, struct error *error)
{
    CHECK(captured.count < ENTRIES_MAX);
    CHECK(buf_append(&captured.entry[captured.count++], entry.data, entry.size) == STATUS_OK);
    enum status status = __real_command_apply(db, index, entry, out, error);
    captured.hash[captured.count] = db_meta(db)->state_hash;
    return status;
}

static void capture(void)
{
    struct script script;
    script_open(&script);
    (void)script_run(&script, "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n"
                              "> broker 3 zone=c\n> create one shards=2\n> create two shards=3\n"
                              "> create one shards=2\n> down 2\n> retention one hours=48\n"
                              "> delete two\n> create three shards=1\n");
    script_close(&script);
    CHECK(captured.count > 5);
}

/* Applies what is missing; false: memory ran out, and the process would end. */
static bool apply_all(const char *path)
{
    struct db *db;
    struct error error = {0};
    if (db_open(path, &db, &error) != STATUS_OK) {
        return false;
    }
    bool good = true;
    for (uint64_t i = db_meta(db)->applied_index; good && i < captured.count; i++) {
        struct command_results results = {0};
        db_changes_clear(db_changes(db));
        enum status status =
            __real_command_apply(db, i + 1, buf_bytes(&captured.entry[i]), &results, &error);
        good = status == STATUS_OK;
        if (good && db_meta(db)->state_hash != captured.hash[i + 1]) {
            fail_run("an entry that failed to find memory was applied otherwise");
        }
        if (good) {
            command_results_release(&results);
        }
    }
    db_close(db);
    return good;
}

static bool fail_controller_memory(const char *dir, uint64_t n)
{
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/state.db", dir);
    (void)snprintf(what, sizeof(what), "allocation %llu of a controller failing",
                   (unsigned long long)n);
    empty(dir);
    int64_t before = heap_live();
    heap_fail(n);
    (void)apply_all(path);
    bool reached = heap_failed();
    heap_fail(0);
    if (heap_live() != before) {
        fail_run("memory leaks");
    }
    if (!apply_all(path)) {
        fail_run("a controller that starts again cannot go on");
    }
    return reached;
}

/* ---- ---- */

static uint64_t sweep_memory(struct broker *b, const char *dir, uint64_t step, uint64_t upto)
{
    uint64_t runs = 0;
    /* Libraries keep what they allocate once. */
    empty(dir);
    broker_options(b, dir);
    run_broker(b);
    check_broker(b);
    for (uint64_t n = 1; n < upto && fail_broker_memory(b, dir, n); n += step) {
        runs++;
    }
    for (uint64_t n = 1; n < upto && fail_controller_memory(dir, n); n += 4 * step) {
        runs++;
    }
    return runs;
}

int main(int argc, char **argv)
{
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    uint64_t upto = all ? 20000 : 3000, step = all ? 1 : 3, memory = 0, disk = 0;
    char dir[] = "/dev/shm/weir-sweep-XXXXXX";
    CHECK(mkdtemp(dir) != NULL);
    struct broker *b = calloc(1, sizeof(*b));
    CHECK(b != NULL);
    capture();
    if (heap_is_ours()) {
        memory = sweep_memory(b, dir, step, upto);
    }
    static const int errors[] = {EIO, ENOSPC};
    for (int e = 0; e < 2; e++) {
        for (uint64_t n = 1; fail_broker_disk(b, dir, n, errors[e]); n += step) {
            disk++;
        }
    }
    empty(dir);
    (void)rmdir(dir);
    for (uint32_t i = 0; i < captured.count; i++) {
        buf_release(&captured.entry[i]);
    }
    free(b);
    (void)printf("%llu failed allocations, %llu failed calls: no crash, no leak, nothing lost\n",
                 (unsigned long long)memory, (unsigned long long)disk);
    return 0;
}
