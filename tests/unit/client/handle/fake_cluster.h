/* Two controllers and two brokers that answer as a test tells them to, on the loop of the client
 * under test. One stream, "orders", with one shard, led by broker-1 at first. */
#pragma once

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <weir/weir.h>

#include "proto/net/net.h"
#include "proto/wire/batch.h"
#include "tests/unit/proto/net/certs.h"

enum {
    FAKE_NODES = 2,
    FAKE_STREAM = 7,
    FAKE_LOG_BATCHES = 256,
    FAKE_EPOCH = 3,
    FAKE_UNANSWERED = 16
};

struct fake_node {
    struct fake *fake;
    uint32_t id;
    struct net_tls *tls;
    struct net_listener *listener;
    uint16_t port;
    struct session_call *watch;
    bool silent; /* a controller: connected, but it says nothing any more */
    struct session_call *unanswered[FAKE_UNANSWERED];
    unsigned unanswered_count;
    unsigned calls[128]; /* by method */
    /* How a broker misbehaves next, so many times. */
    unsigned drop_after_storing, swallow, refuse;
    enum status refuse_with;
};

struct fake {
    struct certs certs;
    struct net_loop *loop;
    struct net_tls *client_tls;
    struct fake_node controllers[FAKE_NODES], brokers[FAKE_NODES];
    uint32_t active; /* controller */
    uint64_t version;
    uint32_t leader, epoch;
    bool created, deleting, updating;
    bool stays;            /* what is begun is never done */
    bool drop_next_create; /* after it was done */
    uint8_t last_request[16];

    /* The shard, which both brokers see at once. */
    struct buf log[FAKE_LOG_BATCHES];
    struct batch_header header[FAKE_LOG_BATCHES];
    unsigned log_count;
    uint64_t end, log_start;
    struct session_call *waiting_read; /* a long poll */
    uint64_t waiting_offset;
    int last_position_type;
    uint64_t last_position_offset, last_position_ms;

    struct weir_client *client;
};

void fake_start(struct fake *fake);
void fake_stop(struct fake *fake);

/* Another broker leads: the watchers are told. */
void fake_lead(struct fake *fake, uint32_t broker);
/* Tells the watchers of the present state, as a newer version. */
void fake_tell(struct fake *fake);
/* Ends every session with the broker. */
void fake_cut(struct fake_node *node);

/* Runs the loop until *flag, or fails the test after 10 s. */
void fake_until(struct fake *fake, const bool *flag);
void fake_run_ms(struct fake *fake, unsigned ms);
