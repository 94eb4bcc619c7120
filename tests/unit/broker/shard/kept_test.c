/* Batches that come back to the broker which has put them: as headers. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#include "broker/kept/kept.h"
#include "tests/unit/broker/shard/world.h"

/* A batch of one record of `bytes`, with a token; the caller releases it. */
static struct buf make(uint8_t token, size_t bytes)
{
    struct batch_builder b = {0};
    uint8_t *data = malloc(bytes);
    assert_non_null(data);
    memset(data, token, bytes);
    const struct record record = {.key = bytes_of_string("key"), .data = bytes_of(data, bytes)};
    assert_int_equal(batch_builder_add(&b, &record), STATUS_OK);
    struct batch_header h;
    assert_int_equal(batch_header_decode(batch_builder_finish(&b, 0, 0, 0), &h), STATUS_OK);
    memset(h.dedup_token, token, sizeof(h.dedup_token));
    batch_header_encode(&h, b.buf.data);
    free(data);
    return b.buf;
}

static struct buf copy_of(const struct buf *buf)
{
    struct buf copy = {0};
    assert_int_equal(buf_append(&copy, buf->data, buf->size), STATUS_OK);
    return copy;
}

static struct batch_header header_of(const struct buf *batch)
{
    struct batch_header h;
    assert_int_equal(batch_header_decode(buf_bytes(batch), &h), STATUS_OK);
    return h;
}

static void a_batch_is_found_by_token_size_and_checksum(void **state)
{
    (void)state;
    struct kept kept;
    kept_init(&kept);
    struct buf batch = make(1, 20000), other = make(2, 20000), small = make(3, 100);
    struct batch_header h = header_of(&batch);
    struct kept_batch *b = kept_add(&kept, &batch);
    assert_non_null(b);
    assert_int_equal(batch.size, 0);
    assert_null(kept_add(&kept, &small)); /* not worth it */
    assert_true(small.size > 0);
    h.base_offset = 77; /* what a leader fills in does not matter */
    h.epoch = 3;
    assert_ptr_equal(kept_find(&kept, &h), b);
    h.dedup_token[3]++;
    assert_null(kept_find(&kept, &h));
    h.dedup_token[3]--;
    h.payload_crc++;
    assert_null(kept_find(&kept, &h));
    h = header_of(&other);
    assert_null(kept_find(&kept, &h));
    kept_forget(b);
    assert_int_equal(kept.count, 0);
    assert_int_equal(kept.bytes, 0);
    assert_int_equal(b->buf.data[0], 'W'); /* still ours */
    kept_forget(b);
    kept_let_go(b);
    buf_release(&other);
    buf_release(&small);
    kept_release(&kept);
}

static void the_oldest_go_first_and_what_is_held_stays(void **state)
{
    (void)state;
    struct kept kept;
    kept_init(&kept);
    struct kept_batch *b[40];
    struct batch_header h[40];
    for (uint8_t i = 0; i < 40; i++) {
        struct buf batch = make((uint8_t)(i + 1), 1000000);
        h[i] = header_of(&batch);
        b[i] = kept_add(&kept, &batch);
        assert_non_null(b[i]);
        assert_true(kept.bytes <= KEPT_BYTES_MAX);
    }
    assert_null(kept_find(&kept, &h[0]));
    assert_ptr_equal(kept_find(&kept, &h[39]), b[39]);
    assert_int_equal(b[0]->buf.data[BATCH_HEADER_BYTES + 100], 1);
    kept_release(&kept);
    for (int i = 0; i < 40; i++) {
        kept_let_go(b[i]);
    }
}

/* Puts `batch` at broker 1 as broker 2 does it, and tells whether all replicas are the same. */
static void put_and_compare(struct world *w, const struct buf *batch)
{
    struct world_put put;
    w->keeper = 2;
    world_put(w, 1, buf_bytes(batch), &put);
    world_settle(w);
    assert_int_equal(put.refused, STATUS_OK);
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.status, STATUS_OK);
    struct buf all[WORLD_BROKERS + 1] = {0};
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        world_read_all(w, id, &all[id]);
        assert_true(all[id].size > batch->size);
        assert_true(bytes_equal(buf_bytes(&all[1]), buf_bytes(&all[id])));
        assert_int_equal(world_shard(w, id)->end, world_shard(w, 1)->end);
    }
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        buf_release(&all[id]);
    }
}

static void a_follower_takes_the_payload_that_it_has(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct buf batch = make(1, 50000), mine = copy_of(&batch), original = copy_of(&batch);
    struct kept_batch *held = kept_add(shards_kept(w.broker[2].shards), &mine);
    put_and_compare(&w, &batch);
    assert_int_equal(w.spared, 1);
    assert_int_equal(shards_kept(w.broker[2].shards)->count, 0); /* used up */
    /* Whoever put it may have to try again, with the header as it was. */
    assert_true(bytes_equal(buf_bytes(&held->buf), buf_bytes(&original)));
    kept_let_go(held);
    buf_release(&batch);
    buf_release(&original);
    world_close(&w);
}

static void a_payload_that_is_gone_is_sent_whole(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct buf batch = make(1, 50000), next = make(2, 50000);
    put_and_compare(&w, &batch);
    assert_int_equal(w.spared, 1); /* once only */
    put_and_compare(&w, &next);
    assert_int_equal(w.spared, 2);
    buf_release(&batch);
    buf_release(&next);
    world_close(&w);
}

static void a_payload_that_was_damaged_is_sent_whole(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct buf batch = make(1, 50000), mine = copy_of(&batch);
    mine.data[mine.size - 9] ^= 1;
    struct kept_batch *held = kept_add(shards_kept(w.broker[2].shards), &mine);
    put_and_compare(&w, &batch);
    assert_int_equal(shards_kept(w.broker[2].shards)->count, 0);
    kept_let_go(held);
    buf_release(&batch);
    world_close(&w);
}

/* Nothing else would tell the leader before its timer does. */
static void what_was_damaged_is_asked_for_at_once(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    w.broker[3].cut = true; /* so that nothing is committed without broker 2 */
    struct buf batch = make(1, 50000), mine = copy_of(&batch);
    mine.data[mine.size - 9] ^= 1;
    struct kept_batch *held = kept_add(shards_kept(w.broker[2].shards), &mine);
    struct world_put put;
    uint64_t began_ms = w.now_ms;
    w.keeper = 2;
    world_put(&w, 1, buf_bytes(&batch), &put);
    while (put.done == 0 && w.now_ms < began_ms + REPLICA_RESEND_MS) {
        world_settle(&w);
    }
    assert_int_equal(put.done, 1);
    assert_true(w.now_ms < began_ms + REPLICA_RESEND_MS);
    kept_let_go(held);
    buf_release(&batch);
    world_close(&w);
}

static void what_is_no_header_is_refused(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct buf batch = make(1, 50000);
    const struct replica_append head = {.epoch = 1, .cfg_ver = 1};
    struct shard *follower = world_shard(&w, 2);
    uint64_t end = follower->end;
    assert_int_equal(shard_receive_header(follower, &head, buf_bytes(&batch)), STATUS_CORRUPT);
    struct bytes header = bytes_of(batch.data, BATCH_HEADER_BYTES);
    assert_int_equal(shard_receive_header(follower, &head, header), STATUS_CORRUPT); /* shard 0 */
    batch.data[50] ^= 1;
    assert_int_equal(shard_receive_header(follower, &head, header), STATUS_CORRUPT);
    assert_int_equal(follower->end, end);
    buf_release(&batch);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_found_by_token_size_and_checksum),
        cmocka_unit_test(the_oldest_go_first_and_what_is_held_stays),
        cmocka_unit_test(a_follower_takes_the_payload_that_it_has),
        cmocka_unit_test(a_payload_that_is_gone_is_sent_whole),
        cmocka_unit_test(a_payload_that_was_damaged_is_sent_whole),
        cmocka_unit_test(what_was_damaged_is_asked_for_at_once),
        cmocka_unit_test(what_is_no_header_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
