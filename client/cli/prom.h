/* Reads what a process says of itself in Prometheus's text format: only as much as our own programs
 * write. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { PROM_LABEL_BYTES = 160 };

/* The sum of all samples of that name, whatever their labels; 0 when there are none. */
double prom_sum(const char *text, const char *name);
/* The greatest of them. */
double prom_max(const char *text, const char *name);

/* The next sample of that name from *at on, which moves behind it; *out_label has the value of the
 * label `label`, cut and with its escapes, "" when it has none. False: there is none. */
bool prom_next(const char **at, const char *name, const char *label,
               char out_label[PROM_LABEL_BYTES], double *out_value);
