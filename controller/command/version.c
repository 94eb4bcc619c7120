/* Since which version of commands (FORMAT_COMMAND, base/formats.h) a field of them exists. A kind
 * of command is a field of Command, so it stands here, too. */
#include <stddef.h>
#include <stdint.h>

#include "base/formats.h"
#include "controller/command/command.h"
#include "proto/schema/command.pb-c.h"

/* All that is not here is of version 1. Whoever adds a kind, or a field at any depth, raises
 * FORMAT_COMMAND unless that has been done since the last release, and adds a row: a unit test
 * counts them. What gives an old field, or a new value of it, another effect needs a new field,
 * too: controllers of both versions have to come to the same rows. */
static const struct since {
    const ProtobufCMessageDescriptor *message;
    uint32_t field, version;
} fields_since[] = {
    {&weir__command__descriptor, WEIR__COMMAND__KIND_BALANCE,     2},
    {&weir__command__descriptor, WEIR__COMMAND__KIND_PREFER,      2},
    {&weir__command__descriptor, WEIR__COMMAND__KIND_HELD_SHARDS, 2},
};

uint32_t command_field_version(const ProtobufCMessageDescriptor *message, uint32_t field)
{
    for (size_t i = 0; i < sizeof(fields_since) / sizeof(fields_since[0]); i++) {
        if (fields_since[i].message == message && fields_since[i].field == field) {
            return fields_since[i].version;
        }
    }
    return OLDEST_COMMAND;
}

static uint32_t greater(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Whether a value is not what it is when nothing was sent. */
static bool is_set(const uint8_t *value, const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)(const void *)value;
        return text != NULL && text[0] != '\0';
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)(const void *)value)->len > 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const ProtobufCMessage *const *)(const void *)value != NULL;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return *(const uint64_t *)(const void *)value != 0;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
    default:
        return *(const uint32_t *)(const void *)value != 0; /* protobuf_c_boolean is an int */
    }
}

/* 0: it is not set. */
static uint32_t version_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const uint8_t *base = (const uint8_t *)message, *value = base + field->offset;
    const void *quantifier = base + field->quantifier_offset;
    uint32_t version = command_field_version(message->descriptor, field->id);
    bool is_message = field->type == PROTOBUF_C_TYPE_MESSAGE;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)quantifier;
        ProtobufCMessage *const *items = *(ProtobufCMessage *const *const *)(const void *)value;
        for (size_t i = 0; is_message && i < count; i++) {
            version = greater(version, command_version(items[i]));
        }
        return count > 0 ? version : 0;
    }
    bool is_choice = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (is_choice ? *(const uint32_t *)quantifier != field->id : !is_set(value, field)) {
        return 0;
    }
    const ProtobufCMessage *one =
        is_message ? *(const ProtobufCMessage *const *)(const void *)value : NULL;
    return one == NULL ? version : greater(version, command_version(one));
}

/* Ends: the schema of commands nests to a depth of its own, and what is unpacked is a tree. */
uint32_t command_version(const ProtobufCMessage *message) /* NOLINT(misc-no-recursion) */
{
    uint32_t version = OLDEST_COMMAND;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        version = greater(version, version_of(message, &message->descriptor->fields[i]));
    }
    return version;
}
