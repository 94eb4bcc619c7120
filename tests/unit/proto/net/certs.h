/* A certificate authority for tests: makes PEM files in a directory of its own. */
#pragma once

#include "proto/net/net.h"

enum { CERTS_PATH_BYTES = 128 };

struct certs {
    char dir[CERTS_PATH_BYTES];
    void *ca_key, *ca_cert; /* OpenSSL's */
    unsigned serial;
};

/* When a certificate is valid, in seconds from now. */
struct certs_dates {
    long from_s, to_s;
};

/* A fresh authority. */
void certs_init(struct certs *certs);
void certs_release(struct certs *certs); /* removes the files */

/* Writes CERT and KEY for the SAN URI (NULL: none) as NAME.pem and NAME.key. */
void certs_make(struct certs *certs, const char *name, const char *uri, struct certs_dates dates);

/* Makes a certificate valid for an hour for spiffe://CLUSTER/ROLE/NAME and opens it. */
struct net_tls *certs_tls(struct certs *certs, const char *cluster, const char *role,
                          const char *name);

/* Opens what certs_make() wrote, with the authority of `ca`. */
enum status certs_open(const struct certs *certs, const struct certs *ca, const char *name,
                       struct net_tls **out, struct error *error);

#define CLUSTER_ONE "11111111-2222-3333-4444-555555555555"
#define CLUSTER_TWO "99999999-2222-3333-4444-555555555555"
