/* A backup becomes the beginning of a log. What was decided after it was taken is not known any
 * more, but may live on: in brokers' promises, on their disks, in clients. Every number that may
 * have been given out since is jumped over (db_renew()); epochs jump by themselves when a broker's
 * promise is found above them (docs/replication.md 2.9). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/backup/backup.h"
#include "controller/db/db.h"
#include "controller/server/server.h"

enum { TERM_JUMP = 1 << 20, MARKER_BYTES = 2 * BACKUP_HASH_BYTES + 2 };

static enum status failed(struct error *error, const char *path)
{
    return error_set(error, errno == ENOSPC ? STATUS_DISK_FULL : STATUS_IO, "%s: %s", path,
                     strerror(errno));
}

static void marker_of(const struct backup_head *head, char out[MARKER_BYTES])
{
    for (int i = 0; i < BACKUP_HASH_BYTES; i++) {
        (void)snprintf(out + 2 * (size_t)i, 3, "%02x", head->hash[i]);
    }
    out[MARKER_BYTES - 2] = '\n';
    out[MARKER_BYTES - 1] = '\0';
}

/* Whether the directory was begun with this backup; its log exists. */
static bool is_marked(const char *directory, const char *marker)
{
    char path[PATH_MAX], text[MARKER_BYTES] = "";
    (void)snprintf(path, sizeof(path), "%s/restored", directory);
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1 &&
           strcmp(text, marker) == 0;
}

static enum status mark(const char *directory, const char *marker, struct error *error)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/restored", directory);
    AUTO(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t size = strlen(marker);
    return fd >= 0 && write(fd, marker, size) == (ssize_t)size && fsync(fd) == 0
               ? STATUS_OK
               : failed(error, path);
}

static enum status read_head(int fd, const char *file, const uint8_t cluster[CLUSTER_ID_BYTES],
                             struct backup_head *out, struct error *error)
{
    char text[BACKUP_HEAD_BYTES], theirs[CLUSTER_ID_TEXT_BYTES];
    struct error why = {0};
    ssize_t got = read(fd, text, sizeof(text));
    if (got < 0) {
        return failed(error, file);
    }
    if (got != (ssize_t)sizeof(text)) {
        return error_set(error, STATUS_INVALID, "%s: it is no backup of Weir's controllers", file);
    }
    if (backup_head_read(text, out, &why) != STATUS_OK) {
        return error_set(error, STATUS_INVALID, "%s: %s", file, why.text);
    }
    if (memcmp(out->cluster, cluster, CLUSTER_ID_BYTES) != 0) {
        rpc_cluster_id_format(out->cluster, theirs);
        return error_set(error, STATUS_WRONG_CLUSTER,
                         "%s: is a backup of cluster %s, our certificate is of another one", file,
                         theirs);
    }
    return STATUS_OK;
}

static enum status copy_state(int fd, const char *file, const struct backup_head *head,
                              const char *to, struct error *error)
{
    uint64_t bytes = 0;
    uint8_t hash[BACKUP_HASH_BYTES];
    struct error why = {0};
    AUTO(close_fd) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) {
        return failed(error, to);
    }
    enum status status = backup_measure(fd, out, &bytes, hash, &why);
    if (status != STATUS_OK) {
        return error_set(error, status, "%s: %s", file, why.text);
    }
    if (bytes != head->bytes || memcmp(hash, head->hash, sizeof(hash)) != 0) {
        return error_set(error, STATUS_CORRUPT,
                         "%s: is damaged: its content is not what its head says (%llu of %llu "
                         "bytes)",
                         file, (unsigned long long)bytes, (unsigned long long)head->bytes);
    }
    return fsync(out) == 0 ? STATUS_OK : failed(error, to);
}

static enum status publish(const char *directory, const char *from, uint64_t index,
                           struct error *error)
{
    char path[RAFT_NODE_PATH_BYTES];
    raft_node_restored_path(directory, index, path);
    AUTO(close_fd) int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(close_fd) int fd = open(from, O_RDONLY | O_CLOEXEC);
    return dir >= 0 && fd >= 0 && fsync(fd) == 0 && rename(from, path) == 0 && fsync(dir) == 0
               ? STATUS_OK
               : failed(error, path);
}

enum status server_restore(const char *file, const char *directory,
                           const uint8_t cluster[CLUSTER_ID_BYTES], struct raft_node_restored *out,
                           struct error *error)
{
    char log[PATH_MAX], state[PATH_MAX], marker[MARKER_BYTES];
    struct backup_head head;
    uint64_t index = 0;
    (void)snprintf(log, sizeof(log), "%s/raft.db", directory);
    (void)snprintf(state, sizeof(state), "%s/restore.db", directory);
    AUTO(close_fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return failed(error, file);
    }
    enum status status = read_head(fd, file, cluster, &head, error);
    if (status != STATUS_OK) {
        return status;
    }
    marker_of(&head, marker);
    if (access(log, F_OK) == 0) {
        if (is_marked(directory, marker)) {
            trace(TRACE_INFO, "server", "restore-file: this directory began with it already");
            return STATUS_OK;
        }
        return error_set(error, STATUS_INVALID,
                         "restore-file: %s has a controller's state already: a backup needs an "
                         "empty directory (keep the old one elsewhere until all is well)",
                         directory);
    }
    status = copy_state(fd, file, &head, state, error);
    if (status == STATUS_OK) {
        status = db_renew(state, &index, error);
    }
    if (status == STATUS_OK) {
        status = mark(directory, marker, error);
    }
    if (status == STATUS_OK) {
        status = publish(directory, state, index, error);
    }
    if (status == STATUS_OK) {
        *out = (struct raft_node_restored){.index = index, .term = head.term + TERM_JUMP};
        trace(TRACE_WARNING, "server",
              "restored from %s: the state after entry %llu, which is %llu now. What was changed "
              "after that backup is not known any more",
              file, (unsigned long long)head.index, (unsigned long long)index);
    }
    return status;
}
