/* Certificates, and what OpenSSL needs to work on our buffers instead of on a socket. */
#pragma once

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "proto/net/net.h"

/* What a file was when it was read: another one is read again. */
struct tls_stamp {
    uint64_t device, inode, bytes, changed_ns;
};

enum { TLS_CA, TLS_CERT, TLS_KEY, TLS_FILES };

struct net_tls {
    SSL_CTX *ctx;    /* of new connections; those that are open keep theirs */
    BIO_METHOD *bio; /* of conn_bio_new() in conn.c */
    struct rpc_identity identity;
    bool is_public; /* of net_tls_open_public(): no authority, no identity */
    char *file[TLS_FILES];
    struct tls_stamp stamp[TLS_FILES];
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
/* tls_reload.c: notes the files' names and stamps. NO_MEMORY. */
NODISCARD enum status tls_files_note(struct net_tls *tls, const char *ca_file,
                                     const char *cert_file, const char *key_file,
                                     struct error *error);
NODISCARD enum status tls_check_dates(X509 *certificate, const char *file, struct error *error);

/* Names OpenSSL's call back for a conn's input and output (conn.c). */
int conn_bio_read(BIO *bio, char *data, int size);
int conn_bio_write(BIO *bio, const char *data, int size);
