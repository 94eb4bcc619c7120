/* The list of controllers that a client starts from: "host:port,host:port". Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"

enum { BOOTSTRAP_MAX = 16 };

struct endpoint {
    char host[HOST_BYTES];
    uint16_t port;
};

/* IPv6 addresses stand in brackets: "[::1]:7001". Spaces around entries are ignored.
 * INVALID with a sentence: empty, too many, a bad port. */
NODISCARD enum status bootstrap_parse(const char *text, struct endpoint out[BOOTSTRAP_MAX],
                                      size_t *out_count, struct error *error);
