#include "tests/unit/controller/command/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/command/command.h"
#include "proto/schema/command.pb-c.h"
#include "proto/schema/control.pb-c.h"
#include "proto/schema/metadata.pb-c.h"

enum { WORDS_MAX = 24, LIST_MAX = 16 };

/* ---- words of a line
 * ------------------------------------------------------------------------------- */

struct line {
    char text[512];
    char *word[WORDS_MAX];
    size_t count;
};

static void split(struct line *line, const char *text)
{
    (void)snprintf(line->text, sizeof(line->text), "%s", text);
    line->count = 0;
    char *rest = NULL;
    for (char *w = strtok_r(line->text, " ", &rest); w != NULL && line->count < WORDS_MAX;
         w = strtok_r(NULL, " ", &rest)) {
        line->word[line->count++] = w;
    }
}

static char *option(struct line *line, const char *name, const char *fallback)
{
    static char empty[64];
    size_t length = strlen(name);
    for (size_t i = 0; i < line->count; i++) {
        if (strncmp(line->word[i], name, length) == 0 && line->word[i][length] == '=') {
            return line->word[i] + length + 1;
        }
    }
    (void)snprintf(empty, sizeof(empty), "%s", fallback);
    return empty;
}

static uint64_t number(struct line *line, const char *name, uint64_t fallback)
{
    const char *text = option(line, name, "");
    return *text == '\0' ? fallback : strtoull(text, NULL, 10);
}

/* A 16-byte id that begins with a number; the shard "2/1" of stream 2. */
static void make_id(uint8_t out[16], uint64_t n)
{
    memset(out, 0, 16);
    memcpy(out, &n, sizeof(n));
}

static uint64_t shard_of(const char *text)
{
    char *end = NULL;
    uint64_t stream = strtoull(text, &end, 10);
    return stream << 32 | (*end == '/' ? strtoull(end + 1, NULL, 10) : 0);
}

/* ---- one command
 * ----------------------------------------------------------------------------------- */

/* Everything that a command may point to. */
struct made {
    Weir__Command command;
    uint8_t request[16], disk[16], process[16], cluster[16];
    char name[512];
    Weir__CmdBootstrap bootstrap;
    Weir__CmdRegisterBroker register_broker;
    Weir__Address address;
    Weir__CmdBrokerDown broker_down;
    Weir__CmdCreateStream create_stream;
    Weir__CmdDeleteStream delete_stream;
    Weir__CmdChangeRetention change_retention;
    Weir__CmdElecting electing;
    Weir__CmdElecting__Shard electing_shard[1], *electing_shards[1];
    Weir__CmdActive active;
    Weir__CmdActive__Shard active_shard[1], *active_shards[1];
    Weir__ReplicaId leader;
    Weir__ReplicaConfig config, prev;
    Weir__ReplicaId voter[2][DB_VOTERS_MAX], *voters[2][DB_VOTERS_MAX];
    Weir__CmdStable stable;
    Weir__CmdStable__Shard stable_shard[1], *stable_shards[1];
    Weir__CmdShardsDropped dropped;
    uint64_t dropped_shards[LIST_MAX];
    Weir__CmdAllocateProducers producers;
    Weir__CmdReplicasMade replicas_made;
    Weir__CmdReplicasMade__Replica late[1], *lates[1];
    Weir__ReplicaId made_id[LIST_MAX], *made_ids[LIST_MAX];
};

static void make_broker(struct made *m, struct line *line)
{
    weir__cmd_register_broker__init(&m->register_broker);
    weir__address__init(&m->address);
    m->register_broker.broker = (uint32_t)strtoul(line->word[1], NULL, 10);
    m->register_broker.boot = number(line, "boot", 1);
    make_id(m->disk, number(line, "disk", m->register_broker.broker));
    m->register_broker.disk = (ProtobufCBinaryData){.data = m->disk, .len = 16};
    if (number(line, "process", 0) != 0) {
        make_id(m->process, number(line, "process", 0));
        m->register_broker.process = (ProtobufCBinaryData){.data = m->process, .len = 16};
    }
    (void)snprintf(m->name, sizeof(m->name), "%s", option(line, "zone", "a"));
    m->register_broker.zone = m->name;
    m->address.host = line->word[0]; /* any text does */
    m->address.port = (uint32_t)number(line, "port", 7000 + m->register_broker.broker);
    m->register_broker.address = &m->address;
    m->command.kind_case = WEIR__COMMAND__KIND_REGISTER_BROKER;
    m->command.register_broker = &m->register_broker;
}

/* "1.1,2.1,3.2" with a version before it: "5:1.1,2.1,3.2". */
static Weir__ReplicaConfig *make_config(struct made *m, int which, char *text)
{
    Weir__ReplicaConfig *config = which == 0 ? &m->config : &m->prev;
    if (*text == '\0') {
        return NULL;
    }
    weir__replica_config__init(config);
    config->version = (uint32_t)strtoul(text, &text, 10);
    config->voters = m->voters[which];
    while (*text != '\0' && config->n_voters < DB_VOTERS_MAX) {
        Weir__ReplicaId *voter = &m->voter[which][config->n_voters];
        weir__replica_id__init(voter);
        voter->broker = (uint32_t)strtoul(text + 1, &text, 10);
        voter->disk_gen = (uint32_t)strtoul(text + 1, &text, 10);
        m->voters[which][config->n_voters++] = voter;
    }
    return config;
}

/* "made=1.1,2.1" */
static size_t make_replicas(struct made *m, char *text)
{
    size_t count = 0;
    while (*text != '\0' && count < LIST_MAX) {
        Weir__ReplicaId *id = &m->made_id[count];
        weir__replica_id__init(id);
        id->broker = (uint32_t)strtoul(text, &text, 10);
        id->disk_gen = (uint32_t)strtoul(text + 1, &text, 10);
        m->made_ids[count++] = id;
        text += *text == ',' ? 1 : 0;
    }
    return count;
}

static void make_election(struct made *m, struct line *line)
{
    const char *kind = line->word[0];
    uint64_t shard = shard_of(line->word[1]);
    uint32_t epoch = (uint32_t)number(line, "epoch", 1);
    if (strcmp(kind, "electing") == 0) {
        weir__cmd_electing__init(&m->electing);
        weir__cmd_electing__shard__init(m->electing_shard);
        m->electing_shard->shard = shard;
        m->electing_shard->epoch = epoch;
        m->electing_shards[0] = m->electing_shard;
        m->electing.n_shards = 1;
        m->electing.shards = m->electing_shards;
        m->command.kind_case = WEIR__COMMAND__KIND_ELECTING;
        m->command.electing = &m->electing;
    } else if (strcmp(kind, "stable") == 0) {
        weir__cmd_stable__init(&m->stable);
        weir__cmd_stable__shard__init(m->stable_shard);
        m->stable_shard->shard = shard;
        m->stable_shard->epoch = epoch;
        m->stable_shards[0] = m->stable_shard;
        m->stable.n_shards = 1;
        m->stable.shards = m->stable_shards;
        m->command.kind_case = WEIR__COMMAND__KIND_STABLE;
        m->command.stable = &m->stable;
    } else {
        weir__cmd_active__init(&m->active);
        weir__cmd_active__shard__init(m->active_shard);
        weir__replica_id__init(&m->leader);
        m->leader.broker = (uint32_t)number(line, "leader", 1);
        m->leader.disk_gen = (uint32_t)number(line, "gen", 1);
        m->active_shard->shard = shard;
        m->active_shard->epoch = epoch;
        m->active_shard->leader = &m->leader;
        m->active_shard->boot = number(line, "boot", 1);
        m->active_shard->config = make_config(m, 0, option(line, "cfg", "1:1.1,2.1,3.1"));
        m->active_shard->prev_config = make_config(m, 1, option(line, "prev", ""));
        m->active_shard->n_made = make_replicas(m, option(line, "made", ""));
        m->active_shard->made = m->made_ids;
        m->active_shards[0] = m->active_shard;
        m->active.n_shards = 1;
        m->active.shards = m->active_shards;
        m->command.kind_case = WEIR__COMMAND__KIND_ACTIVE;
        m->command.active = &m->active;
    }
}

static void make_stream(struct made *m, struct line *line)
{
    const char *kind = line->word[0];
    (void)snprintf(m->name, sizeof(m->name), "%s", line->count > 1 ? line->word[1] : "");
    if (strcmp(kind, "create") == 0) {
        weir__cmd_create_stream__init(&m->create_stream);
        m->create_stream.name = m->name;
        m->create_stream.shards = (uint32_t)number(line, "shards", 1);
        m->create_stream.retention_hours = (uint32_t)number(line, "hours", 0);
        m->create_stream.allow_fewer_zones = number(line, "fewer", 0) != 0;
        m->command.kind_case = WEIR__COMMAND__KIND_CREATE_STREAM;
        m->command.create_stream = &m->create_stream;
    } else if (strcmp(kind, "delete") == 0) {
        weir__cmd_delete_stream__init(&m->delete_stream);
        m->delete_stream.name = m->name;
        m->command.kind_case = WEIR__COMMAND__KIND_DELETE_STREAM;
        m->command.delete_stream = &m->delete_stream;
    } else {
        weir__cmd_change_retention__init(&m->change_retention);
        m->change_retention.name = m->name;
        m->change_retention.retention_hours = (uint32_t)number(line, "hours", 0);
        m->command.kind_case = WEIR__COMMAND__KIND_CHANGE_RETENTION;
        m->command.change_retention = &m->change_retention;
    }
}

static void make_rest(struct made *m, struct line *line)
{
    const char *kind = line->word[0];
    if (strcmp(kind, "bootstrap") == 0) {
        weir__cmd_bootstrap__init(&m->bootstrap);
        make_id(m->cluster, number(line, "cluster", 1));
        m->bootstrap.cluster = (ProtobufCBinaryData){.data = m->cluster, .len = 16};
        m->command.kind_case = WEIR__COMMAND__KIND_BOOTSTRAP;
        m->command.bootstrap = &m->bootstrap;
    } else if (strcmp(kind, "down") == 0) {
        weir__cmd_broker_down__init(&m->broker_down);
        m->broker_down.broker = (uint32_t)strtoul(line->word[1], NULL, 10);
        m->broker_down.boot = number(line, "boot", 1);
        m->command.kind_case = WEIR__COMMAND__KIND_BROKER_DOWN;
        m->command.broker_down = &m->broker_down;
    } else if (strcmp(kind, "dropped") == 0) {
        weir__cmd_shards_dropped__init(&m->dropped);
        m->dropped.broker = (uint32_t)strtoul(line->word[1], NULL, 10);
        m->dropped.shards = m->dropped_shards;
        for (size_t i = 2; i < line->count; i++) {
            if (strchr(line->word[i], '/') != NULL) {
                m->dropped_shards[m->dropped.n_shards++] = shard_of(line->word[i]);
            }
        }
        m->command.kind_case = WEIR__COMMAND__KIND_SHARDS_DROPPED;
        m->command.shards_dropped = &m->dropped;
    } else if (strcmp(kind, "made") == 0) {
        weir__cmd_replicas_made__init(&m->replicas_made);
        weir__cmd_replicas_made__replica__init(m->late);
        assert_int_equal(make_replicas(m, option(line, "replica", "")), 1);
        m->late->shard = shard_of(line->word[1]);
        m->late->replica = m->made_ids[0];
        m->lates[0] = m->late;
        m->replicas_made.n_replicas = 1;
        m->replicas_made.replicas = m->lates;
        m->command.kind_case = WEIR__COMMAND__KIND_REPLICAS_MADE;
        m->command.replicas_made = &m->replicas_made;
    } else {
        assert_string_equal(kind, "producers");
        weir__cmd_allocate_producers__init(&m->producers);
        m->producers.count = number(line, "count", DB_PRODUCER_BLOCK);
        m->command.kind_case = WEIR__COMMAND__KIND_ALLOCATE_PRODUCERS;
        m->command.allocate_producers = &m->producers;
    }
}

static void make_command(struct made *m, struct line *line)
{
    const char *kind = line->word[0];
    weir__command__init(&m->command);
    m->command.time_ms = number(line, "time", 0);
    if (number(line, "request", 0) != 0) {
        make_id(m->request, number(line, "request", 0));
        m->command.request = (ProtobufCBinaryData){.data = m->request, .len = 16};
    }
    if (strcmp(kind, "broker") == 0) {
        make_broker(m, line);
    } else if (strcmp(kind, "electing") == 0 || strcmp(kind, "active") == 0 ||
               strcmp(kind, "stable") == 0) {
        make_election(m, line);
    } else if (strcmp(kind, "create") == 0 || strcmp(kind, "delete") == 0 ||
               strcmp(kind, "retention") == 0) {
        make_stream(m, line);
    } else {
        make_rest(m, line);
    }
}

/* ---- the transcript
 * -------------------------------------------------------------------------------- */

static void say(struct script *script, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(struct script *script, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(script->out + script->used, SCRIPT_TRANSCRIPT_MAX - script->used, format,
                         arguments);
    va_end(arguments);
    assert_true(size >= 0 && (size_t)size < SCRIPT_TRANSCRIPT_MAX - script->used);
    script->used += (size_t)size;
}

static void say_ids(struct script *script, const char *name, const struct db_ids *ids, bool shards)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (i == 50) {
            say(script, " ... %zu", ids->count);
            return;
        }
        say(script, i == 0 ? " %s " : ",", name);
        if (shards) {
            say(script, "%u/%u", (unsigned)(ids->id[i] >> 32), (unsigned)ids->id[i]);
        } else {
            say(script, "%u", (unsigned)ids->id[i]);
        }
    }
}

static void say_result(struct script *script, const char *kind, const struct db_result *result)
{
    say(script, "%s", status_name(result->status));
    if (result->text[0] != '\0') {
        say(script, ": %s", result->text);
    }
    if (result->body.size > 0 && strcmp(kind, "broker") == 0) {
        Weir__RegisterBrokerReply *reply =
            weir__register_broker_reply__unpack(NULL, result->body.size, result->body.data);
        say(script, ", disk %u", reply->disk_gen);
        weir__register_broker_reply__free_unpacked(reply, NULL);
    } else if (result->body.size > 0 && strcmp(kind, "producers") == 0) {
        Weir__ProducerIds *reply =
            weir__producer_ids__unpack(NULL, result->body.size, result->body.data);
        say(script, ", %llu from %llu", (unsigned long long)reply->count,
            (unsigned long long)reply->first);
        weir__producer_ids__free_unpacked(reply, NULL);
    } else if (result->body.size > 0) {
        Weir__StreamReply *reply =
            weir__stream_reply__unpack(NULL, result->body.size, result->body.data);
        say(script, ", stream %u at version %llu", reply->stream->id,
            (unsigned long long)reply->version);
        weir__stream_reply__free_unpacked(reply, NULL);
    }
    say(script, "\n");
}

static void show_config(struct script *script, const char *name, const struct db_config *config)
{
    if (config->voter_count == 0) {
        return;
    }
    say(script, " %s %u:", name, config->version);
    for (uint32_t v = 0; v < config->voter_count; v++) {
        say(script, "%s%u.%u%s", v == 0 ? "" : ",", config->voter[v].broker,
            config->voter[v].disk_gen, config->voter[v].made ? "!" : "");
    }
}

static void show_broker(const struct db_broker *b, void *context)
{
    say(context, "broker %u boot %llu disk %u zone %s %s replicas %u preferred %u\n", b->id,
        (unsigned long long)b->boot, b->disk_gen, b->zone, b->alive ? "alive" : "dead", b->replicas,
        b->preferred);
}

static void show_stream(const struct db_stream *s, void *context)
{
    static const char *const states[] = {"", "CREATING", "ACTIVE", "DELETING", "UPDATING"};
    say(context, "stream %u %s %s hours %u shards %u waiting %u created %llu\n", s->id, s->name,
        states[s->state], s->retention_hours, s->shard_count, s->waiting,
        (unsigned long long)s->created_ms);
}

static void show_shard(const struct db_shard *s, void *context)
{
    static const char *const phases[] = {"IDLE",   "ELECTING",  "ACTIVE",
                                         "SEALED", "NO_QUORUM", "DELETED"};
    say(context, "shard %u/%u %s epoch %u", (unsigned)(s->id >> 32), (unsigned)s->id,
        phases[s->phase], s->epoch);
    if (s->leader.broker != 0) {
        say(context, " leader %u.%u boot %llu", s->leader.broker, s->leader.disk_gen,
            (unsigned long long)s->leader_boot);
    }
    show_config(context, "cfg", &s->cfg);
    show_config(context, "prev", &s->prev_cfg);
    say(context, " prefers %u\n", s->preferred);
}

static void show(struct script *script, struct line *line)
{
    const char *what = line->count > 1 ? line->word[1] : "";
    if (strcmp(what, "brokers") == 0) {
        db_broker_each(script->db, show_broker, script);
    } else if (strcmp(what, "streams") == 0) {
        db_stream_each(script->db, show_stream, script);
    } else if (strcmp(what, "shards") == 0) {
        db_shard_each(script->db, 0, show_shard, script);
    } else if (strcmp(what, "drops") == 0) {
        for (uint32_t broker = 1; broker < 16; broker++) {
            uint64_t shards[LIST_MAX];
            size_t count = db_drops_get(script->db, broker, 0, shards, LIST_MAX);
            struct db_ids ids = {.id = shards, .count = count};
            if (count > 0) {
                say(script, "broker %u owes", broker);
                say_ids(script, "", &ids, true);
                say(script, "\n");
            }
        }
    } else {
        const struct db_meta *m = db_meta(script->db);
        say(script, "index %llu version %llu time %llu\n", (unsigned long long)m->applied_index,
            (unsigned long long)m->version, (unsigned long long)m->time_ms);
    }
}

/* ---- running
 * --------------------------------------------------------------------------------------- */

struct entry {
    struct made *made[LIST_MAX];
    struct line *line[LIST_MAX];
    size_t count;
};

static void apply_entry(struct script *script, struct entry *entry)
{
    Weir__Command *commands[LIST_MAX];
    Weir__CommandList list = WEIR__COMMAND_LIST__INIT;
    for (size_t i = 0; i < entry->count; i++) {
        commands[i] = &entry->made[i]->command;
    }
    list.commands = commands;
    list.n_commands = entry->count;
    struct buf packed = {0};
    assert_int_equal(buf_reserve(&packed, weir__command_list__get_packed_size(&list)), STATUS_OK);
    packed.size = weir__command_list__pack(&list, packed.data);
    struct command_results results;
    struct error error = {0};
    db_changes_clear(db_changes(script->db));
    enum status status =
        command_apply(script->db, ++script->index, buf_bytes(&packed), &results, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(results.count, entry->count);
    for (size_t i = 0; i < entry->count; i++) {
        say_result(script, entry->line[i]->word[0], &results.result[i]);
        free(entry->made[i]);
        free(entry->line[i]);
    }
    const struct db_changes *changes = db_changes(script->db);
    if (db_changes_any(changes) && db_meta(script->db)->version > 1) { /* beyond bootstrap's */
        say(script, "  v%llu:", (unsigned long long)db_meta(script->db)->version);
        say_ids(script, "brokers", &changes->brokers, false);
        say_ids(script, "streams", &changes->streams, false);
        say_ids(script, "shards", &changes->shards, true);
        say_ids(script, "gone", &changes->deleted_streams, false);
        say(script, "%s%s\n", changes->drops ? " drops" : "", changes->settings ? " settings" : "");
    }
    if (script->applied != NULL) {
        script->applied(script->data);
    }
    command_results_release(&results);
    buf_release(&packed);
    entry->count = 0;
}

static void run_line(struct script *script, const char *text, struct entry *entry)
{
    bool more = strncmp(text, ">> ", 3) == 0;
    struct line *line = calloc(1, sizeof(*line));
    assert_non_null(line);
    split(line, text + (more ? 3 : 2));
    say(script, "%s\n", text);
    if (strcmp(line->word[0], "show") == 0) {
        show(script, line);
        free(line);
        return;
    }
    if (strcmp(line->word[0], "restart") == 0) {
        script_restart(script);
        free(line);
        return;
    }
    struct made *made = calloc(1, sizeof(*made));
    assert_non_null(made);
    make_command(made, line);
    entry->made[entry->count] = made;
    entry->line[entry->count++] = line;
    if (!more) {
        apply_entry(script, entry);
    }
}

const char *script_run(struct script *script, const char *text)
{
    struct entry entry = {0};
    script->used = 0;
    script->out[0] = '\0';
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char line[512];
        (void)snprintf(line, sizeof(line), "%.*s", (int)length, text);
        if (line[0] == '>') {
            run_line(script, line, &entry);
        }
        text += length + (text[length] == '\n' ? 1 : 0);
    }
    return script->out;
}

void script_check(struct script *script, const char *text)
{
    assert_string_equal(script_run(script, text), text);
}

void script_open(struct script *script)
{
    *script = (struct script){.dir = "/tmp/weir-script-XXXXXX"};
    assert_non_null(mkdtemp(script->dir));
    (void)snprintf(script->path, sizeof(script->path), "%s/state.db", script->dir);
    script->out = malloc(SCRIPT_TRANSCRIPT_MAX);
    assert_non_null(script->out);
    assert_int_equal(db_open(script->path, &script->db, NULL), STATUS_OK);
}

void script_restart(struct script *script)
{
    db_close(script->db);
    assert_int_equal(db_open(script->path, &script->db, NULL), STATUS_OK);
    script->index = db_meta(script->db)->applied_index;
}

void script_close(struct script *script)
{
    db_close(script->db);
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s%s", script->path, suffixes[i]);
        (void)unlink(path);
    }
    (void)rmdir(script->dir);
    free(script->out);
}
