#include "controller/ring/ring.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

void ring_key_free(Weir__RingKey **key)
{
    weir__ring_key__free_unpacked(*key, NULL);
}

struct search {
    const char *alias;
    char id[DB_RING_ID_BYTES]; /* "": not found */
};

static void match_alias(const Weir__RingKey *key, void *context)
{
    struct search *search = context;
    for (size_t i = 0; i < key->n_aliases; i++) {
        if (strcmp(key->aliases[i], search->alias) == 0) {
            (void)snprintf(search->id, sizeof(search->id), "%s", key->id);
        }
    }
}

static void free_settings(Weir__ClusterSettings **settings)
{
    weir__cluster_settings__free_unpacked(*settings, NULL);
}

/* Without the part of an ARN before the resource; NULL: of another account or region. */
static const char *without_arn(struct db *db, const char *name)
{
    if (strncmp(name, "arn:", 4) != 0) {
        return name;
    }
    AUTO(free_settings) Weir__ClusterSettings *settings = db_settings_get(db);
    char prefix[128];
    if (settings == NULL) {
        return NULL;
    }
    (void)snprintf(prefix, sizeof(prefix), "arn:aws:kms:%s:%s:", settings->region,
                   settings->account_id);
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0) {
        return NULL;
    }
    name += length;
    return strncmp(name, "key/", 4) == 0 ? name + 4 : strncmp(name, "alias/", 6) == 0 ? name : NULL;
}

Weir__RingKey *ring_find(struct db *db, const char *name)
{
    struct search search = {.alias = name};
    name = without_arn(db, name);
    if (name == NULL) {
        return NULL;
    }
    if (strncmp(name, "alias/", 6) == 0) {
        search.alias = name;
        db_ring_each(db, match_alias, &search);
        name = search.id;
    }
    return db_ring_get(db, name);
}

enum status ring_key_usable(const Weir__RingKey *key)
{
    return key->state == WEIR__RING_KEY__STATE__ENABLED    ? STATUS_OK
           : key->state == WEIR__RING_KEY__STATE__DISABLED ? STATUS_KEY_DISABLED
                                                           : STATUS_KEY_STATE;
}

const Weir__RingKeyVersion *ring_key_newest(const Weir__RingKey *key)
{
    return key->n_versions == 0 ? NULL : key->versions[key->n_versions - 1];
}

bool ring_key_wrapped_newest(const Weir__RingKey *key, const Weir__StreamAttributes *attributes)
{
    const Weir__RingKeyVersion *version = ring_key_newest(key);
    if (version == NULL || attributes->n_data_keys == 0) {
        return false;
    }
    const Weir__DataKey *newest = attributes->data_keys[attributes->n_data_keys - 1];
    return strcmp(newest->ring_key, key->id) == 0 && newest->ring_version == version->version;
}
