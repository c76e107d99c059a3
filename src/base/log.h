/* base/log.h - structured log records, formatted by the caller, written by one thread.
 *
 *     worker ─ log_write ─┐
 *     worker ─ log_write ─┼─> front buffer (bounded) ──swap──> log thread ─ write(2)
 *     main   ─ log_write ─┘    full: drop and count
 *
 * What:   a record is a level, a message and fields; one record is one line in text, logfmt
 *         or JSON. Whatever bytes a field holds, the line has only 0x20..0x7e (JSON: valid
 *         UTF-8 without control characters).
 * Thread: log_write from any; it never waits for the descriptor. log_open, log_close and
 *         log_leave: main.
 * Life:   log_open() .. log_close(), which writes out what is queued (for at most a second
 *         when the reader does not read) and joins the thread.
 * Errors: records that find the buffer full are counted, and the next line that gets through
 *         is preceded by one that says how many were lost. */
#ifndef NEAP_BASE_LOG_H
#define NEAP_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_COUNT };
enum log_format { LOG_TEXT, LOG_LOGFMT, LOG_JSON, LOG_FORMAT_COUNT };

extern const char
    *const log_level_names[LOG_LEVEL_COUNT]; /* "debug" "info" "warn" "error" */
extern const char *const log_format_names[LOG_FORMAT_COUNT]; /* "text" "logfmt" "json" */

enum log_value { LOG_STRING, LOG_INTEGER, LOG_NUMBER, LOG_BOOLEAN };

struct log_field {
    const char *key; /* [A-Za-z0-9_.-]+; any other byte is written as '_' */
    size_t key_len;
    enum log_value kind;
    union {
        struct {
            const char *bytes;
            size_t len;
        } string;
        int64_t integer;
        double number;
        bool boolean;
    } as;
};

struct log_record {
    enum log_level level;
    double time_s; /* seconds since the epoch */
    const char *message;
    size_t message_len;
    const struct log_field *fields;
    size_t field_count;
};

struct log;

/* Starts the writing thread. The descriptor is borrowed (a duplicate is written to, so that a
 * number used again never gets log lines). `colour` applies to LOG_TEXT. 0 or a negative
 * errno. */
MUST_CHECK int log_open(struct log **log, int fd, enum log_format format, bool colour);

/* Writes out what is queued, ends the thread and frees. NULL is allowed. */
void log_close(struct log *log);

/* Writes out what is queued as log_close does, but frees nothing: for the end of a process in
 * which other threads may still log. NULL is allowed. */
void log_leave(struct log *log);

/* The least level that is written (LOG_INFO at first). Any thread. */
void log_set_level(struct log *log, enum log_level level);
enum log_level log_level_of(const struct log *log);
bool log_is_enabled(const struct log *log, enum log_level level);
enum log_format log_format_of(const struct log *log);

/* Formats and queues one record, whatever its level; the caller asked log_is_enabled. */
void log_write(struct log *log, const struct log_record *record);

/* Queues bytes that are already safe lines, each with its '\n' (a script's own format, the
 * block of a script error on a terminal). */
void log_write_raw(struct log *log, const char *bytes, size_t len);

/* log_write for this program's own messages: printf format, no fields, checked level, wall
 * clock read inside. */
void log_printf(struct log *log, enum log_level level, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Records lost so far: the buffer was full, memory was out, or the descriptor refused them.
 * Any thread. */
uint64_t log_dropped(const struct log *log);

/* Appends one line as log_write would queue it, with its '\n'; for tests and on_log. 0 or
 * -ENOMEM, and then nothing was appended. */
MUST_CHECK int log_format_record(struct buf *out, enum log_format format, bool colour,
                                 const struct log_record *record);

#endif
