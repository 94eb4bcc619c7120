#include "client/cli/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEFAULT_TIMEOUT_MS = 30000 };

static int exit_code_of(enum weir_status status)
{
    switch ((unsigned)status) {
    case WEIR_OK:
        return EXIT_CODE_OK;
    case WEIR_INVALID:
    case WEIR_TOO_LARGE:
        return EXIT_CODE_USAGE;
    case WEIR_NOT_FOUND:
        return EXIT_CODE_NOT_FOUND;
    case WEIR_UNAVAILABLE:
    case WEIR_TIMEOUT:
    case WEIR_NO_QUORUM:
    case WEIR_UNCERTAIN:
        return EXIT_CODE_UNAVAILABLE;
    case WEIR_EXISTS:
        return EXIT_CODE_EXISTS;
    case WEIR_DENIED:
    case WEIR_WRONG_CLUSTER:
    case WEIR_WRONG_IDENTITY:
        return EXIT_CODE_DENIED;
    default:
        return EXIT_CODE_FAILED;
    }
}

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint32_t program_left_ms(const struct program *program)
{
    uint64_t now_ms = monotonic_ms();
    if (program->until_ms == 0) {
        return program->timeout_ms;
    }
    return program->until_ms > now_ms ? (uint32_t)(program->until_ms - now_ms) : 0;
}

int program_fail(const struct program *program, enum weir_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s: ", program->name);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    return exit_code_of(status);
}

int program_error(const struct program *program, const struct weir_error *error)
{
    const char *text = error->text[0] != '\0' ? error->text : weir_status_text(error->status);
    return program_fail(program, error->status, "%s", text);
}

static int check_output(const struct program *program)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        return program_fail(program, WEIR_IO, "standard output cannot be written");
    }
    return EXIT_CODE_OK;
}

int program_print_json(const struct program *program, struct json *json)
{
    json_line_end(json);
    bool failed = json->failed;
    if (!failed) {
        (void)fwrite(json->out.data, 1, json->out.size, stdout);
    }
    json_release(json);
    return failed ? program_fail(program, WEIR_NO_MEMORY, "out of memory") : check_output(program);
}

int program_print_table(const struct program *program, struct table *table)
{
    bool failed = table->failed;
    if (!failed) {
        table_print(table, stdout);
    }
    table_release(table);
    return failed ? program_fail(program, WEIR_NO_MEMORY, "out of memory") : check_output(program);
}

static bool wants_word(const char *from)
{
    return strcmp(from, "at-timestamp") == 0 || strcmp(from, "at-sequence") == 0 ||
           strcmp(from, "after-sequence") == 0;
}

NODISCARD static enum status parse(struct program *p, int argc, char **argv, struct error *error)
{
    struct arg_option from = args_value("--from", &p->from);
    from.wants_more = wants_word;
    from.more = &p->from_what;
    const struct arg_option options[] = {
        from,
        args_flag("--help", &p->want_help),
        args_flag("-h", &p->want_help),
        args_flag("--version", &p->want_version),
        args_flag("--json", &p->json),
        args_flag("--follow", &p->follow),
        args_flag("--quiet", &p->quiet),
        args_flag("--no-wait", &p->no_wait),
        args_flag("--aggregate", &p->aggregate),
        args_flag("--deaggregate", &p->deaggregate),
        args_value("--compression", &p->compression),
        args_value("--aggregate-bytes", &p->aggregate_bytes),
        args_value("--gather", &p->gather),
        args_value("--producers", &p->producers),
        args_value("--consumers", &p->consumers),
        args_value("--record-bytes", &p->record_bytes),
        args_value("--rate", &p->rate),
        args_value("--duration", &p->duration),
        args_value("--keys", &p->keys),
        args_flag("--allow-fewer-zones", &p->allow_fewer_zones),
        args_flag("--key-random", &p->key_random),
        args_value("--key-field", &p->key_field),
        args_value("--key-file", &p->connection.key_file),
        args_value("--key", &p->key),
        args_value("--cert", &p->connection.cert_file),
        args_value("--ca", &p->connection.ca_file),
        args_value("--bootstrap", &p->connection.bootstrap),
        args_value("--timeout", &p->timeout),
        args_value("--give-up", &p->give_up),
        args_value("--shards", &p->shards),
        args_value("--shard", &p->shard),
        args_value("--retention", &p->retention),
        args_value("--delimiter", &p->delimiter),
        args_value("--ack-log", &p->ack_log),
        args_value("--count", &p->count),
        args_value("--at", &p->at),
        args_value("--name", &p->key_name),
        args_value("--worker", &p->worker),
        args_value("--records-max", &p->records_max),
        args_value("--answer-within", &p->answer_within),
        args_flag("--push", &p->push),
        args_flag("--force", &p->force),
        args_flag("--accept-loss", &p->accept_loss),
        args_flag("--insist", &p->insist),
        args_value("--survivor", &p->survivor),
        args_value("--stream", &p->stream),
        args_flag("--once", &p->once),
        args_value("--interval", &p->interval),
        args_value("--out", &p->out),
        args_value("--write-bytes", &p->limits.write_bytes),
        args_value("--write-records", &p->limits.write_records),
        args_value("--read-bytes", &p->limits.read_bytes),
        args_value("--read-calls", &p->limits.read_calls),
        args_value("--iterator-calls", &p->limits.iterator_calls),
        args_value("--subscription-bytes", &p->limits.subscription_bytes),
        args_value("--alias", &p->alias),
        args_value("--description", &p->description),
        args_value("--days", &p->days),
    };
    return args_parse(argc, (const char *const *)argv, options,
                      sizeof(options) / sizeof(options[0]), &p->args, error);
}

static const struct command *find_command(const struct program *program,
                                          const struct command *commands, size_t count)
{
    const struct args *args = &program->args;
    for (size_t i = 0; i < count; i++) {
        const struct command *command = &commands[i];
        size_t own = command->second != NULL ? 2 : 1;
        if (args->word_count >= own && strcmp(args->words[0], command->first) == 0 &&
            (own == 1 || strcmp(args->words[1], command->second) == 0)) {
            return command;
        }
    }
    return NULL;
}

static int usage(const struct program *program, const char *what)
{
    (void)fprintf(stderr, "%s: %s\n%s --help tells more.\n", program->name, what, program->name);
    return EXIT_CODE_USAGE;
}

static const char *or_environment(const char *given, const char *variable)
{
    return given != NULL ? given : getenv(variable);
}

enum weir_status program_connect(const struct program *program, struct weir_client **out,
                                 struct weir_error *error)
{
    const struct weir_options *given = &program->connection;
    struct weir_options options = {
        .bootstrap = or_environment(given->bootstrap, "WEIR_BOOTSTRAP"),
        .ca_file = or_environment(given->ca_file, "WEIR_CA"),
        .cert_file = or_environment(given->cert_file, "WEIR_CERT"),
        .key_file = or_environment(given->key_file, "WEIR_KEY"),
    };
    if (options.bootstrap == NULL || options.ca_file == NULL || options.cert_file == NULL ||
        options.key_file == NULL) {
        enum weir_status status =
            weir_options_from_env(&options, error); /* says which is missing */
        if (status != WEIR_OK) {
            return status;
        }
    }
    return weir_client_open(&options, out, error);
}

static int run(struct program *program, const struct command *command)
{
    size_t own = command->second != NULL ? 2 : 1;
    if (program->args.word_count != own + command->words) {
        (void)fprintf(stderr, "usage: %s %s\n%s --help tells more.\n", program->name,
                      command->usage, program->name);
        return EXIT_CODE_USAGE;
    }
    struct weir_error error = {0};
    if (program_connect(program, &program->client, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = command->run(program, program->args.words + own);
    weir_client_close(program->client);
    return code;
}

/* The command that consume-exec is to run, from "--" on, is not ours to read. */
static int take_rest(struct program *program, int argc, char **argv)
{
    bool is_exec = false;
    for (int i = 1; i < argc; i++) {
        if (is_exec && strcmp(argv[i], "--") == 0) {
            program->rest = argv + i + 1;
            return i;
        }
        is_exec |= strcmp(argv[i], "consume-exec") == 0;
    }
    return argc;
}

int program_main(const char *name, const char *const *help, const struct command *commands,
                 size_t count, int argc, char **argv)
{
    struct program program = {.name = name, .timeout_ms = DEFAULT_TIMEOUT_MS};
    struct error error;
    argc = take_rest(&program, argc, argv);
    enum status status = parse(&program, argc, argv, &error);
    if (status == STATUS_OK && program.timeout != NULL) {
        status = args_duration(program.timeout, "--timeout", &program.timeout_ms, &error);
        program.until_ms = monotonic_ms() + program.timeout_ms;
    }
    if (status != STATUS_OK) {
        return usage(&program, error.text);
    }
    if (program.want_version) {
        (void)printf("%s %s\n", name, WEIR_VERSION);
        return EXIT_CODE_OK;
    }
    if (program.want_help) {
        for (; *help != NULL; help++) {
            (void)fputs(*help, stdout);
        }
        return EXIT_CODE_OK;
    }
    const struct command *command = find_command(&program, commands, count);
    if (command == NULL) {
        return usage(&program,
                     program.args.word_count == 0 ? "what to do?" : "there is no such command");
    }
    return run(&program, command);
}
