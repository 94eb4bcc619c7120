#include "broker/server/loads.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "proto/schema/control.pb-c.h"

struct part {
    struct api_load load[LOADS_IN_MESSAGE];
    Weir__ShardLoad message[LOADS_IN_MESSAGE], *messages[LOADS_IN_MESSAGE];
    uint8_t split[LOADS_IN_MESSAGE][HASH_KEY_BYTES];
};

static void send_part(struct part *part, uint32_t count, struct session *session, uint64_t boot)
{
    Weir__ShardLoads loads;
    weir__shard_loads__init(&loads);
    for (uint32_t i = 0; i < count; i++) {
        Weir__ShardLoad *m = part->messages[i] = &part->message[i];
        weir__shard_load__init(m);
        m->shard = part->load[i].shard;
        m->permille = part->load[i].permille;
        if (part->load[i].can_split) {
            hash_key_to_bytes(part->load[i].split, part->split[i]);
            m->split = (ProtobufCBinaryData){.data = part->split[i], .len = HASH_KEY_BYTES};
        }
    }
    loads.boot = boot;
    loads.shards = part->messages;
    loads.n_shards = count;
    status_ignore(
        session_send(session, RPC_SHARD_LOADS, (struct session_payload){.body = &loads.base}),
        "the next report follows soon");
}

void loads_send(struct api *api, struct session *session, uint64_t boot)
{
    uint64_t cursor = 0;
    AUTO(free_pointer) struct part *part = malloc(sizeof(*part));
    if (session == NULL || part == NULL) {
        return;
    }
    do {
        uint32_t count = api_loads(api, &cursor, part->load, LOADS_IN_MESSAGE);
        if (count > 0) {
            send_part(part, count, session, boot);
        }
    } while (cursor != 0);
}
