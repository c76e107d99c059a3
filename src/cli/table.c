/* cli/table.c - two passes over the cells: how wide, then out. */
#include "cli/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/require.h"
#include "cli/answer.h"

#define GAP 2

void table_init(struct table *table, const struct table_column *columns,
                size_t column_count)
{
    REQUIRE(column_count <= TABLE_COLUMNS_MAX);
    *table = (struct table){.columns = columns, .column_count = column_count};
}

void table_fini(struct table *table)
{
    buf_fini(&table->cells);
}

void table_add(struct table *table, const char *bytes, size_t len)
{
    if (buf_append(&table->cells, &len, sizeof len) < 0 ||
        buf_append(&table->cells, bytes, len) < 0)
        table->is_broken = true;
    table->cell_count++;
}

void table_printf(struct table *table, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    int len = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (len < 0) {
        table->is_broken = true;
        return;
    }
    table_add(table, text, (size_t)len);
    free(text);
}

/* Shows the cell at `at`; returns where the next one is. */
static const char *next_cell(const char *at, const char **bytes, size_t *len)
{
    memcpy(len, at, sizeof *len);
    *bytes = at + sizeof *len;
    return *bytes + *len;
}

static void measure(const struct table *table, size_t widths[TABLE_COLUMNS_MAX])
{
    for (size_t i = 0; i < table->column_count; i++)
        widths[i] = strlen(table->columns[i].title);
    const char *at = buf_bytes(&table->cells);
    for (size_t i = 0, column = 0; i < table->cell_count; i++) {
        const char *bytes;
        size_t len;
        at = next_cell(at, &bytes, &len);
        size_t width = answer_width(bytes, len);
        widths[column] = width > widths[column] ? width : widths[column];
        column = column + 1 < table->column_count ? column + 1 : 0;
    }
}

/* Nothing follows the last column: a line ends with its text. */
static void print_cell(const struct table *table, FILE *out, size_t column, size_t width,
                       const char *bytes, size_t len)
{
    bool is_last = column + 1 == table->column_count;
    bool is_number = table->columns[column].is_number;
    int fill = (int)(width - answer_width(bytes, len));
    if (is_number)
        fprintf(out, "%*s", fill, "");
    answer_put(out, bytes, len);
    if (is_last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", (is_number ? 0 : fill) + GAP, "");
}

int table_print(const struct table *table, FILE *out)
{
    if (table->is_broken)
        return -ENOMEM;
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    measure(table, widths);
    for (size_t i = 0; i < table->column_count; i++) {
        const char *title = table->columns[i].title;
        print_cell(table, out, i, widths[i], title, strlen(title));
    }
    const char *at = buf_bytes(&table->cells);
    for (size_t i = 0, column = 0; i < table->cell_count; i++) {
        const char *bytes;
        size_t len;
        at = next_cell(at, &bytes, &len);
        print_cell(table, out, column, widths[column], bytes, len);
        column = column + 1 < table->column_count ? column + 1 : 0;
    }
    return 0;
}
