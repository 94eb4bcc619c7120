/* A log whose last batch cannot be read: when it was appended nobody knows, and yet an epoch has to
 * begin (docs/replication.md 2.9). */
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/trace.h"
#include "tests/unit/broker/shard/world.h"

/* Reads that meet damage wait, as they do for broker/server/repair.h. */
static uint32_t met;
static void damaged(void *context, struct shard_log *log, uint64_t offset)
{
    (void)context;
    (void)log;
    (void)offset;
    met++;
}

/* The newest byte of broker 1's newest segment. */
static void flip_last_byte(const struct world *w)
{
    char pattern[160];
    (void)snprintf(pattern, sizeof(pattern), "%s/shards/*/*.log", w->broker[1].dir);
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    int fd = open(found.gl_pathv[found.gl_pathc - 1], O_RDWR);
    struct stat at;
    assert_int_equal(fstat(fd, &at), 0);
    uint8_t byte;
    off_t last = at.st_size;
    do { /* room that was allocated ahead */
        assert_int_equal(pread(fd, &byte, 1, --last), 1);
    } while (byte == 0);
    byte ^= 0x41;
    assert_int_equal(pwrite(fd, &byte, 1, last), 1);
    (void)close(fd);
    globfree(&found);
}

/* Broker 1 has a batch at `*out_base` that nobody else has, and can read it no more; it has
 * promised epoch 2, and is granted it. */
static void granted_with_a_damaged_end(struct world *w, uint64_t *out_base)
{
    world_open(w);
    world_elect(w, 1, 1);
    struct world_put put;
    world_put(w, 1, world_batch(3, 5, 1, 0), &put);
    world_settle(w);
    assert_int_equal(put.done, 1);
    w->broker[2].cut = w->broker[3].cut = true;
    world_put(w, 1, world_batch(3, 5, 1, 3), &put);
    world_settle(w);
    assert_int_equal(put.done, 0);
    *out_base = world_shard(w, 1)->end - 3;
    met = 0;
    w->wall_ms -= 60000; /* the clock went back while we were away */
    world_restart(w, 1); /* what waits is answered */
    flip_last_byte(w);
    store_set_repairer(w->broker[1].store, &(struct store_repairer){.damaged = damaged});
    w->broker[2].cut = w->broker[3].cut = false;
    world_elect(w, 1, 2);
    assert_int_equal(met, 1);
    assert_int_equal(world_shard(w, 1)->role, REPLICA_FOLLOWING);
    struct shard *shard = world_shard(w, 1);
    shard_log_note_hole(shard->log, *out_base, shard->end);
    shard_damaged(shard);
    world_settle(w);
    assert_int_equal(shard->role, REPLICA_LEADING);
    assert_false(shard->open);
}

static void tick(struct world *w)
{
    w->now_ms += REPLICA_RESEND_MS;
    shards_tick(w->broker[1].shards);
    world_settle(w);
}

static void a_damaged_end_that_nobody_has_is_cut_and_the_epoch_begins(void **state)
{
    (void)state;
    struct world w = {0};
    uint64_t base;
    granted_with_a_damaged_end(&w, &base);
    struct shard *shard = world_shard(&w, 1);
    for (uint32_t id = 2; id <= 3; id++) {
        shard_absent(shard,
                     &(struct shard_absence){
                         .from = {.broker = id, .disk_gen = 1},
                           .offset = base, .promised = 2
        });
    }
    world_settle(&w);
    assert_int_equal(shard->end, base);
    assert_false(shard->open); /* it does not know yet when the batch before was appended */
    shard_log_repaired(shard->log, true);
    world_settle(&w);
    tick(&w);
    assert_true(shard->open);
    assert_true(shard->producers_built);
    struct world_put put;
    world_put(&w, 1, world_batch(3, 5, 1, 3), &put); /* once more, and no duplicate */
    world_settle(&w);
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.base_offset, base + 1);
    world_close(&w);
}

static void a_damaged_end_that_is_repaired_is_kept(void **state)
{
    (void)state;
    struct world w = {0};
    uint64_t base;
    granted_with_a_damaged_end(&w, &base);
    struct shard *shard = world_shard(&w, 1);
    w.broker[2].cut = w.broker[3].cut = true;
    flip_last_byte(&w); /* back */
    shard_log_clear_hole(shard->log, base, shard->end);
    shard_damaged(shard);
    shard_log_repaired(shard->log, true);
    world_settle(&w);
    tick(&w);
    assert_int_equal(shard->end, base + 3 + 1);
    assert_int_equal(shard->last_ms, w.wall_ms + 60000); /* never back */
    world_close(&w);
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
        cmocka_unit_test(a_damaged_end_that_nobody_has_is_cut_and_the_epoch_begins),
        cmocka_unit_test(a_damaged_end_that_is_repaired_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
