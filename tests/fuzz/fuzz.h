/* What every fuzz target is: a function of some bytes that CHECKs what must hold for all of them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/* Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
