/* Headers of frames, and whom a certificate names. */
#include <string.h>

#include "proto/rpc/rpc.h"
#include "proto/wire/frame.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_header h;
    if (frame_parse(bytes_of(data, size), &h) == STATUS_OK) {
        uint8_t again[FRAME_HEADER_BYTES];
        frame_encode(&h, again);
        CHECK(memcmp(again, data, sizeof(again)) == 0);
        CHECK(frame_bytes(&h) <= (size_t)UINT32_MAX);
    }
    char text[512];
    struct rpc_identity identity;
    size_t length = size < sizeof(text) ? size : sizeof(text) - 1;
    memcpy(text, data, length);
    text[length] = '\0';
    status_ignore(rpc_identity_parse(text, &identity), "most are none");
    return 0;
}
