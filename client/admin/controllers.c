/* Changes of the controllers' set, and backups. */
#include <weir/controllers.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "client/admin/admin.h"
#include "proto/schema/life.pb-c.h"

enum { HASH_BYTES = 32 };

/* One call, and the thread that waits for it. */
struct life_job {
    struct admin_job *job;
    enum rpc_method method;
    const ProtobufCMessage *body;
    bool is_change;
    struct waiter waiter;
    struct buf reply;
};

static void finish(struct life_job *l, enum status status, const char *text)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    free(l->job);
    waiter_wake(&l->waiter, NULL, &error); /* `l` may be gone */
}

static void answered(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct life_job *l = CONTAINER_OF(call, struct admin_job, call)->context;
    if (reply->status == STATUS_OK &&
        buf_append(&l->reply, reply->body.data, reply->body.size) != STATUS_OK) {
        finish(l, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    finish(l, reply->status, reply->text);
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct life_job *l = job->context;
    enum status status = cluster_call(job->client->cluster, &job->call, l->method, l->body,
                                      l->is_change, admin_left_ms(job->deadline_ms), answered);
    if (status != STATUS_OK) {
        finish(l, status, status_text(status));
    }
}

/* The reply is the caller's. */
static enum weir_status call_and_wait(struct weir_client *client, enum rpc_method method,
                                      const ProtobufCMessage *body, bool is_change,
                                      uint32_t timeout_ms, struct buf *out,
                                      struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct life_job l = {.method = method, .body = body, .is_change = is_change};
    struct error why = {0};
    waiter_init(&l.waiter);
    enum status begun = admin_job_new(client, NULL, timeout_ms, &l.job, &why);
    if (begun == STATUS_OK) {
        l.job->context = &l;
        l.job->mail.run = ask;
        net_mailbox_send(client->mailbox, &l.job->mail);
    }
    enum weir_status status = waiter_wait_begun(&l.waiter, begun, &why, NULL, error);
    if (status == WEIR_OK) {
        *out = l.reply;
    } else {
        buf_release(&l.reply);
    }
    return status;
}

enum weir_status weir_controller_change(struct weir_client *client,
                                        const struct weir_controller_change *change,
                                        uint32_t timeout_ms, struct weir_error *error)
{
    char host[HOST_BYTES] = "";
    Weir__ControllerControl message;
    Weir__Address address;
    struct buf reply = {0};
    if (change->host != NULL && strlen(change->host) >= sizeof(host)) {
        return handle_error(error, STATUS_INVALID, "the host's name is too long");
    }
    weir__controller_control__init(&message);
    weir__address__init(&address);
    (void)snprintf(host, sizeof(host), "%s", change->host == NULL ? "" : change->host);
    address.host = host;
    address.port = change->port;
    message.action = (Weir__ControllerControl__Action)change->action;
    message.id = change->id;
    message.address = change->host == NULL ? NULL : &address;
    message.force = change->force;
    enum weir_status status = call_and_wait(client, RPC_CONTROLLER_CONTROL, &message.base, true,
                                            timeout_ms, &reply, error);
    buf_release(&reply);
    return status;
}

/* ---- backups
 * ------------------------------------------------------------------------------------------ */

struct fetch {
    struct weir_client *client;
    bool (*write)(const void *data, size_t size, void *context);
    void *context;
    uint32_t timeout_ms;
    EVP_MD_CTX *digest;
    uint64_t copy, offset, bytes, head;
    uint8_t hash[HASH_BYTES];
    struct weir_backup result;
};

static enum weir_status malformed(struct weir_error *error)
{
    return handle_error(error, STATUS_INTERNAL, "the controller's answer is malformed");
}

static enum weir_status take_piece(struct fetch *f, const Weir__Backup *piece,
                                   struct weir_error *error)
{
    if (f->offset == 0) {
        if (piece->copy == 0 || piece->hash.len != HASH_BYTES ||
            piece->bytes <= piece->head_bytes || piece->data.len < piece->head_bytes) {
            return malformed(error);
        }
        f->copy = piece->copy;
        f->bytes = piece->bytes;
        f->head = piece->head_bytes;
        memcpy(f->hash, piece->hash.data, HASH_BYTES);
        f->result = (struct weir_backup){
            .bytes = piece->bytes, .index = piece->index, .time_ms = piece->time_ms};
    }
    if (piece->copy != f->copy || piece->data.len == 0 || piece->data.len > f->bytes - f->offset) {
        return malformed(error);
    }
    size_t skip = f->offset == 0 ? (size_t)f->head : 0;
    if (EVP_DigestUpdate(f->digest, piece->data.data + skip, piece->data.len - skip) != 1) {
        return handle_error(error, STATUS_INTERNAL, "SHA-256 failed");
    }
    if (!f->write(piece->data.data, piece->data.len, f->context)) {
        return handle_error(error, STATUS_CANCELLED, "the copy was not taken");
    }
    f->offset += piece->data.len;
    return WEIR_OK;
}

static enum weir_status fetch_piece(struct fetch *f, struct weir_error *error)
{
    Weir__GetBackup message;
    struct buf reply = {0};
    weir__get_backup__init(&message);
    message.copy = f->copy;
    message.offset = f->offset;
    enum weir_status status =
        call_and_wait(f->client, RPC_BACKUP, &message.base, true, f->timeout_ms, &reply, error);
    if (status != WEIR_OK) {
        return status;
    }
    Weir__Backup *piece = weir__backup__unpack(NULL, reply.size, reply.data);
    status = piece == NULL ? malformed(error) : take_piece(f, piece, error);
    weir__backup__free_unpacked(piece, NULL);
    buf_release(&reply);
    return status;
}

static enum weir_status check_hash(const struct fetch *f, struct weir_error *error)
{
    uint8_t hash[HASH_BYTES];
    if (EVP_DigestFinal_ex(f->digest, hash, NULL) != 1) {
        return handle_error(error, STATUS_INTERNAL, "SHA-256 failed");
    }
    return memcmp(hash, f->hash, HASH_BYTES) == 0
               ? WEIR_OK
               : handle_error(error, STATUS_CORRUPT, "the copy is damaged: ask for another one");
}

enum weir_status weir_controllers_backup(
    struct weir_client *client, bool (*write)(const void *data, size_t size, void *context),
    void *context, uint32_t timeout_ms, struct weir_backup *out, struct weir_error *error)
{
    struct fetch f = {
        .client = client, .write = write, .context = context, .timeout_ms = timeout_ms};
    f.digest = EVP_MD_CTX_new();
    if (f.digest == NULL || EVP_DigestInit_ex(f.digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(f.digest);
        return handle_error(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum weir_status status = WEIR_OK;
    do {
        status = fetch_piece(&f, error);
    } while (status == WEIR_OK && f.offset < f.bytes);
    if (status == WEIR_OK) {
        status = check_hash(&f, error);
    }
    EVP_MD_CTX_free(f.digest);
    if (status == WEIR_OK) {
        *out = f.result;
    }
    return status;
}
