/* Descriptors of others, and mail from other threads. */
#include <stdlib.h>

#include <pthread.h>

#include "base/check.h"
#include "proto/net/loop.h"

struct net_watch {
    uv_poll_t poll;
    struct net_loop *loop;
    void (*ready)(struct net_watch *watch, void *data);
    void *data;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct net_watch *watch = CONTAINER_OF(poll, struct net_watch, poll);
    /* An error shows when the owner reads. */
    (void)status;
    (void)events;
    watch->ready(watch, watch->data);
}

struct net_watch *net_watch_open(struct net_loop *loop, int fd,
                                 void (*ready)(struct net_watch *watch, void *data), void *data)
{
    struct net_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return NULL;
    }
    if (uv_poll_init(loop->uv, &watch->poll, fd) != 0) {
        free(watch);
        return NULL;
    }
    watch->loop = loop;
    watch->ready = ready;
    watch->data = data;
    CHECK(uv_poll_start(&watch->poll, UV_READABLE, on_readable) == 0);
    loop->objects++;
    return watch;
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct net_watch *watch = CONTAINER_OF(handle, struct net_watch, poll);
    watch->loop->objects--;
    free(watch);
}

void net_watch_close(struct net_watch *watch)
{
    if (watch != NULL) {
        uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
    }
}

struct net_mailbox {
    uv_async_t async;
    struct net_loop *loop;
    pthread_mutex_t mutex;
    struct list mails; /* under the mutex */
};

static void run_mails(struct net_mailbox *mailbox)
{
    struct list mails;
    CHECK(pthread_mutex_lock(&mailbox->mutex) == 0);
    list_move(&mails, &mailbox->mails);
    CHECK(pthread_mutex_unlock(&mailbox->mutex) == 0);
    while (!list_empty(&mails)) {
        struct net_mail *mail = CONTAINER_OF(list_pop(&mails), struct net_mail, node);
        mail->run(mail);
    }
}

static void on_mail(uv_async_t *async)
{
    run_mails(CONTAINER_OF(async, struct net_mailbox, async));
}

struct net_mailbox *net_mailbox_open(struct net_loop *loop)
{
    struct net_mailbox *mailbox = calloc(1, sizeof(*mailbox));
    if (mailbox == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&mailbox->mutex, NULL) != 0) {
        free(mailbox);
        return NULL;
    }
    if (uv_async_init(loop->uv, &mailbox->async, on_mail) != 0) {
        (void)pthread_mutex_destroy(&mailbox->mutex);
        free(mailbox);
        return NULL;
    }
    mailbox->loop = loop;
    list_init(&mailbox->mails);
    loop->objects++;
    return mailbox;
}

void net_mailbox_send(struct net_mailbox *mailbox, struct net_mail *mail)
{
    CHECK(pthread_mutex_lock(&mailbox->mutex) == 0);
    bool was_empty = list_empty(&mailbox->mails);
    list_push(&mailbox->mails, &mail->node);
    if (was_empty) {
        /* Under the mutex, so that a mailbox whose last mail has run may be closed. */
        CHECK(uv_async_send(&mailbox->async) == 0);
    }
    CHECK(pthread_mutex_unlock(&mailbox->mutex) == 0);
}

static void on_mailbox_closed(uv_handle_t *handle)
{
    struct net_mailbox *mailbox = CONTAINER_OF(handle, struct net_mailbox, async);
    run_mails(mailbox);
    CHECK(pthread_mutex_destroy(&mailbox->mutex) == 0);
    mailbox->loop->objects--;
    free(mailbox);
}

void net_mailbox_close(struct net_mailbox *mailbox)
{
    if (mailbox != NULL) {
        uv_close((uv_handle_t *)&mailbox->async, on_mailbox_closed);
    }
}
