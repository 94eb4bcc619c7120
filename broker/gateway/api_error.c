#include "broker/gateway/api_error.h"

#include <stdio.h>

#include "broker/gateway/api_text.h"

enum { TEXT_BYTES_MAX = 16 * 1024 };

static const struct {
    const char *name;
    uint16_t http;
} exceptions[EXCEPTIONS] = {
#define EXCEPTION(id, text, status) {.name = (text), .http = (status)},
#include "broker/gateway/errors.def"
};

const char *exception_name(enum exception exception)
{
    return exceptions[exception].name;
}

uint16_t exception_http(enum exception exception)
{
    return exceptions[exception].http;
}

enum exception exception_of_status(enum status status)
{
    switch (status) {
    case STATUS_INVALID:
    case STATUS_PLACEMENT:
        return EXCEPTION_INVALID_ARGUMENT;
    case STATUS_NOT_FOUND:
        return EXCEPTION_RESOURCE_NOT_FOUND;
    case STATUS_EXISTS:
    case STATUS_IN_USE:
        return EXCEPTION_RESOURCE_IN_USE;
    case STATUS_LIMIT:
        return EXCEPTION_LIMIT_EXCEEDED;
    case STATUS_THROTTLED:
        return EXCEPTION_THROUGHPUT_EXCEEDED;
    case STATUS_VALIDATION:
        return EXCEPTION_VALIDATION;
    case STATUS_EXPIRED:
        return EXCEPTION_EXPIRED_ITERATOR;
    case STATUS_DENIED:
        return EXCEPTION_ACCESS_DENIED;
    case STATUS_KEY_NOT_FOUND:
        return EXCEPTION_KMS_NOT_FOUND;
    case STATUS_KEY_DISABLED:
        return EXCEPTION_KMS_DISABLED;
    case STATUS_KEY_STATE:
        return EXCEPTION_KMS_INVALID_STATE;
    case STATUS_KEY_DENIED:
        return EXCEPTION_KMS_ACCESS_DENIED;
    case STATUS_KEY_UNAVAILABLE:
        return EXCEPTION_KMS_THROTTLING;
    case STATUS_TOO_LARGE:
        return EXCEPTION_INVALID_ARGUMENT;
    case STATUS_BUSY:
    case STATUS_NOT_LEADER:
    case STATUS_NOT_ACTIVE:
    case STATUS_FENCED:
    case STATUS_SEALED:
    case STATUS_NO_QUORUM:
    case STATUS_TIMEOUT:
    case STATUS_CANCELLED:
    case STATUS_CLOSING:
    case STATUS_UNAVAILABLE:
    case STATUS_UNCERTAIN:
    case STATUS_STALE:
        return EXCEPTION_SERVICE_UNAVAILABLE;
    case STATUS_OK:
    case STATUS_CORRUPT:
    case STATUS_IO:
    case STATUS_DISK_FULL:
    case STATUS_NO_MEMORY:
    case STATUS_WRONG_CLUSTER:
    case STATUS_WRONG_IDENTITY:
    case STATUS_UNSUPPORTED:
    case STATUS_OUT_OF_ORDER:
    case STATUS_PRODUCER_FENCED:
    case STATUS_UNKNOWN_PRODUCER:
    case STATUS_MORE:
    case STATUS_INTERNAL:
        break;
    }
    return EXCEPTION_INTERNAL_FAILURE;
}

/* In place: the text is ours. */
static struct bytes clean(struct bytes text, uint8_t *data)
{
    struct bytes cut = utf8_cut(text, TEXT_BYTES_MAX);
    size_t at = 0;
    while ((at += utf8_valid(bytes_of(cut.data + at, cut.size - at))) < cut.size) {
        data[at++] = '?';
    }
    return cut;
}

enum status api_error_set(struct api_error *error, struct arena *arena, enum exception exception,
                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    uint8_t *data = length < 0 ? NULL : arena_take_bytes(arena, (size_t)length + 1);
    *error = (struct api_error){.exception = exception};
    if (data) {
        (void)vsnprintf((char *)data, (size_t)length + 1, format, again);
        error->text = clean(bytes_of(data, (size_t)length), data);
    }
    va_end(again);
    va_end(arguments);
    return STATUS_INVALID;
}

enum status api_error_of_status(struct api_error *error, enum status status)
{
    *error = (struct api_error){.exception = exception_of_status(status),
                                .text = bytes_of_string(status_text(status))};
    return status;
}
