/* A change is begun; when it has happened is seen in the metadata. */
#include "client/admin/admin.h"

static void look(struct net_timer *timer);

static void looked(struct cluster_call *done, const struct cluster_reply *reply)
{
    struct admin_job *job = CONTAINER_OF(done, struct admin_job, call);
    const struct admin_wait *wait = job->wait_for;
    if (reply->status == STATUS_UNAVAILABLE || reply->status == STATUS_TIMEOUT) {
        admin_finish(job, STATUS_TIMEOUT, wait->late); /* a look goes on until the time is over */
        return;
    }
    if (reply->status != STATUS_OK) {
        bool gone = reply->status == STATUS_NOT_FOUND && wait->is_settled == NULL;
        admin_finish(job, gone ? STATUS_OK : reply->status, reply->text);
        return;
    }
    bool settled = false;
    if (wait->is_settled != NULL) {
        Weir__MetadataUpdate *update =
            weir__metadata_update__unpack(NULL, reply->body.size, reply->body.data);
        settled = update != NULL && update->n_streams > 0 && wait->is_settled(update->streams[0]);
        weir__metadata_update__free_unpacked(update, NULL);
    }
    if (settled) {
        admin_finish(job, STATUS_OK, "");
    } else if (handle_now_ms() >= job->deadline_ms) {
        admin_finish(job, STATUS_TIMEOUT, wait->late);
    } else {
        handle_timer(job->client, &job->timer, handle_now_ms() + wait->every_ms, look);
    }
}

static void look(struct net_timer *timer)
{
    struct admin_job *job = CONTAINER_OF(timer, struct admin_job, timer);
    weir__get_metadata__init(&job->body.get);
    job->body.get.stream = job->name;
    admin_call(job, RPC_GET_METADATA, &job->body.get.base, false, looked);
}

void admin_begun(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct admin_job *job = CONTAINER_OF(call, struct admin_job, call);
    if (reply->status != STATUS_OK || !job->wait) {
        admin_finish(job, reply->status, reply->text);
    } else {
        look(&job->timer);
    }
}

bool admin_is_active(const Weir__StreamInfo *stream)
{
    return stream->state == WEIR__STREAM_STATE__STREAM_ACTIVE;
}
