/* Damaged pieces of segments: found to the batch, written over only with what closes the chain, and
 * waited for by reads. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

enum { SHARD = 1, BATCHES = 700, PAYLOAD = 1000, PATH_BYTES = 256 };

struct world {
    struct store_fixture f;
    struct shard_log *log;
    uint8_t *good; /* the second segment's file, before anything happened to it */
    size_t good_bytes;
    struct log_segment first, second, third;
    uint32_t told; /* times that the repairer was called */
    uint64_t told_offset;
    bool partial; /* how patch() asks */
};

static void segment_path(const struct world *w, uint64_t base, char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "%s/shards/0-%u/%020llu.log", w->f.dir, SHARD,
                   (unsigned long long)base);
}

static void setup(struct world *w)
{
    *w = (struct world){0};
    fixture_init(&w->f);
    fixture_open(&w->f);
    uint64_t lsn;
    assert_int_equal(store_create_shard(w->f.store, SHARD, 1, 0, &w->log, &lsn), STATUS_OK);
    for (uint32_t i = 0; i < BATCHES; i++) {
        lsn = fixture_append(&w->f, w->log, 1 + i / 100, 2, PAYLOAD);
    }
    fixture_wait(&w->f, lsn);
    assert_int_equal(store_sync(w->f.store, true), STATUS_OK);
    assert_true(shard_log_segment(w->log, 0, &w->first));
    assert_true(shard_log_segment(w->log, w->first.base + 1, &w->second));
    assert_true(shard_log_segment(w->log, w->second.base + 1, &w->third));
    assert_true(w->second.whole);
    char path[PATH_BYTES];
    segment_path(w, w->second.base, path);
    w->good_bytes = w->second.bytes;
    w->good = malloc(w->good_bytes);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && w->good != NULL);
    assert_int_equal(pread(fd, w->good, w->good_bytes, 0), (ssize_t)w->good_bytes);
    (void)close(fd);
}

static void teardown(struct world *w)
{
    free(w->good);
    fixture_release(&w->f);
}

static void spoil(const struct world *w, uint64_t base, uint64_t at, size_t bytes)
{
    char path[PATH_BYTES];
    uint8_t bad[4096];
    assert_true(bytes <= sizeof(bad));
    memset(bad, 0xa5, sizeof(bad));
    segment_path(w, base, path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bad, bytes, (off_t)at), (ssize_t)bytes);
    (void)close(fd);
}

static void check_done(struct log_check *check)
{
    check->owner = NULL;
}

static enum status check(struct world *w, struct log_check *check)
{
    check->log = w->log;
    check->max_bytes = 64 * 1024;
    check->done = check_done;
    check->owner = check;
    assert_int_equal(store_check(w->f.store, check), STATUS_OK);
    while (check->owner != NULL) {
        assert_int_equal(store_poll(w->f.store, &w->f.synced), STATUS_OK);
        (void)usleep(100);
    }
    return check->status;
}

/* Until something else than OK comes. */
static enum status check_all(struct world *w, struct log_check *c)
{
    enum status status = check(w, c);
    while (status == STATUS_OK) {
        status = check(w, c);
    }
    return status;
}

static void patch_done(struct log_patch *patch)
{
    patch->owner = NULL;
}

static enum status patch(struct world *w, const struct log_check *c, struct bytes data)
{
    struct log_patch p = {.log = w->log,
                          .segment = c->segment,
                          .at = c->at,
                          .point = c->point,
                          .has_point = c->has_point,
                          .data = data,
                          .partial = w->partial,
                          .done = patch_done,
                          .owner = w};
    enum status status = store_patch(w->f.store, &p);
    if (status != STATUS_OK) {
        return status;
    }
    while (p.owner != NULL) {
        assert_int_equal(store_poll(w->f.store, &w->f.synced), STATUS_OK);
        (void)usleep(100);
    }
    return p.status;
}

static struct bytes good_from(const struct world *w, uint64_t at)
{
    return bytes_of(w->good + at, w->good_bytes - at);
}

static void assert_as_before(const struct world *w)
{
    char path[PATH_BYTES];
    segment_path(w, w->second.base, path);
    uint8_t *now = calloc(1, w->good_bytes);
    int fd = open(path, O_RDONLY);
    struct stat is = {0};
    assert_true(now != NULL && fd >= 0 && fstat(fd, &is) == 0);
    assert_int_equal(is.st_size, w->good_bytes);
    assert_int_equal(pread(fd, now, w->good_bytes, 0), (ssize_t)w->good_bytes);
    assert_memory_equal(now, w->good, w->good_bytes);
    (void)close(fd);
    free(now);
}

static struct replica_holes holes_of(const struct world *w)
{
    struct replica_holes holes;
    shard_log_holes(w->log, &holes);
    return holes;
}

static void reopen(struct world *w)
{
    fixture_close(&w->f);
    fixture_open(&w->f);
    w->log = store_find_shard(w->f.store, SHARD);
    assert_non_null(w->log);
}

static void wait_for_file(struct world *w)
{
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(store_poll(w->f.store, &w->f.synced), STATUS_OK);
        (void)usleep(1000);
    }
}

static void known_damage_outlives_a_restart(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    shard_log_note_hole(w.log, 40, 50);
    shard_log_note_hole(w.log, 10, 12);
    shard_log_note_hole(w.log, 48, 60);
    shard_log_clear_hole(w.log, 42, 44);
    wait_for_file(&w);
    reopen(&w);
    assert_int_equal(holes_of(&w).count, 3);
    assert_int_equal(holes_of(&w).begin, 10);
    assert_int_equal(holes_of(&w).end, 60);
    struct replica_recovered recovered;
    shard_log_recovered(w.log, &recovered);
    assert_int_equal(recovered.holes.count, 3);
    shard_log_clear_hole(w.log, 0, 100);
    assert_int_equal(holes_of(&w).count, 0);
    wait_for_file(&w);
    reopen(&w);
    assert_int_equal(holes_of(&w).count, 0);
    teardown(&w);
}

static void a_damaged_list_of_damage_is_not_believed(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    shard_log_note_hole(w.log, 40, 50);
    wait_for_file(&w);
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/damage", w.f.dir);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 50), 1);
    (void)close(fd);
    reopen(&w);
    assert_int_equal(holes_of(&w).count, 0);
    teardown(&w);
}

static void many_holes_become_fewer_and_none_is_lost(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    for (uint64_t i = 0; i < 100; i++) {
        shard_log_note_hole(w.log, 10 * i, 10 * i + 1 + i % 3);
    }
    assert_true(holes_of(&w).count <= 32);
    assert_int_equal(holes_of(&w).begin, 0);
    assert_int_equal(holes_of(&w).end, 991);
    teardown(&w);
}

static void damage_is_not_taken_for_a_batch_that_is_not_there(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct log_point point;
    uint64_t inside = w.second.base + 2; /* batches of two records */
    assert_int_equal(shard_log_point_at(w.log, inside, &point), STATUS_OK);
    assert_int_equal(shard_log_point_at(w.log, inside + 1, &point), STATUS_NOT_FOUND);
    reopen(&w);
    spoil(&w, w.second.base, 0, 200);
    assert_int_equal(shard_log_point_at(w.log, inside, &point), STATUS_CORRUPT);
    teardown(&w);
}

static void what_another_has_of_a_hole_is_written_if_the_history_says_it_is_ours(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    spoil(&w, w.second.base, 0, 4096); /* some batches */
    struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
    assert_int_equal(c.point.end, w.second.base);
    assert_true(c.hole_end > w.second.base + 2 && c.hole_end < w.second.base + 20);
    struct batch_header h;
    assert_int_equal(batch_header_decode(good_from(&w, 0), &h), STATUS_OK);
    struct bytes one = bytes_of(w.good, batch_bytes(&h));
    assert_int_equal(patch(&w, &c, one), STATUS_MORE);
    w.partial = true;
    assert_int_equal(patch(&w, &c, one), STATUS_OK);
    struct log_check again = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &again), STATUS_CORRUPT);
    assert_int_equal(again.point.end, w.second.base + 2);
    teardown(&w);
}

static void a_good_segment_is_checked_to_its_end(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &c), STATUS_MORE);
    assert_int_equal(c.at, w.second.bytes);
    assert_int_equal(c.point.end, w.second.end);
    teardown(&w);
}

static void a_segment_of_which_nothing_is_written_yet_is_no_damage(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    /* Up to the first batch of a segment, whose file is not there before that batch is synced. */
    struct log_segment before = w.third, newest;
    while (shard_log_segment(w.log, before.base + 1, &newest)) {
        before = newest;
    }
    do {
        (void)fixture_append(&w.f, w.log, 9, 2, PAYLOAD);
    } while (!shard_log_segment(w.log, before.base + 1, &newest));
    assert_int_equal(newest.bytes, 0);
    struct log_check c = {.segment = newest.base, .point = {.end = newest.base}};
    assert_int_equal(check(&w, &c), STATUS_MORE);
    assert_int_equal(c.at, 0);
    teardown(&w);
}

/* Every place of damage, with the log's own old bytes as the other replica's. */
static void damage_is_found_and_written_over_wherever_it_lies(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    const uint64_t at[] = {0,
                           4,
                           200,
                           w.second.bytes / 2,
                           w.second.bytes / 3,
                           w.second.bytes - 1,
                           w.second.bytes - PAYLOAD - 40};
    const size_t bytes[] = {1, 100, 1, 3000, 4096, 1, PAYLOAD};
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        spoil(&w, w.second.base, at[i], bytes[i]);
        struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
        assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
        assert_true(c.at <= at[i]);
        struct log_check near = {.segment = w.second.base, .near = true, .offset = c.point.end};
        assert_int_equal(check_all(&w, &near), STATUS_CORRUPT);
        assert_int_equal(near.at, c.at);
        assert_int_equal(patch(&w, &near, good_from(&w, near.at)), STATUS_OK);
        assert_as_before(&w);
    }
    assert_int_equal(fixture_check_log(&w.f, w.log), 2 * BATCHES);
    teardown(&w);
}

static void a_segment_that_was_cut_off_or_emptied_is_made_whole(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    const uint64_t sizes[] = {w.second.bytes / 2, 0};
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_BYTES];
        segment_path(&w, w.second.base, path);
        assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
        struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
        assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
        assert_int_equal(patch(&w, &c, good_from(&w, c.at)), STATUS_OK);
        assert_as_before(&w);
    }
    teardown(&w);
}

static void what_does_not_close_the_gap_is_not_written(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    spoil(&w, w.second.base, w.second.bytes / 2, 3000);
    struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
    struct bytes rest = good_from(&w, c.at);
    struct batch_header h;
    assert_int_equal(batch_header_decode(rest, &h), STATUS_OK);
    size_t one = batch_bytes(&h);
    /* One batch of the three or four that are damaged; the batch behind it; half a batch. */
    assert_int_equal(patch(&w, &c, bytes_of(rest.data, one)), STATUS_MORE);
    assert_int_equal(patch(&w, &c, bytes_of(rest.data + one, rest.size - one)), STATUS_CORRUPT);
    assert_int_equal(patch(&w, &c, bytes_of(rest.data, one / 2)), STATUS_CORRUPT);
    /* Well formed, of the same shard and offset, and of another history. */
    uint8_t *other = malloc(rest.size);
    assert_non_null(other);
    memcpy(other, rest.data, rest.size);
    h.append_ms++;
    batch_header_encode(&h, other);
    assert_int_equal(batch_decode(bytes_of(other, one), &h), STATUS_OK);
    assert_int_equal(patch(&w, &c, bytes_of(other, one)), STATUS_MORE); /* so far it could be */
    assert_int_equal(patch(&w, &c, bytes_of(other, rest.size)), STATUS_CORRUPT);
    free(other);
    struct log_check again = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &again), STATUS_CORRUPT);
    assert_int_equal(again.at, c.at);
    assert_int_equal(patch(&w, &c, rest), STATUS_OK);
    assert_as_before(&w);
    teardown(&w);
}

static void a_forged_last_batch_does_not_close_the_segment(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    spoil(&w, w.second.base, w.second.bytes - 1, 1);
    struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
    struct bytes last = good_from(&w, c.at);
    struct batch_header h;
    assert_int_equal(batch_decode(last, &h), STATUS_OK);
    assert_int_equal(batch_bytes(&h), last.size);
    uint8_t *other = malloc(last.size);
    assert_non_null(other);
    memcpy(other, last.data, last.size);
    h.append_ms++;
    batch_header_encode(&h, other);
    assert_int_equal(patch(&w, &c, bytes_of(other, last.size)), STATUS_CORRUPT);
    free(other);
    assert_int_equal(patch(&w, &c, last), STATUS_OK);
    assert_as_before(&w);
    teardown(&w);
}

static void the_segment_behind_goes_first_when_its_beginning_is_damaged_too(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fixture_close(&w.f); /* the ring still knows how the next segment begins */
    fixture_open(&w.f);
    w.log = store_find_shard(w.f.store, SHARD);
    spoil(&w, w.second.base, w.second.bytes - 10, 5);
    spoil(&w, w.third.base, 5, 5);
    struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
    assert_int_equal(patch(&w, &c, good_from(&w, c.at)), STATUS_BUSY);
    teardown(&w);
}

static void nothing_is_written_once_the_log_was_cut(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    spoil(&w, w.second.base, w.second.bytes / 2, 100);
    struct log_check c = {.segment = w.second.base, .point = {.end = w.second.base}};
    assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
    struct log_patch p = {.log = w.log,
                          .segment = c.segment,
                          .at = c.at,
                          .point = c.point,
                          .has_point = true,
                          .data = good_from(&w, c.at),
                          .done = patch_done,
                          .owner = &w};
    assert_int_equal(store_patch(w.f.store, &p), STATUS_OK);
    uint64_t lsn;
    assert_int_equal(shard_log_truncate(w.log, c.point.end - 2, 9, &lsn), STATUS_OK);
    while (p.owner != NULL) {
        assert_int_equal(store_poll(w.f.store, &w.f.synced), STATUS_OK);
        (void)usleep(100);
    }
    assert_int_equal(p.status, STATUS_NOT_FOUND);
    fixture_wait(&w.f, lsn);
    assert_int_equal(store_sync(w.f.store, true), STATUS_OK);
    assert_int_equal(fixture_check_log(&w.f, w.log), c.point.end - 2);
    teardown(&w);
}

static void note(void *context, struct shard_log *log, uint64_t offset)
{
    struct world *w = context;
    assert_ptr_equal(log, w->log);
    w->told++;
    w->told_offset = offset;
}

static void read_done(struct log_read *read)
{
    read->owner = NULL;
}

static void reads_wait_for_a_repair_and_then_get_right_bytes(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    store_set_repairer(w.f.store, &(struct store_repairer){.context = &w, .damaged = note});
    spoil(&w, w.second.base, 4, 100);
    struct log_read read = {.log = w.log,
                            .offset = w.second.base,
                            .end = UINT64_MAX,
                            .max_bytes = 4096,
                            .done = read_done,
                            .owner = &w};
    assert_int_equal(store_read(w.f.store, &read), STATUS_OK);
    while (w.told == 0) {
        assert_int_equal(store_poll(w.f.store, &w.f.synced), STATUS_OK);
    }
    assert_int_equal(w.told_offset, w.second.base);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(store_poll(w.f.store, &w.f.synced), STATUS_OK);
        assert_non_null(read.owner); /* it waits */
        (void)usleep(100);
    }
    struct log_check c = {.segment = w.second.base, .near = true, .offset = w.second.base};
    assert_int_equal(check_all(&w, &c), STATUS_CORRUPT);
    assert_int_equal(patch(&w, &c, good_from(&w, c.at)), STATUS_OK);
    shard_log_repaired(w.log, true);
    while (read.owner != NULL) {
        assert_int_equal(store_poll(w.f.store, &w.f.synced), STATUS_OK);
    }
    assert_int_equal(read.status, STATUS_OK);
    assert_memory_equal(read.data.data, w.good, read.data.size);
    buf_release(&read.data);
    teardown(&w);
}

static void reads_end_when_a_repair_fails_or_the_store_closes(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    store_set_repairer(w.f.store, &(struct store_repairer){.context = &w, .damaged = note});
    spoil(&w, w.second.base, 4, 100);
    struct log_read read[3];
    for (int i = 0; i < 3; i++) {
        read[i] = (struct log_read){.log = w.log,
                                    .offset = w.second.base,
                                    .end = UINT64_MAX,
                                    .max_bytes = 4096,
                                    .done = read_done,
                                    .owner = &w,
                                    .no_wait = i == 2};
        assert_int_equal(store_read(w.f.store, &read[i]), STATUS_OK);
        while (i < 2 ? w.told == (uint32_t)i : read[i].owner != NULL) {
            assert_int_equal(store_poll(w.f.store, &w.f.synced), STATUS_OK);
        }
        if (i == 0) {
            shard_log_repaired(w.log, false);
            while (read[0].owner != NULL) {
                assert_int_equal(store_poll(w.f.store, &w.f.synced), STATUS_OK);
            }
        }
    }
    assert_int_equal(read[0].status, STATUS_CORRUPT);
    assert_int_equal(read[2].status, STATUS_CORRUPT);
    assert_int_equal(w.told, 2);
    fixture_close(&w.f);
    assert_null(read[1].owner);
    assert_int_equal(read[1].status, STATUS_CANCELLED);
    for (int i = 0; i < 3; i++) {
        buf_release(&read[i].data);
    }
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_damage_outlives_a_restart),
        cmocka_unit_test(a_damaged_list_of_damage_is_not_believed),
        cmocka_unit_test(many_holes_become_fewer_and_none_is_lost),
        cmocka_unit_test(damage_is_not_taken_for_a_batch_that_is_not_there),
        cmocka_unit_test(what_another_has_of_a_hole_is_written_if_the_history_says_it_is_ours),
        cmocka_unit_test(a_good_segment_is_checked_to_its_end),
        cmocka_unit_test(a_segment_of_which_nothing_is_written_yet_is_no_damage),
        cmocka_unit_test(damage_is_found_and_written_over_wherever_it_lies),
        cmocka_unit_test(a_segment_that_was_cut_off_or_emptied_is_made_whole),
        cmocka_unit_test(what_does_not_close_the_gap_is_not_written),
        cmocka_unit_test(a_forged_last_batch_does_not_close_the_segment),
        cmocka_unit_test(the_segment_behind_goes_first_when_its_beginning_is_damaged_too),
        cmocka_unit_test(nothing_is_written_once_the_log_was_cut),
        cmocka_unit_test(reads_wait_for_a_repair_and_then_get_right_bytes),
        cmocka_unit_test(reads_end_when_a_repair_fails_or_the_store_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
