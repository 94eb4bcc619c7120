#include "tests/crash/turns.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/rng.h"

enum { THREADS_MAX = 64 };

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names. */
int __real_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context);
int __real_pthread_join(pthread_t thread, void **out);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __real_pthread_cond_signal(pthread_cond_t *cond);
int __real_pthread_cond_broadcast(pthread_cond_t *cond);
int __real_poll(struct pollfd *fds, nfds_t count, int milliseconds);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context);
int __wrap_pthread_join(pthread_t thread, void **out);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_poll(struct pollfd *fds, nfds_t count, int milliseconds);

struct player {
    pthread_t thread;
    void *(*run)(void *);
    void *context;
    const void *waits_for; /* a mutex, a condition, a player; NULL: it can run */
    bool ended;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    atomic_bool on;
    struct rng rng;
    struct player player[THREADS_MAX];
    int count, turn;
} turns = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static _Thread_local int self = -1;

static bool playing(void)
{
    return atomic_load(&turns.on) && self >= 0;
}

void turns_begin(uint64_t seed)
{
    CHECK(!atomic_load(&turns.on));
    rng_init(&turns.rng, seed ^ 0x7475726e);
    turns.player[0] = (struct player){0};
    turns.count = 1;
    turns.turn = self = 0;
    atomic_store(&turns.on, true);
}

void turns_end(void)
{
    CHECK(playing() && self == 0);
    for (int i = 1; i < turns.count; i++) {
        CHECK(turns.player[i].ended);
    }
    atomic_store(&turns.on, false);
    self = -1;
}

/* ---- with turns.mutex held ---- */

static int others_that_can_run(void)
{
    int count = 0;
    for (int i = 0; i < turns.count; i++) {
        count += i != self && !turns.player[i].ended && turns.player[i].waits_for == NULL;
    }
    return count;
}

/* To anybody who can run, the caller included when it can. */
static void give_turn(void)
{
    int can[THREADS_MAX], count = 0;
    for (int i = 0; i < turns.count; i++) {
        if (!turns.player[i].ended && turns.player[i].waits_for == NULL) {
            can[count++] = i;
        }
    }
    CHECK(count > 0); /* else all wait for each other */
    turns.turn = can[rng_below(&turns.rng, (uint64_t)count)];
    (void)__real_pthread_cond_broadcast(&turns.changed);
}

static void wait_turn(void)
{
    while (turns.turn != self) {
        (void)__real_pthread_cond_wait(&turns.changed, &turns.mutex);
    }
}

static void wake(const void *what)
{
    for (int i = 0; i < turns.count; i++) {
        if (turns.player[i].waits_for == what) {
            turns.player[i].waits_for = NULL;
        }
    }
}

/* ---- ---- */

static void wait_for(const void *what)
{
    (void)__real_pthread_mutex_lock(&turns.mutex);
    turns.player[self].waits_for = what;
    give_turn();
    wait_turn();
    (void)__real_pthread_mutex_unlock(&turns.mutex);
}

static void happened(const void *what)
{
    (void)__real_pthread_mutex_lock(&turns.mutex);
    wake(what);
    (void)__real_pthread_mutex_unlock(&turns.mutex);
}

void turns_pass(void)
{
    if (playing()) {
        wait_for(NULL);
    }
}

static void *play(void *arg)
{
    struct player *player = arg;
    self = (int)(player - turns.player);
    (void)__real_pthread_mutex_lock(&turns.mutex);
    wait_turn();
    (void)__real_pthread_mutex_unlock(&turns.mutex);
    void *result = player->run(player->context);
    (void)__real_pthread_mutex_lock(&turns.mutex);
    player->ended = true;
    wake(player);
    give_turn();
    (void)__real_pthread_mutex_unlock(&turns.mutex);
    return result;
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context)
{
    if (!playing()) {
        return __real_pthread_create(out, attributes, run, context);
    }
    CHECK(turns.count < THREADS_MAX);
    struct player *player = &turns.player[turns.count];
    *player = (struct player){.run = run, .context = context};
    int result = __real_pthread_create(&player->thread, attributes, play, player);
    if (result == 0) {
        (void)__real_pthread_mutex_lock(&turns.mutex);
        *out = player->thread;
        turns.count++;
        (void)__real_pthread_mutex_unlock(&turns.mutex);
    }
    return result;
}

int __wrap_pthread_join(pthread_t thread, void **out)
{
    for (int i = 1; playing() && i < turns.count; i++) {
        struct player *player = &turns.player[i];
        if (!player->ended && pthread_equal(player->thread, thread)) {
            wait_for(player);
            break;
        }
    }
    return __real_pthread_join(thread, out);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (!playing()) {
        return __real_pthread_mutex_lock(mutex);
    }
    int result;
    while ((result = pthread_mutex_trylock(mutex)) == EBUSY) {
        wait_for(mutex);
    }
    return result;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int result = __real_pthread_mutex_unlock(mutex);
    if (playing()) {
        happened(mutex);
    }
    return result;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    if (!playing()) {
        return __real_pthread_cond_wait(cond, mutex);
    }
    (void)__wrap_pthread_mutex_unlock(mutex);
    wait_for(cond);
    return __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    if (playing()) {
        happened(cond); /* all of them: waiters look whether it was meant for them */
    }
    return __real_pthread_cond_signal(cond);
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    if (playing()) {
        happened(cond);
    }
    return __real_pthread_cond_broadcast(cond);
}

/* Time passes by turns: while anybody can run, nobody waits for the clock. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int milliseconds)
{
    while (playing()) {
        int result = __real_poll(fds, count, 0);
        if (result != 0 || others_that_can_run() == 0) {
            return result != 0 ? result : __real_poll(fds, count, milliseconds);
        }
        wait_for(NULL);
    }
    return __real_poll(fds, count, milliseconds);
}
/* NOLINTEND(bugprone-reserved-identifier) */
