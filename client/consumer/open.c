/* The beginning and the end of a consumer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/consumer/consumer.h"

enum {
    PREFETCH_BYTES = 64 * 1024 * 1024,
    CHECKPOINT_EVERY_MS = 1000,
};

/* ---- options ----------------------------------------------------------------------------------
 */

NODISCARD static enum status check_name(const char *name, const char *what, const char *more,
                                        size_t most, struct error *error)
{
    char allowed[96];
    (void)snprintf(allowed, sizeof(allowed),
                   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-%s", more);
    size_t length = name != NULL ? strlen(name) : 0;
    if (length == 0 || length > most) {
        return error_set(error, STATUS_INVALID, "the name of %s has 1 to %zu characters", what,
                         most);
    }
    if (strspn(name, allowed) != length) {
        return error_set(error, STATUS_INVALID,
                         "'%.60s' is not a name of %s: only letters, digits and _.-%s may be in it",
                         name, what, more);
    }
    return STATUS_OK;
}

static void default_worker(char out[WORKER_NAME_MAX + 1])
{
    char host[64] = "";
    uint32_t random;
    handle_random(&random, sizeof(random));
    (void)gethostname(host, sizeof(host) - 1);
    host[strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] = '\0';
    (void)snprintf(out, WORKER_NAME_MAX + 1, "%s:%ld:%08x", host[0] != '\0' ? host : "worker",
                   (long)getpid(), random);
}

NODISCARD static enum status take_streams(struct weir_consumer *consumer,
                                          const struct weir_consumer_options *options,
                                          struct error *error)
{
    if (options->stream_count == 0 || options->stream_count > CONSUMER_STREAMS_MAX) {
        return error_set(error, STATUS_INVALID, "a consumer reads 1 to %d streams",
                         CONSUMER_STREAMS_MAX);
    }
    for (size_t i = 0; i < options->stream_count; i++) {
        enum status status = check_stream_name(options->streams[i], error);
        if (status != STATUS_OK) {
            return status;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(consumer->streams[k], options->streams[i]) == 0) {
                return error_set(error, STATUS_INVALID, "the stream '%s' is named twice",
                                 options->streams[i]);
            }
        }
        (void)snprintf(consumer->streams[i], sizeof(consumer->streams[i]), "%s",
                       options->streams[i]);
    }
    consumer->stream_count = options->stream_count;
    return STATUS_OK;
}

NODISCARD static enum status take_options(struct weir_consumer *consumer,
                                          const struct weir_consumer_options *options,
                                          struct error *error)
{
    enum status status =
        check_name(options->application, "an application", "", APPLICATION_NAME_MAX, error);
    if (status == STATUS_OK && options->worker != NULL) {
        status = check_name(options->worker, "a worker", ":/@", WORKER_NAME_MAX, error);
    }
    if (status == STATUS_OK) {
        status = take_streams(consumer, options, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (options->from != WEIR_TRIM_HORIZON && options->from != WEIR_LATEST &&
        options->from != WEIR_AT_TIMESTAMP) {
        return error_set(error, STATUS_INVALID,
                         "an application begins at the oldest record, the newest, or a time");
    }
    if (options->threads > THREADS_MAX) {
        return error_set(error, STATUS_INVALID, "a consumer has at most %d threads", THREADS_MAX);
    }
    (void)snprintf(consumer->application, sizeof(consumer->application), "%s",
                   options->application);
    if (options->worker != NULL) {
        (void)snprintf(consumer->worker, sizeof(consumer->worker), "%s", options->worker);
    } else {
        default_worker(consumer->worker);
    }
    handle_random(consumer->incarnation, sizeof(consumer->incarnation));
    consumer->from = options->from;
    consumer->timestamp_ms = options->timestamp_ms;
    consumer->push = options->push;
    consumer->poll = options->poll;
    consumer->execute = options->execute;
    consumer->execute_context = options->execute_context;
    consumer->threads_max = options->threads != 0 ? options->threads : THREADS_DEFAULT;
    const struct core_options core = {
        .prefetch_bytes = options->prefetch_bytes != 0 ? options->prefetch_bytes : PREFETCH_BYTES,
        .records_max = options->records_max,
        .automatic = !options->checkpoint_self,
        .automatic_ms =
            options->checkpoint_every_ms != 0 ? options->checkpoint_every_ms : CHECKPOINT_EVERY_MS};
    core_init(&consumer->core, &core);
    return STATUS_OK;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void on_patience(struct net_timer *timer)
{
    struct weir_consumer *consumer = CONTAINER_OF(timer, struct weir_consumer, opening.patience);
    if (consumer->opening.opened != NULL) {
        const struct weir_error *why = &consumer->sync_trouble;
        (void)snprintf(consumer->failed_text, sizeof(consumer->failed_text), "%s",
                       why->status != WEIR_OK ? why->text : "no controller answered in time");
        core_fail(&consumer->core, STATUS_UNAVAILABLE, consumer->failed_text);
        consumer_pump(consumer);
    }
}

static void on_open(struct net_mail *mail)
{
    struct weir_consumer *consumer = CONTAINER_OF(mail, struct weir_consumer, opening.mail);
    handle_timer(consumer->client, &consumer->opening.patience,
                 handle_now_ms() + consumer->opening.timeout_ms, on_patience);
    consumer_pump(consumer);
}

NODISCARD static enum status make(struct weir_client *client,
                                  const struct weir_consumer_options *options,
                                  const struct weir_processor *processor,
                                  struct weir_consumer **out, struct error *error)
{
    if (processor->records == NULL) {
        return error_set(error, STATUS_INVALID, "a consumer needs the callback `records`");
    }
    struct weir_consumer *consumer = calloc(1, sizeof(*consumer));
    if (consumer == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    consumer->client = client;
    consumer->processor = *processor;
    list_init(&consumer->checkpoints);
    enum status status = take_options(consumer, options, error);
    if (status == STATUS_OK) {
        status = consumer_sync_init(consumer);
    }
    if (status == STATUS_OK) {
        status = consumer_pool_init(consumer);
    }
    if (status != STATUS_OK) {
        consumer_sync_release(consumer);
        free(consumer);
        return status;
    }
    *out = consumer;
    return STATUS_OK;
}

NODISCARD static enum status open_async(struct weir_client *client,
                                        const struct weir_consumer_options *options,
                                        const struct weir_processor *processor, uint32_t timeout_ms,
                                        weir_consumer_opened_fn *opened, void *context,
                                        struct error *error)
{
    struct weir_consumer *consumer = NULL; /* gcc cannot see that it is set */
    enum status status = make(client, options, processor, &consumer, error);
    if (status != STATUS_OK) {
        return status;
    }
    consumer->opening.opened = opened;
    consumer->opening.context = context;
    consumer->opening.timeout_ms = handle_timeout(timeout_ms);
    consumer->opening.mail.run = on_open;
    net_mailbox_send(client->mailbox, &consumer->opening.mail);
    return STATUS_OK;
}

enum weir_status weir_consumer_open_async(struct weir_client *client,
                                          const struct weir_consumer_options *options,
                                          const struct weir_processor *processor,
                                          uint32_t timeout_ms, weir_consumer_opened_fn *opened,
                                          void *context)
{
    struct error error;
    return public_status(
        open_async(client, options, processor, timeout_ms, opened, context, &error));
}

static void opened_for_waiter(struct weir_consumer *consumer, const struct weir_error *error,
                              void *context)
{
    waiter_wake(context, consumer, error);
}

enum weir_status weir_consumer_open(struct weir_client *client,
                                    const struct weir_consumer_options *options,
                                    const struct weir_processor *processor, uint32_t timeout_ms,
                                    struct weir_consumer **out, struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(client, error);
    if (status != WEIR_OK) {
        return status;
    }
    struct waiter waiter;
    struct error bad = {0};
    waiter_init(&waiter);
    enum status begun =
        open_async(client, options, processor, timeout_ms, opened_for_waiter, &waiter, &bad);
    void *result = NULL;
    status = waiter_wait_begun(&waiter, begun, &bad, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void weir_consumer_stop(struct weir_consumer *consumer, uint32_t within_ms)
{
    (void)pthread_mutex_lock(&consumer->lock);
    bool first = !consumer->stop_sent && !consumer->stopped;
    consumer->stop_sent = true;
    if (first) { /* under the lock: it cannot be freed before the mail is there */
        consumer->stop_within_ms = within_ms != 0 ? within_ms : STOP_MS;
        consumer->stop_mail.run = consumer_on_stop;
        net_mailbox_send(consumer->client->mailbox, &consumer->stop_mail);
    }
    (void)pthread_mutex_unlock(&consumer->lock);
}

enum weir_status weir_consumer_wait(struct weir_consumer *consumer, struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(consumer->client, error);
    if (status != WEIR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&consumer->lock);
    while (!consumer->stopped) {
        (void)pthread_cond_wait(&consumer->over, &consumer->lock);
    }
    struct weir_error why = consumer->why;
    (void)pthread_mutex_unlock(&consumer->lock);
    if (why.status != WEIR_OK && error != NULL) {
        *error = why;
    }
    return why.status;
}

void weir_consumer_counters(struct weir_consumer *consumer, struct weir_consumer_counters *out)
{
    (void)pthread_mutex_lock(&consumer->lock);
    *out = consumer->counters;
    (void)pthread_mutex_unlock(&consumer->lock);
}

/* The last mail: whatever was sent before has been read. */
struct closing {
    struct net_mail mail;
    struct waiter waiter;
};

static void on_closing(struct net_mail *mail)
{
    struct closing *closing = CONTAINER_OF(mail, struct closing, mail);
    waiter_wake(&closing->waiter, NULL, NULL);
}

void weir_consumer_close(struct weir_consumer *consumer)
{
    if (consumer == NULL) {
        return;
    }
    if (consumer->client->own_thread) {
        CHECK(!handle_is_own_thread(consumer->client));
        weir_consumer_stop(consumer, 0);
        while (consumer->poll && weir_consumer_poll(consumer, 100) != WEIR_CLOSING) {
        }
        struct weir_error ignored;
        enum weir_status status = weir_consumer_wait(consumer, &ignored);
        (void)status;
        struct closing closing = {.mail.run = on_closing};
        waiter_init(&closing.waiter);
        net_mailbox_send(consumer->client->mailbox, &closing.mail);
        status = waiter_wait(&closing.waiter, NULL, NULL);
        CHECK(status == WEIR_OK);
    }
    CHECK(consumer->stopped);
    consumer_pool_release(consumer);
    consumer_sync_release(consumer);
    free(consumer);
}
