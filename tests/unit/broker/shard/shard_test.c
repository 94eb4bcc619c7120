#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/trace.h"
#include "tests/support/fake_disk.h"
#include "tests/unit/broker/shard/world.h"

static void a_put_is_answered_when_a_majority_has_synced_it(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    assert_true(world_shard(&w, 1)->open);
    assert_int_equal(w.broker[1].leadings, 1);
    struct world_put put;
    w.broker[2].cut = w.broker[3].cut = true;
    world_put(&w, 1, world_batch(3, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_OK);
    assert_int_equal(put.done, 0); /* never from inside the call */
    world_settle(&w);
    assert_int_equal(put.done, 0); /* one disk is no majority */
    w.broker[2].cut = false;
    shards_peer_up(w.broker[1].shards, 2, 0);
    world_settle(&w);
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.status, STATUS_OK);
    assert_int_equal(put.put.base_offset, 1); /* 0 is EPOCH_START */
    assert_int_equal(put.put.append_ms, w.wall_ms);
    assert_int_equal(world_shard(&w, 1)->commit, 4);
    assert_int_equal(world_shard(&w, 2)->commit, 4);
    world_close(&w);
}

static void only_the_leader_takes_puts(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    struct world_put put;
    world_put(&w, 2, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_NOT_LEADER);
    world_elect(&w, 1, 1);
    world_put(&w, 2, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_NOT_LEADER);
    world_close(&w);
}

static void a_bad_batch_is_refused_with_a_sentence(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put put;
    struct bytes good = world_batch(2, 0, 0, 0);
    uint8_t bad[512];
    assert_true(good.size < sizeof(bad));

    world_put(&w, 1, bytes_of(good.data, good.size - 1), &put);
    assert_int_equal(put.refused, STATUS_CORRUPT);
    assert_true(strlen(put.error.text) > 0);

    memcpy(bad, good.data, good.size);
    bad[good.size - 1] ^= 1; /* the payload */
    world_put(&w, 1, bytes_of(bad, good.size), &put);
    assert_int_equal(put.refused, STATUS_CORRUPT);

    memcpy(bad, good.data, good.size);
    struct batch_header h;
    assert_int_equal(batch_decode(good, &h), STATUS_OK);
    h.count = 3; /* it has two records */
    batch_header_encode(&h, bad);
    world_put(&w, 1, bytes_of(bad, good.size), &put);
    assert_int_equal(put.refused, STATUS_INVALID);

    h.count = 1;
    h.flags = BATCH_CONTROL;
    h.control_type = BATCH_EPOCH_START;
    batch_header_encode(&h, bad);
    world_put(&w, 1, bytes_of(bad, good.size), &put);
    assert_true(put.refused == STATUS_INVALID || put.refused == STATUS_CORRUPT);
    assert_int_equal(world_shard(&w, 1)->end, 1);
    world_close(&w);
}

static void a_retry_is_answered_with_the_original_after_its_commit(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put first, again, gap, other, late;
    w.broker[2].cut = w.broker[3].cut = true;
    world_put(&w, 1, world_batch(2, 5, 0, 0), &first);
    world_put(&w, 1, world_batch(2, 5, 0, 0), &again);
    world_put(&w, 1, world_batch(1, 5, 0, 7), &gap);
    world_put(&w, 1, world_batch(1, 6, 0, 7), &other);
    assert_int_equal(again.refused, STATUS_OK);
    assert_int_equal(gap.refused, STATUS_OUT_OF_ORDER);
    assert_int_equal(other.refused, STATUS_UNKNOWN_PRODUCER);
    world_settle(&w);
    assert_int_equal(again.done, 0); /* the original may still be lost */
    w.broker[2].cut = false;
    shards_peer_up(w.broker[1].shards, 2, 0);
    world_settle(&w);
    assert_int_equal(first.done, 1);
    assert_int_equal(again.done, 1);
    assert_true(again.put.duplicate);
    assert_false(first.put.duplicate);
    assert_int_equal(again.put.base_offset, first.put.base_offset);
    world_put(&w, 1, world_batch(2, 5, 0, 0), &late);
    assert_int_equal(late.done, 0);
    world_settle(&w);
    assert_int_equal(late.done, 1);
    assert_int_equal(late.put.base_offset, first.put.base_offset);
    assert_int_equal(world_shard(&w, 1)->end, 3);
    world_close(&w);
}

/* What the old leader alone had is truncated, and the producer's table with it. */
static void a_deposed_leader_fails_its_puts_and_the_next_one_knows_the_producers(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put kept, lost, retry_kept, retry_lost;
    world_put(&w, 1, world_batch(1, 5, 0, 0), &kept);
    world_settle(&w);
    assert_int_equal(kept.done, 1);
    w.broker[1].cut = true;
    world_put(&w, 1, world_batch(1, 5, 0, 1), &lost);
    world_settle(&w);
    shards_peer_down(w.broker[2].shards, 1);
    world_elect(&w, 2, 2);
    assert_true(world_shard(&w, 2)->open);
    assert_int_equal(lost.done, 0);
    w.broker[1].cut = false;
    shards_peer_up(w.broker[2].shards, 1, 0);
    world_settle(&w);
    assert_int_equal(lost.done, 1);
    assert_int_equal(lost.put.status, STATUS_UNCERTAIN);
    assert_false(world_shard(&w, 1)->open);
    world_put(&w, 2, world_batch(1, 5, 0, 0), &retry_kept);
    world_put(&w, 2, world_batch(1, 5, 0, 1), &retry_lost);
    world_settle(&w);
    assert_true(retry_kept.put.duplicate);
    assert_int_equal(retry_kept.put.base_offset, kept.put.base_offset);
    assert_int_equal(retry_lost.done, 1);
    assert_false(retry_lost.put.duplicate);
    struct buf logs[WORLD_BROKERS + 1] = {0};
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        world_read_all(&w, id, &logs[id]);
        assert_true(bytes_equal(buf_bytes(&logs[id]), buf_bytes(&logs[1])));
    }
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        buf_release(&logs[id]);
    }
    /* And back again: the table of the old leader was rolled back with its log. */
    world_elect(&w, 1, 3);
    world_put(&w, 1, world_batch(1, 5, 0, 1), &retry_lost);
    world_settle(&w);
    assert_true(retry_lost.put.duplicate);
    world_close(&w);
}

static void a_truncated_batch_is_no_duplicate_when_its_producer_sends_it_again(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put kept, lost, again;
    world_put(&w, 1, world_batch(1, 5, 0, 0), &kept);
    world_settle(&w);
    w.broker[1].cut = true;
    world_put(&w, 1, world_batch(1, 5, 0, 1), &lost);
    world_settle(&w);
    shards_peer_down(w.broker[2].shards, 1);
    world_elect(&w, 2, 2);
    w.broker[1].cut = false;
    shards_peer_up(w.broker[2].shards, 1, 0);
    world_settle(&w);
    assert_int_equal(lost.put.status, STATUS_UNCERTAIN);
    world_elect(&w, 1, 3); /* the broker that had it, and cut it off */
    world_put(&w, 1, world_batch(1, 5, 0, 1), &again);
    world_settle(&w);
    assert_int_equal(again.done, 1);
    assert_int_equal(again.put.status, STATUS_OK);
    assert_false(again.put.duplicate);
    world_close(&w);
}

static void the_producers_of_a_log_are_known_again_after_a_restart(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put put = {0};
    uint32_t seq = 0;
    static uint8_t big[60 * 1024];
    static struct batch_builder builder;
    for (; seq < 40; seq++) { /* several segments of 256 KiB */
        batch_builder_reset(&builder);
        const struct record record = {.key = bytes_of_string("k"),
                                      .data = bytes_of(big, sizeof(big))};
        assert_int_equal(batch_builder_add(&builder, &record), STATUS_OK);
        world_put(&w, 1, batch_builder_finish(&builder, 5, 2, seq), &put);
        assert_int_equal(put.refused, STATUS_OK);
        world_settle(&w);
        assert_int_equal(put.done, 1);
    }
    batch_builder_release(&builder);
    uint64_t last_offset = put.put.base_offset;
    w.wall_ms -= 60000; /* the clock went back while we were away */
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        world_restart(&w, id);
    }
    world_settle(&w);
    world_elect(&w, 2, 2);
    assert_true(world_shard(&w, 2)->open);
    assert_true(world_shard(&w, 2)->producers_built);
    world_put(&w, 2, world_batch(1, 5, 2, seq - 1), &put);
    assert_int_equal(put.refused, STATUS_OK);
    world_settle(&w);
    assert_true(put.put.duplicate);
    assert_int_equal(put.put.base_offset, last_offset);
    world_put(&w, 2, world_batch(1, 5, 1, 0), &put);
    assert_int_equal(put.refused, STATUS_PRODUCER_FENCED);
    world_put(&w, 2, world_batch(1, 5, 2, seq), &put);
    world_settle(&w);
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.append_ms, w.wall_ms + 60000); /* never back */
    world_close(&w);
}

struct waiter {
    struct shard_reader reader;
    int woken;
};

static void reader_woken(struct shard_reader *reader)
{
    CONTAINER_OF(reader, struct waiter, reader)->woken++;
}

static void readers_wake_on_commit_also_at_followers(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct waiter at_leader = {
        .reader = {.offset = 1, .woken = reader_woken}
    };
    struct waiter at_follower = {
        .reader = {.offset = 2, .woken = reader_woken}
    };
    struct waiter gone = {
        .reader = {.offset = 1, .woken = reader_woken}
    };
    assert_int_equal(shard_wait(world_shard(&w, 1), &at_leader.reader), STATUS_OK);
    assert_int_equal(shard_wait(world_shard(&w, 3), &at_follower.reader), STATUS_OK);
    assert_int_equal(shard_wait(world_shard(&w, 1), &gone.reader), STATUS_OK);
    shard_wait_cancel(&gone.reader);
    shard_wait_cancel(&gone.reader);
    struct world_put put;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    world_settle(&w);
    assert_int_equal(at_leader.woken, 1);
    assert_int_equal(at_leader.reader.status, STATUS_OK);
    assert_int_equal(at_follower.woken, 0); /* offset 2 is not committed yet */
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    world_settle(&w);
    assert_int_equal(at_follower.woken, 1);
    assert_int_equal(at_leader.woken, 1);
    assert_int_equal(gone.woken, 0);
    assert_int_equal(world_shard(&w, 1)->reader_count, 0);
    world_close(&w);
}

static void a_follower_refuses_damaged_appends(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct shard *follower = world_shard(&w, 2);
    struct replica_view view;
    replica_view(follower->replica, &view);
    uint8_t batch[512];
    struct bytes plain = world_batch(1, 0, 0, 0);
    memcpy(batch, plain.data, plain.size);
    struct batch_slot slot = {.shard = SHARD_ID,
                              .base_offset = view.last.end,
                              .epoch = 1,
                              .prev_crc = view.last.crc,
                              .append_ms = 1};
    struct batch_header h;
    batch_assign(batch, &slot, &h);
    struct store_info leader;
    store_info(w.broker[1].store, &leader);
    const struct replica_append head = {
        .epoch = 1,
        .cfg_ver = 1,
        .leader = {.broker = 1, .disk_gen = 1},
        .leader_boot = leader.boot_id,
        .prev = view.last,
        .leader_end = view.last.end + 1
    };
    batch[plain.size - 1] ^= 4;
    assert_int_equal(shard_receive(follower, &head, bytes_of(batch, plain.size)), STATUS_CORRUPT);
    batch[plain.size - 1] ^= 4;
    assert_int_equal(shard_receive(follower, &head, bytes_of(batch, plain.size - 1)),
                     STATUS_CORRUPT);
    slot.shard++;
    batch_assign(batch, &slot, &h);
    assert_int_equal(shard_receive(follower, &head, bytes_of(batch, plain.size)), STATUS_CORRUPT);
    slot.shard--;
    slot.prev_crc++;
    batch_assign(batch, &slot, &h);
    assert_int_equal(shard_receive(follower, &head, bytes_of(batch, plain.size)), STATUS_INVALID);
    assert_int_equal(follower->end, view.last.end);
    slot.prev_crc--;
    batch_assign(batch, &slot, &h);
    assert_int_equal(shard_receive(follower, &head, bytes_of(batch, plain.size)), STATUS_OK);
    assert_int_equal(follower->end, view.last.end + 1);
    world_close(&w);
}

static void a_full_disk_refuses_puts_and_still_elects(void **state)
{
    (void)state;
    struct world w = {.reserve_bytes = UINT64_C(1) << 60};
    world_open(&w);
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        store_check_space(w.broker[id].store);
        assert_int_equal(shard_fence(world_shard(&w, id), 1, &w.config), STATUS_OK);
    }
    world_settle(&w);
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        assert_int_equal(w.broker[id].reports, 1);
        assert_true(w.broker[id].report.ok);
        assert_int_equal(w.broker[id].report.promised, 1);
        assert_false(shards_are_out(w.broker[id].shards));
    }
    world_elect(&w, 1, 2); /* elections go on, so that reads do */
    assert_true(world_shard(&w, 1)->open);
    assert_int_equal(world_shard(&w, 2)->commit, 1);
    struct world_put put;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_DISK_FULL);
    world_close(&w);
}

static void a_disk_that_fails_a_sync_takes_the_broker_out_and_the_others_go_on(void **state)
{
    (void)state;
    struct fake_disk disk;
    fake_disk_init(&disk, 1);
    struct world w = {.disk = &disk.disk};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put kept, lost, refused, retried;
    world_put(&w, 1, world_batch(1, 5, 0, 0), &kept);
    world_settle(&w);
    assert_int_equal(kept.done, 1);
    w.broker[2].cut = w.broker[3].cut = true;
    world_put(&w, 1, world_batch(1, 5, 0, 1), &lost);
    struct waiter reader = {
        .reader = {.offset = world_shard(&w, 1)->commit, .woken = reader_woken}
    };
    assert_int_equal(shard_wait(world_shard(&w, 1), &reader.reader), STATUS_OK);
    disk.fail_errno = EIO;
    disk.fail_write = disk.writes + 1;
    disk.fail_sync = disk.syncs + 1;
    world_turn(&w, 1);
    world_settle(&w);
    assert_true(shards_are_out(w.broker[1].shards));
    assert_int_equal(lost.done, 1);
    assert_int_equal(lost.put.status, STATUS_UNCERTAIN);
    assert_int_equal(w.broker[1].resignations, 1); /* at once */
    assert_int_equal(w.broker[1].resigned_epoch, 1);
    assert_int_equal(w.broker[1].resigned_promised, 0);
    assert_int_equal(reader.woken, 1);
    assert_int_equal(reader.reader.status, STATUS_NOT_LEADER);
    assert_int_equal(shard_wait(world_shard(&w, 1), &reader.reader), STATUS_NOT_LEADER);
    shards_resign(w.broker[1].shards); /* it may have got lost */
    assert_int_equal(w.broker[1].resignations, 2);
    world_put(&w, 1, world_batch(1, 5, 0, 2), &refused);
    assert_int_equal(refused.refused, STATUS_IO);
    assert_int_equal(shard_fence(world_shard(&w, 1), 2, &w.config), STATUS_IO); /* no promise */
    struct buf log = {0};
    world_read_all(&w, 1, &log); /* what is committed can still be read */
    assert_true(log.size > 0);
    buf_release(&log);
    w.broker[1].cut = true;
    w.broker[2].cut = w.broker[3].cut = false;
    world_elect(&w, 2, 2);
    world_put(&w, 2, world_batch(1, 5, 0, 1), &retried);
    world_settle(&w);
    assert_int_equal(retried.done, 1);
    assert_false(retried.put.duplicate);
    world_close(&w);
    fake_disk_release(&disk);
}

static void a_dropped_shard_answers_who_waits_and_tells_when_it_is_durable(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put put;
    w.broker[2].cut = w.broker[3].cut = true;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    struct waiter reader = {
        .reader = {.offset = 1, .woken = reader_woken}
    };
    assert_int_equal(shard_wait(world_shard(&w, 1), &reader.reader), STATUS_OK);
    assert_int_equal(shards_drop(w.broker[1].shards, world_shard(&w, 1)), STATUS_OK);
    assert_null(world_shard(&w, 1));
    assert_true(shards_is_dropping(w.broker[1].shards, SHARD_ID));
    assert_int_equal(w.broker[1].dropped, 0);
    world_turn(&w, 1);
    assert_int_equal(w.broker[1].dropped, 1);
    assert_false(shards_is_dropping(w.broker[1].shards, SHARD_ID));
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.status, STATUS_NOT_FOUND);
    assert_int_equal(reader.woken, 1);
    assert_int_equal(reader.reader.status, STATUS_NOT_FOUND);
    uint32_t leading;
    assert_int_equal(shards_count(w.broker[1].shards, &leading), 0);
    assert_int_equal(leading, 0);
    world_close(&w);
}

static void a_replica_that_goes_to_quarantine_is_not_reported_as_deleted(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    assert_int_equal(shards_quarantine(w.broker[2].shards, world_shard(&w, 2)), STATUS_OK);
    assert_null(world_shard(&w, 2));
    assert_true(shards_is_dropping(w.broker[2].shards, SHARD_ID));
    world_turn(&w, 2);
    assert_false(shards_is_dropping(w.broker[2].shards, SHARD_ID));
    assert_int_equal(w.broker[2].dropped, 0);
    world_close(&w);
}

static void a_leader_that_commits_nothing_resigns_until_it_does(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    w.broker[2].cut = w.broker[3].cut = true;
    struct world_put put;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    world_settle(&w);
    w.now_ms += REPLICA_STALL_MS;
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 1);
    assert_int_equal(w.broker[1].resigned_epoch, 1);
    assert_int_equal(w.broker[1].resigned_promised, 0);
    w.now_ms += SHARD_RESIGN_MS - 1;
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 1);
    w.now_ms += 1;
    assert_true(shards_deadline(w.broker[1].shards) <= w.now_ms);
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 2);
    w.broker[2].cut = w.broker[3].cut = false;
    w.now_ms += REPLICA_RESEND_MS;
    shards_tick(w.broker[1].shards);
    world_settle(&w);
    assert_int_equal(put.done, 1);
    w.now_ms += UINT64_C(10) * SHARD_RESIGN_MS;
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 2);
    world_close(&w);
}

static void a_leader_that_a_majority_has_left_tells_what_they_promised(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct shard *shard = world_shard(&w, 1);
    struct store_info info;
    for (uint32_t id = 2; id <= WORLD_BROKERS; id++) {
        store_info(w.broker[id].store, &info);
        const struct replica_answer no = {.epoch = 7, .boot = info.boot_id};
        assert_int_equal(w.broker[1].resignations, 0);
        assert_int_equal(shard_answered(shard, world_shard(&w, id)->self, &no), STATUS_OK);
    }
    assert_int_equal(w.broker[1].resignations, 1);
    assert_int_equal(w.broker[1].resigned_epoch, 1);
    assert_int_equal(w.broker[1].resigned_promised, 7);
    w.now_ms += SHARD_RESIGN_MS;
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 2);
    assert_int_equal(shard_fence(shard, 8, &w.config), STATUS_OK); /* they know */
    w.now_ms += SHARD_RESIGN_MS;
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 2);
    world_close(&w);
}

static void a_damaged_replica_promises_the_epoch_that_the_metadata_say(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct shard *shard = world_shard(&w, 2);
    assert_int_equal(shard_floor(shard, 9), STATUS_STALE);
    uint64_t lsn;
    assert_int_equal(shard_log_set_uncertain(shard->log, true, shard->end, &lsn), STATUS_OK);
    world_restart(&w, 2);
    shard = world_shard(&w, 2);
    assert_int_equal(shard_fence(shard, 2, &w.config), STATUS_STALE);
    assert_int_equal(shard_floor(shard, 3), STATUS_OK);
    assert_int_equal(shard_fence(shard, 2, &w.config), STATUS_OK);
    world_settle(&w);
    assert_false(w.broker[2].report.ok);
    assert_int_equal(w.broker[2].report.promised, 3);
    world_restart(&w, 2);
    struct replica_view view;
    replica_view(world_shard(&w, 2)->replica, &view);
    assert_int_equal(view.promised, 3);
    world_close(&w);
}

static void closing_answers_who_waits(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put put;
    w.broker[2].cut = w.broker[3].cut = true;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    struct waiter reader = {
        .reader = {.offset = 1, .woken = reader_woken}
    };
    assert_int_equal(shard_wait(world_shard(&w, 1), &reader.reader), STATUS_OK);
    world_close(&w);
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.status, STATUS_CLOSING);
    assert_int_equal(reader.reader.status, STATUS_CLOSING);
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
        cmocka_unit_test(a_put_is_answered_when_a_majority_has_synced_it),
        cmocka_unit_test(only_the_leader_takes_puts),
        cmocka_unit_test(a_bad_batch_is_refused_with_a_sentence),
        cmocka_unit_test(a_retry_is_answered_with_the_original_after_its_commit),
        cmocka_unit_test(a_deposed_leader_fails_its_puts_and_the_next_one_knows_the_producers),
        cmocka_unit_test(a_truncated_batch_is_no_duplicate_when_its_producer_sends_it_again),
        cmocka_unit_test(the_producers_of_a_log_are_known_again_after_a_restart),
        cmocka_unit_test(readers_wake_on_commit_also_at_followers),
        cmocka_unit_test(a_follower_refuses_damaged_appends),
        cmocka_unit_test(a_full_disk_refuses_puts_and_still_elects),
        cmocka_unit_test(a_disk_that_fails_a_sync_takes_the_broker_out_and_the_others_go_on),
        cmocka_unit_test(a_dropped_shard_answers_who_waits_and_tells_when_it_is_durable),
        cmocka_unit_test(a_replica_that_goes_to_quarantine_is_not_reported_as_deleted),
        cmocka_unit_test(a_leader_that_commits_nothing_resigns_until_it_does),
        cmocka_unit_test(a_leader_that_a_majority_has_left_tells_what_they_promised),
        cmocka_unit_test(a_damaged_replica_promises_the_epoch_that_the_metadata_say),
        cmocka_unit_test(closing_answers_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
