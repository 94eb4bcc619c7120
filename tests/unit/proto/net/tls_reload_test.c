/* Certificates that are read again: what is good counts from then on, what is not changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "certs.h"
#include "proto/net/tls.h"

enum { HOUR_S = 3600 };
static const struct certs_dates today = {-HOUR_S, HOUR_S};

static int set_up(void **state)
{
    struct certs *certs = calloc(1, sizeof(*certs));
    assert_non_null(certs);
    certs_init(certs);
    *state = certs;
    return 0;
}

static int tear_down(void **state)
{
    certs_release(*state);
    free(*state);
    return 0;
}

static X509 *certificate_of(const struct net_tls *tls)
{
    return SSL_CTX_get0_certificate(tls->ctx);
}

static void a_renewed_certificate_counts(void **state)
{
    struct certs *certs = *state;
    struct net_tls *tls = certs_tls(certs, CLUSTER_ONE, "broker", "broker-1");
    X509 *old = certificate_of(tls);
    X509_up_ref(old);
    assert_false(net_tls_is_changed(tls));
    certs_make(certs, "broker-1", "spiffe://" CLUSTER_ONE "/broker/broker-1", today);
    assert_true(net_tls_is_changed(tls));
    struct error error = {0};
    assert_int_equal(net_tls_reload(tls, &error), STATUS_OK);
    assert_int_not_equal(X509_cmp(certificate_of(tls), old), 0);
    assert_false(net_tls_is_changed(tls));
    X509_free(old);
    net_tls_close(tls);
}

/* Whatever lies there now is refused with this sentence, once, and the old certificate stays. */
static void assert_kept(struct net_tls *tls, const char *says)
{
    SSL_CTX *ctx = tls->ctx;
    X509 *old = certificate_of(tls);
    struct rpc_identity identity = tls->identity;
    struct error error = {0};
    assert_true(net_tls_is_changed(tls));
    assert_int_equal(net_tls_reload(tls, &error), STATUS_INVALID);
    if (strstr(error.text, says) == NULL) {
        fail_msg("'%s' does not say '%s'", error.text, says);
    }
    assert_ptr_equal(tls->ctx, ctx);
    assert_ptr_equal(certificate_of(tls), old);
    assert_memory_equal(&tls->identity, &identity, sizeof(identity));
    assert_false(net_tls_is_changed(tls)); /* not again before another change */
}

static void overwrite(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void bad_files_change_nothing(void **state)
{
    struct certs *certs = *state;
    struct net_tls *tls = certs_tls(certs, CLUSTER_ONE, "broker", "broker-1");
    const char *uri = "spiffe://" CLUSTER_ONE "/broker/broker-1";

    overwrite(tls->file[TLS_CERT], "not a certificate\n");
    assert_kept(tls, "broker-1.pem");
    overwrite(tls->file[TLS_CERT], "");
    assert_kept(tls, "broker-1.pem");
    assert_int_equal(unlink(tls->file[TLS_CERT]), 0);
    assert_kept(tls, "broker-1.pem");

    /* half of a pair is there already */
    certs_make(certs, "broker-1", uri, today);
    certs_make(certs, "else", uri, today);
    char other_key[2 * CERTS_PATH_BYTES];
    (void)snprintf(other_key, sizeof(other_key), "%s/else.key", certs->dir);
    assert_int_equal(rename(other_key, tls->file[TLS_KEY]), 0);
    assert_kept(tls, "broker-1.key");

    certs_make(certs, "broker-1", uri, (struct certs_dates){-2 * HOUR_S, -HOUR_S});
    assert_kept(tls, "broker-1.pem");
    certs_make(certs, "broker-1", NULL, today);
    assert_kept(tls, "broker-1.pem");

    /* and what is good after all that counts */
    certs_make(certs, "broker-1", uri, today);
    struct error error = {0};
    assert_int_equal(net_tls_reload(tls, &error), STATUS_OK);
    net_tls_close(tls);
}

static void another_identity_is_refused(void **state)
{
    struct certs *certs = *state;
    struct net_tls *tls = certs_tls(certs, CLUSTER_ONE, "broker", "broker-1");
    certs_make(certs, "broker-1", "spiffe://" CLUSTER_ONE "/broker/broker-2", today);
    assert_kept(tls, "is the certificate of broker-2, not of broker-1");
    certs_make(certs, "broker-1", "spiffe://" CLUSTER_TWO "/broker/broker-1", today);
    assert_kept(tls, "is the certificate of");
    certs_make(certs, "broker-1", "spiffe://" CLUSTER_ONE "/controller/controller-1", today);
    assert_kept(tls, "is the certificate of controller-1");
    net_tls_close(tls);
}

static void a_certificate_of_another_authority_is_refused(void **state)
{
    struct certs *certs = *state, other;
    struct net_tls *tls = certs_tls(certs, CLUSTER_ONE, "broker", "broker-1");
    certs_init(&other);
    char path[2 * CERTS_PATH_BYTES];
    certs_make(&other, "broker-1", "spiffe://" CLUSTER_ONE "/broker/broker-1", today);
    (void)snprintf(path, sizeof(path), "%s/broker-1.pem", other.dir);
    assert_int_equal(rename(path, tls->file[TLS_CERT]), 0);
    (void)snprintf(path, sizeof(path), "%s/broker-1.key", other.dir);
    assert_int_equal(rename(path, tls->file[TLS_KEY]), 0);
    assert_kept(tls, "does not go with the authority");
    /* with its authority it is good */
    (void)snprintf(path, sizeof(path), "%s/ca.pem", other.dir);
    assert_int_equal(rename(path, tls->file[TLS_CA]), 0);
    struct error error = {0};
    assert_int_equal(net_tls_reload(tls, &error), STATUS_OK);
    net_tls_close(tls);
    certs_release(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_renewed_certificate_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_files_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_identity_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_certificate_of_another_authority_is_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
