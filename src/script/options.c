/* script/options.c - the table of options, and reading a value for a row. */
#include "script/options.h"

#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/text.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define DAY_MS 86400000ULL
#define YEAR_MS (366 * DAY_MS)

static const char *const overflow_names[] = {"close", "drop", NULL};
static const char *const level_names[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_names[] = {"text", "logfmt", "json", NULL};
static const char *const workers_names[] = {"auto", NULL};

#define CONN(field) offsetof(struct service_settings, conn.field)
#define SERVICE(field) offsetof(struct service_settings, field)
#define APP(field) offsetof(struct app_settings, field)

const struct option option_rows[] = {
    {"idle_timeout", OPTION_CONN, OPTION_SECONDS, CONN(idle_timeout_ms), CONN_IDLE_DEFAULT,
     0, YEAR_MS, NULL, "none; datagram peers 30 s",
     "no byte received and none taken by the peer; 0 is none"},
    {"message_timeout", OPTION_CONN, OPTION_SECONDS, CONN(message_timeout_ms), 30000, 0,
     YEAR_MS, NULL, NULL, "one message from its first byte to its last; 0 is none"},
    {"send_timeout", OPTION_CONN, OPTION_SECONDS, CONN(send_timeout_ms), 60000, 0, YEAR_MS,
     NULL, NULL, "output that makes no progress; 0 is none"},
    {"linger", OPTION_CONN, OPTION_SECONDS, CONN(linger_ms), 5000, 0, YEAR_MS, NULL, NULL,
     "last bytes after close"},
    {"max_message", OPTION_CONN, OPTION_SIZE, CONN(max_message), MIB, 1, GIB, NULL, NULL,
     "one message"},
    {"max_read", OPTION_CONN, OPTION_SIZE, CONN(max_read), 16 * MIB, 1, GIB, NULL, NULL,
     "bytes that conn:read is asked for"},
    {"high_water", OPTION_CONN, OPTION_SIZE, CONN(high_water), MIB, 1, GIB, NULL, NULL,
     "output queued before send says \"full\" and reading pauses; low water is half"},
    {"max_output", OPTION_CONN, OPTION_SIZE, CONN(max_output), 8 * MIB, 1, GIB, NULL, NULL,
     "output queued at all"},
    {"overflow", OPTION_CONN, OPTION_CHOICE, CONN(overflow), OVERFLOW_CLOSE, 0, 0,
     overflow_names, NULL,
     "what a message over max_output does: close the connection, or be dropped"},
    {"sessions", OPTION_SERVICE, OPTION_BOOL, SERVICE(sessions), 1, 0, 1, NULL, NULL,
     "datagram peers are connections; false: each datagram stands alone"},
    {"max_waiting", OPTION_SERVICE, OPTION_COUNT, SERVICE(max_waiting), 1024, 1, 1U << 22,
     NULL, NULL,
     "with sessions = false: datagrams whose hooks wait at once, for each worker"},
    {"reply_limit", OPTION_SERVICE, OPTION_BOOL, SERVICE(reply_limit), 1, 0, 1, NULL, NULL,
     "a datagram peer is sent at most 3 times what it sent plus 1,200 bytes until it is "
     "heard "
     "again"},
    {"nodelay", OPTION_SERVICE, OPTION_BOOL, SERVICE(nodelay), 1, 0, 1, NULL, NULL,
     "TCP_NODELAY"},
    {"keepalive", OPTION_SERVICE, OPTION_SECONDS, SERVICE(keepalive_ms), 60000, 0, 32767000,
     NULL, NULL, "idle seconds before TCP asks whether the peer is there; 0 is never"},
    {"workers", OPTION_APP, OPTION_COUNT, APP(workers), 1, 1, 256, workers_names, NULL,
     "threads, each with a loop and a Lua state; \"auto\" is one per core"},
    {"max_connections", OPTION_APP, OPTION_COUNT, APP(max_connections), OPTION_UNSET, 1,
     1U << 22, NULL, "descriptor limit less 64",
     "stream connections, all workers together"},
    {"max_connections_per_ip", OPTION_APP, OPTION_COUNT, APP(max_connections_per_ip), 0, 0,
     1U << 22, NULL, "none",
     "stream connections from one address; loopback and Unix exempt"},
    {"accept_rate", OPTION_APP, OPTION_COUNT, APP(accept_rate), 0, 0, 10000000, NULL,
     "none", "stream connections a second; loopback and Unix exempt"},
    {"max_peers", OPTION_APP, OPTION_COUNT, APP(max_peers), 65536, 1, 1U << 22, NULL, NULL,
     "datagram peers, all workers together"},
    {"max_buffered", OPTION_APP, OPTION_SIZE, APP(max_buffered), 256 * MIB, MIB, 1024 * GIB,
     NULL, NULL, "input and output that one worker holds for all connections"},
    {"lua_memory", OPTION_APP, OPTION_SIZE, APP(lua_memory), 256 * MIB, MIB, 1024 * GIB,
     NULL, NULL, "Lua memory of one worker"},
    {"hook_timeout", OPTION_APP, OPTION_SECONDS, APP(hook_timeout_ms), 100, 10, YEAR_MS,
     NULL, NULL, "CPU time of one hook"},
    {"load_timeout", OPTION_APP, OPTION_SECONDS, APP(load_timeout_ms), 5000, 100, YEAR_MS,
     NULL, NULL, "loading the script in a worker"},
    {"drain_timeout", OPTION_APP, OPTION_SECONDS, APP(drain_timeout_ms), 30000, 0, YEAR_MS,
     NULL, NULL, "from the order to stop until connections are aborted"},
    {"log_level", OPTION_APP, OPTION_CHOICE, APP(log_level), LOG_INFO, 0, 0, level_names,
     NULL, "the least level that is logged"},
    {"log_format", OPTION_APP, OPTION_CHOICE, APP(log_format), OPTION_UNSET, 0, 0,
     format_names, "text on a terminal, else logfmt", "how log records are written"},
};

const size_t option_count = ARRAY_LEN(option_rows);

uint64_t option_value(const struct option *option, const void *settings)
{
    uint64_t value;
    memcpy(&value, (const char *)settings + option->offset, sizeof value);
    return value;
}

void option_store(const struct option *option, void *settings, uint64_t value)
{
    memcpy((char *)settings + option->offset, &value, sizeof value);
}

void options_init_service(struct service_settings *settings)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_rows[i].scope != OPTION_APP)
            option_store(&option_rows[i], settings, option_rows[i].initial);
}

void options_init_app(struct app_settings *settings)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_rows[i].scope == OPTION_APP)
            option_store(&option_rows[i], settings, option_rows[i].initial);
}

const struct option *option_find(const char *name, unsigned scopes)
{
    for (size_t i = 0; i < option_count; i++)
        if ((scopes & 1U << option_rows[i].scope) && strcmp(option_rows[i].name, name) == 0)
            return &option_rows[i];
    return NULL;
}

static bool read_choice(lua_State *L, int index, const struct option *option,
                        uint64_t *value)
{
    const char *word = lua_tostring(L, index);
    for (uint64_t i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], word) == 0) {
            *value = option->kind == OPTION_COUNT ? OPTION_WORKERS_AUTO : i;
            return true;
        }
    return false;
}

static bool in_bounds(const struct option *option, uint64_t value)
{
    return value >= option->least && value <= option->most;
}

static bool read_seconds(lua_State *L, int index, const struct option *option,
                         uint64_t *value)
{
    double seconds = lua_tonumber(L, index);
    if (!(seconds >= 0) || seconds > (double)YEAR_MS / 1e3)
        return false;
    *value = (uint64_t)ceil(seconds * 1e3);
    return in_bounds(option, *value);
}

static bool read_count(lua_State *L, int index, const struct option *option,
                       uint64_t *value)
{
    int is_integer;
    lua_Integer number = lua_tointegerx(L, index, &is_integer);
    if (!is_integer || number < 0)
        return false;
    *value = (uint64_t)number;
    return in_bounds(option, *value);
}

static bool read_value(lua_State *L, int index, const struct option *option,
                       uint64_t *value)
{
    int type = lua_type(L, index);
    if (type == LUA_TSTRING && option->choices)
        return read_choice(L, index, option, value);
    switch (option->kind) {
    case OPTION_SIZE:
        if (type == LUA_TSTRING)
            return text_parse_size(lua_tostring(L, index), value) == 0 &&
                   in_bounds(option, *value);
        return type == LUA_TNUMBER && read_count(L, index, option, value);
    case OPTION_SECONDS:
        return type == LUA_TNUMBER && read_seconds(L, index, option, value);
    case OPTION_COUNT:
        return type == LUA_TNUMBER && read_count(L, index, option, value);
    case OPTION_BOOL:
        *value = (uint64_t)lua_toboolean(L, index);
        return type == LUA_TBOOLEAN;
    case OPTION_CHOICE:
        return false;
    }
    return false;
}

static void push_expected(lua_State *L, const struct option *option)
{
    luaL_Buffer words;
    switch (option->kind) {
    case OPTION_SIZE:
        lua_pushfstring(L, "a size from %I to %I bytes, like 65536 or \"64K\"",
                        (lua_Integer)option->least, (lua_Integer)option->most);
        return;
    case OPTION_SECONDS:
        lua_pushfstring(L, "a number of seconds, like 30, from %f to %f",
                        (double)option->least / 1e3, (double)option->most / 1e3);
        return;
    case OPTION_COUNT:
        lua_pushfstring(L, "a whole number from %I to %I%s", (lua_Integer)option->least,
                        (lua_Integer)option->most, option->choices ? " or \"auto\"" : "");
        return;
    case OPTION_BOOL:
        lua_pushliteral(L, "true or false");
        return;
    case OPTION_CHOICE:
        luaL_buffinit(L, &words);
        for (size_t i = 0; option->choices[i]; i++) {
            luaL_addstring(&words, i ? " or \"" : "\"");
            luaL_addstring(&words, option->choices[i]);
            luaL_addchar(&words, '"');
        }
        luaL_pushresult(&words);
        return;
    }
}

const char *option_read(lua_State *L, int index, const struct option *option,
                        uint64_t *value)
{
    index = lua_absindex(L, index);
    if (read_value(L, index, option, value))
        return NULL;
    push_expected(L, option);
    const char *got = luaL_tolstring(L, index, NULL);
    bool quoted = lua_type(L, index) == LUA_TSTRING;
    lua_pushfstring(L, "'%s' must be %s, not %s%s%s", option->name, lua_tostring(L, -2),
                    quoted ? "\"" : "", got, quoted ? "\"" : "");
    return lua_tostring(L, -1);
}

void option_push(lua_State *L, const struct option *option, uint64_t value)
{
    if (option->kind == OPTION_BOOL) {
        lua_pushboolean(L, value != 0);
    } else if (option->kind == OPTION_CHOICE) {
        lua_pushstring(L, option->choices[value]);
    } else if (option->kind != OPTION_SECONDS) {
        lua_pushinteger(L, (lua_Integer)value);
    } else {
        lua_pushnumber(L, (double)value / 1e3);
    }
}
