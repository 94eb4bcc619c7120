/* JSON 1.1 of AWS: blobs are base64, times are seconds with a fraction, nulls are left out.
 *
 * The reader is guided by the shape and copies only what is escaped or base64: nothing is built of
 * members that nobody knows. Own, because a general reader (jansson) makes a second tree with an
 * allocation for each node, copies every string and refuses what is beyond 64 bits. */
#pragma once

#include "broker/gateway/api.h"

/* As api_decode(). */
NODISCARD enum status json_decode(const struct shape *shape, struct bytes body, struct arena *arena,
                                  const struct value **out, struct api_error *error);

/* As api_encode(). */
NODISCARD enum status json_encode(const struct value *value, struct buf *out);
