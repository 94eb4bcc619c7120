/* The calendar, without the time zones and locales of libc: UTC from 1970 to 9999. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct moment {
    int year, month, day, hour, minute, second; /* month and day from 1 */
};

struct moment moment_of(uint64_t unix_ms);

/* False: there is no such moment. February has 29 days here. */
bool moment_unix_ms(const struct moment *moment, uint64_t *out);
