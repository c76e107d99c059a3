/* cli/cmd_status.c - `neap status`: how a running server does. */
#include <string.h>

#include "cli/answer.h"
#include "cli/control_command.h"
#include "cli/table.h"

#define LABEL_WIDTH 10

static int set_effective(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    return control_put_true(options, "effective", why);
}

static void put_label(FILE *out, const char *label)
{
    fprintf(out, "%-*s", LABEL_WIDTH, label);
}

static void put_line(FILE *out, const char *label, const json_t *value)
{
    put_label(out, label);
    answer_put_value(out, value);
    fputc('\n', out);
}

static void put_version(FILE *out, const json_t *answer)
{
    const json_t *hash = json_object_get(answer, "hash");
    size_t len = json_string_length(hash);
    put_label(out, "version");
    answer_put_value(out, json_object_get(answer, "version"));
    fputs(" (", out);
    answer_put(out, json_string_value(hash),
               len < ANSWER_HASH_DIGITS ? len : ANSWER_HASH_DIGITS);
    fputs(")\n", out);
    const json_t *canary = json_object_get(answer, "canary");
    if (json_is_object(canary)) {
        put_label(out, "canary");
        answer_put_canary(out, canary);
        fputc('\n', out);
    }
}

static void put_listen(FILE *out, const json_t *listen)
{
    size_t i;
    const json_t *place;
    json_array_foreach(listen, i, place)
    {
        put_label(out, i == 0 ? "listens" : "");
        answer_put_value(out, json_object_get(place, "address"));
        fputs(" (", out);
        answer_put_value(out, json_object_get(place, "service"));
        fputs(")\n", out);
    }
}

static void put_server(FILE *out, const json_t *answer)
{
    put_line(out, "name", json_object_get(answer, "name"));
    put_line(out, "pid", json_object_get(answer, "pid"));
    put_label(out, "uptime");
    answer_put_age(out, json_object_get(answer, "uptime"));
    fputc('\n', out);
    put_label(out, "neap");
    answer_put_value(out, json_object_get(answer, "neap"));
    fputs(" (Lua ", out);
    answer_put_value(out, json_object_get(answer, "lua"));
    fputs(", libev ", out);
    answer_put_value(out, json_object_get(answer, "libev"));
    fputs(")\n", out);
    put_label(out, "script");
    answer_put_value(out, json_object_get(answer, "script"));
    fputs(json_is_true(json_object_get(answer, "watch")) ? ", watched\n" : "\n", out);
    put_version(out, answer);
    put_listen(out, json_object_get(answer, "listen"));
}

static int put_workers(FILE *out, const json_t *workers)
{
    static const struct table_column columns[] = {
        {"worker", true},    {"state", false},      {"connections", true},
        {"peers", true},     {"loop lag ms", true}, {"Lua memory", true},
        {"Lua limit", true}, {"buffered", true},
    };
    struct table table;
    size_t i;
    const json_t *worker;
    table_init(&table, columns, ARRAY_LEN(columns));
    json_array_foreach(workers, i, worker)
    {
        answer_cell(&table, worker, "worker");
        answer_cell(&table, worker, "state");
        answer_cell(&table, worker, "connections");
        answer_cell(&table, worker, "peers");
        answer_cell(&table, worker, "loop_lag_ms");
        answer_cell_size(&table, worker, "lua_memory");
        answer_cell_size(&table, worker, "lua_limit");
        answer_cell_size(&table, worker, "buffered");
    }
    fputc('\n', out);
    int rc = table_print(&table, out);
    table_fini(&table);
    return rc;
}

/* Most counters of most servers are 0 for ever. */
static int put_counters(FILE *out, const json_t *counters)
{
    static const struct table_column columns[] = {{"counter", false}, {"number", true}};
    struct table table;
    table_init(&table, columns, ARRAY_LEN(columns));
    for (void *at = json_object_iter((json_t *)counters); at;
         at = json_object_iter_next((json_t *)counters, at)) {
        const char *key = json_object_iter_key(at);
        if (answer_number(counters, key) == 0)
            continue;
        table_add(&table, key, strlen(key));
        answer_cell(&table, counters, key);
    }
    int rc = 0;
    if (table.cell_count > 0) {
        fputc('\n', out);
        rc = table_print(&table, out);
    }
    table_fini(&table);
    return rc;
}

static int put_options(FILE *out, const json_t *options)
{
    static const struct table_column columns[] = {
        {"option", false}, {"value", false}, {"origin", false}};
    struct table table;
    size_t i;
    const json_t *option;
    table_init(&table, columns, ARRAY_LEN(columns));
    json_array_foreach(options, i, option)
    {
        answer_cell(&table, option, "name");
        answer_cell(&table, option, "value");
        answer_cell(&table, option, "origin");
    }
    int rc = table_print(&table, out);
    table_fini(&table);
    return rc;
}

static int print(FILE *out, const json_t *answer)
{
    const json_t *options = json_object_get(answer, "options");
    if (options)
        return put_options(out, options);
    put_server(out, answer);
    int rc = put_workers(out, json_object_get(answer, "workers"));
    return rc < 0 ? rc : put_counters(out, json_object_get(answer, "counters"));
}

static const struct example status_examples[] = {
    {"neap status", "the server named default"},
    {"neap status --name chat --json", "another one, for a program"},
    {"neap status --effective", "every option, and who said so"},
    {NULL, NULL},
};

static const struct flag status_flags[] = {
    {"effective", 0, NULL,
     "print the options in force instead, each with its origin: default, script or flag",
     NULL, false, set_effective},
    CONTROL_FLAGS(CONTROL_WAITS_10_S),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_status,
    .timeout_ms = CONTROL_TIMEOUT_MS,
    .print = print,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_status = {
    .name = "status",
    .summary = "tell how the running server does",
    .usage = "status [FLAG]...",
    .about =
        "Prints what runs and since when, where it listens, its workers with their "
        "connections, the delay of their loops and the memory of their Lua states, and "
        "the counters that are not 0.",
    .operand_max = 0,
    .examples = status_examples,
    .flags = status_flags,
    .run = run,
};
