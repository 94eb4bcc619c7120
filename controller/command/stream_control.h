/* Private to controller/command: a STREAM_CONTROL while it is judged. */
#pragma once

#include "controller/command/attributes.h"
#include "controller/command/internal.h"

enum {
    MONITORING_ALL = 0x7f,
    COMMAND_CONSUMERS_CREATING_MAX = 5,
};

struct control {
    struct db *db;
    const Weir__StreamControl *in;
    struct db_result *result;
    Weir__ClusterSettings *settings;
    uint64_t now_ms;
    /* Copies of the stream's rows, stored when the change is allowed; none for the account. */
    struct db_stream stream;
    Weir__StreamAttributes *attributes;
    bool stream_changed;
    Weir__StreamAttributes before;  /* for the answer */
    const Weir__Consumer *consumer; /* ditto; NULL: none */
    uint32_t counted;
};

/* Both return false. */
bool control_refuse_state(struct control *c, enum db_stream_state state);
bool control_no_memory(struct control *c);

/* The stream is UPDATING until the brokers know of it; true. */
bool control_begin_update(struct control *c);

/* Notes one more change of a kind that may happen only so often in 24 h; refuses. */
NODISCARD bool control_count_change(struct control *c, uint32_t limit, uint64_t **times,
                                    size_t *count, const char *what);

/* 0 means `fallback`. */
uint32_t control_limit(uint32_t setting, uint32_t fallback);

/* Each refuses when it returns false. */
NODISCARD bool control_may_be_on_demand(struct control *c);
NODISCARD bool control_warm_is_good(struct control *c, Weir__StreamMode mode, uint32_t mibps);
NODISCARD bool control_max_record_is_good(struct db_result *result, uint32_t kib);

/* consumers.c, tags.c: true when the rows are to be stored. */
bool control_tags(struct control *c);
bool control_policy(struct control *c);
bool control_register(struct control *c);
bool control_deregister(struct control *c);
/* NULL when it was refused. */
Weir__Consumer *control_consumer(struct control *c, const char *name);

/* encryption.c: ditto */
bool control_encryption(struct control *c);

/* account.c: these store and answer. */
void control_account(struct control *c);
void control_limits(struct control *c);
