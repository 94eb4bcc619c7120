/* Access keys: made and switched by administrators, known to brokers by what is derived from them.
 * Secrets are in clear only here, while they are made, told once, or derived from. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"
#include "controller/secret/secret.h"

enum { DATE_BYTES = 9, DAYS_AROUND = 2 };

#define PURPOSE_ACCESS_KEY "access key"
#define PURPOSE_TOKEN_KEY  "token key"

static bool has_secrets(const struct controller *c, struct session_call *call)
{
    if (!c->active) {
        reply_not_active(c, call);
        return false;
    }
    if (c->options.secrets == NULL) {
        session_reply_error(call, STATUS_UNSUPPORTED, NULL,
                            "this cluster has no cluster key: set cluster-key-file on every "
                            "controller");
        return false;
    }
    return true;
}

static void note_token_key(uint32_t id, struct bytes sealed, void *context)
{
    (void)id;
    (void)sealed;
    *(bool *)context = true;
}

void keys_activate(struct controller *c)
{
    bool there = false;
    db_token_key_each(c->db, note_token_key, &there);
    if (there || c->options.secrets == NULL) {
        return;
    }
    uint8_t key[SECRET_KEY_BYTES], sealed[SECRET_SEALED_MAX];
    Weir__CmdTokenKey made = WEIR__CMD_TOKEN_KEY__INIT;
    enum status status = secret_random(key, sizeof(key));
    if (status == STATUS_OK) {
        status = secret_seal(c->options.secrets, PURPOSE_TOKEN_KEY, "", bytes_of(key, sizeof(key)),
                             sealed, &made.sealed.len);
    }
    secret_wipe(key, sizeof(key));
    if (status != STATUS_OK) {
        trace(TRACE_ERROR, "keys", "cannot make the key that seals tokens: %s",
              status_text(status));
        return;
    }
    made.sealed.data = sealed;
    made.first = true;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_TOKEN_KEY;
    command.token_key = &made;
    command_of_ours(c, &command, 1);
}

/* ---- administrators
 * -------------------------------------------------------------------------------- */

static void free_answer(Weir__CmdKeyCreate **answer)
{
    weir__cmd_key_create__free_unpacked(*answer, NULL);
}

/* What the command left: for a key that was made, its secret still sealed. */
static void answer_key(struct controller *c, struct session_call *call, struct bytes body)
{
    AUTO(free_answer)
    Weir__CmdKeyCreate *made = weir__cmd_key_create__unpack(NULL, body.size, body.data);
    Weir__AccessKey key = WEIR__ACCESS_KEY__INIT, *keys[] = {&key};
    Weir__AccessKeys reply = WEIR__ACCESS_KEYS__INIT;
    uint8_t plain[SECRET_PLAIN_MAX];
    char secret[SECRET_PLAIN_MAX + 1];
    struct db_key row = {0};
    size_t size = 0;
    if (made == NULL) {
        session_reply_error(call, STATUS_INTERNAL, NULL,
                            "the result of the first request with this id is not a key's");
        return;
    }
    if (made->sealed.len > 0 &&
        secret_open(c->options.secrets, PURPOSE_ACCESS_KEY, made->id,
                    bytes_of(made->sealed.data, made->sealed.len), plain, &size) != STATUS_OK) {
        session_reply_error(call, STATUS_INTERNAL, NULL,
                            "the secret cannot be opened with the cluster key of controller-%u",
                            c->options.id);
        return;
    }
    memcpy(secret, plain, size);
    secret[size] = '\0';
    (void)db_key_get(c->db, made->id, &row); /* not there any more when it was deleted */
    key.id = made->id;
    key.name = made->name;
    key.enabled = row.enabled;
    key.created_ms = row.created_ms;
    key.secret = secret;
    reply.keys = keys;
    reply.n_keys = 1;
    reply_message(call, &reply.base);
    secret_wipe(plain, sizeof(plain));
    secret_wipe(secret, sizeof(secret));
}

static void create(struct controller *c, struct session_call *call, Weir__KeyControl *in)
{
    char id[SECRET_ACCESS_KEY_TEXT + 1], secret[SECRET_ACCESS_SECRET_TEXT + 1];
    uint8_t sealed[SECRET_SEALED_MAX];
    Weir__CmdKeyCreate made = WEIR__CMD_KEY_CREATE__INIT;
    enum status status = secret_access_key(id, secret);
    if (status == STATUS_OK) {
        status = secret_seal(c->options.secrets, PURPOSE_ACCESS_KEY, id,
                             bytes_of(secret, SECRET_ACCESS_SECRET_TEXT), sealed, &made.sealed.len);
        secret_wipe(secret, sizeof(secret));
    }
    if (status != STATUS_OK) {
        session_reply_error(call, status, NULL, "a key cannot be made: %s", status_text(status));
        return;
    }
    made.sealed.data = sealed;
    made.id = id;
    made.name = in->name;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_KEY_CREATE;
    command.key_create = &made;
    command_for_call(c, call, &command, 1, answer_key);
}

static void switch_key(struct controller *c, struct session_call *call, Weir__KeyControl *in)
{
    Weir__CmdKeyEnable enable = WEIR__CMD_KEY_ENABLE__INIT;
    Weir__CmdKeyDelete delete = WEIR__CMD_KEY_DELETE__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    if (in->action == WEIR__KEY_CONTROL__ACTION__DELETE) {
        delete.id = in->id;
        command.kind_case = WEIR__COMMAND__KIND_KEY_DELETE;
        command.key_delete = &delete;
    } else {
        enable.id = in->id;
        enable.enabled = in->action == WEIR__KEY_CONTROL__ACTION__ENABLE;
        command.kind_case = WEIR__COMMAND__KIND_KEY_ENABLE;
        command.key_enable = &enable;
    }
    command_for_call(c, call, &command, 1, answer_key);
}

struct listing {
    struct db_key *row;
    size_t count, capacity;
};

static void add_row(const struct db_key *key, void *context)
{
    struct listing *listing = context;
    if (listing->count < listing->capacity) {
        listing->row[listing->count++] = *key;
    }
}

static enum status load_keys(struct controller *c, struct listing *out)
{
    uint64_t count = db_key_count(c->db);
    struct listing listing = {.row = calloc(count + 1, sizeof(*listing.row)), .capacity = count};
    if (listing.row == NULL) {
        return STATUS_NO_MEMORY;
    }
    db_key_each(c->db, add_row, &listing);
    *out = listing;
    return STATUS_OK;
}

static void list(struct controller *c, struct session_call *call)
{
    struct listing listing = {0};
    enum status status = load_keys(c, &listing);
    AUTO(free_pointer) Weir__AccessKey *key = calloc(listing.count + 1, sizeof(*key));
    AUTO(free_pointer) Weir__AccessKey **keys = calloc(listing.count + 1, sizeof(*keys));
    if (status != STATUS_OK || key == NULL || keys == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
    } else {
        Weir__AccessKeys reply = WEIR__ACCESS_KEYS__INIT;
        for (size_t i = 0; i < listing.count; i++) {
            weir__access_key__init(&key[i]);
            key[i].id = listing.row[i].id;
            key[i].name = listing.row[i].name;
            key[i].enabled = listing.row[i].enabled;
            key[i].created_ms = listing.row[i].created_ms;
            keys[i] = &key[i];
        }
        reply.keys = keys;
        reply.n_keys = listing.count;
        reply_message(call, &reply.base);
    }
    free(listing.row);
}

void handle_key_control(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__KeyControl *in = weir__key_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (has_secrets(c, call)) {
        switch (in->action) {
        case WEIR__KEY_CONTROL__ACTION__CREATE:
            create(c, call, in);
            break;
        case WEIR__KEY_CONTROL__ACTION__LIST:
            list(c, call);
            break;
        case WEIR__KEY_CONTROL__ACTION__ENABLE:
        case WEIR__KEY_CONTROL__ACTION__DISABLE:
        case WEIR__KEY_CONTROL__ACTION__DELETE:
            switch_key(c, call, in);
            break;
        case WEIR__KEY_CONTROL__ACTION__NONE:
        case _WEIR__KEY_CONTROL__ACTION_IS_INT_SIZE:
        default:
            session_reply_error(call, STATUS_INVALID, NULL, "nothing that can be done with a key");
            break;
        }
    }
    weir__key_control__free_unpacked(in, NULL);
}

/* ---- brokers
 * ----------------------------------------------------------------------------------------- */

/* One answer under construction. */
struct signing {
    struct controller *c;
    const Weir__GetSigningKeys *in;
    Weir__SigningKeys reply;
    struct listing listing;
    struct signing_key {
        Weir__SigningKeys__Key key;
        Weir__SigningKeys__Day day[SIGNING_DATES_MAX], *days[SIGNING_DATES_MAX];
        uint8_t bytes[SIGNING_DATES_MAX][SECRET_KEY_BYTES];
    } * key;
    Weir__SigningKeys__Key **keys;
    struct signing_token {
        Weir__SigningKeys__Token token;
        uint8_t bytes[SECRET_PLAIN_MAX];
    } token[SECRET_RING_MAX];
    Weir__SigningKeys__Token *tokens[SECRET_RING_MAX];
};

static void signing_release(struct signing *signing)
{
    if (signing->key != NULL) {
        secret_wipe(signing->key, signing->listing.count * sizeof(*signing->key));
    }
    secret_wipe(signing->token, sizeof(signing->token));
    free(signing->key);
    free(signing->keys);
    free(signing->listing.row);
}

/* Whether a broker may have the keys of this day: a broker that was taken over must not collect
 * those of the years to come. */
static bool date_is_near(const char *date)
{
    for (int days = -DAYS_AROUND; days <= DAYS_AROUND; days++) {
        time_t at = (time_t)(net_wall_ms() / 1000) + (time_t)days * 24 * 60 * 60;
        struct tm tm;
        char text[DATE_BYTES];
        if (gmtime_r(&at, &tm) != NULL && strftime(text, sizeof(text), "%Y%m%d", &tm) == 8 &&
            strcmp(text, date) == 0) {
            return true;
        }
    }
    return false;
}

static const char *what_is_wrong(const struct controller *c, const Weir__GetSigningKeys *in)
{
    const Weir__ClusterSettings *settings = watch_settings(c->watch);
    if (settings == NULL || strcmp(in->region, settings->region) != 0) {
        return "the region is not the cluster's";
    }
    if (strcmp(in->service, "kinesis") != 0) {
        return "the service is none of ours";
    }
    if (in->n_dates < 1 || in->n_dates > SIGNING_DATES_MAX) {
        return "one to four dates are given at a time";
    }
    for (size_t i = 0; i < in->n_dates; i++) {
        if (!date_is_near(in->dates[i])) {
            return "a date is not near today's: compare the clocks";
        }
    }
    return NULL;
}

static enum status add_days(struct signing *s, struct signing_key *to, struct bytes secret)
{
    enum status status = STATUS_OK;
    for (size_t d = 0; d < s->in->n_dates && status == STATUS_OK; d++) {
        status = secret_signing_key(secret, s->in->dates[d], s->in->region, s->in->service,
                                    to->bytes[d]);
        weir__signing_keys__day__init(&to->day[d]);
        to->day[d].date = s->in->dates[d];
        to->day[d].key = (ProtobufCBinaryData){.data = to->bytes[d], .len = SECRET_KEY_BYTES};
        to->days[d] = &to->day[d];
    }
    to->key.days = to->days;
    to->key.n_days = s->in->n_dates;
    return status;
}

static enum status add_key(struct signing *s, struct db_key *row)
{
    uint8_t secret[SECRET_PLAIN_MAX];
    size_t size = 0;
    if (!row->enabled) {
        return STATUS_OK;
    }
    enum status status = secret_open(s->c->options.secrets, PURPOSE_ACCESS_KEY, row->id,
                                     bytes_of(row->sealed, row->sealed_bytes), secret, &size);
    if (status != STATUS_OK) {
        trace(TRACE_ERROR, "keys", "access key %s cannot be opened: %s", row->id,
              status == STATUS_NOT_FOUND ? "cluster-key-file lacks the key that sealed it"
                                         : status_text(status));
        return STATUS_OK; /* the others are good */
    }
    struct signing_key *to = &s->key[s->reply.n_keys];
    weir__signing_keys__key__init(&to->key);
    to->key.id = row->id;
    to->key.principal = row->name;
    status = add_days(s, to, bytes_of(secret, size));
    secret_wipe(secret, sizeof(secret));
    if (status == STATUS_OK) {
        s->keys[s->reply.n_keys++] = &to->key;
    }
    return status;
}

static void add_token(uint32_t id, struct bytes sealed, void *context)
{
    struct signing *s = context;
    if (s->reply.n_tokens == SECRET_RING_MAX) {
        return; /* older ones have sealed nothing that still lives */
    }
    struct signing_token *to = &s->token[s->reply.n_tokens];
    size_t size = 0;
    if (secret_open(s->c->options.secrets, PURPOSE_TOKEN_KEY, "", sealed, to->bytes, &size) !=
        STATUS_OK) {
        trace(TRACE_ERROR, "keys", "token key %u cannot be opened with cluster-key-file", id);
        return;
    }
    weir__signing_keys__token__init(&to->token);
    to->token.id = id;
    to->token.key = (ProtobufCBinaryData){.data = to->bytes, .len = size};
    s->tokens[s->reply.n_tokens++] = &to->token;
}

static enum status derive_all(struct signing *s)
{
    enum status status = load_keys(s->c, &s->listing);
    if (status != STATUS_OK) {
        return status;
    }
    s->key = calloc(s->listing.count + 1, sizeof(*s->key));
    s->keys = calloc(s->listing.count + 1, sizeof(*s->keys));
    if (s->key == NULL || s->keys == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < s->listing.count && status == STATUS_OK; i++) {
        status = add_key(s, &s->listing.row[i]);
    }
    db_token_key_each(s->c->db, add_token, s);
    s->reply.version = watch_settings(s->c->watch)->keys_version;
    s->reply.keys = s->keys;
    s->reply.tokens = s->tokens;
    return status;
}

void handle_signing_keys(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__GetSigningKeys *in =
        weir__get_signing_keys__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (has_secrets(c, call)) {
        AUTO(signing_release) struct signing signing = {.c = c, .in = in};
        weir__signing_keys__init(&signing.reply);
        const char *wrong = what_is_wrong(c, in);
        enum status status = wrong != NULL ? STATUS_INVALID : derive_all(&signing);
        if (status == STATUS_OK) {
            reply_message(call, &signing.reply.base);
        } else {
            session_reply_error(call, status, NULL, "%s",
                                wrong != NULL ? wrong : status_text(status));
        }
    }
    weir__get_signing_keys__free_unpacked(in, NULL);
}
