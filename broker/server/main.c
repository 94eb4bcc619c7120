/* weir-broker: reads its configuration, serves, ends. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/server/server.h"

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
    struct server *server = NULL;
    enum status status = server_open(&config, &server, &error);
    if (status == STATUS_OK) {
        status = server_run(server, &error);
        server_close(server);
    }
    server_config_release(&config);
    return status == STATUS_OK ? EXIT_SUCCESS : fail(&error);
}
