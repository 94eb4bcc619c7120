#include "proto/net/tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/check.h"

/* AES-128-GCM first: the fastest where the processor has AES, which is everywhere we look. */
static const char cipher_suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

void tls_reason(char out[TLS_REASON_BYTES])
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    size_t size = reason == NULL ? 0 : strnlen(reason, TLS_REASON_BYTES - 1);
    if (size == 0) {
        reason = "unknown reason";
        size = strlen(reason);
    }
    memcpy(out, reason, size);
    out[size] = '\0';
    ERR_clear_error();
}

static bool uri_of(const GENERAL_NAME *name, struct bytes *out)
{
    if (name->type != GEN_URI) {
        return false;
    }
    const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
    int size = ASN1_STRING_length(uri);
    *out = bytes_of(ASN1_STRING_get0_data(uri), size < 0 ? 0 : (size_t)size);
    return true;
}

enum status tls_identity_of(X509 *certificate, struct rpc_identity *out, struct error *error)
{
    enum { URI_BYTES = 256 };
    char text[URI_BYTES] = "";
    int uris = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        struct bytes uri;
        if (uri_of(sk_GENERAL_NAME_value(names, i), &uri)) {
            uris++;
            /* A zero byte inside would make the rest of it invisible. */
            bool fits = uri.size < sizeof(text) && memchr(uri.data, 0, uri.size) == NULL;
            memcpy(text, uri.data, fits ? uri.size : 0);
            text[fits ? uri.size : 0] = '\0';
        }
    }
    GENERAL_NAMES_free(names);
    if (uris != 1 || rpc_identity_parse(text, out) != STATUS_OK) {
        return error_set(error, STATUS_INVALID,
                         "the certificate needs exactly one SAN URI of the form "
                         "spiffe://CLUSTER-UUID/ROLE/NAME, found %s%s",
                         uris > 1    ? "several"
                         : uris == 0 ? "none"
                                     : text,
                         uris > 1 ? " of them" : "");
    }
    return STATUS_OK;
}

/* ---- OpenSSL on our buffers ---- */

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");
    if (method != NULL && BIO_meth_set_read(method, conn_bio_read) == 1 &&
        BIO_meth_set_write(method, conn_bio_write) == 1 &&
        BIO_meth_set_ctrl(method, bio_ctrl) == 1) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

/* ---- opening ---- */

enum status tls_file_error(struct error *error, const char *what, const char *file)
{
    char reason[TLS_REASON_BYTES];
    tls_reason(reason);
    return error_set(error, STATUS_INVALID, "%s: %s: %s", file, what, reason);
}

enum status tls_check_dates(X509 *certificate, const char *file, struct error *error)
{
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0) {
        return error_set(error, STATUS_INVALID, "%s: the certificate is not valid yet", file);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
        return error_set(error, STATUS_INVALID, "%s: the certificate has expired", file);
    }
    return STATUS_OK;
}

static bool set_options(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Buffers of idle connections are given back; a write may come again from elsewhere. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, cipher_suites) == 1;
}

static enum status load_files(struct net_tls *tls, const char *ca_file, const char *cert_file,
                              const char *key_file, struct error *error)
{
    if (SSL_CTX_load_verify_file(tls->ctx, ca_file) != 1) {
        return tls_file_error(error, "cannot read the authority's certificate", ca_file);
    }
    if (SSL_CTX_use_certificate_chain_file(tls->ctx, cert_file) != 1) {
        return tls_file_error(error, "cannot read the certificate", cert_file);
    }
    if (SSL_CTX_use_PrivateKey_file(tls->ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        return tls_file_error(error, "cannot use the private key", key_file);
    }
    if (SSL_CTX_check_private_key(tls->ctx) != 1) {
        return tls_file_error(error, "the private key does not fit the certificate", key_file);
    }
    X509 *certificate = SSL_CTX_get0_certificate(tls->ctx);
    struct error why;
    if (tls_identity_of(certificate, &tls->identity, &why) != STATUS_OK) {
        return error_set(error, STATUS_INVALID, "%s: %s", cert_file, why.text);
    }
    return tls_check_dates(certificate, cert_file, error);
}

enum status net_tls_open(const char *ca_file, const char *cert_file, const char *key_file,
                         struct net_tls **out, struct error *error)
{
    ERR_clear_error();
    struct net_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    tls->ctx = SSL_CTX_new(TLS_method());
    tls->bio = tls_bio_method();
    if (tls->ctx == NULL || tls->bio == NULL || !set_options(tls->ctx)) {
        net_tls_close(tls);
        return error_set(error, STATUS_NO_MEMORY, "OpenSSL cannot be set up for TLS 1.3");
    }
    enum status status = tls_files_note(tls, ca_file, cert_file, key_file, error);
    if (status == STATUS_OK) {
        status = load_files(tls, ca_file, cert_file, key_file, error);
    }
    if (status != STATUS_OK) {
        net_tls_close(tls);
        return status;
    }
    *out = tls;
    return STATUS_OK;
}

void net_tls_close(struct net_tls *tls)
{
    if (tls != NULL) {
        SSL_CTX_free(tls->ctx);
        BIO_meth_free(tls->bio);
        for (int i = 0; i < TLS_FILES; i++) {
            free(tls->file[i]);
        }
        free(tls);
    }
}

const struct rpc_identity *net_tls_identity(const struct net_tls *tls)
{
    return &tls->identity;
}
