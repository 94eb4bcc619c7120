#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cluster/internal.h"

static void tell(struct net_turn *turn)
{
    struct cluster *cluster = CONTAINER_OF(turn, struct cluster, tell);
    /* A watcher may remove itself or others, and add some: each is told once. */
    struct list due;
    list_move(&due, &cluster->watchers);
    while (!list_empty(&due)) {
        struct cluster_watcher *watcher =
            CONTAINER_OF(list_pop(&due), struct cluster_watcher, node);
        list_push(&cluster->watchers, &watcher->node);
        watcher->changed(watcher);
    }
}

struct cluster *cluster_open(const struct cluster_options *options)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL) {
        return NULL;
    }
    cluster->loop = options->loop;
    cluster->tls = options->tls;
    rng_init(&cluster->rng, options->seed);
    list_init(&cluster->calls);
    list_init(&cluster->watchers);
    list_init(&cluster->brokers);
    net_turn_init(&cluster->tell, tell);
    controllers_open(cluster, options->bootstrap, options->bootstrap_count);
    if (cluster->peer_count == 0) {
        free(cluster);
        return NULL;
    }
    watch_open(cluster);
    return cluster;
}

void cluster_close(struct cluster *cluster)
{
    cluster->closing = true;
    tell(&cluster->tell);
    net_turn_cancel(&cluster->tell);
    watch_close(cluster);
    calls_close(cluster);
    brokers_close(cluster);
    controllers_close(cluster);
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    for (size_t i = 0; i < cluster->peer_count; i++) {
        free(cluster->peers[i]);
    }
    while (!list_empty(&cluster->brokers)) {
        free(CONTAINER_OF(list_pop(&cluster->brokers), struct broker_link, node));
    }
    metadata_release(&cluster->metadata);
    free(cluster);
}

bool cluster_is_closing(const struct cluster *cluster)
{
    return cluster->closing;
}

struct net_loop *cluster_loop(struct cluster *cluster)
{
    return cluster->loop;
}

struct rng *cluster_rng(struct cluster *cluster)
{
    return &cluster->rng;
}

const struct metadata *cluster_metadata(const struct cluster *cluster)
{
    return &cluster->metadata;
}

const char *cluster_trouble(const struct cluster *cluster)
{
    return cluster->trouble.text;
}

void cluster_watch(struct cluster *cluster, struct cluster_watcher *watcher)
{
    list_push(&cluster->watchers, &watcher->node);
}

void cluster_unwatch(struct cluster_watcher *watcher)
{
    list_remove(&watcher->node);
}

void cluster_changed(struct cluster *cluster)
{
    if (!cluster->closing) {
        net_turn_schedule(cluster->loop, &cluster->tell);
    }
}

uint32_t cluster_node_id(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0 || name[length] != '-') {
        return 0;
    }
    uint64_t id = 0;
    for (const char *at = name + length + 1; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || id > UINT32_MAX) {
            return 0;
        }
        id = id * 10 + (uint64_t)(*at - '0');
    }
    return id <= UINT32_MAX ? (uint32_t)id : 0;
}
