/* A broker's data directory with changed bytes: journal blocks and recovery, segments, indexes,
 * identity. With an odd first byte the checksums of changed journal sectors are put right. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "broker/journal/block.h"
#include "broker/log/log.h"
#include "tests/fuzz/edits.h"

enum { BATCHES = 40, PAYLOAD = 1500 };

static char dir[] = "/dev/shm/weir-fuzz-store-XXXXXX";
static struct image good;

static void append(struct store *store, struct shard_log *log)
{
    uint8_t batch[BATCH_HEADER_BYTES + PAYLOAD] = {0};
    struct replica_recovered r;
    shard_log_recovered(log, &r);
    struct batch_header h = {.payload_crc = crc32c(0, batch + BATCH_HEADER_BYTES, PAYLOAD),
                             .payload_bytes = PAYLOAD,
                             .shard = shard_log_id(log),
                             .epoch = 2,
                             .count = 1,
                             .base_offset = r.last.end,
                             .prev_crc = r.last.crc,
                             .append_ms = 1000 + r.last.end};
    batch_header_encode(&h, batch);
    struct bytes parts = bytes_of(batch, sizeof(batch));
    struct log_appended appended;
    CHECK(store_admit(store, sizeof(batch)) == STATUS_OK);
    CHECK(shard_log_append(log, &h, &parts, 1, &appended) == STATUS_OK);
}

static void make_good(void)
{
    edits_directory(dir);
    struct store_options options;
    store_options_init(&options);
    options.dir = dir;
    options.broker = 1;
    options.journal_file_bytes = 64 * 1024;
    options.journal_files = 4;
    options.ring_bytes = 256 * 1024;
    options.block_bytes = 8192;
    options.segment_bytes = 64 * 1024;
    options.reserve_bytes = 0;
    options.backend = JOURNAL_BACKEND_THREAD;
    options.buffered = true;
    struct store *store;
    struct error error;
    CHECK(store_open(&options, &store, &error) == STATUS_OK);
    for (uint64_t shard = 1; shard < 4; shard++) {
        struct shard_log *log;
        uint64_t lsn;
        CHECK(store_create_shard(store, shard, 1, 0, &log, &lsn) == STATUS_OK);
        for (int i = 0; i < BATCHES; i++) {
            append(store, log);
            CHECK(i % 8 != 0 || store_sync(store, i % 16 == 0) == STATUS_OK);
        }
        CHECK(shard_log_promise(log, 5, &lsn) == STATUS_OK);
        CHECK(shard_log_truncate(log, BATCHES - 2, 5, &lsn) == STATUS_OK);
        CHECK(shard_log_set_uncertain(log, shard == 2, BATCHES - 2, &lsn) == STATUS_OK);
        CHECK(store_sync(store, false) == STATUS_OK);
    }
    /* As it is now: what the journal has and segments have not. */
    image_load(dir, &good);
    store_close(store);
}

static void put_right(struct image *image)
{
    for (uint32_t i = 0; i < image->node_count; i++) {
        struct trace_node *node = &image->node[i];
        for (uint64_t at = 0; at + BLOCK_SECTOR <= node->size; at += BLOCK_SECTOR) {
            uint8_t *sector = node->data + at;
            if (memcmp(sector, "WJBH", 4) == 0 || memcmp(sector, "WJBT", 4) == 0 ||
                memcmp(sector, "WIDY", 4) == 0 || memcmp(sector, "WBOO", 4) == 0) {
                put_u32(sector + 4, crc32c(0, sector + 8, BLOCK_SECTOR - 8));
            }
        }
    }
}

static void each(void *context, const struct log_summary *summary)
{
    (void)context;
    CHECK(summary->log_start <= summary->end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (good.node_count == 0) {
        make_good();
    }
    if (size == 0) {
        return 0;
    }
    struct image image;
    image_copy(&good, &image);
    edits_apply(&image, data + 1, size - 1);
    if ((data[0] & 1) != 0) {
        put_right(&image);
    }
    image_store(&image, dir);
    struct store_info info;
    struct error error = {0};
    enum status status = store_inspect(dir, NULL, each, NULL, &info, &error);
    CHECK(status == STATUS_OK || error.text[0] != '\0');
    image_release(&image);
    return 0;
}
