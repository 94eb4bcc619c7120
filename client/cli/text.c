#include "client/cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* Bytes of the well-formed character at `at`, 0 when there is none: the table 3-7 of the Unicode
 * standard. */
static size_t utf8_length(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t length = 0;
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        length = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        length = 3;
        low = first == 0xe0 ? 0xa0 : low;
        high = first == 0xed ? 0x9f : high;
    } else if (first >= 0xf0 && first <= 0xf4) {
        length = 4;
        low = first == 0xf0 ? 0x90 : low;
        high = first == 0xf4 ? 0x8f : high;
    }
    if (length == 0 || left < length || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (at[i] < 0x80 || at[i] > 0xbf) {
            return 0;
        }
    }
    return length;
}

bool text_is_utf8(struct bytes bytes)
{
    size_t i = 0;
    while (i < bytes.size) {
        size_t length = utf8_length(bytes.data + i, bytes.size - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

enum status text_base64(struct bytes bytes, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    enum status status = buf_reserve(out, (bytes.size + 2) / 3 * 4);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.data[i + 2] : 0;
        uint8_t *at = out->data + out->size;
        at[0] = (uint8_t)digits[group >> 18];
        at[1] = (uint8_t)digits[group >> 12 & 63];
        at[2] = left > 1 ? (uint8_t)digits[group >> 6 & 63] : '=';
        at[3] = left > 2 ? (uint8_t)digits[group & 63] : '=';
        out->size += 4;
    }
    return STATUS_OK;
}

void text_time(uint64_t unix_ms, char out[TEXT_TIME_BYTES])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL) {
        (void)snprintf(out, TEXT_TIME_BYTES, "%" PRIu64 " ms", unix_ms);
        return;
    }
    char day[24];
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out, TEXT_TIME_BYTES, "%s.%03uZ", day, (unsigned)(unix_ms % 1000));
}

/* ".123456": milliseconds; the rest is cut. Advances over it. */
static uint64_t take_fraction(const char **text)
{
    uint64_t ms = 0;
    if (**text == '.') {
        (*text)++;
        for (uint64_t weight = 100; **text >= '0' && **text <= '9'; (*text)++, weight /= 10) {
            ms += weight * (uint64_t)(**text - '0');
        }
    }
    return ms;
}

static bool parse_seconds(const char *text, uint64_t *out_ms)
{
    uint64_t seconds = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (at - text > 11) {
            return false; /* milliseconds, or nonsense */
        }
        seconds = seconds * 10 + (uint64_t)(*at - '0');
    }
    if (at == text) {
        return false;
    }
    *out_ms = seconds * 1000 + take_fraction(&at);
    return *at == '\0';
}

static bool parse_date(const char *text, uint64_t *out_ms)
{
    struct tm parts = {0};
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (at == NULL) {
        parts = (struct tm){0};
        at = strptime(text, "%Y-%m-%d", &parts);
    }
    if (at == NULL) {
        return false;
    }
    uint64_t ms = take_fraction(&at);
    at += *at == 'Z';
    time_t seconds = timegm(&parts);
    if (*at != '\0' || seconds < 0) {
        return false;
    }
    *out_ms = (uint64_t)seconds * 1000 + ms;
    return true;
}

enum status text_parse_time(const char *text, uint64_t *out_ms)
{
    uint64_t ms = 0;
    if (!parse_seconds(text, &ms) && !parse_date(text, &ms)) {
        return STATUS_INVALID;
    }
    *out_ms = ms;
    return STATUS_OK;
}

void text_size(uint64_t bytes, char out[TEXT_SIZE_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, TEXT_SIZE_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}
