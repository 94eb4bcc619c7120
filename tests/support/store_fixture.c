#include "tests/support/store_fixture.h"

#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"

void fixture_init(struct store_fixture *f)
{
    *f = (struct store_fixture){0};
    const char *root = getenv("TMPDIR");
    (void)snprintf(f->dir, sizeof(f->dir), "%s/weir-store-XXXXXX", root != NULL ? root : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    store_options_init(&f->options);
    f->options.dir = f->dir;
    f->options.broker = 1;
    f->options.segment_bytes = 256 * 1024;
    f->options.journal_file_bytes = 1024 * 1024;
    f->options.journal_files = 6;
    f->options.ring_bytes = 1024 * 1024;
    f->options.block_bytes = 64 * 1024;
    f->options.reserve_bytes = 0;
}

void fixture_open(struct store_fixture *f)
{
    struct error error = {0};
    if (store_open(&f->options, &f->store, &error) != STATUS_OK) {
        fail_msg("store_open: %s", error.text);
    }
    f->synced = 0;
}

void fixture_close(struct store_fixture *f)
{
    store_close(f->store);
    f->store = NULL;
}

void fixture_release(struct store_fixture *f)
{
    fixture_close(f);
    char command[256];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

static void fill_payload(uint8_t *at, size_t size, uint64_t offset, uint32_t epoch)
{
    uint64_t state = offset * 0x9e3779b97f4a7c15u + epoch;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        at[i] = (uint8_t)(state >> 56);
    }
}

struct log_point fixture_last(const struct shard_log *log)
{
    struct replica_recovered recovered;
    shard_log_recovered(log, &recovered);
    return recovered.last;
}

struct bytes test_batch(const struct shard_log *log, uint32_t epoch, uint32_t count, size_t payload,
                        uint64_t append_ms, struct batch_header *out_header)
{
    static uint8_t memory[BATCH_HEADER_BYTES + TEST_PAYLOAD_MAX];
    assert_true(payload <= TEST_PAYLOAD_MAX);
    struct log_point last = fixture_last(log);
    fill_payload(memory + BATCH_HEADER_BYTES, payload, last.end, epoch);
    struct batch_header h = {
        .payload_crc = crc32c(0, memory + BATCH_HEADER_BYTES, payload),
        .payload_bytes = (uint32_t)payload,
        .shard = shard_log_id(log),
        .epoch = epoch,
        .count = count,
        .base_offset = last.end,
        .prev_crc = last.crc,
        .append_ms = append_ms,
    };
    batch_header_encode(&h, memory);
    *out_header = h;
    return bytes_of(memory, BATCH_HEADER_BYTES + payload);
}

static void wait_event(struct store_fixture *f)
{
    struct pollfd fd = {.fd = store_event_fd(f->store), .events = POLLIN};
    assert_true(poll(&fd, 1, 10000) > 0);
    assert_int_equal(store_poll(f->store, &f->synced), STATUS_OK);
}

void fixture_admit(struct store_fixture *f, size_t bytes)
{
    enum status status;
    while ((status = store_admit(f->store, bytes)) == STATUS_BUSY) {
        store_flush(f->store);
        wait_event(f);
    }
    assert_int_equal(status, STATUS_OK);
}

uint64_t fixture_append(struct store_fixture *f, struct shard_log *log, uint32_t epoch,
                        uint32_t count, size_t payload)
{
    struct batch_header header;
    uint64_t ms = 1000 + fixture_last(log).end;
    struct bytes batch = test_batch(log, epoch, count, payload, ms, &header);
    struct log_appended appended;
    fixture_admit(f, batch.size);
    assert_int_equal(shard_log_append(log, &header, &batch, 1, &appended), STATUS_OK);
    assert_memory_equal(appended.bytes, batch.data, batch.size);
    return appended.lsn;
}

void fixture_wait(struct store_fixture *f, uint64_t lsn)
{
    store_flush(f->store);
    while (f->synced < lsn) {
        wait_event(f);
    }
}

bool fixture_payload_is_good(struct bytes batch, const struct batch_header *h)
{
    static uint8_t expected[TEST_PAYLOAD_MAX];
    fill_payload(expected, h->payload_bytes, h->base_offset, h->epoch);
    return memcmp(batch.data + BATCH_HEADER_BYTES, expected, h->payload_bytes) == 0;
}

static void check_batch(struct bytes batch, struct log_point *point)
{
    struct batch_header h;
    assert_int_equal(batch_decode(batch, &h), STATUS_OK);
    assert_int_equal(h.base_offset, point->end);
    assert_int_equal(h.prev_crc, point->crc);
    assert_true(fixture_payload_is_good(batch, &h));
    *point = (struct log_point){.end = batch_end(&h), .epoch = h.epoch, .crc = h.header_crc};
}

static void read_ended(struct log_read *read)
{
    *(bool *)read->owner = true;
}

enum status fixture_read(struct store_fixture *f, struct log_read *read)
{
    bool ended = false;
    read->owner = &ended;
    read->done = read_ended;
    enum status status = store_read(f->store, read);
    if (status != STATUS_OK) {
        return status;
    }
    while (!ended) {
        wait_event(f);
    }
    return read->status;
}

uint64_t fixture_check_log(struct store_fixture *f, struct shard_log *log)
{
    struct replica_recovered recovered;
    shard_log_recovered(log, &recovered);
    struct log_point point = {0};
    if (recovered.log_start > 0) {
        assert_int_equal(shard_log_point_at(log, recovered.log_start, &point), STATUS_OK);
    }
    struct log_read read = {.log = log, .end = UINT64_MAX, .max_bytes = 100000};
    while (point.end < recovered.last.end) {
        struct log_batch batch[16];
        uint32_t count = shard_log_tail(log, point.end, recovered.last.end, 50000, batch, 16);
        for (uint32_t i = 0; i < count; i++) {
            check_batch(batch[i].bytes, &point);
        }
        if (count > 0) {
            continue;
        }
        read.offset = point.end;
        assert_int_equal(fixture_read(f, &read), STATUS_OK);
        assert_int_equal(read.first_base, point.end);
        struct bytes rest = buf_bytes(&read.data);
        while (rest.size > 0) {
            struct batch_header h;
            assert_int_equal(batch_decode(rest, &h), STATUS_OK);
            check_batch(bytes_of(rest.data, batch_bytes(&h)), &point);
            rest = bytes_of(rest.data + batch_bytes(&h), rest.size - batch_bytes(&h));
        }
        assert_int_equal(read.next, point.end);
    }
    buf_release(&read.data);
    assert_int_equal(point.end, recovered.last.end);
    assert_int_equal(point.crc, recovered.last.crc);
    assert_int_equal(point.epoch, recovered.last.epoch);
    return point.end;
}

struct shard_log *fixture_create(struct store_fixture *f, uint64_t id)
{
    struct shard_log *log;
    uint64_t lsn;
    assert_int_equal(store_create_shard(f->store, id, 1, 0, &log, &lsn), STATUS_OK);
    fixture_wait(f, lsn);
    return log;
}

uint64_t fixture_append_many(struct store_fixture *f, struct shard_log *log, uint32_t epoch,
                             uint32_t batches, size_t payload)
{
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < batches; i++) {
        lsn = fixture_append(f, log, epoch, 2, payload);
    }
    fixture_wait(f, lsn);
    return lsn;
}

uint32_t fixture_files_in(const struct store_fixture *f, const char *sub)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", f->dir, sub);
    DIR *dir = opendir(path);
    uint32_t count = 0;
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        count += e->d_name[0] == '.' ? 0 : 1;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return count;
}
