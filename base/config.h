/* Configuration from one table of keys, for every program of ours.
 *
 * Sources in rising priority: the key's default, the file of --config (or WEIR_CONFIG), the
 * environment (WEIR_DATA_DIR for data-dir), the command line (--data-dir X or --data-dir=X). The
 * file has a line "key = value" each; blank lines and lines that begin with # or ; are skipped, and
 * a value reaches to the end of its line. An unknown key, a bad value, a key twice in the file, a
 * required key that nobody sets: INVALID with a sentence that names the place, the key and, for an
 * unknown one, the nearest that exists. Environment variables that match no key are ignored,
 * because programs share the environment.
 *
 * Read by hand rather than by inih: Debian's build of it gives its handler no line numbers and cuts
 * lines at 200 characters. For main(), before there are threads. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* The type of the field that the key fills. */
enum config_type {
    CONFIG_STRING,   /* char *, owned by the struct */
    CONFIG_U32,      /* uint32_t */
    CONFIG_U64,      /* uint64_t */
    CONFIG_PORT,     /* uint16_t, 0 to 65535 */
    CONFIG_BOOL,     /* bool: true, false, yes, no, on, off, 1, 0; "--key" alone means true */
    CONFIG_BYTES,    /* uint64_t: "4096", "64KiB", "64MiB", "2GiB", "1TiB" */
    CONFIG_DURATION, /* uint64_t milliseconds: "500ms", "10s", "5m", "24h", "7d" */
};

struct config_key {
    const char *name; /* lower case, words joined by '-' */
    enum config_type type;
    size_t offset;        /* of the field */
    const char *fallback; /* as it would stand in the file; NULL = required */
    const char *help;     /* a sentence */
};

enum { CONFIG_KEYS_MAX = 128 };

struct config_spec {
    const char *program; /* "weir-broker" */
    const char *summary; /* a sentence for --help, or several lines */
    const char *version;
    const char *operands;   /* "STREAM [SHARD]" when words without dashes are allowed, else NULL */
    const char *env_prefix; /* NULL = "WEIR_" */
    const struct config_key *keys;
    size_t key_count;
};

enum config_action { CONFIG_RUN, CONFIG_EXIT };

/* Fills the struct at `config`, whatever was in it before. Operands are moved to argv[1...] and
 * *argc counts what is left, argv[0] included; everything behind "--" is an operand. With --help or
 * --version the text is printed to standard output and *out_action is CONFIG_EXIT: the struct is
 * then empty, and the program should end with 0.
 *
 * INVALID    as above; the struct is empty
 * NOT_FOUND  the file of --config cannot be opened
 * IO         it cannot be read
 * NO_MEMORY */
NODISCARD enum status config_load(const struct config_spec *spec, int *argc, char **argv,
                                  void *config, enum config_action *out_action,
                                  struct error *error);

/* A copy of argv that config_load() may use up, to read it all again later; free() it. NULL when
 * out of memory. The words themselves are borrowed. */
char **config_copy_words(int argc, char *const *argv);

/* Frees the strings and zeroes the fields. Fine on a zeroed or released struct. */
void config_release(const struct config_spec *spec, void *config);

/* Appends a line "key = value" for each key, as a file would have it. Of a key whose name ends in
 * -secret, -password or -token the value is not told. NO_MEMORY. */
struct buf;
NODISCARD enum status config_write(const struct config_spec *spec, const void *config,
                                   struct buf *out);

/* What --help prints. */
void config_print_help(const struct config_spec *spec, FILE *to);

/* One value, by the rules above, into the field at `field`; a string there is freed first. INVALID
 * with a sentence that does not name the key. */
NODISCARD enum status config_value_parse(enum config_type type, const char *text, void *field,
                                         struct error *error);

/* "a size such as 64MiB". */
const char *config_type_text(enum config_type type);
