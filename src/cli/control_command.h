/* cli/control_command.h - what all commands that talk to a running server have in common.
 *
 *     flags, operand ──set──> request ──> control_client ──> answer ──print──> standard output
 *                                                              └─ error ─────> standard error
 *
 * What:   a command is its flags, whose functions put arguments into the request, and a function
 *         that prints the answer; the rest is here.
 * Thread: the main one.
 * Errors: exit statuses; what went wrong is on standard error by then. */
#ifndef NEAP_CLI_CONTROL_COMMAND_H
#define NEAP_CLI_CONTROL_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/command.h"

#define CONTROL_TIMEOUT_MS 10000
#define CONTROL_NO_TIMEOUT (-1)

struct control_options {
    const char *name; /* of the server */
    int timeout_ms;   /* -1: for ever */
    bool json;
    json_t *request; /* owned */
};

/* What --timeout is when it is not given, as its help says it. */
#define CONTROL_WAITS_10_S "10 if nothing is said, 0 is for ever"
#define CONTROL_WAITS_FOR_EVER "for ever if nothing is said"

/* Rows that end the flags of all these commands. */
/* clang-format off */
#define CONTROL_FLAGS(waits)                                                               \
    {"name", 0, "NAME",                                                                    \
     "the server that neap run --name gave this name; default if nothing is said",         \
     "NEAP_NAME", false, control_set_name},                                                \
    {"timeout", 0, "SECONDS", "how long to wait for the answer; " waits,                   \
     NULL, false, control_set_timeout},                                                    \
    {"json", 0, NULL, "print the server's answer, a JSON object",                          \
     NULL, false, control_set_json}
/* clang-format on */

struct control_command {
    const struct command *command;
    const char *request; /* NULL: it has the name of the command */
    int timeout_ms;
    const char *missing; /* said when there is no operand; NULL: it may be left out */
    flag_set_fn operand; /* takes it, as it would the value of a flag */
    /* Prints an answer that is ok. 0 or -ENOMEM. */
    int (*print)(FILE *out, const json_t *answer);
};

/* Does all of a command. */
int control_run(const struct control_command *control, int argc, char **argv);

/* The beginning of it: reads the line into `options`. COMMAND_GO_ON or the exit status to leave
 * with; control_options_fini is due in any case. */
MUST_CHECK int control_parse(const struct control_command *control,
                             struct control_options *options, int argc, char **argv);
void control_options_fini(struct control_options *options);

/* The end of it: prints an answer, also one of an error. Returns the exit status. */
int control_print(const struct control_command *control,
                  const struct control_options *options, const json_t *answer);

/* Rows call these with a struct control_options. */
int control_set_name(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int control_set_timeout(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int control_set_json(void *options, const char *value, char why[FLAGS_WHY_MAX]);

/* For `set`: puts an argument into the request. -EINVAL when the text is not UTF-8, or the
 * number is none from 1 on. */
MUST_CHECK int control_put_text(struct control_options *options, const char *key,
                                const char *value, char why[FLAGS_WHY_MAX]);
MUST_CHECK int control_put_number(struct control_options *options, const char *key,
                                  const char *value, char why[FLAGS_WHY_MAX]);
MUST_CHECK int control_put_true(struct control_options *options, const char *key,
                                char why[FLAGS_WHY_MAX]);

#endif
