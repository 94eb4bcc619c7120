/* The bench of the session tests: a loop, a listener that is broker-2, a dialler that is broker-1,
 * and what happened to them. */
#pragma once

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <uv.h>

#include "certs.h"
#include "proto/net/net.h"
#include "proto/schema/common.pb-c.h"
#include "proto/schema/data.pb-c.h"

/* What the callbacks of one side have seen. */
struct side {
    unsigned opened, closed, called, messaged, writable, cancelled;
    enum status why;
    char why_text[ERROR_TEXT_BYTES];
    struct session *session;   /* the open one */
    struct session_call *call; /* the last that came and was not answered */
    struct bytes attachment;   /* copied, of the last message or call; free() it */
    enum { ANSWER_ECHO, ANSWER_LATER, ANSWER_ERROR, ANSWER_STREAM } answer;
};

struct bench {
    struct certs certs;
    struct net_loop *loop;
    struct net_tls *dialer_tls, *listener_tls;
    struct net_listener *listener;
    struct side dialer, accepted;
    uint16_t port;
};

/* A call of ours and what came back. */
struct outcome {
    struct session_request request;
    unsigned replies;
    bool done;
    enum status status;
    char text[ERROR_TEXT_BYTES], hint[64];
    size_t attachment_bytes;
    uint64_t offset; /* of a Position */
};

void bench_init(struct bench *bench);
void bench_release(struct bench *bench);

extern const struct session_handlers bench_handlers;

/* Dials and waits until both sides are open. */
void bench_connect(struct bench *bench);
void bench_connect_to(struct bench *bench, const char *host, struct side *accepted);
struct session *bench_dial(struct bench *bench, struct net_tls *tls, enum rpc_role role,
                           uint32_t id);

/* Runs the loop until *what reaches `count`, or fails the test after 10 s. */
void bench_until(struct bench *bench, const unsigned *what, unsigned count);
void bench_until_done(struct bench *bench, const struct outcome *outcome);
void bench_run_ms(struct bench *bench, unsigned ms);

void bench_done(struct session_request *request, const struct session_reply *reply);

/* Calls RESOLVE with this offset and an attachment of `bytes` bytes. */
enum status bench_call(struct session *session, struct outcome *outcome, uint64_t offset,
                       size_t bytes, uint32_t timeout_ms);
enum status bench_message(struct session *session, size_t bytes);

/* A name of this machine where it has one: a bare system has no /etc/hosts. */
const char *bench_own_name(void);
