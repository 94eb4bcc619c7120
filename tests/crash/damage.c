/* Damage to a broker's disk: bits that flip, blocks that are zeroed, shifted, swapped, doubled, or
 * replaced by what was there before.
 *
 * usage: weir-crash-damage [--seed N] [--count N] [--all]
 *
 * A recorded directory is damaged in one place and opened. Either it is refused with a sentence, or
 * every byte that a reader gets is as it was written; a shard that has forgotten a record or a
 * promise is uncertain (docs/replication.md 2.9), what is missing below its end is refused as a
 * hole; and the boot id is above all that were used. With --all every bit of the headers flips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "broker/journal/block.h"
#include "tests/crash/record.h"
#include "tests/support/store_model.h"

enum { WORK_STEPS = 1500, AGAIN_EVERY = 8 };

enum outcome { UNHARMED, REFUSED, UNCERTAIN, HOLE, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"without effect", "refused", "uncertain",
                                                    "holes"};

struct run {
    struct store_fixture f;
    struct store_model m;
    struct rng rng;
    struct image good, before; /* `before`: the same directory, earlier */
    struct replica_recovered want[MODEL_SHARDS];
    bool exists[MODEL_SHARDS];
    uint64_t boot, trials, outcome[OUTCOMES];
    char what[160];
};

static void path_of(const struct image *image, uint32_t entry, char out[160]);

/* The blocks of the journal before the damage. */
static void print_blocks(const struct image *image)
{
    for (uint32_t i = 0; i < image->entry_count; i++) {
        char path[160];
        const struct trace_node *node = &image->node[image->entry[i].node];
        path_of(image, i, path);
        for (uint64_t at = 0; strncmp(path, "journal/", 8) == 0 && at < node->size; at += 4096) {
            if (memcmp(node->data + at, "WJBH", 4) == 0) {
                (void)fprintf(stderr, "%s sector %u: block %llu, %u bytes, %u used, oldest %llu\n",
                              path, (unsigned)(at / 512),
                              (unsigned long long)get_u64(node->data + at + 24),
                              get_u32(node->data + at + 48), get_u32(node->data + at + 52),
                              (unsigned long long)get_u64(node->data + at + 64));
            }
        }
    }
}

static void fail_trial(const struct run *r, const char *why, uint32_t shard)
{
    print_blocks(&r->good);
    (void)fprintf(stderr, "%s, shard %u, after: %s\n", why, shard, r->what);
    exit(1);
}

/* ---- the directory ---- */

static void work(struct run *r, struct trace *trace, uint32_t *out_middle)
{
    fixture_open(&r->f);
    struct store_info info;
    store_info(r->f.store, &info);
    r->boot = info.boot_id;
    while (trace->count < WORK_STEPS) {
        enum status status = store_model_step(&r->m);
        CHECK(status == STATUS_OK || status == STATUS_BUSY);
        if (rng_once_in(&r->m.rng, 4)) {
            store_flush(r->f.store);
        }
        CHECK(store_poll(r->f.store, &r->f.synced) == STATUS_OK);
        if (rng_once_in(&r->m.rng, 100)) {
            CHECK(store_sync(r->f.store, rng_once_in(&r->m.rng, 2) != 0) == STATUS_OK);
        }
        *out_middle = trace->count < WORK_STEPS / 2 ? trace->count : *out_middle;
    }
    CHECK(store_sync(r->f.store, false) == STATUS_OK);
    /* The newest block, without its mark, is one that was never written. Nothing is lost in it. */
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        struct shard_log *log = store_find_shard(r->f.store, store_model_shard(i));
        uint64_t lsn;
        if (log != NULL) {
            shard_log_recovered(log, &r->want[i]);
            shard_log_commit_hint(log, r->want[i].last.end);
            CHECK(shard_log_trim(log, r->want[i].log_start, &lsn) == STATUS_OK);
        }
    }
    CHECK(store_sync(r->f.store, false) == STATUS_OK);
}

static bool keep_all(void *context, uint32_t pending, const struct trace_op *op, uint32_t sector)
{
    (void)context;
    (void)pending;
    (void)op;
    (void)sector;
    return true;
}

static void image_at(const struct trace *trace, uint32_t at, struct image *out)
{
    struct medium medium;
    struct fate fate = {.keep = keep_all};
    medium_init(&medium, trace);
    while (medium.at < at) {
        medium_step(&medium);
    }
    medium_crash(&medium, &fate, out);
    medium_release(&medium);
}

static void prepare(struct run *r, uint64_t seed)
{
    struct trace trace;
    uint32_t middle = 0;
    rng_init(&r->m.rng, seed);
    rng_init(&r->rng, seed + 1);
    fixture_init(&r->f);
    r->m.f = &r->f;
    r->m.large_payload = 20000;
    r->f.options.journal_file_bytes = 64 * 1024;
    r->f.options.journal_files = 5;
    r->f.options.ring_bytes = 256 * 1024;
    r->f.options.block_bytes = 8192;
    r->f.options.segment_bytes = 64 * 1024;
    r->f.options.backend = JOURNAL_BACKEND_THREAD;
    r->f.options.buffered = true;
    trace_init(&trace, NULL);
    record_begin(r->f.dir, &trace);
    work(r, &trace, &middle);
    uint32_t end = trace.count;
    fixture_close(&r->f);
    record_end();
    image_at(&trace, end, &r->good);
    image_at(&trace, middle, &r->before);
    trace_release(&trace);
    image_store(&r->good, r->f.dir);
    fixture_open(&r->f);
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        struct shard_log *log = store_find_shard(r->f.store, store_model_shard(i));
        r->exists[i] = log != NULL;
        if (log != NULL) {
            shard_log_recovered(log, &r->want[i]);
            (void)fixture_check_log(&r->f, log);
        }
    }
    fixture_close(&r->f);
}

/* ---- what may come of it ---- */

static void check_bytes(const struct run *r, uint32_t shard, struct bytes rest, uint64_t from)
{
    while (rest.size > 0) {
        struct batch_header h;
        if (batch_decode(rest, &h) != STATUS_OK || h.base_offset != from ||
            !fixture_payload_is_good(rest, &h)) {
            fail_trial(r, "a reader gets what was never written", shard);
        }
        from = batch_end(&h);
        rest = bytes_of(rest.data + batch_bytes(&h), rest.size - batch_bytes(&h));
    }
}

/* Reads all that can be read; returns whether something below the end could not. */
static bool read_all(struct run *r, uint32_t shard, struct shard_log *log,
                     const struct replica_recovered *found)
{
    bool hole = false;
    uint64_t at = found->log_start;
    struct log_read read = {.log = log, .end = UINT64_MAX, .max_bytes = 20000};
    while (at < found->last.end) {
        struct log_batch batch;
        if (shard_log_tail(log, at, found->last.end, 1, &batch, 1) == 1) {
            check_bytes(r, shard, batch.bytes, batch.base);
            at = batch.base + batch.count;
            continue;
        }
        read.offset = at;
        memset(&read.hint, 0, sizeof(read.hint));
        enum status status = fixture_read(&r->f, &read);
        if (status == STATUS_OK && read.next > at) {
            check_bytes(r, shard, buf_bytes(&read.data), read.first_base);
            at = read.next;
        } else if (status == STATUS_CORRUPT || status == STATUS_IO) {
            hole = true;
            at++;
        } else {
            fail_trial(r, status_name(status), shard);
        }
    }
    buf_release(&read.data);
    return hole;
}

static enum outcome check_shard(struct run *r, uint32_t i, bool damaged)
{
    struct shard_log *log = store_find_shard(r->f.store, store_model_shard(i));
    const struct replica_recovered *want = &r->want[i];
    if (log == NULL || !r->exists[i]) {
        if ((log != NULL) != r->exists[i] && !damaged) {
            fail_trial(r, "it came or went without a word", i);
        }
        return (log != NULL) != r->exists[i] ? UNCERTAIN : UNHARMED;
    }
    struct replica_recovered found;
    shard_log_recovered(log, &found);
    bool forgot = found.last.end < want->last.end || found.promised < want->promised ||
                  found.last.crc != want->last.crc || found.log_start < want->log_start;
    if (forgot && !found.uncertain) {
        (void)fprintf(
            stderr, "found end %llu start %llu promised %u, was end %llu start %llu promised %u\n",
            (unsigned long long)found.last.end, (unsigned long long)found.log_start, found.promised,
            (unsigned long long)want->last.end, (unsigned long long)want->log_start,
            want->promised);
        fail_trial(r, "something is forgotten and nobody says so", i);
    }
    if (!found.uncertain && (found.last.end > want->last.end || found.promised > want->promised)) {
        fail_trial(r, "more than there was", i);
    }
    bool hole = read_all(r, i, log, &found);
    return found.uncertain && !want->uncertain ? UNCERTAIN : hole ? HOLE : UNHARMED;
}

static void trial(struct run *r, const struct image *image)
{
    struct error error = {0};
    bool was_uncertain[MODEL_SHARDS] = {false};
    enum outcome outcome = UNHARMED;
    r->trials++;
    image_store(image, r->f.dir);
    for (uint32_t round = 0; round < (r->trials % AGAIN_EVERY == 0 ? 2U : 1U); round++) {
        enum status status = store_open(&r->f.options, &r->f.store, &error);
        if (status != STATUS_OK) {
            r->f.store = NULL;
            if ((status != STATUS_CORRUPT && status != STATUS_UNSUPPORTED) ||
                error.text[0] == '\0' || round > 0) {
                fail_trial(r, status_name(status), 0);
            }
            outcome = REFUSED;
            break;
        }
        struct store_info info;
        store_info(r->f.store, &info);
        if (info.boot_id <= r->boot) {
            fail_trial(r, "the boot id was used before", 0);
        }
        bool damaged = info.recovery.damaged_blocks + info.recovery.damaged_records > 0;
        for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
            enum outcome of = check_shard(r, i, damaged || round > 0);
            outcome = of > outcome ? of : outcome;
            if (round > 0 && was_uncertain[i] && of != UNCERTAIN) {
                fail_trial(r, "a second start is certain again", i);
            }
            was_uncertain[i] = of == UNCERTAIN;
        }
        store_close(r->f.store);
        r->f.store = NULL;
    }
    r->outcome[outcome]++;
}

/* ---- damage ---- */

static void path_of(const struct image *image, uint32_t entry, char out[160])
{
    char below[160] = "";
    while (true) {
        const struct trace_entry *e = &image->entry[entry];
        (void)snprintf(out, 160, "%.70s%s%.80s", e->name, below[0] != '\0' ? "/" : "", below);
        (void)snprintf(below, sizeof(below), "%s", out);
        if (e->dir == TRACE_ROOT) {
            return;
        }
        uint32_t above = 0;
        while (image->entry[above].node != e->dir) {
            above++;
        }
        entry = above;
    }
}

/* A random file with something in it. */
static struct trace_node *some_file(struct run *r, struct image *image, char path[160])
{
    while (true) {
        uint32_t entry = (uint32_t)rng_below(&r->rng, image->entry_count);
        struct trace_node *node = &image->node[image->entry[entry].node];
        path_of(image, entry, path);
        if (!node->is_dir && node->size > 0 && strstr(path, "quarantine") == NULL) {
            return node;
        }
    }
}

static void flip(struct trace_node *node, uint64_t byte, uint32_t bit)
{
    node->data[byte] = (uint8_t)(node->data[byte] ^ 1U << bit);
}

/* False: nothing changed by it. */
static bool damage_block(struct run *r, struct trace_node *node, const struct trace_node *old,
                         char what[64])
{
    static const char *const names[] = {"zeroed", "shifted", "swapped", "doubled", "of before"};
    uint64_t unit = rng_once_in(&r->rng, 2) ? 512 : 4096;
    uint64_t kind = rng_below(&r->rng, 5), blocks = node->size / unit;
    if (blocks < 3) {
        return false;
    }
    uint64_t a = rng_below(&r->rng, blocks - 1), b = rng_below(&r->rng, blocks - 1);
    uint8_t kept[4096], *at = node->data + a * unit, *other = node->data + b * unit;
    (void)snprintf(what, 64, "%u bytes at block %u (%u) %s", (unsigned)unit, (unsigned)a,
                   (unsigned)b, names[kind]);
    memcpy(kept, at, unit);
    if (kind == 0) {
        memset(at, 0, unit);
    } else if (kind == 1) {
        memmove(at + 8, at, unit);
    } else if (kind == 2) {
        memmove(at, other, unit);
        memcpy(other, kept, unit);
    } else if (kind == 3) {
        memmove(other, at, unit);
    } else if (old != NULL && old->size >= (a + 1) * unit) {
        memcpy(at, old->data + a * unit, unit);
    }
    return true;
}

static void random_damage(struct run *r)
{
    struct image image;
    char path[160], how[64] = "";
    image_copy(&r->good, &image);
    struct trace_node *node = some_file(r, &image, path);
    bool boot = strcmp(path, "boot") == 0; /* an old one is an old disk: the controllers notice */
    if (rng_once_in(&r->rng, 2) || boot) {
        uint64_t byte = rng_below(&r->rng, node->size);
        flip(node, byte, (uint32_t)rng_below(&r->rng, 8));
        (void)snprintf(how, sizeof(how), "a bit of byte %llu", (unsigned long long)byte);
    } else if (!damage_block(r, node, image_file(&r->before, path), how)) {
        image_release(&image);
        return;
    }
    (void)snprintf(r->what, sizeof(r->what), "%.90s: %.60s", path, how);
    trial(r, &image);
    image_release(&image);
}

/* One bit of each byte from `at`, or with `all` each bit. */
static void flip_range(struct run *r, const char *path, uint64_t at, uint64_t size, bool all)
{
    struct image image;
    image_copy(&r->good, &image);
    struct trace_node *node = image_file(&image, path);
    for (uint64_t byte = at; byte < at + size && byte < node->size; byte++) {
        for (uint32_t i = 0; i < (all ? 8U : 1U); i++) {
            uint32_t bit = all ? i : (uint32_t)rng_below(&r->rng, 8);
            (void)snprintf(r->what, sizeof(r->what), "%.90s: bit %u of byte %llu", path, bit,
                           (unsigned long long)byte);
            flip(node, byte, bit);
            trial(r, &image);
            flip(node, byte, bit);
        }
    }
    image_release(&image);
}

/* Header, first frames and mark of a block somewhere in the part that is needed. */
static void flip_headers(struct run *r, bool all)
{
    uint64_t newest = 0, at_newest = 0;
    char path[160] = "", at_path[160] = "";
    for (uint32_t i = 0; i < r->good.entry_count; i++) {
        const struct trace_node *node = &r->good.node[r->good.entry[i].node];
        path_of(&r->good, i, path);
        for (uint64_t at = 0; strncmp(path, "journal/", 8) == 0 && at < node->size; at += 4096) {
            uint64_t number = get_u64(node->data + at + 24);
            /* The last of full size: the newest of all has nothing to lose. */
            if (memcmp(node->data + at, "WJBH", 4) == 0 && number > newest &&
                get_u32(node->data + at + 52) > 2000) {
                newest = number;
                at_newest = at;
                memcpy(at_path, path, sizeof(path));
            }
        }
    }
    CHECK(newest > 0);
    uint64_t bytes = get_u32(image_file(&r->good, at_path)->data + at_newest + 48);
    flip_range(r, at_path, at_newest, BLOCK_SECTOR + RECORD_FRAME_BYTES + 128, all);
    flip_range(r, at_path, at_newest + bytes - BLOCK_SECTOR, BLOCK_SECTOR, all);
    for (uint32_t i = 0; i < r->good.entry_count; i++) {
        path_of(&r->good, i, path);
        const struct trace_node *node = &r->good.node[r->good.entry[i].node];
        if (node->size > 0 && strncmp(path, "shards/", 7) == 0) {
            flip_range(r, path, 0, strstr(path, ".log") != NULL ? 128 : 32, all);
            if (!all) {
                break;
            }
        }
    }
    flip_range(r, "boot", 0, 64, all);
    flip_range(r, "boot", 4096, 64, all);
    flip_range(r, "identity", 0, 64, all);
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
    bool all = argc > 1 && strcmp(argv[argc - 1], "--all") == 0;
    uint64_t count = number(argc, argv, "--count", all ? 100000 : 1500);
    struct run *r = calloc(1, sizeof(*r));
    CHECK(r != NULL);
    r->m.after = calloc(1U << 16, sizeof(*r->m.after));
    CHECK(r->m.after != NULL);
    prepare(r, number(argc, argv, "--seed", 1));
    flip_headers(r, all);
    for (uint64_t i = 0; i < count; i++) {
        random_damage(r);
    }
    (void)printf("%llu damaged disks:", (unsigned long long)r->trials);
    for (int i = 0; i < OUTCOMES; i++) {
        (void)printf(" %llu %s%s", (unsigned long long)r->outcome[i], outcome_names[i],
                     i + 1 < OUTCOMES ? "," : "\n");
    }
    image_release(&r->good);
    image_release(&r->before);
    fixture_release(&r->f);
    free(r->m.after);
    free(r);
    return 0;
}
