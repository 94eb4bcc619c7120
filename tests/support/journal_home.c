#include "tests/support/journal_home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "proto/wire/batch.h"

static enum status write_state(void *context, struct journal *journal)
{
    struct journal_home *home = context;
    struct journal_state state = {.disk_gen = 1};
    return journal_append_state(journal, &home->shard[0], &state);
}

static uint64_t state_bytes(void *context)
{
    (void)context;
    return journal_state_size(0);
}

void journal_home_init(struct journal_home *home, const struct disk *disk)
{
    *home = (struct journal_home){0};
    const char *root = getenv("TMPDIR");
    (void)snprintf(home->dir, sizeof(home->dir), "%s/weir-journal-XXXXXX",
                   root != NULL ? root : "/tmp");
    assert_non_null(mkdtemp(home->dir));
    home->options = (struct journal_options){
        .disk = disk,
        .dir = home->dir,
        .id = {7, 7, 7},
        .file_bytes = 1024 * 1024,
        .files_max = 6,
        .ring_bytes = 1024 * 1024,
        .block_bytes = 32 * 1024,
        .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .write_state = write_state,
        .state_bytes = state_bytes,
        .context = home,
    };
}

void journal_home_format(struct journal_home *home)
{
    struct error error = {0};
    assert_int_equal(journal_format(&home->options, &error), STATUS_OK);
}

void journal_home_recover(struct journal_home *home, const struct journal_visitor *visitor)
{
    struct error error = {0};
    for (uint32_t i = 0; i < JOURNAL_HOME_SHARDS; i++) {
        home->shard[i] = (struct journal_shard){.id = 1000 + i};
    }
    if (journal_open(&home->options, &home->journal, &error) != STATUS_OK ||
        journal_recover(home->journal, visitor, &home->recovery, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
}

void journal_home_start(struct journal_home *home, const struct journal_visitor *visitor)
{
    struct error error = {0};
    journal_home_recover(home, visitor);
    if (journal_start(home->journal, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
}

void journal_home_stop(struct journal_home *home)
{
    journal_close(home->journal);
    home->journal = NULL;
}

void journal_home_release(struct journal_home *home)
{
    journal_home_stop(home);
    (void)close(home->options.event_fd);
    char command[256];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", home->dir);
    assert_int_equal(system(command), 0);
}

struct bytes journal_home_batch(uint64_t shard, size_t payload)
{
    static uint8_t memory[13 * 1024 * 1024];
    assert_true(payload <= sizeof(memory) - BATCH_HEADER_BYTES);
    memset(memory + BATCH_HEADER_BYTES, (int)(shard & 0x7f), payload);
    struct batch_header h = {.payload_crc = crc32c(0, memory + BATCH_HEADER_BYTES, payload),
                             .payload_bytes = (uint32_t)payload,
                             .shard = shard,
                             .epoch = 1,
                             .count = 1};
    batch_header_encode(&h, memory);
    return bytes_of(memory, BATCH_HEADER_BYTES + payload);
}
