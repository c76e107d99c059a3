/* cli/settings.h - what `run` and `check` are told: which script, and how to serve it.
 *
 * What:    the functions for rows of a flag table that fill in a struct server_config.
 * Owns:    the list of --listen and the names in it. Borrows: argv and the environment.
 * Thread:  the main one.
 * Life:    settings_init() .. settings_fini(); `config` is complete after settings_finish().
 * Errors:  0 or a negative errno, as flags.h wants them; nothing is printed here. */
#ifndef NEAP_CLI_SETTINGS_H
#define NEAP_CLI_SETTINGS_H

#include <stdbool.h>

#include "cli/flags.h"
#include "server/server.h"

struct settings {
    struct server_config config;
    struct server_listen *listen;
    bool json;
};

void settings_init(struct settings *settings);
void settings_fini(struct settings *settings);

/* Rows call these with a struct settings. */
int settings_set_code(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_listen(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_workers(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_watch(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_name(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_load_timeout(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_log_level(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_log_format(void *options, const char *value, char why[FLAGS_WHY_MAX]);
int settings_set_json(void *options, const char *value, char why[FLAGS_WHY_MAX]);

/* Takes the script, if one is among the operands. -EINVAL when --eval was given too. */
MUST_CHECK int settings_finish(struct settings *settings, const struct flags_line *line);

#endif
