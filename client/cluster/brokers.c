/* Our sessions with brokers: one each, opened when somebody needs it, dialled again when lost. */
#include <stdlib.h>
#include <string.h>

#include "client/cluster/internal.h"

static void opened(struct session *session)
{
    struct broker_link *link = session_data(session);
    link->open = true;
    link->serial = ++link->cluster->next_serial;
    cluster_changed(link->cluster);
}

static void closed(struct session *session, const struct error *why)
{
    struct broker_link *link = session_data(session);
    (void)why;
    link->open = false;
    cluster_changed(link->cluster);
}

static void called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "a client answers no calls");
}

/* Whoever was told BUSY looks again. */
static void writable(struct session *session)
{
    struct broker_link *link = session_data(session);
    cluster_changed(link->cluster);
}

static const struct session_handlers handlers = {.opened = opened,
                                                 .called = called,
                                                 .writable = writable,
                                                 .closed = closed};

static struct broker_link *find(struct cluster *cluster, uint32_t id)
{
    LIST_FOR_EACH (node, &cluster->brokers) {
        struct broker_link *link = CONTAINER_OF(node, struct broker_link, node);
        if (link->id == id) {
            return link;
        }
    }
    return NULL;
}

static void open_link(struct broker_link *link)
{
    struct cluster *cluster = link->cluster;
    const struct metadata_broker *row = metadata_broker(&cluster->metadata, link->id);
    if (row == NULL || row->port == 0 || link->link != NULL || cluster->closing) {
        return;
    }
    link->endpoint.port = row->port;
    memcpy(link->endpoint.host, row->host, sizeof(link->endpoint.host));
    struct session_options options = {
        .loop = cluster->loop, .tls = cluster->tls, .handlers = &handlers, .data = link};
    link->link = net_link_open(&options, link->endpoint.host, link->endpoint.port, RPC_ROLE_BROKER,
                               link->id);
}

struct session *cluster_broker(struct cluster *cluster, uint32_t broker, uint32_t *out_serial)
{
    struct broker_link *link = find(cluster, broker);
    if (link == NULL && broker != 0 && !cluster->closing) {
        link = calloc(1, sizeof(*link));
        if (link == NULL) {
            return NULL;
        }
        link->cluster = cluster;
        link->id = broker;
        list_push(&cluster->brokers, &link->node);
    }
    if (link == NULL) {
        return NULL;
    }
    open_link(link);
    if (!link->open || link->link == NULL) {
        return NULL;
    }
    struct session *session = net_link_session(link->link);
    if (session != NULL) {
        *out_serial = link->serial;
    }
    return session;
}

void brokers_learn(struct cluster *cluster)
{
    LIST_FOR_EACH (node, &cluster->brokers) {
        struct broker_link *link = CONTAINER_OF(node, struct broker_link, node);
        const struct metadata_broker *row = metadata_broker(&cluster->metadata, link->id);
        if (row == NULL || row->port == 0 || link->link == NULL) {
            continue;
        }
        if (row->port != link->endpoint.port || strcmp(row->host, link->endpoint.host) != 0) {
            link->endpoint.port = row->port;
            memcpy(link->endpoint.host, row->host, sizeof(link->endpoint.host));
            net_link_move(link->link, link->endpoint.host, link->endpoint.port);
        }
        if (row->alive && row->boot != link->boot) {
            net_link_hurry(link->link); /* it has just come back: no back-off */
        }
        link->boot = row->alive ? row->boot : 0;
    }
}

void brokers_close(struct cluster *cluster)
{
    LIST_FOR_EACH (node, &cluster->brokers) {
        struct broker_link *link = CONTAINER_OF(node, struct broker_link, node);
        if (link->link != NULL) {
            net_link_close(link->link);
            link->link = NULL;
        }
    }
}
