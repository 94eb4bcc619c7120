/* The Kinesis Data Streams interface of a broker: any broker answers any call.
 *
 *     door.c       from an HTTP request to a checked operation, in the order of AWS
 *     answer.c     what goes back
 *     stream.c     which stream, which shard is meant
 *     reach.c      calls to a shard's leader, here or at another broker, until it answers
 *     control.c    calls to the active controller, and waiting until the image has what they did
 *     the others   operations (the table in kinesis.c follows from broker/gateway/api.def)
 *
 * Everything that a client sends is bounded by the HTTP front and by the request's arena; every
 * request is answered within REQUEST_MS, except subscriptions.
 *
 * One home thread, that of the loop. */
#pragma once

#include "broker/api/api.h"
#include "broker/gateway/http.h"
#include "broker/gateway/iterator.h"
#include "broker/gateway/sigv4.h"
#include "broker/route/route.h"
#include "proto/net/net.h"

struct kinesis_options {
    struct net_loop *loop;
    struct api *api; /* serves what this broker leads */
    const struct route *route;
    uint32_t broker;
    struct kept *kept; /* for batches that go to leaders which we follow; NULL: none are kept */
    /* An open session to that broker; NULL while there is none. */
    struct session *(*broker_session)(void *context, uint32_t broker);
    /* There are other brokers that the controllers suppose alive, and none of them is heard. */
    bool (*cut_off)(void *context);
    /* To the active controller, or to one that knows which it is. */
    struct session *(*controller_session)(void *context);
    /* As struct sigv4_rules has it. */
    enum sigv4_key (*signing_key)(const char *access_key, const char *date, struct bytes token,
                                  uint8_t key[SIGV4_KEY_BYTES],
                                  char principal[SIGV4_PRINCIPAL_BYTES], void *context);
    /* The image of the metadata is as new as the cluster was when this broker came. Until then
     * requests wait: what a client asks for may be there and not be known here. */
    bool (*knows_metadata)(void *context);
    /* The key is unknown, and may be a new one: true while it is being asked for. */
    bool (*ask_keys)(void *context);
    /* Keys of iterators and lists; NULL while there are none. */
    const struct token_keys *(*token_keys)(void *context);
    const char *operation_limits; /* as kinesis_limits_are_good() likes it */
    bool deduplicate;             /* know SDKs' retries of puts by their invocation id */
    void *context;
};

struct kinesis;

/* What may be in operation_limits: "aws", "off", or "OPERATION=RATE,…" for exceptions from "aws".
 * False: *error has the sentence. */
bool kinesis_limits_are_good(const char *text, struct error *error);

/* Everything in the options is borrowed. NULL when out of memory, or with limits that are not good.
 */
struct kinesis *kinesis_new(const struct kinesis_options *options);

/* As http_server_listen(): over TLS with a certificate of net_tls_open_public(), or in the clear
 * with NULL. */
NODISCARD enum status kinesis_listen(struct kinesis *kinesis, const char *host, uint16_t port,
                                     struct net_tls *tls, struct error *error);

/* The image has changed: whoever waited for it goes on. */
void kinesis_route_changed(struct kinesis *kinesis);

struct metrics;
void kinesis_metrics(struct kinesis *kinesis, struct metrics *m);

/* The broker is going to stop: clients are asked to come by another connection, and served on. */
void kinesis_warn(struct kinesis *kinesis);
/* Takes no more requests and answers those that are under way; subscriptions end as they do after
 * their five minutes. */
void kinesis_drain(struct kinesis *kinesis);
/* That is done: nothing is left to be sent to anybody. */
bool kinesis_is_drained(const struct kinesis *kinesis);
uint32_t kinesis_connections(const struct kinesis *kinesis);

/* Answers who waits and ends the connections. What still runs elsewhere ends with the loop's
 * sessions and the store. */
void kinesis_close(struct kinesis *kinesis);

/* After the loop's objects and the store are closed. NULL is fine. */
void kinesis_free(struct kinesis *kinesis);
