#include "proto/rpc/rpc.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "proto/wire/frame.h"

static_assert((int)RPC_CALL == (int)FRAME_CALL && (int)RPC_REPLY == (int)FRAME_REPLY &&
                  (int)RPC_CANCEL == (int)FRAME_CANCEL && (int)RPC_MESSAGE == (int)FRAME_MESSAGE &&
                  (int)RPC_MORE == (int)FRAME_FLAGS_KNOWN,
              "the kinds of a frame are those of rpc.h");

/* The letters of methods.def. */
enum {
    C = RPC_ROLE_CONTROLLER,
    B = RPC_ROLE_BROKER,
    A = RPC_ROLE_ADMIN,
    U = RPC_ROLE_USER,
};

struct method {
    const char *name;
    enum rpc_kind kind;
    unsigned from, to;
};

/* Indexed by number; rows between the numbers have no name. */
static const struct method methods[] = {
#define X(number, NAME, kind, from, to, what) [number] = {#NAME, RPC_##kind, (from), (to)},
    RPC_METHODS(X)
#undef X
};

static const struct method *method_find(unsigned number)
{
    size_t count = sizeof(methods) / sizeof(methods[0]);
    return number < count && methods[number].name != NULL ? &methods[number] : NULL;
}

const char *rpc_method_name(unsigned method)
{
    const struct method *found = method_find(method);
    return found == NULL ? NULL : found->name;
}

enum status rpc_method_check(unsigned method, enum rpc_kind kind, enum rpc_role from,
                             enum rpc_role to)
{
    const struct method *found = method_find(method);
    if (found == NULL) {
        return STATUS_UNSUPPORTED;
    }
    if (found->kind != kind) {
        return STATUS_INVALID;
    }
    bool fits = (found->from & (unsigned)from) != 0 && (found->to & (unsigned)to) != 0;
    return fits ? STATUS_OK : STATUS_DENIED;
}
