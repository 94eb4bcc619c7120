/* What the files of this folder share: an admin call under way. */
#pragma once

#include <weir/admin.h>

#include "client/handle/handle.h"

/* How to see that a change has happened. */
struct admin_wait {
    uint32_t every_ms;
    bool (*is_settled)(const Weir__StreamInfo *stream); /* NULL: the stream is gone */
    const char *late; /* what is told when the job's time is over before */
};

/* From the mail that brings it to the loop until its callback; freed after that. */
struct admin_job {
    struct net_mail mail;
    struct weir_client *client;
    char name[STREAM_NAME_MAX + 1];
    uint64_t deadline_ms; /* handle_now_ms() */
    uint8_t request[REQUEST_ID_BYTES];
    struct cluster_call call;
    struct stream_find find;
    struct net_timer timer;
    weir_done_fn *done;
    void *context;
    bool wait;
    const struct admin_wait *wait_for; /* when `wait` */
    union {
        Weir__CreateStream create;
        Weir__DeleteStream remove;
        Weir__ChangeRetention retention;
        Weir__Reshard reshard;
        Weir__GetMetadata get;
        Weir__Empty empty;
    } body;
    union {
        Weir__Reshard__Split split;
        Weir__Reshard__Merge merge;
        Weir__Reshard__Count count;
    } reshard; /* body.reshard's */
    uint8_t hash_key[HASH_KEY_BYTES];
};

/* NO_MEMORY, or INVALID for a bad name (NULL: none is needed). */
NODISCARD enum status admin_job_new(struct weir_client *client, const char *name,
                                    uint32_t timeout_ms, struct admin_job **out,
                                    struct error *error);

void admin_job_free(struct admin_job *job);

/* The last thing done with a job: its callback, and its end. */
void admin_finish(struct admin_job *job, enum status status, const char *text);
/* Asks the active controller for job->body; finishes the job when it cannot be asked. */
void admin_call(struct admin_job *job, enum rpc_method method, const ProtobufCMessage *body,
                bool is_change,
                void (*done)(struct cluster_call *call, const struct cluster_reply *reply));

/* For admin_call(): finishes the job, or looks at the stream until the change has happened. */
void admin_begun(struct cluster_call *call, const struct cluster_reply *reply);
/* For struct admin_wait: brokers know of the last change. */
bool admin_is_active(const Weir__StreamInfo *stream);

/* At least 1. */
uint32_t admin_left_ms(uint64_t deadline_ms);
