/* Waiting for a stream to be there. */
#include <stdio.h>
#include <string.h>

#include "client/handle/handle.h"

enum { ASK_AGAIN_MS = 300 };

enum status check_stream_name(const char *name, struct error *error)
{
    size_t length = strlen(name);
    if (length == 0 || length > STREAM_NAME_MAX) {
        return error_set(error, STATUS_INVALID, "a stream name has 1 to %d characters",
                         STREAM_NAME_MAX);
    }
    size_t good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
    if (good != length) {
        return error_set(error, STATUS_INVALID,
                         "'%s' is not a stream name: only letters, digits, '_', '.' and '-' may be "
                         "in it",
                         name);
    }
    return STATUS_OK;
}

static void tick(struct net_timer *timer);

static void report_once_quiet(struct stream_find *find)
{
    if (find->asking) {
        return; /* its reply reports */
    }
    net_timer_stop(cluster_loop(find->cluster), &find->timer);
    find->done(find, find->stream, &find->error); /* may free it */
}

/* To be followed by report_once_quiet(), with nothing in between. */
static void end(struct stream_find *find, enum status status, const char *text)
{
    if (!find->over) {
        find->over = true;
        status_ignore(error_set(&find->error, status, "%s", text), "it is reported");
        cluster_unwatch(&find->watcher);
        if (find->asking) {
            cluster_call_cancel(&find->call);
        }
    }
}

/* True: it is there, and that has been noted. */
static bool look(struct stream_find *find)
{
    const struct metadata *metadata = cluster_metadata(find->cluster);
    const struct metadata_stream *stream =
        metadata->known ? metadata_stream_by_name(metadata, find->name) : NULL;
    if (stream == NULL ||
        (stream->state != WEIR__STREAM_STATE__STREAM_ACTIVE &&
         stream->state != WEIR__STREAM_STATE__STREAM_UPDATING) ||
        !metadata_stream_is_whole(stream)) {
        return false;
    }
    find->stream = stream->id;
    end(find, STATUS_OK, "");
    return true;
}

static void changed(struct cluster_watcher *watcher)
{
    struct stream_find *find = CONTAINER_OF(watcher, struct stream_find, watcher);
    if (cluster_is_closing(find->cluster)) {
        end(find, STATUS_CLOSING, "the client is being closed");
    }
    if (find->over || look(find)) {
        report_once_quiet(find);
    }
}

static void not_found(struct stream_find *find)
{
    struct error error;
    status_ignore(error_set(&error, STATUS_NOT_FOUND,
                            "there is no stream '%s' (weir stream list shows those that are)",
                            find->name),
                  "it is reported");
    end(find, STATUS_NOT_FOUND, error.text);
}

static void on_asked(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct stream_find *find = CONTAINER_OF(call, struct stream_find, call);
    find->asking = false;
    if (!find->over && reply->status == STATUS_OK) {
        Weir__MetadataUpdate *update =
            weir__metadata_update__unpack(NULL, reply->body.size, reply->body.data);
        if (update != NULL && (update->n_streams == 0 ||
                               update->streams[0]->state == WEIR__STREAM_STATE__STREAM_DELETING)) {
            not_found(find);
        }
        weir__metadata_update__free_unpacked(update, NULL);
    } else if (!find->over && reply->status == STATUS_NOT_FOUND) {
        not_found(find);
    } else if (!find->over && reply->status != STATUS_UNAVAILABLE) {
        end(find, reply->status, reply->text);
    } else if (!find->over) {
        status_ignore(error_set(&find->error, reply->status, "%s", reply->text), "the latest");
    }
    if (find->over) {
        report_once_quiet(find);
    }
}

static void ask(struct stream_find *find)
{
    uint64_t now = net_now_ms(cluster_loop(find->cluster));
    weir__get_metadata__init(&find->body);
    find->body.stream = find->name;
    uint32_t left = find->deadline_ms > now ? (uint32_t)(find->deadline_ms - now) : 1;
    enum status status = cluster_call(find->cluster, &find->call, RPC_GET_METADATA,
                                      &find->body.base, false, left, on_asked);
    if (status == STATUS_OK) {
        find->asking = true;
    } else {
        end(find, status, status_text(status));
    }
}

/* The stream is there, or nobody could say that it is not. */
static void out_of_time(struct stream_find *find)
{
    bool unknown = find->error.text[0] != '\0' || !cluster_metadata(find->cluster)->known;
    char text[ERROR_TEXT_BYTES];
    const char *trouble =
        find->error.text[0] != '\0' ? find->error.text : cluster_trouble(find->cluster);
    (void)snprintf(text, sizeof(text), "%.200s",
                   trouble[0] != '\0' ? trouble : "no controller answered in time");
    if (unknown) {
        end(find, STATUS_UNAVAILABLE, text);
    } else {
        end(find, STATUS_TIMEOUT,
            "the stream exists, but it did not become ACTIVE in time: weirctl shard list shows why");
    }
}

static void tick(struct net_timer *timer)
{
    struct stream_find *find = CONTAINER_OF(timer, struct stream_find, timer);
    struct net_loop *loop = cluster_loop(find->cluster);
    uint64_t now = net_now_ms(loop);
    if (!find->over && !look(find)) {
        if (now >= find->deadline_ms) {
            out_of_time(find);
        } else if (!find->asking && (find->waited || cluster_metadata(find->cluster)->known)) {
            ask(find);
        }
        find->waited = true;
    }
    if (find->over) {
        report_once_quiet(find);
        return;
    }
    uint64_t next = now + ASK_AGAIN_MS;
    status_ignore(net_timer_start(loop, &find->timer,
                                  next < find->deadline_ms ? next : find->deadline_ms, tick),
                  "the watcher or the call goes on");
}

void stream_find(struct weir_client *client, struct stream_find *find, const char *name,
                 uint32_t timeout_ms,
                 void (*done)(struct stream_find *find, uint32_t stream, const struct error *error))
{
    *find = (struct stream_find){.cluster = client->cluster, .done = done};
    (void)snprintf(find->name, sizeof(find->name), "%s", name);
    uint64_t now = net_now_ms(client->loop);
    find->deadline_ms = now + timeout_ms;
    find->watcher.changed = changed;
    list_init(&find->watcher.node);
    if (cluster_is_closing(client->cluster)) {
        end(find, STATUS_CLOSING, "the client is being closed");
        report_once_quiet(find);
        return;
    }
    cluster_watch(client->cluster, &find->watcher);
    status_ignore(net_timer_start(client->loop, &find->timer, now, tick),
                  "the watcher looks as well");
}
