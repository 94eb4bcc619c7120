/* One value of a configuration: text to field. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/config.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit no_units[] = {
    {"",   1},
    {NULL, 0}
};

static const struct unit byte_units[] = {
    {"",    1                },
    {"B",   1                },
    {"KiB", (uint64_t)1 << 10},
    {"MiB", (uint64_t)1 << 20},
    {"GiB", (uint64_t)1 << 30},
    {"TiB", (uint64_t)1 << 40},
    {NULL,  0                },
};

/* No bare number: ten of what? */
static const struct unit duration_units[] = {
    {"ms", 1       },
    {"s",  1000    },
    {"m",  60000   },
    {"h",  3600000 },
    {"d",  86400000},
    {NULL, 0       },
};

/* Digits, then one of the units. */
static bool parse_number(const char *text, const struct unit *units, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (n > (UINT64_MAX - digit) / 10) {
            return false;
        }
        n = n * 10 + digit;
    }
    if (at == text) {
        return false;
    }
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcmp(at, unit->name) == 0) {
            if (n > max / unit->factor) {
                return false;
            }
            *out = n * unit->factor;
            return true;
        }
    }
    return false;
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const words[2][4] = {
        {"false", "no",  "off", "0"},
        {"true",  "yes", "on",  "1"},
    };
    for (int value = 0; value < 2; value++) {
        for (int i = 0; i < 4; i++) {
            if (strcmp(text, words[value][i]) == 0) {
                *out = value == 1;
                return true;
            }
        }
    }
    return false;
}

const char *config_type_text(enum config_type type)
{
    static const char *const texts[] = {
        [CONFIG_STRING] = "text",
        [CONFIG_U32] = "a number below 2^32",
        [CONFIG_U64] = "a number below 2^64",
        [CONFIG_PORT] = "a port from 0 to 65535",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_BYTES] = "a size such as 4096 or 64MiB",
        [CONFIG_DURATION] = "a time such as 500ms, 10s, 5m, 24h or 7d",
    };
    return texts[type];
}

static enum status parse_string(const char *text, char **field)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    free(*field);
    *field = copy;
    return STATUS_OK;
}

enum status config_value_parse(enum config_type type, const char *text, void *field,
                               struct error *error)
{
    uint64_t n = 0;
    bool ok = false;
    switch (type) {
    case CONFIG_STRING:
        return parse_string(text, field);
    case CONFIG_U32:
        ok = parse_number(text, no_units, UINT32_MAX, &n);
        break;
    case CONFIG_U64:
        ok = parse_number(text, no_units, UINT64_MAX, &n);
        break;
    case CONFIG_PORT:
        ok = parse_number(text, no_units, UINT16_MAX, &n);
        break;
    case CONFIG_BYTES:
        ok = parse_number(text, byte_units, UINT64_MAX, &n);
        break;
    case CONFIG_DURATION:
        ok = parse_number(text, duration_units, UINT64_MAX, &n);
        break;
    case CONFIG_BOOL:
        ok = parse_bool(text, field);
        break;
    }
    if (!ok) {
        return error_set(error, STATUS_INVALID, "\"%s\" is not %s", text, config_type_text(type));
    }
    if (type == CONFIG_U32) {
        *(uint32_t *)field = (uint32_t)n;
    } else if (type == CONFIG_PORT) {
        *(uint16_t *)field = (uint16_t)n;
    } else if (type != CONFIG_BOOL) {
        *(uint64_t *)field = n;
    }
    return STATUS_OK;
}

/* ---- reading again ---- */

char **config_copy_words(int argc, char *const *argv)
{
    char **copy = calloc((size_t)argc + 1, sizeof(*copy));
    for (int i = 0; copy != NULL && i < argc; i++) {
        copy[i] = argv[i];
    }
    return copy;
}

/* ---- writing ---- */

static bool is_secret(const char *name)
{
    static const char *const ends[] = {"-secret", "-password", "-token"};
    size_t size = strlen(name);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t end = strlen(ends[i]);
        if (size >= end && strcmp(name + size - end, ends[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const char *write_value(const struct config_key *key, const void *field, char text[32])
{
    uint64_t number = 0;
    switch (key->type) {
    case CONFIG_STRING:
        return *(char *const *)field == NULL ? "" : *(char *const *)field;
    case CONFIG_BOOL:
        return *(const bool *)field ? "true" : "false";
    case CONFIG_U32:
        number = *(const uint32_t *)field;
        break;
    case CONFIG_PORT:
        number = *(const uint16_t *)field;
        break;
    case CONFIG_U64:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        number = *(const uint64_t *)field;
        break;
    }
    (void)snprintf(text, 32, "%llu%s", (unsigned long long)number,
                   key->type == CONFIG_DURATION ? "ms" : "");
    return text;
}

enum status config_write(const struct config_spec *spec, const void *config, struct buf *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < spec->key_count; i++) {
        const struct config_key *key = &spec->keys[i];
        char text[32];
        const char *value = is_secret(key->name)
                                ? "(not told)"
                                : write_value(key, (const char *)config + key->offset, text);
        const char *const parts[] = {key->name, " = ", value, "\n"};
        for (size_t part = 0; status == STATUS_OK && part < 4; part++) {
            status = buf_append(out, parts[part], strlen(parts[part]));
        }
    }
    return status;
}
