#include "tests/unit/controller/rpc/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/check.h"
#include "proto/schema/control.pb-c.h"
#include "proto/schema/metadata.pb-c.h"

enum { LIMIT_MS = 60000, BEAT_MS = 20 };

void rig_until(struct rig *rig, bool (*what)(struct rig *rig))
{
    uint64_t end = 0;
    while (!what(rig)) {
        (void)uv_run(net_loop_uv(rig->loop), UV_RUN_NOWAIT);
        end = end == 0 ? net_now_ms(rig->loop) + LIMIT_MS : end;
        assert_true(net_now_ms(rig->loop) < end);
        (void)usleep(500);
    }
}

void rig_run_ms(struct rig *rig, uint64_t ms)
{
    (void)uv_run(net_loop_uv(rig->loop), UV_RUN_NOWAIT);
    uint64_t end = net_now_ms(rig->loop) + ms;
    while (net_now_ms(rig->loop) < end) {
        (void)uv_run(net_loop_uv(rig->loop), UV_RUN_NOWAIT);
        (void)usleep(500);
    }
}

/* ---- brokers
 * --------------------------------------------------------------------------------------- */

static void send_message(struct rig_broker *b, enum rpc_method method, const ProtobufCMessage *body)
{
    assert_int_equal(session_send(b->session, method, (struct session_payload){.body = body}),
                     STATUS_OK);
}

static void beat(struct net_timer *timer)
{
    struct rig_broker *b = CONTAINER_OF(timer, struct rig_broker, beat);
    if (b->session == NULL) {
        return;
    }
    if (!b->mute) {
        static char state[] = "ok";
        Weir__BrokerBeat message;
        weir__broker_beat__init(&message);
        message.boot = b->boot;
        message.n_reset = b->reset == 0 ? 0 : 1;
        message.reset = &b->reset;
        message.disk_state = state;
        message.replicas = 7;
        send_message(b, RPC_BROKER_BEAT, &message.base);
    }
    assert_int_equal(
        net_timer_start(b->rig->loop, timer, net_now_ms(b->rig->loop) + b->rig->beat_ms, beat),
        STATUS_OK);
}

/* An empty log, promised. */
static void answer_fence(struct rig_broker *b, const Weir__Fence *fence)
{
    if (b->mute_fences) {
        return;
    }
    for (size_t i = 0; i < fence->n_shards; i++) {
        const Weir__FenceShard *in = fence->shards[i];
        assert_int_equal(in->replica->broker, b->id);
        assert_int_equal(in->replica->disk_gen, b->disk_gen);
        assert_int_equal(in->config->n_voters, REPLICAS_PER_SHARD);
        b->fresh += in->fresh ? 1 : 0;
        Weir__ReportShard shard = WEIR__REPORT_SHARD__INIT;
        shard.shard = in->shard;
        shard.epoch = shard.promised = in->epoch;
        shard.ok = shard.certain = true;
        shard.replica = in->replica;
        Weir__ReportShard *shards[] = {&shard};
        Weir__FenceReport report = WEIR__FENCE_REPORT__INIT;
        report.boot = b->boot;
        report.n_shards = 1;
        report.shards = shards;
        send_message(b, RPC_FENCE_REPORT, &report.base);
    }
}

static void answer_grant(struct rig_broker *b, const Weir__Grant *grant)
{
    for (size_t i = 0; i < grant->n_shards; i++) {
        assert_int_equal(grant->shards[i]->boot, b->boot);
        Weir__LeadingShard shard = WEIR__LEADING_SHARD__INIT;
        shard.shard = grant->shards[i]->shard;
        shard.epoch = grant->shards[i]->epoch;
        Weir__LeadingShard *shards[] = {&shard};
        Weir__Leading leading = WEIR__LEADING__INIT;
        leading.boot = b->boot;
        leading.n_shards = 1;
        leading.shards = shards;
        send_message(b, RPC_LEADING, &leading.base);
    }
}

static void on_messaged(struct session *session, enum rpc_method method, struct bytes body,
                        struct bytes attachment)
{
    struct rig_broker *b = session_data(session);
    (void)attachment;
    if (b->mute) {
        return;
    }
    if (method == RPC_FENCE) {
        Weir__Fence *fence = weir__fence__unpack(NULL, body.size, body.data);
        b->fences++;
        answer_fence(b, fence);
        weir__fence__free_unpacked(fence, NULL);
    } else if (method == RPC_GRANT) {
        Weir__Grant *grant = weir__grant__unpack(NULL, body.size, body.data);
        b->grants++;
        answer_grant(b, grant);
        weir__grant__free_unpacked(grant, NULL);
    } else {
        assert_int_equal(method, RPC_DROP_SHARDS);
        Weir__DropShards *drop = weir__drop_shards__unpack(NULL, body.size, body.data);
        b->drops++;
        Weir__ShardsDropped dropped = WEIR__SHARDS_DROPPED__INIT;
        dropped.n_shards = drop->n_shards;
        dropped.shards = drop->shards;
        if (!b->keep_drops) {
            send_message(b, RPC_SHARDS_DROPPED, &dropped.base);
        }
        weir__drop_shards__free_unpacked(drop, NULL);
    }
}

static void on_called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "no");
}

static void broker_opened(struct session *session)
{
    struct rig_broker *b = session_data(session);
    b->session = session;
}

static void broker_closed(struct session *session, const struct error *why)
{
    struct rig_broker *b = session_data(session);
    if (b->session == session) {
        b->session = NULL;
        net_timer_stop(b->rig->loop, &b->beat);
    }
    b->why = why->status;
}

static const struct session_handlers broker_handlers = {.opened = broker_opened,
                                                        .called = on_called,
                                                        .messaged = on_messaged,
                                                        .closed = broker_closed};

static bool brokers_are_connected(struct rig *rig)
{
    for (uint32_t id = 1; id <= RIG_BROKERS; id++) {
        if (rig->broker[id].boot != 0 && rig->broker[id].session == NULL) {
            return false;
        }
    }
    return true;
}

void rig_broker_connect(struct rig *rig, uint32_t id, uint64_t boot)
{
    struct rig_broker *b = &rig->broker[id];
    char name[NODE_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "broker-%u", id);
    b->rig = rig;
    b->id = id;
    b->boot = boot;
    b->mute = false;
    b->reset = 0;
    if (b->tls == NULL) {
        b->tls = certs_tls(&rig->certs, CLUSTER_ONE, "broker", name);
    }
    const struct session_options options = {
        .loop = rig->loop, .tls = b->tls, .boot = boot, .handlers = &broker_handlers, .data = b};
    assert_non_null(session_dial(&options, "127.0.0.1", rig->port, RPC_ROLE_CONTROLLER, rig->id));
    rig_until(rig, brokers_are_connected);
}

void rig_broker_up(struct rig *rig, uint32_t id, uint64_t boot)
{
    static char zones[][2] = {"", "a", "b", "c", "d"};
    static char host[] = "127.0.0.1";
    uint8_t disk[16] = {(uint8_t)id}, process[16] = {(uint8_t)boot, 1};
    rig_broker_connect(rig, id, boot);
    struct rig_broker *b = &rig->broker[id];
    Weir__Address address;
    weir__address__init(&address);
    address.host = host;
    address.port = 9000 + id;
    Weir__RegisterBroker message;
    weir__register_broker__init(&message);
    message.broker = id;
    message.boot = boot;
    message.disk = (ProtobufCBinaryData){.data = disk, .len = 16};
    message.process = (ProtobufCBinaryData){.data = process, .len = 16};
    message.zone = zones[id];
    message.address = &address;
    b->disk_gen = 1;
    assert_int_equal(rig_call_on(rig, b->session, RPC_REGISTER_BROKER, &message.base), STATUS_OK);
    Weir__RegisterBrokerReply *reply =
        weir__register_broker_reply__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_non_null(reply);
    assert_int_equal(reply->disk_gen, 1);
    assert_true(rig->controller == NULL || reply->beat_every_ms == BEAT_MS);
    rig->beat_ms = reply->beat_every_ms;
    weir__register_broker_reply__free_unpacked(reply, NULL);
    beat(&b->beat);
}

void rig_broker_close(struct rig *rig, uint32_t id)
{
    struct rig_broker *b = &rig->broker[id];
    net_timer_stop(rig->loop, &b->beat);
    b->boot = 0;
    session_close(b->session, STATUS_CLOSING, "the test ends it");
    b->session = NULL;
}

/* ---- calls
 * ----------------------------------------------------------------------------------------- */

static void on_reply(struct session_request *request, const struct session_reply *reply)
{
    struct rig *rig = CONTAINER_OF(request, struct rig, request);
    struct rig_reply *r = &rig->reply;
    r->status = reply->status;
    r->parts++;
    r->done = !reply->more;
    (void)snprintf(r->text, sizeof(r->text), "%s",
                   reply->status == STATUS_OK ? "" : reply->error.text);
    (void)snprintf(r->hint, sizeof(r->hint), "%s", reply->hint == NULL ? "" : reply->hint);
    assert_true(reply->body.size <= sizeof(r->body));
    if (reply->body.size > 0) {
        memcpy(r->body, reply->body.data, reply->body.size);
    }
    r->size = reply->body.size;
}

static bool is_done(struct rig *rig)
{
    return rig->reply.done;
}

enum status rig_call_on(struct rig *rig, struct session *session, enum rpc_method method,
                        const ProtobufCMessage *body)
{
    rig->reply.done = false;
    rig->reply.parts = 0;
    assert_int_equal(session_call(session, method, (struct session_payload){.body = body}, 5000,
                                  &rig->request, on_reply),
                     STATUS_OK);
    rig_until(rig, is_done);
    return rig->reply.status;
}

enum status rig_call(struct rig *rig, enum rpc_method method, const ProtobufCMessage *body)
{
    return rig_call_on(rig, rig->user, method, body);
}

/* ---- life
 * ------------------------------------------------------------------------------------------ */

static void user_opened(struct session *session)
{
    ((struct rig *)session_data(session))->user_open = true;
}

static void user_closed(struct session *session, const struct error *why)
{
    (void)why;
    ((struct rig *)session_data(session))->user_open = false;
}

static const struct session_handlers user_handlers = {.opened = user_opened,
                                                      .called = on_called,
                                                      .closed = user_closed};

static bool user_is_open(struct rig *rig)
{
    return rig->user_open;
}

static bool user_is_closed(struct rig *rig)
{
    return !rig->user_open;
}

static bool is_active(struct rig *rig)
{
    return controller_is_active(rig->controller);
}

static void on_failed(void *data, int exit_code, const struct error *why)
{
    (void)data;
    print_message("the controller failed: %s (%d)\n", why->text, exit_code);
    abort();
}

/* A port that nobody uses at the moment. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(close(fd), 0);
    return ntohs(address.sin_port);
}

void rig_meet(struct rig *rig)
{
    const struct session_options user = {
        .loop = rig->loop, .tls = rig->user_tls, .handlers = &user_handlers, .data = rig};
    rig->user = session_dial(&user, "127.0.0.1", rig->port, RPC_ROLE_CONTROLLER, rig->id);
    rig_until(rig, user_is_open);
}

static void start(struct rig *rig)
{
    rig->id = 1;
    struct raft_node_server self = {.id = 1, .host = "127.0.0.1", .port = rig->port};
    rig->loop = net_loop_new(NULL);
    const struct controller_options options = {
        .loop = rig->loop,
        .tls = rig->tls,
        .boot = 1,
        .id = 1,
        .dir = rig->dir,
        .host = "127.0.0.1",
        .port = rig->port,
        .servers = &self,
        .server_count = 1,
        .beat_every_ms = BEAT_MS,
        .broker_timeout_ms = 1000,
        .session_grace_ms = 200,
        .failed = on_failed,
        .data = rig,
    };
    struct error error = {0};
    rig->controller = controller_new(&options);
    assert_non_null(rig->controller);
    enum status status = controller_open(rig->controller, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, STATUS_OK);
    rig_until(rig, is_active);
    rig_meet(rig);
}

void rig_part(struct rig *rig)
{
    for (uint32_t id = 1; id <= RIG_BROKERS; id++) {
        if (rig->broker[id].session != NULL) {
            rig_broker_close(rig, id);
        }
    }
    session_close(rig->user, STATUS_CLOSING, "the test ends");
    rig_until(rig, user_is_closed);
    rig_run_ms(rig, 20);
}

static void stop(struct rig *rig)
{
    rig_part(rig);
    controller_close(rig->controller);
    net_loop_free(rig->loop);
    controller_free(rig->controller);
}

void rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    (void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/weir-rig-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    certs_init(&rig->certs);
    rig->tls = certs_tls(&rig->certs, CLUSTER_ONE, "controller", "controller-1");
    rig->user_tls = certs_tls(&rig->certs, CLUSTER_ONE, "admin", "admin");
    rig->port = free_port();
    start(rig);
}

void rig_restart(struct rig *rig)
{
    stop(rig);
    start(rig);
}

void rig_close(struct rig *rig)
{
    stop(rig);
    net_tls_close(rig->tls);
    net_tls_close(rig->user_tls);
    for (uint32_t id = 1; id <= RIG_BROKERS; id++) {
        net_tls_close(rig->broker[id].tls);
    }
    certs_release(&rig->certs);
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
    assert_int_equal(system(command), 0);
}
