/* Writes JSON into a buffer. Commas, colons and escapes are right by themselves; nesting is the
 * caller's. Memory that runs out is noticed at the end: `failed`. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* A zeroed struct is empty. */
struct json {
    struct buf out;
    bool needs_comma, failed;
};

/* `key` is NULL inside arrays and at the top. */
void json_object_begin(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_array_begin(struct json *json, const char *key);
void json_array_end(struct json *json);
void json_number(struct json *json, const char *key, uint64_t value);
void json_signed(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);

/* Text must be UTF-8; what is not becomes U+FFFD, byte by byte. */
void json_string(struct json *json, const char *key, const char *text);
void json_text(struct json *json, const char *key, struct bytes text);
/* Bytes as a base64 string. */
void json_base64(struct json *json, const char *key, struct bytes bytes);

/* A line break, and ready for the next value: one object a line. */
void json_line_end(struct json *json);

void json_release(struct json *json);
