/* Which messages this version knows whole. */
#include "controller/command/command.h"

#include <stddef.h>
#include <stdint.h>

static bool field_is_known(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const uint8_t *base = (const uint8_t *)message;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return true;
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
        ProtobufCMessage *const *items =
            *(ProtobufCMessage *const *const *)(const void *)(base + field->offset);
        for (size_t i = 0; i < count; i++) {
            if (!command_is_known(items[i])) {
                return false;
            }
        }
        return true;
    }
    bool is_choice = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (is_choice &&
        *(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id) {
        return true; /* the place belongs to another field */
    }
    const ProtobufCMessage *one =
        *(const ProtobufCMessage *const *)(const void *)(base + field->offset);
    return one == NULL || command_is_known(one);
}

/* Ends: the schema of commands nests to a depth of its own, and what is unpacked is a tree. */
bool command_is_known(const ProtobufCMessage *message) /* NOLINT(misc-no-recursion) */
{
    if (message->n_unknown_fields > 0) {
        return false;
    }
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        if (!field_is_known(message, &message->descriptor->fields[i])) {
            return false;
        }
    }
    return true;
}
