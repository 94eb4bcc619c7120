#include "client/cli/args.h"

#include <inttypes.h>
#include <string.h>

/* The option that `word` names; *out_value is what stands behind '=', or NULL. */
static const struct arg_option *find_option(const char *word, const struct arg_option *options,
                                            size_t count, const char **out_value)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(options[i].name);
        if (strncmp(word, options[i].name, length) != 0) {
            continue;
        }
        if (word[length] == '\0' || word[length] == '=') {
            *out_value = word[length] == '=' ? word + length + 1 : NULL;
            return &options[i];
        }
    }
    return NULL;
}

NODISCARD static enum status take_value(const struct arg_option *option, const char *value,
                                        int argc, const char *const *argv, int *at,
                                        struct error *error)
{
    if (*option->value != NULL) {
        return error_set(error, STATUS_INVALID, "%s is given twice", option->name);
    }
    if (value == NULL) {
        if (*at + 1 >= argc) {
            return error_set(error, STATUS_INVALID, "%s needs a value", option->name);
        }
        value = argv[++*at];
    }
    *option->value = value;
    if (option->wants_more != NULL && option->wants_more(value)) {
        if (*at + 1 >= argc) {
            return error_set(error, STATUS_INVALID, "%s %s needs a value", option->name, value);
        }
        *option->more = argv[++*at];
    }
    return STATUS_OK;
}

NODISCARD static enum status take_option(const char *word, const struct arg_option *options,
                                         size_t count, int argc, const char *const *argv, int *at,
                                         struct error *error)
{
    const char *value;
    const struct arg_option *option = find_option(word, options, count, &value);
    if (option == NULL) {
        return error_set(error, STATUS_INVALID, "there is no option %s (--help lists them)", word);
    }
    if (option->flag == NULL) {
        return take_value(option, value, argc, argv, at, error);
    }
    if (value != NULL) {
        return error_set(error, STATUS_INVALID, "%s takes no value", option->name);
    }
    *option->flag = true;
    return STATUS_OK;
}

enum status args_parse(int argc, const char *const *argv, const struct arg_option *options,
                       size_t option_count, struct args *out, struct error *error)
{
    struct args args = {0};
    bool only_words = false;
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && word[0] == '-' && word[1] != '\0') {
            enum status status = take_option(word, options, option_count, argc, argv, &at, error);
            if (status != STATUS_OK) {
                return status;
            }
        } else if (args.word_count == ARGS_WORDS_MAX) {
            return error_set(error, STATUS_INVALID, "'%s' is one word too many", word);
        } else {
            args.words[args.word_count++] = word;
        }
    }
    *out = args;
    return STATUS_OK;
}

/* Digits from the beginning of `text`. False: none, or too many. */
static bool take_digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (at == *text) {
        return false;
    }
    *text = at;
    *out = value;
    return true;
}

enum status args_number(const char *text, const char *what, uint64_t low, uint64_t high,
                        uint64_t *out, struct error *error)
{
    const char *rest = text;
    uint64_t value = 0;
    if (!take_digits(&rest, &value) || *rest != '\0' || value < low || value > high) {
        return error_set(error, STATUS_INVALID,
                         "%s must be a number from %" PRIu64 " to %" PRIu64 ", not '%.60s'", what,
                         low, high, text);
    }
    *out = value;
    return STATUS_OK;
}

enum status args_duration(const char *text, const char *what, uint32_t *out_ms, struct error *error)
{
    static const struct {
        const char *suffix;
        uint64_t ms;
    } units[] = {
        {"",   1000   },
        {"ms", 1      },
        {"s",  1000   },
        {"m",  60000  },
        {"h",  3600000}
    };
    const char *rest = text;
    uint64_t value = 0;
    if (take_digits(&rest, &value)) {
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(rest, units[i].suffix) == 0 && value > 0 &&
                value <= INT32_MAX / units[i].ms) {
                *out_ms = (uint32_t)(value * units[i].ms);
                return STATUS_OK;
            }
        }
    }
    return error_set(error, STATUS_INVALID,
                     "%s must be a time such as 500ms, 30s or 5m, not '%.60s'", what, text);
}
