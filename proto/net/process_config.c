#include "proto/net/process_config.h"

#include <stdlib.h>

#include "proto/net/log_sink.h"

enum { CERTIFICATE_CHECK_MIN_MS = 100 };

enum status process_config_load(struct process_config *program, int argc, char **argv, void *config,
                                bool *out_exit, struct error *error)
{
    if (program->argv == NULL) {
        program->argc = argc;
        program->argv = config_copy_words(argc, argv);
    }
    enum config_action action;
    enum status status = config_load(program->spec, &argc, argv, config, &action, error);
    if (status != STATUS_OK) {
        return status;
    }
    *out_exit = action == CONFIG_EXIT;
    if (!*out_exit) {
        status = program->check(config, error);
    }
    if (status != STATUS_OK) {
        config_release(program->spec, config);
    }
    return status;
}

enum status process_config_again(struct process_config *program, void *scratch, struct error *error)
{
    bool exits = false;
    char **words = program->argv == NULL ? NULL : config_copy_words(program->argc, program->argv);
    if (words == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = process_config_load(program, program->argc, words, scratch, &exits, error);
    if (status == STATUS_OK) {
        config_release(program->spec, scratch);
    }
    free(words);
    return status;
}

enum status process_config_check(uint64_t certificate_check_ms, const char *log_level,
                                 const char *log_format, struct error *error)
{
    enum log_format format;
    if (certificate_check_ms != 0 &&
        (certificate_check_ms < CERTIFICATE_CHECK_MIN_MS || certificate_check_ms > UINT32_MAX)) {
        return error_set(error, STATUS_INVALID, "certificate-check: must be 100ms or more");
    }
    if (log_format_parse(log_format, &format) != STATUS_OK) {
        return error_set(error, STATUS_INVALID, "log-format: '%s' is not text or json", log_format);
    }
    if (log_level_set(log_level) != STATUS_OK) {
        return error_set(error, STATUS_INVALID,
                         "log-level: '%s' is not error, warning, info or debug", log_level);
    }
    log_sink_install(format);
    return STATUS_OK;
}
