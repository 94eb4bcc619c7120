/* Configuration files, with a key of every type. */
#include "base/config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/fuzz/fuzz.h"

struct settings {
    char *text, *name;
    uint32_t count;
    uint64_t large, bytes, duration;
    uint16_t port;
    bool yes;
};

static const struct config_key keys[] = {
    {"text",     CONFIG_STRING,   offsetof(struct settings, text),     "",     "a text"                   },
    {"name",     CONFIG_STRING,   offsetof(struct settings, name),     NULL,   "a name that must be given"},
    {"count",    CONFIG_U32,      offsetof(struct settings, count),    "1",    "a number"                 },
    {"large",    CONFIG_U64,      offsetof(struct settings, large),    "1",    "a large number"           },
    {"bytes",    CONFIG_BYTES,    offsetof(struct settings, bytes),    "1MiB", "a size"                   },
    {"duration", CONFIG_DURATION, offsetof(struct settings, duration), "1s",   "a time"                   },
    {"port",     CONFIG_PORT,     offsetof(struct settings, port),     "1",    "a port"                   },
    {"yes",      CONFIG_BOOL,     offsetof(struct settings, yes),      "true", "whether"                  },
};
static const struct config_spec spec = {.program = "weir-fuzz",
                                        .summary = "Fuzzes.",
                                        .version = "1",
                                        .env_prefix = "WEIR_FUZZ_",
                                        .keys = keys,
                                        .key_count = sizeof(keys) / sizeof(keys[0])};

static char path[64];

static void remove_file(void)
{
    (void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (path[0] == '\0') {
        (void)snprintf(path, sizeof(path), "/dev/shm/weir-fuzz-config-XXXXXX");
        int made = mkstemp(path);
        CHECK(made >= 0);
        (void)close(made);
        (void)atexit(remove_file);
    }
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
    char program[] = "weir-broker", option[] = "--config";
    char *argv[] = {program, option, path, NULL};
    int argc = 3;
    struct settings config;
    enum config_action action;
    struct error error = {0};
    enum status status = config_load(&spec, &argc, argv, &config, &action, &error);
    CHECK(status == STATUS_OK || error.text[0] != '\0');
    if (status == STATUS_OK) {
        struct buf text = {0};
        CHECK(config_write(&spec, &config, &text) == STATUS_OK);
        buf_release(&text);
        config_release(&spec, &config);
    }
    return 0;
}
