/* Blocks and files, for journal.c. */
#pragma once

#include "broker/journal/private.h"

/* Finishes the open block and queues it. */
void journal_block_close(struct journal *j);

/* Begins a file: the state of all shards goes first. */
NODISCARD enum status journal_file_roll(struct journal *j);
