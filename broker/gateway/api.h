/* From a body to what a handler reads, and from what it answers back to a body: one entry for both
 * encodings. Pure; everything lives in the request's arena. */
#pragma once

#include "broker/gateway/api_error.h"
#include "broker/gateway/api_shapes.h"
#include "broker/gateway/value.h"

enum api_encoding {
    API_JSON, /* application/x-amz-json-1.1 */
    API_CBOR, /* application/x-amz-cbor-1.1 */
};

/* The encoding's content type, of requests and answers. */
const char *api_content_type(enum api_encoding encoding);

/* Which encoding a Content-Type header asks for, parameters and case aside. False: neither. */
bool api_encoding_of(struct bytes content_type, enum api_encoding *out);

/* A body as a structure of `shape`, decoded and validated. Unknown members are ignored, null ones
 * absent, the last of two counts. Strings borrow from `body`, which must stay as long as the tree.
 *
 * INVALID or NO_MEMORY with *error filled: SerializationException, ValidationException or
 * InternalFailureException, with AWS's texts. */
NODISCARD enum status api_parse(const struct shape *shape, enum api_encoding encoding,
                                struct bytes body, struct arena *arena, const struct value **out,
                                struct api_error *error);

/* The first half of api_parse(): types are right, constraints unchecked. */
NODISCARD enum status api_decode(const struct shape *shape, enum api_encoding encoding,
                                 struct bytes body, struct arena *arena, const struct value **out,
                                 struct api_error *error);

/* Appends the value (NULL: an arena has failed) to *out. What is not UTF-8 in a string becomes
 * U+FFFD: keys and names may have come through another door. NO_MEMORY: *out is as before. */
NODISCARD enum status api_encode(enum api_encoding encoding, const struct value *value,
                                 struct buf *out);

/* Appends the body of an error: __type, and message (Message for SerializationException in JSON,
 * as AWS has it) when there is a text. */
NODISCARD enum status api_encode_error(enum api_encoding encoding, const struct api_error *error,
                                       struct buf *out);

/* Whether an answer is what its shape says: known members, right types, required ones present.
 * For tests of handlers. The first fault's path goes to `where` (may be NULL). */
bool api_conforms(const struct shape *shape, const struct value *value, char *where,
                  size_t where_size);

/* Bounds of what is read, whatever the shape (docs/security.md). */
enum {
    API_DEPTH_MAX = 16,
    API_LIST_ITEMS_MAX = 10000,
    API_MAP_ITEMS_MAX = 1000, /* five times what any shape allows */
};
