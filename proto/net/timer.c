/* The loop's deadlines in a binary heap, numbered from 1 so that index 0 means "not started". */
#include <stdlib.h>

#include "base/check.h"
#include "proto/net/loop.h"

enum { HEAP_MIN = 64 };

static void place(struct net_loop *loop, uint32_t index, struct net_timer *timer)
{
    loop->heap[index] = timer;
    timer->heap_index = index;
}

static void sift_up(struct net_loop *loop, uint32_t index)
{
    struct net_timer *timer = loop->heap[index];
    while (index > 1 && loop->heap[index / 2]->at_ms > timer->at_ms) {
        place(loop, index, loop->heap[index / 2]);
        index /= 2;
    }
    place(loop, index, timer);
}

static void sift_down(struct net_loop *loop, uint32_t index)
{
    struct net_timer *timer = loop->heap[index];
    while (index * 2 <= loop->heap_count) {
        uint32_t child = index * 2;
        if (child < loop->heap_count && loop->heap[child + 1]->at_ms < loop->heap[child]->at_ms) {
            child++;
        }
        if (loop->heap[child]->at_ms >= timer->at_ms) {
            break;
        }
        place(loop, index, loop->heap[child]);
        index = child;
    }
    place(loop, index, timer);
}

static enum status reserve(struct net_loop *loop)
{
    if (loop->heap_count + 1 < loop->heap_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = loop->heap_capacity == 0 ? HEAP_MIN : loop->heap_capacity * 2;
    struct net_timer **heap = realloc(loop->heap, capacity * sizeof(struct net_timer *));
    if (heap == NULL) {
        return STATUS_NO_MEMORY;
    }
    loop->heap = heap;
    loop->heap_capacity = capacity;
    return STATUS_OK;
}

enum status net_timer_start(struct net_loop *loop, struct net_timer *timer, uint64_t at_ms,
                            void (*fire)(struct net_timer *timer))
{
    if (timer->heap_index == 0) {
        enum status status = reserve(loop);
        if (status != STATUS_OK) {
            return status;
        }
        place(loop, ++loop->heap_count, timer);
    }
    timer->at_ms = at_ms;
    timer->fire = fire;
    sift_up(loop, timer->heap_index);
    sift_down(loop, timer->heap_index);
    return STATUS_OK;
}

void net_timer_stop(struct net_loop *loop, struct net_timer *timer)
{
    uint32_t index = timer->heap_index;
    if (index == 0) {
        return;
    }
    CHECK(loop->heap[index] == timer);
    timer->heap_index = 0;
    struct net_timer *last = loop->heap[loop->heap_count--];
    if (last != timer) {
        place(loop, index, last);
        sift_up(loop, index);
        sift_down(loop, last->heap_index);
    }
}

uint64_t timer_next_ms(const struct net_loop *loop)
{
    return loop->heap_count == 0 ? UINT64_MAX : loop->heap[1]->at_ms;
}

/* Those that are due now; what they start anew waits for the next turn, even if it is due. */
void timer_fire_due(struct net_loop *loop)
{
    uint64_t now = net_now_ms(loop);
    for (uint32_t left = loop->heap_count; left > 0 && timer_next_ms(loop) <= now; left--) {
        struct net_timer *timer = loop->heap[1];
        net_timer_stop(loop, timer);
        timer->fire(timer);
    }
}
