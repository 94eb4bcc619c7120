/* A controller's database for tests of commands: one stream "orders" on brokers 1, 2 and 3 in the
 * zones a, b and c, and the commands that elections, moves and administrators give, applied one in
 * an entry. Every helper fails the test on what it does not expect. */
#pragma once

#include "controller/db/db.h"
#include "proto/schema/command.pb-c.h"

struct rows {
    struct db *db;
    uint64_t clock_ms; /* that commands carry */
    uint64_t next_index;
    char path[64];
};

/* The one of this program. */
extern struct rows rows;

/* Empty but for the cluster's own rows, and removed again. */
void rows_open(void);
void rows_close(void);
/* The three brokers and the stream. */
void rows_begin(uint32_t shards);

/* One command; its result's status. The text of its answer is in rows_said() until the next. */
enum status rows_apply(Weir__Command *command);
const char *rows_said(void);

enum status rows_add_broker(uint32_t id, const char *zone, uint8_t disk_number);
struct db_broker rows_broker(uint32_t id);
struct db_shard rows_shard(uint32_t number);

/* Begins an election of shard `number`. */
void rows_electing(uint32_t number);
/* The voter at `at` wins the election that is under way; `swapped`: under the old configuration. */
void rows_elect(uint32_t number, uint32_t at, bool swapped);
/* The joint configuration of shard 0 is over. */
void rows_stable(void);

/* Moves of shard 0's replicas. from == 0: one more. */
void rows_move_begin(uint32_t from, uint32_t from_gen, uint32_t to);
void rows_move_join(uint32_t epoch);
void rows_move_end(void);

/* Whether the broker votes on shard 0, and as which of the voters. */
bool rows_votes(uint32_t broker);
uint32_t rows_place(uint32_t broker);
