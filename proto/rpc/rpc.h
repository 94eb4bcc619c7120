/* Calls, replies and messages over frames: the pure part. Sockets and TLS are proto/net's.
 *
 * A frame, little-endian (proto/wire/frame.h parses it):
 *
 *   0  u32 bytes       the whole frame, this header included
 *   4  u8  magic       0x57 'W'
 *   5  u8  version     1
 *   6  u8  kind        enum rpc_kind
 *   7  u8  flags       RPC_MORE
 *   8  u64 call        id of the call, chosen by its caller; 0 in a MESSAGE
 *  16  u16 method      proto/rpc/methods.def
 *  18  u16 status      REPLY: base/status.h; else 0
 *  20  u32 body_bytes  the protobuf message; the rest of the frame is the attachment
 *  24  u32 timeout_ms  CALL: how long the caller will wait, 0 = no limit
 *  28  u32 reserved, 0
 *
 * In a REPLY whose status is not OK the body is an ErrorReply. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/status.h"

enum rpc_kind { RPC_CALL = 1, RPC_REPLY = 2, RPC_CANCEL = 3, RPC_MESSAGE = 4 };
enum { RPC_MORE = 1 }; /* another reply to the same call follows */

enum rpc_role {
    RPC_ROLE_CONTROLLER = 1,
    RPC_ROLE_BROKER = 2,
    RPC_ROLE_ADMIN = 4,
    RPC_ROLE_USER = 8,
};

enum rpc_method {
#define X(number, NAME, kind, from, to, what) RPC_##NAME = (number),
#include "proto/rpc/methods.def"
    RPC_METHODS(X)
#undef X
};

/* "PUT"; NULL for a number outside the table. */
const char *rpc_method_name(unsigned method);

/* What the table says: is this method of this kind allowed from `from` to `to`?
 * UNSUPPORTED  no such method
 * INVALID      the method is not of this kind
 * DENIED       the roles do not fit */
NODISCARD enum status rpc_method_check(unsigned method, enum rpc_kind kind, enum rpc_role from,
                                       enum rpc_role to);

/* "controller", "broker", "admin", "user". */
const char *rpc_role_name(enum rpc_role role);
NODISCARD enum status rpc_role_parse(const char *name, enum rpc_role *out);

/* Who a process is: what its certificate says, and its boot. */
struct rpc_identity {
    uint8_t cluster[CLUSTER_ID_BYTES];
    enum rpc_role role;
    uint32_t id;                /* broker-3 and controller-3 have 3; users and admins have 0 */
    char name[NODE_NAME_BYTES]; /* "broker-3", "admin", "app-7" */
    uint64_t boot;              /* from its HELLO; 0 for users and admins */
};

/* "spiffe://<cluster uuid>/<role>/<name>", the certificate's SAN URI. The uuid in its usual form of
 * 36 characters. INVALID: not of that form. boot is 0. */
NODISCARD enum status rpc_identity_parse(const char *uri, struct rpc_identity *out);

enum { CLUSTER_ID_TEXT_BYTES = 37 };
void rpc_cluster_id_format(const uint8_t id[CLUSTER_ID_BYTES], char out[CLUSTER_ID_TEXT_BYTES]);
NODISCARD enum status rpc_cluster_id_parse(const char *text, uint8_t out[CLUSTER_ID_BYTES]);
