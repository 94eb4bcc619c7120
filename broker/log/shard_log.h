/* For recovery: the rule by which a log is divided into segments. */
#pragma once

#include "broker/log/private.h"

/* Whether a batch of `bytes` begins a new segment: a function of the log's bytes alone, so that
 * replicas have equal files. */
bool log_segment_is_full(const struct store *store, const struct segment *segment, uint64_t bytes);
