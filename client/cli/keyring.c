/* The commands about the key ring. */
#include <stdio.h>
#include <string.h>

#include "client/cli/program.h"
#include "client/cli/text.h"

static const char *state_name(enum weir_ring_state state)
{
    return state == WEIR_RING_ENABLED    ? "enabled"
           : state == WEIR_RING_DISABLED ? "disabled"
                                         : "pending deletion";
}

static void time_field(struct json *json, const char *name, uint64_t time_ms)
{
    char text[TEXT_TIME_BYTES];
    text_time(time_ms, text);
    json_string(json, name, text);
}

static void key_fields(struct json *json, const struct weir_ring_key *key)
{
    json_string(json, "id", key->id);
    json_string(json, "arn", key->arn);
    json_string(json, "description", key->description);
    json_string(json, "state", state_name(key->state));
    json_number(json, "version", key->version);
    json_number(json, "created_ms", key->created_ms);
    time_field(json, "created", key->created_ms);
    json_number(json, "rotated_ms", key->rotated_ms);
    time_field(json, "rotated", key->rotated_ms);
    if (key->deletion_ms != 0) {
        json_number(json, "deletion_ms", key->deletion_ms);
        time_field(json, "deletion", key->deletion_ms);
    }
    json_array_begin(json, "aliases");
    for (size_t i = 0; i < key->alias_count; i++) {
        json_string(json, NULL, key->aliases[i]);
    }
    json_array_end(json);
}

static int print_list(const struct program *program, const struct weir_ring_key_list *list)
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
    static const char *const headings[] = {"KEY", "ALIAS", "STATE", ">VERSION", "ROTATED"};
    struct table table;
    table_init(&table, headings, 5);
    for (size_t i = 0; i < list->count; i++) {
        const struct weir_ring_key *key = &list->keys[i];
        char rotated[TEXT_TIME_BYTES];
        text_time(key->rotated_ms, rotated);
        table_add(&table, TABLE_PLAIN, "%s", key->id);
        if (key->alias_count > 1) {
            table_add(&table, TABLE_PLAIN, "%s and %zu more", key->aliases[0],
                      key->alias_count - 1);
        } else {
            table_add(&table, TABLE_PLAIN, "%s", key->alias_count == 1 ? key->aliases[0] : "-");
        }
        table_add(&table, key->state == WEIR_RING_ENABLED ? TABLE_GOOD : TABLE_BAD, "%s",
                  state_name(key->state));
        table_add(&table, TABLE_PLAIN, "%u", key->version);
        table_add(&table, TABLE_FAINT, "%s", rotated);
    }
    return program_print_table(program, &table);
}

static int print_key(const struct program *program, const struct weir_ring_key *key)
{
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        key_fields(&json, key);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    char created[TEXT_TIME_BYTES], rotated[TEXT_TIME_BYTES], deletion[TEXT_TIME_BYTES];
    text_time(key->created_ms, created);
    text_time(key->rotated_ms, rotated);
    text_time(key->deletion_ms, deletion);
    (void)printf("id           %s\narn          %s\nstate        %s\nversion      %u\n"
                 "created      %s\nrotated      %s\n",
                 key->id, key->arn, state_name(key->state), key->version, created, rotated);
    if (key->deletion_ms != 0) {
        (void)printf("destroyed    %s\n", deletion);
    }
    for (size_t i = 0; i < key->alias_count; i++) {
        (void)printf("%s%s\n", i == 0 ? "aliases      " : "             ", key->aliases[i]);
    }
    if (key->description[0] != '\0') {
        (void)printf("description  %s\n", key->description);
    }
    return EXIT_CODE_OK;
}

static int ask(struct program *program, const struct weir_ring_request *request)
{
    struct weir_error error;
    struct weir_ring_key_list *list = NULL;
    if (weir_ring(program->client, request, program->timeout_ms, &list, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    bool all = request->action == WEIR_RING_LIST;
    int code =
        all || list->count != 1 ? print_list(program, list) : print_key(program, &list->keys[0]);
    weir_ring_key_list_free(list);
    return code;
}

/* "NAME" means alias/NAME where only an alias can be meant. */
static const char *full_alias(const char *name, char out[WEIR_RING_ALIAS_BYTES])
{
    if (strncmp(name, "alias/", 6) == 0) {
        return name;
    }
    (void)snprintf(out, WEIR_RING_ALIAS_BYTES, "alias/%s", name);
    return out;
}

int run_keyring_create(struct program *program, const char *const *words)
{
    (void)words;
    char text[WEIR_RING_ALIAS_BYTES];
    const char *alias = program->alias == NULL ? NULL : full_alias(program->alias, text);
    return ask(program, &(struct weir_ring_request){.action = WEIR_RING_CREATE,
                                                    .alias = alias,
                                                    .description = program->description});
}

int run_keyring_list(struct program *program, const char *const *words)
{
    (void)words;
    return ask(program, &(struct weir_ring_request){.action = WEIR_RING_LIST});
}

static int ask_for_key(struct program *program, enum weir_ring_action action, const char *key)
{
    return ask(program, &(struct weir_ring_request){.action = action, .key = key});
}

int run_keyring_describe(struct program *program, const char *const *words)
{
    return ask_for_key(program, WEIR_RING_DESCRIBE, words[0]);
}

int run_keyring_enable(struct program *program, const char *const *words)
{
    return ask_for_key(program, WEIR_RING_ENABLE, words[0]);
}

int run_keyring_disable(struct program *program, const char *const *words)
{
    return ask_for_key(program, WEIR_RING_DISABLE, words[0]);
}

int run_keyring_rotate(struct program *program, const char *const *words)
{
    return ask_for_key(program, WEIR_RING_ROTATE, words[0]);
}

int run_keyring_delete(struct program *program, const char *const *words)
{
    struct error bad;
    uint64_t days = 0;
    if (program->days != NULL &&
        args_number(program->days, "--days", 7, 30, &days, &bad) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    return ask(program, &(struct weir_ring_request){
                            .action = WEIR_RING_DELETE, .key = words[0], .days = (uint32_t)days});
}

int run_keyring_cancel_deletion(struct program *program, const char *const *words)
{
    return ask_for_key(program, WEIR_RING_CANCEL_DELETION, words[0]);
}

int run_keyring_alias(struct program *program, const char *const *words)
{
    char text[WEIR_RING_ALIAS_BYTES];
    return ask(program, &(struct weir_ring_request){.action = WEIR_RING_ALIAS,
                                                    .key = words[0],
                                                    .alias = full_alias(words[1], text)});
}

int run_keyring_unalias(struct program *program, const char *const *words)
{
    char text[WEIR_RING_ALIAS_BYTES];
    return ask(program, &(struct weir_ring_request){.action = WEIR_RING_UNALIAS,
                                                    .alias = full_alias(words[0], text)});
}
