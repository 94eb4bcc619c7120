/* Between json.c (what a shape wants) and json_scan.c (what JSON is, RFC 8259). */
#pragma once

#include "broker/gateway/json.h"

struct json {
    const uint8_t *at, *end;
    struct arena *arena;
    struct api_error *error;
    unsigned depth; /* containers around `at` */
};

struct json_number {
    bool negative;
    uint64_t digits; /* the first 19 */
    int exponent;    /* of ten, for the last of them */
};

/* INVALID, and *error says that this is not JSON. */
NODISCARD enum status json_malformed(struct json *json);

/* The byte after any blanks, 0 at the end. */
uint8_t json_peek(struct json *json);

/* Consumes that byte after any blanks, or the word at `at`, if it is there. */
bool json_take(struct json *json, uint8_t byte);
bool json_take_word(struct json *json, const char *word);

/* What is between the quotes, as it stands and unchecked; `at` is on the first quote. */
NODISCARD enum status json_raw(struct json *json, struct bytes *out, bool *out_escaped);

/* That without its escapes, in the arena. An escape is never shorter than what it stands for. */
NODISCARD enum status json_unescape(struct json *json, struct bytes raw, struct bytes *out);

/* Whether there are control characters, which a string may only have escaped. */
bool json_has_controls(struct bytes text);

/* A whole string: checked, and borrowed from the body where nothing is escaped. */
NODISCARD enum status json_string(struct json *json, struct bytes *out);

/* A member's name and its colon. */
NODISCARD enum status json_name(struct json *json, struct bytes *out);

NODISCARD enum status json_number(struct json *json, struct json_number *out);

/* number * 10^scale without what is behind the point; beyond 64 bits the largest or smallest. */
int64_t json_integer(const struct json_number *number, int scale);

/* Passes over the value at `at`, whatever it is, but not over what is no JSON. */
NODISCARD enum status json_skip(struct json *json);
