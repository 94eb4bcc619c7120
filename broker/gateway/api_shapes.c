#include "broker/gateway/api_shapes.h"

/* ANY of api.def is undefined behind it: constants keep the number. */
#define STRING(shape_name, low, high, like)                                 \
    const struct shape api_shape_##shape_name = {.name = #shape_name,       \
                                                 .type = SHAPE_STRING,      \
                                                 .pattern = PATTERN_##like, \
                                                 .min = (low),              \
                                                 .max = (high)};
#define ENUM(shape_name, ...)                                            \
    static const char *const words_##shape_name[] = {__VA_ARGS__, NULL}; \
    const struct shape api_shape_##shape_name = {.name = #shape_name,    \
                                                 .type = SHAPE_STRING,   \
                                                 .min = SHAPE_NO_LIMIT,  \
                                                 .max = SHAPE_NO_LIMIT,  \
                                                 .words = words_##shape_name};
#define PLAIN(shape_name, kind, low, high)        \
    const struct shape api_shape_##shape_name = { \
        .name = #shape_name, .type = (kind), .min = (low), .max = (high)};
#define BLOB(name, min, max)    PLAIN(name, SHAPE_BLOB, min, max)
#define INTEGER(name, min, max) PLAIN(name, SHAPE_INTEGER, min, max)
#define LONG(name, min, max)    PLAIN(name, SHAPE_LONG, min, max)
#define BOOLEAN(name)           PLAIN(name, SHAPE_BOOLEAN, SHAPE_NO_LIMIT, SHAPE_NO_LIMIT)
#define TIMESTAMP(name)         PLAIN(name, SHAPE_TIMESTAMP, SHAPE_NO_LIMIT, SHAPE_NO_LIMIT)
#define LIST(shape_name, of, low, high)                               \
    const struct shape api_shape_##shape_name = {.name = #shape_name, \
                                                 .type = SHAPE_LIST,  \
                                                 .min = (low),        \
                                                 .max = (high),       \
                                                 .element = &api_shape_##of};
#define MAP(shape_name, from, to, low, high)                               \
    const struct shape api_shape_##shape_name = {.name = #shape_name,      \
                                                 .type = SHAPE_MAP,        \
                                                 .min = (low),             \
                                                 .max = (high),            \
                                                 .key = &api_shape_##from, \
                                                 .element = &api_shape_##to};
#define OPTIONAL(member, of)            \
    {                                   \
#        member, &api_shape_##of, false \
    }
#define REQUIRED(member, of)           \
    {                                  \
#        member, &api_shape_##of, true \
    }
#define STRUCTURE(shape_name, ...)                                                             \
    static const struct shape_member members_##shape_name[] = {__VA_ARGS__};                   \
    const struct shape api_shape_##shape_name = {.name = #shape_name,                          \
                                                 .type = SHAPE_STRUCTURE,                      \
                                                 .min = SHAPE_NO_LIMIT,                        \
                                                 .max = SHAPE_NO_LIMIT,                        \
                                                 .members = members_##shape_name,              \
                                                 .member_count = sizeof members_##shape_name / \
                                                                 sizeof *members_##shape_name};
#define NO_MEMBERS(name) PLAIN(name, SHAPE_STRUCTURE, SHAPE_NO_LIMIT, SHAPE_NO_LIMIT)
#include "broker/gateway/api.def"

const struct api_operation api_operations[API_OPERATIONS] = {
#define OPERATION(operation, function, in, out, reply, on, limit) \
    {.name = #operation,                                          \
     .action = "kinesis:" #operation,                             \
     .input = &api_shape_##in,                                    \
     .output = &api_shape_##out,                                  \
     .answer = API_ANSWER_##reply,                                \
     .resource = API_RESOURCE_##on,                               \
     .rate = (limit)},
#include "broker/gateway/api.def"
};

const struct shape_member *shape_member(const struct shape *structure, struct bytes name)
{
    for (uint32_t i = 0; i < structure->member_count; i++) {
        const struct shape_member *member = &structure->members[i];
        if (name.size && name.data[0] == (uint8_t)member->name[0] &&
            bytes_equal(name, bytes_of_string(member->name))) {
            return member;
        }
    }
    return NULL;
}

enum api_operation_id api_operation_find(struct bytes target)
{
    static const char service[] = "Kinesis_20131202.";
    const size_t length = sizeof service - 1;
    if (target.size <= length || memcmp(target.data, service, length) != 0) {
        return API_OPERATIONS;
    }
    struct bytes name = bytes_of(target.data + length, target.size - length);
    unsigned id = 0;
    while (id < API_OPERATIONS && !bytes_equal(name, bytes_of_string(api_operations[id].name))) {
        id++;
    }
    return (enum api_operation_id)id;
}
