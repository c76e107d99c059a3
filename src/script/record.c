/* script/record.c - neap.log, print, and what every record of a worker carries. */
#include "script/record.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/text.h"
#include "io/io.h"
#include "net/conn.h"
#include "script/call.h"
#include "script/eval.h"
#include "script/version.h"
#include "script/vm.h"

#define CONTEXT_FIELDS 5

struct log_field record_string(const char *key, const char *text)
{
    return (struct log_field){.key = key,
                              .key_len = strlen(key),
                              .kind = LOG_STRING,
                              .as.string = {text, strlen(text)}};
}

struct log_field record_integer(const char *key, int64_t value)
{
    return (struct log_field){
        .key = key, .key_len = strlen(key), .kind = LOG_INTEGER, .as.integer = value};
}

/* ---- on_log ---- */

struct logged {
    const struct log_record *record;
    char *line; /* what replaces it, with its newline */
    size_t line_len;
    bool drop;
};

static void push_field(lua_State *L, const struct log_field *field)
{
    lua_pushlstring(L, field->key, field->key_len);
    switch (field->kind) {
    case LOG_STRING:
        lua_pushlstring(L, field->as.string.bytes, field->as.string.len);
        break;
    case LOG_INTEGER:
        lua_pushinteger(L, field->as.integer);
        break;
    case LOG_NUMBER:
        lua_pushnumber(L, field->as.number);
        break;
    case LOG_BOOLEAN:
        lua_pushboolean(L, field->as.boolean);
        break;
    }
    lua_rawset(L, -3);
}

static int push_on_log(lua_State *L, struct call *call)
{
    const struct logged *logged = call->argument;
    const struct log_record *record = logged->record;
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    lua_createtable(L, 0, 4);
    lua_pushnumber(L, record->time_s);
    lua_setfield(L, -2, "time");
    lua_pushstring(L, log_level_names[record->level]);
    lua_setfield(L, -2, "level");
    lua_pushlstring(L, record->message, record->message_len);
    lua_setfield(L, -2, "message");
    lua_createtable(L, 0, (int)record->field_count);
    for (size_t i = 0; i < record->field_count; i++)
        push_field(L, &record->fields[i]);
    lua_setfield(L, -2, "fields");
    return 1;
}

/* A script's line is a line too: what cannot be seen is escaped. */
static const char *take_on_log(lua_State *L, struct call *call)
{
    struct logged *logged = call->result;
    int type = lua_type(L, CALL_RESULT);
    logged->drop = type == LUA_TBOOLEAN && !lua_toboolean(L, CALL_RESULT);
    if (type != LUA_TSTRING)
        return type == LUA_TNONE || type == LUA_TNIL || type == LUA_TBOOLEAN
                   ? NULL
                   : "must return a string, false or nil";
    size_t len;
    const char *text = lua_tolstring(L, CALL_RESULT, &len);
    struct buf out = {0};
    if (text_escape(&out, TEXT_ESCAPE_LOG, text, len) || buf_append(&out, "\n", 1)) {
        buf_fini(&out);
        return NULL;
    }
    logged->line = buf_bytes(&out);
    logged->line_len = buf_len(&out);
    return NULL;
}

/* False: the record is to be written as it is. */
static bool ask_on_log(struct vm *vm, const struct log_record *record)
{
    struct version *version = call_version(vm);
    if (!version || version->state == VERSION_LOADING || vm->logging ||
        version->hooks[ON_LOG] == LUA_NOREF)
        return false;
    struct logged logged = {.record = record};
    struct call call = {.vm = vm,
                        .version = version,
                        .what = "on_log",
                        .push = push_on_log,
                        .take = take_on_log,
                        .argument = &logged,
                        .result = &logged,
                        .function = version->hooks[ON_LOG]};
    vm->logging = true;
    bool ok = call_run(&call) == CALL_OK;
    vm->logging = false;
    free(call.error);
    if (logged.line)
        log_write_raw(vm->host.log, logged.line, logged.line_len);
    free(logged.line);
    return ok && (logged.drop || logged.line_len);
}

/* ---- Writing ---- */

static const struct conn *conn_of(const struct vm *vm, const struct record *record)
{
    if (record->conn || record->no_conn)
        return record->conn;
    for (const struct call *call = vm->call; call; call = call->outer)
        if (call->conn)
            return call->conn;
    return NULL;
}

static size_t add_context(const struct vm *vm, const struct conn *conn, char *peer,
                          struct log_field *fields)
{
    size_t count = 0;
    const struct version *version =
        conn && conn->service ? service_of(conn)->version : NULL;
    if (!version) /* outside of connections, or on one that a script has opened for itself */
        version = call_version(vm);
    if (vm->host.workers > 1)
        fields[count++] = record_integer("worker", vm->host.worker);
    if (conn && conn->service) {
        struct endpoint at;
        conn_peer(conn, &at);
        endpoint_format(&at, peer);
        fields[count++] = record_integer("conn", (int64_t)conn_number(conn));
        if (*peer)
            fields[count++] = record_string("peer", peer);
        if (version && !version->lone && *conn->service->name)
            fields[count++] = record_string("service", conn->service->name);
    }
    if (version)
        fields[count++] = record_integer("version", version->number);
    return count;
}

void record_write(struct vm *vm, const struct record *record)
{
    struct log *log = vm->host.log;
    if (!log || !log_is_enabled(log, record->level))
        return;
    struct log_field fields[RECORD_FIELDS_MAX + CONTEXT_FIELDS];
    char peer[ADDR_TEXT_MAX];
    size_t count = record->field_count;
    if (count)
        memcpy(fields, record->fields, count * sizeof *fields);
    count += add_context(vm, conn_of(vm, record), peer, fields + count);
    struct log_record out = {.level = record->level,
                             .time_s = vm->host.io->ops->wall_s(vm->host.io),
                             .message = record->message,
                             .message_len = record->message_len,
                             .fields = fields,
                             .field_count = count};
    if (!ask_on_log(vm, &out))
        log_write(log, &out);
}

/* ---- For scripts ---- */

static struct log_field read_field(lua_State *L, const char *key, size_t key_len)
{
    struct log_field field = {.key = key, .key_len = key_len, .kind = LOG_STRING};
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
        field.kind = lua_isinteger(L, -1) ? LOG_INTEGER : LOG_NUMBER;
        if (field.kind == LOG_INTEGER)
            field.as.integer = lua_tointeger(L, -1);
        else
            field.as.number = lua_tonumber(L, -1);
        return field;
    case LUA_TBOOLEAN:
        field.kind = LOG_BOOLEAN;
        field.as.boolean = lua_toboolean(L, -1);
        return field;
    default:
        field.as.string.bytes = luaL_tolstring(L, -1, &field.as.string.len);
        return field;
    }
}

/* lua_next has no order, and lines that say the same should look the same. */
static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct log_field *)a)->key, ((const struct log_field *)b)->key);
}

/* Leaves the texts it points at on the stack. */
static size_t read_fields(lua_State *L, int index, struct log_field *fields)
{
    size_t count = 0;
    luaL_checkstack(L, 3 * RECORD_FIELDS_MAX, "log fields");
    int top;
    for (lua_pushnil(L); lua_next(L, index); count++) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "log fields must have names, not a %s", luaL_typename(L, -2));
        if (count == RECORD_FIELDS_MAX)
            luaL_error(L, "more than %d log fields", RECORD_FIELDS_MAX);
        size_t key_len;
        const char *key = lua_tolstring(L, -2, &key_len);
        fields[count] = read_field(L, key, key_len);
        /* The text below, the key on top again for lua_next. */
        top = lua_gettop(L);
        bool made_text = fields[count].kind == LOG_STRING;
        lua_pushvalue(L, made_text ? top - 2 : top - 1);
    }
    qsort(fields, count, sizeof *fields, by_key);
    return count;
}

static int write_log(lua_State *L, enum log_level level)
{
    struct vm *vm = vm_of(L);
    size_t len;
    const char *message = luaL_checklstring(L, 1, &len);
    lua_settop(L, 2);
    bool has_fields = !lua_isnil(L, 2);
    if (has_fields)
        luaL_checktype(L, 2, LUA_TTABLE);
    if (!vm->host.log || !log_is_enabled(vm->host.log, level))
        return 0;
    struct log_field fields[RECORD_FIELDS_MAX];
    size_t count = has_fields ? read_fields(L, 2, fields) : 0;
    record_write(vm, &(struct record){.level = level,
                                      .message = message,
                                      .message_len = len,
                                      .fields = fields,
                                      .field_count = count});
    return 0;
}

static int l_log_debug(lua_State *L)
{
    return write_log(L, LOG_DEBUG);
}

static int l_log_info(lua_State *L)
{
    return write_log(L, LOG_INFO);
}

static int l_log_warn(lua_State *L)
{
    return write_log(L, LOG_WARN);
}

static int l_log_error(lua_State *L)
{
    return write_log(L, LOG_ERROR);
}

int l_print(lua_State *L)
{
    int count = lua_gettop(L);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&text, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    size_t len;
    const char *message = lua_tolstring(L, -1, &len);
    const struct eval_ops *eval = vm_of(L)->eval;
    if (eval) {
        eval->on_output(eval->owner, message, len);
        return 0;
    }
    record_write(vm_of(L), &(struct record){
                               .level = LOG_INFO, .message = message, .message_len = len});
    return 0;
}

static const luaL_Reg functions[] = {
    {"debug", l_log_debug}, {"info", l_log_info}, {"warn", l_log_warn},
    {"error", l_log_error}, {NULL, NULL},
};

void record_open(lua_State *L)
{
    luaL_newlib(L, functions);
}
