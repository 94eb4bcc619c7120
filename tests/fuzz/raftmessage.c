/* Messages of Raft: the first two bytes say where the attachment begins. */
#include "controller/raft/message.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)raft_configuration_is_sound(bytes_of(data, size));
    if (size < 2) {
        return 0;
    }
    size_t body = (size_t)(data[0] | data[1] << 8) % (size - 1);
    struct raft_packet packet;
    if (raft_packet_parse(bytes_of(data + 2, body), bytes_of(data + 2 + body, size - 2 - body),
                          &packet) == STATUS_OK) {
        raft_packet_release(&packet);
    }
    return 0;
}
