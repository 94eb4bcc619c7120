/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's own instruction where it has one.
 * Any thread; the fastest way is chosen on first use. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* crc32c(0, ...) starts; pass the result on to continue over the next bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
