#include "tests/unit/broker/api/fake_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TIMERS_MAX = 64 };
static struct net_timer *timers[TIMERS_MAX];
static void (*fires[TIMERS_MAX])(struct net_timer *timer);
static uint64_t clock_ms;

uint64_t net_now_ms(const struct net_loop *loop)
{
    (void)loop;
    return clock_ms;
}

uint64_t net_clock_us(void)
{
    return 0;
}

uint64_t net_wall_ms(void)
{
    return UINT64_C(1700000000000) + clock_ms;
}

enum status net_timer_start(struct net_loop *loop, struct net_timer *timer, uint64_t at_ms,
                            void (*fire)(struct net_timer *timer))
{
    net_timer_stop(loop, timer);
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        if (timers[i] == NULL) {
            timers[i] = timer;
            fires[i] = fire;
            timer->at_ms = at_ms;
            timer->heap_index = i + 1;
            return STATUS_OK;
        }
    }
    return STATUS_NO_MEMORY;
}

void net_timer_stop(struct net_loop *loop, struct net_timer *timer)
{
    (void)loop;
    if (timer->heap_index != 0) {
        timers[timer->heap_index - 1] = NULL;
        timer->heap_index = 0;
    }
}

void fake_timers_fire(uint64_t now_ms)
{
    clock_ms = now_ms;
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        struct net_timer *timer = timers[i];
        if (timer != NULL && timer->at_ms <= now_ms) {
            net_timer_stop(NULL, timer);
            fires[i](timer);
        }
    }
}

unsigned fake_timers_count(void)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        count += timers[i] != NULL;
    }
    return count;
}

size_t session_queued(const struct session *session)
{
    (void)session;
    return 0;
}

static void keep(struct fake_call *fake, struct session_payload payload)
{
    fake->replies++;
    fake->status = STATUS_OK;
    size_t size = protobuf_c_message_get_packed_size(payload.body);
    fake->body.size = fake->attachment.size = 0;
    assert_int_equal(buf_reserve(&fake->body, size + 1), STATUS_OK);
    fake->body.size = protobuf_c_message_pack(payload.body, fake->body.data);
    for (uint32_t i = 0; i < payload.piece_count; i++) {
        assert_int_equal(
            buf_append(&fake->attachment, payload.pieces[i].data, payload.pieces[i].size),
            STATUS_OK);
    }
}

void session_reply(struct session_call *call, struct session_payload payload)
{
    if (call->local != NULL) {
        call->local(call, &payload, NULL, NULL);
        return;
    }
    struct fake_call *fake = CONTAINER_OF(call, struct fake_call, call);
    fake->over = true;
    keep(fake, payload);
}

enum status session_reply_more(struct session_call *call, struct session_payload payload)
{
    keep(CONTAINER_OF(call, struct fake_call, call), payload);
    return STATUS_OK;
}

void session_reply_error(struct session_call *call, enum status status, const char *hint,
                         const char *format, ...)
{
    if (call->local != NULL) {
        struct error error = {.status = status};
        (void)snprintf(error.text, sizeof(error.text), "%s", format);
        call->local(call, NULL, &error, hint == NULL ? "" : hint);
        return;
    }
    struct fake_call *fake = CONTAINER_OF(call, struct fake_call, call);
    fake->over = true;
    fake->replies++;
    fake->status = status;
    (void)snprintf(fake->hint, sizeof(fake->hint), "%s", hint == NULL ? "" : hint);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(fake->text, sizeof(fake->text), format, args);
    va_end(args);
}

void fake_call_init(struct fake_call *call, enum rpc_method method, const ProtobufCMessage *body,
                    struct bytes attachment)
{
    static uint8_t packed[256];
    *call = (struct fake_call){
        .call.method = method, .call.attachment = attachment, .call.deadline_ms = UINT64_MAX};
    size_t size = protobuf_c_message_get_packed_size(body);
    assert_true(size <= sizeof(packed));
    call->call.body = bytes_of(packed, protobuf_c_message_pack(body, packed));
}

void fake_call_release(struct fake_call *call)
{
    buf_release(&call->body);
    buf_release(&call->attachment);
}
