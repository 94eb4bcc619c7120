/* The client's side of a cluster: sessions with controllers and brokers, the watched metadata, and
 * calls that find the active controller by themselves.
 *
 * Everything happens on one loop; callbacks come from the loop, never from inside the call that
 * caused them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rng.h"
#include "base/status.h"
#include "client/cluster/bootstrap.h"
#include "client/cluster/metadata.h"
#include "proto/net/net.h"

struct cluster;

struct cluster_options {
    struct net_loop *loop;
    struct net_tls *tls; /* borrowed for the cluster's life */
    const struct endpoint *bootstrap;
    size_t bootstrap_count;
    uint64_t seed; /* for jitter, and for whom to ask first */
};

/* Begins to watch the metadata. NULL when out of memory. */
struct cluster *cluster_open(const struct cluster_options *options);

/* Tells all watchers, and ends all sessions; waiting calls are answered CLOSING, the last of them
 * before net_loop_free() returns. Then cluster_free(). */
void cluster_close(struct cluster *cluster);
void cluster_free(struct cluster *cluster);

bool cluster_is_closing(const struct cluster *cluster);
struct net_loop *cluster_loop(struct cluster *cluster);
struct rng *cluster_rng(struct cluster *cluster);

/* ---- metadata ----------------------------------------------------------------------------------
 */

/* What is known now; `known` is false until the first image came. */
const struct metadata *cluster_metadata(const struct cluster *cluster);

/* Why no controller could be reached lately; "" when one could. */
const char *cluster_trouble(const struct cluster *cluster);

/* Told, once a turn, that the metadata or the sessions with brokers have changed; and once that the
 * cluster is closing: then it must not expect anything more. */
struct cluster_watcher {
    struct list node;
    void (*changed)(struct cluster_watcher *watcher);
};
void cluster_watch(struct cluster *cluster, struct cluster_watcher *watcher);
void cluster_unwatch(struct cluster_watcher *watcher);

/* Somebody waits for the leader of a shard of `stream`, and what is known does not help: asks the
 * other controllers in turn, and watches one of them when it knows more. Cheap to call again and
 * again. */
void cluster_doubt(struct cluster *cluster, uint32_t stream);

/* ---- brokers -----------------------------------------------------------------------------------
 */

/* The open session with a broker; NULL while there is none (it is being dialled then, unless the
 * metadata does not know the broker). *out_serial differs for every session there ever was. */
struct session *cluster_broker(struct cluster *cluster, uint32_t broker, uint32_t *out_serial);

/* The id in "broker-3" or "controller-3"; 0 when it is neither. */
uint32_t cluster_node_id(const char *name, const char *prefix);

/* ---- calls to the active controller ------------------------------------------------------------
 */

struct cluster_reply {
    enum status status;
    const char *text;  /* a sentence when status is not OK */
    struct bytes body; /* borrowed for the callback */
};

struct controller_peer;
struct peer_waiter {
    struct list node;
    void (*ready)(struct peer_waiter *waiter, bool open);
};

/* Embedded in what waits for it; the cluster's until `done`. */
struct cluster_call {
    struct list node;
    struct cluster *cluster;
    enum rpc_method method;
    const ProtobufCMessage *body;
    void (*done)(struct cluster_call *call, const struct cluster_reply *reply);
    uint64_t deadline_ms;
    bool is_change;     /* its outcome matters: UNCERTAIN when it is not known */
    bool maybe;         /* an attempt may have done it */
    bool asking;        /* `request` is under way */
    bool finishing;     /* the deadline passed: end with the request's reply */
    enum status ending; /* ... because of this: CANCELLED, CLOSING; OK: its time is over */
    uint32_t tries;
    size_t peer;  /* index of the controller asked last */
    bool anybody; /* any controller may answer; `peer` is asked first */
    struct peer_waiter waiter;
    struct session_request request;
    struct net_timer retry, deadline;
    struct buf parts;     /* of an answer in several */
    struct error trouble; /* of the last attempt */
};

/* Asks the active controller, wherever it is, until it answers or `timeout_ms` passed. `body` is
 * borrowed until `done`. A change must carry a request id, because it may be sent again.
 *
 * `done` comes exactly once, with the controller's status; UNAVAILABLE: nobody answered in time;
 * UNCERTAIN: the same, and a change was sent; CLOSING: the cluster is being closed. It does not
 * come when this returns NO_MEMORY or CLOSING. */
NODISCARD enum status cluster_call(struct cluster *cluster, struct cluster_call *call,
                                   enum rpc_method method, const ProtobufCMessage *body,
                                   bool is_change, uint32_t timeout_ms,
                                   void (*done)(struct cluster_call *call,
                                                const struct cluster_reply *reply));

/* `done` comes soon, with CANCELLED (or what had been on its way). */
void cluster_call_cancel(struct cluster_call *call);
