/* Crash points of a controller's disk: raft.db, raft.mark and the files of snapshots, and state.db.
 *
 * usage: weir-crash-raft [--seed N] [--seeds N] [--steps N] [--random N]
 *
 * After a crash at any point the store opens, and has the term, the vote, the snapshot and the log
 * of some moment at or behind the last acknowledgement, each entry as it was given. The state
 * machine has applied no more than it was given, and holds exactly what it held at that index. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "controller/raft/snapshot_file.h"
#include "controller/raft/store.h"
#include "tests/crash/points.h"
#include "tests/crash/record.h"
#include "tests/unit/controller/command/script.h"

enum { NOTE_DURABLE, NOTE_ISSUED, NOTE_APPLIED };
enum { WRITES_MAX = 4096, ENTRIES_MAX = 8192, AGAIN_EVERY = 8, ENTRY_BYTES_MAX = 700 };

struct expected {
    uint64_t term, voted_for, snapshot, first, last, hash;
};

struct run {
    char dir[64];
    struct raft_store *store;
    struct raft_core_state state;
    struct script script;
    struct rng rng;
    uint64_t terms[ENTRIES_MAX];
    struct expected now, after[WRITES_MAX];
    uint64_t writes;             /* given */
    uint64_t digest[WRITES_MAX]; /* of state.db, by applied index */
    struct raft_snapshot_info snapshot;
    uint32_t streams;

    struct trace trace;
    struct points points;
    uint32_t noted;
    uint64_t durable, recoveries;
    bool record;
};

static const uint32_t three[] = {1, 2, 3};

static void wrote(void *data)
{
    (void)data;
}

static void open_store(struct run *r)
{
    struct raft_store_options options = {
        .dir = r->dir, .id = 2, .ids = three, .id_count = 3, .written = wrote};
    struct error error = {0};
    if (raft_store_open(&options, &r->state, &r->store, &error) != STATUS_OK) {
        (void)fprintf(stderr, "the store does not open: %s\n", error.text);
        exit(1);
    }
    r->recoveries++;
}

static uint64_t fold(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9e3779b97f4a7c15u + (hash >> 31);
}

static void given(struct run *r)
{
    CHECK(r->writes + 1 < WRITES_MAX);
    r->now.hash = 0;
    for (uint64_t index = r->now.first; index <= r->now.last; index++) {
        r->now.hash = fold(fold(r->now.hash, index), r->terms[index]);
    }
    r->after[++r->writes] = r->now;
    record_note(NOTE_ISSUED, r->writes);
}

static void wait_durable(struct run *r)
{
    uint64_t done = 0;
    while (done < r->writes) {
        CHECK(raft_store_written(r->store, &done, NULL) == STATUS_OK);
        (void)usleep(100);
    }
    record_note(NOTE_DURABLE, r->writes);
}

/* ---- the work ---- */

static size_t entry_data(uint64_t index, uint64_t term, uint8_t out[ENTRY_BYTES_MAX])
{
    size_t size = 16 + (size_t)((index * 131 + term * 17) % (ENTRY_BYTES_MAX - 16));
    memset(out, (int)(index + term), size);
    put_u64(out, index);
    put_u64(out + 8, term);
    return size;
}

static void append(struct run *r, uint64_t from, uint32_t count)
{
    static uint8_t data[8][ENTRY_BYTES_MAX];
    struct raft_entry_view entry[8];
    uint64_t write;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = entry_data(from + i, r->now.term, data[i]);
        entry[i] = (struct raft_entry_view){.index = from + i,
                                            .term = r->now.term,
                                            .type = RAFT_COMMAND,
                                            .data = bytes_of(data[i], size)};
        CHECK(from + i < ENTRIES_MAX);
        r->terms[from + i] = r->now.term;
    }
    CHECK(raft_store_append(r->store, from, entry, count, &write) == STATUS_OK);
    r->now.last = from + count - 1;
    given(r);
    CHECK(write == r->writes);
}

static void vote(struct run *r)
{
    r->now.term++;
    r->now.voted_for = 1 + rng_below(&r->rng, 3);
    given(r); /* it is durable when the call returns, and perhaps before */
    CHECK(raft_store_save_vote(r->store, r->now.term, r->now.voted_for) == STATUS_OK);
    record_note(NOTE_DURABLE, r->writes);
}

static void apply_one(struct run *r)
{
    char line[64];
    if (r->streams == 0) {
        (void)script_run(&r->script, "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n"
                                     "> broker 3 zone=c\n");
    }
    (void)snprintf(line, sizeof(line), "> create s%u shards=2\n", r->streams++);
    (void)script_run(&r->script, line);
}

static uint64_t digest_of(const char *path)
{
    struct db_digest *digest;
    uint64_t value = 0;
    CHECK(db_digest_begin(path, &digest, NULL) == STATUS_OK);
    CHECK(db_digest_run(digest, &value, NULL) == STATUS_OK);
    db_digest_free(digest);
    return value;
}

static void applied(void *data)
{
    struct run *r = data;
    uint64_t index = db_meta(r->script.db)->applied_index;
    CHECK(index < WRITES_MAX);
    r->digest[index] = digest_of(r->script.path);
    record_note(NOTE_APPLIED, index);
}

/* As the node does: a copy, measured and synced, gets its name, then the store knows of it. */
static void take_snapshot(struct run *r)
{
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    uint64_t index, write;
    wait_durable(r);
    r->snapshot.index = r->now.last;
    r->snapshot.term = r->now.last < r->now.first ? r->snapshot.term : r->terms[r->now.last];
    raft_snapshot_taking_path(r->dir, path);
    CHECK(db_copy(r->script.path, path, &index, NULL) == STATUS_OK);
    CHECK(raft_snapshot_measure(path, true, &r->snapshot.bytes, r->snapshot.hash, NULL) ==
          STATUS_OK);
    CHECK(raft_snapshot_publish_taking(r->dir, r->snapshot.index, NULL) == STATUS_OK);
    r->now.snapshot = r->snapshot.index;
    given(r);
    CHECK(raft_store_save_snapshot(r->store, &r->snapshot, &write) == STATUS_OK);
    CHECK(write == r->writes);
    wait_durable(r);
}

static void compact(struct run *r)
{
    uint64_t upto = r->now.snapshot > 5 ? r->now.snapshot - rng_below(&r->rng, 5) : 0;
    if (upto >= r->now.first && upto < r->now.last) {
        r->now.first = upto + 1;
        given(r);
        CHECK(raft_store_compact(r->store, upto) == STATUS_OK);
    }
}

/* Another's copy, in pieces: its bytes are those of ours. */
static void install(struct run *r)
{
    struct raft_snapshot_io io;
    uint64_t write;
    raft_snapshot_io_init(&io, r->dir);
    CHECK(raft_snapshot_receive_begin(&io) == STATUS_OK);
    for (uint64_t at = 0; at < r->snapshot.bytes; at += 65536) {
        static uint8_t piece[65536];
        uint64_t rest = r->snapshot.bytes - at;
        size_t size = rest < sizeof(piece) ? (size_t)rest : sizeof(piece);
        CHECK(raft_snapshot_read(&io, r->snapshot.index, at, piece, size) == STATUS_OK);
        CHECK(raft_snapshot_receive_append(&io, bytes_of(piece, size)) == STATUS_OK);
    }
    CHECK(raft_snapshot_receive_end(&io, r->snapshot.hash) == STATUS_OK);
    raft_snapshot_io_release(&io);
    r->snapshot.index = r->now.last + 20;
    r->snapshot.term = r->now.term;
    r->now.snapshot = r->now.last = r->snapshot.index;
    r->now.first = r->now.last + 1;
    given(r);
    CHECK(raft_store_install(r->store, &r->snapshot, &write) == STATUS_OK);
    wait_durable(r);
}

static void one_step(struct run *r)
{
    uint64_t what = rng_below(&r->rng, 100);
    if (what < 55) {
        append(r, r->now.last + 1, 1 + (uint32_t)rng_below(&r->rng, 4));
    } else if (what < 62) {
        vote(r);
    } else if (what < 67 && r->now.last > r->now.first + 4 && r->now.last > r->now.snapshot + 3) {
        vote(r); /* a leader of a new term replaces the end */
        append(r, r->now.last - rng_below(&r->rng, 3), 1);
    } else if (what < 80) {
        apply_one(r);
    } else if (what < 83 && r->now.last >= r->now.first && r->streams > 0) {
        take_snapshot(r);
    } else if (what < 88) {
        compact(r);
    } else if (what < 89 && r->snapshot.index > 0) {
        install(r);
    } else if (what < 92) {
        CHECK(db_checkpoint(r->script.path, NULL) == STATUS_OK);
    } else {
        wait_durable(r);
    }
}

static void open_state(struct run *r)
{
    free(r->script.out);
    r->script = (struct script){.applied = applied, .data = r};
    (void)snprintf(r->script.path, sizeof(r->script.path), "%s/state.db", r->dir);
    r->script.out = malloc(SCRIPT_TRANSCRIPT_MAX);
    CHECK(r->script.out != NULL);
    struct error error = {0};
    if (db_open(r->script.path, &r->script.db, &error) != STATUS_OK) {
        (void)fprintf(stderr, "the state machine does not open: %s\n", error.text);
        exit(1);
    }
}

static void work(struct run *r, uint64_t steps)
{
    open_store(r);
    struct raft_entry_view *first = &r->state.entries[0];
    CHECK(r->state.count == 1 && first->data.size <= sizeof(r->snapshot.configuration));
    r->snapshot.configuration_index = 1;
    r->snapshot.configuration_size = first->data.size;
    memcpy(r->snapshot.configuration, first->data.data, first->data.size);
    r->now = (struct expected){.term = r->state.term, .first = 1, .last = 1};
    r->terms[1] = 1;
    r->now.hash = fold(fold(0, 1), 1);
    r->after[0] = r->now;
    raft_store_loaded(r->store);
    record_note(NOTE_DURABLE, 0);
    open_state(r);
    r->digest[0] = digest_of(r->script.path);
    while (r->trace.count < steps) {
        one_step(r);
    }
    db_close(r->script.db);
    raft_store_close(r->store);
    record_note(NOTE_DURABLE, r->writes);
}

/* ---- what must be there ---- */

static uint64_t issued(const struct run *r)
{
    for (uint32_t i = r->points.medium.at; i < r->trace.count; i++) {
        if (r->trace.op[i].kind == TRACE_NOTE && r->trace.op[i].at == NOTE_ISSUED) {
            return r->trace.op[i].size;
        }
    }
    return r->writes;
}

static uint64_t expected(void *context)
{
    struct run *r = context;
    for (; r->noted < r->points.medium.at; r->noted++) {
        const struct trace_op *op = &r->trace.op[r->noted];
        if (op->kind == TRACE_NOTE && op->at == NOTE_DURABLE) {
            r->durable = op->size;
        }
    }
    return r->durable << 32 ^ issued(r);
}

static struct expected found_log(struct run *r)
{
    struct expected found = {.term = r->state.term,
                             .voted_for = r->state.voted_for,
                             .snapshot = r->state.snapshot.index,
                             .first = r->state.first,
                             .last = r->state.first + r->state.count - 1};
    struct buf data = {0};
    for (uint64_t index = found.first; index <= found.last; index++) {
        uint8_t want[ENTRY_BYTES_MAX];
        uint64_t term = 0;
        uint32_t type = 0;
        data.size = 0;
        CHECK(raft_store_load(r->store, index, &term, &type, &data) == STATUS_OK);
        if (type == RAFT_COMMAND) {
            CHECK(data.size == entry_data(index, term, want));
            CHECK(memcmp(data.data, want, data.size) == 0);
        }
        found.hash = fold(fold(found.hash, index), term);
    }
    buf_release(&data);
    return found;
}

static bool is_equal(const struct expected *a, const struct expected *b)
{
    return a->term == b->term && a->voted_for == b->voted_for && a->snapshot == b->snapshot &&
           a->first == b->first && a->last == b->last && a->hash == b->hash;
}

static void check_state(struct run *r)
{
    open_state(r);
    uint64_t index = db_meta(r->script.db)->applied_index;
    if (index >= WRITES_MAX || digest_of(r->script.path) != r->digest[index]) {
        (void)fprintf(stderr, "the state at %llu is not what it was\n", (unsigned long long)index);
        exit(1);
    }
    db_close(r->script.db);
}

static struct expected look(struct run *r)
{
    open_store(r);
    struct expected found = found_log(r);
    raft_store_close(r->store);
    check_state(r);
    return found;
}

static void each(void *context, const struct image *image)
{
    struct run *r = context;
    image_store(image, r->dir);
    struct expected found = look(r);
    uint64_t upto = issued(r), write = r->durable;
    while (write <= upto && !is_equal(&found, &r->after[write])) {
        write++;
    }
    if (write > upto) {
        const struct expected *e = &r->after[r->durable];
        (void)fprintf(stderr,
                      "found term %llu vote %llu snapshot %llu log %llu..%llu\n"
                      "durable term %llu vote %llu snapshot %llu log %llu..%llu\n",
                      (unsigned long long)found.term, (unsigned long long)found.voted_for,
                      (unsigned long long)found.snapshot, (unsigned long long)found.first,
                      (unsigned long long)found.last, (unsigned long long)e->term,
                      (unsigned long long)e->voted_for, (unsigned long long)e->snapshot,
                      (unsigned long long)e->first, (unsigned long long)e->last);
        exit(1);
    }
    if (r->points.distinct % AGAIN_EVERY == 0) {
        struct expected again = look(r);
        CHECK(is_equal(&found, &again));
    }
}

static void one_seed(struct run *r, uint64_t seed, uint64_t steps, uint32_t random)
{
    memset(r, 0, offsetof(struct run, recoveries));
    (void)snprintf(r->dir, sizeof(r->dir), "/dev/shm/weir-crash-XXXXXX");
    CHECK(mkdtemp(r->dir) != NULL);
    rng_init(&r->rng, seed);
    trace_init(&r->trace, NULL);
    record_begin(r->dir, &r->trace);
    work(r, steps);
    record_end();
    points_init(&r->points, &r->trace, seed);
    r->points.random = random;
    r->points.each = each;
    r->points.expected = expected;
    r->points.context = r;
    points_explain_failures(&r->points);
    points_run(&r->points, 0, r->trace.count);
    (void)printf("seed %llu: %u steps, %llu crash points, %llu of them different\n",
                 (unsigned long long)seed, r->trace.count, (unsigned long long)r->points.count,
                 (unsigned long long)r->points.distinct);
    (void)fflush(stdout);
    points_explain_failures(NULL);
    struct image nothing;
    image_init(&nothing);
    image_store(&nothing, r->dir);
    image_release(&nothing);
    (void)rmdir(r->dir);
    points_release(&r->points);
    trace_release(&r->trace);
    free(r->script.out);
}

static uint64_t number(int argc, char **argv, const char *name, uint64_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return strtoull(argv[i + 1], NULL, 10);
        }
    }
    return otherwise;
}

int main(int argc, char **argv)
{
    struct run *r = calloc(1, sizeof(*r));
    CHECK(r != NULL);
    uint64_t seed = number(argc, argv, "--seed", 1), seeds = number(argc, argv, "--seeds", 1);
    uint64_t total = 0;
    for (uint64_t i = 0; i < seeds; i++) {
        one_seed(r, seed + i, number(argc, argv, "--steps", 500),
                 (uint32_t)number(argc, argv, "--random", 2));
        total += r->points.count;
    }
    (void)printf("%llu crash points of a controller's disk, %llu recoveries, nothing lost\n",
                 (unsigned long long)total, (unsigned long long)r->recoveries);
    free(r);
    return 0;
}
