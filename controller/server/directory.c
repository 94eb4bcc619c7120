/* Whose directory it is. Two small files, each replaced as a whole:
 *
 *   identity   "weir controller 1\ncluster UUID\nid N\n"   written once
 *   boot       "N\n"                                       raised at every start
 *   lock       empty; locked while the process lives */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/formats.h"
#include "controller/server/server.h"
#include "proto/rpc/rpc.h"

enum { TEXT_BYTES = 256 };

static enum status failed(struct error *error, const char *path, const char *name, const char *what)
{
    return error_set(error, STATUS_IO, "%s/%s: %s: %s", path, name, what, strerror(errno));
}

/* NOT_FOUND when there is no such file. */
static enum status read_text(int dir, const char *path, const char *name, char out[TEXT_BYTES],
                             struct error *error)
{
    AUTO(close_fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? STATUS_NOT_FOUND : failed(error, path, name, "cannot open");
    }
    ssize_t size = read(fd, out, TEXT_BYTES - 1);
    if (size < 0) {
        return failed(error, path, name, "cannot read");
    }
    out[size] = '\0';
    return STATUS_OK;
}

static enum status write_text(int dir, const char *path, const char *name, const char *text,
                              struct error *error)
{
    char temporary[64];
    (void)snprintf(temporary, sizeof(temporary), "%s.new", name);
    AUTO(close_fd) int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = strlen(text);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size || fsync(fd) != 0) {
        return failed(error, path, temporary, "cannot write");
    }
    if (renameat(dir, temporary, dir, name) != 0 || fsync(dir) != 0) {
        return failed(error, path, name, "cannot replace");
    }
    return STATUS_OK;
}

static enum status lock(int dir, const char *path, struct error *error)
{
    int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return failed(error, path, "lock", "cannot open");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool taken = errno == EWOULDBLOCK;
        enum status status =
            taken ? error_set(error, STATUS_BUSY, "%s: is in use by another process", path)
                  : failed(error, path, "lock", "cannot lock");
        (void)close(fd);
        return status;
    }
    return STATUS_OK; /* stays open, and so locked, until the process ends */
}

static bool has_file(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, 0) == 0;
}

static enum status check_identity(const char *path, const char *text,
                                  const uint8_t cluster[CLUSTER_ID_BYTES], uint32_t id,
                                  struct error *error)
{
    char uuid[64], ours[CLUSTER_ID_TEXT_BYTES];
    unsigned version = 0, their_id = 0;
    uint8_t theirs[CLUSTER_ID_BYTES];
    /* A number too large becomes another one, which the comparisons below refuse. */
    /* NOLINTNEXTLINE(cert-err34-c) */
    if (sscanf(text, "weir controller %u\ncluster %63s\nid %u\n", &version, uuid, &their_id) != 3 ||
        rpc_cluster_id_parse(uuid, theirs) != STATUS_OK) {
        return error_set(error, STATUS_CORRUPT, "%s/identity: cannot be understood", path);
    }
    if (version != FORMAT_CONTROLLER) {
        char name[TEXT_BYTES];
        (void)snprintf(name, sizeof(name), "%s/identity", path);
        return format_refuse(error, name, version, FORMAT_CONTROLLER, OLDEST_CONTROLLER);
    }
    if (memcmp(theirs, cluster, CLUSTER_ID_BYTES) != 0) {
        rpc_cluster_id_format(cluster, ours);
        return error_set(error, STATUS_WRONG_CLUSTER, "%s belongs to cluster %s, not to %s", path,
                         uuid, ours);
    }
    if (their_id != id) {
        return error_set(error, STATUS_WRONG_IDENTITY,
                         "%s belongs to controller-%u, not to controller-%u", path, their_id, id);
    }
    return STATUS_OK;
}

static enum status claim(int dir, const char *path, const uint8_t cluster[CLUSTER_ID_BYTES],
                         uint32_t id, struct error *error)
{
    char text[TEXT_BYTES], uuid[CLUSTER_ID_TEXT_BYTES];
    enum status status = read_text(dir, path, "identity", text, error);
    if (status == STATUS_OK) {
        return check_identity(path, text, cluster, id, error);
    }
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    if (has_file(dir, "state.db") || has_file(dir, "raft.db") || has_file(dir, "boot")) {
        return error_set(error, STATUS_CORRUPT,
                         "%s has a controller's files but no identity: it is not complete", path);
    }
    rpc_cluster_id_format(cluster, uuid);
    (void)snprintf(text, sizeof(text), "weir controller %d\ncluster %s\nid %u\n", FORMAT_CONTROLLER,
                   uuid, id);
    return write_text(dir, path, "identity", text, error);
}

static enum status raise_boot(int dir, const char *path, uint64_t *out_boot, struct error *error)
{
    char text[TEXT_BYTES];
    unsigned long long boot = 0;
    enum status status = read_text(dir, path, "boot", text, error);
    /* NOLINTNEXTLINE(cert-err34-c): 19 digits always fit */
    if (status == STATUS_OK && (sscanf(text, "%19llu\n", &boot) != 1 || boot == 0)) {
        return error_set(error, STATUS_CORRUPT, "%s/boot: cannot be understood", path);
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    boot++;
    (void)snprintf(text, sizeof(text), "%llu\n", boot);
    status = write_text(dir, path, "boot", text, error);
    if (status == STATUS_OK) {
        *out_boot = boot;
    }
    return status;
}

enum status server_directory_open(const char *path, const uint8_t cluster[CLUSTER_ID_BYTES],
                                  uint32_t id, uint64_t *out_boot, struct error *error)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_set(error, STATUS_IO, "%s: cannot make the directory: %s", path,
                         strerror(errno));
    }
    AUTO(close_fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return error_set(error, STATUS_IO, "%s: cannot open the directory: %s", path,
                         strerror(errno));
    }
    enum status status = lock(dir, path, error);
    if (status == STATUS_OK) {
        status = claim(dir, path, cluster, id, error);
    }
    if (status == STATUS_OK) {
        status = raise_boot(dir, path, out_boot, error);
    }
    return status;
}
