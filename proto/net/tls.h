/* Certificates, and what OpenSSL needs to work on our buffers instead of on a socket. */
#pragma once

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "proto/net/net.h"

struct net_tls {
    SSL_CTX *ctx;
    BIO_METHOD *bio; /* of conn_bio_new() in conn.c */
    struct rpc_identity identity;
};

enum { TLS_REASON_BYTES = 160 };

/* What a certificate says: its one SAN URI of our form. INVALID with a sentence. */
NODISCARD enum status tls_identity_of(X509 *certificate, struct rpc_identity *out,
                                      struct error *error);

/* Why the last OpenSSL call of this thread failed; empties its queue of errors. */
void tls_reason(char out[TLS_REASON_BYTES]);

/* For tls.c and tls_public.c, which open certificates: the method of our BIOs (NULL when out of
 * memory), a sentence about a file from OpenSSL's queue of errors, a certificate's dates. */
BIO_METHOD *tls_bio_method(void);
NODISCARD enum status tls_file_error(struct error *error, const char *what, const char *file);
NODISCARD enum status tls_check_dates(X509 *certificate, const char *file, struct error *error);

/* Names OpenSSL's call back for a conn's input and output (conn.c). */
int conn_bio_read(BIO *bio, char *data, int size);
int conn_bio_write(BIO *bio, const char *data, int size);
