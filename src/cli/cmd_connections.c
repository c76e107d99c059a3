/* cli/cmd_connections.c - `neap connections`: the live table. */
#include "cli/answer.h"
#include "cli/control_command.h"
#include "cli/report.h"
#include "cli/table.h"

static int set_service(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_text(options, "service", value, why);
}

static int set_limit(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    return control_put_number(options, "limit", value, why);
}

static const struct column {
    const char *key;
    void (*add)(struct table *table, const json_t *answer, const char *key);
    bool is_number;
} columns[] = {
    {"id", answer_cell, true},
    {"peer", answer_cell, false},
    {"service", answer_cell, false},
    {"transport", answer_cell, false},
    {"version", answer_cell, true},
    {"worker", answer_cell, true},
    {"age", answer_cell_age, true},
    {"idle", answer_cell_age, true},
    {"received", answer_cell_size, true},
    {"sent", answer_cell_size, true},
    {"pending", answer_cell_size, true},
    {"state", answer_cell, false},
};

static int print(FILE *out, const json_t *answer)
{
    const json_t *connections = json_object_get(answer, "connections");
    struct table_column titles[ARRAY_LEN(columns)];
    struct table table;
    size_t i;
    const json_t *connection;
    for (i = 0; i < ARRAY_LEN(columns); i++)
        titles[i] = (struct table_column){columns[i].key, columns[i].is_number};
    table_init(&table, titles, ARRAY_LEN(columns));
    json_array_foreach(connections, i, connection)
    {
        for (size_t j = 0; j < ARRAY_LEN(columns); j++)
            columns[j].add(&table, connection, columns[j].key);
    }
    int rc = table_print(&table, out);
    table_fini(&table);
    int64_t total = answer_number(answer, "total");
    if (total > (int64_t)json_array_size(connections))
        report_error("these are %zu of %jd connections; --limit shows more",
                     json_array_size(connections), (intmax_t)total);
    return rc;
}

static const struct example connections_examples[] = {
    {"neap connections", "who is connected"},
    {"neap connections --service chat", "to one service"},
    {"neap connections --limit 20000 --json", "more of them, for a program"},
    {NULL, NULL},
};

static const struct flag connections_flags[] = {
    {"service", 0, "NAME", "only those of this service", NULL, false, set_service},
    {"limit", 0, "N", "at most so many; 1000 if nothing is said", NULL, false, set_limit},
    CONTROL_FLAGS(CONTROL_WAITS_10_S),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_connections,
    .timeout_ms = CONTROL_TIMEOUT_MS,
    .print = print,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_connections = {
    .name = "connections",
    .summary = "list the connections of the running server",
    .usage = "connections [FLAG]...",
    .about =
        "Prints a line for each connection and each peer of a datagram socket: how long "
        "it is there, how long nothing came, the bytes received, sent and still to be "
        "sent, the version of the script that it was opened under. neap kick closes one "
        "by its ID.",
    .operand_max = 0,
    .examples = connections_examples,
    .flags = connections_flags,
    .run = run,
};
