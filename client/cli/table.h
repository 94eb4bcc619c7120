/* Tables for people: columns aligned, a heading, colours where they help. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/bytes.h"

enum { TABLE_COLUMNS_MAX = 12, TABLE_CELL_BYTES = 72 };

enum table_colour { TABLE_PLAIN, TABLE_GOOD, TABLE_BAD, TABLE_FAINT };

struct table_cell {
    char text[TABLE_CELL_BYTES];
    enum table_colour colour;
};

struct table {
    const char *const *headings; /* borrowed; one that begins with '>' aligns to the right */
    size_t columns;
    struct table_cell *cells; /* row by row */
    size_t count, capacity;
    bool failed; /* out of memory: rows are missing */
};

void table_init(struct table *table, const char *const *headings, size_t columns);

/* The next cell, printf-like; rows fill from left to right. Too long a text is cut. */
void table_add(struct table *table, enum table_colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Colours only when `file` is a terminal and NO_COLOR is not set. */
void table_print(const struct table *table, FILE *file);
void table_release(struct table *table);
