#include "tests/unit/controller/command/control_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/command/command.h"
#include "proto/schema/command.pb-c.h"

enum { WORDS_MAX = 16, TAGS_IN_LINE_MAX = 64 };

static char transcript[SCRIPT_TRANSCRIPT_MAX];
static size_t used;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(transcript + used, sizeof(transcript) - used, format, arguments);
    va_end(arguments);
    assert_true(size >= 0 && (size_t)size < sizeof(transcript) - used);
    used += (size_t)size;
}

/* ---- words
 * ---------------------------------------------------------------------------------------- */

struct line {
    char text[2048];
    char *word[WORDS_MAX];
    size_t count;
};

static void split(struct line *line, const char *text)
{
    char *rest = NULL;
    (void)snprintf(line->text, sizeof(line->text), "%s", text);
    line->count = 0;
    for (char *w = strtok_r(line->text, " ", &rest); w != NULL && line->count < WORDS_MAX;
         w = strtok_r(NULL, " ", &rest)) {
        line->word[line->count++] = w;
    }
}

static char *option(struct line *line, const char *name)
{
    static char empty[1];
    size_t length = strlen(name);
    for (size_t i = 0; i < line->count; i++) {
        if (strncmp(line->word[i], name, length) == 0 && line->word[i][length] == '=') {
            return line->word[i] + length + 1;
        }
    }
    return empty;
}

static uint32_t number(struct line *line, const char *name)
{
    return (uint32_t)strtoul(option(line, name), NULL, 10);
}

/* "a:1,b:2", or "7*" for that many tags. */
static size_t tags(char *text, Weir__Tag *tag, Weir__Tag **list)
{
    static char key[TAGS_IN_LINE_MAX][8];
    size_t count = 0;
    char *rest = NULL, *end = NULL;
    size_t many = strtoul(text, &end, 10);
    if (*end == '*') {
        for (; count < many && count < TAGS_IN_LINE_MAX; count++) {
            weir__tag__init(&tag[count]);
            (void)snprintf(key[count], sizeof(key[count]), "t%zu", count + 100);
            tag[count].key = tag[count].value = key[count];
            list[count] = &tag[count];
        }
        return count;
    }
    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        weir__tag__init(&tag[count]);
        char *colon = strrchr(one, ':');
        tag[count].key = one;
        if (colon != NULL) {
            *colon = '\0';
            tag[count].value = colon + 1;
        }
        list[count] = &tag[count];
        count++;
    }
    return count;
}

/* ---- commands
 * ------------------------------------------------------------------------------------- */

/* Everything that a command may point to. */
static struct {
    Weir__Command command;
    uint8_t request[16], sealed[8];
    Weir__CmdStreamControl control;
    Weir__StreamControl in;
    Weir__StreamControl__Retention retention;
    Weir__StreamControl__Monitoring monitoring;
    Weir__StreamControl__Mode mode;
    Weir__StreamControl__MaxRecord record;
    Weir__StreamControl__Encryption encryption;
    Weir__StreamControl__Warm warm;
    Weir__StreamControl__Tags tags;
    Weir__StreamControl__Policy policy;
    Weir__StreamControl__Register reg;
    Weir__StreamControl__Deregister dereg;
    Weir__StreamControl__Delete del;
    Weir__StreamControl__Account account;
    Weir__ClusterLimits limits;
    Weir__CmdStreamSettled settled;
    Weir__CmdKeyCreate key;
    Weir__CmdKeyEnable enable;
    Weir__CmdKeyDelete delete_key;
    Weir__CmdTokenKey token;
    Weir__CmdRing ring;
    Weir__CmdDataKey data_key;
    Weir__CmdCreateStream create;
    Weir__Tag tag[TAGS_IN_LINE_MAX], *tag_list[TAGS_IN_LINE_MAX];
    char *remove[TAGS_IN_LINE_MAX];
} m;

#define KIND(word, field, name, CASE)                       \
    if (strcmp(what, word) == 0) {                          \
        m.in.kind_case = WEIR__STREAM_CONTROL__KIND_##CASE; \
        m.in.field = &m.name;                               \
    }

static void make_control(struct line *line)
{
    const char *what = line->word[2];
    static char nobody[1];
    weir__cmd_stream_control__init(&m.control);
    weir__stream_control__init(&m.in);
    weir__stream_control__retention__init(&m.retention);
    weir__stream_control__monitoring__init(&m.monitoring);
    weir__stream_control__mode__init(&m.mode);
    weir__stream_control__max_record__init(&m.record);
    weir__stream_control__encryption__init(&m.encryption);
    weir__stream_control__warm__init(&m.warm);
    weir__stream_control__tags__init(&m.tags);
    weir__stream_control__policy__init(&m.policy);
    weir__stream_control__register__init(&m.reg);
    weir__stream_control__deregister__init(&m.dereg);
    weir__stream_control__delete__init(&m.del);
    weir__stream_control__account__init(&m.account);
    weir__cluster_limits__init(&m.limits);
    m.control.control = &m.in;
    m.in.name = strcmp(line->word[1], "-") == 0 ? nobody : line->word[1];
    m.in.stream = number(line, "id");
    m.in.consumer_s = number(line, "second");
    m.retention.hours = number(line, "hours");
    m.retention.direction = (Weir__StreamControl__Direction)number(line, "direction");
    m.monitoring.enable = number(line, "on");
    m.monitoring.disable = number(line, "off");
    m.mode.mode = (Weir__StreamMode)number(line, "to");
    m.mode.warm_mibps = m.warm.mibps = number(line, "warm");
    m.mode.has_warm = m.mode.warm_mibps != 0;
    m.record.kib = number(line, "kib");
    m.encryption.encrypt = strcmp(what, "encrypt") == 0;
    m.encryption.key_id = option(line, "key");
    m.encryption.data_key = (ProtobufCBinaryData){m.encryption.encrypt ? 8 : 0, m.sealed};
    m.encryption.ring_key = option(line, "ring");
    m.encryption.ring_version = number(line, "version");
    m.tags.consumer = m.policy.consumer = m.reg.consumer = m.dereg.consumer =
        option(line, "consumer");
    m.tags.set = m.reg.tags = m.tag_list;
    m.tags.n_set = m.reg.n_tags = tags(option(line, "set"), m.tag, m.tag_list);
    m.remove[0] = option(line, "remove");
    m.tags.remove = m.remove;
    m.tags.n_remove = m.remove[0][0] != '\0';
    m.policy.policy = option(line, "text");
    m.del.enforce_consumer_deletion = number(line, "enforce") != 0;
    m.account.commit = number(line, "on") != 0;
    m.limits.shard_limit = number(line, "shards");
    m.limits.creating_stream_limit = number(line, "creating");
    m.limits.on_demand_stream_limit = number(line, "demand");
    m.limits.consumer_limit = number(line, "consumers");
    m.limits.mode_change_limit = number(line, "modes");
    KIND("retention", retention, retention, RETENTION)
    KIND("monitoring", monitoring, monitoring, MONITORING)
    KIND("mode", mode, mode, MODE)
    KIND("record", max_record, record, MAX_RECORD)
    KIND("encrypt", encryption, encryption, ENCRYPTION)
    KIND("decrypt", encryption, encryption, ENCRYPTION)
    KIND("warm", warm, warm, WARM)
    KIND("tag", tags, tags, TAGS)
    KIND("policy", policy, policy, POLICY)
    KIND("register", register_consumer, reg, REGISTER_CONSUMER)
    KIND("deregister", deregister_consumer, dereg, DEREGISTER_CONSUMER)
    KIND("delete", delete_stream, del, DELETE_STREAM)
    KIND("commit", account, account, ACCOUNT)
    KIND("limits", limits, limits, LIMITS)
    m.command.kind_case = WEIR__COMMAND__KIND_STREAM_CONTROL;
    m.command.stream_control = &m.control;
}

static void make_key(struct line *line)
{
    const char *what = line->word[1];
    weir__cmd_key_create__init(&m.key);
    weir__cmd_key_enable__init(&m.enable);
    weir__cmd_key_delete__init(&m.delete_key);
    m.key.id = m.enable.id = m.delete_key.id = line->word[2];
    m.key.name = option(line, "name");
    m.key.sealed = (ProtobufCBinaryData){sizeof(m.sealed), m.sealed};
    m.enable.enabled = strcmp(what, "enable") == 0;
    if (strcmp(what, "create") == 0) {
        m.command.kind_case = WEIR__COMMAND__KIND_KEY_CREATE;
        m.command.key_create = &m.key;
    } else if (strcmp(what, "delete") == 0) {
        m.command.kind_case = WEIR__COMMAND__KIND_KEY_DELETE;
        m.command.key_delete = &m.delete_key;
    } else {
        m.command.kind_case = WEIR__COMMAND__KIND_KEY_ENABLE;
        m.command.key_enable = &m.enable;
    }
}

static void make_ring(struct line *line)
{
    static const char *const actions[] = {"",       "create",  "list",   "describe",
                                          "enable", "disable", "rotate", "delete",
                                          "cancel", "alias",   "unalias"};
    weir__cmd_ring__init(&m.ring);
    for (size_t i = 1; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(line->word[1], actions[i]) == 0) {
            m.ring.action = (Weir__RingControl__Action)i;
        }
    }
    m.ring.key = line->word[2];
    m.ring.alias = option(line, "alias");
    m.ring.description = option(line, "text");
    m.ring.sealed = (ProtobufCBinaryData){sizeof(m.sealed), m.sealed};
    m.ring.deletion_ms = number(line, "deletion");
    m.ring.first = number(line, "first") != 0;
    m.ring.gone = number(line, "gone") != 0;
    m.command.kind_case = WEIR__COMMAND__KIND_RING;
    m.command.ring = &m.ring;
}

static void make_data_key(struct line *line)
{
    weir__cmd_data_key__init(&m.data_key);
    m.data_key.stream = (uint32_t)strtoul(line->word[1], NULL, 10);
    m.data_key.version = number(line, "as");
    m.data_key.wrapped = (ProtobufCBinaryData){sizeof(m.sealed), m.sealed};
    m.data_key.ring_key = option(line, "ring");
    m.data_key.ring_version = number(line, "version");
    m.command.kind_case = WEIR__COMMAND__KIND_DATA_KEY;
    m.command.data_key = &m.data_key;
}

static void make_stream(struct line *line)
{
    weir__cmd_create_stream__init(&m.create);
    m.create.name = line->word[1];
    m.create.shards = number(line, "shards") == 0 ? 1 : number(line, "shards");
    m.create.limited = number(line, "free") == 0;
    m.create.mode = (Weir__StreamMode)number(line, "mode");
    m.create.max_record_kib = number(line, "kib");
    m.create.warm_mibps = number(line, "warm");
    m.create.stream_id = option(line, "stream_id");
    m.create.tags = m.tag_list;
    m.create.n_tags = tags(option(line, "tags"), m.tag, m.tag_list);
    m.command.kind_case = WEIR__COMMAND__KIND_CREATE_STREAM;
    m.command.create_stream = &m.create;
}

/* False: the line is none of ours. */
static bool make_command(struct line *line)
{
    const char *kind = line->word[0];
    weir__command__init(&m.command);
    memset(m.request, 0, sizeof(m.request));
    m.command.time_ms = strtoull(option(line, "time"), NULL, 10);
    m.request[0] = (uint8_t)number(line, "request");
    m.command.request = (ProtobufCBinaryData){m.request[0] == 0 ? 0 : 16, m.request};
    if (strcmp(kind, "control") == 0) {
        make_control(line);
    } else if (strcmp(kind, "key") == 0) {
        make_key(line);
    } else if (strcmp(kind, "ring") == 0) {
        make_ring(line);
    } else if (strcmp(kind, "datakey") == 0) {
        make_data_key(line);
    } else if (strcmp(kind, "make") == 0) {
        make_stream(line);
    } else if (strcmp(kind, "settled") == 0) {
        weir__cmd_stream_settled__init(&m.settled);
        m.settled.stream = (uint32_t)strtoul(line->word[1], NULL, 10);
        m.settled.change = number(line, "change");
        m.command.kind_case = WEIR__COMMAND__KIND_STREAM_SETTLED;
        m.command.stream_settled = &m.settled;
    } else if (strcmp(kind, "token") == 0) {
        weir__cmd_token_key__init(&m.token);
        m.token.sealed = (ProtobufCBinaryData){sizeof(m.sealed), m.sealed};
        m.token.first = number(line, "first") != 0;
        m.command.kind_case = WEIR__COMMAND__KIND_TOKEN_KEY;
        m.command.token_key = &m.token;
    } else {
        return false;
    }
    return true;
}

/* ---- what happened
 * -------------------------------------------------------------------------------- */

static const char *state_name(uint32_t state)
{
    static const char *const names[] = {"NONE", "CREATING", "ACTIVE", "DELETING", "UPDATING"};
    return names[state];
}

static const char *consumer_state_name(Weir__ConsumerState state)
{
    return state_name(state == WEIR__CONSUMER_STATE__CONSUMER_CREATING ? 1
                      : state == WEIR__CONSUMER_STATE__CONSUMER_ACTIVE ? 2
                                                                       : 3);
}

static void say_reply(const struct db_result *result)
{
    Weir__StreamReply *reply =
        weir__stream_reply__unpack(NULL, result->body.size, result->body.data);
    assert_non_null(reply);
    if (reply->stream != NULL) {
        say(", %s at v%llu", state_name((uint32_t)reply->stream->state),
            (unsigned long long)reply->version);
        assert_int_equal(reply->stream->attributes->n_tags, 0);
        assert_int_equal(reply->stream->attributes->n_consumers, 0);
    }
    if (reply->before != NULL && reply->stream != NULL &&
        reply->before->monitoring != reply->stream->attributes->monitoring) {
        say(", monitoring %u -> %u", reply->before->monitoring,
            reply->stream->attributes->monitoring);
    }
    if (reply->consumer != NULL) {
        say(", %s:%llu %s", reply->consumer->name, (unsigned long long)reply->consumer->created_s,
            consumer_state_name(reply->consumer->state));
    }
    weir__stream_reply__free_unpacked(reply, NULL);
}

static void apply(struct script *script)
{
    Weir__Command *commands[] = {&m.command};
    Weir__CommandList list = WEIR__COMMAND_LIST__INIT;
    list.commands = commands;
    list.n_commands = 1;
    struct buf packed = {0};
    assert_int_equal(buf_reserve(&packed, weir__command_list__get_packed_size(&list)), STATUS_OK);
    packed.size = weir__command_list__pack(&list, packed.data);
    struct command_results results;
    struct error error = {0};
    db_changes_clear(db_changes(script->db));
    assert_int_equal(
        command_apply(script->db, ++script->index, buf_bytes(&packed), &results, &error),
        STATUS_OK);
    const struct db_result *result = &results.result[0];
    say("%s", status_name(result->status));
    if (result->text[0] != '\0') {
        say(": %s", result->text);
    }
    bool is_key = m.command.kind_case == WEIR__COMMAND__KIND_KEY_CREATE ||
                  m.command.kind_case == WEIR__COMMAND__KIND_KEY_ENABLE ||
                  m.command.kind_case == WEIR__COMMAND__KIND_KEY_DELETE ||
                  m.command.kind_case == WEIR__COMMAND__KIND_RING;
    if (result->body.size > 0 && !is_key) {
        say_reply(result);
    }
    const struct db_changes *changes = db_changes(script->db);
    say("%s%s\n", changes->streams.count > 0 ? " [stream]" : "",
        changes->settings ? " [settings]" : "");
    command_results_release(&results);
    buf_release(&packed);
}

/* ---- rows
 * ----------------------------------------------------------------------------------------- */

static void say_tags(const char *name, Weir__Tag *const *list, size_t count)
{
    for (size_t i = 0; i < count && i < 5; i++) {
        say("%s%s:%s", i == 0 ? name : ",", list[i]->key, list[i]->value);
    }
    if (count > 5) {
        say(",... %zu", count);
    }
}

static void show_attributes(struct script *script, uint32_t stream)
{
    Weir__StreamAttributes *a = db_attributes_get(script->db, stream);
    struct db_stream row;
    say("%s", db_stream_get(script->db, stream, &row) ? state_name((uint32_t)row.state) : "GONE");
    say(" mode %d record %u monitoring %u warm %u change %llu updating %llu", (int)a->mode,
        a->max_record_kib, a->monitoring, a->warm_mibps, (unsigned long long)a->change,
        (unsigned long long)a->updating);
    if (a->stream_id[0] != '\0') {
        say(" id %s", a->stream_id);
    }
    if (a->encrypted) {
        say(" key %s", a->key_id);
    }
    for (size_t i = 0; i < a->n_data_keys; i++) {
        say(" data-key %u", a->data_keys[i]->version);
        if (a->data_keys[i]->ring_version > 1) {
            say("/%u", a->data_keys[i]->ring_version);
        }
    }
    say_tags(" tags ", a->tags, a->n_tags);
    if (a->policy[0] != '\0') {
        say(" policy %s", a->policy);
    }
    for (size_t i = 0; i < a->n_consumers; i++) {
        const Weir__Consumer *c = a->consumers[i];
        say("\n  %s:%llu %s", c->name, (unsigned long long)c->created_s,
            consumer_state_name(c->state));
        say_tags(" tags ", c->tags, c->n_tags);
        if (c->policy[0] != '\0') {
            say(" policy %s", c->policy);
        }
    }
    say("\n");
    weir__stream_attributes__free_unpacked(a, NULL);
}

static void show_settings(struct script *script)
{
    Weir__ClusterSettings *s = db_settings_get(script->db);
    say("account %s region %s keys %llu commitment %d from %llu to %llu shards %u creating %u\n",
        s->account_id, s->region, (unsigned long long)s->keys_version, (int)s->commitment,
        (unsigned long long)s->commitment_started_ms, (unsigned long long)s->commitment_ended_ms,
        s->shard_limit, s->creating_stream_limit);
    weir__cluster_settings__free_unpacked(s, NULL);
}

static void show_key(const struct db_key *key, void *context)
{
    (void)context;
    say("%s %s %s sealed %u\n", key->id, key->name, key->enabled ? "enabled" : "disabled",
        key->sealed_bytes);
}

static void run_line(struct script *script, const char *text)
{
    struct line line;
    split(&line, text + 2);
    if (strcmp(line.word[0], "attributes") == 0) {
        say("%s\n", text);
        show_attributes(script, (uint32_t)strtoul(line.word[1], NULL, 10));
    } else if (strcmp(line.word[0], "settings") == 0) {
        say("%s\n", text);
        show_settings(script);
    } else if (strcmp(line.word[0], "keys") == 0) {
        say("%s\n", text);
        db_key_each(script->db, show_key, NULL);
    } else if (make_command(&line)) {
        say("%s\n", text);
        apply(script);
    } else {
        say("%s", script_run(script, text));
    }
}

void control_check(struct script *script, const char *text)
{
    used = 0;
    transcript[0] = '\0';
    for (const char *at = text; *at != '\0';) {
        char line[2048];
        size_t length = strcspn(at, "\n");
        (void)snprintf(line, sizeof(line), "%.*s", (int)length, at);
        if (line[0] == '>') {
            run_line(script, line);
        }
        at += length + (at[length] == '\n' ? 1 : 0);
    }
    assert_string_equal(transcript, text);
}
