#include "proto/net/loop.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/trace.h"

enum { TRACE_BYTES = 512 };

/* ---- turns ---- */

void net_turn_init(struct net_turn *turn, void (*fire)(struct net_turn *turn))
{
    list_init(&turn->node);
    turn->fire = fire;
}

void net_turn_schedule(struct net_loop *loop, struct net_turn *turn)
{
    if (list_empty(&turn->node)) {
        list_push(&loop->turns, &turn->node);
    }
}

void net_turn_cancel(struct net_turn *turn)
{
    list_remove(&turn->node);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

/* Turns that turns have scheduled run as well, up to a bound. */
static void run_turns(struct net_loop *loop)
{
    for (int round = 0; round < TURN_ROUNDS && !list_empty(&loop->turns); round++) {
        struct list now;
        list_move(&now, &loop->turns);
        while (!list_empty(&now)) {
            struct net_turn *turn = CONTAINER_OF(list_pop(&now), struct net_turn, node);
            turn->fire(turn);
        }
    }
    bool is_left = !list_empty(&loop->turns);
    if (is_left != loop->is_idle_on) {
        loop->is_idle_on = is_left;
        int rc = is_left ? uv_idle_start(&loop->idle, on_idle) : uv_idle_stop(&loop->idle);
        CHECK(rc == 0);
    }
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer)
{
    struct net_loop *loop = timer->data;
    loop->armed_at_ms = UINT64_MAX;
    timer_fire_due(loop);
}

/* Sets the one uv timer to the earliest deadline, once per turn instead of at every change. */
static void arm_timer(struct net_loop *loop)
{
    uint64_t next = timer_next_ms(loop);
    if (next == loop->armed_at_ms) {
        return;
    }
    loop->armed_at_ms = next;
    int rc;
    if (next == UINT64_MAX) {
        rc = uv_timer_stop(&loop->timer);
    } else {
        uint64_t now = uv_now(loop->uv);
        rc = uv_timer_start(&loop->timer, on_timer, next > now ? next - now : 0, 0);
    }
    CHECK(rc == 0);
}

/* uv calls this after the callbacks of one turn and before it sleeps. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct net_loop *loop = prepare->data;
    run_turns(loop);
    arm_timer(loop);
}

static void on_async(uv_async_t *async)
{
    struct net_loop *loop = async->data;
    if (__atomic_load_n(&loop->stopping, __ATOMIC_ACQUIRE) != 0) {
        uv_stop(loop->uv);
    }
}

static bool open_handles(struct net_loop *loop)
{
    if (uv_async_init(loop->uv, &loop->async, on_async) != 0) {
        return false;
    }
    bool ok = uv_prepare_init(loop->uv, &loop->prepare) == 0 &&
              uv_idle_init(loop->uv, &loop->idle) == 0 &&
              uv_timer_init(loop->uv, &loop->timer) == 0 &&
              uv_prepare_start(&loop->prepare, on_prepare) == 0;
    CHECK(ok); /* these cannot fail */
    loop->async.data = loop->prepare.data = loop->idle.data = loop->timer.data = loop;
    loop->handles = 4;
    /* Neither of them is work to wait for; net_loop_run() holds its loop by `async`. */
    uv_unref((uv_handle_t *)&loop->prepare);
    if (!loop->is_own) {
        uv_unref((uv_handle_t *)&loop->async);
    }
    return true;
}

struct net_loop *net_loop_new(struct uv_loop_s *borrowed)
{
    struct net_loop *loop = calloc(1, sizeof(*loop));
    uint8_t *read_buffer = malloc(READ_BYTES);
    if (loop == NULL || read_buffer == NULL) {
        goto fail;
    }
    list_init(&loop->turns);
    list_init(&loop->chunks);
    loop->read_buffer = read_buffer;
    loop->armed_at_ms = UINT64_MAX;
    loop->is_own = borrowed == NULL;
    loop->uv = loop->is_own ? &loop->own : borrowed;
    if (loop->is_own && uv_loop_init(&loop->own) != 0) {
        goto fail;
    }
    if (!open_handles(loop)) {
        if (loop->is_own) {
            CHECK(uv_loop_close(&loop->own) == 0);
        }
        goto fail;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return loop;
fail:
    free(read_buffer);
    free(loop);
    return NULL;
}

struct uv_loop_s *net_loop_uv(struct net_loop *loop)
{
    return loop->uv;
}

void net_loop_run(struct net_loop *loop)
{
    CHECK(loop->is_own);
    while (__atomic_load_n(&loop->stopping, __ATOMIC_ACQUIRE) == 0) {
        (void)uv_run(loop->uv, UV_RUN_DEFAULT);
    }
    /* It may be run again, to let things end. */
    __atomic_store_n(&loop->stopping, 0, __ATOMIC_RELEASE);
}

void net_loop_stop(struct net_loop *loop)
{
    __atomic_store_n(&loop->stopping, 1, __ATOMIC_RELEASE);
    CHECK(uv_async_send(&loop->async) == 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct net_loop *loop = handle->data;
    loop->handles--;
}

void net_loop_free(struct net_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    while (loop->objects > 0) {
        (void)uv_run(loop->uv, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&loop->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&loop->idle, on_handle_closed);
    uv_close((uv_handle_t *)&loop->timer, on_handle_closed);
    uv_close((uv_handle_t *)&loop->async, on_handle_closed);
    while (loop->handles > 0) {
        (void)uv_run(loop->uv, UV_RUN_NOWAIT);
    }
    if (loop->is_own) {
        (void)uv_run(loop->uv, UV_RUN_NOWAIT);
        CHECK(uv_loop_close(&loop->own) == 0);
    }
    while (!list_empty(&loop->chunks)) {
        free(CONTAINER_OF(list_pop(&loop->chunks), struct chunk, node));
    }
    free(loop->heap);
    free(loop->read_buffer);
    free(loop);
}

uint64_t net_now_ms(const struct net_loop *loop)
{
    return uv_now(loop->uv);
}

uint64_t net_wall_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t net_clock_us(void)
{
    return uv_hrtime() / 1000;
}

/* ---- memory ---- */

struct chunk *chunk_new(struct net_loop *loop, size_t capacity)
{
    struct chunk *chunk;
    if (capacity <= CHUNK_BYTES && loop->chunk_count > 0) {
        loop->chunk_count--;
        chunk = CONTAINER_OF(list_pop(&loop->chunks), struct chunk, node);
    } else {
        capacity = capacity < CHUNK_BYTES ? CHUNK_BYTES : capacity;
        chunk = malloc(sizeof(*chunk) + capacity);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->capacity = capacity;
    }
    list_init(&chunk->node);
    chunk->begin = chunk->end = 0;
    return chunk;
}

void chunk_free(struct net_loop *loop, struct chunk *chunk)
{
    if (chunk == NULL) {
        return;
    }
    if (chunk->capacity != CHUNK_BYTES || loop->chunk_count == CHUNKS_KEPT) {
        free(chunk);
        return;
    }
    loop->chunk_count++;
    /* At the front: what was used last is still in the cache. */
    chunk->node.next = loop->chunks.next;
    chunk->node.prev = &loop->chunks;
    loop->chunks.next->prev = &chunk->node;
    loop->chunks.next = &chunk->node;
}

/* ---- traces ---- */

void net_trace(struct net_loop *loop, const char *format, ...)
{
    uint64_t second = net_now_ms(loop) / 1000;
    if (second != loop->trace_second) {
        if (loop->untraced > 0) {
            trace(TRACE_WARNING, "net", "%u more connections failed within a second",
                  loop->untraced);
        }
        loop->trace_second = second;
        loop->traced = loop->untraced = 0;
    }
    if (loop->traced == TRACES_PER_SECOND) {
        loop->untraced++;
        return;
    }
    loop->traced++;
    char text[TRACE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    trace(TRACE_WARNING, "net", "%s", text);
}
