/* cli/answer.c - members of an answer, made readable and safe. */
#include "cli/answer.h"

#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "cli/report.h"
#include "cli/table.h"

#define SHORT_MAX 48 /* a size or an age as text */

/* How a byte comes out. A backslash stays: the server escaped what it put into a text. */
static const char *show(char byte, char shown[5])
{
    static const char digits[] = "0123456789abcdef";
    static const char controls[] = "\nn\tt\rr";
    unsigned char value = (unsigned char)byte;
    if (value >= 0x20 && value <= 0x7e) {
        memcpy(shown, (char[]){byte, 0}, 2);
        return shown;
    }
    memcpy(shown, (char[]){'\\', 'x', digits[value >> 4], digits[value & 15], 0}, 5);
    for (size_t i = 0; i + 1 < sizeof controls; i += 2) {
        if (byte == controls[i])
            memcpy(shown + 1, (char[]){controls[i + 1], 0}, 2);
    }
    return shown;
}

void answer_put(FILE *out, const char *bytes, size_t len)
{
    char shown[5];
    for (size_t i = 0; i < len; i++)
        fputs(show(bytes[i], shown), out);
}

size_t answer_width(const char *bytes, size_t len)
{
    char shown[5];
    size_t width = 0;
    for (size_t i = 0; i < len; i++)
        width += strlen(show(bytes[i], shown));
    return width;
}

/* As answer_put, but newlines and tabs are what they are. */
static void put_lines(FILE *out, const char *bytes, size_t len)
{
    char shown[5];
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\t')
            fputc(bytes[i], out);
        else
            fputs(show(bytes[i], shown), out);
    }
}

/* The value as bytes; `text` has room for those of a number. */
static const char *bytes_of(const json_t *value, char text[SHORT_MAX], size_t *len)
{
    const char *bytes = text;
    if (json_is_string(value)) {
        *len = json_string_length(value);
        return json_string_value(value);
    }
    if (json_is_integer(value))
        snprintf(text, SHORT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, SHORT_MAX, "%.6g", json_real_value(value));
    else if (json_is_boolean(value))
        bytes = json_is_true(value) ? "yes" : "no";
    else
        bytes = "-";
    *len = strlen(bytes);
    return bytes;
}

void answer_put_value(FILE *out, const json_t *value)
{
    char text[SHORT_MAX];
    size_t len;
    const char *bytes = bytes_of(value, text, &len);
    answer_put(out, bytes, len);
}

static int64_t number_of(const json_t *value)
{
    if (json_is_integer(value))
        return json_integer_value(value);
    double real = json_number_value(value);
    return real > -9e18 && real < 9e18 ? (int64_t)real : 0;
}

int64_t answer_number(const json_t *answer, const char *key)
{
    return number_of(json_object_get(answer, key));
}

void answer_put_count(FILE *out, int64_t count, const char *noun)
{
    fprintf(out, "%jd %s%s", (intmax_t)count, noun, count == 1 ? "" : "s");
}

static void format_size(char text[SHORT_MAX], int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        snprintf(text, SHORT_MAX, "%jd B", (intmax_t)bytes);
        return;
    }
    double size = (double)bytes / 1024;
    size_t unit = 0;
    /* From here on one digit behind the point would round to 1024.0. */
    for (; size >= 1023.95 && unit + 1 < ARRAY_LEN(units); unit++)
        size /= 1024;
    snprintf(text, SHORT_MAX, "%.1f %s", size, units[unit]);
}

static void format_age(char text[SHORT_MAX], int64_t seconds)
{
    intmax_t s = seconds;
    if (s < 60)
        snprintf(text, SHORT_MAX, "%jd s", s);
    else if (s < 3600)
        snprintf(text, SHORT_MAX, "%jd m %jd s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, SHORT_MAX, "%jd h %jd m", s / 3600, s / 60 % 60);
    else
        snprintf(text, SHORT_MAX, "%jd d %jd h", s / 86400, s / 3600 % 24);
}

void answer_put_age(FILE *out, const json_t *seconds)
{
    char text[SHORT_MAX];
    format_age(text, number_of(seconds));
    fputs(text, out);
}

void answer_cell(struct table *table, const json_t *answer, const char *key)
{
    char text[SHORT_MAX];
    size_t len;
    const char *bytes = bytes_of(json_object_get(answer, key), text, &len);
    table_add(table, bytes, len);
}

static void add_formatted(struct table *table, const json_t *value,
                          void (*format)(char text[SHORT_MAX], int64_t number))
{
    char text[SHORT_MAX] = "-";
    if (json_is_number(value))
        format(text, number_of(value));
    table_add(table, text, strlen(text));
}

void answer_cell_size(struct table *table, const json_t *answer, const char *key)
{
    add_formatted(table, json_object_get(answer, key), format_size);
}

void answer_cell_age(struct table *table, const json_t *answer, const char *key)
{
    add_formatted(table, json_object_get(answer, key), format_age);
}

void answer_cell_hash(struct table *table, const json_t *answer, const char *key)
{
    char text[SHORT_MAX];
    size_t len;
    const char *bytes = bytes_of(json_object_get(answer, key), text, &len);
    table_add(table, bytes, len < ANSWER_HASH_DIGITS ? len : ANSWER_HASH_DIGITS);
}

/* jansson leaves DEL as it is. */
static int put_json_bytes(const char *bytes, size_t len, void *out)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == 0x7f)
            fputs("\\u007f", out);
        else
            fputc(bytes[i], out);
    }
    return 0;
}

void answer_put_json(FILE *out, const json_t *answer)
{
    /* 15 digits bring a decimal number back as it was written: 0.1 and not 0.1000...01. */
    (void)json_dump_callback(answer, put_json_bytes, out,
                             JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    fputc('\n', out);
}

void answer_put_error(const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    size_t len = json_string_length(error);
    if (len == 0) {
        report_error("the server says that it failed, and not why");
        return;
    }
    const char *bytes = json_string_value(error);
    put_lines(stderr, bytes, len);
    if (bytes[len - 1] != '\n')
        fputc('\n', stderr);
}

int answer_status(const json_t *answer)
{
    if (json_is_true(json_object_get(answer, "ok")))
        return 0;
    int64_t status = answer_number(answer, "status");
    return status > 0 && status < 256 ? (int)status : 1;
}

static void put_each(FILE *out, const json_t *answer, const char *key, const char *what)
{
    size_t i;
    const json_t *value;
    json_array_foreach(json_object_get(answer, key), i, value)
    {
        fprintf(out, "  %s ", what);
        answer_put_value(out, value);
        fputc('\n', out);
    }
}

static void put_ignored(FILE *out, const json_t *answer)
{
    size_t i;
    const json_t *option;
    json_array_foreach(json_object_get(answer, "ignored"), i, option)
    {
        fputs("  ignored ", out);
        answer_put_value(out, json_object_get(option, "option"));
        fputs(": ", out);
        answer_put_value(out, json_object_get(option, "why"));
        fputc('\n', out);
    }
}

void answer_put_canary(FILE *out, const json_t *canary)
{
    const json_t *share = json_object_get(canary, "share");
    const json_t *peer = json_object_get(canary, "peer");
    fputs("version ", out);
    answer_put_value(out, json_object_get(canary, "version"));
    if (json_is_string(share) || json_is_number(share)) {
        fputs(" for ", out);
        answer_put_value(out, share);
        fputs(" of new connections", out);
    }
    if (json_is_string(peer)) {
        fputs(" from ", out);
        answer_put_value(out, peer);
    }
    static const char *const nouns[] = {"connection", "hook", "error"};
    static const char *const keys[] = {"connections", "hooks", "errors"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        fputs(", ", out);
        answer_put_count(out, answer_number(canary, keys[i]), nouns[i]);
    }
}

/* A canary that has begun, or was withdrawn: nothing is switched. */
static int put_canary_change(FILE *out, const json_t *answer, const json_t *canary)
{
    bool begun = answer_number(answer, "version") == answer_number(canary, "version");
    fputs(begun ? "canary " : "withdrawn ", out);
    answer_put_canary(out, canary);
    fputs("\n  version ", out);
    answer_put_value(out, json_object_get(answer, begun ? "previous" : "version"));
    fputs(begun ? " serves all others; neap promote or neap rollback ends it\n"
                : " goes on\n",
          out);
    return 0;
}

int answer_put_change(FILE *out, const json_t *answer)
{
    const json_t *begun = json_object_get(answer, "canary");
    if (json_is_object(begun) && !json_object_get(answer, "ms"))
        return put_canary_change(out, answer, begun);
    fputs("version ", out);
    answer_put_value(out, json_object_get(answer, "previous"));
    fputs(" -> ", out);
    answer_put_value(out, json_object_get(answer, "version"));
    const json_t *same_as = json_object_get(answer, "same_as");
    if (json_is_number(same_as)) {
        fputs(", same as ", out);
        answer_put_value(out, same_as);
        fputc(',', out);
    }
    fprintf(out, " in %.3g ms, ", json_number_value(json_object_get(answer, "ms")));
    answer_put_count(out, answer_number(answer, "connections"), "connection");
    fputs(" kept, ", out);
    answer_put_count(out, answer_number(answer, "timers_ended"), "timer");
    fputs(" ended\n", out);
    const json_t *canary = json_object_get(answer, "canary");
    if (json_is_object(canary)) {
        fputs("  canary ", out);
        answer_put_canary(out, canary);
        fputc('\n', out);
    }
    put_each(out, answer, "files_changed", "changed");
    put_each(out, answer, "listeners_opened", "opened");
    put_each(out, answer, "listeners_closed", "closed");
    put_ignored(out, answer);
    put_each(out, answer, "warnings", "warning:");
    return 0;
}

static void put_texts(FILE *out, const json_t *texts, bool is_terminal)
{
    size_t i;
    const json_t *value;
    json_array_foreach(texts, i, value)
    {
        char text[SHORT_MAX];
        size_t len;
        const char *bytes = bytes_of(value, text, &len);
        if (is_terminal)
            put_lines(out, bytes, len);
        else
            fwrite(bytes, 1, len, out);
        fputc('\n', out);
    }
}

int answer_put_results(FILE *out, const json_t *answer)
{
    bool is_terminal = isatty(fileno(out));
    put_texts(out, json_object_get(answer, "output"), is_terminal);
    put_texts(out, json_object_get(answer, "results"), is_terminal);
    return 0;
}
