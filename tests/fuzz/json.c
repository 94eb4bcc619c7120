/* Bodies in JSON: see codec.h. */
#include "tests/fuzz/codec.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    codec_check(API_JSON, data, size);
    return 0;
}
