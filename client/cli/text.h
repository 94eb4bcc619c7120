/* Texts that programs print: UTF-8, base64, times and sizes. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

/* Well-formed UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
bool text_is_utf8(struct bytes bytes);

/* Appends the base64 of RFC 4648, with padding. */
NODISCARD enum status text_base64(struct bytes bytes, struct buf *out);

enum { TEXT_TIME_BYTES = 32, TEXT_SIZE_BYTES = 16 };

/* "2026-03-01T12:00:00.123Z" */
void text_time(uint64_t unix_ms, char out[TEXT_TIME_BYTES]);

/* Seconds since 1970, with a fraction if need be ("1700000000.5"), or "2026-03-01",
 * "2026-03-01T12:00:00", with an optional fraction and "Z": UTC. INVALID: neither. */
NODISCARD enum status text_parse_time(const char *text, uint64_t *out_ms);

/* "17.3 GiB" */
void text_size(uint64_t bytes, char out[TEXT_SIZE_BYTES]);
