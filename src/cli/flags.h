/* cli/flags.h - the flags of a command, from a table: the command line, then the environment.
 *
 * What:    one row a flag. What getopt_long wants, the messages, the help, the completions and
 *          the manual page are all made from the row.
 * Borrows: argv and the environment.
 * Thread:  the main one (getopt_long and getenv have state of their own).
 * Errors:  0 or a negative errno with one line in `why`; nothing is printed here. */
#ifndef NEAP_CLI_FLAGS_H
#define NEAP_CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define FLAGS_MAX 24 /* rows in a table */
#define FLAGS_WHY_MAX 1024

/* Takes a value (NULL for a flag without argument) over into `options`. The text lives as long
 * as argv and the environment, but that of a repeatable flag for the time of the call only.
 * 0, or -EINVAL or -ENOMEM with what is wrong with it, and what would do, in `why`; the value
 * is put before it, unless it begins with a quoted one already. */
typedef int (*flag_set_fn)(void *options, const char *value, char why[FLAGS_WHY_MAX]);

/* A row; the table ends with one whose name is NULL. */
struct flag {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    const char
        *argument; /* "ADDR", or the words themselves: "text|logfmt|json"; NULL: none */
    const char *help;
    const char *env; /* the variable that stands in for the flag; NULL: none */
    bool is_repeatable;
    flag_set_fn set;
};

/* In: argc, argv, argv[0] passed over. Out: what are no flags, at the end of the reordered
 * argv. */
struct flags_line {
    int argc;
    char **argv;
    char **operands;
    int operand_count;
};

/* Calls `set` for every flag in the order given, then for each variable whose flag was not
 * given. An empty variable counts as unset; one of a repeatable flag is split at white space.
 * 0, -ECANCELED (--help or -h stands somewhere, whatever else does; nothing was set), -ENOENT
 * (no such flag, or not with or without a value; nothing was set), -EINVAL (what `set` says)
 * or -ENOMEM. */
MUST_CHECK int flags_parse(const struct flag *flags, struct flags_line *line, void *options,
                           char why[FLAGS_WHY_MAX]);

/* For `set`: the place of `value` among `names`. -EINVAL when it is not there, with the
 * nearest one or all of them in `why`. */
MUST_CHECK int flags_choice(const char *value, const char *const *names, size_t count,
                            char why[FLAGS_WHY_MAX]);

#endif
