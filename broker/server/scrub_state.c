#include "broker/server/scrub_state.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/formats.h"

/* 0 u32 magic "WSCR"  4 u32 crc over the rest  8 u32 format  12 u32 late  16 six u64 */
enum {
    SCRUB_MAGIC = 0x52435357,
    SCRUB_FORMAT = FORMAT_SCRUB,
    SCRUB_BYTES = 64,
    SCRUB_PATH_BYTES = 512
};

bool scrub_state_read(const char *dir, struct scrub_state *out)
{
    *out = (struct scrub_state){0};
    char path[SCRUB_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/scrub", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    uint8_t file[SCRUB_BYTES];
    ssize_t got = read(fd, file, sizeof(file));
    (void)close(fd);
    if (got != SCRUB_BYTES || get_u32(file) != SCRUB_MAGIC || get_u32(file + 8) != SCRUB_FORMAT ||
        get_u32(file + 4) != crc32c(0, file + 8, SCRUB_BYTES - 8)) {
        return false;
    }
    *out = (struct scrub_state){.passes = get_u64(file + 16),
                                .started_ms = get_u64(file + 24),
                                .finished_ms = get_u64(file + 32),
                                .bytes = get_u64(file + 40),
                                .shard = get_u64(file + 48),
                                .segment = get_u64(file + 56),
                                .late = get_u32(file + 12) != 0};
    return true;
}

void scrub_state_write(const char *dir, const struct scrub_state *state)
{
    uint8_t file[SCRUB_BYTES] = {0};
    put_u32(file, SCRUB_MAGIC);
    put_u32(file + 8, SCRUB_FORMAT);
    put_u32(file + 12, state->late ? 1 : 0);
    put_u64(file + 16, state->passes);
    put_u64(file + 24, state->started_ms);
    put_u64(file + 32, state->finished_ms);
    put_u64(file + 40, state->bytes);
    put_u64(file + 48, state->shard);
    put_u64(file + 56, state->segment);
    put_u32(file + 4, crc32c(0, file + 8, SCRUB_BYTES - 8));
    char path[SCRUB_PATH_BYTES], temporary[SCRUB_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/scrub", dir);
    (void)snprintf(temporary, sizeof(temporary), "%s/scrub.new", dir);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        return;
    }
    bool written = write(fd, file, sizeof(file)) == SCRUB_BYTES;
    (void)close(fd);
    if (written) {
        (void)rename(temporary, path);
    }
}
