/* weir-broker: reads its configuration, serves, ends. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/trace.h"
#include "broker/server/server.h"

static void print_event(enum trace_level level, const char *part, const char *text)
{
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    char at[32];
    (void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &utc);
    (void)fprintf(stderr, "%s.%03ldZ %-7s %s: %s\n", at, now.tv_nsec / 1000000,
                  trace_level_name(level), part, text);
}

static int fail(const struct error *error)
{
    (void)fprintf(stderr, "weir-broker: %s\n", error->text);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct server_config config = {0};
    struct error error = {0};
    bool exit_now = false;
    if (server_config_load(argc, argv, &config, &exit_now, &error) != STATUS_OK) {
        return fail(&error);
    }
    if (exit_now) {
        return EXIT_SUCCESS;
    }
    trace_set_sink(print_event);
    struct server *server = NULL;
    enum status status = server_open(&config, &server, &error);
    if (status == STATUS_OK) {
        status = server_run(server, &error);
        server_close(server);
    }
    server_config_release(&config);
    return status == STATUS_OK ? EXIT_SUCCESS : fail(&error);
}
