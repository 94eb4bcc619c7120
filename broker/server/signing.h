/* Fetches what signatures are checked with from the active controller, when it is due.
 *
 * One home thread, that of the loop. */
#pragma once

#include "broker/keys/keys.h"
#include "broker/route/route.h"
#include "proto/net/net.h"

enum {
    SIGNING_AGAIN_MS = 250,    /* after an answer: the image may be behind it */
    SIGNING_RETRY_MS = 1000,   /* after a failure */
    SIGNING_WITHOUT_MS = 5000, /* the controllers have no cluster key */
    SIGNING_TIMEOUT_MS = 3000,
    SIGNING_STRANGER_MS = 1000, /* between two questions because of unknown keys */
};

/* Embedded in who watches the controllers; zeroed but for loop, keys and route. */
struct signing {
    struct net_loop *loop;
    struct keys *keys; /* NULL: nobody needs them */
    const struct route *route;
    struct session_request request;
    bool asking, told;
    uint64_t not_before_ms; /* on net_now_ms() */
    uint64_t stranger_ms;   /* ditto, for signing_ask() */
};

/* Asks at `session`, the active controller's, when it is due; cheap to call again and again. */
void signing_look(struct signing *signing, struct session *session);

/* Somebody came with a key that is not known: it may be newer than the image. Asks, but not too
 * often; true while an answer is on its way. */
bool signing_ask(struct signing *signing, struct session *session);
