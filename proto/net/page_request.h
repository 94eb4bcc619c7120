/* The head of a request for a page: strict, and small. Pure. Private to this folder. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"

enum { PAGE_HEAD_MAX = 4096, PAGE_PATH_BYTES = 128 };

/* Takes a head of HTTP/1.0 or 1.1 apart. 0: not all of it is there; 200: *out has the path, without
 * its query; else the status to refuse it with:
 *
 * 400  not HTTP, a folded or nameless header, a bare line end, a control character, no Host or two,
 *      or a body
 * 405  another method than GET
 * 414  a path of PAGE_PATH_BYTES or more
 * 431  more than PAGE_HEAD_MAX bytes
 * 505  another version */
uint16_t page_request_parse(struct bytes in, char out[PAGE_PATH_BYTES]);
