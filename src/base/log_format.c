/* base/log_format.c - one log record as one line.
 *
 *     text     12:34:56.789 WARN message  key=value key="two words"      local time
 *     logfmt   time=2026-01-02T03:04:05.678Z level=warn msg="message" key=value
 *     json     {"time":"2026-01-02T03:04:05.678Z","level":"warn","msg":"message","key":1}
 *
 * Fields come from peers and scripts: nothing passes that could end a line, forge a field or
 * steer a terminal. */
#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

#define TIME_MAX_S 253402300799.0 /* the end of the year 9999 */
#define DIM "\x1b[2m"
#define PLAIN "\x1b[0m"

const char *const log_level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};
const char *const log_format_names[LOG_FORMAT_COUNT] = {"text", "logfmt", "json"};

static const char *const level_labels[LOG_LEVEL_COUNT] = {"DEBUG", "INFO", "WARN", "ERROR"};
static const char *const level_colours[LOG_LEVEL_COUNT] = {"\x1b[36m", "\x1b[32m",
                                                           "\x1b[33m", "\x1b[31m"};

/* Splits a time into its calendar parts, and the milliseconds. */
static int split_time(double time_s, bool is_local, struct tm *parts)
{
    if (!(time_s >= 0))
        time_s = 0;
    if (time_s > TIME_MAX_S)
        time_s = TIME_MAX_S;
    int64_t time_ms = (int64_t)(time_s * 1000 + 0.5);
    time_t seconds = (time_t)(time_ms / 1000);
    if (is_local)
        localtime_r(&seconds, parts);
    else
        gmtime_r(&seconds, parts);
    return (int)(time_ms % 1000);
}

static int append_utc(struct buf *out, double time_s)
{
    struct tm at = {0};
    int ms = split_time(time_s, false, &at);

    return buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", at.tm_year + 1900,
                      at.tm_mon + 1, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec, ms);
}

static int append_text(struct buf *out, const char *text)
{
    return buf_append(out, text, strlen(text));
}

static int append_key(struct buf *out, const char *key, size_t len)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_.-";

    if (len == 0)
        return append_text(out, "_");
    int err = buf_reserve(out, len);
    if (err)
        return err;
    for (size_t i = 0; i < len; i++) {
        char byte = key[i];
        if (!memchr(allowed, byte, sizeof allowed - 1))
            byte = '_';
        buf_tail(out)[i] = byte;
    }
    buf_commit(out, len);
    return 0;
}

static int append_quoted(struct buf *out, const char *bytes, size_t len)
{
    int err = append_text(out, "\"");

    for (size_t start = 0, i = 0; !err && start < len; start = i) {
        const char *quote = memchr(bytes + start, '"', len - start);
        i = quote ? (size_t)(quote - bytes) : len;
        err = text_escape(out, TEXT_ESCAPE_LOG, bytes + start, i - start);
        if (!err && quote) {
            err = append_text(out, "\\\"");
            i++;
        }
    }
    return err ? err : append_text(out, "\"");
}

static int append_word(struct buf *out, const char *bytes, size_t len)
{
    bool is_plain = len > 0;

    for (size_t i = 0; i < len && is_plain; i++) {
        char byte = bytes[i];
        is_plain = byte > 0x20 && byte < 0x7f && byte != '"' && byte != '=' && byte != '\\';
    }
    return is_plain ? buf_append(out, bytes, len) : append_quoted(out, bytes, len);
}

/* The shortest of the usual precisions that reads back as the same number. */
static int append_number(struct buf *out, double number)
{
    char text[64];
    int precision = 15;

    do
        snprintf(text, sizeof text, "%.*g", precision, number);
    while (strtod(text, NULL) != number && ++precision <= 17);
    /* A script may have set a locale; its decimal point can be any bytes. */
    size_t len = strlen(text), at = strspn(text, "-0123456789");
    size_t after = at;
    while (after < len && !strchr("0123456789e", text[after]))
        after++;
    int err = buf_append(out, text, at);
    if (!err && after > at)
        err = append_text(out, ".");
    return err ? err : buf_append(out, text + after, len - after);
}

static int append_value(struct buf *out, enum log_format format,
                        const struct log_field *field)
{
    const char *quote = format == LOG_JSON ? "\"" : "";
    double number = field->as.number;
    int err;

    switch (field->kind) {
    case LOG_STRING:
        if (format != LOG_JSON)
            return append_word(out, field->as.string.bytes, field->as.string.len);
        err = append_text(out, quote);
        if (!err)
            err = text_escape(out, TEXT_ESCAPE_JSON, field->as.string.bytes,
                              field->as.string.len);
        return err ? err : append_text(out, quote);
    case LOG_INTEGER:
        return buf_printf(out, "%lld", (long long)field->as.integer);
    case LOG_NUMBER:
        if (isfinite(number))
            return append_number(out, number);
        return buf_printf(out, "%s%s%s", quote,
                          isnan(number) ? "nan"
                          : number > 0  ? "inf"
                                        : "-inf",
                          quote);
    case LOG_BOOLEAN:
        return append_text(out, field->as.boolean ? "true" : "false");
    }
    return 0;
}

/* " key=value" for each. */
static int append_fields(struct buf *out, const struct log_record *record)
{
    int err = 0;

    for (size_t i = 0; i < record->field_count && !err; i++) {
        const struct log_field *field = &record->fields[i];
        err = append_text(out, " ");
        if (!err)
            err = append_key(out, field->key, field->key_len);
        if (!err)
            err = append_text(out, "=");
        if (!err)
            err = append_value(out, LOG_LOGFMT, field);
    }
    return err;
}

static int format_text(struct buf *out, bool colour, const struct log_record *record)
{
    struct tm at = {0};
    int ms = split_time(record->time_s, true, &at);
    const char *plain = colour ? PLAIN : "";

    int err = buf_printf(out, "%s%02d:%02d:%02d.%03d%s %s%s%s ", colour ? DIM : "",
                         at.tm_hour, at.tm_min, at.tm_sec, ms, plain,
                         colour ? level_colours[record->level] : "",
                         level_labels[record->level], plain);
    if (!err)
        err = text_escape(out, TEXT_ESCAPE_LOG, record->message, record->message_len);
    if (!err && record->field_count > 0)
        err = append_text(out, " ");
    if (!err)
        err = append_fields(out, record);
    return err ? err : append_text(out, "\n");
}

static int format_logfmt(struct buf *out, const struct log_record *record)
{
    int err = append_text(out, "time=");

    if (!err)
        err = append_utc(out, record->time_s);
    if (!err)
        err = buf_printf(out, " level=%s msg=", log_level_names[record->level]);
    if (!err)
        err = append_quoted(out, record->message, record->message_len);
    if (!err)
        err = append_fields(out, record);
    return err ? err : append_text(out, "\n");
}

static int format_json(struct buf *out, const struct log_record *record)
{
    int err = append_text(out, "{\"time\":\"");

    if (!err)
        err = append_utc(out, record->time_s);
    if (!err)
        err = buf_printf(out, "\",\"level\":\"%s\",\"msg\":\"",
                         log_level_names[record->level]);
    if (!err)
        err = text_escape(out, TEXT_ESCAPE_JSON, record->message, record->message_len);
    if (!err)
        err = append_text(out, "\"");
    for (size_t i = 0; i < record->field_count && !err; i++) {
        const struct log_field *field = &record->fields[i];
        err = append_text(out, ",\"");
        if (!err)
            err = append_key(out, field->key, field->key_len);
        if (!err)
            err = append_text(out, "\":");
        if (!err)
            err = append_value(out, LOG_JSON, field);
    }
    return err ? err : append_text(out, "}\n");
}

int log_format_record(struct buf *out, enum log_format format, bool colour,
                      const struct log_record *record)
{
    size_t before = buf_len(out);
    int err = -EINVAL;

    switch (format) {
    case LOG_TEXT:
        err = format_text(out, colour, record);
        break;
    case LOG_LOGFMT:
        err = format_logfmt(out, record);
        break;
    case LOG_JSON:
        err = format_json(out, record);
        break;
    case LOG_FORMAT_COUNT:
        break;
    }
    if (err)
        out->end = out->start + before;
    return err;
}
