/* weirctl debug bundle: one file for whoever is to help. Lists come from this program's own
 * commands with --json, the rest from the processes; tar packs it. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/processes.h"

enum { PATH_BYTES = 512, WALK_FILES = 16, ANSWER_MS = 3000, PROGRAM_WORDS = 6 };

struct bundle {
    struct program *program;
    char directory[PATH_BYTES], name[64]; /* DIRECTORY/NAME is what is packed */
    const char *failed;                   /* what could not be written; NULL: nothing */
};

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void path_of(const struct bundle *b, const char *file, char out[2 * PATH_BYTES])
{
    (void)snprintf(out, 2 * PATH_BYTES, "%s/%s/%s", b->directory, b->name, file);
}

static void write_file(struct bundle *b, const char *file, const char *text, size_t size)
{
    char path[2 * PATH_BYTES];
    path_of(b, file, path);
    FILE *to = fopen(path, "we");
    bool good = to != NULL && (size == 0 || fwrite(text, 1, size, to) == size);
    good = to != NULL && fclose(to) == 0 && good;
    b->failed = good ? b->failed : "a temporary file";
}

/* Runs a program to its end, its output to `file` (NULL: ours); its exit code, -1: not started. */
static int run_program(const struct bundle *b, const char *path, char *const *words,
                       const char *file)
{
    char to[2 * PATH_BYTES];
    pid_t pid = 0;
    int status = 0;
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return -1;
    }
    int rc = 0;
    if (file != NULL) {
        path_of(b, file, to);
        rc = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, to,
                                              O_WRONLY | O_CREAT | O_TRUNC, 0600);
        rc =
            rc == 0 ? posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO) : rc;
    }
    rc = rc == 0 ? posix_spawnp(&pid, path, &actions, NULL, words, environ) : rc;
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A command of ours, by its words; what goes wrong stands in the file. */
static void list(struct bundle *b, const char *first, const char *second, const char *third,
                 const char *file)
{
    char timeout[] = "--timeout=5s", json[] = "--json", own[] = "/proc/self/exe";
    char words[3][WEIR_STREAM_NAME_BYTES + 1];
    char *argv[PROGRAM_WORDS + 1] = {own};
    const char *const from[] = {first, second, third};
    size_t count = 1;
    for (size_t i = 0; i < 3 && from[i] != NULL; i++) {
        (void)snprintf(words[i], sizeof(words[i]), "%s", from[i]);
        argv[count++] = words[i];
    }
    argv[count++] = json;
    argv[count++] = timeout;
    if (run_program(b, own, argv, file) < 0) {
        b->failed = "a list";
    }
}

static void lists(struct bundle *b)
{
    struct weir_error error;
    struct weir_stream_list *streams = NULL;
    list(b, "cluster", "status", NULL, "cluster-status.json");
    list(b, "controller", "list", NULL, "controllers.json");
    list(b, "broker", "list", NULL, "brokers.json");
    list(b, "moves", "list", NULL, "moves.json");
    list(b, "stream", "list", NULL, "streams.json");
    list(b, "app", "list", NULL, "applications.json");
    list(b, "top", "--once", NULL, "top.json");
    if (weir_stream_list(b->program->client, ANSWER_MS, &streams, &error) != WEIR_OK) {
        return; /* streams.json says why */
    }
    for (size_t i = 0; i < streams->count; i++) {
        char file[WEIR_STREAM_NAME_BYTES + 32];
        (void)snprintf(file, sizeof(file), "shards-%s.json", streams->streams[i].name);
        list(b, "shard", "list", streams->streams[i].name, file);
        (void)snprintf(file, sizeof(file), "stream-%s.json", streams->streams[i].name);
        list(b, "stream", "describe", streams->streams[i].name, file);
    }
    weir_stream_list_free(streams);
}

static void processes(struct bundle *b, enum weir_process_question question)
{
    struct weir_error error = {0};
    struct processes p;
    char file[WEIR_NODE_NAME_BYTES + 16];
    if (processes_ask(b->program, question, NULL, NULL, ANSWER_MS, &p, &error) != WEIR_OK) {
        write_file(b, question == WEIR_PROCESS_LOG ? "logs.error" : "metrics.error", error.text,
                   strlen(error.text));
        return;
    }
    for (size_t i = 0; i < p.count; i++) {
        const struct weir_process_answer *answer = &p.answers[i];
        const char *name = p.asks[i].name;
        if (answer->error.status != WEIR_OK) {
            (void)snprintf(file, sizeof(file), "%s.error", name);
            write_file(b, file, answer->error.text, strlen(answer->error.text));
        } else if (question == WEIR_PROCESS_METRICS) {
            (void)snprintf(file, sizeof(file), "%s.metrics", name);
            write_file(b, file, answer->text, answer->text_bytes);
        } else {
            (void)snprintf(file, sizeof(file), "%s.log", name);
            write_file(b, file, answer->text, answer->text_bytes);
            (void)snprintf(file, sizeof(file), "%s.conf", name);
            write_file(b, file, answer->config, strlen(answer->config));
        }
    }
    processes_release(&p);
}

/* The commands that we run find the cluster as we did. */
static void pass_on(const struct program *program)
{
    const struct weir_options *given = &program->connection;
    const struct {
        const char *variable, *value;
    } all[] = {
        {"WEIR_BOOTSTRAP", given->bootstrap},
        {"WEIR_CA",        given->ca_file  },
        {"WEIR_CERT",      given->cert_file},
        {"WEIR_KEY",       given->key_file },
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].value != NULL) {
            (void)setenv(all[i].variable, all[i].value, 1);
        }
    }
}

static int pack(struct bundle *b, const char *out)
{
    char tar[] = "tar", create[] = "-czf", in[] = "-C", dash[] = "--";
    char *const words[] = {tar,     create, (char *)(uintptr_t)out, in, b->directory, dash,
                           b->name, NULL};
    return run_program(b, tar, words, NULL);
}

static void begin_name(struct bundle *b)
{
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(b->name, sizeof(b->name), "weir-bundle-%Y%m%dT%H%M%SZ", &utc);
}

static int fill_and_pack(struct bundle *b, const char *out)
{
    char versions[128];
    (void)snprintf(versions, sizeof(versions), "weirctl %s\n", WEIR_VERSION);
    write_file(b, "version", versions, strlen(versions));
    lists(b);
    processes(b, WEIR_PROCESS_METRICS);
    processes(b, WEIR_PROCESS_LOG);
    if (b->failed != NULL) {
        return program_fail(b->program, WEIR_IO, "%s cannot be written in %s", b->failed,
                            b->directory);
    }
    if (pack(b, out) != 0) {
        (void)unlink(out);
        return program_fail(b->program, WEIR_IO, "tar could not write %s", out);
    }
    (void)printf("%s\n", out);
    return EXIT_CODE_OK;
}

int run_debug_bundle(struct program *program, const char *const *words)
{
    (void)words;
    struct bundle b = {.program = program};
    const char *base = getenv("TMPDIR");
    char path[2 * PATH_BYTES], out[PATH_BYTES];
    begin_name(&b);
    (void)snprintf(b.directory, sizeof(b.directory), "%.400s/weir-bundle-XXXXXX",
                   base == NULL || base[0] == '\0' ? "/tmp" : base);
    (void)snprintf(out, sizeof(out), "%s.tar.gz", b.name);
    if (program->out != NULL && access(program->out, F_OK) == 0) {
        return program_fail(program, WEIR_EXISTS, "%s exists; nothing is overwritten",
                            program->out);
    }
    if (mkdtemp(b.directory) == NULL) {
        return program_fail(program, WEIR_IO, "no directory can be made in %s: %s",
                            base == NULL ? "/tmp" : base, strerror(errno));
    }
    path_of(&b, "", path);
    int code = mkdir(path, 0700) != 0
                   ? program_fail(program, WEIR_IO, "%s cannot be made: %s", path, strerror(errno))
                   : EXIT_CODE_OK;
    if (code == EXIT_CODE_OK) {
        pass_on(program);
        mode_t before = umask(077);
        code = fill_and_pack(&b, program->out == NULL ? out : program->out);
        (void)umask(before);
    }
    (void)nftw(b.directory, remove_one, WALK_FILES, FTW_DEPTH | FTW_PHYS);
    return code;
}
