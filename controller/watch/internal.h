/* Private to controller/watch. */
#pragma once

#include "controller/watch/watch.h"

/* Rows of one kind in an array, ascending by id. */
struct rows {
    void *row;
    size_t size; /* of a row */
    size_t count, capacity;
    uint64_t (*id)(const void *row);
};

void *rows_at(const struct rows *rows, size_t index);
/* The first whose id is not below `id`; count when there is none. */
size_t rows_lower(const struct rows *rows, uint64_t id);
void *rows_get(const struct rows *rows, uint64_t id); /* NULL */
NODISCARD enum status rows_put(struct rows *rows, const void *row);
/* Removes those in [first, end). */
void rows_delete(struct rows *rows, uint64_t first, uint64_t end);

/* A stream's attributes, beside its row. */
struct attributes_row {
    uint32_t stream;
    Weir__StreamAttributes *attributes; /* ours; without the keys that encrypt its records */
};

enum change_kind {
    CHANGE_BROKER,
    CHANGE_STREAM,
    CHANGE_SHARD,
    CHANGE_DELETED,
    CHANGE_SETTINGS,
    CHANGE_KINDS
};

/* A row that changed in a version. */
struct change {
    uint64_t version, id;
    enum change_kind kind;
};

/* A ring of the newest changes. */
struct history {
    struct change *change;
    size_t first, count, capacity;
    uint64_t floor; /* changes of later versions are all here */
};

NODISCARD enum status history_add(struct history *history, struct change change);
/* Forgets everything: changes after `version` will be here. */
void history_reset(struct history *history, uint64_t version);

/* Ids of the kind that changed after `from`, ascending, each once; the caller frees them. */
NODISCARD enum status history_ids(const struct history *history, uint64_t from,
                                  enum change_kind kind, uint64_t **out_ids, size_t *out_count);

struct watch {
    uint64_t version;
    bool has_cluster;
    uint8_t cluster[CLUSTER_ID_BYTES];
    struct rows brokers, streams, shards;
    struct rows attributes;          /* of struct attributes_row: one for each stream */
    Weir__ClusterSettings *settings; /* NULL before the first load */
    struct history history;
    struct watch_controller controller[WATCH_CONTROLLERS_MAX];
    size_t controller_count;
    uint32_t active;
};
