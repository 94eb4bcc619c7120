#include "client/cli/prom.h"

#include <stdlib.h>
#include <string.h>

/* Behind the name of a line that is a sample of it; NULL: it is another line. */
static const char *behind_name(const char *line, const char *name)
{
    size_t size = strlen(name);
    bool same = strncmp(line, name, size) == 0 && (line[size] == ' ' || line[size] == '{');
    return same ? line + size : NULL;
}

/* Behind the label's closing quote; `at` is behind the opening one. */
static const char *take_value(const char *at, char *out, size_t capacity)
{
    size_t size = 0;
    while (*at != '\0' && *at != '\n' && *at != '"') {
        if (*at == '\\' && at[1] != '\0' && at[1] != '\n') {
            at++;
        }
        if (size + 1 < capacity) {
            out[size++] = *at;
        }
        at++;
    }
    out[size] = '\0';
    return *at == '"' ? at + 1 : at;
}

/* Behind the closing brace. */
static const char *take_labels(const char *at, const char *label, char out[PROM_LABEL_BYTES])
{
    char ignored[PROM_LABEL_BYTES];
    size_t size = strlen(label);
    at++;
    while (*at != '\0' && *at != '\n' && *at != '}') {
        const char *equals = at + strcspn(at, "=\n}");
        if (equals[0] != '=' || equals[1] != '"') {
            return at + strcspn(at, "\n");
        }
        bool wanted = (size_t)(equals - at) == size && memcmp(at, label, size) == 0;
        at = take_value(equals + 2, wanted ? out : ignored, PROM_LABEL_BYTES);
        at += *at == ',' ? 1 : 0;
    }
    return *at == '}' ? at + 1 : at;
}

bool prom_next(const char **at, const char *name, const char *label,
               char out_label[PROM_LABEL_BYTES], double *out_value)
{
    for (const char *line = *at; *line != '\0';) {
        const char *end = line + strcspn(line, "\n");
        const char *next = *end == '\n' ? end + 1 : end;
        const char *rest = behind_name(line, name);
        if (rest != NULL) {
            out_label[0] = '\0';
            if (*rest == '{') {
                rest = take_labels(rest, label, out_label);
            }
            *out_value = strtod(rest, NULL);
            *at = next;
            return true;
        }
        line = next;
    }
    return false;
}

double prom_sum(const char *text, const char *name)
{
    char label[PROM_LABEL_BYTES];
    double sum = 0, value = 0;
    while (prom_next(&text, name, "", label, &value)) {
        sum += value;
    }
    return sum;
}

double prom_max(const char *text, const char *name)
{
    char label[PROM_LABEL_BYTES];
    double most = 0, value = 0;
    while (prom_next(&text, name, "", label, &value)) {
        most = value > most ? value : most;
    }
    return most;
}
