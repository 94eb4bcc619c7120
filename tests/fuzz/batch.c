/* Batches: header, payload, compression, records, and aggregated records within them. With an odd
 * first byte the checksums are put right, to get behind them. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "proto/codec/codec.h"
#include "proto/wire/kpl.h"
#include "tests/fuzz/fuzz.h"

static void aggregated(struct bytes data)
{
    struct kpl_view view;
    if (kpl_open(data, &view) != STATUS_OK) {
        return;
    }
    struct kpl_record record;
    uint32_t count = 0;
    while (kpl_next(&view, &record)) {
        count++;
    }
    CHECK(count == view.count);
    kpl_release(&view);
}

static void records(const struct batch_header *h, struct bytes payload)
{
    struct coder coder = {0};
    struct bytes plain;
    if (codec_open(&coder, h, payload, &plain) == STATUS_OK) {
        struct error error;
        enum status status = batch_check_records(h, plain, &error);
        uint32_t count = 0;
        struct record record;
        while (plain.size > 0 && record_next(&plain, &record) == STATUS_OK) {
            aggregated(record.data);
            count++;
        }
        CHECK(status != STATUS_OK || (plain.size == 0 && count == h->count));
    }
    coder_release(&coder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aggregated(bytes_of(data, size));
    if (size < 1 + BATCH_HEADER_BYTES) {
        return 0;
    }
    uint8_t *copy = malloc(size - 1);
    CHECK(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    if ((data[0] & 1) != 0) {
        uint32_t payload = (uint32_t)(size - 1 - BATCH_HEADER_BYTES);
        put_u32(copy + 12, payload);
        put_u32(copy + 8, crc32c(0, copy + BATCH_HEADER_BYTES, payload));
        put_u32(copy + 4, crc32c(0, copy + 8, BATCH_HEADER_BYTES - 8));
    }
    struct batch_header h;
    struct bytes all = bytes_of(copy, size - 1);
    if (batch_decode(all, &h) == STATUS_OK) {
        CHECK(batch_bytes(&h) <= all.size);
        uint8_t again[BATCH_HEADER_BYTES];
        struct batch_header same = h;
        batch_header_encode(&same, again);
        CHECK(memcmp(again, copy, sizeof(again)) == 0);
        records(&h, bytes_of(copy + BATCH_HEADER_BYTES, h.payload_bytes));
    }
    free(copy);
    return 0;
}
