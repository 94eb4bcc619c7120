/* Every message of proto/schema, read from any bytes: what can be read is the same when it is
 * written and read again. The first byte chooses the message (messages.inc is made from the
 * schema).
 */
#include <stdlib.h>
#include <string.h>

#include "messages.inc"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const all[] = {MESSAGES};
    if (size < 1) {
        return 0;
    }
    const ProtobufCMessageDescriptor *what = all[data[0] % (sizeof(all) / sizeof(all[0]))];
    ProtobufCMessage *message = protobuf_c_message_unpack(what, NULL, size - 1, data + 1);
    if (message == NULL) {
        return 0;
    }
    size_t packed = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(packed + 1);
    CHECK(bytes != NULL);
    CHECK(protobuf_c_message_pack(message, bytes) == packed);
    ProtobufCMessage *again = protobuf_c_message_unpack(what, NULL, packed, bytes);
    /* An unknown field 0 is read when its tag is spelled with too many bytes, and then written with
     * one, which protobuf-c refuses. */
    if (again != NULL) {
        CHECK(protobuf_c_message_get_packed_size(again) == packed);
        protobuf_c_message_free_unpacked(again, NULL);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    free(bytes);
    return 0;
}
