/* The commands about the controllers' set and their backups. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/program.h"

enum { BACKUP_PATH_BYTES = 4096 };

struct controller_word {
    uint32_t id;
    char host[WEIR_HOST_BYTES]; /* "": none was given */
    uint16_t port;
};

/* "4", "controller-4", and with an address "4=host:port". */
static bool parse_controller(const char *word, bool with_address, struct controller_word *out)
{
    static const char prefix[] = "controller-";
    const char *digits =
        strncmp(word, prefix, sizeof(prefix) - 1) == 0 ? word + sizeof(prefix) - 1 : word;
    char *end = NULL;
    unsigned long id = strtoul(digits, &end, 10);
    if (digits[0] < '1' || digits[0] > '9' || id > INT32_MAX / 10) {
        return false;
    }
    *out = (struct controller_word){.id = (uint32_t)id};
    if (!with_address) {
        return *end == '\0';
    }
    const char *colon = strrchr(end, ':');
    if (*end != '=' || colon == NULL) {
        return false;
    }
    const char *host = end + 1, *host_end = colon;
    if (host_end - host >= 2 && host[0] == '[' && host_end[-1] == ']') {
        host++;
        host_end--;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (host_end <= host || (size_t)(host_end - host) >= sizeof(out->host) || *end != '\0' ||
        colon[1] < '1' || colon[1] > '9' || port > UINT16_MAX) {
        return false;
    }
    memcpy(out->host, host, (size_t)(host_end - host));
    out->port = (uint16_t)port;
    return true;
}

static void tell(const struct program *program, uint32_t id, const char *what)
{
    if (!program->json && !program->quiet) {
        (void)fprintf(stderr, "controller-%u: %s\n", id, what);
    }
}

static enum weir_status change(struct program *program, enum weir_controller_action action,
                               const struct controller_word *who, struct weir_error *error)
{
    const struct weir_controller_change wanted = {
        .action = action,
        .id = who->id,
        .host = who->host[0] == '\0' ? NULL : who->host,
        .port = who->port,
        .force = program->force,
    };
    uint32_t left_ms = program_left_ms(program);
    return weir_controller_change(program->client, &wanted, left_ms == 0 ? 1 : left_ms, error);
}

static int done(const struct program *program, uint32_t added, uint32_t removed)
{
    if (!program->json) {
        return EXIT_CODE_OK;
    }
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_number(&json, "added", added);
    json_number(&json, "removed", removed);
    json_object_end(&json);
    return program_print_json(program, &json);
}

static enum weir_status add(struct program *program, const struct controller_word *who,
                            struct weir_error *error)
{
    tell(program, who->id, "gets the log");
    enum weir_status status = change(program, WEIR_CONTROLLER_ADD, who, error);
    if (status == WEIR_OK) {
        status = change(program, WEIR_CONTROLLER_PROMOTE, who, error);
    }
    if (status == WEIR_OK) {
        tell(program, who->id, "votes");
    }
    return status;
}

int run_controller_add(struct program *program, const char *const *words)
{
    struct controller_word who;
    struct weir_error error;
    if (!parse_controller(words[0], true, &who)) {
        return program_fail(program, WEIR_INVALID, "a new controller is named ID=HOST:PORT");
    }
    if (add(program, &who, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    return done(program, who.id, 0);
}

int run_controller_remove(struct program *program, const char *const *words)
{
    struct controller_word who;
    struct weir_error error;
    if (!parse_controller(words[0], false, &who)) {
        return program_fail(program, WEIR_INVALID,
                            "a controller is named like controller-2, or just 2");
    }
    if (change(program, WEIR_CONTROLLER_REMOVE, &who, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    tell(program, who.id, "is none any more");
    return done(program, 0, who.id);
}

/* Added before the other goes: at no moment are there fewer than before. */
int run_controller_replace(struct program *program, const char *const *words)
{
    struct controller_word old, new;
    struct weir_error error;
    if (!parse_controller(words[0], false, &old) || !parse_controller(words[1], true, &new)) {
        return program_fail(program, WEIR_INVALID,
                            "usage: controller replace OLD NEW=HOST:PORT, for instance 2 "
                            "4=10.0.0.4:7301");
    }
    if (old.id == new.id) {
        return program_fail(program, WEIR_INVALID,
                            "the new controller needs a number of its own: the old one may come "
                            "back with what it has forgotten");
    }
    if (add(program, &new, &error) != WEIR_OK ||
        change(program, WEIR_CONTROLLER_REMOVE, &old, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    tell(program, old.id, "is none any more");
    return done(program, new.id, old.id);
}

/* ---- backup
 * ------------------------------------------------------------------------------------------- */

static bool write_piece(const void *data, size_t size, void *context)
{
    const int *fd = context;
    const char *from = data;
    while (size > 0) {
        ssize_t put = write(*fd, from, size);
        if (put < 0 && errno != EINTR) {
            return false;
        }
        from += put < 0 ? 0 : put;
        size -= put < 0 ? 0 : (size_t)put;
    }
    return true;
}

/* The file is there whole or not at all. */
static int write_backup(struct program *program, const char *path, struct weir_backup *out)
{
    char new[BACKUP_PATH_BYTES];
    struct weir_error error;
    if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new)) {
        return program_fail(program, WEIR_INVALID, "--out: the name is too long");
    }
    int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return program_fail(program, WEIR_INVALID, "%s: %s", new, strerror(errno));
    }
    errno = 0;
    enum weir_status status = weir_controllers_backup(program->client, write_piece, &fd,
                                                      program->timeout_ms, out, &error);
    int code = EXIT_CODE_OK;
    if (status == WEIR_CANCELLED) {
        code = program_fail(program, WEIR_IO, "%s: %s", new, strerror(errno));
    } else if (status != WEIR_OK) {
        code = program_error(program, &error);
    } else if (fsync(fd) != 0 || rename(new, path) != 0) {
        code = program_fail(program, WEIR_IO, "%s: %s", path, strerror(errno));
    }
    (void)close(fd);
    if (code != EXIT_CODE_OK) {
        (void)unlink(new);
    }
    return code;
}

int run_controller_backup(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_backup backup = {0};
    if (program->out == NULL) {
        return program_fail(program, WEIR_INVALID, "say where to: --out FILE");
    }
    int code = write_backup(program, program->out, &backup);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_string(&json, "file", program->out);
        json_number(&json, "bytes", backup.bytes);
        json_number(&json, "index", backup.index);
        json_number(&json, "time_ms", backup.time_ms);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    (void)printf("%s: %" PRIu64 " bytes, the state after change %" PRIu64 "\n", program->out,
                 backup.bytes, backup.index);
    (void)printf(
        "keep the cluster key (cluster-key-file) with it, in another place: secrets in the "
        "backup are sealed under it\n");
    return EXIT_CODE_OK;
}
