#include "fake_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/check.h"
#include "proto/schema/data.pb-c.h"
#include "proto/schema/metadata.pb-c.h"

enum { WAIT_MS = 10000 };

static const uint64_t shard_id = (uint64_t)FAKE_STREAM << 32;

static void answer(struct session_call *call, const ProtobufCMessage *body)
{
    session_reply(call, (struct session_payload){.body = body});
}

/* ---- controllers ------------------------------------------------------------------------------
 */

struct image {
    Weir__MetadataUpdate update;
    Weir__BrokerInfo broker[FAKE_NODES], *brokers[FAKE_NODES];
    Weir__ControllerInfo controller[FAKE_NODES], *controllers[FAKE_NODES];
    Weir__Address broker_address[FAKE_NODES], controller_address[FAKE_NODES];
    Weir__StreamInfo stream, *streams[1];
    Weir__ShardInfo shard, *shards[1];
    Weir__ReplicaId leader, voter[FAKE_NODES], *voters[FAKE_NODES];
    Weir__ReplicaConfig config;
    uint8_t cluster[CLUSTER_ID_BYTES], first[HASH_KEY_BYTES], last[HASH_KEY_BYTES];
};

static char *broker_names[] = {(char[]){"broker-1"}, (char[]){"broker-2"}};
static char *controller_names[] = {(char[]){"controller-1"}, (char[]){"controller-2"}};
static char host[] = "127.0.0.1";
static char stream_name[] = "orders";

static void fill_nodes(struct fake *fake, struct image *image)
{
    for (uint32_t i = 0; i < FAKE_NODES; i++) {
        weir__broker_info__init(&image->broker[i]);
        weir__controller_info__init(&image->controller[i]);
        weir__address__init(&image->broker_address[i]);
        weir__address__init(&image->controller_address[i]);
        weir__replica_id__init(&image->voter[i]);
        image->broker_address[i].host = image->controller_address[i].host = host;
        image->broker_address[i].port = fake->brokers[i].port;
        image->controller_address[i].port = fake->controllers[i].port;
        image->broker[i].id = image->controller[i].id = image->voter[i].broker = i + 1;
        image->broker[i].name = broker_names[i];
        image->controller[i].name = controller_names[i];
        image->broker[i].address = &image->broker_address[i];
        image->controller[i].address = &image->controller_address[i];
        image->broker[i].alive = true;
        image->brokers[i] = &image->broker[i];
        image->controllers[i] = &image->controller[i];
        image->voters[i] = &image->voter[i];
    }
    image->update.brokers = image->brokers;
    image->update.controllers = image->controllers;
    image->update.n_brokers = image->update.n_controllers = FAKE_NODES;
}

static void fill_stream(struct fake *fake, struct image *image)
{
    weir__stream_info__init(&image->stream);
    weir__shard_info__init(&image->shard);
    weir__replica_id__init(&image->leader);
    weir__replica_config__init(&image->config);
    memset(image->last, 0xff, sizeof(image->last));
    image->stream.id = FAKE_STREAM;
    image->stream.name = stream_name;
    image->stream.shard_count = 1;
    image->stream.state = fake->deleting   ? WEIR__STREAM_STATE__STREAM_DELETING
                          : fake->updating ? WEIR__STREAM_STATE__STREAM_UPDATING
                                           : WEIR__STREAM_STATE__STREAM_ACTIVE;
    image->config.n_voters = FAKE_NODES;
    image->config.voters = image->voters;
    image->leader.broker = fake->leader;
    image->shard.stream = FAKE_STREAM;
    image->shard.hash_first = (ProtobufCBinaryData){HASH_KEY_BYTES, image->first};
    image->shard.hash_last = (ProtobufCBinaryData){HASH_KEY_BYTES, image->last};
    image->shard.created_s = 1700000000;
    image->shard.phase = WEIR__SHARD_PHASE__SHARD_ACTIVE;
    image->shard.epoch = fake->epoch;
    image->shard.leader = &image->leader;
    image->shard.config = &image->config;
    image->streams[0] = &image->stream;
    image->shards[0] = &image->shard;
    image->update.streams = image->streams;
    image->update.shards = image->shards;
    image->update.n_streams = image->update.n_shards = 1;
}

static void make_image(struct fake *fake, struct image *image)
{
    *image = (struct image){.first = {0}};
    weir__metadata_update__init(&image->update);
    image->update.full = true;
    image->update.version = fake->version;
    image->update.cluster = (ProtobufCBinaryData){CLUSTER_ID_BYTES, image->cluster};
    image->update.active_controller = fake->active;
    fill_nodes(fake, image);
    if (fake->created) {
        fill_stream(fake, image);
    }
}

static void watch_cancelled(struct session_call *call)
{
    struct fake_node *node = call->data;
    node->watch = NULL;
    session_reply_error(call, STATUS_CANCELLED, NULL, "given up");
}

void fake_tell(struct fake *fake)
{
    fake->version++;
    struct image image;
    make_image(fake, &image);
    for (unsigned i = 0; i < FAKE_NODES; i++) {
        struct session_call *watch = fake->controllers[i].watch;
        if (watch != NULL && !fake->controllers[i].silent) {
            assert_int_equal(
                session_reply_more(watch, (struct session_payload){.body = &image.update.base}),
                STATUS_OK);
        }
    }
}

static void take_create(struct fake_node *node, struct session_call *call)
{
    struct fake *fake = node->fake;
    Weir__CreateStream *create =
        weir__create_stream__unpack(NULL, call->body.size, call->body.data);
    assert_non_null(create);
    assert_int_equal(create->request.len, sizeof(fake->last_request));
    bool repeated = memcmp(fake->last_request, create->request.data, create->request.len) == 0;
    bool exists = fake->created && !repeated;
    memcpy(fake->last_request, create->request.data, create->request.len);
    weir__create_stream__free_unpacked(create, NULL);
    if (exists) {
        session_reply_error(call, STATUS_EXISTS, NULL, "there is one already");
        return;
    }
    fake->created = true;
    fake_tell(fake);
    if (fake->drop_next_create) {
        fake->drop_next_create = false;
        session_close(call->session, STATUS_CLOSING, "cut");
    }
    Weir__StreamReply reply = WEIR__STREAM_REPLY__INIT;
    answer(call, &reply.base);
}

/* Begun now, done by the time of the second look, or never. */
static void take_change(struct fake *fake, struct session_call *call)
{
    fake->deleting = call->method == RPC_DELETE_STREAM;
    fake->updating = !fake->deleting;
    Weir__StreamReply reply = WEIR__STREAM_REPLY__INIT;
    answer(call, &reply.base);
}

static void take_look(struct fake *fake, struct session_call *call)
{
    struct image image;
    make_image(fake, &image);
    answer(call, &image.update.base);
    if (!fake->stays) {
        fake->created = fake->created && !fake->deleting;
        fake->deleting = fake->updating = false;
    }
}

static void take_active_call(struct fake_node *node, struct session_call *call)
{
    struct fake *fake = node->fake;
    if (call->method == RPC_CREATE_STREAM) {
        take_create(node, call);
    } else if (call->method == RPC_ALLOCATE_PRODUCERS) {
        Weir__ProducerIds ids = WEIR__PRODUCER_IDS__INIT;
        ids.first = 1000;
        ids.count = 10;
        answer(call, &ids.base);
    } else if (call->method == RPC_GET_METADATA && fake->created) {
        take_look(fake, call);
    } else if (fake->created && (call->method == RPC_DELETE_STREAM || call->method == RPC_RESHARD ||
                                 call->method == RPC_STREAM_CONTROL)) {
        take_change(fake, call);
    } else {
        session_reply_error(call, STATUS_NOT_FOUND, NULL, "there is no such stream");
    }
}

static void controller_called(struct session *session, struct session_call *call)
{
    struct fake_node *node = session_data(session);
    struct fake *fake = node->fake;
    node->calls[call->method]++;
    if (node->silent) {
        CHECK(node->unanswered_count < FAKE_UNANSWERED);
        node->unanswered[node->unanswered_count++] = call;
    } else if (call->method == RPC_WATCH) {
        struct image image;
        make_image(fake, &image);
        node->watch = call;
        call->data = node;
        call->cancelled = watch_cancelled;
        assert_int_equal(
            session_reply_more(call, (struct session_payload){.body = &image.update.base}),
            STATUS_OK);
    } else if (node->id != fake->active) {
        session_reply_error(call, STATUS_NOT_ACTIVE, controller_names[fake->active - 1],
                            "I am not the active one");
    } else {
        take_active_call(node, call);
    }
}

/* ---- brokers ----------------------------------------------------------------------------------
 */

static void give_read(struct fake *fake, struct session_call *call, uint64_t offset)
{
    struct bytes pieces[FAKE_LOG_BATCHES];
    uint32_t count = 0;
    uint64_t next = offset;
    for (unsigned i = 0; i < fake->log_count; i++) {
        if (batch_end(&fake->header[i]) > offset) {
            pieces[count++] = buf_bytes(&fake->log[i]);
            next = batch_end(&fake->header[i]);
        }
    }
    Weir__ReadReply reply = WEIR__READ_REPLY__INIT;
    reply.next_offset = next;
    reply.commit = fake->end;
    session_reply(call, (struct session_payload){
                            .body = &reply.base, .pieces = pieces, .piece_count = count});
}

static void read_cancelled(struct session_call *call)
{
    struct fake *fake = call->data;
    fake->waiting_read = NULL;
    session_reply_error(call, STATUS_CANCELLED, NULL, "given up");
}

static void take_read(struct fake *fake, struct session_call *call)
{
    Weir__Read *read = weir__read__unpack(NULL, call->body.size, call->body.data);
    assert_non_null(read);
    uint64_t offset = read->offset;
    bool waits = read->wait_ms > 0;
    assert_true(read->shard == shard_id);
    weir__read__free_unpacked(read, NULL);
    if (offset < fake->log_start) {
        session_reply_error(call, STATUS_EXPIRED, NULL, "trimmed");
    } else if (offset >= fake->end && waits) {
        fake->waiting_read = call;
        fake->waiting_offset = offset;
        call->data = fake;
        call->cancelled = read_cancelled;
    } else {
        give_read(fake, call, offset);
    }
}

static void take_resolve(struct fake *fake, struct session_call *call)
{
    Weir__Resolve *resolve = weir__resolve__unpack(NULL, call->body.size, call->body.data);
    assert_non_null(resolve);
    fake->last_position_type = (int)resolve->type;
    fake->last_position_offset = resolve->offset;
    fake->last_position_ms = resolve->timestamp_ms;
    Weir__Position position = WEIR__POSITION__INIT;
    position.offset = resolve->type == WEIR__POSITION_TYPE__POSITION_LATEST      ? fake->end
                      : resolve->type == WEIR__POSITION_TYPE__POSITION_AT_OFFSET ? resolve->offset
                      : resolve->type == WEIR__POSITION_TYPE__POSITION_AFTER_OFFSET
                          ? resolve->offset + 1
                          : fake->log_start;
    weir__resolve__free_unpacked(resolve, NULL);
    answer(call, &position.base);
}

/* The stored batch of this producer epoch and sequence, or NULL. */
static const struct batch_header *stored(const struct fake *fake, const struct batch_header *h)
{
    for (unsigned i = 0; i < fake->log_count; i++) {
        const struct batch_header *there = &fake->header[i];
        if (there->producer_id == h->producer_id && there->producer_epoch == h->producer_epoch &&
            there->producer_seq == h->producer_seq) {
            return there;
        }
    }
    return NULL;
}

static const struct batch_header *store(struct fake *fake, struct bytes batch)
{
    CHECK(fake->log_count < FAKE_LOG_BATCHES);
    struct buf *at = &fake->log[fake->log_count];
    struct batch_header *h = &fake->header[fake->log_count++];
    CHECK(buf_append(at, batch.data, batch.size) == STATUS_OK);
    struct batch_slot slot = {.shard = shard_id,
                              .base_offset = fake->end,
                              .append_ms = 1700000000000 + fake->end,
                              .epoch = fake->epoch};
    batch_assign(at->data, &slot, h);
    fake->end = batch_end(h);
    return h;
}

static void wake_reader(struct fake *fake)
{
    struct session_call *read = fake->waiting_read;
    if (read != NULL) {
        fake->waiting_read = NULL;
        read->cancelled = NULL;
        give_read(fake, read, fake->waiting_offset);
    }
}

static void take_put(struct fake_node *node, struct session_call *call)
{
    struct fake *fake = node->fake;
    struct batch_header h;
    assert_int_equal(batch_decode(call->attachment, &h), STATUS_OK);
    assert_int_equal(
        batch_check_records(
            &h, bytes_of(call->attachment.data + BATCH_HEADER_BYTES, h.payload_bytes), NULL),
        STATUS_OK);
    if (fake->leader != node->id) {
        session_reply_error(call, STATUS_NOT_LEADER, broker_names[fake->leader - 1], "not me");
        return;
    }
    const struct batch_header *original = stored(fake, &h);
    const struct batch_header *there = original != NULL ? original : store(fake, call->attachment);
    if (node->drop_after_storing > 0) {
        node->drop_after_storing--;
        session_close(call->session, STATUS_CLOSING, "cut");
    }
    Weir__PutReply reply = WEIR__PUT_REPLY__INIT;
    reply.base_offset = there->base_offset;
    reply.append_ms = there->append_ms;
    reply.duplicate = original != NULL;
    answer(call, &reply.base);
    wake_reader(fake);
}

static void broker_called(struct session *session, struct session_call *call)
{
    struct fake_node *node = session_data(session);
    node->calls[call->method]++;
    if (node->refuse > 0) {
        node->refuse--;
        session_reply_error(call, node->refuse_with, NULL, "as the test wants it");
    } else if (node->swallow > 0) {
        node->swallow--;
        session_reply_error(call, STATUS_BUSY, NULL, "later");
    } else if (call->method == RPC_PUT) {
        take_put(node, call);
    } else if (call->method == RPC_READ) {
        take_read(node->fake, call);
    } else {
        assert_int_equal(call->method, RPC_RESOLVE);
        take_resolve(node->fake, call);
    }
}

static void ignore_closed(struct session *session, const struct error *why)
{
    struct fake_node *node = session_data(session);
    (void)why;
    node->watch = node->watch != NULL && node->watch->session == session ? NULL : node->watch;
}

static const struct session_handlers controller_handlers = {.called = controller_called,
                                                            .closed = ignore_closed};
static const struct session_handlers broker_handlers = {.called = broker_called,
                                                        .closed = ignore_closed};

/* ---- life -------------------------------------------------------------------------------------
 */

static void node_start(struct fake *fake, struct fake_node *node, const char *role, uint32_t id,
                       const struct session_handlers *node_handlers)
{
    char name[NODE_NAME_BYTES];
    struct error error;
    (void)snprintf(name, sizeof(name), "%s-%u", role, id);
    node->fake = fake;
    node->id = id;
    node->tls = certs_tls(&fake->certs, CLUSTER_ONE, role, name);
    struct session_options options = {
        .loop = fake->loop, .tls = node->tls, .boot = 1, .handlers = node_handlers, .data = node};
    assert_int_equal(net_listener_open(&options, "127.0.0.1", 0, 100, &node->listener, &error),
                     STATUS_OK);
    node->port = net_listener_port(node->listener);
}

void fake_start(struct fake *fake)
{
    *fake = (struct fake){.active = 2, .version = 10, .leader = 1, .epoch = FAKE_EPOCH};
    certs_init(&fake->certs);
    fake->loop = net_loop_new(NULL);
    for (uint32_t i = 0; i < FAKE_NODES; i++) {
        node_start(fake, &fake->controllers[i], "controller", i + 1, &controller_handlers);
        node_start(fake, &fake->brokers[i], "broker", i + 1, &broker_handlers);
    }
    fake->client_tls = certs_tls(&fake->certs, CLUSTER_ONE, "user", "app");
    char bootstrap[64];
    char ca[CERTS_PATH_BYTES + 16];
    char cert[CERTS_PATH_BYTES + 16];
    char key[CERTS_PATH_BYTES + 16];
    (void)snprintf(bootstrap, sizeof(bootstrap), "127.0.0.1:%u", fake->controllers[0].port);
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", fake->certs.dir);
    (void)snprintf(cert, sizeof(cert), "%s/app.pem", fake->certs.dir);
    (void)snprintf(key, sizeof(key), "%s/app.key", fake->certs.dir);
    struct weir_options options = {.bootstrap = bootstrap,
                                   .ca_file = ca,
                                   .cert_file = cert,
                                   .key_file = key,
                                   .loop = net_loop_uv(fake->loop)};
    struct weir_error error;
    assert_int_equal(weir_client_open(&options, &fake->client, &error), WEIR_OK);
}

void fake_stop(struct fake *fake)
{
    weir_client_close(fake->client);
    for (unsigned i = 0; i < FAKE_NODES; i++) {
        for (unsigned j = 0; j < fake->controllers[i].unanswered_count; j++) {
            session_reply_error(fake->controllers[i].unanswered[j], STATUS_CLOSING, NULL, "end");
        }
        net_listener_close(fake->controllers[i].listener);
        net_listener_close(fake->brokers[i].listener);
    }
    net_loop_free(fake->loop);
    for (unsigned i = 0; i < FAKE_NODES; i++) {
        net_tls_close(fake->controllers[i].tls);
        net_tls_close(fake->brokers[i].tls);
    }
    net_tls_close(fake->client_tls);
    for (unsigned i = 0; i < fake->log_count; i++) {
        buf_release(&fake->log[i]);
    }
    certs_release(&fake->certs);
}

void fake_lead(struct fake *fake, uint32_t broker)
{
    fake->leader = broker;
    fake->epoch++;
    fake_tell(fake);
}

static void cut_session(struct session *session, void *context)
{
    (void)context;
    session_close(session, STATUS_CLOSING, "cut by the test");
}

void fake_cut(struct fake_node *node)
{
    net_listener_each(node->listener, cut_session, NULL);
}

struct clock {
    uv_timer_t timer; /* ticks, so that a flag set just before the loop sleeps is seen */
    unsigned ms_left;
    bool closed;
};

static void tick(uv_timer_t *timer)
{
    struct clock *clock = CONTAINER_OF(timer, struct clock, timer);
    clock->ms_left -= clock->ms_left > 0;
}

static void clock_closed(uv_handle_t *handle)
{
    CONTAINER_OF((uv_timer_t *)handle, struct clock, timer)->closed = true;
}

/* Runs until *flag, or for `ms`. */
static bool run(struct fake *fake, const bool *flag, unsigned ms)
{
    struct clock clock = {.ms_left = ms};
    struct uv_loop_s *loop = net_loop_uv(fake->loop);
    CHECK(uv_timer_init(loop, &clock.timer) == 0);
    CHECK(uv_timer_start(&clock.timer, tick, 1, 1) == 0);
    while (clock.ms_left > 0 && (flag == NULL || !*flag)) {
        (void)uv_run(loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&clock.timer, clock_closed);
    while (!clock.closed) {
        (void)uv_run(loop, UV_RUN_NOWAIT);
    }
    return flag != NULL && *flag;
}

void fake_until(struct fake *fake, const bool *flag)
{
    assert_true(run(fake, flag, WAIT_MS));
}

void fake_run_ms(struct fake *fake, unsigned ms)
{
    (void)run(fake, NULL, ms);
}
