/* Small pages over HTTP in the clear, for whoever watches a process: /metrics, /healthz, /readyz.
 *
 * GET only, one request a connection, at most PAGES_CONNECTIONS_MAX connections and PAGES_MS for
 * each. It knows nobody: whoever reaches the address may read the pages. One home thread, that of
 * the loop. */
#pragma once

#include "base/bytes.h"
#include "proto/net/net.h"

enum { PAGES_CONNECTIONS_MAX = 16, PAGES_MS = 5000 };

struct page {
    uint16_t status; /* 404 at first */
    const char *type;
    struct buf body; /* taken over */
};

struct pages_options {
    struct net_loop *loop;
    void (*answer)(void *data, const char *path, struct page *out);
    void *data;
};

struct pages;

/* `address`: "127.0.0.1:9311", "[::1]:9311", or a port alone for 127.0.0.1. INVALID, IO, NO_MEMORY
 * with a sentence. */
NODISCARD enum status pages_open(const struct pages_options *options, const char *address,
                                 struct pages **out, struct error *error);
uint16_t pages_port(const struct pages *pages);
/* Ends the connections; the memory goes with the last of them. NULL is fine. */
void pages_close(struct pages *pages);
