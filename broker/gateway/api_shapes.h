/* The interface, described once: api.def names every shape and every operation, and from it follow
 * decoding, validation, encoding and the table of docs/kinesis.md. Adding an operation is one
 * description there and one handler.
 *
 * Constant data: any thread. */
#pragma once

#include "base/bytes.h"

enum shape_type {
    SHAPE_STRUCTURE,
    SHAPE_LIST,
    SHAPE_MAP,
    SHAPE_STRING,
    SHAPE_BLOB,
    SHAPE_INTEGER, /* 32 bits: larger numbers become the largest */
    SHAPE_LONG,
    SHAPE_BOOLEAN,
    SHAPE_TIMESTAMP,
};

/* What a string must look like; the text of each is in validate_pattern.c. */
enum pattern {
    PATTERN_NONE,
    PATTERN_NAME,
    PATTERN_HASH_KEY,
    PATTERN_SEQUENCE_NUMBER,
    PATTERN_STREAM_ARN,
    PATTERN_CONSUMER_ARN,
    PATTERN_RESOURCE_ARN,
    PATTERN_STREAM_ID,
};

struct shape;

struct shape_member {
    const char *name; /* "StreamName" */
    const struct shape *shape;
    bool required;
};

enum { SHAPE_NO_LIMIT = -1 };

struct shape {
    const char *name;
    enum shape_type type;
    enum pattern pattern;
    int64_t min, max;         /* of the value, the characters, bytes or items; or SHAPE_NO_LIMIT */
    const char *const *words; /* what an enumeration allows, up to NULL; NULL: not one */
    const struct shape *key, *element;  /* of a map, of a map or a list */
    const struct shape_member *members; /* of a structure */
    uint32_t member_count;
};

/* NULL: the structure has no such member. */
const struct shape_member *shape_member(const struct shape *structure, struct bytes name);

/* What an operation works on, for the policies that will decide about it. */
enum api_resource {
    API_RESOURCE_STREAM,
    API_RESOURCE_CONSUMER,
    API_RESOURCE_EITHER, /* ResourceARN names one of the two */
    API_RESOURCE_ACCOUNT,
};

enum api_answer {
    API_ANSWER_EMPTY,     /* 200 without a body */
    API_ANSWER_STRUCTURE, /* 200 with the output */
    API_ANSWER_EVENTS,    /* 200 and an event stream; `output` is the shape of one event */
};

struct api_operation {
    const char *name;   /* "PutRecord" */
    const char *action; /* "kinesis:PutRecord" */
    const struct shape *input, *output;
    enum api_answer answer;
    enum api_resource resource;
    /* Calls a second that AWS admits, by account (by stream for ListShards and for consumers);
     * 0 where it publishes none or limits by shard. */
    uint32_t rate;
};

/* API_PutRecord: an index into the table. */
enum api_operation_id {
#define OPERATION(name, handler, input, output, answer, resource, rate) API_##name,
#include "broker/gateway/api.def"
    API_OPERATIONS
};

extern const struct api_operation api_operations[API_OPERATIONS];

/* api_shape_PutRecordInput */
#define STRING(name, min, max, pattern)   extern const struct shape api_shape_##name;
#define ENUM(name, ...)                   extern const struct shape api_shape_##name;
#define BLOB(name, min, max)              extern const struct shape api_shape_##name;
#define INTEGER(name, min, max)           extern const struct shape api_shape_##name;
#define LONG(name, min, max)              extern const struct shape api_shape_##name;
#define BOOLEAN(name)                     extern const struct shape api_shape_##name;
#define TIMESTAMP(name)                   extern const struct shape api_shape_##name;
#define LIST(name, element, min, max)     extern const struct shape api_shape_##name;
#define MAP(name, key, element, min, max) extern const struct shape api_shape_##name;
#define STRUCTURE(name, ...)              extern const struct shape api_shape_##name;
#define NO_MEMBERS(name)                  extern const struct shape api_shape_##name;
#include "broker/gateway/api.def"

/* The operation that X-Amz-Target names ("Kinesis_20131202.PutRecord"); API_OPERATIONS when the
 * service or the operation is unknown. */
enum api_operation_id api_operation_find(struct bytes target);
