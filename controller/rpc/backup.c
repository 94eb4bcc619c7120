/* BACKUP: a consistent copy of the state, made on another thread and fetched in pieces. The active
 * controller makes it, so that everything that was acknowledged before is in it. One copy is kept
 * at a time, in the file backup.db, until it was fetched, another one is made, or we end. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/backup/backup.h"
#include "controller/rpc/internal.h"
#include "proto/schema/life.pb-c.h"

enum { PIECE_BYTES = 256 * 1024, BACKUP_PATH_BYTES = 4096 };

struct backup_copy {
    uv_work_t work;
    struct controller *controller;
    struct session_call *call; /* waits for it */
    char state[BACKUP_PATH_BYTES], path[BACKUP_PATH_BYTES];
    bool under_way;
    uint64_t number;
    struct backup_head head;
    struct error error;
};

static void copy_run(uv_work_t *work)
{
    struct backup_copy *copy = CONTAINER_OF(work, struct backup_copy, work);
    if (db_copy(copy->state, copy->path, &copy->head.index, &copy->error) != STATUS_OK) {
        return;
    }
    AUTO(close_fd) int fd = open(copy->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        status_ignore(error_set(&copy->error, STATUS_IO, "%s: cannot be read", copy->path),
                      "copy_done() looks at it");
        return;
    }
    status_ignore(backup_measure(fd, -1, &copy->head.bytes, copy->head.hash, &copy->error),
                  "copy_done() looks at it");
}

static void copy_free(struct backup_copy *copy)
{
    (void)unlink(copy->path);
    free(copy);
}

/* False: it cannot be read. */
static bool read_piece(const struct backup_copy *copy, uint64_t offset, uint8_t *out, size_t *size)
{
    char head[BACKUP_HEAD_BYTES];
    size_t room = *size, done = 0;
    if (offset < BACKUP_HEAD_BYTES) {
        backup_head_write(&copy->head, head);
        done = BACKUP_HEAD_BYTES - (size_t)offset;
        done = done < room ? done : room;
        memcpy(out, head + offset, done);
    }
    uint64_t left = BACKUP_HEAD_BYTES + copy->head.bytes - offset;
    size_t wanted = left < room ? (size_t)left : room;
    AUTO(close_fd) int fd = open(copy->path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && done < wanted) {
        ssize_t got =
            pread(fd, out + done, wanted - done, (off_t)(offset + done - BACKUP_HEAD_BYTES));
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    *size = wanted;
    return fd >= 0;
}

static void reply_piece(const struct backup_copy *copy, struct session_call *call, uint64_t offset)
{
    AUTO(free_pointer) uint8_t *piece = malloc(PIECE_BYTES);
    uint8_t hash[BACKUP_HASH_BYTES];
    size_t size = PIECE_BYTES;
    if (piece == NULL || !read_piece(copy, offset, piece, &size)) {
        session_reply_error(call, STATUS_IO, NULL, "%s cannot be read", copy->path);
        return;
    }
    memcpy(hash, copy->head.hash, sizeof(hash)); /* protobuf-c has no const */
    Weir__Backup reply;
    weir__backup__init(&reply);
    reply.copy = copy->number;
    reply.bytes = BACKUP_HEAD_BYTES + copy->head.bytes;
    reply.head_bytes = BACKUP_HEAD_BYTES;
    reply.hash = (ProtobufCBinaryData){.data = hash, .len = sizeof(hash)};
    reply.index = copy->head.index;
    reply.time_ms = copy->head.time_ms;
    reply.data = (ProtobufCBinaryData){.data = piece, .len = size};
    reply_message(call, &reply.base);
}

static void copy_done(uv_work_t *work, int code)
{
    (void)code;
    struct backup_copy *copy = CONTAINER_OF(work, struct backup_copy, work);
    struct controller *c = copy->controller;
    struct session_call *call = copy->call;
    copy->under_way = false;
    copy->call = NULL;
    if (copy->error.status == STATUS_OK) {
        trace(TRACE_INFO, "backup", "a copy of the state after entry %llu, %llu bytes",
              (unsigned long long)copy->head.index, (unsigned long long)copy->head.bytes);
        reply_piece(copy, call, 0);
        return;
    }
    trace(TRACE_ERROR, "backup", "%s", copy->error.text);
    session_reply_error(call, copy->error.status, NULL, "%s", copy->error.text);
    c->backup = NULL;
    copy_free(copy);
}

static void copy_start(struct controller *c, struct session_call *call)
{
    if (c->backup != NULL && c->backup->under_way) {
        session_reply_error(call, STATUS_BUSY, NULL, "another backup is being made");
        return;
    }
    struct backup_copy *copy = calloc(1, sizeof(*copy));
    if (copy == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    uint64_t before = c->backup == NULL ? c->options.boot << 20 : c->backup->number;
    if (c->backup != NULL) {
        copy_free(c->backup);
        c->backup = NULL;
    }
    copy->controller = c;
    copy->call = call;
    copy->number = before + 1;
    copy->head.term = raft_node_term(c->raft);
    copy->head.time_ms = net_wall_ms();
    memcpy(copy->head.cluster, c->cluster, CLUSTER_ID_BYTES);
    (void)snprintf(copy->head.software, sizeof(copy->head.software), "%s", WEIR_SOFTWARE);
    (void)snprintf(copy->state, sizeof(copy->state), "%s", c->state_path);
    (void)snprintf(copy->path, sizeof(copy->path), "%s/backup.db", c->options.dir);
    if (uv_queue_work(net_loop_uv(c->options.loop), &copy->work, copy_run, copy_done) != 0) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "no thread could be started");
        copy_free(copy);
        return;
    }
    copy->under_way = true;
    c->backup = copy;
}

static void barrier_passed(struct raft_node_request *request, enum status status)
{
    struct backup_call *b = CONTAINER_OF(request, struct backup_call, request);
    struct controller *c = b->controller;
    if (status == STATUS_OK && !c->closing) {
        copy_start(c, b->call);
    } else {
        reply_not_active(c, b->call);
    }
    free(b);
}

/* What was acknowledged anywhere before must be in it. */
static void begin(struct controller *c, struct session_call *call)
{
    struct backup_call *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    b->controller = c;
    b->call = call;
    if (raft_node_read_barrier(c->raft, &b->request, barrier_passed) != STATUS_OK) {
        reply_not_active(c, call);
        free(b);
    }
}

void handle_backup(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__GetBackup *in = weir__get_backup__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    uint64_t number = in->copy, offset = in->offset;
    weir__get_backup__free_unpacked(in, NULL);
    if (!c->active) {
        reply_not_active(c, call);
    } else if (number == 0) {
        begin(c, call);
    } else if (c->backup == NULL || c->backup->under_way || c->backup->number != number ||
               offset >= BACKUP_HEAD_BYTES + c->backup->head.bytes) {
        session_reply_error(call, STATUS_EXPIRED, NULL,
                            "that copy is not there any more: begin again");
    } else {
        reply_piece(c->backup, call, offset);
    }
}

bool backup_under_way(const struct controller *c)
{
    return c->backup != NULL && c->backup->under_way;
}

void backup_release(struct controller *c)
{
    if (c->backup != NULL) {
        copy_free(c->backup);
        c->backup = NULL;
    }
}
