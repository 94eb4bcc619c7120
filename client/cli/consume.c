/* weir consume: a worker of an application that prints what it reads, and checkpoints what is
 * printed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/worker.h"

enum { OUTPUT_BYTES = 256 * 1024 };

struct consume {
    struct program *program;
    pthread_mutex_t lock; /* of standard output, and of all below */
    struct json json;
    uint64_t left; /* UINT64_MAX: no end */
    bool over;     /* nothing more is printed */
    int code;
};

/* False: it cannot be written, now or ever. */
static bool write_out(struct consume *consume)
{
    struct buf *out = &consume->json.out;
    bool good = !consume->json.failed;
    if (!good) {
        consume->code = program_fail(consume->program, WEIR_NO_MEMORY, "out of memory");
    } else if (out->size > 0 &&
               (fwrite(out->data, 1, out->size, stdout) != out->size || fflush(stdout) != 0)) {
        good = false;
        if (errno != EPIPE) { /* else whoever read us has all it wanted */
            consume->code = program_fail(consume->program, WEIR_IO,
                                         "standard output cannot be written: %s", strerror(errno));
        }
    }
    out->size = 0;
    return good;
}

static void add_plain(struct consume *consume, const struct weir_read_record *record)
{
    struct json *json = &consume->json;
    json->failed |= buf_append(&json->out, record->data, record->data_size) != STATUS_OK ||
                    buf_append(&json->out, "\n", 1) != STATUS_OK;
}

/* Prints as many as are wanted. Returns how many. Under the lock. */
static size_t print(struct consume *consume, const struct weir_lease *lease,
                    const struct weir_delivery *delivery)
{
    size_t i = 0;
    size_t good = 0; /* written, and not only in the buffer */
    while (i < delivery->count && !consume->over) {
        if (consume->program->json) {
            print_record(&consume->json, weir_lease_shard(lease), &delivery->records[i]);
        } else {
            add_plain(consume, &delivery->records[i]);
        }
        i++;
        consume->left -= consume->left != UINT64_MAX;
        bool last = i == delivery->count || consume->left == 0;
        if (last || consume->json.out.size >= OUTPUT_BYTES) {
            bool written = write_out(consume);
            good = written ? i : good;
            consume->over = !written || consume->left == 0;
        }
    }
    return good;
}

/* What was printed and no more is checkpointed: when only a part was, right here. */
static enum weir_processed on_records(struct weir_lease *lease,
                                      const struct weir_delivery *delivery, void *context)
{
    struct consume *consume = context;
    if (delivery->skipped) {
        worker_say(lease, "records before these had passed their retention and were skipped");
    }
    if (delivery->lost) {
        worker_say(lease, "records are missing here: they were lost, and the shard went on by a "
                          "forced recovery");
    }
    (void)pthread_mutex_lock(&consume->lock);
    size_t printed = print(consume, lease, delivery);
    bool over = consume->over;
    (void)pthread_mutex_unlock(&consume->lock);
    if (printed == delivery->count) {
        if (over) {
            worker_stop();
        }
        return WEIR_PROCESSED;
    }
    struct weir_error error;
    if (printed > 0 &&
        weir_lease_checkpoint(lease, &delivery->records[printed - 1], &error) != WEIR_OK) {
        worker_say(lease, "%zu printed records are not checkpointed: %s", printed, error.text);
    }
    worker_stop();
    return WEIR_FAILED;
}

static void on_lost(struct weir_lease *lease, void *context)
{
    (void)context;
    worker_say(lease, "the lease is lost: another worker has the shard");
}

int run_consume(struct program *program, const char *const *words)
{
    struct consume consume = {.program = program, .left = UINT64_MAX};
    struct worker_names names;
    struct weir_consumer_options options;
    struct error bad;
    enum status status = worker_options(program, words[0], words[1], &names, &options, &bad);
    if (status == STATUS_OK && program->count != NULL) {
        status = args_number(program->count, "--count", 1, UINT64_MAX - 1, &consume.left, &bad);
    }
    if (status != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    (void)pthread_mutex_init(&consume.lock, NULL);
    const struct weir_processor processor = {.context = &consume,
                                             .records = on_records,
                                             .lost = program->quiet ? NULL : on_lost,
                                             .trouble = worker_trouble};
    int code = worker_run(program, &options, &processor);
    json_release(&consume.json);
    (void)pthread_mutex_destroy(&consume.lock);
    return code != EXIT_CODE_OK ? code : consume.code;
}
