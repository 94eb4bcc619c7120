/* Command lines: words, and options that may stand anywhere among them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { ARGS_WORDS_MAX = 8 };

/* Exactly one of `flag` and `value` is set. */
struct arg_option {
    const char *name;   /* "--follow" */
    bool *flag;         /* set to true */
    const char **value; /* the word behind it, or what stands behind '=' */
    /* When this says so of its value, the word behind that belongs to it too. May be NULL. */
    bool (*wants_more)(const char *value);
    const char **more;
};

static inline struct arg_option args_flag(const char *name, bool *flag)
{
    return (struct arg_option){.name = name, .flag = flag};
}

static inline struct arg_option args_value(const char *name, const char **value)
{
    return (struct arg_option){.name = name, .value = value};
}

struct args {
    const char *words[ARGS_WORDS_MAX]; /* what is no option, in order */
    size_t word_count;
};

/* Borrows from argv; argv[0] is skipped. "--" ends the options.
 * INVALID with a sentence: unknown or repeated option, missing value, too many words. */
NODISCARD enum status args_parse(int argc, const char *const *argv,
                                 const struct arg_option *options, size_t option_count,
                                 struct args *out, struct error *error);

/* Decimal, from `low` to `high`. INVALID with a sentence that names `what`. */
NODISCARD enum status args_number(const char *text, const char *what, uint64_t low, uint64_t high,
                                  uint64_t *out, struct error *error);

/* "1500ms", "30s", "5m"; a bare number is seconds. INVALID with a sentence. */
NODISCARD enum status args_duration(const char *text, const char *what, uint32_t *out_ms,
                                    struct error *error);
