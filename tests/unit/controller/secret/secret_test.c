#include "controller/secret/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "F00102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

static const uint8_t cluster[CLUSTER_ID_BYTES] = {1, 2, 3};

static enum status open_ring(const char *text, const uint8_t id[CLUSTER_ID_BYTES],
                             struct secret_ring **out, struct error *error)
{
    char path[] = "/tmp/weir-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    enum status status = secret_ring_open(path, id, out, error);
    (void)unlink(path);
    return status;
}

static struct secret_ring *ring_of(const char *text)
{
    struct secret_ring *ring = NULL;
    struct error error = {0};
    assert_int_equal(open_ring(text, cluster, &ring, &error), STATUS_OK);
    return ring;
}

static enum status opens(const struct secret_ring *ring, const char *purpose, const char *name,
                         struct bytes sealed)
{
    uint8_t plain[SECRET_PLAIN_MAX];
    size_t size = 0;
    enum status status = secret_open(ring, purpose, name, sealed, plain, &size);
    if (status == STATUS_OK) {
        assert_int_equal(size, 6);
        assert_memory_equal(plain, "secret", 6);
    }
    return status;
}

static void what_is_sealed_opens_only_for_its_purpose_and_name(void **state)
{
    (void)state;
    struct secret_ring *ring = ring_of(KEY_A "\n");
    uint8_t sealed[SECRET_SEALED_MAX], again[SECRET_SEALED_MAX];
    size_t size = 0;
    assert_int_equal(secret_seal(ring, "access key", "K1", bytes_of("secret", 6), sealed, &size),
                     STATUS_OK);
    assert_int_equal(size, 6 + SECRET_OVERHEAD);
    assert_null(memmem(sealed, size, "secret", 6));
    assert_int_equal(opens(ring, "access key", "K1", bytes_of(sealed, size)), STATUS_OK);
    assert_int_equal(opens(ring, "access key", "K2", bytes_of(sealed, size)), STATUS_CORRUPT);
    assert_int_equal(opens(ring, "data key", "K1", bytes_of(sealed, size)), STATUS_CORRUPT);
    /* Purpose and name do not run into each other. */
    assert_int_equal(opens(ring, "access keyK", "1", bytes_of(sealed, size)), STATUS_CORRUPT);
    assert_int_equal(secret_seal(ring, "access key", "K1", bytes_of("secret", 6), again, &size),
                     STATUS_OK);
    assert_memory_not_equal(sealed, again, size); /* a nonce of its own */
    secret_ring_free(ring);
}

static void any_changed_bit_is_noticed(void **state)
{
    (void)state;
    struct secret_ring *ring = ring_of(KEY_A);
    uint8_t sealed[SECRET_SEALED_MAX];
    size_t size = 0;
    assert_int_equal(secret_seal(ring, "p", "n", bytes_of("secret", 6), sealed, &size), STATUS_OK);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(opens(ring, "p", "n", bytes_of(sealed, size)), STATUS_OK);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t less = 0; less < size; less++) {
        assert_int_not_equal(opens(ring, "p", "n", bytes_of(sealed, less)), STATUS_OK);
    }
    secret_ring_free(ring);
}

static void a_ring_seals_with_its_first_key_and_opens_with_all(void **state)
{
    (void)state;
    struct secret_ring *old = ring_of(KEY_A "\n");
    struct secret_ring *both = ring_of("# new one first\n" KEY_B "\r\n\n" KEY_A "\n");
    struct secret_ring *new = ring_of(KEY_B);
    uint8_t sealed[SECRET_SEALED_MAX];
    size_t size = 0;
    assert_int_equal(secret_seal(old, "p", "n", bytes_of("secret", 6), sealed, &size), STATUS_OK);
    assert_int_equal(opens(both, "p", "n", bytes_of(sealed, size)), STATUS_OK);
    assert_int_equal(opens(new, "p", "n", bytes_of(sealed, size)), STATUS_NOT_FOUND);
    assert_int_equal(secret_seal(both, "p", "n", bytes_of("secret", 6), sealed, &size), STATUS_OK);
    assert_int_equal(opens(new, "p", "n", bytes_of(sealed, size)), STATUS_OK);
    assert_int_equal(opens(old, "p", "n", bytes_of(sealed, size)), STATUS_NOT_FOUND);
    secret_ring_free(old);
    secret_ring_free(both);
    secret_ring_free(new);
}

static void another_clusters_ring_opens_nothing_with_the_same_key(void **state)
{
    (void)state;
    static const uint8_t other[CLUSTER_ID_BYTES] = {9};
    struct secret_ring *ours = ring_of(KEY_A), *theirs = NULL;
    uint8_t sealed[SECRET_SEALED_MAX];
    size_t size = 0;
    assert_int_equal(open_ring(KEY_A, other, &theirs, NULL), STATUS_OK);
    assert_int_equal(secret_seal(ours, "p", "n", bytes_of("secret", 6), sealed, &size), STATUS_OK);
    assert_int_equal(opens(theirs, "p", "n", bytes_of(sealed, size)), STATUS_CORRUPT);
    secret_ring_free(ours);
    secret_ring_free(theirs);
}

static void a_bad_file_is_refused_with_a_sentence_without_its_content(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "# nothing\n",
        "00\n",
        KEY_A "0\n",
        KEY_A " x\n",
        "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A
              "\n" KEY_A "\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct secret_ring *ring = NULL;
        struct error error = {0};
        assert_int_equal(open_ring(bad[i], cluster, &ring, &error), STATUS_INVALID);
        assert_null(ring);
        assert_non_null(strstr(error.text, "weir-secret-"));
        assert_null(strstr(error.text, "0102030405"));
    }
    struct secret_ring *ring = NULL;
    struct error error = {0};
    assert_int_equal(secret_ring_open("/nowhere/key", cluster, &ring, &error), STATUS_NOT_FOUND);
    assert_int_equal(secret_ring_open("", cluster, &ring, &error), STATUS_OK);
    assert_null(ring);
}

/* The example of AWS's documentation of Signature Version 4. */
static void a_signing_key_is_that_of_awss_example(void **state)
{
    (void)state;
    static const uint8_t expected[SECRET_KEY_BYTES] = {
        0xc4, 0xaf, 0xb1, 0xcc, 0x57, 0x71, 0xd8, 0x71, 0x76, 0x3a, 0x39,
        0x3e, 0x44, 0xb7, 0x03, 0x57, 0x1b, 0x55, 0xcc, 0x28, 0x42, 0x4d,
        0x1a, 0x5e, 0x86, 0xda, 0x6e, 0xd3, 0xc1, 0x54, 0xa4, 0xb9,
    };
    uint8_t key[SECRET_KEY_BYTES];
    assert_int_equal(secret_signing_key(bytes_of_string("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                                        "20150830", "us-east-1", "iam", key),
                     STATUS_OK);
    assert_memory_equal(key, expected, sizeof(key));
}

static void access_keys_have_the_form_that_sdks_take(void **state)
{
    (void)state;
    char id[SECRET_ACCESS_KEY_TEXT + 1], secret[SECRET_ACCESS_SECRET_TEXT + 1];
    char last[SECRET_ACCESS_KEY_TEXT + 1] = "";
    for (int i = 0; i < 200; i++) {
        assert_int_equal(secret_access_key(id, secret), STATUS_OK);
        assert_int_equal(strlen(id), 20);
        assert_int_equal(strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), 20);
        assert_int_equal(strncmp(id, "WEIR", 4), 0);
        assert_int_equal(strlen(secret), 40);
        assert_string_not_equal(id, last);
        memcpy(last, id, sizeof(id));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens_only_for_its_purpose_and_name),
        cmocka_unit_test(any_changed_bit_is_noticed),
        cmocka_unit_test(a_ring_seals_with_its_first_key_and_opens_with_all),
        cmocka_unit_test(another_clusters_ring_opens_nothing_with_the_same_key),
        cmocka_unit_test(a_bad_file_is_refused_with_a_sentence_without_its_content),
        cmocka_unit_test(a_signing_key_is_that_of_awss_example),
        cmocka_unit_test(access_keys_have_the_form_that_sdks_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
