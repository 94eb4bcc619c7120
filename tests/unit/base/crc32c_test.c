/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/rng.h"

/* The definition, a bit at a time: what every fast way must equal. */
static uint32_t by_bits(uint32_t crc, const uint8_t *data, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
        }
    }
    return ~crc;
}

static void known_numbers_come_out(void **state)
{
    (void)state;
    uint8_t data[32];
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    /* RFC 3720, B.4 */
    memset(data, 0, sizeof(data));
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x8a9136aa);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) {
        data[i] = i;
    }
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++) {
        data[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x113fdb5c);
}

static uint8_t *random_bytes(size_t size)
{
    struct rng rng;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    rng_init(&rng, 5);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)rng_next(&rng);
    }
    return data;
}

static void every_length_at_every_alignment_equals_the_definition(void **state)
{
    (void)state;
    uint8_t *data = random_bytes(20000);
    for (size_t align = 0; align < 8; align++) {
        for (size_t size = 0; size < 300; size++) {
            assert_int_equal(crc32c(0, data + align, size), by_bits(0, data + align, size));
        }
    }
    /* Around the lengths where the parallel streams begin and repeat. */
    static const size_t sizes[] = {1023, 3071, 3072, 3073, 3080, 6143, 6144, 6151, 9216, 19000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t align = 0; align < 8; align++) {
            assert_int_equal(crc32c(7, data + align, sizes[i]), by_bits(7, data + align, sizes[i]));
        }
    }
    free(data);
}

static void parts_give_what_the_whole_gives(void **state)
{
    (void)state;
    uint8_t *data = random_bytes(8000);
    uint32_t whole = crc32c(0, data, 8000);
    for (size_t cut = 0; cut <= 8000; cut += 97) {
        assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, 8000 - cut), whole);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers_come_out),
        cmocka_unit_test(every_length_at_every_alignment_equals_the_definition),
        cmocka_unit_test(parts_give_what_the_whole_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
