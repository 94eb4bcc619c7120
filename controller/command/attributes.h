/* Private to controller/command: changing the messages that db_attributes_get() and
 * db_settings_get() give. */
#pragma once

#include "controller/command/command.h"

enum {
    DAY_MS = 24 * 60 * 60 * 1000,
    TAGS_MAX = 50,
    TAG_KEY_MAX = 128, /* characters */
    TAG_VALUE_MAX = 256,
    POLICY_BYTES_MAX = 20 * 1024,
    ATTRIBUTES_BYTES_MAX = 256 * 1024, /* of one stream: many must fit into a frame */
};

/* For AUTO(). NULL is fine. */
void attributes_free(Weir__StreamAttributes **attributes);
void settings_free(Weir__ClusterSettings **settings);

const char *settings_account(const Weir__ClusterSettings *settings);
const char *settings_region(const Weir__ClusterSettings *settings);

/* False: out of memory, and nothing has changed. */
NODISCARD bool text_set(char **field, const char *text);
/* `list` is the address of a message's array of pointers. */
NODISCARD bool list_insert(void *list, size_t *count, size_t at, void *message);
void list_delete(void *list, size_t *count, size_t at);

/* Drops times that are a day old from an ascending list: how many are left. */
size_t times_within_day(uint64_t *times, size_t count, uint64_t now_ms);
NODISCARD bool time_append(uint64_t **times, size_t *count, uint64_t now_ms);

/* Sorted by key; refuses a tag that is not well formed before it sets any. Their number is the
 * caller's to check. False: result->status says why. */
NODISCARD bool tags_set(Weir__Tag ***tags, size_t *count, Weir__Tag *const *set, size_t set_count,
                        struct db_result *result);
void tags_remove(Weir__Tag ***tags, size_t *count, char *const *keys, size_t key_count);
