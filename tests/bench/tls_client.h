/* Force-included into the load generator: its TLS contexts present the certificate named by
 * WEIR_BENCH_CERT and WEIR_BENCH_KEY, because every side of a Weir connection has one. */
#pragma once

#include <stdlib.h>

#include <openssl/ssl.h>

static inline SSL_CTX *ssl_ctx_with_certificate(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    const char *cert = getenv("WEIR_BENCH_CERT"), *key = getenv("WEIR_BENCH_KEY");
    if (ctx != NULL && cert != NULL && key != NULL) {
        (void)SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM);
        (void)SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);
    }
    return ctx;
}

#define SSL_CTX_new ssl_ctx_with_certificate
