/* What commands on a stream's attributes share: strings and lists inside messages, texts, and the
 * refusals that many of them have. */
#include "controller/command/attributes.h"

#include <stdlib.h>

#include "base/check.h"
#include "controller/command/internal.h"

void attributes_free(Weir__StreamAttributes **attributes)
{
    weir__stream_attributes__free_unpacked(*attributes, NULL);
}

void settings_free(Weir__ClusterSettings **settings)
{
    weir__cluster_settings__free_unpacked(*settings, NULL);
}

const char *settings_account(const Weir__ClusterSettings *settings)
{
    return settings->account_id[0] != '\0' ? settings->account_id : COMMAND_ACCOUNT;
}

const char *settings_region(const Weir__ClusterSettings *settings)
{
    return settings->region[0] != '\0' ? settings->region : COMMAND_REGION;
}

/* Fields of an unpacked message are the heap's, but for the shared empty string. */
bool text_set(char **field, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return false;
    }
    if (*field != protobuf_c_empty_string) {
        free(*field);
    }
    *field = copy;
    return true;
}

bool list_insert(void *list, size_t *count, size_t at, void *message)
{
    void **items = *(void ***)list;
    void **grown = realloc(items, (*count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    memmove(grown + at + 1, grown + at, (*count - at) * sizeof(*grown));
    grown[at] = message;
    *(void ***)list = grown;
    (*count)++;
    return true;
}

void list_delete(void *list, size_t *count, size_t at)
{
    CHECK(at < *count);
    ProtobufCMessage **items = *(ProtobufCMessage ***)list;
    protobuf_c_message_free_unpacked(items[at], NULL);
    memmove(items + at, items + at + 1, (*count - at - 1) * sizeof(*items));
    (*count)--;
}

size_t times_within_day(uint64_t *times, size_t count, uint64_t now_ms)
{
    size_t old = 0;
    while (old < count && times[old] + DAY_MS <= now_ms) {
        old++;
    }
    if (old > 0) {
        memmove(times, times + old, (count - old) * sizeof(*times));
    }
    return count - old;
}

bool time_append(uint64_t **times, size_t *count, uint64_t now_ms)
{
    uint64_t *grown = realloc(*times, (*count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    grown[(*count)++] = now_ms;
    *times = grown;
    return true;
}

/* ---- tags
 * ------------------------------------------------------------------------------------------ */

/* Characters of UTF-8; SIZE_MAX when one of them is not allowed in a tag: letters and digits of any
 * script, spaces, and _ . / = + - % @ (those beyond ASCII are not told apart). */
static size_t tag_characters(const char *text)
{
    size_t count = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                      (*at >= '0' && *at <= '9') || *at >= 0x80;
        if (!letter && strchr(" _./=+-%@", *at) == NULL) {
            return SIZE_MAX;
        }
        count += (*at & 0xc0) != 0x80;
    }
    return count;
}

static bool tag_is_good(const Weir__Tag *tag, struct db_result *result)
{
    size_t key = tag_characters(tag->key), value = tag_characters(tag->value);
    if (strncasecmp(tag->key, "aws:", 4) == 0) {
        command_refuse(result, STATUS_INVALID, "The prefix aws: of tag keys is reserved.");
        return false;
    }
    if (key == SIZE_MAX || value == SIZE_MAX) {
        command_refuse(result, STATUS_INVALID,
                       "Some tags contain invalid characters. Valid characters: Unicode letters, "
                       "digits, white space, _ . / = + - %% @.");
        return false;
    }
    if (key < 1 || key > TAG_KEY_MAX || value > TAG_VALUE_MAX) {
        command_refuse(result, STATUS_INVALID,
                       "A tag's key has 1 to %d characters and its value 0 to %d.", TAG_KEY_MAX,
                       TAG_VALUE_MAX);
        return false;
    }
    return true;
}

/* Where the key is, or where it would be put. */
static size_t tag_find(Weir__Tag **tags, size_t count, const char *key, bool *out_there)
{
    size_t at = 0;
    while (at < count && strcmp(tags[at]->key, key) < 0) {
        at++;
    }
    *out_there = at < count && strcmp(tags[at]->key, key) == 0;
    return at;
}

static bool tag_put(Weir__Tag ***tags, size_t *count, const Weir__Tag *tag)
{
    bool there;
    size_t at = tag_find(*tags, *count, tag->key, &there);
    if (there) {
        return text_set(&(*tags)[at]->value, tag->value);
    }
    Weir__Tag *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return false;
    }
    weir__tag__init(made);
    if (!text_set(&made->key, tag->key) || !text_set(&made->value, tag->value) ||
        !list_insert(tags, count, at, made)) {
        weir__tag__free_unpacked(made, NULL);
        return false;
    }
    return true;
}

bool tags_set(Weir__Tag ***tags, size_t *count, Weir__Tag *const *set, size_t set_count,
              struct db_result *result)
{
    for (size_t i = 0; i < set_count; i++) {
        if (!tag_is_good(set[i], result)) {
            return false;
        }
    }
    for (size_t i = 0; i < set_count; i++) {
        if (!tag_put(tags, count, set[i])) {
            result->status = STATUS_NO_MEMORY;
            return false;
        }
    }
    return true;
}

void tags_remove(Weir__Tag ***tags, size_t *count, char *const *keys, size_t key_count)
{
    for (size_t i = 0; i < key_count; i++) {
        bool there;
        size_t at = tag_find(*tags, *count, keys[i], &there);
        if (there) {
            list_delete(tags, count, at);
        }
    }
}
