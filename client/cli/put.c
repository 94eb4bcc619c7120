/* weir put: every line of standard input becomes a record.
 *
 * The main thread reads and puts; acknowledgements come on the handle's thread, which only notes
 * them; a third thread writes them to the log of acknowledgements as fast as the disk takes them,
 * and shows the progress. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/program.h"

enum {
    ERRORS_SHOWN = 5,
    PROGRESS_MS = 200,
    RANDOM_KEY_BYTES = 16, /* as hexadecimal digits */
};

struct put {
    const struct program *program;
    struct weir_producer *producer;
    uint64_t key_field; /* from 1; 0: not by field */
    char delimiter;     /* '\0': runs of blanks */
    struct weir_producer_options options;
    FILE *log;
    uint64_t begin_ms;
    uint64_t random; /* state of the random keys */

    pthread_mutex_t lock;
    pthread_cond_t news;
    /* Under the lock. */
    struct buf acks; /* lines for the log */
    uint64_t read, acked, failed, duplicates, bytes;
    bool done, log_failed;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- acknowledgements: the handle's thread ----------------------------------------------------
 */

/* Under the lock. */
static void note_ack(struct put *put, uint64_t line, const struct weir_ack *ack)
{
    char shard[WEIR_SHARD_ID_BYTES];
    char sequence[WEIR_SEQUENCE_NUMBER_BYTES];
    char text[160], sub[16] = "";
    if (ack->aggregated) {
        (void)snprintf(sub, sizeof(sub), " %" PRIu32, ack->sub_sequence);
    }
    weir_shard_id(ack->position.shard, shard);
    weir_sequence_number(&ack->position, sequence);
    int size = snprintf(text, sizeof(text), "%" PRIu64 " %s %s%s\n", line, shard, sequence, sub);
    if (buf_append(&put->acks, text, (size_t)size) != STATUS_OK) {
        put->log_failed = true;
    }
}

/* Under the lock. */
static void note_failure(struct put *put, uint64_t line, enum weir_status status, const char *text)
{
    if (put->failed++ < ERRORS_SHOWN) {
        (void)program_fail(put->program, status, "line %" PRIu64 ": %s", line, text);
    }
}

/* One producer a process: the callbacks need no pointer, so that `context` can be the line. */
static struct put *the_put;

static void acked(const struct weir_ack *ack, void *context)
{
    struct put *put = the_put;
    uint64_t line = (uint64_t)(uintptr_t)context;
    (void)pthread_mutex_lock(&put->lock);
    if (ack->status == WEIR_OK) {
        put->acked++;
        put->duplicates += ack->duplicate;
        if (put->log != NULL) {
            bool wake = put->acks.size == 0;
            note_ack(put, line, ack);
            if (wake) {
                (void)pthread_cond_signal(&put->news);
            }
        }
    } else {
        note_failure(put, line, ack->status, ack->text);
    }
    (void)pthread_mutex_unlock(&put->lock);
}

/* ---- the log and the progress: a thread of its own --------------------------------------------
 */

static void show_progress(const struct put *put)
{
    double seconds = (double)(now_ms() - put->begin_ms) / 1000;
    double rate = seconds > 0 ? (double)put->acked / seconds : 0;
    (void)fprintf(stderr,
                  "\r\033[K%" PRIu64 " read, %" PRIu64 " acknowledged, %.0f a second, %" PRIu64
                  " failed",
                  put->read, put->acked, rate, put->failed);
}

/* Under the lock, which is released while it writes. */
static void write_acks(struct put *put)
{
    struct buf acks = put->acks;
    put->acks = (struct buf){0};
    (void)pthread_mutex_unlock(&put->lock);
    bool ok = fwrite(acks.data, 1, acks.size, put->log) == acks.size && fflush(put->log) == 0;
    buf_release(&acks);
    (void)pthread_mutex_lock(&put->lock);
    put->log_failed |= !ok;
}

static void *report(void *data)
{
    struct put *put = data;
    bool progress = isatty(STDERR_FILENO) != 0 && !put->program->quiet;
    (void)pthread_mutex_lock(&put->lock);
    while (!put->done || put->acks.size > 0) {
        if (put->acks.size > 0) {
            write_acks(put);
            continue;
        }
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (!progress) {
            (void)pthread_cond_wait(&put->news, &put->lock);
        } else if (pthread_cond_timedwait(&put->news, &put->lock, &until) == ETIMEDOUT) {
            show_progress(put);
        }
    }
    if (progress) {
        (void)fprintf(stderr, "\r\033[K");
    }
    (void)pthread_mutex_unlock(&put->lock);
    return NULL;
}

/* ---- lines ------------------------------------------------------------------------------------
 */

/* Field `n` (from 1) of the line; size 0 when there is none. */
static struct bytes field_of(struct bytes line, uint64_t n, char delimiter)
{
    const char *at = (const char *)line.data;
    const char *end = at + line.size;
    const char *stop = at;
    for (uint64_t i = 0; i < n; i++) {
        at = i == 0 ? at : stop + (delimiter != '\0' && stop < end);
        while (delimiter == '\0' && at < end && (*at == ' ' || *at == '\t')) {
            at++;
        }
        if (at >= end) {
            return bytes_of(NULL, 0);
        }
        stop = at;
        while (stop < end &&
               (delimiter != '\0' ? *stop != delimiter : *stop != ' ' && *stop != '\t')) {
            stop++;
        }
    }
    return bytes_of(at, (size_t)(stop - at));
}

/* splitmix64 from a seed of the kernel's: keys need to be spread, not secret. */
static void random_key(struct put *put, char out[RANDOM_KEY_BYTES + 1])
{
    uint64_t z = put->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    (void)snprintf(out, RANDOM_KEY_BYTES + 1, "%016" PRIx64, z ^ z >> 31);
}

static void fail_line(struct put *put, uint64_t line, enum weir_status status, const char *text)
{
    (void)pthread_mutex_lock(&put->lock);
    note_failure(put, line, status, text);
    (void)pthread_mutex_unlock(&put->lock);
}

/* False: no further line can be put either. */
static bool put_line(struct put *put, uint64_t number, struct bytes line)
{
    char made[RANDOM_KEY_BYTES + 1];
    struct bytes key;
    if (put->key_field != 0) {
        key = field_of(line, put->key_field, put->delimiter);
        if (key.size == 0) {
            fail_line(put, number, WEIR_INVALID, "it has no such field, so no key");
            return true;
        }
    } else if (put->program->key != NULL) {
        key = bytes_of_string(put->program->key);
    } else {
        random_key(put, made);
        key = bytes_of_string(made);
    }
    struct weir_record record = {.key = key.data,
                                 .key_size = key.size,
                                 .data = line.data,
                                 .data_size = line.size,
                                 .context = (void *)(uintptr_t)number};
    enum weir_status status = weir_put(put->producer, &record, acked);
    if (status != WEIR_OK) {
        fail_line(put, number, status,
                  status == WEIR_TOO_LARGE
                      ? "it is too large: a record has 10 MiB at most, its key "
                        "1,024 bytes"
                      : weir_status_text(status));
    }
    return status == WEIR_OK || status == WEIR_INVALID || status == WEIR_TOO_LARGE;
}

/* Puts all lines; the exit code so far. */
static int put_lines(struct put *put)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    bool go_on = true;
    uint64_t number = 0;
    while (go_on && (size = getline(&line, &capacity, stdin)) >= 0) {
        size_t length = (size_t)size;
        length -= length > 0 && line[length - 1] == '\n';
        number++;
        go_on = put_line(put, number, bytes_of(line, length));
        (void)pthread_mutex_lock(&put->lock);
        put->read = number;
        put->bytes += length;
        (void)pthread_mutex_unlock(&put->lock);
    }
    free(line);
    if (ferror(stdin) != 0) {
        return program_fail(put->program, WEIR_IO, "standard input cannot be read: %s",
                            strerror(errno));
    }
    return go_on ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

/* ---- the command ------------------------------------------------------------------------------
 */

enum status take_encoding(const struct program *program, struct weir_producer_options *out,
                          struct error *error)
{
    static const char *const names[] = {
        [WEIR_COMPRESSION_NONE] = "none",
        [WEIR_COMPRESSION_ZSTD] = "zstd",
        [WEIR_COMPRESSION_LZ4] = "lz4",
    };
    const char *name = program->compression != NULL ? program->compression : "none";
    unsigned codec = 0;
    while (codec < sizeof(names) / sizeof(names[0]) && strcmp(names[codec], name) != 0) {
        codec++;
    }
    if (codec == sizeof(names) / sizeof(names[0])) {
        return error_set(error, STATUS_INVALID, "--compression is zstd, lz4 or none, not '%.40s'",
                         name);
    }
    out->compression = (enum weir_compression)codec;
    out->aggregate = program->aggregate;
    enum status status = STATUS_OK;
    if (program->aggregate_bytes != NULL) {
        uint64_t bytes = 0;
        status = args_number(program->aggregate_bytes, "--aggregate-bytes", 1024, 1024 * 1024,
                             &bytes, error);
        out->aggregate_bytes = (uint32_t)bytes;
        out->aggregate = true;
    }
    if (status == STATUS_OK && program->gather != NULL) {
        status = args_duration(program->gather, "--gather", &out->gather_ms, error);
    }
    if (status == STATUS_OK && out->gather_ms > 60000) {
        return error_set(error, STATUS_INVALID, "--gather is one minute at most");
    }
    return status;
}

NODISCARD static enum status take_options(struct put *put, const struct program *program,
                                          struct error *error)
{
    int ways =
        (program->key != NULL) + (program->key_field != NULL) + (program->key_random ? 1 : 0);
    if (ways > 1) {
        return error_set(error, STATUS_INVALID,
                         "--key, --key-field and --key-random exclude one another");
    }
    if (program->key != NULL && program->key[0] == '\0') {
        return error_set(error, STATUS_INVALID, "--key must not be empty");
    }
    if (program->delimiter != NULL) {
        bool is_tab = strcmp(program->delimiter, "\\t") == 0;
        if (!is_tab && strlen(program->delimiter) != 1) {
            return error_set(error, STATUS_INVALID, "--delimiter is one character, or \\t");
        }
        put->delimiter = is_tab ? '\t' : program->delimiter[0];
    }
    if (program->give_up != NULL) {
        enum status given =
            args_duration(program->give_up, "--give-up", &put->options.delivery_timeout_ms, error);
        if (given != STATUS_OK) {
            return given;
        }
    }
    enum status status = take_encoding(program, &put->options, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (program->key_field != NULL) {
        return args_number(program->key_field, "--key-field", 1, 100000, &put->key_field, error);
    }
    return STATUS_OK;
}

static int summary(struct put *put, int code)
{
    double seconds = (double)(now_ms() - put->begin_ms) / 1000;
    double rate = seconds > 0 ? (double)put->acked / seconds : 0;
    if (put->log_failed) {
        code = program_fail(put->program, WEIR_IO,
                            "the log of acknowledgements could not be written: %s is incomplete",
                            put->program->ack_log);
    }
    if (!put->program->quiet) {
        (void)fprintf(stderr,
                      "%" PRIu64 " lines read, %" PRIu64 " records acknowledged, %" PRIu64
                      " failed, in %.2f s (%.0f a second)\n",
                      put->read, put->acked, put->failed, seconds, rate);
    }
    return code == EXIT_CODE_OK && put->failed > 0 ? EXIT_CODE_FAILED : code;
}

static int put_all(struct put *put)
{
    pthread_t reporter;
    struct weir_error error;
    if (pthread_create(&reporter, NULL, report, put) != 0) {
        return program_fail(put->program, WEIR_NO_MEMORY, "no thread can be started");
    }
    int code = put_lines(put);
    if (weir_producer_flush(put->producer, &error) != WEIR_OK) {
        code = program_error(put->program, &error);
    }
    (void)pthread_mutex_lock(&put->lock);
    put->done = true;
    (void)pthread_cond_signal(&put->news);
    (void)pthread_mutex_unlock(&put->lock);
    (void)pthread_join(reporter, NULL);
    return summary(put, code);
}

int run_put(struct program *program, const char *const *words)
{
    static struct put put;
    struct error bad;
    struct weir_error error;
    put = (struct put){.program = program};
    if (take_options(&put, program, &bad) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    if (getrandom(&put.random, sizeof(put.random), 0) != (ssize_t)sizeof(put.random)) {
        return program_fail(program, WEIR_IO, "the kernel gives no random bytes");
    }
    if (program->ack_log != NULL) {
        put.log = fopen(program->ack_log, "we");
        if (put.log == NULL) {
            return program_fail(program, WEIR_IO, "%s: %s", program->ack_log, strerror(errno));
        }
    }
    the_put = &put;
    (void)pthread_mutex_init(&put.lock, NULL);
    (void)pthread_cond_init(&put.news, NULL);
    int code;
    if (weir_producer_open(program->client, words[0], &put.options, program->timeout_ms,
                           &put.producer, &error) != WEIR_OK) {
        code = program_error(program, &error);
    } else {
        put.begin_ms = now_ms();
        code = put_all(&put);
        weir_producer_close(put.producer);
    }
    if (put.log != NULL && fclose(put.log) != 0 && code == EXIT_CODE_OK) {
        code = program_fail(program, WEIR_IO, "%s: %s", program->ack_log, strerror(errno));
    }
    buf_release(&put.acks);
    return code;
}
