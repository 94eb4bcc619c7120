/* Ships log files: every line that is appended becomes a record, with the file's name as its key.
 *
 *   logship STREAM CHECKPOINTS FILE...
 *
 * Lines are followed with inotify, over rotation (rename and create) and truncation. How far each
 * file is stored is kept in the file CHECKPOINTS, by inode, so that a restart goes on where the
 * last one ended: what was acknowledged after the last write of it is shipped again, never less.
 * SIGTERM and SIGINT end it cleanly. A file that is rotated away while nothing runs is not found
 * again. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/weir.h>

enum { FILES_MAX = 64, LINE_MAX_BYTES = 256 * 1024, LOOK_MS = 1000 };

struct tail {
    const char *path;
    FILE *file; /* NULL: it is not there */
    ino_t inode;
    long shipped; /* offset behind the last line that was put */
    long stored;  /* at the last flush: behind it nothing may be missing */
};

static volatile sig_atomic_t stopped;
static volatile sig_atomic_t failed; /* set on the handle's thread */

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static void acked(const struct weir_ack *ack, void *context)
{
    const char *path = context;
    if (ack->status != WEIR_OK) {
        (void)fprintf(stderr, "logship: a line of %s is not stored: %s\n", path, ack->text);
        failed = 1;
    }
}

/* ---- checkpoints: "INODE OFFSET" a line, replaced as a whole ---- */

static long checkpoint_of(const char *path, ino_t inode)
{
    FILE *file = fopen(path, "re");
    uintmax_t number = 0;
    long offset = 0, found = 0;
    /* What does not fit is none of the files that there are. NOLINTNEXTLINE(cert-err34-c) */
    while (file != NULL && fscanf(file, "%" SCNuMAX " %ld", &number, &offset) == 2) {
        found = number == inode ? offset : found;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

static bool write_checkpoints(const char *path, const struct tail *tails, int count)
{
    char fresh[4096];
    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *file = fopen(fresh, "we");
    if (file == NULL) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (tails[i].file != NULL) {
            (void)fprintf(file, "%ju %ld\n", (uintmax_t)tails[i].inode, tails[i].stored);
        }
    }
    bool ok = fflush(file) == 0 && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && ok && rename(fresh, path) == 0;
}

/* ---- files ---- */

static void open_tail(struct tail *tail, const char *checkpoints)
{
    struct stat stat;
    tail->file = fopen(tail->path, "re");
    if (tail->file == NULL || fstat(fileno(tail->file), &stat) != 0) {
        return;
    }
    tail->inode = stat.st_ino;
    tail->shipped = checkpoint_of(checkpoints, stat.st_ino);
    tail->shipped = tail->shipped <= stat.st_size ? tail->shipped : 0;
    tail->stored = tail->shipped;
}

/* Puts all whole lines that are there. False: nothing can be put any more. */
static bool ship(struct tail *tail, struct weir_producer *producer)
{
    static char line[LINE_MAX_BYTES];
    struct stat stat;
    if (fstat(fileno(tail->file), &stat) == 0 && stat.st_size < tail->shipped) {
        tail->shipped = tail->stored = 0; /* truncated: it begins anew */
    }
    clearerr(tail->file);
    if (fseek(tail->file, tail->shipped, SEEK_SET) != 0) {
        return true;
    }
    while (fgets(line, sizeof(line), tail->file) != NULL) {
        size_t size = strlen(line);
        bool whole = line[size - 1] == '\n';
        if (!whole && size < sizeof(line) - 1) {
            break; /* the rest of it is still to come */
        }
        const struct weir_record record = {.key = tail->path,
                                           .key_size = strlen(tail->path),
                                           .data = line,
                                           .data_size = size - whole,
                                           .context = (void *)(uintptr_t)tail->path};
        enum weir_status status = weir_put(producer, &record, acked);
        if (status != WEIR_OK) {
            (void)fprintf(stderr, "logship: %s: %s\n", tail->path, weir_status_text(status));
            return false;
        }
        tail->shipped += (long)size;
    }
    return true;
}

/* All of a file that was rotated away is shipped before the one that has its name now. */
static bool look(struct tail *tail, struct weir_producer *producer, const char *checkpoints)
{
    struct stat stat_now;
    if (tail->file == NULL) {
        open_tail(tail, checkpoints);
    }
    if (tail->file == NULL) {
        return true;
    }
    if (!ship(tail, producer)) {
        return false;
    }
    if (stat(tail->path, &stat_now) == 0 && stat_now.st_ino != tail->inode) {
        struct weir_error error; /* nobody looks there again: it must be stored first */
        if (weir_producer_flush(producer, &error) != WEIR_OK || failed) {
            return false;
        }
        (void)fclose(tail->file);
        open_tail(tail, checkpoints);
        return tail->file == NULL || ship(tail, producer);
    }
    return true;
}

static int run(struct weir_producer *producer, const char *checkpoints, struct tail *tails,
               int count)
{
    struct weir_error error;
    char events[4096];
    int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    while (!failed) {
        bool last = stopped != 0;
        for (int i = 0; i < count; i++) {
            if (!look(&tails[i], producer, checkpoints)) {
                return 1;
            }
            /* Again each time: a name that was rotated is another file. */
            (void)inotify_add_watch(notify, tails[i].path, IN_MODIFY | IN_MOVE_SELF | IN_ATTRIB);
        }
        if (weir_producer_flush(producer, &error) != WEIR_OK || failed) {
            break;
        }
        for (int i = 0; i < count; i++) {
            tails[i].stored = tails[i].shipped;
        }
        if (!write_checkpoints(checkpoints, tails, count)) {
            (void)fprintf(stderr, "logship: %s cannot be written: %s\n", checkpoints,
                          strerror(errno));
            return 1;
        }
        if (last) {
            return 0;
        }
        struct pollfd wait = {.fd = notify, .events = POLLIN};
        (void)poll(&wait, 1, LOOK_MS);
        while (read(notify, events, sizeof(events)) > 0) {
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    static struct tail tails[FILES_MAX];
    struct weir_error error;
    struct weir_options options;
    struct weir_client *client;
    struct weir_producer *producer;
    if (argc < 4 || argc - 3 > FILES_MAX) {
        (void)fprintf(stderr, "usage: logship STREAM CHECKPOINTS FILE...   (1 to %d files)\n",
                      FILES_MAX);
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        tails[i - 3].path = argv[i];
    }
    (void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    (void)sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    const struct weir_producer_options how = {.compression = WEIR_COMPRESSION_ZSTD,
                                              .gather_ms = 20};
    if (weir_options_from_env(&options, &error) != WEIR_OK ||
        weir_client_open(&options, &client, &error) != WEIR_OK) {
        (void)fprintf(stderr, "logship: %s\n", error.text);
        return 1;
    }
    int code = 1;
    if (weir_producer_open(client, argv[1], &how, 0, &producer, &error) != WEIR_OK) {
        (void)fprintf(stderr, "logship: %s\n", error.text);
    } else {
        code = run(producer, argv[2], tails, argc - 3);
        weir_producer_close(producer);
    }
    weir_client_close(client);
    return code;
}
