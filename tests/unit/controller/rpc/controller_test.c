#include "tests/unit/controller/rpc/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/schema/control.pb-c.h"
#include "proto/schema/metadata.pb-c.h"

static int setup(void **state)
{
    struct rig *rig = malloc(sizeof(*rig));
    assert_non_null(rig);
    rig_open(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

static enum status create(struct rig *rig, const char *name, uint32_t shards, uint8_t request)
{
    char text[200];
    uint8_t id[16] = {request};
    Weir__CreateStream message;
    weir__create_stream__init(&message);
    (void)snprintf(text, sizeof(text), "%s", name);
    message.name = text;
    message.shards = shards;
    message.request = (ProtobufCBinaryData){.data = id, .len = request == 0 ? 0 : 16};
    return rig_call(rig, RPC_CREATE_STREAM, &message.base);
}

static enum status delete (struct rig *rig, const char *name) {
    char text[200]; Weir__DeleteStream message; weir__delete_stream__init(&message);
    (void)snprintf(text, sizeof(text), "%s", name);
    message.name = text;
    return rig_call(rig, RPC_DELETE_STREAM, &message.base);
}

/* The whole image; to be freed. */
static Weir__MetadataUpdate *metadata(struct rig *rig, bool stale)
{
    Weir__GetMetadata message;
    weir__get_metadata__init(&message);
    message.stale_ok = stale;
    assert_int_equal(rig_call(rig, RPC_GET_METADATA, &message.base), STATUS_OK);
    Weir__MetadataUpdate *update =
        weir__metadata_update__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_non_null(update);
    return update;
}

/* "1:ACTIVE 0@1>2 ..." : streams with their state; shards with epoch and leader. */
static void describe(struct rig *rig, char out[1024])
{
    static const char *const states[] = {"NONE", "CREATING", "ACTIVE", "DELETING"};
    Weir__MetadataUpdate *u = metadata(rig, false);
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < u->n_streams; i++) {
        used += (size_t)snprintf(out + used, 1024 - used, "%s:%s", u->streams[i]->name,
                                 states[u->streams[i]->state]);
        for (size_t s = 0; s < u->n_shards; s++) {
            if (u->shards[s]->stream == u->streams[i]->id) {
                const Weir__ReplicaId *leader = u->shards[s]->leader;
                used += (size_t)snprintf(out + used, 1024 - used, " %u@%u>%u", u->shards[s]->number,
                                         u->shards[s]->epoch, leader == NULL ? 0 : leader->broker);
            }
        }
        used += (size_t)snprintf(out + used, 1024 - used, ";");
    }
    weir__metadata_update__free_unpacked(u, NULL);
}

/* Asks until the description is `text`, or fails the test. */
static void expect(struct rig *rig, const char *text)
{
    char got[1024];
    for (int i = 0; i < 300; i++) {
        describe(rig, got);
        if (strcmp(got, text) == 0) {
            return;
        }
        rig_run_ms(rig, 10);
    }
    assert_string_equal(got, text);
}

static void three_up(struct rig *rig)
{
    for (uint32_t id = 1; id <= 3; id++) {
        rig_broker_up(rig, id, 10);
    }
}

static void a_stream_gets_leaders_that_are_spread(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 3, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(rig->broker[id].fences, 1); /* three shards in one frame */
        assert_int_equal(rig->broker[id].fresh, 3);
        assert_int_equal(rig->broker[id].grants, 1);
    }
}

static void a_call_that_is_wrong_gets_a_sentence(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(create(rig, "s", 1, 0), STATUS_PLACEMENT);
    assert_string_equal(rig->reply.text, "3 replicas need 3 brokers; 0 are alive, in zones: -");
    assert_int_equal(create(rig, "no/slash", 1, 0), STATUS_INVALID);
    assert_int_equal(delete (rig, "nothing"), STATUS_NOT_FOUND);
    assert_string_equal(rig->reply.text, "there is no stream nothing");
    Weir__GetMetadata get;
    char name[] = "nothing";
    weir__get_metadata__init(&get);
    get.stream = name;
    assert_int_equal(rig_call(rig, RPC_GET_METADATA, &get.base), STATUS_NOT_FOUND);
    /* Not a CreateStream: its name would be a number. */
    Weir__ReplicaId other = WEIR__REPLICA_ID__INIT;
    other.broker = other.disk_gen = 1;
    assert_int_equal(rig_call(rig, RPC_CREATE_STREAM, &other.base), STATUS_INVALID);
    assert_string_equal(rig->reply.text, "the body of CREATE_STREAM does not parse");
}

static void a_retry_of_a_request_gets_its_first_result(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 1, 5), STATUS_OK);
    Weir__StreamReply *first = weir__stream_reply__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_int_equal(create(rig, "s", 1, 5), STATUS_OK);
    Weir__StreamReply *again = weir__stream_reply__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_int_equal(again->version, first->version);
    assert_int_equal(again->stream->id, first->stream->id);
    weir__stream_reply__free_unpacked(first, NULL);
    weir__stream_reply__free_unpacked(again, NULL);
    assert_int_equal(create(rig, "s", 1, 6), STATUS_EXISTS);
}

static void a_broker_whose_session_and_links_are_reset_is_replaced_at_once(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 3, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    rig->broker[1].reset = rig->broker[3].reset = 2;
    rig_broker_close(rig, 2);
    expect(rig, "s:ACTIVE 0@1>1 1@2>1 2@1>3;");
    Weir__MetadataUpdate *u = metadata(rig, true);
    assert_false(u->brokers[1]->alive);
    weir__metadata_update__free_unpacked(u, NULL);
    /* It comes back as another process. */
    rig->broker[1].reset = rig->broker[3].reset = 0;
    rig_broker_up(rig, 2, 11);
    u = metadata(rig, false);
    assert_true(u->brokers[1]->alive);
    assert_int_equal(u->brokers[1]->boot, 11);
    weir__metadata_update__free_unpacked(u, NULL);
}

static bool broker_three_has_its_replicas(struct rig *rig)
{
    return rig->broker[3].fresh == 2;
}

static void a_broker_that_was_away_gets_its_replicas_made_once(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    rig->broker[3].mute = true; /* as good as a fence that was lost */
    assert_int_equal(create(rig, "s", 2, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2;");
    rig_broker_close(rig, 3);
    rig_broker_up(rig, 3, 11);
    rig_until(rig, broker_three_has_its_replicas);
    rig_run_ms(rig, 1200);
    assert_int_equal(rig->broker[3].fresh, 2); /* it is known now */
    expect(rig, "s:ACTIVE 0@1>1 1@1>2;");
}

static void a_restarted_leader_does_not_lead_on(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 1, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1;");
    rig_broker_close(rig, 1);
    rig_broker_up(rig, 1, 11); /* before anybody judged */
    char got[1024];
    for (int i = 0; i < 300; i++) {
        describe(rig, got);
        if (strncmp(got, "s:ACTIVE 0@2>", 13) == 0 && got[13] != '0') {
            break;
        }
        rig_run_ms(rig, 10);
    }
    assert_int_equal(strncmp(got, "s:ACTIVE 0@2>", 13), 0);
}

static void resign(struct rig *rig, uint32_t broker, uint64_t boot, uint64_t shard, uint32_t epoch)
{
    Weir__ResignShard row = WEIR__RESIGN_SHARD__INIT;
    Weir__ResignShard *rows[] = {&row};
    Weir__Resign message = WEIR__RESIGN__INIT;
    row.shard = shard;
    row.epoch = epoch;
    message.boot = boot;
    message.n_shards = 1;
    message.shards = rows;
    assert_int_equal(session_send(rig->broker[broker].session, RPC_RESIGN,
                                  (struct session_payload){.body = &message.base}),
                     STATUS_OK);
}

static void a_leader_that_resigns_while_it_is_alive_is_replaced(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 3, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    Weir__MetadataUpdate *u = metadata(rig, false);
    uint64_t shard = (uint64_t)u->streams[0]->id << 32;
    weir__metadata_update__free_unpacked(u, NULL);
    resign(rig, 2, 10, shard, 1);      /* not its leader */
    resign(rig, 1, 9, shard, 1);       /* of an earlier boot */
    resign(rig, 1, 10, shard, 7);      /* of an epoch that nobody granted */
    resign(rig, 1, 10, shard + 99, 1); /* no such shard */
    rig_run_ms(rig, 100);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    rig->broker[1].mute_fences = true; /* its disk is out: it promises nothing */
    resign(rig, 1, 10, shard, 1);
    char got[1024];
    for (int i = 0; i < 300; i++) {
        describe(rig, got);
        if (strncmp(got, "s:ACTIVE 0@2>", 13) == 0 && got[13] != '0') {
            break;
        }
        rig_run_ms(rig, 10);
    }
    assert_int_equal(strncmp(got, "s:ACTIVE 0@2>", 13), 0);
    assert_true(got[13] == '2' || got[13] == '3');
    resign(rig, 1, 10, shard, 1); /* said again, too late */
    rig_run_ms(rig, 100);
    char again[1024];
    describe(rig, again);
    assert_string_equal(again, got);
}

static bool broker_two_is_away(struct rig *rig)
{
    return rig->broker[2].session == NULL;
}

static void a_silent_broker_is_dead_and_told_to_register_again(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 3, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    rig->broker[2].mute = true;
    rig_until(rig, broker_two_is_away);
    expect(rig, "s:ACTIVE 0@1>1 1@2>1 2@1>3;");
    rig_broker_up(rig, 2, 10); /* the same process wakes */
    Weir__MetadataUpdate *u = metadata(rig, false);
    assert_true(u->brokers[1]->alive);
    weir__metadata_update__free_unpacked(u, NULL);
}

static void a_broker_registers_only_as_itself(void **state)
{
    struct rig *rig = *state;
    rig_broker_connect(rig, 1, 10);
    uint8_t disk[16] = {1};
    char zone[] = "a", host[] = "h";
    Weir__Address address;
    weir__address__init(&address);
    address.host = host;
    address.port = 1;
    Weir__RegisterBroker message;
    weir__register_broker__init(&message);
    message.broker = 2;
    message.boot = 10;
    message.disk = (ProtobufCBinaryData){.data = disk, .len = 16};
    message.zone = zone;
    message.address = &address;
    struct session *session = rig->broker[1].session;
    assert_int_equal(rig_call_on(rig, session, RPC_REGISTER_BROKER, &message.base),
                     STATUS_WRONG_IDENTITY);
    message.broker = 1;
    message.boot = 11;
    assert_int_equal(rig_call_on(rig, session, RPC_REGISTER_BROKER, &message.base),
                     STATUS_WRONG_IDENTITY);
    assert_string_equal(rig->reply.text,
                        "broker-1 with boot 10 registers as broker-1 with boot 11");
}

static void a_deleted_stream_goes_once_its_replicas_are_dropped(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 2, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2;");
    rig->broker[3].keep_drops = true;
    assert_int_equal(delete (rig, "s"), STATUS_OK);
    expect(rig, "s:DELETING 0@1>0 1@1>0;");
    rig->broker[3].keep_drops = false; /* it is asked again */
    expect(rig, "");
    assert_true(rig->broker[3].drops >= 2);
    assert_int_equal(create(rig, "s", 1, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1;");
}

/* What a watcher has seen: versions in order. */
struct watcher {
    struct session_request request;
    uint64_t version;
    unsigned updates, images;
    bool gap, done;
    enum status status;
};

static void watched(struct session_request *request, const struct session_reply *reply)
{
    struct watcher *w = CONTAINER_OF(request, struct watcher, request);
    w->done = !reply->more;
    w->status = reply->status;
    if (reply->status != STATUS_OK) {
        return;
    }
    Weir__MetadataUpdate *u =
        weir__metadata_update__unpack(NULL, reply->body.size, reply->body.data);
    w->updates++;
    w->images += u->full ? 1 : 0;
    w->gap = w->gap || (!u->full && u->from_version != w->version) || u->version < w->version;
    w->version = u->version;
    weir__metadata_update__free_unpacked(u, NULL);
}

static void start_watch(struct rig *rig, struct watcher *w, uint64_t from)
{
    Weir__Watch message = WEIR__WATCH__INIT;
    message.from_version = from;
    w->version = from;
    assert_int_equal(session_call(rig->user, RPC_WATCH,
                                  (struct session_payload){.body = &message.base}, 0, &w->request,
                                  watched),
                     STATUS_OK);
}

static void a_watcher_hears_of_every_version_in_order(void **state)
{
    struct rig *rig = *state;
    struct watcher w = {0}, late = {0}, ahead = {0};
    start_watch(rig, &w, 0);
    three_up(rig);
    assert_int_equal(create(rig, "s", 4, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3 3@1>1;");
    Weir__MetadataUpdate *u = metadata(rig, false);
    rig_run_ms(rig, 20);
    assert_int_equal(w.version, u->version);
    assert_in_range(w.images, 1, 2); /* of nothing, if it came before the first broker */
    assert_false(w.gap);
    /* From where it was, only what came later; from the future, nothing for a while. */
    start_watch(rig, &late, u->version - 1);
    start_watch(rig, &ahead, u->version + 1);
    rig_run_ms(rig, 50);
    assert_int_equal(late.updates, 1);
    assert_int_equal(late.images, 0);
    assert_int_equal(ahead.updates, 0);
    assert_int_equal(delete (rig, "s"), STATUS_OK);
    rig_run_ms(rig, 100);
    assert_false(late.gap);
    assert_true(ahead.updates > 0);
    assert_int_equal(ahead.images, 0);
    session_cancel(&w.request);
    session_cancel(&late.request);
    session_cancel(&ahead.request);
    rig_run_ms(rig, 20);
    assert_true(w.done && late.done && ahead.done);
    assert_int_equal(w.status, STATUS_CANCELLED);
    weir__metadata_update__free_unpacked(u, NULL);
}

static void producer_ids_are_never_given_twice(void **state)
{
    struct rig *rig = *state;
    uint64_t next = 1;
    for (int i = 0; i < 4; i++) {
        Weir__AllocateProducers message;
        weir__allocate_producers__init(&message);
        assert_int_equal(rig_call(rig, RPC_ALLOCATE_PRODUCERS, &message.base), STATUS_OK);
        Weir__ProducerIds *ids = weir__producer_ids__unpack(NULL, rig->reply.size, rig->reply.body);
        assert_int_equal(ids->first, next);
        next += ids->count;
        weir__producer_ids__free_unpacked(ids, NULL);
        if (i == 1) {
            rig_restart(rig);
        }
    }
}

static void the_status_tells_of_controllers_and_brokers(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 2, 0), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2;");
    rig_run_ms(rig, 50);
    assert_int_equal(rig_call(rig, RPC_CLUSTER_STATUS, NULL), STATUS_OK);
    Weir__ClusterStatus *s = weir__cluster_status__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_non_null(s);
    assert_int_equal(s->active_controller, 1);
    assert_int_equal(s->n_controllers, 1);
    assert_string_equal(s->controllers[0]->state, "active");
    assert_int_equal(s->n_brokers, 3);
    assert_true(s->brokers[2]->session);
    assert_string_equal(s->brokers[2]->info->zone, "c");
    assert_string_equal(s->brokers[2]->disk_state, "ok");
    assert_int_equal(s->brokers[2]->replicas, 7);
    assert_true(s->brokers[2]->beat_age_ms < 400);
    assert_int_equal(s->shards, 2);
    assert_int_equal(s->shards_without_leader, 0);
    weir__cluster_status__free_unpacked(s, NULL);
}

static void everything_is_there_after_a_restart(void **state)
{
    struct rig *rig = *state;
    three_up(rig);
    assert_int_equal(create(rig, "s", 3, 9), STATUS_OK);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    rig_restart(rig);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    assert_int_equal(create(rig, "s", 3, 9), STATUS_OK); /* the same request */
    three_up(rig);                                       /* the same processes: they lead on */
    rig_run_ms(rig, 600);
    expect(rig, "s:ACTIVE 0@1>1 1@1>2 2@1>3;");
    assert_true(rig->broker[1].grants >= 2); /* asked again whether it leads */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_stream_gets_leaders_that_are_spread),
        TEST(a_call_that_is_wrong_gets_a_sentence),
        TEST(a_retry_of_a_request_gets_its_first_result),
        TEST(a_broker_whose_session_and_links_are_reset_is_replaced_at_once),
        TEST(a_broker_that_was_away_gets_its_replicas_made_once),
        TEST(a_restarted_leader_does_not_lead_on),
        TEST(a_leader_that_resigns_while_it_is_alive_is_replaced),
        TEST(a_silent_broker_is_dead_and_told_to_register_again),
        TEST(a_broker_registers_only_as_itself),
        TEST(a_deleted_stream_goes_once_its_replicas_are_dropped),
        TEST(a_watcher_hears_of_every_version_in_order),
        TEST(producer_ids_are_never_given_twice),
        TEST(the_status_tells_of_controllers_and_brokers),
        TEST(everything_is_there_after_a_restart),
    };
    return cmocka_run_group_tests_name("controller", tests, NULL, NULL);
}
