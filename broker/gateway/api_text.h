/* Text as both encodings need it: UTF-8 and base64. Pure, any thread. */
#pragma once

#include "base/bytes.h"

/* How many bytes from the start are whole, valid characters (RFC 3629: no surrogates, nothing
 * longer than it need be). */
size_t utf8_valid(struct bytes text);

static inline bool utf8_is_valid(struct bytes text)
{
    return utf8_valid(text) == text.size;
}

/* Characters (not bytes) of valid UTF-8. */
int64_t utf8_length(struct bytes text);

/* The longest prefix of at most `most` bytes that ends between two characters. */
struct bytes utf8_cut(struct bytes text, size_t most);

enum base64_result {
    BASE64_OK,
    BASE64_LENGTH,    /* not a multiple of four */
    BASE64_CHARACTER, /* one that does not belong there */
    BASE64_LAST,      /* bits behind the end that are not zero */
};

/* Room for what `size` characters decode to, and for `size` bytes encoded (without a zero). */
static inline size_t base64_decoded_max(size_t size)
{
    return size / 4 * 3;
}
static inline size_t base64_encoded_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

/* Strict: the standard alphabet, padded, no blanks. On BASE64_CHARACTER *out_size is the place of
 * the character. */
enum base64_result base64_decode(struct bytes text, uint8_t *out, size_t *out_size);
void base64_encode(struct bytes bytes, uint8_t *out);
