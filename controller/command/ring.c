/* The key ring: keys are made, switched, rotated, named and destroyed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/attributes.h"
#include "controller/command/internal.h"
#include "controller/ring/ring.h"

static void count_key(const Weir__RingKey *key, void *context)
{
    (void)key;
    (*(uint32_t *)context)++;
}

/* ---- answers ---- */

/* What is kept for a repeated request: without what is sealed. */
static void answer_key(struct db_result *result, const Weir__RingKey *key)
{
    Weir__RingKey copy = *key;
    Weir__RingKeys answer;
    Weir__RingKey *keys[] = {&copy};
    AUTO(free_pointer)
    Weir__RingKeyVersion *version = calloc(key->n_versions + 1, sizeof(*version));
    AUTO(free_pointer)
    Weir__RingKeyVersion **versions = calloc(key->n_versions + 1, sizeof(*versions));
    if (version == NULL || versions == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < key->n_versions; i++) {
        version[i] = *key->versions[i];
        version[i].sealed = (ProtobufCBinaryData){0};
        versions[i] = &version[i];
    }
    copy.versions = versions;
    weir__ring_keys__init(&answer);
    answer.keys = keys;
    answer.n_keys = 1;
    command_answer(result, &answer.base);
}

/* Stores it; brokers look at their keys again when they see another version of the ring. */
static void store_key(struct db *db, const Weir__RingKey *key, struct db_result *result)
{
    AUTO(settings_free) Weir__ClusterSettings *settings = db_settings_get(db);
    if (settings == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    settings->ring_version++;
    db_settings_put(db, settings);
    db_ring_put(db, key);
    answer_key(result, key);
}

/* ---- rules ---- */

static bool alias_is_good(const char *alias, bool ours, struct db_result *result)
{
    size_t length = strlen(alias);
    bool good = length > 6 && length <= 256 && strncmp(alias, "alias/", 6) == 0 &&
                strspn(alias, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "/_-") == length;
    if (!good) {
        command_refuse(result, STATUS_INVALID,
                       "an alias is alias/NAME, with 1 to 250 characters of a-z A-Z 0-9 / _ -");
    } else if (!ours && strncmp(alias, "alias/aws/", 10) == 0) {
        command_refuse(result, STATUS_INVALID, "names that begin with alias/aws/ are reserved");
        good = false;
    }
    return good;
}

static bool id_is_good(const char *id)
{
    return strlen(id) == DB_RING_ID_BYTES - 1 &&
           strspn(id, "0123456789abcdef-") == DB_RING_ID_BYTES - 1;
}

NODISCARD static bool add_version(Weir__RingKey *key, const ProtobufCBinaryData *sealed,
                                  uint64_t now_ms)
{
    Weir__RingKeyVersion *version = calloc(1, sizeof(*version));
    uint8_t *copy = malloc(sealed->len + 1);
    if (version == NULL || copy == NULL ||
        !list_insert(&key->versions, &key->n_versions, key->n_versions, version)) {
        free(version);
        free(copy);
        return false;
    }
    weir__ring_key_version__init(version);
    memcpy(copy, sealed->data, sealed->len);
    version->sealed = (ProtobufCBinaryData){.data = copy, .len = sealed->len};
    version->version = key->n_versions > 1 ? key->versions[key->n_versions - 2]->version + 1 : 1;
    version->created_ms = now_ms;
    return true;
}

NODISCARD static bool add_alias(Weir__RingKey *key, const char *alias)
{
    size_t at = 0;
    while (at < key->n_aliases && strcmp(key->aliases[at], alias) < 0) {
        at++;
    }
    char *copy = strdup(alias);
    if (copy == NULL || !list_insert(&key->aliases, &key->n_aliases, at, copy)) {
        free(copy);
        return false;
    }
    return true;
}

/* Whether it had it. */
static bool drop_alias(Weir__RingKey *key, const char *alias)
{
    for (size_t i = 0; i < key->n_aliases; i++) {
        if (strcmp(key->aliases[i], alias) == 0) {
            free(key->aliases[i]);
            memmove(key->aliases + i, key->aliases + i + 1,
                    (key->n_aliases - i - 1) * sizeof(*key->aliases));
            key->n_aliases--;
            return true;
        }
    }
    return false;
}

static bool sealed_is_good(const ProtobufCBinaryData *sealed, struct db_result *result)
{
    if (sealed->len > 0 && sealed->len <= DB_SEALED_MAX) {
        return true;
    }
    command_refuse(result, STATUS_INVALID, "a key of the ring is not well formed");
    return false;
}

/* ---- actions ---- */

static void create(struct db *db, const Weir__CmdRing *in, struct db_result *result)
{
    uint32_t keys = 0;
    db_ring_each(db, count_key, &keys);
    if (!sealed_is_good(&in->sealed, result) ||
        (in->alias[0] != '\0' && !alias_is_good(in->alias, in->first, result))) {
        return;
    }
    AUTO(ring_key_free) Weir__RingKey *there = db_ring_get(db, in->key);
    AUTO(ring_key_free)
    Weir__RingKey *named = in->alias[0] != '\0' ? ring_find(db, in->alias) : NULL;
    if (!id_is_good(in->key) || strlen(in->description) > RING_DESCRIPTION_MAX) {
        command_refuse(result, STATUS_INVALID, "a description has at most %d characters",
                       RING_DESCRIPTION_MAX);
    } else if (there != NULL || named != NULL || (in->first && keys > 0)) {
        command_refuse(result, STATUS_EXISTS, "the key ring has %s already",
                       in->alias[0] != '\0' ? in->alias : in->key);
    } else if (keys >= RING_KEYS_MAX) {
        command_refuse(result, STATUS_LIMIT, "the key ring has %d keys: delete one first",
                       RING_KEYS_MAX);
    } else {
        AUTO(ring_key_free) Weir__RingKey *key = calloc(1, sizeof(*key));
        uint64_t now_ms = db_meta(db)->time_ms;
        if (key == NULL) {
            result->status = STATUS_NO_MEMORY;
            return;
        }
        weir__ring_key__init(key);
        key->state = WEIR__RING_KEY__STATE__ENABLED;
        key->created_ms = now_ms;
        if (!text_set(&key->id, in->key) || !text_set(&key->description, in->description) ||
            !add_version(key, &in->sealed, now_ms) ||
            (in->alias[0] != '\0' && !add_alias(key, in->alias))) {
            result->status = STATUS_NO_MEMORY;
            return;
        }
        store_key(db, key, result);
    }
}

static bool refuse_pending(const Weir__RingKey *key, struct db_result *result)
{
    if (key->state != WEIR__RING_KEY__STATE__PENDING_DELETION) {
        return false;
    }
    command_refuse(result, STATUS_KEY_STATE, "key %s is pending deletion: cancel that first",
                   key->id);
    return true;
}

static void rotate(struct db *db, const Weir__CmdRing *in, Weir__RingKey *key,
                   struct db_result *result)
{
    enum status status = ring_key_usable(key);
    if (status != STATUS_OK) {
        command_refuse(result, status, "key %s is %s: it cannot be rotated", key->id,
                       status == STATUS_KEY_DISABLED ? "disabled" : "pending deletion");
    } else if (key->n_versions >= RING_VERSIONS_MAX) {
        command_refuse(result, STATUS_LIMIT, "key %s has %d versions: create another key", key->id,
                       RING_VERSIONS_MAX);
    } else if (sealed_is_good(&in->sealed, result)) {
        if (!add_version(key, &in->sealed, db_meta(db)->time_ms)) {
            result->status = STATUS_NO_MEMORY;
            return;
        }
        store_key(db, key, result);
    }
}

static void set_state(struct db *db, Weir__RingKey *key, Weir__RingKey__State state,
                      uint64_t deletion_ms, struct db_result *result)
{
    if (key->state == state && key->deletion_ms == deletion_ms) {
        answer_key(result, key);
        return;
    }
    key->state = state;
    key->deletion_ms = deletion_ms;
    store_key(db, key, result);
}

static void delete_key(struct db *db, const Weir__CmdRing *in, Weir__RingKey *key,
                       struct db_result *result)
{
    if (in->gone) {
        if (key->state == WEIR__RING_KEY__STATE__PENDING_DELETION &&
            key->deletion_ms <= db_meta(db)->time_ms) {
            store_key(db, key, result); /* which raises the version of the ring */
            db_ring_delete(db, key->id);
        }
        return;
    }
    if (refuse_pending(key, result)) {
        return;
    }
    for (size_t i = 0; i < key->n_aliases; i++) {
        if (strncmp(key->aliases[i], "alias/aws/", 10) == 0) {
            command_refuse(result, STATUS_KEY_STATE,
                           "key %s is the cluster's own (%s): it can be disabled, not deleted",
                           key->id, key->aliases[i]);
            return;
        }
    }
    set_state(db, key, WEIR__RING_KEY__STATE__PENDING_DELETION, in->deletion_ms, result);
}

static void name_key(struct db *db, const Weir__CmdRing *in, Weir__RingKey *key,
                     struct db_result *result)
{
    if (!alias_is_good(in->alias, false, result) || refuse_pending(key, result)) {
        return;
    }
    AUTO(ring_key_free) Weir__RingKey *other = ring_find(db, in->alias);
    if (other != NULL && strcmp(other->id, key->id) == 0) {
        answer_key(result, key);
        return;
    }
    if (key->n_aliases >= RING_ALIASES_MAX) {
        command_refuse(result, STATUS_LIMIT, "key %s has %d aliases", key->id, RING_ALIASES_MAX);
        return;
    }
    if (other != NULL && drop_alias(other, in->alias)) {
        db_ring_put(db, other);
    }
    if (!add_alias(key, in->alias)) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    store_key(db, key, result);
}

static void unname_key(struct db *db, const Weir__CmdRing *in, struct db_result *result)
{
    AUTO(ring_key_free) Weir__RingKey *key = NULL;
    if (!alias_is_good(in->alias, false, result)) {
        return;
    }
    key = ring_find(db, in->alias);
    if (key == NULL || !drop_alias(key, in->alias)) {
        command_refuse(result, STATUS_KEY_NOT_FOUND, "the key ring has no %s", in->alias);
        return;
    }
    store_key(db, key, result);
}

void command_ring(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdRing *in = command->ring;
    if (in->action == WEIR__RING_CONTROL__ACTION__CREATE) {
        create(db, in, result);
        return;
    }
    if (in->action == WEIR__RING_CONTROL__ACTION__UNALIAS) {
        unname_key(db, in, result);
        return;
    }
    AUTO(ring_key_free) Weir__RingKey *key = ring_find(db, in->key);
    if (key == NULL) {
        command_refuse(result, STATUS_KEY_NOT_FOUND, "the key ring has no key %.100s", in->key);
        return;
    }
    bool enable = in->action == WEIR__RING_CONTROL__ACTION__ENABLE;
    if (enable || in->action == WEIR__RING_CONTROL__ACTION__DISABLE) {
        if (!refuse_pending(key, result)) {
            set_state(db, key,
                      enable ? WEIR__RING_KEY__STATE__ENABLED : WEIR__RING_KEY__STATE__DISABLED, 0,
                      result);
        }
    } else if (in->action == WEIR__RING_CONTROL__ACTION__ROTATE) {
        rotate(db, in, key, result);
    } else if (in->action == WEIR__RING_CONTROL__ACTION__DELETE) {
        delete_key(db, in, key, result);
    } else if (in->action == WEIR__RING_CONTROL__ACTION__CANCEL_DELETION) {
        if (key->state == WEIR__RING_KEY__STATE__PENDING_DELETION) {
            set_state(db, key, WEIR__RING_KEY__STATE__DISABLED, 0, result);
        } else {
            command_refuse(result, STATUS_KEY_STATE, "key %s is not pending deletion", key->id);
        }
    } else if (in->action == WEIR__RING_CONTROL__ACTION__ALIAS) {
        name_key(db, in, key, result);
    } else {
        command_refuse(result, STATUS_INVALID, "nothing that can be done with a key of the ring");
    }
}
