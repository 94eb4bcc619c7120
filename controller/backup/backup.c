#include "controller/backup/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/formats.h"
#include "proto/rpc/rpc.h"

enum { FORMAT = FORMAT_BACKUP, PIECE = 256 * 1024, HEX_BYTES = 2 * BACKUP_HASH_BYTES + 1 };

void backup_head_write(const struct backup_head *head, char out[BACKUP_HEAD_BYTES])
{
    char cluster[CLUSTER_ID_TEXT_BYTES], hex[HEX_BYTES];
    rpc_cluster_id_format(head->cluster, cluster);
    for (int i = 0; i < BACKUP_HASH_BYTES; i++) {
        (void)snprintf(hex + 2 * (size_t)i, 3, "%02x", head->hash[i]);
    }
    memset(out, '\n', BACKUP_HEAD_BYTES);
    int size = snprintf(out, BACKUP_HEAD_BYTES,
                        "weir controllers backup %d\ncluster %s\nindex %" PRIu64 "\nterm %" PRIu64
                        "\nbytes %" PRIu64 "\nsha256 %s\ntime %" PRIu64 "\nsoftware %s\n",
                        FORMAT, cluster, head->index, head->term, head->bytes, hex, head->time_ms,
                        head->software);
    out[size] = '\n'; /* instead of its zero */
}

static bool parse_hash(const char *hex, uint8_t out[BACKUP_HASH_BYTES])
{
    if (strlen(hex) != HEX_BYTES - 1 || strspn(hex, "0123456789abcdef") != HEX_BYTES - 1) {
        return false;
    }
    for (size_t i = 0; i < BACKUP_HASH_BYTES; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

enum status backup_head_read(const char text[BACKUP_HEAD_BYTES], struct backup_head *out,
                             struct error *error)
{
    char copy[BACKUP_HEAD_BYTES + 1], cluster[64], hex[80];
    struct backup_head head = {0};
    unsigned format = 0;
    memcpy(copy, text, BACKUP_HEAD_BYTES);
    copy[BACKUP_HEAD_BYTES] = '\0';
    /* NOLINTNEXTLINE(cert-err34-c): what it is compared with refuses a number too large */
    if (sscanf(copy, "weir controllers backup %9u\n", &format) != 1) {
        return error_set(error, STATUS_INVALID, "it is no backup of Weir's controllers");
    }
    if (format > FORMAT) {
        return format_refuse(error, "it", format, FORMAT, OLDEST_BACKUP);
    }
    /* NOLINTNEXTLINE(cert-err34-c): 19 digits always fit */
    if (sscanf(copy,
               "weir controllers backup %*u\ncluster %63s\nindex %19" SCNu64 "\nterm %19" SCNu64
               "\nbytes %19" SCNu64 "\nsha256 %79s\ntime %19" SCNu64 "\nsoftware %63[^\n]",
               cluster, &head.index, &head.term, &head.bytes, hex, &head.time_ms,
               head.software) != 7 ||
        rpc_cluster_id_parse(cluster, head.cluster) != STATUS_OK || !parse_hash(hex, head.hash) ||
        head.index == 0 || head.term == 0 || head.bytes == 0) {
        return error_set(error, STATUS_INVALID, "its head cannot be understood");
    }
    *out = head;
    return STATUS_OK;
}

static void free_digest(EVP_MD_CTX **digest)
{
    EVP_MD_CTX_free(*digest);
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno != EINTR) {
            return false;
        }
        data += put < 0 ? 0 : put;
        size -= put < 0 ? 0 : (size_t)put;
    }
    return true;
}

enum status backup_measure(int fd, int copy_fd, uint64_t *out_bytes,
                           uint8_t out_hash[BACKUP_HASH_BYTES], struct error *error)
{
    AUTO(free_digest) EVP_MD_CTX *digest = EVP_MD_CTX_new();
    AUTO(free_pointer) uint8_t *piece = malloc(PIECE);
    if (digest == NULL || piece == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    uint64_t bytes = 0;
    for (;;) {
        ssize_t got = read(fd, piece, PIECE);
        if (got == 0) {
            break;
        }
        if (got < 0 || (copy_fd >= 0 && !write_all(copy_fd, piece, (size_t)got))) {
            return error_set(error, errno == ENOSPC ? STATUS_DISK_FULL : STATUS_IO, "%s",
                             strerror(errno));
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
