/* Repairs and the scrubber as parts of the server, and what is told about them. Private. */
#pragma once

#include "broker/server/server_internal.h"

struct metrics;

NODISCARD enum status mend_open(struct server *s); /* after shards and links. NO_MEMORY */
void mend_close(struct server *s);                 /* nothing new is begun */
void mend_free(struct server *s);                  /* after the store */

/* Hook of the shards: a leader waits for it. `context` is the server. */
void mend_repair(void *context, const struct shard *shard, uint64_t offset);

void mend_tell(struct server *s); /* for the beats: once a second */
void mend_metrics(const struct server *s, struct metrics *m);
