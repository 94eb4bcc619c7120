/* Runs a target over files and folders of files, and over each of them cut short and with each byte
 * changed: what can be done without libFuzzer. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

enum { SEED_BYTES_MAX = 64 * 1024, CHANGES_MAX = 512 };

static unsigned runs;

/* An exact copy, so that a read behind the end is seen. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void run_around(uint8_t *data, size_t size)
{
    size_t step = size / CHANGES_MAX + 1;
    run(data, size);
    for (size_t at = 0; at < size; at += step) {
        uint8_t kept = data[at];
        run(data, at);
        data[at] = (uint8_t)(kept ^ (1U << at % 8));
        run(data, size);
        data[at] = 0xff;
        run(data, size);
        data[at] = kept;
    }
}

static bool run_path(const char *path)
{
    static uint8_t data[SEED_BYTES_MAX];
    struct stat facts;
    if (stat(path, &facts) != 0) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        return false;
    }
    if (S_ISDIR(facts.st_mode)) {
        struct dirent **names = NULL;
        int count = scandir(path, &names, NULL, alphasort);
        bool good = count > 2;
        for (int i = 0; i < count; i++) {
            char below[4096];
            (void)snprintf(below, sizeof(below), "%s/%s", path, names[i]->d_name);
            good = (names[i]->d_name[0] == '.' || run_path(below)) && good;
            free(names[i]);
        }
        free(names);
        return good;
    }
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        (void)fprintf(stderr, "%s: cannot be opened\n", path);
        return false;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    run_around(data, size);
    return true;
}

int main(int argc, char **argv)
{
    bool good = argc > 1;
    for (int i = 1; i < argc; i++) {
        good = run_path(argv[i]) && good;
    }
    (void)printf("%u inputs\n", runs);
    return good ? 0 : 1;
}
