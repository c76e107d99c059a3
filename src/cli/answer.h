/* cli/answer.h - what a server answered, as text for people and for programs.
 *
 * What:    members of an answer by their names, in units that people read. An answer may lack
 *          any member, or have it of another type: that comes out as "-" or 0.
 *          Text may hold bytes of peers. What goes to people comes out as printable ASCII,
 *          everything else as \n, \t, \r or \xNN.
 * Borrows: the answer and the stream.
 * Errors:  those of the stream, which report_close finds. */
#ifndef NEAP_CLI_ANSWER_H
#define NEAP_CLI_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct table;

/* Writes `len` bytes of anything on one line. */
void answer_put(FILE *out, const char *bytes, size_t len);

/* How many columns answer_put would fill. */
size_t answer_width(const char *bytes, size_t len);

/* Writes a string, number or truth value on one line. */
void answer_put_value(FILE *out, const json_t *value);

/* 0 when it is no number. */
int64_t answer_number(const json_t *answer, const char *key);

/* "1 timer", "2 timers". */
void answer_put_count(FILE *out, int64_t count, const char *noun);

/* "3 m 12 s". */
void answer_put_age(FILE *out, const json_t *seconds);

/* Each adds one cell to a table: the member as it is, as 1.2 MiB, as 3 m 12 s, as the first
 * digits of a hash. */
void answer_cell(struct table *table, const json_t *answer, const char *key);
void answer_cell_size(struct table *table, const json_t *answer, const char *key);
void answer_cell_age(struct table *table, const json_t *answer, const char *key);
void answer_cell_hash(struct table *table, const json_t *answer, const char *key);

#define ANSWER_HASH_DIGITS 12

/* Writes the whole answer as one line of JSON, in ASCII. */
void answer_put_json(FILE *out, const json_t *answer);

/* Writes the text of an error to standard error, with its lines. */
void answer_put_error(const json_t *answer);

/* The exit status that an answer asks for: 0 when it is ok. */
int answer_status(const json_t *answer);

/* Writes which version is tried out, on whom, and how it does. */
void answer_put_canary(FILE *out, const json_t *canary);

/* What changed: of reload, rollback and promote. */
int answer_put_change(FILE *out, const json_t *answer);

/* What Lua printed and returned: of eval. On anything but a terminal the bytes are as they
 * are. */
int answer_put_results(FILE *out, const json_t *answer);

#endif
