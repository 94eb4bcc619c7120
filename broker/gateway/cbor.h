/* CBOR 1.1 of AWS (RFC 8949): blobs are byte strings, times are tag 1 and milliseconds. Lengths
 * may be definite or not when read; they are definite when written.
 *
 * Own, because libcbor makes a tree before anybody knows the shape, allocates what an array's head
 * announces before it has seen the items, and copies every string. */
#pragma once

#include "broker/gateway/api.h"

/* As api_decode(). */
NODISCARD enum status cbor_decode(const struct shape *shape, struct bytes body, struct arena *arena,
                                  const struct value **out, struct api_error *error);

/* As api_encode(). */
NODISCARD enum status cbor_encode(const struct value *value, struct buf *out);
