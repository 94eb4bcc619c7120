/* Between store.c, run.c and inspect.c. */
#pragma once

#include "broker/log/private.h"

/* Memory only. */
NODISCARD enum status store_new(const struct store_options *options, struct store **out,
                                struct error *error);
/* Without syncing or calling back; any state of an open that failed. */
void store_free(struct store *store);

uint64_t store_default_reserve(const struct disk_space *space);
void log_ops_release(struct store *store);
