/* Names of streams and consumers as clients give them. */
#include "broker/kinesis/internal.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arn arn = {0};
    if (arn_parse(bytes_of(data, size), &arn)) {
        CHECK(arn.stream.data >= data && arn.stream.data + arn.stream.size <= data + size);
        CHECK(arn.consumer.size == 0 ||
              (arn.consumer.data >= data && arn.consumer.data + arn.consumer.size <= data + size));
    }
    return 0;
}
