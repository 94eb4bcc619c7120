/* Building a STREAM_CONTROL. Everything lives in the request's arena; whoever builds checks once,
 * in change_send(). Private. */
#pragma once

#include "broker/kinesis/internal.h"

/* Of that stream and incarnation; NULL: of the account. Returns NULL when out of memory. */
Weir__StreamControl *change_new(struct request *r, const struct route_stream *stream);
void *change_part(struct request *r, size_t size);

/* A member of the input, "" when absent. */
char *change_text(struct request *r, const char *name);
/* A map of the input as tags. */
size_t change_tags(struct request *r, const struct value *map, Weir__Tag ***out);

/* `done` NULL: the answer is empty. */
void change_send(struct request *r, const Weir__StreamControl *c,
                 void (*done)(struct request *r, const Weir__StreamReply *reply));
