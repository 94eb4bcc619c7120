/* What the tests of the library share: a fake cluster, a client of it, and what its callbacks saw.
 */
#pragma once

#include "fake_cluster.h"

enum { RECORDS = 200 };

struct scene {
    struct fake fake;
    struct weir_producer *producer;
    struct weir_reader *reader;
    struct weir_error error;
    struct weir_records *records;
    bool over;
    unsigned acked, failed, duplicates;
    struct weir_position position[RECORDS];
    enum weir_status status[RECORDS];
    unsigned expected;
};

extern struct scene scene;

/* `created`: the stream is there. */
void begin(bool created);
void end(void);

/* A weir_done_fn, and waiting for it (or for the last expected acknowledgement). */
void done(const struct weir_error *error, void *context);
void wait_over(void);

void producer_opened(struct weir_producer *producer, const struct weir_error *error, void *context);
void open_producer(uint32_t timeout_ms);
void acked(const struct weir_ack *ack, void *context);
/* Puts "record FIRST" and so on, all with one key. */
void put(unsigned first, unsigned count);
/* What is in the log is what was put, once and in order, where the acknowledgements say. */
void expect_log(unsigned count);
