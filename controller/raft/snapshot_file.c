#include "controller/raft/snapshot_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/cleanup.h"

enum { PIECE = 256 * 1024 };

void raft_snapshot_path(const char *dir, uint64_t index, char out[RAFT_SNAPSHOT_PATH_BYTES])
{
    (void)snprintf(out, RAFT_SNAPSHOT_PATH_BYTES, "%s/snapshot-%020llu", dir,
                   (unsigned long long)index);
}

void raft_snapshot_taking_path(const char *dir, char out[RAFT_SNAPSHOT_PATH_BYTES])
{
    (void)snprintf(out, RAFT_SNAPSHOT_PATH_BYTES, "%s/snapshot.taking", dir);
}

static void incoming_path(const char *dir, char out[RAFT_SNAPSHOT_PATH_BYTES])
{
    (void)snprintf(out, RAFT_SNAPSHOT_PATH_BYTES, "%s/snapshot.incoming", dir);
}

static enum status io_error(const char *path, struct error *error)
{
    return error_set(error, errno == ENOSPC || errno == EDQUOT ? STATUS_DISK_FULL : STATUS_IO,
                     "%s: %s", path, strerror(errno));
}

static void free_digest(EVP_MD_CTX **digest)
{
    EVP_MD_CTX_free(*digest);
}

static EVP_MD_CTX *digest_new(void)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        digest = NULL;
    }
    return digest;
}

enum status raft_snapshot_measure(const char *path, bool sync, uint64_t *out_bytes,
                                  uint8_t out_hash[RAFT_HASH_BYTES], struct error *error)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(free_digest) EVP_MD_CTX *digest = digest_new();
    AUTO(free_pointer) uint8_t *piece = malloc(PIECE);
    if (fd < 0 || (sync && fsync(fd) != 0)) {
        return io_error(path, error);
    }
    if (digest == NULL || piece == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    uint64_t bytes = 0;
    for (;;) {
        ssize_t got = read(fd, piece, PIECE);
        if (got < 0) {
            return io_error(path, error);
        }
        if (got == 0) {
            break;
        }
        bytes += (uint64_t)got;
        if (EVP_DigestUpdate(digest, piece, (size_t)got) != 1) {
            return error_set(error, STATUS_INTERNAL, "SHA-256 failed");
        }
    }
    if (EVP_DigestFinal_ex(digest, out_hash, NULL) != 1) {
        return error_set(error, STATUS_INTERNAL, "SHA-256 failed");
    }
    *out_bytes = bytes;
    return STATUS_OK;
}

enum status raft_snapshot_check(const char *dir, const struct raft_snapshot_info *info,
                                struct error *error)
{
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    uint8_t hash[RAFT_HASH_BYTES];
    uint64_t bytes = 0;
    raft_snapshot_path(dir, info->index, path);
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        return error_set(error, STATUS_CORRUPT, "%s is missing: replace this controller", path);
    }
    enum status status = raft_snapshot_measure(path, false, &bytes, hash, error);
    if (status == STATUS_OK &&
        (bytes != info->bytes || memcmp(hash, info->hash, RAFT_HASH_BYTES) != 0)) {
        status = error_set(error, STATUS_CORRUPT, "%s is damaged: replace this controller", path);
    }
    return status;
}

static enum status publish(const char *dir, const char *from, uint64_t index, struct error *error)
{
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_path(dir, index, path);
    AUTO(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rename(from, path) != 0 || fd < 0 || fsync(fd) != 0) {
        return io_error(path, error);
    }
    return STATUS_OK;
}

enum status raft_snapshot_publish_taking(const char *dir, uint64_t index, struct error *error)
{
    char from[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_taking_path(dir, from);
    return publish(dir, from, index, error);
}

enum status raft_snapshot_publish_incoming(const char *dir, uint64_t index, struct error *error)
{
    char from[RAFT_SNAPSHOT_PATH_BYTES];
    incoming_path(dir, from);
    AUTO(close_fd) int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        return io_error(from, error);
    }
    return publish(dir, from, index, error);
}

void raft_snapshot_remove_others(const char *dir, uint64_t keep)
{
    DIR *entries = opendir(dir);
    if (entries == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        char *end = NULL;
        if (strncmp(entry->d_name, "snapshot-", 9) != 0) {
            continue;
        }
        uint64_t index = strtoull(entry->d_name + 9, &end, 10);
        if (*end == 0 && index < keep) {
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
        }
    }
    (void)closedir(entries);
}

/* ---- reading and receiving ---- */

void raft_snapshot_io_init(struct raft_snapshot_io *io, const char *dir)
{
    *io = (struct raft_snapshot_io){.dir = dir, .read_fd = -1, .incoming_fd = -1};
}

void raft_snapshot_io_release(struct raft_snapshot_io *io)
{
    if (io->read_fd >= 0) {
        (void)close(io->read_fd);
    }
    if (io->incoming_fd >= 0) {
        (void)close(io->incoming_fd);
    }
    EVP_MD_CTX_free(io->hash);
    raft_snapshot_io_init(io, io->dir);
}

enum status raft_snapshot_read(struct raft_snapshot_io *io, uint64_t index, uint64_t offset,
                               uint8_t *out, size_t size)
{
    if (io->read_fd >= 0 && io->read_index != index) {
        (void)close(io->read_fd);
        io->read_fd = -1;
    }
    if (io->read_fd < 0) {
        char path[RAFT_SNAPSHOT_PATH_BYTES];
        raft_snapshot_path(io->dir, index, path);
        io->read_fd = open(path, O_RDONLY | O_CLOEXEC);
        io->read_index = index;
    }
    if (io->read_fd < 0) {
        return STATUS_IO;
    }
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(io->read_fd, out + done, size - done, (off_t)(offset + done));
        if (got <= 0) {
            return got == 0 ? STATUS_CORRUPT : STATUS_IO;
        }
        done += (size_t)got;
    }
    return STATUS_OK;
}

enum status raft_snapshot_receive_begin(struct raft_snapshot_io *io)
{
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    incoming_path(io->dir, path);
    if (io->incoming_fd >= 0) {
        (void)close(io->incoming_fd);
    }
    EVP_MD_CTX_free(io->hash);
    io->hash = digest_new();
    io->incoming_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (io->hash == NULL) {
        return STATUS_NO_MEMORY;
    }
    return io->incoming_fd >= 0 ? STATUS_OK : io_error(path, NULL);
}

enum status raft_snapshot_receive_append(struct raft_snapshot_io *io, struct bytes chunk)
{
    CHECK(io->incoming_fd >= 0);
    for (size_t done = 0; done < chunk.size;) {
        ssize_t put = write(io->incoming_fd, chunk.data + done, chunk.size - done);
        if (put < 0) {
            return io_error("snapshot.incoming", NULL);
        }
        done += (size_t)put;
    }
    return EVP_DigestUpdate(io->hash, chunk.data, chunk.size) == 1 ? STATUS_OK : STATUS_INTERNAL;
}

enum status raft_snapshot_receive_end(struct raft_snapshot_io *io,
                                      const uint8_t hash[RAFT_HASH_BYTES])
{
    uint8_t own[RAFT_HASH_BYTES];
    CHECK(io->incoming_fd >= 0);
    (void)close(io->incoming_fd);
    io->incoming_fd = -1;
    if (EVP_DigestFinal_ex(io->hash, own, NULL) != 1) {
        return STATUS_INTERNAL;
    }
    return memcmp(own, hash, RAFT_HASH_BYTES) == 0 ? STATUS_OK : STATUS_CORRUPT;
}
