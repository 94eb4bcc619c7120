/* Comparing the controllers' states: every so many entries each takes a digest of all rows as they
 * are after the same entry, on another thread, and tells the others (docs/replication.md 2.13). Who
 * has another one than a majority stops for good: its directory must not be started again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/trace.h"
#include "controller/rpc/internal.h"
#include "proto/schema/raft.pb-c.h"

#define VERDICT_FILE "state-differs"

enum { VERDICT_PATH_BYTES = 4096 };

struct hash_job {
    uv_work_t work;
    struct controller *controller;
    struct db_digest *digest;
    struct agreement_mark mark;
    enum status status;
    struct error error;
};

static void verdict_path(const struct controller *c, char out[VERDICT_PATH_BYTES])
{
    (void)snprintf(out, VERDICT_PATH_BYTES, "%s/" VERDICT_FILE, c->options.dir);
}

/* Best effort: without it the next comparison stops this controller again. */
static void verdict_write(const struct controller *c, const struct error *why)
{
    char path[VERDICT_PATH_BYTES];
    verdict_path(c, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || dprintf(fd, "%s\n", why->text) < 0 || fsync(fd) != 0) {
        trace(TRACE_WARNING, "state", "%s cannot be written: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

enum status hashes_open(struct controller *c, struct error *error)
{
    char path[VERDICT_PATH_BYTES];
    verdict_path(c, path);
    agreement_init(&c->agreement, c->options.id, c->options.server_count);
    if (access(path, F_OK) == 0) {
        return error_set(
            error, STATUS_CORRUPT,
            "%s: this controller's state differed from the other controllers': replace "
            "it by a new one with an empty directory",
            path);
    }
    return STATUS_OK;
}

static void judge(struct controller *c)
{
    uint64_t index = 0;
    enum agreement_verdict verdict = agreement_judge(&c->agreement, &index);
    if (verdict == AGREEMENT_OTHER && index != c->differs_told) {
        c->differs_told = index;
        for (uint32_t i = 0; i < c->options.server_count; i++) {
            bool differs = false;
            if (agreement_with(&c->agreement, c->server[i].id, &differs) != 0 && differs) {
                trace(TRACE_ERROR, "state",
                      "controller-%u has another state than we have after entry %llu",
                      c->server[i].id, (unsigned long long)index);
            }
        }
    }
    if (verdict == AGREEMENT_OURS) {
        struct error why = {0};
        status_ignore(error_set(&why, STATUS_CORRUPT,
                                "a majority of the controllers has another state than this one "
                                "after entry %llu: it stops, and must be replaced",
                                (unsigned long long)index),
                      "for its text");
        verdict_write(c, &why);
        c->active = false;
        c->options.failed(c->options.data, RAFT_NODE_EXIT_REPLACE, &why);
    }
}

static void tell(struct controller *c)
{
    const struct agreement_mark *mark = agreement_newest(&c->agreement);
    if (mark == NULL) {
        return;
    }
    Weir__StateHash message;
    weir__state_hash__init(&message);
    message.index = mark->index;
    message.rolling = mark->rolling;
    message.rows = mark->rows;
    message.format = db_format();
    raft_node_tell(c->raft, RPC_STATE_HASH, &message.base);
}

/* What is told may get lost, and a link may be down for a while. */
static void told_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, hashes_timer);
    tell(c);
    status_ignore(
        net_timer_start(c->options.loop, timer, controller_now(c) + HASHES_TELL_MS, told_fired),
        "the timer has had its place in the heap");
}

static void job_run(uv_work_t *work)
{
    struct hash_job *job = CONTAINER_OF(work, struct hash_job, work);
    job->status = db_digest_run(job->digest, &job->mark.rows, &job->error);
}

static void job_free(struct hash_job *job)
{
    db_digest_free(job->digest);
    free(job);
}

static void job_done(uv_work_t *work, int code)
{
    (void)code;
    struct hash_job *job = CONTAINER_OF(work, struct hash_job, work);
    struct controller *c = job->controller;
    c->hash_job = NULL;
    if (job->status != STATUS_OK) {
        trace(TRACE_ERROR, "state", "%s", job->error.text);
    } else if (!c->closing) {
        agreement_heard(&c->agreement, c->options.id, &job->mark);
        tell(c);
        told_fired(&c->hashes_timer);
        judge(c);
    }
    job_free(job);
}

static void job_start(struct controller *c)
{
    struct hash_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return; /* the others do without ours */
    }
    job->controller = c;
    job->mark.index = db_meta(c->db)->applied_index;
    job->mark.rolling = db_meta(c->db)->state_hash;
    enum status status = db_digest_begin(c->state_path, &job->digest, &job->error);
    if (status != STATUS_OK) {
        trace(TRACE_WARNING, "state", "%s", job->error.text);
    }
    if (status != STATUS_OK ||
        uv_queue_work(net_loop_uv(c->options.loop), &job->work, job_run, job_done) != 0) {
        job_free(job);
        return;
    }
    c->hash_job = job;
}

void hashes_applied(struct controller *c, uint64_t before)
{
    uint64_t every = c->options.compare_entries;
    if (c->hash_job == NULL && db_meta(c->db)->applied_index / every != before / every) {
        job_start(c);
    }
}

enum status handle_state_hash(struct controller *c, struct client *client, struct bytes body)
{
    Weir__StateHash *message = weir__state_hash__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return STATUS_INVALID;
    }
    struct agreement_mark mark = {
        .index = message->index, .rolling = message->rolling, .rows = message->rows};
    bool comparable = message->format == db_format(); /* else one of us is being upgraded */
    weir__state_hash__free_unpacked(message, NULL);
    if (comparable) {
        agreement_heard(&c->agreement, session_peer(client->session)->id, &mark);
        judge(c);
    }
    return STATUS_OK;
}
