#include "base/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
} statuses[] = {
#define X(number, name, text) [number] = {#name, text},
    STATUS_TABLE(X)
#undef X
};

enum { STATUS_COUNT = sizeof(statuses) / sizeof(statuses[0]) };

static bool is_known(unsigned number)
{
    return number < STATUS_COUNT && statuses[number].name != NULL;
}

const char *status_name(enum status status)
{
    return is_known((unsigned)status) ? statuses[status].name : "UNKNOWN";
}

const char *status_text(enum status status)
{
    return is_known((unsigned)status) ? statuses[status].text : "unknown status";
}

enum status status_from_wire(unsigned number)
{
    return is_known(number) ? (enum status)number : STATUS_INTERNAL;
}

bool status_is_retryable(enum status status)
{
    static const enum status retryable[] = {
        STATUS_BUSY,      STATUS_NOT_LEADER, STATUS_NOT_ACTIVE,      STATUS_FENCED,
        STATUS_SEALED,    STATUS_NO_QUORUM,  STATUS_TIMEOUT,         STATUS_CLOSING,
        STATUS_IO,        STATUS_DISK_FULL,  STATUS_NO_MEMORY,       STATUS_UNAVAILABLE,
        STATUS_UNCERTAIN, STATUS_THROTTLED,  STATUS_KEY_UNAVAILABLE,
    };
    for (size_t i = 0; i < sizeof(retryable) / sizeof(retryable[0]); i++) {
        if (retryable[i] == status) {
            return true;
        }
    }
    return false;
}

bool status_is_of_key(enum status status)
{
    return status >= STATUS_KEY_NOT_FOUND && status <= STATUS_KEY_UNAVAILABLE;
}

#undef error_set /* status.h makes it a macro for the analyzer */
enum status error_set(struct error *error, enum status status, const char *format, ...)
{
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        error->status = status;
        (void)vsnprintf(error->text, sizeof(error->text), format, args);
        va_end(args);
    }
    return status;
}
