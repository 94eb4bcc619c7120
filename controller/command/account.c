/* The account's settings and limits; access keys and the keys that seal tokens. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/stream_control.h"

static void store_settings(struct control *c)
{
    db_settings_put(c->db, c->settings);
    Weir__StreamReply reply = WEIR__STREAM_REPLY__INIT;
    reply.settings = c->settings;
    reply.version = db_next_version(c->db);
    command_answer(c->result, &reply.base);
}

/* An end that was asked for too early has come meanwhile. */
static void end_commitment(Weir__ClusterSettings *s, uint64_t now_ms)
{
    uint64_t end_ms = s->commitment_started_ms + DAY_MS;
    if (s->commitment == WEIR__COMMITMENT__COMMITMENT_ENDING && now_ms >= end_ms) {
        s->commitment = WEIR__COMMITMENT__COMMITMENT_DISABLED;
        s->commitment_ended_ms = end_ms;
    }
}

void control_account(struct control *c)
{
    Weir__ClusterSettings *s = c->settings;
    end_commitment(s, c->now_ms);
    if (c->in->account->commit) {
        if (s->commitment == WEIR__COMMITMENT__COMMITMENT_DISABLED) {
            s->commitment_started_ms = c->now_ms;
            s->commitment_ended_ms = 0;
        }
        s->commitment = WEIR__COMMITMENT__COMMITMENT_ENABLED;
    } else if (s->commitment != WEIR__COMMITMENT__COMMITMENT_DISABLED) {
        s->commitment = WEIR__COMMITMENT__COMMITMENT_ENDING;
        end_commitment(s, c->now_ms);
    }
    store_settings(c);
}

void control_limits(struct control *c)
{
    const Weir__ClusterLimits *in = c->in->limits;
    Weir__ClusterSettings *s = c->settings;
    const struct {
        uint32_t from, *to;
    } limits[] = {
        {in->shard_limit,             &s->shard_limit            },
        {in->on_demand_stream_limit,  &s->on_demand_stream_limit },
        {in->creating_stream_limit,   &s->creating_stream_limit  },
        {in->consumer_limit,          &s->consumer_limit         },
        {in->mode_change_limit,       &s->mode_change_limit      },
        {in->encryption_change_limit, &s->encryption_change_limit},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        *limits[i].to = limits[i].from != 0 ? limits[i].from : *limits[i].to;
    }
    store_settings(c);
}

/* ---- keys
 * ------------------------------------------------------------------------------------------ */

/* Brokers fetch the keys again when they see another version. */
static bool raise_keys_version(struct db *db, struct db_result *result)
{
    AUTO(settings_free) Weir__ClusterSettings *settings = db_settings_get(db);
    if (settings == NULL) {
        result->status = STATUS_NO_MEMORY;
        return false;
    }
    settings->keys_version++;
    db_settings_put(db, settings);
    return true;
}

/* The secret stays encrypted in the result, which is kept for a repeated request: who answers the
 * call decrypts it. */
static void answer_key(struct db_result *result, const struct db_key *key, bool with_secret)
{
    Weir__CmdKeyCreate answer = WEIR__CMD_KEY_CREATE__INIT;
    char id[DB_KEY_ID_BYTES], name[DB_KEY_NAME_BYTES];
    uint8_t sealed[DB_SEALED_MAX];
    memcpy(id, key->id, sizeof(id));
    memcpy(name, key->name, sizeof(name));
    memcpy(sealed, key->sealed, sizeof(sealed));
    answer.id = id;
    answer.name = name;
    if (with_secret) {
        answer.sealed = (ProtobufCBinaryData){.data = sealed, .len = key->sealed_bytes};
    }
    command_answer(result, &answer.base);
}

/* 16 to 32 of the characters that every SDK takes. */
static bool key_id_is_good(const char *id)
{
    size_t length = strlen(id);
    return length >= 16 && length < DB_KEY_ID_BYTES &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == length;
}

static bool key_name_is_good(const char *name, struct db_result *result)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+=,@";
    size_t length = strlen(name);
    if (length >= 1 && length < DB_KEY_NAME_BYTES && strspn(name, allowed) == length) {
        return true;
    }
    command_refuse(result, STATUS_INVALID,
                   "the name of a key's owner has 1 to %d characters of a-z A-Z 0-9 _ . - + = , @",
                   DB_KEY_NAME_BYTES - 1);
    return false;
}

void command_key_create(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdKeyCreate *in = command->key_create;
    struct db_key key = {.enabled = true, .created_ms = db_meta(db)->time_ms};
    struct db_key other;
    if (!key_name_is_good(in->name, result)) {
        return;
    }
    if (!key_id_is_good(in->id) || in->sealed.len == 0 || in->sealed.len > DB_SEALED_MAX) {
        command_refuse(result, STATUS_INVALID, "an access key's id or secret is not well formed");
        return;
    }
    if (db_key_get(db, in->id, &other)) {
        command_refuse(result, STATUS_EXISTS, "there is an access key %s already", in->id);
        return;
    }
    if (db_key_count(db) >= COMMAND_ACCESS_KEYS_MAX) {
        command_refuse(result, STATUS_LIMIT, "there are %d access keys: delete one first",
                       COMMAND_ACCESS_KEYS_MAX);
        return;
    }
    memcpy(key.id, in->id, strlen(in->id));
    memcpy(key.name, in->name, strlen(in->name));
    memcpy(key.sealed, in->sealed.data, in->sealed.len);
    key.sealed_bytes = (uint32_t)in->sealed.len;
    if (raise_keys_version(db, result)) {
        db_key_put(db, &key);
        answer_key(result, &key, true);
    }
}

static bool find_key(struct db *db, const char *id, struct db_key *out, struct db_result *result)
{
    if (db_key_get(db, id, out)) {
        return true;
    }
    command_refuse(result, STATUS_NOT_FOUND, "there is no access key %.40s", id);
    return false;
}

void command_key_enable(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdKeyEnable *in = command->key_enable;
    struct db_key key;
    if (!find_key(db, in->id, &key, result)) {
        return;
    }
    if (key.enabled != (in->enabled != 0)) {
        key.enabled = in->enabled;
        if (!raise_keys_version(db, result)) {
            return;
        }
        db_key_put(db, &key);
    }
    answer_key(result, &key, false);
}

void command_key_delete(struct db *db, const Weir__Command *command, struct db_result *result)
{
    struct db_key key;
    if (find_key(db, command->key_delete->id, &key, result) && raise_keys_version(db, result)) {
        (void)db_key_delete(db, key.id);
        answer_key(result, &key, false);
    }
}

static void count_token_key(uint32_t id, struct bytes sealed, void *context)
{
    (void)id;
    (void)sealed;
    (*(uint32_t *)context)++;
}

void command_token_key(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdTokenKey *in = command->token_key;
    uint32_t count = 0;
    db_token_key_each(db, count_token_key, &count);
    if (in->sealed.len == 0 || in->sealed.len > DB_SEALED_MAX) {
        command_refuse(result, STATUS_INVALID, "a token key is not well formed");
    } else if (in->first && count > 0) {
        command_refuse(result, STATUS_EXISTS, "there is a token key already");
    } else if (raise_keys_version(db, result)) {
        db_token_key_add(db, bytes_of(in->sealed.data, in->sealed.len));
    }
}
