/* The constraints of a shape, checked as AWS does: all of them, up to ten faults in one
 * ValidationException, each with the path of the member ("records.2.member.partitionKey"). */
#pragma once

#include "broker/gateway/api_error.h"
#include "broker/gateway/api_shapes.h"
#include "broker/gateway/value.h"

enum { VALIDATE_FAULTS_MAX = 10 };

/* INVALID with *error filled; NO_MEMORY too. Values that a text quotes are cut at 4 KiB. */
NODISCARD enum status validate(const struct shape *shape, const struct value *value,
                               struct arena *arena, struct api_error *error);

/* The regular expression of a pattern, as the texts show it. */
const char *pattern_text(enum pattern pattern);

/* Whether all of `text` matches; linear in its length. */
bool pattern_matches(enum pattern pattern, struct bytes text);
