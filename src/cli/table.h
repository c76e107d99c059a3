/* cli/table.h - rows and columns, aligned.
 *
 * What:   cells are added from left to right, row by row; columns are as wide as what is in
 *         them. What is not printable ASCII comes out escaped: the bytes may be a peer's.
 * Owns:   its cells. Borrows: the columns.
 * Life:   table_init() .. table_fini().
 * Errors: a cell for which there is no memory is known at the end, by table_print(). */
#ifndef NEAP_CLI_TABLE_H
#define NEAP_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"

#define TABLE_COLUMNS_MAX 12

struct table_column {
    const char *title;
    bool is_number; /* aligned at the right */
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    struct buf cells; /* of each: its length, a size_t, and its bytes */
    size_t cell_count;
    bool is_broken; /* no memory */
};

void table_init(struct table *table, const struct table_column *columns,
                size_t column_count);
void table_fini(struct table *table);

/* Adds the next cell, a copy of `len` bytes. */
void table_add(struct table *table, const char *bytes, size_t len);

/* Adds the next cell, formatted. */
void table_printf(struct table *table, const char *format, ...) PRINTF_LIKE(2, 3);

/* Writes the titles and all rows. 0, or -ENOMEM (nothing was written). */
MUST_CHECK int table_print(const struct table *table, FILE *out);

#endif
