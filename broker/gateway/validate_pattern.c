#include "broker/gateway/validate.h"

/* Matched by hand: a general matcher would take quadratic time on hostile names. */

const char *pattern_text(enum pattern pattern)
{
    switch (pattern) {
    case PATTERN_NONE:
        break;
    case PATTERN_NAME:
        return "[a-zA-Z0-9_.-]+";
    case PATTERN_HASH_KEY:
        return "0|([1-9]\\d{0,38})";
    case PATTERN_SEQUENCE_NUMBER:
        return "0|([1-9]\\d{0,128})";
    case PATTERN_STREAM_ARN:
        return "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+";
    case PATTERN_CONSUMER_ARN:
        return "^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/"
               "[a-zA-Z0-9_.-]+:[0-9]+";
    case PATTERN_RESOURCE_ARN:
        return "arn:aws.*:kinesis:.*:\\d{12}:.*stream/\\S+";
    case PATTERN_STREAM_ID:
        return "[a-z0-9]{20}-[a-z0-9]{3}";
    }
    return ".*";
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_name(uint8_t c)
{
    return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-';
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* How many characters from `at` on are names, or digits. */
static size_t run(struct bytes text, size_t at, bool (*is)(uint8_t c))
{
    size_t end = at;
    while (end < text.size && is(text.data[end])) {
        end++;
    }
    return end - at;
}

static bool is_number(struct bytes text, size_t digits_max)
{
    return text.size >= 1 && text.size <= digits_max && run(text, 0, is_digit) == text.size &&
           (text.data[0] != '0' || text.size == 1);
}

static bool is_stream_id(struct bytes text)
{
    enum { FIRST = 20, SECOND = 3 };
    if (text.size != FIRST + 1 + SECOND) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (i == FIRST ? c != '-' : !is_digit(c) && !is_lower(c)) {
            return false;
        }
    }
    return true;
}

/* Behind the first occurrence of `word` at or after `at`; SIZE_MAX when there is none. */
static size_t behind(struct bytes text, size_t at, const char *word)
{
    size_t size = strlen(word);
    if (at > text.size) {
        return SIZE_MAX;
    }
    const uint8_t *found = memmem(text.data + at, text.size - at, word, size);
    return found ? (size_t)(found - text.data) + size : SIZE_MAX;
}

/* Behind the first ":\d{12}:" at or after `at`, on its last colon, from `at` on. */
static size_t behind_account(struct bytes text, size_t at)
{
    enum { DIGITS = 12 };
    while (at < text.size) {
        size_t digits = behind(text, at, ":");
        if (digits == SIZE_MAX) {
            break;
        }
        size_t count = run(text, digits, is_digit);
        if (count == DIGITS && digits + count < text.size && text.data[digits + count] == ':') {
            return digits + count + 1;
        }
        at = digits + count;
    }
    return SIZE_MAX;
}

/* The account's end in "arn:aws.*:kinesis:.*:\d{12}:"; SIZE_MAX when it does not begin so. A line
 * never matches beyond its end. */
static size_t arn_start(struct bytes text)
{
    static const char start[] = "arn:aws";
    if (text.size < sizeof start - 1 || memcmp(text.data, start, sizeof start - 1) != 0 ||
        memchr(text.data, '\n', text.size) || memchr(text.data, '\r', text.size)) {
        return SIZE_MAX;
    }
    size_t service = behind(text, sizeof start - 1, ":kinesis:");
    return service == SIZE_MAX ? SIZE_MAX : behind_account(text, service);
}

/* Behind the last blank at or after `at`; \S+ can only begin there. */
static size_t behind_blanks(struct bytes text, size_t at)
{
    size_t end = text.size;
    while (end > at && !is_blank(text.data[end - 1])) {
        end--;
    }
    return end;
}

/* Whether the rest from some "stream/" on is not empty and has no blank. The first one behind every
 * blank leaves the longest rest. */
static bool ends_with_stream(struct bytes text, size_t at)
{
    size_t earliest = behind_blanks(text, at);
    for (size_t name = behind(text, at, "stream/"); name != SIZE_MAX;
         name = behind(text, name, "stream/")) {
        if (name >= earliest) {
            return name < text.size;
        }
    }
    return false;
}

static bool is_stream_arn(struct bytes text)
{
    static const char word[] = "stream/";
    const size_t size = sizeof word - 1;
    size_t at = arn_start(text);
    size_t earliest = at == SIZE_MAX ? 0 : behind_blanks(text, at);
    for (; at != SIZE_MAX; at = behind_account(text, at - 1)) {
        if (text.size - at > size && memcmp(text.data + at, word, size) == 0 &&
            at + size >= earliest) {
            return true;
        }
    }
    return false;
}

static bool is_resource_arn(struct bytes text)
{
    size_t at = arn_start(text);
    return at != SIZE_MAX && ends_with_stream(text, at);
}

/* NAME/consumer/NAME:DIGITS to the end. */
static bool is_consumer_rest(struct bytes text, size_t at)
{
    static const char word[] = "/consumer/";
    size_t name = run(text, at, is_name);
    at += name;
    if (!name || text.size - at < sizeof word - 1 ||
        memcmp(text.data + at, word, sizeof word - 1) != 0) {
        return false;
    }
    at += sizeof word - 1;
    name = run(text, at, is_name);
    at += name;
    if (!name || at == text.size || text.data[at] != ':') {
        return false;
    }
    size_t digits = run(text, at + 1, is_digit);
    return digits > 0 && at + 1 + digits == text.size;
}

static bool is_consumer_arn(struct bytes text)
{
    size_t at = arn_start(text);
    while (at != SIZE_MAX) {
        at = behind(text, at, "stream/");
        if (at != SIZE_MAX && is_consumer_rest(text, at)) {
            return true;
        }
    }
    return false;
}

bool pattern_matches(enum pattern pattern, struct bytes text)
{
    switch (pattern) {
    case PATTERN_NONE:
        return true;
    case PATTERN_NAME:
        return text.size > 0 && run(text, 0, is_name) == text.size;
    case PATTERN_HASH_KEY:
        return is_number(text, 39);
    case PATTERN_SEQUENCE_NUMBER:
        return is_number(text, 129);
    case PATTERN_STREAM_ARN:
        return is_stream_arn(text);
    case PATTERN_CONSUMER_ARN:
        return is_consumer_arn(text);
    case PATTERN_RESOURCE_ARN:
        return is_resource_arn(text);
    case PATTERN_STREAM_ID:
        return is_stream_id(text);
    }
    return false;
}
