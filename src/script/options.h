/* script/options.h - every option that a script may set: one row each.
 *
 * What:   name, meaning, default and bounds; from the rows come parsing, conn:get and conn:set,
 *         what `neap check` prints, and the checks of the documents.
 * Where:  values live as uint64_t in the structs below, times in milliseconds. */
#ifndef NEAP_SCRIPT_OPTIONS_H
#define NEAP_SCRIPT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "net/conn.h"

#define OPTION_WORKERS_AUTO UINT64_MAX
#define OPTION_UNSET (UINT64_MAX - 1)

struct service_settings {
    struct conn_options conn;
    uint64_t sessions, max_waiting, reply_limit, nodelay, keepalive_ms;
};

struct app_settings {
    uint64_t workers, max_connections, max_connections_per_ip, accept_rate, max_peers;
    uint64_t max_buffered, lua_memory, hook_timeout_ms, load_timeout_ms, drain_timeout_ms;
    uint64_t log_level, log_format;
};

enum option_scope { OPTION_CONN, OPTION_SERVICE, OPTION_APP };

enum option_kind { OPTION_SIZE, OPTION_SECONDS, OPTION_COUNT, OPTION_BOOL, OPTION_CHOICE };

struct option {
    const char *name;
    enum option_scope scope; /* OPTION_CONN: of a service, and conn:set */
    enum option_kind kind;
    size_t offset; /* in service_settings or app_settings */
    uint64_t initial, least, most;
    const char *const *choices; /* OPTION_CHOICE, and words besides numbers */
    const char *shown; /* the default for people, where the number does not say it */
    const char *help;
};

extern const struct option option_rows[];
extern const size_t option_count;

void options_init_service(struct service_settings *settings);
void options_init_app(struct app_settings *settings);

/* The row of that name among those scopes (bits 1 << scope), or NULL. */
const struct option *option_find(const char *name, unsigned scopes);

/* Reads the value at `index` for an option. NULL, or what is wrong with it, for people; then
 * the text is at the top of the stack. Raises: on memory only. */
const char *option_read(lua_State *L, int index, const struct option *option,
                        uint64_t *value);

/* Pushes a value as a script would write it (seconds, numbers, words). Raises: on memory. */
void option_push(lua_State *L, const struct option *option, uint64_t value);

uint64_t option_value(const struct option *option, const void *settings);
void option_store(const struct option *option, void *settings, uint64_t value);

#endif
