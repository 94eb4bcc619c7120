/* Who is on the other side: its certificate, then its HELLO. The dialler calls, the listener
 * verifies and answers with its own; each refuses with a reason that the other can read. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/net/session.h"
#include "proto/schema/common.pb-c.h"

static bool same_cluster(const struct session *session, const uint8_t *cluster)
{
    const struct rpc_identity *own = net_tls_identity(session->options.tls);
    return memcmp(own->cluster, cluster, CLUSTER_ID_BYTES) == 0;
}

/* The certificate of the other side, whose chain OpenSSL has verified. */
static enum status check_certificate(struct session *session, struct error *error)
{
    X509 *certificate = SSL_get1_peer_certificate(session->conn.ssl);
    if (certificate == NULL) {
        return error_set(error, STATUS_DENIED, "it showed no certificate");
    }
    struct rpc_identity peer;
    struct error why;
    enum status status = tls_identity_of(certificate, &peer, &why);
    X509_free(certificate);
    if (status != STATUS_OK) {
        return error_set(error, STATUS_WRONG_IDENTITY, "%s", why.text);
    }
    session->peer = peer;
    if (!same_cluster(session, peer.cluster)) {
        return error_set(error, STATUS_WRONG_CLUSTER,
                         "its certificate is of another cluster than ours");
    }
    bool is_wanted =
        session->want_role == 0 ||
        (peer.role == session->want_role && (session->want_id == 0 || peer.id == session->want_id));
    if (!is_wanted) {
        return error_set(error, STATUS_WRONG_IDENTITY, "we expected %s%s%.0u there",
                         rpc_role_name(session->want_role), session->want_id == 0 ? "" : "-",
                         session->want_id);
    }
    return STATUS_OK;
}

static enum status check_hello(const struct session *session, const Weir__Hello *hello,
                               struct error *error)
{
    if (hello->cluster.len != CLUSTER_ID_BYTES || !same_cluster(session, hello->cluster.data)) {
        return error_set(error, STATUS_WRONG_CLUSTER, "its HELLO is of another cluster than ours");
    }
    if (strcmp(hello->name, session->peer.name) != 0) {
        return error_set(error, STATUS_WRONG_IDENTITY,
                         "its HELLO says \"%.63s\", its certificate \"%s\"", hello->name,
                         session->peer.name);
    }
    /* The newest that both know counts. A release speaks its own and the one before, so that the
     * processes of a cluster may be upgraded one after another. */
    if (hello->protocol_min > PROTOCOL_VERSION || hello->protocol_max < PROTOCOL_VERSION_MIN) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "it is %.40s and speaks protocol versions %u to %u, we speak %d to %d: "
                         "upgrade by one release at a time",
                         hello->software, hello->protocol_min, hello->protocol_max,
                         PROTOCOL_VERSION_MIN, PROTOCOL_VERSION);
    }
    return STATUS_OK;
}

static void keep_hello(struct session *session, const Weir__Hello *hello)
{
    session->peer.boot = hello->boot;
    session->protocol =
        hello->protocol_max < PROTOCOL_VERSION ? hello->protocol_max : PROTOCOL_VERSION;
    session->commands = hello->commands == 0 ? OLDEST_COMMAND : hello->commands;
    (void)snprintf(session->software, sizeof(session->software), "%s", hello->software);
}

const char *session_software(const struct session *session)
{
    return session->software;
}

uint32_t session_protocol(const struct session *session)
{
    return session->protocol;
}

uint32_t session_commands(const struct session *session)
{
    return session->commands;
}

/* What a HELLO of ours points to: protobuf-c has no const. */
struct hello_fields {
    uint8_t cluster[CLUSTER_ID_BYTES];
    char name[NODE_NAME_BYTES];
    char software[SOFTWARE_BYTES];
};

static void fill_hello(const struct session *session, struct hello_fields *fields, Weir__Hello *out)
{
    const struct rpc_identity *own = net_tls_identity(session->options.tls);
    memcpy(fields->cluster, own->cluster, CLUSTER_ID_BYTES);
    memcpy(fields->name, own->name, NODE_NAME_BYTES);
    (void)snprintf(fields->software, SOFTWARE_BYTES, "%s", WEIR_SOFTWARE);
    weir__hello__init(out);
    out->cluster.data = fields->cluster;
    out->cluster.len = CLUSTER_ID_BYTES;
    out->name = fields->name;
    out->boot = session->options.boot;
    out->protocol_min = PROTOCOL_VERSION_MIN;
    out->protocol_max = PROTOCOL_VERSION;
    out->software = fields->software;
    out->commands = own->role == RPC_ROLE_CONTROLLER ? FORMAT_COMMAND : 0;
}

void session_opened(struct session *session)
{
    session->state = SESSION_OPEN;
    net_timer_stop(session->options.loop, &session->deadline);
    if (session->link != NULL) {
        link_session_opened(session->link, session);
    }
    if (session->options.handlers->opened != NULL) {
        session->options.handlers->opened(session);
    }
}

/* ---- the dialler's side ---- */

static void refuse_other(struct session *session, const struct error *why)
{
    char label[SESSION_LABEL_BYTES];
    session_label(session, label);
    session_refuse(session, why->status, "%.160s: %s", label, why->text);
}

static void on_hello_reply(struct session_request *request, const struct session_reply *reply)
{
    struct session *session = request->session;
    if (session->state != SESSION_HELLO) {
        return;
    }
    if (reply->status != STATUS_OK) {
        session_refuse(session, reply->status, "%s refuses us: %s", session->conn.address,
                       reply->error.text);
        return;
    }
    struct error why;
    Weir__Hello *hello = weir__hello__unpack(NULL, reply->body.size, reply->body.data);
    if (hello == NULL) {
        (void)error_set(&why, STATUS_CORRUPT, "its HELLO cannot be decoded");
        refuse_other(session, &why);
        return;
    }
    enum status status = check_hello(session, hello, &why);
    keep_hello(session, hello);
    weir__hello__free_unpacked(hello, NULL);
    if (status != STATUS_OK) {
        refuse_other(session, &why);
        return;
    }
    session_opened(session);
}

static void say_hello(struct session *session)
{
    struct hello_fields fields;
    Weir__Hello hello;
    fill_hello(session, &fields, &hello);
    enum status status =
        session_put_call(session, RPC_HELLO, (struct session_payload){.body = &hello.base}, 0,
                         &session->hello, on_hello_reply);
    if (status != STATUS_OK) {
        session_close(session, status, "out of memory for the HELLO");
    }
}

void session_established(struct conn *conn)
{
    struct session *session = CONTAINER_OF(conn, struct session, conn);
    session->state = SESSION_HELLO;
    struct error why;
    /* A listener has no reply to give its reason in before the HELLO has come. */
    if (conn->is_dialer) {
        if (check_certificate(session, &why) != STATUS_OK) {
            refuse_other(session, &why);
            return;
        }
        say_hello(session);
    }
}

/* ---- the listener's side ---- */

static enum status verify_hello(struct session *session, struct bytes body, struct error *why)
{
    enum status status = check_certificate(session, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (rpc_method_check(RPC_HELLO, RPC_CALL, session->peer.role,
                         net_tls_identity(session->options.tls)->role) != STATUS_OK) {
        return error_set(why, STATUS_DENIED, "a %s may not connect here",
                         rpc_role_name(session->peer.role));
    }
    Weir__Hello *hello = weir__hello__unpack(NULL, body.size, body.data);
    if (hello == NULL) {
        return error_set(why, STATUS_CORRUPT, "its HELLO cannot be decoded");
    }
    status = check_hello(session, hello, why);
    keep_hello(session, hello);
    weir__hello__free_unpacked(hello, NULL);
    return status;
}

void session_on_hello(struct session *session, const struct frame_header *h, struct bytes body)
{
    struct error why;
    enum status status = verify_hello(session, body, &why);
    if (status != STATUS_OK) {
        session_put_error(session, h->call, RPC_HELLO, status, NULL, why.text);
        refuse_other(session, &why);
        return;
    }
    struct hello_fields fields;
    Weir__Hello hello;
    fill_hello(session, &fields, &hello);
    struct frame_header reply = {.kind = FRAME_REPLY, .call = h->call, .method = RPC_HELLO};
    status = session_put_frame(session, &reply, (struct session_payload){.body = &hello.base});
    if (status != STATUS_OK) {
        session_close(session, status, "out of memory for the HELLO");
        return;
    }
    session_opened(session);
}
