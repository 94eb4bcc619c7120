#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rng.h"
#include "proto/net/session.h"

enum {
    BACKOFF_FIRST_MS = 20,
    BACKOFF_MAX_MS = 1000,
    LONG_LIVED_MS = 1000, /* a session that lived so long shows that the other side works */
};

struct net_link {
    struct session_options options;
    char host[HOST_BYTES];
    uint16_t port;
    enum rpc_role role;
    uint32_t id;
    struct session *session; /* the current one, open or not; NULL while waiting */
    bool is_open, is_moving, is_closing;
    uint64_t opened_ms;
    uint32_t backoff_ms;
    struct net_timer redial;
    struct rng jitter;
};

/* The timer is always in the heap, parked at the end of time when nothing is due: moving it there
 * needs no memory. */
static void redial_at(struct net_link *link, uint64_t at_ms);

static void on_redial(struct net_timer *timer)
{
    struct net_link *link = CONTAINER_OF(timer, struct net_link, redial);
    redial_at(link, UINT64_MAX);
    link->session =
        session_dial_for(&link->options, link->host, link->port, link->role, link->id, link);
    if (link->session == NULL) {
        redial_at(link, net_now_ms(link->options.loop) + BACKOFF_MAX_MS);
    }
}

static void redial_at(struct net_link *link, uint64_t at_ms)
{
    enum status status = net_timer_start(link->options.loop, &link->redial, at_ms, on_redial);
    CHECK(status == STATUS_OK);
}

static void wait(struct net_link *link, uint64_t delay_ms)
{
    redial_at(link, net_now_ms(link->options.loop) + delay_ms);
}

/* Between half and all of the back-off, which doubles: diallers of one place spread out. */
static uint64_t next_delay(struct net_link *link)
{
    uint64_t delay = rng_between(&link->jitter, link->backoff_ms / 2, link->backoff_ms);
    link->backoff_ms =
        link->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : link->backoff_ms * 2;
    return delay;
}

static void link_free(struct net_link *link)
{
    net_timer_stop(link->options.loop, &link->redial);
    free(link);
}

void link_session_opened(struct net_link *link, struct session *session)
{
    CHECK(link->session == session);
    link->is_open = true;
    link->opened_ms = net_now_ms(link->options.loop);
}

void link_session_ended(struct net_link *link, struct session *session)
{
    CHECK(link->session == session);
    bool was_long =
        link->is_open && net_now_ms(link->options.loop) - link->opened_ms >= LONG_LIVED_MS;
    link->session = NULL;
    link->is_open = false;
    if (link->is_closing) {
        link_free(link);
        return;
    }
    if (was_long || link->is_moving) {
        link->is_moving = false;
        link->backoff_ms = BACKOFF_FIRST_MS;
        wait(link, 0); /* by the timer: the session's `closed` comes before the next `opened` */
        return;
    }
    wait(link, next_delay(link));
}

struct net_link *net_link_open(const struct session_options *options, const char *host,
                               uint16_t port, enum rpc_role role, uint32_t id)
{
    struct net_link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }
    link->options = *options;
    (void)snprintf(link->host, sizeof(link->host), "%s", host);
    link->port = port;
    link->role = role;
    link->id = id;
    link->backoff_ms = BACKOFF_FIRST_MS;
    rng_init(&link->jitter, uv_hrtime() ^ (uint64_t)(uintptr_t)link);
    if (net_timer_start(options->loop, &link->redial, net_now_ms(options->loop), on_redial) !=
        STATUS_OK) {
        free(link);
        return NULL;
    }
    return link;
}

struct session *net_link_session(const struct net_link *link)
{
    return link->is_open && session_is_open(link->session) ? link->session : NULL;
}

bool net_link_is_busy(const struct net_link *link)
{
    return link->session != NULL;
}

void net_link_move(struct net_link *link, const char *host, uint16_t port)
{
    if (strcmp(link->host, host) == 0 && link->port == port) {
        return;
    }
    (void)snprintf(link->host, sizeof(link->host), "%s", host);
    link->port = port;
    if (link->session != NULL) {
        link->is_moving = true;
        session_close(link->session, STATUS_CLOSING, "the address has changed");
        return;
    }
    link->backoff_ms = BACKOFF_FIRST_MS;
    wait(link, 0);
}

void net_link_hurry(struct net_link *link)
{
    if (link->session == NULL && !link->is_closing) {
        link->backoff_ms = BACKOFF_FIRST_MS;
        wait(link, 0);
    }
}

void net_link_close(struct net_link *link)
{
    if (link == NULL || link->is_closing) {
        return;
    }
    link->is_closing = true;
    if (link->session == NULL) {
        link_free(link);
        return;
    }
    redial_at(link, UINT64_MAX);
    session_close(link->session, STATUS_CLOSING, "the link is closing");
}
