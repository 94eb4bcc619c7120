/* Certificates in DER: whom do they name? */
#include <openssl/err.h>

#include "proto/net/tls.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *at = data;
    X509 *certificate = d2i_X509(NULL, &at, (long)size);
    if (certificate != NULL) {
        struct rpc_identity identity;
        struct error error = {0};
        CHECK(tls_identity_of(certificate, &identity, &error) == STATUS_OK ||
              error.text[0] != '\0');
        X509_free(certificate);
    }
    ERR_clear_error();
    return 0;
}
