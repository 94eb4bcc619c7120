#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "proto/net/stream.h"
#include "proto/net/tls.h"

/* Forward secret and AEAD: also what HTTP/2 demands of TLS 1.2 (RFC 9113, 9.2.2). */
static const char suites_1_2[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const char suites_1_3[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

static const unsigned char protocols[] = "\x02h2\x08http/1.1";

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned offered_size, void *unused)
{
    (void)ssl;
    (void)unused;
    unsigned char *chosen = NULL;
    int rc = SSL_select_next_proto(&chosen, out_size, protocols, sizeof(protocols) - 1, offered,
                                   offered_size);
    if (rc != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_options(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_cipher_list(ctx, suites_1_2) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, suites_1_3) == 1;
}

static enum status load_files(struct net_tls *tls, const char *cert_file, const char *key_file,
                              struct error *error)
{
    if (SSL_CTX_use_certificate_chain_file(tls->ctx, cert_file) != 1) {
        return tls_file_error(error, "cannot read the certificate", cert_file);
    }
    if (SSL_CTX_use_PrivateKey_file(tls->ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        return tls_file_error(error, "cannot use the private key", key_file);
    }
    if (SSL_CTX_check_private_key(tls->ctx) != 1) {
        return tls_file_error(error, "the private key does not fit the certificate", key_file);
    }
    return tls_check_dates(SSL_CTX_get0_certificate(tls->ctx), cert_file, error);
}

enum status net_tls_open_public(const char *cert_file, const char *key_file, struct net_tls **out,
                                struct error *error)
{
    ERR_clear_error();
    struct net_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    tls->ctx = SSL_CTX_new(TLS_server_method());
    tls->bio = tls_bio_method();
    if (tls->ctx == NULL || tls->bio == NULL || !set_options(tls->ctx)) {
        net_tls_close(tls);
        return error_set(error, STATUS_NO_MEMORY, "OpenSSL cannot be set up for a public port");
    }
    tls->is_public = true;
    enum status status = tls_files_note(tls, NULL, cert_file, key_file, error);
    if (status == STATUS_OK) {
        status = load_files(tls, cert_file, key_file, error);
    }
    if (status != STATUS_OK) {
        net_tls_close(tls);
        return status;
    }
    *out = tls;
    return STATUS_OK;
}
