/* Snapshots of the table of producers. */
#include "broker/shard/producer_table.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct producer_table *table = producer_table_new();
    struct producer_table *second = producer_table_new();
    CHECK(table != NULL && second != NULL);
    if (producer_table_decode(table, bytes_of(data, size)) == STATUS_OK) {
        struct buf out = {0}, again = {0};
        CHECK(producer_table_encode(table, UINT64_MAX, &out) == STATUS_OK);
        CHECK(producer_table_decode(second, buf_bytes(&out)) == STATUS_OK);
        CHECK(producer_table_encode(second, UINT64_MAX, &again) == STATUS_OK);
        CHECK(bytes_equal(buf_bytes(&out), buf_bytes(&again)));
        buf_release(&out);
        buf_release(&again);
    } else {
        CHECK(producer_table_count(table) == 0);
    }
    producer_table_free(table);
    producer_table_free(second);
    return 0;
}
