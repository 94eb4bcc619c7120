#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/cleanup.h"

enum { ENV_NAME_BYTES = 128, PLACE_BYTES = 192, DISTANCE_MAX_WORD = 63 };

static const char env_prefix_default[] = "WEIR_";

/* One load in progress. `set` says which keys any source has set. */
struct loader {
    const struct config_spec *spec;
    void *config;
    struct error *error;
    bool set[CONFIG_KEYS_MAX];
};

static void *field_of(void *config, const struct config_key *key)
{
    return (char *)config + key->offset;
}

static size_t field_bytes(enum config_type type)
{
    switch (type) {
    case CONFIG_STRING:
        return sizeof(char *);
    case CONFIG_U32:
        return sizeof(uint32_t);
    case CONFIG_PORT:
        return sizeof(uint16_t);
    case CONFIG_BOOL:
        return sizeof(bool);
    case CONFIG_U64:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        return sizeof(uint64_t);
    }
    UNREACHABLE();
}

static void config_zero(const struct config_spec *spec, void *config)
{
    for (size_t i = 0; i < spec->key_count; i++) {
        memset(field_of(config, &spec->keys[i]), 0, field_bytes(spec->keys[i].type));
    }
}

void config_release(const struct config_spec *spec, void *config)
{
    for (size_t i = 0; i < spec->key_count; i++) {
        if (spec->keys[i].type == CONFIG_STRING) {
            free(*(char **)field_of(config, &spec->keys[i]));
        }
    }
    config_zero(spec, config);
}

/* ---- keys by name ---- */

static const struct config_key *key_find(const struct config_spec *spec, const char *name,
                                         size_t name_size)
{
    for (size_t i = 0; i < spec->key_count; i++) {
        if (strlen(spec->keys[i].name) == name_size &&
            memcmp(spec->keys[i].name, name, name_size) == 0) {
            return &spec->keys[i];
        }
    }
    return NULL;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance between words, cut at DISTANCE_MAX_WORD characters. */
static unsigned distance(const char *a, size_t a_size, const char *b)
{
    unsigned row[DISTANCE_MAX_WORD + 1];
    size_t b_size = strnlen(b, DISTANCE_MAX_WORD);
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_size && i <= DISTANCE_MAX_WORD; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1] ? 1 : 0));
            diagonal = above;
        }
    }
    return row[b_size];
}

static enum status unknown_key(const struct loader *loader, const char *place, const char *name,
                               size_t name_size)
{
    const char *nearest = NULL;
    unsigned least = 0;
    for (size_t i = 0; i < loader->spec->key_count; i++) {
        unsigned d = distance(name, name_size, loader->spec->keys[i].name);
        if (nearest == NULL || d < least) {
            nearest = loader->spec->keys[i].name;
            least = d;
        }
    }
    return error_set(loader->error, STATUS_INVALID, "%s: there is no key \"%.*s\"%s%s%s", place,
                     (int)(name_size < DISTANCE_MAX_WORD ? name_size : DISTANCE_MAX_WORD), name,
                     nearest == NULL ? "" : "; did you mean \"", nearest == NULL ? "" : nearest,
                     nearest == NULL ? "" : "\"?");
}

static enum status set_value(struct loader *loader, const char *place, const struct config_key *key,
                             const char *value)
{
    struct error why;
    enum status status = config_value_parse(key->type, value, field_of(loader->config, key), &why);
    if (status == STATUS_NO_MEMORY) {
        return error_set(loader->error, status, "%s: out of memory", place);
    }
    if (status != STATUS_OK) {
        return error_set(loader->error, status, "%s: %s: %s", place, key->name, why.text);
    }
    loader->set[key - loader->spec->keys] = true;
    return STATUS_OK;
}

/* ---- the sources ---- */

static enum status load_defaults(struct loader *loader)
{
    for (size_t i = 0; i < loader->spec->key_count; i++) {
        const struct config_key *key = &loader->spec->keys[i];
        if (key->fallback != NULL) {
            enum status status = set_value(loader, "built-in default", key, key->fallback);
            CHECK(status != STATUS_INVALID);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text)) {
        text++;
    }
    size_t size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1])) {
        size--;
    }
    text[size] = '\0';
    return text;
}

/* `seen` holds the line of each key, 0 for none so far. */
static enum status load_line(struct loader *loader, const char *path, unsigned number, char *line,
                             unsigned *seen)
{
    char place[PLACE_BYTES];
    char *text = trim(line);
    if (*text == '\0' || *text == '#' || *text == ';') {
        return STATUS_OK;
    }
    (void)snprintf(place, sizeof(place), "%s:%u", path, number);
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        return error_set(loader->error, STATUS_INVALID,
                         "%s: expected \"key = value\", found \"%.60s\"", place, text);
    }
    *equals = '\0';
    const char *name = trim(text);
    const char *value = trim(equals + 1);
    const struct config_key *key = key_find(loader->spec, name, strlen(name));
    if (key == NULL) {
        return unknown_key(loader, place, name, strlen(name));
    }
    size_t index = (size_t)(key - loader->spec->keys);
    if (seen[index] != 0) {
        return error_set(loader->error, STATUS_INVALID, "%s: %s was set in line %u already", place,
                         key->name, seen[index]);
    }
    seen[index] = number;
    return set_value(loader, place, key, value);
}

static void close_file(FILE **file)
{
    if (*file != NULL) {
        (void)fclose(*file);
    }
}

static enum status load_file(struct loader *loader, const char *path)
{
    AUTO(close_file) FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set(loader->error, STATUS_NOT_FOUND, "%s: cannot be opened: %s", path,
                         strerror(errno));
    }
    AUTO(free_pointer) char *line = NULL;
    size_t capacity = 0;
    unsigned number = 0, seen[CONFIG_KEYS_MAX] = {0};
    for (ssize_t size; (size = getline(&line, &capacity, file)) >= 0;) {
        number++;
        if (strlen(line) != (size_t)size) {
            return error_set(loader->error, STATUS_INVALID, "%s:%u: has a zero byte", path, number);
        }
        enum status status = load_line(loader, path, number, line, seen);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (ferror(file)) {
        return error_set(loader->error, STATUS_IO, "%s: cannot be read: %s", path, strerror(errno));
    }
    return STATUS_OK;
}

static char env_char(char c)
{
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz-.";
    static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ__";
    const char *at = c == '\0' ? NULL : strchr(lower, c);
    return at == NULL ? c : upper[at - lower];
}

static void env_name(const struct config_spec *spec, const char *name, char out[ENV_NAME_BYTES])
{
    const char *prefix = spec->env_prefix == NULL ? env_prefix_default : spec->env_prefix;
    (void)snprintf(out, ENV_NAME_BYTES, "%s%s", prefix, name);
    for (char *at = out + strlen(prefix); *at != '\0'; at++) {
        *at = env_char(*at);
    }
}

static enum status load_environment(struct loader *loader)
{
    for (size_t i = 0; i < loader->spec->key_count; i++) {
        char name[ENV_NAME_BYTES], place[PLACE_BYTES];
        env_name(loader->spec, loader->spec->keys[i].name, name);
        const char *value = getenv(name);
        if (value != NULL) {
            (void)snprintf(place, sizeof(place), "environment variable %s", name);
            enum status status = set_value(loader, place, &loader->spec->keys[i], value);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* ---- the command line ---- */

/* An option at argv[*at]: its name without dashes, and its value, which may be the next word (then
 * *at moves on). `value` is NULL when there is none. */
struct option {
    const char *name;
    size_t name_size;
    const char *value;
};

static struct option option_split(const char *word)
{
    const char *name = word + 2;
    size_t size = strcspn(name, "=");
    return (struct option){
        .name = name,
        .name_size = size,
        .value = name[size] == '=' ? name + size + 1 : NULL,
    };
}

static bool option_is(const struct option *option, const char *name)
{
    return strlen(name) == option->name_size && memcmp(option->name, name, option->name_size) == 0;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] == '-' && word[2] != '\0';
}

/* Whether the option takes the next word as its value. */
static bool takes_word(const struct config_spec *spec, const struct option *option)
{
    if (option->value != NULL) {
        return false;
    }
    const struct config_key *key = key_find(spec, option->name, option->name_size);
    return option_is(option, "config") || (key != NULL && key->type != CONFIG_BOOL);
}

static enum status load_option(struct loader *loader, const struct option *option)
{
    if (option_is(option, "config")) {
        return STATUS_OK; /* read before */
    }
    const struct config_key *key = key_find(loader->spec, option->name, option->name_size);
    if (key == NULL) {
        return unknown_key(loader, "command line", option->name, option->name_size);
    }
    return set_value(loader, "command line", key, option->value == NULL ? "true" : option->value);
}

/* Sets the options' values and moves the operands to the front. */
static enum status load_command_line(struct loader *loader, int *argc, char **argv)
{
    int kept = 1;
    bool options_ended = false;
    for (int i = 1; i < *argc; i++) {
        if (!options_ended && strcmp(argv[i], "--") == 0) {
            options_ended = true;
            continue;
        }
        if (options_ended || !is_option(argv[i])) {
            if (loader->spec->operands == NULL) {
                return error_set(loader->error, STATUS_INVALID,
                                 "command line: \"%.60s\" is not an option; see --help", argv[i]);
            }
            argv[kept++] = argv[i];
            continue;
        }
        struct option option = option_split(argv[i]);
        if (takes_word(loader->spec, &option)) {
            option.value = argv[++i];
        }
        enum status status = load_option(loader, &option);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *argc = kept;
    argv[kept] = NULL;
    return STATUS_OK;
}

/* The first pass over the command line: what decides before any value is read. */
struct first_pass {
    bool help, version;
    const char *file;
};

static enum status look_ahead(const struct config_spec *spec, int argc, char **argv,
                              struct first_pass *out, struct error *error)
{
    char name[ENV_NAME_BYTES];
    env_name(spec, "config", name);
    const char *file = getenv(name);
    *out = (struct first_pass){.file = file != NULL && *file != '\0' ? file : NULL};
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!is_option(argv[i])) {
            out->help = out->help || strcmp(argv[i], "-h") == 0;
            continue;
        }
        struct option option = option_split(argv[i]);
        out->help = out->help || option_is(&option, "help");
        out->version = out->version || option_is(&option, "version");
        if (takes_word(spec, &option)) {
            if (i + 1 == argc) {
                return error_set(error, STATUS_INVALID, "command line: %s needs a value", argv[i]);
            }
            option.value = argv[++i];
        }
        if (option_is(&option, "config")) {
            out->file = option.value;
        }
    }
    return STATUS_OK;
}

static enum status check_required(struct loader *loader)
{
    for (size_t i = 0; i < loader->spec->key_count; i++) {
        if (!loader->set[i]) {
            char name[ENV_NAME_BYTES];
            const char *key = loader->spec->keys[i].name;
            env_name(loader->spec, key, name);
            return error_set(loader->error, STATUS_INVALID,
                             "%s is required: set it in the configuration file, as %s or with --%s",
                             key, name, key);
        }
    }
    return STATUS_OK;
}

static enum status load_sources(struct loader *loader, const char *file, int *argc, char **argv)
{
    enum status status = load_defaults(loader);
    if (status == STATUS_OK && file != NULL) {
        status = load_file(loader, file);
    }
    if (status == STATUS_OK) {
        status = load_environment(loader);
    }
    if (status == STATUS_OK) {
        status = load_command_line(loader, argc, argv);
    }
    return status == STATUS_OK ? check_required(loader) : status;
}

enum status config_load(const struct config_spec *spec, int *argc, char **argv, void *config,
                        enum config_action *out_action, struct error *error)
{
    CHECK(spec->key_count <= CONFIG_KEYS_MAX);
    config_zero(spec, config);
    struct first_pass first;
    enum status status = look_ahead(spec, *argc, argv, &first, error);
    if (first.help) {
        config_print_help(spec, stdout);
        *out_action = CONFIG_EXIT;
        return STATUS_OK;
    }
    if (first.version) {
        (void)printf("%s %s\n", spec->program, spec->version);
        *out_action = CONFIG_EXIT;
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct loader loader = {.spec = spec, .config = config, .error = error};
    status = load_sources(&loader, first.file, argc, argv);
    if (status != STATUS_OK) {
        config_release(spec, config);
        return status;
    }
    *out_action = CONFIG_RUN;
    return STATUS_OK;
}

void config_print_help(const struct config_spec *spec, FILE *to)
{
    char name[ENV_NAME_BYTES];
    env_name(spec, "key", name);
    (void)fprintf(to, "Usage: %s [--config FILE] [--KEY VALUE ...]%s%s\n\n%s\n\n", spec->program,
                  spec->operands == NULL ? "" : " ", spec->operands == NULL ? "" : spec->operands,
                  spec->summary);
    (void)fprintf(to,
                  "Every key may stand in the file (key = value), in the environment (%s)\n"
                  "and on the command line; the later of these wins.\n\n",
                  name);
    for (size_t i = 0; i < spec->key_count; i++) {
        const struct config_key *key = &spec->keys[i];
        (void)fprintf(to, "  --%-24s %s\n  %26s %s; ", key->name, key->help, "",
                      config_type_text(key->type));
        if (key->fallback == NULL) {
            (void)fprintf(to, "required\n");
        } else {
            (void)fprintf(to, "default: %s\n", *key->fallback == '\0' ? "none" : key->fallback);
        }
    }
    (void)fprintf(to, "  --%-24s %s\n  --%-24s %s\n  --%-24s %s\n", "config",
                  "a file of keys and values", "help", "this text", "version",
                  "the program's version");
}
