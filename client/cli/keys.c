/* The commands about access keys. */
#include <string.h>

#include "client/cli/program.h"
#include "client/cli/text.h"

static void key_fields(struct json *json, const struct weir_key *key)
{
    char created[TEXT_TIME_BYTES];
    text_time(key->created_ms, created);
    json_string(json, "access_key_id", key->id);
    if (key->secret[0] != '\0') {
        json_string(json, "secret_access_key", key->secret);
    }
    json_string(json, "name", key->name);
    json_bool(json, "enabled", key->enabled);
    json_number(json, "created_ms", key->created_ms);
    json_string(json, "created", created);
}

int run_key_create(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_error error;
    struct weir_key key;
    if (program->key_name == NULL) {
        return program_fail(program, WEIR_INVALID, "key create needs --name NAME: whose key it is");
    }
    if (weir_key_create(program->client, program->key_name, program->timeout_ms, &key, &error) !=
        WEIR_OK) {
        return program_error(program, &error);
    }
    int code = EXIT_CODE_OK;
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        key_fields(&json, &key);
        json_object_end(&json);
        code = program_print_json(program, &json);
    } else {
        (void)printf("access key id      %s\nsecret access key  %s\n", key.id, key.secret);
        (void)fprintf(stderr, "Keep the secret: nobody can tell it again.\n");
    }
    explicit_bzero(&key, sizeof(key));
    return code;
}

static int print_keys(const struct program *program, const struct weir_key_list *list)
{
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_array_begin(&json, "keys");
        for (size_t i = 0; i < list->count; i++) {
            json_object_begin(&json, NULL);
            key_fields(&json, &list->keys[i]);
            json_object_end(&json);
        }
        json_array_end(&json);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    static const char *const headings[] = {"ACCESS KEY ID", "NAME", "STATE", "CREATED"};
    struct table table;
    table_init(&table, headings, 4);
    for (size_t i = 0; i < list->count; i++) {
        const struct weir_key *key = &list->keys[i];
        char created[TEXT_TIME_BYTES];
        text_time(key->created_ms, created);
        table_add(&table, TABLE_PLAIN, "%s", key->id);
        table_add(&table, TABLE_PLAIN, "%s", key->name);
        table_add(&table, key->enabled ? TABLE_GOOD : TABLE_BAD, "%s",
                  key->enabled ? "enabled" : "disabled");
        table_add(&table, TABLE_FAINT, "%s", created);
    }
    return program_print_table(program, &table);
}

int run_key_list(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_error error;
    struct weir_key_list *list;
    if (weir_key_list(program->client, program->timeout_ms, &list, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = print_keys(program, list);
    weir_key_list_free(list);
    return code;
}

static int switch_key(struct program *program, const char *id, bool enabled)
{
    struct weir_error error;
    return weir_key_enable(program->client, id, enabled, program->timeout_ms, &error) == WEIR_OK
               ? EXIT_CODE_OK
               : program_error(program, &error);
}

int run_key_enable(struct program *program, const char *const *words)
{
    return switch_key(program, words[0], true);
}

int run_key_disable(struct program *program, const char *const *words)
{
    return switch_key(program, words[0], false);
}

int run_key_delete(struct program *program, const char *const *words)
{
    struct weir_error error;
    return weir_key_delete(program->client, words[0], program->timeout_ms, &error) == WEIR_OK
               ? EXIT_CODE_OK
               : program_error(program, &error);
}
