#include "client/cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

void table_init(struct table *table, const char *const *headings, size_t columns)
{
    CHECK(columns <= TABLE_COLUMNS_MAX);
    *table = (struct table){.headings = headings, .columns = columns};
}

void table_add(struct table *table, enum table_colour colour, const char *format, ...)
{
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
        struct table_cell *cells = realloc(table->cells, capacity * sizeof(*cells));
        if (cells == NULL) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    struct table_cell *cell = &table->cells[table->count++];
    cell->colour = colour;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(cell->text, sizeof(cell->text), format, arguments);
    va_end(arguments);
}

/* Columns on the screen: UTF-8 continuation bytes take none. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static void print_cell(FILE *file, const char *text, size_t width, bool right, const char *colour,
                       bool last)
{
    int pad = (int)(width - width_of(text));
    const char *plain = colour[0] != '\0' ? "\033[0m" : "";
    if (right) {
        (void)fprintf(file, "%*s%s%s%s", pad, "", colour, text, plain);
    } else {
        (void)fprintf(file, "%s%s%s%*s", colour, text, plain, last ? 0 : pad, "");
    }
    (void)fputs(last ? "\n" : "  ", file);
}

void table_print(const struct table *table, FILE *file)
{
    static const char *const colours[] = {"", "\033[32m", "\033[31m", "\033[2m"};
    bool coloured = isatty(fileno(file)) != 0 && getenv("NO_COLOR") == NULL;
    size_t width[TABLE_COLUMNS_MAX] = {0};
    CHECK(table->columns > 0);
    bool right[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->columns; i++) {
        right[i] = table->headings[i][0] == '>';
        width[i] = width_of(table->headings[i] + right[i]);
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t cell = width_of(table->cells[i].text);
        size_t column = i % table->columns;
        width[column] = cell > width[column] ? cell : width[column];
    }
    for (size_t i = 0; i < table->columns; i++) {
        print_cell(file, table->headings[i] + right[i], width[i], right[i],
                   coloured ? "\033[1m" : "", i + 1 == table->columns);
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        print_cell(file, table->cells[i].text, width[column], right[column],
                   coloured ? colours[table->cells[i].colour] : "", column + 1 == table->columns);
    }
}

void table_release(struct table *table)
{
    free(table->cells);
    table->cells = NULL;
}
