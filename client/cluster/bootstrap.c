#include "client/cluster/bootstrap.h"

#include <string.h>

/* False: not a port. */
static bool parse_port(const char *text, size_t length, uint16_t *out)
{
    uint32_t port = 0;
    if (length == 0 || length > 5) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    *out = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

static bool parse_endpoint(const char *text, size_t length, struct endpoint *out)
{
    const char *colon = memrchr(text, ':', length);
    if (colon == NULL) {
        return false;
    }
    const char *host = text;
    size_t host_length = (size_t)(colon - text);
    if (host_length >= 2 && host[0] == '[' && host[host_length - 1] == ']') {
        host++;
        host_length -= 2;
    } else if (memchr(host, ':', host_length) != NULL) {
        return false; /* an IPv6 address without its brackets */
    }
    if (host_length == 0 || host_length >= sizeof(out->host) ||
        !parse_port(colon + 1, length - (size_t)(colon + 1 - text), &out->port)) {
        return false;
    }
    memcpy(out->host, host, host_length);
    out->host[host_length] = '\0';
    return true;
}

enum status bootstrap_parse(const char *text, struct endpoint out[BOOTSTRAP_MAX], size_t *out_count,
                            struct error *error)
{
    size_t count = 0;
    const char *at = text;
    while (*at != '\0') {
        at += strspn(at, " ,");
        size_t length = strcspn(at, " ,");
        if (length == 0) {
            break;
        }
        if (count == BOOTSTRAP_MAX) {
            return error_set(error, STATUS_INVALID,
                             "the bootstrap list has more than %d controllers", BOOTSTRAP_MAX);
        }
        if (!parse_endpoint(at, length, &out[count])) {
            return error_set(error, STATUS_INVALID,
                             "'%.*s' in the bootstrap list is not host:port (an IPv6 address needs "
                             "brackets: [::1]:7001)",
                             (int)(length < 100 ? length : 100), at);
        }
        count++;
        at += length;
    }
    if (count == 0) {
        return error_set(error, STATUS_INVALID,
                         "the bootstrap list is empty: name at least one controller as host:port");
    }
    *out_count = count;
    return STATUS_OK;
}
