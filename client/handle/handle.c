#include "client/handle/handle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/trace.h"

uint64_t handle_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t handle_now_ms(void)
{
    return handle_now_us() / 1000;
}

void handle_timer(struct weir_client *client, struct net_timer *timer, uint64_t at_ms,
                  void (*fire)(struct net_timer *timer))
{
    if (at_ms == UINT64_MAX) {
        net_timer_stop(client->loop, timer);
        return;
    }
    uint64_t now = handle_now_ms();
    uint64_t left = at_ms > now ? at_ms - now : 0;
    status_ignore(net_timer_start(client->loop, timer, net_now_ms(client->loop) + left, fire),
                  "the next event looks again");
}

void handle_random(void *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = getrandom((uint8_t *)out + done, size - done, 0);
        CHECK(got > 0); /* never fails for so few bytes on any kernel that we run on */
        done += (size_t)got;
    }
}

enum weir_status handle_error(struct weir_error *error, enum status status, const char *format, ...)
{
    if (error != NULL) {
        error->status = public_status(status);
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
        va_end(arguments);
    }
    return public_status(status);
}

bool handle_is_own_thread(const struct weir_client *client)
{
    return client->own_thread && pthread_equal(client->thread, pthread_self());
}

enum weir_status handle_check_blocking(const struct weir_client *client, struct weir_error *error)
{
    if (!client->own_thread) {
        return handle_error(error, STATUS_INVALID,
                            "a handle on the caller's loop has no blocking functions: use the one "
                            "that ends in _async");
    }
    if (handle_is_own_thread(client)) {
        return handle_error(error, STATUS_INVALID,
                            "a callback may not block: use the function that ends in _async");
    }
    return WEIR_OK;
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

void waiter_init(struct waiter *waiter)
{
    *waiter = (struct waiter){.done = false};
    CHECK(pthread_mutex_init(&waiter->lock, NULL) == 0);
    CHECK(pthread_cond_init(&waiter->over, NULL) == 0);
}

void waiter_wake(struct waiter *waiter, void *result, const struct weir_error *error)
{
    (void)pthread_mutex_lock(&waiter->lock);
    waiter->result = result;
    if (error != NULL) {
        waiter->error = *error;
    }
    waiter->done = true;
    (void)pthread_cond_signal(&waiter->over);
    (void)pthread_mutex_unlock(&waiter->lock);
}

enum weir_status waiter_wait(struct waiter *waiter, void **out, struct weir_error *error)
{
    (void)pthread_mutex_lock(&waiter->lock);
    while (!waiter->done) {
        (void)pthread_cond_wait(&waiter->over, &waiter->lock);
    }
    (void)pthread_mutex_unlock(&waiter->lock);
    (void)pthread_cond_destroy(&waiter->over);
    (void)pthread_mutex_destroy(&waiter->lock);
    if (waiter->error.status != WEIR_OK) {
        if (error != NULL) {
            *error = waiter->error;
        }
    } else if (out != NULL) {
        *out = waiter->result;
    }
    return waiter->error.status;
}

enum weir_status waiter_wait_begun(struct waiter *waiter, enum status begun,
                                   const struct error *why, void **out, struct weir_error *error)
{
    if (begun != STATUS_OK) {
        struct weir_error refused;
        (void)handle_error(&refused, begun, "%s",
                           why->text[0] != '\0' ? why->text : status_text(begun));
        waiter_wake(waiter, NULL, &refused);
    }
    return waiter_wait(waiter, out, error);
}

void waiter_done(const struct weir_error *error, void *context)
{
    waiter_wake(context, NULL, error);
}

/* ---- opening and closing -----------------------------------------------------------------------
 */

enum weir_status weir_options_from_env(struct weir_options *out, struct weir_error *error)
{
    struct weir_options options = {0};
    const struct {
        const char *name, **value;
    } variables[] = {
        {"WEIR_BOOTSTRAP", &options.bootstrap},
        {"WEIR_CA",        &options.ca_file  },
        {"WEIR_CERT",      &options.cert_file},
        {"WEIR_KEY",       &options.key_file }
    };
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        *variables[i].value = getenv(variables[i].name);
        if (*variables[i].value == NULL || **variables[i].value == '\0') {
            return handle_error(error, STATUS_INVALID,
                                "%s is not set in the environment (for a local cluster: "
                                "eval \"$(weir-local env --dir DIR)\")",
                                variables[i].name);
        }
    }
    *out = options;
    return WEIR_OK;
}

static void *thread_main(void *data)
{
    struct weir_client *client = data;
    net_loop_run(client->loop);
    return NULL;
}

/* Accepts a half-opened client. */
static void release(struct weir_client *client)
{
    if (client->mailbox != NULL) {
        net_mailbox_close(client->mailbox);
    }
    if (client->cluster != NULL) {
        cluster_close(client->cluster);
    }
    if (client->loop != NULL) {
        net_loop_free(client->loop);
    }
    cluster_free(client->cluster);
    if (client->tls != NULL) {
        net_tls_close(client->tls);
    }
    free(client);
}

NODISCARD static enum weir_status start(struct weir_client *client,
                                        const struct weir_options *options,
                                        struct weir_error *error)
{
    struct endpoint endpoints[BOOTSTRAP_MAX];
    size_t count;
    struct error why = {0};
    enum status status = bootstrap_parse(options->bootstrap, endpoints, &count, &why);
    if (status == STATUS_OK) {
        status = net_tls_open(options->ca_file, options->cert_file, options->key_file, &client->tls,
                              &why);
    }
    if (status != STATUS_OK) {
        return handle_error(error, status, "%s",
                            why.text[0] != '\0' ? why.text : status_text(status));
    }
    trace_set_level(TRACE_ERROR); /* a library says what happened by its statuses */
    uint64_t seed;
    handle_random(&seed, sizeof(seed));
    client->loop = net_loop_new(options->loop);
    client->mailbox = client->loop != NULL ? net_mailbox_open(client->loop) : NULL;
    if (client->mailbox != NULL) {
        struct cluster_options cluster = {.loop = client->loop,
                                          .tls = client->tls,
                                          .bootstrap = endpoints,
                                          .bootstrap_count = count,
                                          .seed = seed};
        client->cluster = cluster_open(&cluster);
    }
    if (client->cluster == NULL) {
        return handle_error(error, STATUS_NO_MEMORY, "out of memory");
    }
    client->own_thread = options->loop == NULL;
    if (client->own_thread && pthread_create(&client->thread, NULL, thread_main, client) != 0) {
        return handle_error(error, STATUS_NO_MEMORY, "no thread can be started");
    }
    return WEIR_OK;
}

enum weir_status weir_client_open(const struct weir_options *options, struct weir_client **out,
                                  struct weir_error *error)
{
    if (options->bootstrap == NULL || options->ca_file == NULL || options->cert_file == NULL ||
        options->key_file == NULL) {
        return handle_error(error, STATUS_INVALID,
                            "the bootstrap list, CA, certificate and key must all be given");
    }
    struct weir_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return handle_error(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum weir_status status = start(client, options, error);
    if (status != WEIR_OK) {
        release(client);
        return status;
    }
    *out = client;
    return WEIR_OK;
}

void weir_client_close(struct weir_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->own_thread) {
        CHECK(!handle_is_own_thread(client));
        net_loop_stop(client->loop);
        (void)pthread_join(client->thread, NULL);
    }
    release(client);
}
