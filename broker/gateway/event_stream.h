/* The framing of AWS event streams (application/vnd.amazon.eventstream): messages of headers and a
 * payload between two CRCs. Each function appends one whole message.
 *
 * NO_MEMORY: *out is as before. TOO_LARGE: beyond 16 MiB, put fewer records into the event. */
#pragma once

#include "base/bytes.h"
#include "broker/gateway/api_error.h"

#define EVENT_STREAM_CONTENT_TYPE "application/vnd.amazon.eventstream"

enum {
    EVENT_STREAM_MESSAGE_MAX = 16 * 1024 * 1024,
    EVENT_STREAM_OVERHEAD_MAX = 256, /* of a message of ours around its payload */
};

/* The first message of every stream: some clients wait for it, some insist. */
NODISCARD enum status event_stream_initial(struct buf *out);

/* An event of that type ("SubscribeToShardEvent") with a JSON payload. */
NODISCARD enum status event_stream_event(const char *type, struct bytes payload, struct buf *out);

/* The last message of a stream that ends with an exception of its model. */
NODISCARD enum status event_stream_exception(const struct api_error *error, struct buf *out);

struct event_header {
    struct bytes name, value;
};

/* Any headers (of the string type), for what the above do not say. */
NODISCARD enum status event_stream_message(const struct event_header *headers, uint32_t count,
                                           struct bytes payload, struct buf *out);

/* A message as it was read. */
enum { EVENT_HEADERS_MAX = 16 };
struct event_message {
    struct event_header headers[EVENT_HEADERS_MAX]; /* borrowed from the input */
    uint32_t header_count;
    struct bytes payload;
    size_t size; /* of all of it */
};

/* Reads one message from the start of `input`: for our own clients and tests. MORE when it is not
 * complete, CORRUPT, or UNSUPPORTED for headers that are not strings or too many. */
NODISCARD enum status event_stream_decode(struct bytes input, struct event_message *out);
