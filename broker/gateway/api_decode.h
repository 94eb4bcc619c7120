/* What the two readers share: how types that do not fit are refused. */
#pragma once

#include "broker/gateway/api.h"

/* What was found where a shape wanted something else. */
enum token {
    TOKEN_NUMBER,
    TOKEN_STRING,
    TOKEN_BOOLEAN,
    TOKEN_BYTES, /* CBOR only */
    TOKEN_LIST,
    TOKEN_MAP,
};

/* INVALID with AWS's text. `text` is a string's own (for a boolean's text), else {NULL, 0}. */
NODISCARD enum status decode_type_error(const struct shape *shape, enum token token,
                                        struct bytes text, struct arena *arena,
                                        struct api_error *error);

/* Not JSON or CBOR at all, or beyond a bound: AWS gives no text. */
NODISCARD enum status decode_malformed(struct api_error *error);

NODISCARD enum status decode_no_memory(struct api_error *error);

/* A number of a SHAPE_INTEGER or SHAPE_LONG: what does not fit becomes the largest or smallest. */
int64_t decode_clamp(const struct shape *shape, int64_t number);

/* A string given for a boolean: "true", "no" and their kind. False: none of them. */
bool decode_boolean_text(struct bytes text, bool *out);
