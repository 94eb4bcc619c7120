/* Crash points of a broker's disk: journal, segments, identity, boot id.
 *
 * usage: weir-crash-storage [--seed N] [--seeds N] [--steps N] [--random N] [--forget-directories]
 *
 * Random work is recorded; then every crash point is recovered (docs/replication.md 2.9). What was
 * reported as synced must be there, nothing that was never appended, every promise, and a boot id
 * above all that were used. A shard is uncertain exactly when the write that was under way left
 * its persist mark without all of its block, and was named in it. A second recovery finds the same,
 * so does one after a crash during the first; and one after more work finds that, and nothing of
 * what the first has dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "broker/journal/block.h"
#include "tests/crash/points.h"
#include "tests/crash/record.h"
#include "tests/crash/turns.h"
#include "tests/support/store_model.h"

enum { NOTE_BOOT, NOTE_SYNCED, NOTE_ISSUED, NOTE_DONE };
enum { AGAIN_EVERY = 4, RECOVERY_EVERY = 16, RECOVERY_POINTS = 3 };

struct settings {
    uint64_t seed, seeds, steps, random;
    bool forget_directories;
};

struct run {
    struct store_fixture f;
    struct store_model m;
    struct trace trace;
    struct points points;
    uint32_t noted; /* steps whose notes have been read */
    uint64_t boot, synced;
    uint64_t ambiguous, recoveries;
    uint64_t boot_found;
};

/* ---- the work ---- */

static void work(struct run *r, const struct settings *settings)
{
    fixture_open(&r->f);
    struct store_info info;
    store_info(r->f.store, &info);
    record_note(NOTE_BOOT, info.boot_id);
    struct store_model *m = &r->m;
    while (r->trace.count < settings->steps) {
        enum status status = store_model_step(m);
        CHECK(status == STATUS_OK || status == STATUS_BUSY);
        record_note(NOTE_ISSUED, m->last_lsn);
        if (rng_once_in(&m->rng, 4)) {
            store_flush(r->f.store);
        }
        if (rng_once_in(&m->rng, 3)) {
            CHECK(store_poll(r->f.store, &r->f.synced) == STATUS_OK);
            record_note(NOTE_SYNCED, r->f.synced);
        }
        if (rng_once_in(&m->rng, 60)) {
            CHECK(store_sync(r->f.store, rng_once_in(&m->rng, 2) != 0) == STATUS_OK);
            record_note(NOTE_SYNCED, store_synced(r->f.store));
        }
    }
    fixture_close(&r->f);
    record_note(NOTE_SYNCED, m->last_lsn);
}

/* ---- what must be there ---- */

static void read_notes(struct run *r)
{
    for (; r->noted < r->points.medium.at; r->noted++) {
        const struct trace_op *op = &r->trace.op[r->noted];
        if (op->kind == TRACE_NOTE && op->at == NOTE_BOOT) {
            r->boot = op->size;
        } else if (op->kind == TRACE_NOTE && op->at == NOTE_SYNCED) {
            r->synced = op->size < r->m.last_lsn ? op->size : r->m.last_lsn;
        }
    }
}

static uint64_t issued(const struct run *r)
{
    for (uint32_t i = r->points.medium.at; i < r->trace.count; i++) {
        const struct trace_op *op = &r->trace.op[i];
        if (op->kind == TRACE_NOTE && op->at == NOTE_ISSUED) {
            return op->size;
        }
    }
    return r->m.last_lsn;
}

static uint64_t expected(void *context)
{
    struct run *r = context;
    read_notes(r);
    return r->synced << 32 ^ issued(r) << 8 ^ r->boot;
}

/* A block that was being written: its persist mark arrived, and not all that the mark covers. */
struct half {
    const struct trace_op *op; /* NULL: there is none */
    const uint8_t *left;       /* what arrived */
    bool framing;              /* the header or a record's frame is hurt, so that nothing is sure */
};

/* Whether every byte that the block's own checksum covers arrived. */
static bool framing_arrived(const struct half *half)
{
    const uint8_t *data = half->op->data;
    if (memcmp(half->left, data, BLOCK_SECTOR) != 0) {
        return false;
    }
    struct bytes rest = bytes_of(data + BLOCK_SECTOR, get_u32(data + 52));
    while (rest.size > 0) {
        struct journal_record record;
        uint64_t offset = 0;
        size_t at = (size_t)(rest.data - data);
        CHECK(journal_record_take(&rest, 0, &offset, &record) == STATUS_OK);
        if (memcmp(half->left + at, data + at,
                   journal_record_covered(record.type, record.body.size)) != 0) {
            return false;
        }
    }
    return true;
}

static struct half half_a_block(const struct medium *medium, const struct image *image)
{
    for (uint32_t i = 0; i < medium->pending_count; i++) {
        const struct trace_op *op = &medium->trace->op[medium->pending[i]];
        if (op->kind != TRACE_WRITE || op->size < BLOCK_UNIT || memcmp(op->data, "WJBH", 4) != 0) {
            continue;
        }
        const struct trace_node *node = &image->node[op->node];
        size_t covered = BLOCK_SECTOR + get_u32(op->data + 52);
        size_t mark = op->size - BLOCK_SECTOR;
        if (node->size >= op->at + op->size &&
            memcmp(node->data + op->at + mark, op->data + mark, BLOCK_SECTOR) == 0 &&
            memcmp(node->data + op->at, op->data, covered) != 0) {
            struct half half = {.op = op, .left = node->data + op->at};
            half.framing = !framing_arrived(&half);
            return half;
        }
    }
    return (struct half){0};
}

/* Whether the shard has a record in the block that did not arrive, for all that recovery can tell.
 */
static bool names(const struct half *half, uint64_t shard)
{
    if (half->op == NULL) {
        return false;
    }
    const uint8_t *data = half->op->data;
    struct bytes rest = bytes_of(data + BLOCK_SECTOR, get_u32(data + 52));
    while (rest.size > 0) {
        struct journal_record record;
        uint64_t offset = 0;
        CHECK(journal_record_take(&rest, 0, &offset, &record) == STATUS_OK);
        size_t body = (size_t)(record.body.data - data);
        if (record.shard == shard && record.type != JOURNAL_SHARDS &&
            (half->framing ||
             (record.type == JOURNAL_DATA &&
              memcmp(half->left + body, record.body.data, record.body.size) != 0))) {
            return true;
        }
    }
    return false;
}

static void check_producers(struct shard_log *log)
{
    struct buf table = {0};
    uint64_t base;
    if (shard_log_get_producers(log, &table, &base) == STATUS_OK) {
        CHECK(base <= fixture_last(log).end && table.size == 8 && get_u64(table.data) == base);
    }
    buf_release(&table);
}

static void check_logs(struct run *r)
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        struct shard_log *log = store_find_shard(r->f.store, store_model_shard(i));
        if (log != NULL) {
            (void)fixture_check_log(&r->f, log);
            check_producers(log);
        }
    }
}

static void fail_at(struct run *r, uint64_t upto, const char *why)
{
    store_model_explain(&r->m, r->synced);
    (void)fprintf(stderr, "%s; synced %llu, issued %llu\n", why, (unsigned long long)r->synced,
                  (unsigned long long)upto);
    exit(1);
}

/* A shard of half a block has lost some of its records and kept others: each thing that is known of
 * it is as it was at some moment since the sync. */
static bool was_so(const struct run *r, uint32_t i, uint64_t upto,
                   const struct replica_recovered *recovered)
{
    bool last = false, promised = false, start = false;
    for (uint64_t lsn = r->synced; lsn <= upto; lsn++) {
        const struct model_shard *e = &r->m.after[lsn][i];
        last =
            last || (e->exists && e->last.end == recovered->last.end &&
                     e->last.crc == recovered->last.crc && e->last.epoch == recovered->last.epoch);
        promised = promised || (e->exists && e->promised == recovered->promised);
        start = start || (e->exists && e->log_start == recovered->log_start);
    }
    return last && promised && start && recovered->uncertain;
}

static void match_named(struct run *r, uint32_t i, uint64_t upto, struct model_shard *found)
{
    struct shard_log *log = store_find_shard(r->f.store, store_model_shard(i));
    bool gone = false;
    for (uint64_t lsn = r->synced; lsn <= upto; lsn++) {
        gone = gone || !r->m.after[lsn][i].exists;
    }
    if (log == NULL) {
        if (!gone) {
            fail_at(r, upto, "a shard of half a block is gone");
        }
        *found = (struct model_shard){0};
        return;
    }
    struct replica_recovered recovered;
    shard_log_recovered(log, &recovered);
    if (!was_so(r, i, upto, &recovered)) {
        (void)fprintf(stderr, "shard %u\n", i);
        fail_at(r, upto, "a shard of half a block has a state that it never had, or is certain");
    }
    *found = (struct model_shard){.exists = true,
                                  .uncertain = true,
                                  .promised = recovered.promised,
                                  .generation = recovered.self.disk_gen,
                                  .last = recovered.last,
                                  .log_start = recovered.log_start};
}

/* Each shard has one of its states since the sync. */
static void match_shards(struct run *r, const struct half *half, uint64_t upto,
                         struct model_shard found[MODEL_SHARDS])
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        if (names(half, store_model_shard(i))) {
            match_named(r, i, upto, &found[i]);
            continue;
        }
        uint64_t lsn = upto;
        while (lsn > r->synced && !store_model_shard_is(&r->m, i, &r->m.after[lsn][i], false)) {
            lsn--;
        }
        if (!store_model_shard_is(&r->m, i, &r->m.after[lsn][i], false)) {
            (void)fprintf(stderr, "shard %u\n", i);
            fail_at(r, upto, "a shard that half a block does not name has a state it never had");
        }
        found[i] = r->m.after[lsn][i];
    }
}

static void match(struct run *r, const struct half *half, struct model_shard found[MODEL_SHARDS])
{
    uint64_t upto = issued(r);
    struct store_info info;
    store_info(r->f.store, &info);
    if (info.boot_id <= r->boot) {
        fail_at(r, upto, "the boot id was used before");
    }
    r->boot_found = info.boot_id;
    bool damaged = info.recovery.damaged_blocks + info.recovery.damaged_records > 0;
    static const struct half nothing;
    if (r->boot == 0 && !damaged) {
        half = &nothing; /* of a directory that was never open: it is made anew */
    }
    if (damaged != (half->op != NULL)) {
        fail_at(r, upto,
                damaged ? "damage is reported, and there is none"
                        : "half a block under its persist mark is not reported");
    }
    if (half->op != NULL) {
        r->ambiguous++;
        match_shards(r, half, upto, found);
        return;
    }
    for (uint64_t lsn = upto + 1; lsn > r->synced; lsn--) {
        if (store_model_is(&r->m, r->m.after[lsn - 1])) {
            memcpy(found, r->m.after[lsn - 1], MODEL_SHARDS * sizeof(*found));
            return;
        }
    }
    if (!store_model_is(&r->m, r->m.after[r->synced])) {
        fail_at(r, upto, "the recovered state is none that there was");
    }
    memcpy(found, r->m.after[r->synced], MODEL_SHARDS * sizeof(*found));
}

static void open_image(struct run *r, const struct image *image)
{
    if (image != NULL) {
        image_store(image, r->f.dir);
    }
    fixture_open(&r->f);
    r->recoveries++;
}

/* `half`: what the second crash left half done. */
static void match_again(struct run *r, const struct model_shard found[MODEL_SHARDS],
                        const struct half *half)
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        if (!store_model_shard_is(&r->m, i, &found[i], names(half, store_model_shard(i)))) {
            (void)fprintf(stderr, "shard %u: first found %d end %llu promised %u uncertain %d\n", i,
                          found[i].exists, (unsigned long long)found[i].last.end, found[i].promised,
                          found[i].uncertain);
            fail_at(r, issued(r), "a recovery behind a recovery finds another state");
        }
    }
    check_logs(r);
}

/* The first recovery's own steps, cut off at some of them. */
static void crash_again(struct run *r, const struct image *image,
                        const struct model_shard found[MODEL_SHARDS])
{
    struct trace trace;
    trace_init(&trace, image);
    image_store(image, r->f.dir);
    record_begin(r->f.dir, &trace);
    turns_begin(rng_next(&r->points.rng));
    fixture_open(&r->f);
    uint32_t open_at = trace.count;
    fixture_close(&r->f);
    turns_end();
    record_end();
    for (int i = 0; i < RECOVERY_POINTS; i++) {
        struct image left;
        struct medium medium;
        medium_init(&medium, &trace);
        for (uint64_t at = rng_below(&r->points.rng, open_at + 1); medium.at < at;) {
            medium_step(&medium);
        }
        points_random(&medium, &r->points.rng, &left);
        open_image(r, &left);
        struct half half = half_a_block(&medium, &left);
        match_again(r, found, &half);
        fixture_close(&r->f);
        image_release(&left);
        medium_release(&medium);
    }
    trace_release(&trace);
}

static void expect_now(struct run *r, struct model_shard expected[MODEL_SHARDS])
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        struct shard_log *log = store_find_shard(r->f.store, store_model_shard(i));
        expected[i] = (struct model_shard){0};
        if (log != NULL) {
            struct replica_recovered now;
            shard_log_recovered(log, &now);
            expected[i] = (struct model_shard){.exists = true,
                                               .uncertain = now.uncertain,
                                               .promised = now.promised,
                                               .generation = now.self.disk_gen,
                                               .last = now.last,
                                               .log_start = now.log_start};
        }
    }
}

/* Something new in every shard, synced: as after peers were answered. */
static void work_on(struct run *r)
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        struct shard_log *log = store_find_shard(r->f.store, store_model_shard(i));
        if (log == NULL) {
            continue;
        }
        struct replica_recovered now;
        shard_log_recovered(log, &now);
        struct batch_header header;
        struct bytes batch =
            test_batch(log, now.promised + 1, 2, 700, 5000 + now.last.end, &header);
        struct log_appended appended;
        CHECK(store_admit(r->f.store, batch.size) == STATUS_OK);
        CHECK(shard_log_append(log, &header, &batch, 1, &appended) == STATUS_OK);
    }
    CHECK(store_sync(r->f.store, false) == STATUS_OK);
}

/* The broker went on behind the recovery, and loses its power again: what the recovery dropped must
 * not come back. */
static void crash_later(struct run *r, const struct image *image)
{
    struct trace trace;
    struct model_shard expected[MODEL_SHARDS];
    trace_init(&trace, image);
    image_store(image, r->f.dir);
    record_begin(r->f.dir, &trace);
    turns_begin(rng_next(&r->points.rng));
    fixture_open(&r->f);
    work_on(r);
    uint32_t synced_at = trace.count;
    expect_now(r, expected);
    fixture_close(&r->f);
    turns_end();
    record_end();
    for (int i = 0; i < RECOVERY_POINTS; i++) {
        struct image left;
        struct medium medium;
        medium_init(&medium, &trace);
        uint64_t upto = synced_at + rng_below(&r->points.rng, trace.count - synced_at + 1);
        while (medium.at < upto) {
            medium_step(&medium);
        }
        points_random(&medium, &r->points.rng, &left);
        open_image(r, &left);
        struct half half = half_a_block(&medium, &left);
        match_again(r, expected, &half);
        fixture_close(&r->f);
        image_release(&left);
        medium_release(&medium);
    }
    trace_release(&trace);
}

static void each(void *context, const struct image *image)
{
    struct run *r = context;
    struct model_shard found[MODEL_SHARDS];
    open_image(r, image);
    struct half half = half_a_block(&r->points.medium, image);
    match(r, &half, found);
    check_logs(r);
    fixture_close(&r->f);
    if (r->points.distinct % AGAIN_EVERY == 0) {
        open_image(r, NULL);
        match_again(r, found, &(struct half){0});
        fixture_close(&r->f);
    }
    if (r->points.distinct % RECOVERY_EVERY == 0) {
        crash_again(r, image, found);
    }
    if (r->points.distinct % RECOVERY_EVERY == RECOVERY_EVERY / 2) {
        crash_later(r, image);
    }
}

/* ---- ---- */

static void set_up(struct run *r, uint64_t seed)
{
    memset(r->m.now, 0, sizeof(r->m.now));
    rng_init(&r->m.rng, seed);
    fixture_init(&r->f);
    r->m.f = &r->f;
    r->m.last_lsn = 0;
    r->m.large_payload = 20000;
    r->noted = 0;
    r->boot = r->synced = 0;
    memset(r->m.after[0], 0, sizeof(r->m.now));
    r->f.options.journal_file_bytes = 64 * 1024;
    r->f.options.journal_files = 4 + (uint32_t)(seed % 3);
    r->f.options.ring_bytes = 256 * 1024;
    r->f.options.block_bytes = seed % 2 == 0 ? 4096 : 16384;
    r->f.options.segment_bytes = 64 * 1024;
    r->f.options.backend = JOURNAL_BACKEND_THREAD;
    r->f.options.buffered = true; /* a write, then a sync: two steps */
    r->f.options.reserve_bytes = 0;
}

static void one_seed(struct run *r, const struct settings *settings, uint64_t seed)
{
    set_up(r, seed);
    trace_init(&r->trace, NULL);
    record_forget_directories(settings->forget_directories ? "/shards/" : NULL);
    record_begin(r->f.dir, &r->trace);
    turns_begin(seed);
    work(r, settings);
    turns_end();
    record_end();
    record_forget_directories(NULL);
    points_init(&r->points, &r->trace, seed);
    r->points.random = (uint32_t)settings->random;
    r->points.each = each;
    r->points.expected = expected;
    r->points.context = r;
    points_explain_failures(&r->points);
    uint64_t ambiguous = r->ambiguous, recoveries = r->recoveries;
    points_run(&r->points, 0, r->trace.count);
    (void)printf("seed %llu: %u steps, %llu crash points, %llu of them different, %llu recoveries, "
                 "%llu with half a block\n",
                 (unsigned long long)seed, r->trace.count, (unsigned long long)r->points.count,
                 (unsigned long long)r->points.distinct,
                 (unsigned long long)(r->recoveries - recoveries),
                 (unsigned long long)(r->ambiguous - ambiguous));
    (void)fflush(stdout);
    points_explain_failures(NULL);
    points_release(&r->points);
    trace_release(&r->trace);
    fixture_release(&r->f);
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
    (void)setenv("TMPDIR", "/dev/shm", 0);
    struct settings settings = {
        .seed = number(argc, argv, "--seed", 1),
        .seeds = number(argc, argv, "--seeds", 1),
        .steps = number(argc, argv, "--steps", 700),
        .random = number(argc, argv, "--random", 2),
        .forget_directories = argc > 1 && strcmp(argv[argc - 1], "--forget-directories") == 0,
    };
    struct run *r = calloc(1, sizeof(*r));
    CHECK(r != NULL);
    r->m.after = calloc(settings.steps + 4096, sizeof(*r->m.after));
    CHECK(r->m.after != NULL);
    uint64_t total = 0;
    for (uint64_t seed = settings.seed; seed < settings.seed + settings.seeds; seed++) {
        one_seed(r, &settings, seed);
        total += r->points.count;
    }
    (void)printf("%llu crash points of a broker's disk, %llu recoveries, nothing lost\n",
                 (unsigned long long)total, (unsigned long long)r->recoveries);
    free(r->m.after);
    free(r);
    return 0;
}
