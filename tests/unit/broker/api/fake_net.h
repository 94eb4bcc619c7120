/* Sessions and timers as the operations see them, played by the test: replies are kept, timers fire
 * when the test says so. Defined instead of proto/net's functions of the same names. */
#pragma once

#include "proto/net/net.h"

struct fake_call {
    struct session_call call;
    int replies;
    bool over; /* the last one has come */
    enum status status;
    char hint[NODE_NAME_BYTES], text[ERROR_TEXT_BYTES];
    struct buf body, attachment; /* of the last reply */
};

/* A call with its body packed. */
void fake_call_init(struct fake_call *call, enum rpc_method method, const ProtobufCMessage *body,
                    struct bytes attachment);
void fake_call_release(struct fake_call *call);

/* Fires the timers that are due at `now_ms`. */
void fake_timers_fire(uint64_t now_ms);
unsigned fake_timers_count(void);
