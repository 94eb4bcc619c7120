/* Holes in the middle of logs (holes.c). A part of world.h. */
#pragma once

#include "tests/sim/world.h"

enum found { FOUND_BY_READ, FOUND_BY_FEED, FOUND_BY_SEARCH, FOUND_BY_SCRUB };
/* Fits struct replica_log; `context` is a struct reading. */
enum status holes_point_at(void *context, uint64_t end, struct log_point *out);
/* A fault: something becomes unreadable, or what is unreadable is found. */
void holes_fault(struct world *w);
/* One of the last batches of a medium. `known`: somebody has met it. */
bool holes_rot_tail(struct world *w, struct broker *b, uint32_t shard, bool known);
void holes_scrub(struct world *w, struct broker *b, uint32_t shard);
/* Somebody has met the batch at this index of the live log. */
void holes_found(struct world *w, struct broker *b, uint32_t shard, uint32_t index, enum found how);
struct replica_holes holes_known(const struct log *log, uint64_t log_start);
void holes_recovered(struct world *w, struct broker *b, uint32_t shard);
void holes_on_repair(struct world *w, struct broker *b, uint32_t shard, uint64_t due_us);
/* The core wants it at once. */
void holes_urge(struct world *w, struct broker *b, uint32_t shard);
void holes_on_message(struct world *w, struct broker *b, const struct message *m);
bool log_is_whole(const struct log *log, uint64_t log_start);
/* A voter of the shard has something that cannot be read. */
bool holes_beside(const struct world *w, uint32_t shard, const struct broker *b);
/* A leader writes alone, and comes back with a hole in what nobody else has. */
void nemesis_hole(struct world *w);
