/* What json.c and cbor.c share. */
#pragma once

#include "broker/gateway/api.h"

/* The first byte of the input chooses an operation, the rest is its body. What can be read can be
 * written in both encodings, and is the same when it is read again; only then it may be validated.
 */
void codec_check(enum api_encoding encoding, const uint8_t *data, size_t size);
