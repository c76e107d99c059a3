/* cli/cmd_versions.c - `neap versions`: what was served, and what holds it. */
#include <sysexits.h>

#include "cli/answer.h"
#include "cli/control_command.h"
#include "cli/table.h"

static const struct table_column columns[] = {
    {"version", true},     {"hash", false},   {"age", true},       {"state", false},
    {"connections", true}, {"waiting", true}, {"functions", true}, {"files", false},
};

static const struct table_column place_columns[] = {
    {"version", true},
    {"waiting", true},
    {"at", false},
};

/* "serving", or "serving, same as 6". */
static void add_state(struct table *table, const json_t *version)
{
    const json_t *state = json_object_get(version, "state");
    const json_t *same_as = json_object_get(version, "same_as");
    if (json_is_string(state) && json_is_integer(same_as))
        table_printf(table, "%s, same as %" JSON_INTEGER_FORMAT, json_string_value(state),
                     json_integer_value(same_as));
    else
        answer_cell(table, version, "state");
}

/* The first file is the script. */
static void add_files(struct table *table, const json_t *files)
{
    const json_t *first = json_array_get(files, 0);
    size_t count = json_array_size(files);
    const char *path = json_string_value(json_object_get(first, "path"));
    if (!path)
        table_printf(table, "-");
    else if (count == 1)
        table_printf(table, "%s", path);
    else
        table_printf(table, "%s and %zu more", path, count - 1);
}

static void add_version(struct table *table, const json_t *version)
{
    answer_cell(table, version, "version");
    answer_cell_hash(table, version, "hash");
    answer_cell_age(table, version, "age");
    add_state(table, version);
    answer_cell(table, version, "connections");
    answer_cell(table, version, "waiting");
    answer_cell(table, version, "functions");
    add_files(table, json_object_get(version, "files"));
}

/* Where hooks wait; nothing if none does. */
static int print_places(FILE *out, const json_t *versions)
{
    struct table table;
    size_t i, count = 0;
    const json_t *version;
    const char *place;
    json_t *waiting;
    table_init(&table, place_columns, ARRAY_LEN(place_columns));
    json_array_foreach(versions, i, version)
    {
        json_object_foreach(json_object_get(version, "places"), place, waiting)
        {
            answer_cell(&table, version, "version");
            table_printf(&table, "%" JSON_INTEGER_FORMAT, json_integer_value(waiting));
            table_printf(&table, "%s", place);
            count++;
        }
    }
    int rc = 0;
    if (count)
        rc = fputc('\n', out) == EOF ? EX_IOERR : table_print(&table, out);
    table_fini(&table);
    return rc;
}

static int print(FILE *out, const json_t *answer)
{
    struct table table;
    size_t i;
    const json_t *version;
    table_init(&table, columns, ARRAY_LEN(columns));
    json_array_foreach(json_object_get(answer, "versions"), i, version)
    {
        add_version(&table, version);
    }
    int rc = table_print(&table, out);
    table_fini(&table);
    return rc ? rc : print_places(out, json_object_get(answer, "versions"));
}

static const struct example versions_examples[] = {
    {"neap versions", "the newest on top"},
    {"neap versions --json", "with every file, for a program"},
    {NULL, NULL},
};

static const struct flag versions_flags[] = {
    CONTROL_FLAGS(CONTROL_WAITS_10_S),
    {.name = NULL},
};

static const struct control_command control = {
    .command = &cmd_versions,
    .timeout_ms = CONTROL_TIMEOUT_MS,
    .print = print,
};

static int run(int argc, char **argv)
{
    return control_run(&control, argc, argv);
}

const struct command cmd_versions = {
    .name = "versions",
    .summary = "list the versions of the script",
    .usage = "versions [FLAG]...",
    .about =
        "Prints the versions of the script that serve, are tried out, are kept for neap "
        "rollback, or are held: by connections opened under them, by hooks that wait in "
        "them, or by functions of theirs in conn.data. The age is the time since a "
        "version took over.",
    .operand_max = 0,
    .examples = versions_examples,
    .flags = versions_flags,
    .run = run,
};
