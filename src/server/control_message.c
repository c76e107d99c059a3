/* server/control_message.c - requests against their table, answers as lines. */
#include "server/control_message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/require.h"
#include "base/text.h"

#define TEXT_MAX 65536U

/* Any value on one line. Whatever is in a string, jansson escapes newlines. */
#define ONE_LINE (JSON_COMPACT | JSON_ENCODE_ANY)

/* ---- Requests ---- */

static size_t count_arguments(const struct control_command *command)
{
    size_t count = 0;
    while (command->arguments && command->arguments[count].name)
        count++;
    return count;
}

void message_require_commands(const struct control_command *commands)
{
    size_t count = 0;
    for (const struct control_command *row = commands; row->name; row++, count++) {
        REQUIRE(row->run);
        REQUIRE(row->right == CONTROL_VIEW || row->right == CONTROL_OPERATE ||
                row->right == CONTROL_SCRIPT);
        REQUIRE(count_arguments(row) <= CONTROL_COMMANDS_MAX);
        for (const struct control_command *other = commands; other != row; other++)
            REQUIRE(strcmp(other->name, row->name) != 0);
    }
    REQUIRE(count <= CONTROL_COMMANDS_MAX);
}

static void PRINTF_LIKE(2, 3) say(char *why, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(why, MESSAGE_WHY_MAX, format, values);
    va_end(values);
}

static void suggest(char *why, const char *word, const char *const *names, size_t count)
{
    const char *nearest = text_nearest(word, names, count);
    size_t len = strlen(why);
    if (nearest)
        snprintf(why + len, MESSAGE_WHY_MAX - len, "; did you mean '%s'?", nearest);
}

static const struct control_command *find_command(const struct control_command *commands,
                                                  const char *word, char *why)
{
    const char *names[CONTROL_COMMANDS_MAX];
    size_t count = 0;
    for (const struct control_command *row = commands; row->name; row++) {
        if (strcmp(row->name, word) == 0)
            return row;
        names[count++] = row->name;
    }
    say(why, "unknown command '%.64s'", word);
    suggest(why, word, names, count);
    return NULL;
}

static const struct control_argument *find_argument(const struct control_command *command,
                                                    const char *key, char *why)
{
    const char *names[CONTROL_COMMANDS_MAX];
    size_t count = count_arguments(command);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(command->arguments[i].name, key) == 0)
            return &command->arguments[i];
        names[i] = command->arguments[i].name;
    }
    say(why, "unknown argument '%.64s' of '%s'", key, command->name);
    suggest(why, key, names, count);
    return NULL;
}

static bool has_type(const json_t *value, enum control_type type)
{
    switch (type) {
    case CONTROL_TEXT:
        return json_is_string(value);
    case CONTROL_INTEGER:
        return json_is_integer(value);
    case CONTROL_BOOLEAN:
        return json_is_boolean(value);
    }
    return false;
}

static const char *name_type(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

static bool check_argument(const struct control_command *command, const char *key,
                           const json_t *value, char *why)
{
    static const char *const wanted[] = {[CONTROL_TEXT] = "a string",
                                         [CONTROL_INTEGER] = "a whole number",
                                         [CONTROL_BOOLEAN] = "true or false"};
    const struct control_argument *argument = find_argument(command, key, why);
    if (!argument)
        return false;
    if (has_type(value, argument->type))
        return true;
    if (json_is_real(value) && argument->type == CONTROL_INTEGER)
        say(why, "argument '%s' of '%s' must be a whole number", key, command->name);
    else
        say(why, "argument '%s' of '%s' must be %s, not %s", key, command->name,
            wanted[argument->type], name_type(value));
    return false;
}

static bool has_argument(const struct control_command *command, const char *name)
{
    for (size_t i = 0; i < count_arguments(command); i++)
        if (strcmp(command->arguments[i].name, name) == 0)
            return true;
    return false;
}

static bool check_arguments(const struct control_command *command, const json_t *request,
                            char *why)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)request, key, value)
    {
        /* "id" is everybody's, and of any type unless a command gives it a meaning. */
        bool is_common = strcmp(key, "command") == 0 ||
                         (strcmp(key, "id") == 0 && !has_argument(command, "id"));
        if (!is_common && !check_argument(command, key, value, why))
            return false;
    }
    for (size_t i = 0; i < count_arguments(command); i++) {
        const struct control_argument *argument = &command->arguments[i];
        if (argument->required && !json_object_get(request, argument->name)) {
            say(why, "'%s' needs the argument '%s'", command->name, argument->name);
            return false;
        }
    }
    return true;
}

const struct control_command *message_find(const struct control_command *commands,
                                           const json_t *request, char why[MESSAGE_WHY_MAX])
{
    if (!json_is_object(request)) {
        say(why, "a request is an object, as {\"command\":\"%s\"}, not %s",
            commands[0].name ? commands[0].name : "", name_type(request));
        return NULL;
    }
    const char *word = json_string_value(json_object_get(request, "command"));
    if (!word) {
        say(why, "a request needs \"command\", a string");
        return NULL;
    }
    const struct control_command *command = find_command(commands, word, why);
    return command && check_arguments(command, request, why) ? command : NULL;
}

/* ---- Answers ---- */

struct sink {
    struct buf *out;
    size_t room;
    bool is_full;
};

static int on_dumped(const char *bytes, size_t len, void *data)
{
    struct sink *sink = data;
    sink->is_full = len > sink->room;
    if (sink->is_full)
        return -1;
    sink->room -= len;
    return buf_append(sink->out, bytes, len);
}

static int write_json(struct sink *sink, const json_t *value, size_t flags)
{
    if (json_dump_callback(value, on_dumped, sink, ONE_LINE | flags) == 0)
        return 0;
    return sink->is_full ? -EMSGSIZE : -ENOMEM;
}

static int write_id(struct sink *sink, const json_t *id)
{
    if (!id)
        return 0;
    int failed = buf_append(sink->out, ",\"id\":", 6);
    return failed ? failed : write_json(sink, id, 0);
}

static void roll_back(struct buf *out, size_t len)
{
    out->end = out->start + len;
}

int message_write_answer(struct buf *out, const json_t *id, const json_t *answer)
{
    struct sink sink = {.out = out, .room = CONTROL_ANSWER_MAX - 64};
    size_t before = buf_len(out);
    int failed = buf_printf(out, "{\"ok\":true");
    if (!failed)
        failed = write_id(&sink, id);
    if (!failed && json_object_size(answer)) {
        failed = buf_append(out, ",", 1);
        if (!failed)
            failed = write_json(&sink, answer, JSON_EMBED);
    }
    if (!failed)
        failed = buf_append(out, "}\n", 2);
    if (failed)
        roll_back(out, before);
    return failed;
}

int message_write_failure(struct buf *out, const json_t *id, int status, const char *code,
                          const char *text)
{
    struct sink sink = {.out = out, .room = CONTROL_ANSWER_MAX};
    size_t before = buf_len(out);
    int failed = buf_printf(out, "{\"ok\":false,\"error\":\"");
    if (!failed)
        failed = text_escape(out, TEXT_ESCAPE_JSON, text, strnlen(text, TEXT_MAX));
    if (!failed)
        failed = buf_printf(out, "\",\"code\":\"%s\",\"status\":%d", code, status);
    if (!failed)
        failed = write_id(&sink, id);
    if (!failed)
        failed = buf_append(out, "}\n", 2);
    if (failed)
        roll_back(out, before);
    return failed;
}

json_t *control_text(const char *bytes, size_t len)
{
    json_t *text = json_stringn(bytes, len);
    if (text)
        return text;
    /* Not UTF-8, or no memory. The escaped form is always a JSON string, so read that. */
    struct buf quoted = {0};
    if (buf_append(&quoted, "\"", 1) == 0 &&
        text_escape(&quoted, TEXT_ESCAPE_JSON, bytes, len) == 0 &&
        buf_append(&quoted, "\"", 1) == 0)
        text = json_loadb(buf_bytes(&quoted), buf_len(&quoted),
                          JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    buf_fini(&quoted);
    return text;
}
