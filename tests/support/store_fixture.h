/* A store in a directory of its own, for tests: opens, appends made-up batches, checks what is read
 * back. Every helper fails the test on what it does not expect. */
#pragma once

#include "broker/log/log.h"

struct store_fixture {
    char dir[128];
    struct store_options options;
    struct store *store;
    uint64_t synced;
};

/* A fresh directory under $TMPDIR or /tmp; small files, so that they roll soon. */
void fixture_init(struct store_fixture *f);
void fixture_open(struct store_fixture *f);
/* Ends the store in good order. */
void fixture_close(struct store_fixture *f);
/* Removes the directory. */
void fixture_release(struct store_fixture *f);

enum { TEST_PAYLOAD_MAX = 1024 * 1024 };

/* A batch of `count` records that continues the log; the payload depends on offset, epoch and
 * size only. *out_size may be NULL. */
struct bytes test_batch(const struct shard_log *log, uint32_t epoch, uint32_t count, size_t payload,
                        uint64_t append_ms, struct batch_header *out_header);

/* Waits until the store takes a batch of so many bytes. */
void fixture_admit(struct store_fixture *f, size_t bytes);

/* Appends one and returns its lsn, polling while the store says BUSY. */
uint64_t fixture_append(struct store_fixture *f, struct shard_log *log, uint32_t epoch,
                        uint32_t count, size_t payload);

/* Makes a shard, synced. */
struct shard_log *fixture_create(struct store_fixture *f, uint64_t id);
/* So many batches of two records, synced; the last one's lsn. */
uint64_t fixture_append_many(struct store_fixture *f, struct shard_log *log, uint32_t epoch,
                             uint32_t batches, size_t payload);
/* Those in a folder of the directory; 0 too when there is none. */
uint32_t fixture_files_in(const struct store_fixture *f, const char *sub);

/* Polls until everything up to `lsn` is synced. */
void fixture_wait(struct store_fixture *f, uint64_t lsn);

struct log_point fixture_last(const struct shard_log *log);

/* Reads the whole log from tail and segments, checks chain, offsets and payloads; returns its end.
 */
uint64_t fixture_check_log(struct store_fixture *f, struct shard_log *log);

/* Whether a batch, which decodes to *h, has the payload that test_batch() makes. */
bool fixture_payload_is_good(struct bytes batch, const struct batch_header *h);

/* An asynchronous read, waited for. */
enum status fixture_read(struct store_fixture *f, struct log_read *read);
