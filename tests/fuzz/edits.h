/* Targets that read directories: a good one is made once, and the input says what to change of it.
 */
#pragma once

#include "tests/crash/trace.h"
#include "tests/fuzz/fuzz.h"

/* The input is a row of changes: a file (1 byte, by its place in the directory), an offset (3
 * bytes, little-endian, modulo the file's size), a length (1 byte, of 16 at most; 255: the file
 * ends at the offset), the bytes. */
void edits_apply(struct image *image, const uint8_t *data, size_t size);

/* mkdtemp(), in memory; what is there goes when the process ends. One per process. */
void edits_directory(char *template);
