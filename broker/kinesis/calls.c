/* How many calls of an operation this broker takes a second: AWS's numbers, unless the operator
 * says otherwise. Each broker counts what comes to it. */
#include <stdlib.h>
#include <string.h>

#include "broker/kinesis/internal.h"

enum { RATE_MAX = 1000000 };

static void set(struct calls *calls, uint32_t operation, uint32_t rate)
{
    calls->operation[operation].rate = rate;
    calls->operation[operation].tokens = (int64_t)rate * 1000;
    calls->operation[operation].at_ms = 0;
}

/* "NAME=RATE", which ends at `end`. */
NODISCARD static enum status set_one(struct calls *calls, const char *text, const char *end,
                                     struct error *error)
{
    const char *equals = memchr(text, '=', (size_t)(end - text));
    uint64_t rate = 0;
    bool good = equals != NULL && equals + 1 < end;
    for (const char *digit = good ? equals + 1 : end; digit < end; digit++) {
        good = good && *digit >= '0' && *digit <= '9' && rate <= RATE_MAX;
        rate = good ? rate * 10 + (uint64_t)(*digit - '0') : rate;
    }
    if (!good || rate > RATE_MAX) {
        return error_set(error, STATUS_INVALID,
                         "limit-operations: '%.*s' is not OPERATION=RATE with a rate of up to %d",
                         (int)(end - text), text, RATE_MAX);
    }
    for (uint32_t i = 0; i < API_OPERATIONS; i++) {
        if (strlen(api_operations[i].name) == (size_t)(equals - text) &&
            strncmp(api_operations[i].name, text, (size_t)(equals - text)) == 0) {
            set(calls, i, (uint32_t)rate);
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_INVALID, "limit-operations: there is no operation '%.*s'",
                     (int)(equals - text), text);
}

enum status calls_init(struct calls *calls, const char *text, struct error *error)
{
    bool off = strcmp(text, "off") == 0;
    for (uint32_t i = 0; i < API_OPERATIONS; i++) {
        set(calls, i, off ? 0 : api_operations[i].rate);
    }
    if (off || strcmp(text, "aws") == 0) {
        return STATUS_OK;
    }
    while (*text != '\0') {
        const char *end = text + strcspn(text, ", ");
        enum status status = end == text ? STATUS_OK : set_one(calls, text, end, error);
        if (status != STATUS_OK) {
            return status;
        }
        text = *end == '\0' ? end : end + 1;
    }
    return STATUS_OK;
}

bool kinesis_limits_are_good(const char *text, struct error *error)
{
    struct calls calls;
    return calls_init(&calls, text, error) == STATUS_OK;
}

bool calls_allow(struct calls *calls, enum api_operation_id operation, uint64_t now_ms)
{
    uint32_t rate = calls->operation[operation].rate;
    if (rate == 0) {
        return true;
    }
    int64_t most = (int64_t)rate * 1000, *tokens = &calls->operation[operation].tokens;
    uint64_t elapsed_ms = now_ms - calls->operation[operation].at_ms;
    calls->operation[operation].at_ms = now_ms;
    *tokens = elapsed_ms >= 1000 ? most : *tokens + (int64_t)(rate * elapsed_ms);
    *tokens = *tokens > most ? most : *tokens;
    if (*tokens < 1000) {
        return false;
    }
    *tokens -= 1000;
    return true;
}
