/* The inside of a weir_client: its loop, its thread, its cluster; and what producers, readers and
 * admin calls share.
 *
 * Everything that touches the cluster runs on the loop's thread. Other threads send it mail. */
#pragma once

#include <pthread.h>

#include <weir/client.h>

#include "client/cluster/cluster.h"
#include "proto/net/net.h"

enum { HANDLE_TIMEOUT_MS = 30000, REQUEST_ID_BYTES = 16 };

struct weir_client {
    struct net_loop *loop;
    struct net_tls *tls;
    struct net_mailbox *mailbox;
    struct cluster *cluster;
    bool own_thread;
    pthread_t thread;
    uint64_t next_producer, producers_left; /* of the block that the controllers gave us */
};

/* Monotonic milliseconds for any thread. Not comparable with net_now_ms(). */
uint64_t handle_now_ms(void);
uint64_t handle_now_us(void); /* the same clock */

/* Starts `timer` at a time on handle_now_ms()'s clock; UINT64_MAX stops it. Out of memory it stays
 * stopped. */
void handle_timer(struct weir_client *client, struct net_timer *timer, uint64_t at_ms,
                  void (*fire)(struct net_timer *timer));

void handle_random(void *out, size_t size);

/* Whether this thread may wait for the loop. INVALID with a sentence when not. */
NODISCARD enum weir_status handle_check_blocking(const struct weir_client *client,
                                                 struct weir_error *error);
bool handle_is_own_thread(const struct weir_client *client);

static inline uint32_t handle_timeout(uint32_t timeout_ms)
{
    return timeout_ms == 0 ? HANDLE_TIMEOUT_MS : timeout_ms;
}

/* Fills *error (may be NULL), returns the status. */
enum weir_status handle_error(struct weir_error *error, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline enum weir_status public_status(enum status status)
{
    return (enum weir_status)status;
}

/* A thread that waits for the loop. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;
    struct weir_error error;
    void *result;
};
void waiter_init(struct waiter *waiter);
/* `error` NULL: success. Any thread; the waiter may be gone when it returns. */
void waiter_wake(struct waiter *waiter, void *result, const struct weir_error *error);
/* Returns what it was woken with; releases it. `out` and `error` may be NULL. */
NODISCARD enum weir_status waiter_wait(struct waiter *waiter, void **out, struct weir_error *error);
/* The same for what was begun with status `begun`, and `why` when that is not OK. */
NODISCARD enum weir_status waiter_wait_begun(struct waiter *waiter, enum status begun,
                                             const struct error *why, void **out,
                                             struct weir_error *error);
/* waiter_wake() as a weir_done_fn. */
void waiter_done(const struct weir_error *error, void *context);

/* ---- finding a stream --------------------------------------------------------------------------
 */

/* Waits until a stream is known, ACTIVE and whole. Loop thread only; embedded in what waits. */
struct stream_find {
    struct cluster *cluster;
    char name[STREAM_NAME_MAX + 1];
    uint64_t deadline_ms; /* on net_now_ms() */
    void (*done)(struct stream_find *find, uint32_t stream, const struct error *error);
    struct cluster_watcher watcher;
    struct net_timer timer;
    struct cluster_call call;
    Weir__GetMetadata body;
    bool asking, over, waited;
    uint32_t stream;
    struct error error;
};

/* `done` comes once, from the loop (at once only when the client is closing); error->status is OK
 * and `stream` the id, or: NOT_FOUND, TIMEOUT (it is there but not ACTIVE), UNAVAILABLE, CLOSING,
 * NO_MEMORY. */
void stream_find(struct weir_client *client, struct stream_find *find, const char *name,
                 uint32_t timeout_ms,
                 void (*done)(struct stream_find *find, uint32_t stream,
                              const struct error *error));

/* INVALID: empty, too long, or other characters than letters, digits, '_', '.', '-'. */
NODISCARD enum status check_stream_name(const char *name, struct error *error);
