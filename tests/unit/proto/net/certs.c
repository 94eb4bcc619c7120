#include "certs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/check.h"

enum { HOUR_S = 3600 };

static void path_of(const struct certs *certs, const char *name, const char *suffix,
                    char out[2 * CERTS_PATH_BYTES])
{
    (void)snprintf(out, 2 * (size_t)CERTS_PATH_BYTES, "%s/%s%s", certs->dir, name, suffix);
}

static FILE *create(const struct certs *certs, const char *name, const char *suffix)
{
    char path[2 * CERTS_PATH_BYTES];
    path_of(certs, name, suffix, path);
    FILE *file = fopen(path, "we");
    CHECK(file != NULL);
    return file;
}

static void write_pem(const struct certs *certs, const char *name, X509 *cert, EVP_PKEY *key)
{
    FILE *file = create(certs, name, ".pem");
    CHECK(PEM_write_X509(file, cert) == 1);
    CHECK(fclose(file) == 0);
    file = create(certs, name, ".key");
    CHECK(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    CHECK(fclose(file) == 0);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(extension != NULL);
    CHECK(X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *make_cert(struct certs *certs, const char *name, EVP_PKEY *key,
                       struct certs_dates dates)
{
    X509 *cert = X509_new();
    CHECK(cert != NULL);
    CHECK(X509_set_version(cert, X509_VERSION_3) == 1);
    CHECK(ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)++certs->serial) == 1);
    CHECK(X509_gmtime_adj(X509_getm_notBefore(cert), dates.from_s) != NULL);
    CHECK(X509_gmtime_adj(X509_getm_notAfter(cert), dates.to_s) != NULL);
    CHECK(X509_set_pubkey(cert, key) == 1);
    X509_NAME *subject = X509_get_subject_name(cert);
    CHECK(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                     -1, 0) == 1);
    return cert;
}

void certs_init(struct certs *certs)
{
    *certs = (struct certs){0};
    (void)snprintf(certs->dir, sizeof(certs->dir), "/tmp/weir-certs-XXXXXX");
    CHECK(mkdtemp(certs->dir) != NULL);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key != NULL);
    X509 *cert = make_cert(certs, "ca", key, (struct certs_dates){-HOUR_S, HOUR_S});
    CHECK(X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1);
    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    CHECK(X509_sign(cert, key, EVP_sha256()) > 0);
    certs->ca_key = key;
    certs->ca_cert = cert;
    write_pem(certs, "ca", cert, key);
}

void certs_release(struct certs *certs)
{
    EVP_PKEY_free(certs->ca_key);
    X509_free(certs->ca_cert);
    DIR *dir = opendir(certs->dir);
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            CHECK(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
        }
    }
    CHECK(closedir(dir) == 0);
    CHECK(rmdir(certs->dir) == 0);
}

void certs_make(struct certs *certs, const char *name, const char *uri, struct certs_dates dates)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key != NULL);
    X509 *cert = make_cert(certs, name, key, dates);
    CHECK(X509_set_issuer_name(cert, X509_get_subject_name(certs->ca_cert)) == 1);
    if (uri != NULL) {
        char san[512];
        (void)snprintf(san, sizeof(san), "URI:%s", uri);
        add_extension(cert, NID_subject_alt_name, san);
    }
    CHECK(X509_sign(cert, certs->ca_key, EVP_sha256()) > 0);
    write_pem(certs, name, cert, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

enum status certs_open(const struct certs *certs, const struct certs *ca, const char *name,
                       struct net_tls **out, struct error *error)
{
    char ca_path[2 * CERTS_PATH_BYTES], cert[2 * CERTS_PATH_BYTES], key[2 * CERTS_PATH_BYTES];
    path_of(ca, "ca", ".pem", ca_path);
    path_of(certs, name, ".pem", cert);
    path_of(certs, name, ".key", key);
    return net_tls_open(ca_path, cert, key, out, error);
}

struct net_tls *certs_tls(struct certs *certs, const char *cluster, const char *role,
                          const char *name)
{
    char uri[256];
    (void)snprintf(uri, sizeof(uri), "spiffe://%s/%s/%s", cluster, role, name);
    certs_make(certs, name, uri, (struct certs_dates){-HOUR_S, HOUR_S});
    struct net_tls *tls = NULL;
    struct error error;
    enum status status = certs_open(certs, certs, name, &tls, &error);
    CHECK(status == STATUS_OK);
    return tls;
}
