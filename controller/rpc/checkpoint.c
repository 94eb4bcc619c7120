/* Checkpoints of the database, which sync, on another thread. */
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "base/trace.h"
#include "controller/rpc/internal.h"

struct checkpoint {
    uv_work_t work;
    struct controller *controller; /* NULL: it was closed meanwhile */
    char *path;
    enum status status;
    struct error error;
};

static void checkpoint_run(uv_work_t *work)
{
    struct checkpoint *checkpoint = CONTAINER_OF(work, struct checkpoint, work);
    checkpoint->status = db_checkpoint(checkpoint->path, &checkpoint->error);
}

static void checkpoint_done(uv_work_t *work, int code)
{
    (void)code;
    struct checkpoint *checkpoint = CONTAINER_OF(work, struct checkpoint, work);
    if (checkpoint->status != STATUS_OK) {
        trace(TRACE_WARNING, "state", "%s", checkpoint->error.text);
    }
    if (checkpoint->controller != NULL) {
        checkpoint->controller->checkpoint = NULL;
    }
    free(checkpoint->path);
    free(checkpoint);
}

void checkpoint_start(struct controller *c)
{
    struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));
    if (checkpoint == NULL || (checkpoint->path = strdup(c->state_path)) == NULL ||
        uv_queue_work(net_loop_uv(c->options.loop), &checkpoint->work, checkpoint_run,
                      checkpoint_done) != 0) {
        if (checkpoint != NULL) {
            free(checkpoint->path);
        }
        free(checkpoint);
        return; /* the next entry tries again */
    }
    checkpoint->controller = c;
    c->checkpoint = checkpoint;
}
