/* Roles and identities: what a certificate says. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/rpc/rpc.h"

static const struct {
    enum rpc_role role;
    const char *name;
} roles[] = {
    {RPC_ROLE_CONTROLLER, "controller"},
    {RPC_ROLE_BROKER,     "broker"    },
    {RPC_ROLE_ADMIN,      "admin"     },
    {RPC_ROLE_USER,       "user"      },
};

enum { ROLE_COUNT = sizeof(roles) / sizeof(roles[0]), ROLE_NAME_MAX = 10 };

static const char scheme[] = "spiffe://";

const char *rpc_role_name(enum rpc_role role)
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        if (roles[i].role == role) {
            return roles[i].name;
        }
    }
    UNREACHABLE();
}

enum status rpc_role_parse(const char *name, enum rpc_role *out)
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            *out = roles[i].role;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

static bool has_hyphen_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void rpc_cluster_id_format(const uint8_t id[CLUSTER_ID_BYTES], char out[CLUSTER_ID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *at = out;
    for (size_t i = 0; i < CLUSTER_ID_BYTES; i++) {
        if (has_hyphen_before(i)) {
            *at++ = '-';
        }
        *at++ = digits[id[i] >> 4];
        *at++ = digits[id[i] & 15];
    }
    *at = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum status rpc_cluster_id_parse(const char *text, uint8_t out[CLUSTER_ID_BYTES])
{
    if (strnlen(text, CLUSTER_ID_TEXT_BYTES) != CLUSTER_ID_TEXT_BYTES - 1) {
        return STATUS_INVALID;
    }
    uint8_t id[CLUSTER_ID_BYTES];
    const char *at = text;
    for (size_t i = 0; i < CLUSTER_ID_BYTES; i++) {
        if (has_hyphen_before(i) && *at++ != '-') {
            return STATUS_INVALID;
        }
        int high = hex_digit(*at++);
        int low = hex_digit(*at++);
        if (high < 0 || low < 0) {
            return STATUS_INVALID;
        }
        id[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(out, id, sizeof(id));
    return STATUS_OK;
}

static bool is_name(const char *name)
{
    size_t size = strnlen(name, NODE_NAME_BYTES);
    return size > 0 && size < NODE_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               size;
}

/* "broker-3" has 3 for the role "broker": a number of 1 to 9 digits without leading zeros. */
static bool parse_id(const char *name, const char *role, uint32_t *out)
{
    size_t role_size = strlen(role);
    if (strncmp(name, role, role_size) != 0 || name[role_size] != '-') {
        return false;
    }
    const char *digits = name + role_size + 1;
    size_t count = strlen(digits);
    if (count == 0 || count > 9 || digits[0] == '0' || strspn(digits, "0123456789") != count) {
        return false;
    }
    uint32_t id = 0;
    for (size_t i = 0; i < count; i++) {
        id = id * 10 + (uint32_t)(digits[i] - '0');
    }
    *out = id;
    return true;
}

enum status rpc_identity_parse(const char *uri, struct rpc_identity *out)
{
    struct rpc_identity identity = {0};
    char part[CLUSTER_ID_TEXT_BYTES];
    if (strncmp(uri, scheme, strlen(scheme)) != 0) {
        return STATUS_INVALID;
    }
    const char *at = uri + strlen(scheme);
    size_t size = strcspn(at, "/");
    if (size != CLUSTER_ID_TEXT_BYTES - 1 || at[size] != '/') {
        return STATUS_INVALID;
    }
    memcpy(part, at, size);
    part[size] = '\0';
    if (rpc_cluster_id_parse(part, identity.cluster) != STATUS_OK) {
        return STATUS_INVALID;
    }
    at += size + 1;
    size = strcspn(at, "/");
    if (size > ROLE_NAME_MAX || at[size] != '/') {
        return STATUS_INVALID;
    }
    memcpy(part, at, size);
    part[size] = '\0';
    at += size + 1;
    if (rpc_role_parse(part, &identity.role) != STATUS_OK || !is_name(at)) {
        return STATUS_INVALID;
    }
    bool is_numbered = identity.role == RPC_ROLE_CONTROLLER || identity.role == RPC_ROLE_BROKER;
    if (is_numbered && !parse_id(at, part, &identity.id)) {
        return STATUS_INVALID;
    }
    memcpy(identity.name, at, strlen(at) + 1);
    *out = identity;
    return STATUS_OK;
}
