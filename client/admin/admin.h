/* What the files of this folder share: an admin call under way. */
#pragma once

#include <weir/admin.h>

#include "client/handle/handle.h"

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
    union {
        Weir__CreateStream create;
        Weir__DeleteStream remove;
        Weir__ChangeRetention retention;
        Weir__GetMetadata get;
        Weir__Empty empty;
    } body;
};

/* NO_MEMORY, or INVALID for a bad name (NULL: none is needed). */
NODISCARD enum status admin_job_new(struct weir_client *client, const char *name,
                                    uint32_t timeout_ms, struct admin_job **out,
                                    struct error *error);

/* At least 1. */
uint32_t admin_left_ms(uint64_t deadline_ms);
