/* weir-broker: reads its configuration, serves, ends. */
#include <stdio.h>
#include <stdlib.h>

#if defined(__GLIBC__)
#    include <malloc.h>
#endif

#include "broker/server/server.h"

/* Requests, batches and frames of a megabyte come and go all the time: glibc would give their
 * memory back to the system at once, which fills every page of it with zeros again. */
static void keep_memory(void)
{
#if defined(__GLIBC__)
    enum { MAPPED_FROM = 16 * 1024 * 1024, KEPT_FREE = 64 * 1024 * 1024 };
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_FREE);
#endif
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
    keep_memory();
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
