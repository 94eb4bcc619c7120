/* Certificates and keys read again while connections go on. A file that is not good changes
 * nothing: what a process has goes on counting, and what was wrong is said once for each change. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/x509_vfy.h>

#include "base/trace.h"
#include "proto/net/stream.h"
#include "proto/net/tls.h"

static struct tls_stamp stamp_of(const char *file)
{
    struct stat st;
    if (file == NULL || stat(file, &st) != 0) {
        return (struct tls_stamp){0};
    }
    return (struct tls_stamp){
        .device = (uint64_t)st.st_dev,
        .inode = (uint64_t)st.st_ino,
        .bytes = (uint64_t)st.st_size,
        .changed_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000U + (uint64_t)st.st_mtim.tv_nsec,
    };
}

static void stamp_all(struct net_tls *tls)
{
    for (int i = 0; i < TLS_FILES; i++) {
        tls->stamp[i] = stamp_of(tls->file[i]);
    }
}

enum status tls_files_note(struct net_tls *tls, const char *ca_file, const char *cert_file,
                           const char *key_file, struct error *error)
{
    const char *const names[TLS_FILES] = {
        [TLS_CA] = ca_file, [TLS_CERT] = cert_file, [TLS_KEY] = key_file};
    for (int i = 0; i < TLS_FILES; i++) {
        tls->file[i] = names[i] == NULL ? NULL : strdup(names[i]);
        if (names[i] != NULL && tls->file[i] == NULL) {
            return error_set(error, STATUS_NO_MEMORY, "out of memory");
        }
    }
    stamp_all(tls);
    return STATUS_OK;
}

bool net_tls_is_changed(const struct net_tls *tls)
{
    for (int i = 0; i < TLS_FILES; i++) {
        struct tls_stamp now = stamp_of(tls->file[i]);
        const struct tls_stamp *then = &tls->stamp[i];
        if (now.device != then->device || now.inode != then->inode || now.bytes != then->bytes ||
            now.changed_ns != then->changed_ns) {
            return true;
        }
    }
    return false;
}

/* Nobody would talk to us with a certificate that our own authority has not signed. */
static enum status check_chain(const struct net_tls *tls, struct error *error)
{
    X509 *certificate = SSL_CTX_get0_certificate(tls->ctx);
    STACK_OF(X509) *chain = NULL;
    (void)SSL_CTX_get0_chain_certs(tls->ctx, &chain);
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    bool good =
        check != NULL &&
        X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(tls->ctx), certificate, chain) == 1 &&
        X509_verify_cert(check) == 1;
    int why = check == NULL ? X509_V_ERR_OUT_OF_MEM : X509_STORE_CTX_get_error(check);
    X509_STORE_CTX_free(check);
    return good ? STATUS_OK
                : error_set(error, STATUS_INVALID, "%s: does not go with the authority in %s: %s",
                            tls->file[TLS_CERT], tls->file[TLS_CA],
                            X509_verify_cert_error_string(why));
}

static enum status check_identity(const struct net_tls *old, const struct net_tls *new,
                                  struct error *error)
{
    const struct rpc_identity *was = &old->identity, *is = &new->identity;
    if (was->role != is->role || was->id != is->id || strcmp(was->name, is->name) != 0 ||
        memcmp(was->cluster, is->cluster, CLUSTER_ID_BYTES) != 0) {
        return error_set(error, STATUS_INVALID, "%s: is the certificate of %s, not of %s",
                         new->file[TLS_CERT], is->name, was->name);
    }
    return check_chain(new, error);
}

enum status net_tls_reload(struct net_tls *tls, struct error *error)
{
    struct net_tls *new = NULL;
    enum status status =
        tls->is_public
            ? net_tls_open_public(tls->file[TLS_CERT], tls->file[TLS_KEY], &new, error)
            : net_tls_open(tls->file[TLS_CA], tls->file[TLS_CERT], tls->file[TLS_KEY], &new, error);
    if (status == STATUS_OK && !tls->is_public) {
        status = check_identity(tls, new, error);
    }
    if (status == STATUS_OK) {
        /* Open connections hold the old one; it goes with the last of them. */
        SSL_CTX *old = tls->ctx;
        tls->ctx = new->ctx;
        new->ctx = old;
        memcpy(tls->stamp, new->stamp, sizeof(tls->stamp));
    } else {
        stamp_all(tls); /* not again before another change */
    }
    net_tls_close(new);
    return status;
}

/* ---- now and then
 * ------------------------------------------------------------------------------------- */

static void reload(struct net_tls *tls)
{
    struct error error = {0};
    if (net_tls_reload(tls, &error) == STATUS_OK) {
        trace(TRACE_INFO, "tls", "%s: new connections use what was read again",
              tls->file[TLS_CERT]);
    } else {
        trace(TRACE_ERROR, "tls", "%s; the certificate that was read before goes on counting",
              error.text);
    }
}

static void look_fired(struct net_timer *timer);

static void look_again(struct net_reload *reload)
{
    status_ignore(net_timer_start(reload->loop, &reload->timer,
                                  net_now_ms(reload->loop) + reload->every_ms, look_fired),
                  "the timer has had its place in the heap");
}

static void look_fired(struct net_timer *timer)
{
    struct net_reload *all = CONTAINER_OF(timer, struct net_reload, timer);
    for (uint32_t i = 0; i < all->count; i++) {
        if (net_tls_is_changed(all->tls[i])) {
            reload(all->tls[i]);
        }
    }
    look_again(all);
}

enum status net_reload_start(struct net_reload *reload, struct net_loop *loop, uint32_t every_ms)
{
    reload->loop = loop;
    reload->every_ms = every_ms;
    return every_ms == 0
               ? STATUS_OK
               : net_timer_start(loop, &reload->timer, net_now_ms(loop) + every_ms, look_fired);
}

void net_reload_add(struct net_reload *reload, struct net_tls *tls)
{
    if (tls != NULL && reload->count < NET_RELOAD_MAX) {
        reload->tls[reload->count++] = tls;
    }
}

void net_reload_now(struct net_reload *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        reload(all->tls[i]);
    }
}

void net_reload_stop(struct net_reload *reload)
{
    if (reload->loop != NULL) {
        net_timer_stop(reload->loop, &reload->timer);
    }
}
