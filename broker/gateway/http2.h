/* What http2.c and http2_answer.c share about nghttp2. */
#pragma once

#include <nghttp2/nghttp2.h>

struct http_connection;

/* A stream was reset, by the client or because of what it sent: too many end the connection.
 * nghttp2's value for callbacks. */
int http2_count_reset(struct http_connection *connection);

/* A frame has gone out. */
int http2_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data);
