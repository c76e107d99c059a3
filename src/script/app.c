/* script/app.c - services, their hooks, options and addresses, each key checked. */
#include "script/app.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "base/text.h"
#include "script/framing.h"
#include "script/sockopt.h"
#include "script/source.h"
#include "script/version.h"
#include "script/vm.h"

#define LISTEN_MAX 64 /* addresses of one service */
#define SERVICES_MAX 256

static const char default_listen[] = "tcp://127.0.0.1:4343";

/* Where a key stands: in a service, beside the services, or in a lone service, which may have
 * both kinds. */
enum { OF_SERVICE = 1, OF_APP = 2 };

struct reading {
    struct version *version;
    struct script_service *service; /* that is being read; NULL: the outer table */
    unsigned scope;                 /* OF_SERVICE, OF_APP or both */
};

/* ---- Saying what is wrong ---- */

/* Raises "chat.lua:12: service 'chat': ..." for what is wrong with the value of `key`. */
static int wrong(lua_State *L, const struct reading *reading, const char *key,
                 const char *text)
{
    const struct version *version = reading->version;
    int line = key ? source_line_of_key(version->source, key) : 0;
    const char *place = lua_pushfstring(L, "%s:", source_path(version->source));
    if (line)
        place = lua_pushfstring(L, "%s%d:", place, line);
    if (reading->service && !version->lone)
        place = lua_pushfstring(L, "%s service '%s':", place, reading->service->name);
    return luaL_error(L, "%s %s", place, text);
}

/* Keys of a service that are neither hooks nor options. */
static const char *const service_keys[] = {"listen", "framing", "socket"};

/* All names that could have been meant at this place. */
static size_t known_keys(unsigned scope, const char **names, size_t room)
{
    size_t count = 0;
    if (scope & OF_APP)
        names[count++] = "services";
    for (size_t i = 0; i < ARRAY_LEN(service_keys) && (scope & OF_SERVICE); i++)
        names[count++] = service_keys[i];
    for (size_t i = 0; i < ON_COUNT && count < room; i++)
        if ((hook_rows[i].of_app && (scope & OF_APP)) ||
            (hook_rows[i].of_service && (scope & OF_SERVICE)))
            names[count++] = hook_rows[i].name;
    for (size_t i = 0; i < option_count && count < room; i++)
        if (option_rows[i].scope == OPTION_APP ? scope & OF_APP : scope & OF_SERVICE)
            names[count++] = option_rows[i].name;
    return count;
}

/* A key that is known, but not here. */
static const char *elsewhere(const char *key, unsigned scope)
{
    if (scope == OF_SERVICE && option_find(key, 1U << OPTION_APP))
        return "; it stands beside 'services', not in one of them";
    if (scope == OF_APP && option_find(key, 1U << OPTION_CONN | 1U << OPTION_SERVICE))
        return "; it stands in a service, not beside 'services'";
    for (size_t i = 0; i < ARRAY_LEN(service_keys); i++)
        if (strcmp(service_keys[i], key) == 0)
            return "; it stands in a service, not beside 'services'";
    for (size_t i = 0; i < ON_COUNT; i++)
        if (strcmp(hook_rows[i].name, key) == 0)
            return scope == OF_APP ? "; it stands in a service, not beside 'services'"
                                   : "; it stands beside 'services', not in one of them";
    return NULL;
}

static int unknown_key(lua_State *L, const struct reading *reading, const char *key)
{
    const char *names[96];
    size_t count = known_keys(reading->scope, names, ARRAY_LEN(names));
    const char *kind = strncmp(key, "on_", 3) == 0 ? "hook" : "key";
    const char *why = elsewhere(key, reading->scope);
    const char *near = why ? NULL : text_nearest(key, names, count);
    const char *text = lua_pushfstring(L, "unknown %s '%s'%s", kind, key, why ? why : "");
    if (near)
        text = lua_pushfstring(L, "%s; did you mean '%s'?", text, near);
    return wrong(L, reading, key, text);
}

/* ---- Addresses ---- */

static const struct {
    const char *name;
    enum transport transport;
} transports[] = {{"tcp", TRANSPORT_TCP},
                  {"udp", TRANSPORT_UDP},
                  {"unix", TRANSPORT_UNIX},
                  {"unixgram", TRANSPORT_UNIXGRAM}};

static const char *const address_keys[] = {"transport", "host", "port", "path"};

static bool check_address_keys(lua_State *L, int index, char *why)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(address_keys); i++)
            known |= strcmp(address_keys[i], key) == 0;
        if (known)
            continue;
        const char *near = text_nearest(key, address_keys, ARRAY_LEN(address_keys));
        snprintf(why, ADDR_WHY_MAX, "unknown key '%.40s' in an address table%s%s%s", key,
                 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return false;
    }
    return true;
}

/* { transport = "tcp", host = h, port = p } or { transport = "unix", path = p } */
static int read_address_table(lua_State *L, int index, struct addr *addr, char *why)
{
    if (!check_address_keys(L, index, why))
        return -1;
    lua_getfield(L, index, "transport");
    const char *name = luaL_optstring(L, -1, "tcp");
    const char *host =
        lua_getfield(L, index, "host") == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (!host && lua_getfield(L, index, "path") == LUA_TSTRING)
        host = lua_tostring(L, -1);
    bool local = strncmp(name, "unix", 4) == 0;
    lua_getfield(L, index, "port");
    lua_Integer port = local ? 0 : lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
    if (!host || port < 0 || port > 65535) {
        snprintf(
            why, ADDR_WHY_MAX,
            "an address table needs a host and a port from 0 (a free one) to 65535, or a "
            "path");
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(transports); i++)
        if (strcmp(transports[i].name, name) == 0)
            return addr_set(addr, transports[i].transport, host, (uint16_t)port, why);
    snprintf(why, ADDR_WHY_MAX,
             "transport must be \"tcp\", \"udp\", \"unix\" or \"unixgram\"");
    return -1;
}

static void read_address(lua_State *L, const struct reading *reading, int index)
{
    struct script_service *service = reading->service;
    char why[ADDR_WHY_MAX];
    int failed;
    struct addr *addr = &service->listen[service->listen_count];
    if (lua_isinteger(L, index)) { /* a bare port */
        const char *text = lua_pushfstring(L, "%I", lua_tointeger(L, index));
        failed = addr_parse(addr, text, why);
    } else if (lua_type(L, index) == LUA_TSTRING) {
        failed = addr_parse(addr, lua_tostring(L, index), why);
    } else if (lua_type(L, index) == LUA_TTABLE) {
        failed = read_address_table(L, index, addr, why);
    } else {
        wrong(L, reading, "listen",
              "'listen' must be an address like \"tcp://127.0.0.1:4343\"");
        return;
    }
    if (failed)
        wrong(L, reading, "listen", lua_pushfstring(L, "listen: %s", why));
    service->listen_count++;
}

static bool is_address_table(lua_State *L, int index)
{
    bool is = lua_getfield(L, index, "transport") != LUA_TNIL ||
              lua_getfield(L, index, "host") != LUA_TNIL ||
              lua_getfield(L, index, "path") != LUA_TNIL;
    return is;
}

static void read_listen(lua_State *L, const struct reading *reading, int index)
{
    struct script_service *service = reading->service;
    service->says_listen = true;
    bool list = lua_type(L, index) == LUA_TTABLE && !is_address_table(L, index);
    size_t count = list ? lua_rawlen(L, index) : 1;
    if (count > LISTEN_MAX)
        wrong(L, reading, "listen", "more than 64 addresses");
    service->listen = calloc(count ? count : 1, sizeof *service->listen);
    if (!service->listen)
        luaL_error(L, "not enough memory");
    if (!list) {
        read_address(L, reading, index);
        return;
    }
    for (size_t i = 1; i <= count; i++) {
        int top = lua_gettop(L);
        lua_rawgeti(L, index, (lua_Integer)i);
        read_address(L, reading, top + 1);
        lua_settop(L, top);
    }
}

/* ---- Socket options ---- */

/* socket = { { "SOL_SOCKET", "SO_RCVBUF", 65536 }, ... } */
static void read_sockopts(lua_State *L, const struct reading *reading, int index)
{
    struct script_service *service = reading->service;
    if (lua_type(L, index) != LUA_TTABLE || lua_rawlen(L, index) > SOCKOPT_MAX)
        wrong(L, reading, "socket",
              "'socket' must be a list like { { \"SOL_SOCKET\", \"SO_RCVBUF\", 65536 } }");
    size_t count = lua_rawlen(L, index);
    service->sockopts = calloc(count ? count : 1, sizeof *service->sockopts);
    if (!service->sockopts) {
        luaL_error(L, "not enough memory");
        return;
    }
    for (size_t i = 1; i <= count; i++) {
        if (lua_rawgeti(L, index, (lua_Integer)i) != LUA_TTABLE)
            wrong(L, reading, "socket",
                  "each of 'socket' must be a { level, name, value }");
        int row = lua_gettop(L);
        for (int k = 1; k <= 3; k++)
            lua_rawgeti(L, row, k);
        struct sockopt_value value = {0};
        struct socket_option *option = &service->sockopts[service->sockopt_count];
        const char *why = sockopt_read_level(L, row + 1, &option->level);
        if (!why)
            why = sockopt_read_name(L, row + 2, &option->name);
        if (why)
            wrong(L, reading, "socket", why);
        int type = lua_type(L, row + 3);
        if (type == LUA_TBOOLEAN || lua_isinteger(L, row + 3))
            sockopt_check_value(L, row + 3, &value);
        if (value.len != sizeof option->value)
            wrong(L, reading, "socket", "values of 'socket' are integers or booleans");
        option->value = value.number;
        service->sockopt_count++;
        lua_settop(L, row - 1);
    }
}

/* ---- Name servers ---- */

/* "127.0.0.1:53", "127.0.0.1", "[::1]:53", "::1". */
static bool parse_nameserver(const char *text, struct addr *addr)
{
    static const char *const around[][2] = {
        {"udp://", ""}, {"udp://", ":53"}, {"udp://[", "]:53"}};
    for (size_t i = 0; i < ARRAY_LEN(around); i++) {
        struct remote remote;
        char whole[ADDR_TEXT_MAX], why[ADDR_WHY_MAX];
        snprintf(whole, sizeof whole, "%s%s%s", around[i][0], text, around[i][1]);
        if (remote_parse(&remote, whole, why))
            continue;
        *addr = remote.addr;
        return !*remote.name && strcmp(addr->host, "localhost") != 0;
    }
    return false;
}

/* Appends one as c-ares takes it: "127.0.0.1:53", "[::1]:53". */
static void add_nameserver(lua_State *L, const struct reading *reading, const char *text)
{
    static const char key[] = "nameservers";
    struct version *version = reading->version;
    struct addr addr = {0};
    size_t len = strlen(version->nameservers);
    if (!parse_nameserver(text, &addr))
        wrong(L, reading, key,
              lua_pushfstring(L,
                              "'%s' is no name server: a numeric address is, as in "
                              "\"127.0.0.1\" or \"[::1]:5353\"",
                              text));
    int more = snprintf(version->nameservers + len, sizeof version->nameservers - len,
                        strchr(addr.host, ':') ? "%s[%s]:%u" : "%s%s:%u", len ? "," : "",
                        addr.host, (unsigned)addr.port);
    if (more < 0 || (size_t)more >= sizeof version->nameservers - len)
        wrong(L, reading, key, "'nameservers' has too many");
}

/* nameservers = { "127.0.0.1:5353", ... } */
static void read_nameservers(lua_State *L, const struct reading *reading, int index)
{
    bool is_list = lua_type(L, index) == LUA_TTABLE;
    size_t count = is_list ? lua_rawlen(L, index) : 0;
    for (size_t i = 1; i <= count; i++) {
        is_list &= lua_rawgeti(L, index, (lua_Integer)i) == LUA_TSTRING;
        if (is_list)
            add_nameserver(L, reading, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (!is_list || count == 0)
        wrong(L, reading, "nameservers",
              "'nameservers' must be a list of addresses, like { \"127.0.0.1:5353\" }");
}

/* ---- Keys ---- */

static void read_framing(lua_State *L, const struct reading *reading, int index)
{
    struct framing *framing = framing_read(L, index);
    if (!framing)
        wrong(L, reading, "framing", lua_tostring(L, -1));
    reading->service->net.framing = framing;
}

static bool read_hook(lua_State *L, const struct reading *reading, const char *key,
                      int index)
{
    for (size_t i = 0; i < ON_COUNT; i++) {
        const struct hook_row *row = &hook_rows[i];
        bool app = row->of_app && (reading->scope & OF_APP);
        bool service = row->of_service && reading->service;
        if (strcmp(row->name, key) != 0 || (!app && !service))
            continue;
        if (lua_type(L, index) != LUA_TFUNCTION)
            wrong(L, reading, key,
                  lua_pushfstring(L, "'%s' must be a function, not a %s", key,
                                  luaL_typename(L, index)));
        lua_pushvalue(L, index);
        int *hooks = app ? reading->version->hooks : reading->service->hooks;
        hooks[i] = luaL_ref(L, LUA_REGISTRYINDEX);
        return true;
    }
    return false;
}

static bool read_option(lua_State *L, const struct reading *reading, const char *key,
                        int index)
{
    unsigned scopes = 0;
    if (reading->scope & OF_SERVICE)
        scopes |= 1U << OPTION_CONN | 1U << OPTION_SERVICE;
    if (reading->scope & OF_APP)
        scopes |= 1U << OPTION_APP;
    const struct option *option = option_find(key, scopes);
    if (!option)
        return false;
    uint64_t value;
    const char *why = option_read(L, index, option, &value);
    if (why)
        wrong(L, reading, key, why);
    bool app = option->scope == OPTION_APP;
    option_store(option,
                 app ? (void *)&reading->version->settings : &reading->service->settings,
                 value);
    return true;
}

static void read_key(lua_State *L, const struct reading *reading, const char *key,
                     int index)
{
    bool in_service = reading->scope & OF_SERVICE;
    if (in_service && strcmp(key, "listen") == 0)
        read_listen(L, reading, index);
    else if (in_service && strcmp(key, "framing") == 0)
        read_framing(L, reading, index);
    else if (in_service && strcmp(key, "socket") == 0)
        read_sockopts(L, reading, index);
    else if ((reading->scope & OF_APP) && strcmp(key, "nameservers") == 0)
        read_nameservers(L, reading, index);
    else if (strcmp(key, "services") == 0 && reading->scope == OF_APP)
        return;
    else if (!read_hook(L, reading, key, index) && !read_option(L, reading, key, index))
        unknown_key(L, reading, key);
}

static void read_keys(lua_State *L, const struct reading *reading, int index)
{
    luaL_checkstack(L, 64, NULL);
    for (lua_pushnil(L); lua_next(L, index);) {
        int value = lua_gettop(L);
        if (lua_type(L, value - 1) != LUA_TSTRING)
            wrong(L, reading, NULL,
                  lua_pushfstring(L, "a key is a %s; keys are names, like on_message",
                                  luaL_typename(L, value - 1)));
        read_key(L, reading, lua_tostring(L, value - 1), value);
        lua_settop(L, value - 1);
    }
}

/* ---- Services ---- */

static void start_service(lua_State *L, struct version *version, const char *name)
{
    struct script_service *service = &version->services[version->service_count];
    service->vm = version->vm;
    service->version = version;
    for (size_t i = 0; i < ON_COUNT; i++)
        service->hooks[i] = LUA_NOREF;
    strncpy(service->name, name, sizeof service->name - 1);
    options_init_service(&service->settings);
    version->service_count++;
    (void)L;
}

/* A session reads what those hooks would be given. */
static void check_session(lua_State *L, struct script_service *service)
{
    static const enum hook others[] = {ON_MESSAGE, ON_EOF, ON_IDLE, ON_DRAIN};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (service->hooks[ON_SESSION] == LUA_NOREF ||
            service->hooks[others[i]] == LUA_NOREF)
            continue;
        struct reading reading = {.version = service->version, .service = service};
        const char *name = hook_rows[others[i]].name;
        wrong(L, &reading, name,
              lua_pushfstring(L,
                              "on_session stands instead of %s: read in it with conn:read "
                              "or conn:messages",
                              name));
    }
}

static void finish_service(lua_State *L, struct script_service *service)
{
    struct service *net = &service->net;
    net->name = service->name;
    net->ops = &hook_ops;
    for (size_t i = 0; i < ON_COUNT; i++)
        if (service->hooks[i] != LUA_NOREF)
            net->hooks |= hook_rows[i].net;
    net->options = service->settings.conn;
    net->sessions = service->settings.sessions;
    net->max_waiting = (uint32_t)service->settings.max_waiting;
    net->reply_limit = service->settings.reply_limit;
    if (!net->framing && !(net->framing = framing_raw(vm_of(L))))
        luaL_error(L, "not enough memory");
    check_session(L, service);
    if (strcmp(net->framing->codec.ops->name, "fixed") == 0 &&
        net->framing->codec.as.fixed.len > net->options.max_message) {
        struct reading reading = {.version = service->version, .service = service};
        wrong(L, &reading, "framing", "fixed: the length is over max_message");
    }
}

static bool is_service_name(const char *name)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len < SERVICE_NAME_MAX && !isdigit((unsigned char)name[0]);
    for (size_t i = 0; i < len && ok; i++)
        ok = isalnum((unsigned char)name[i]) || name[i] == '_' || (i && name[i] == '-');
    return ok;
}

static void allocate_services(lua_State *L, struct version *version, size_t count)
{
    version->services = calloc(count ? count : 1, sizeof *version->services);
    if (!version->services)
        luaL_error(L, "not enough memory");
}

static void read_lone(lua_State *L, int index, struct version *version)
{
    version->lone = true;
    allocate_services(L, version, 1);
    start_service(L, version, "main");
    struct script_service *service = &version->services[0];
    struct reading reading = {version, service, OF_SERVICE | OF_APP};
    read_keys(L, &reading, index);
    if (!service->says_listen) {
        char why[ADDR_WHY_MAX];
        service->listen = calloc(1, sizeof *service->listen);
        if (!service->listen || addr_parse(service->listen, default_listen, why))
            luaL_error(L, "not enough memory");
        service->listen_count = 1;
    }
    finish_service(L, service);
}

static size_t count_services(lua_State *L, const struct reading *reading, int index)
{
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1), count++) {
        if (lua_type(L, -2) != LUA_TSTRING || !is_service_name(lua_tostring(L, -2)))
            wrong(L, reading, "services",
                  "the keys of 'services' are names: letters, digits, '_' and '-'");
        if (lua_type(L, -1) != LUA_TTABLE)
            wrong(L, reading, lua_tostring(L, -2),
                  lua_pushfstring(L, "service '%s' must be a table", lua_tostring(L, -2)));
    }
    if (count == 0 || count > SERVICES_MAX)
        wrong(L, reading, "services", "'services' must hold 1 to 256 services");
    return count;
}

/* lua_next has no order; services have one that is the same in every worker: by name. */
static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct script_service *)a)->name,
                  ((const struct script_service *)b)->name);
}

static void read_services(lua_State *L, int index, struct version *version)
{
    struct reading outer = {version, NULL, OF_APP};
    read_keys(L, &outer, index);
    lua_getfield(L, index, "services");
    int services = lua_gettop(L);
    if (!lua_istable(L, services))
        wrong(L, &outer, "services", "'services' must be a table of services by name");
    allocate_services(L, version, count_services(L, &outer, services));
    for (lua_pushnil(L); lua_next(L, services); lua_pop(L, 1))
        start_service(L, version, lua_tostring(L, -2));
    qsort(version->services, version->service_count, sizeof *version->services, by_name);
    for (size_t i = 0; i < version->service_count; i++) {
        struct script_service *service = &version->services[i];
        struct reading reading = {version, service, OF_SERVICE};
        lua_getfield(L, services, service->name);
        read_keys(L, &reading, lua_gettop(L));
        lua_pop(L, 1);
        if (!service->says_listen)
            wrong(L, &reading, service->name,
                  "'listen' is missing: among several services each says its own");
        finish_service(L, service);
    }
}

void app_read(lua_State *L, int index, struct version *version)
{
    struct reading reading = {version, NULL, OF_APP};
    if (!lua_istable(L, index))
        wrong(L, &reading, NULL,
              lua_pushfstring(L,
                              "the script returned %s%s; it must return a table with its "
                              "hooks, as in: return { on_message = function(conn, message) "
                              "return message end }",
                              lua_isnoneornil(L, index) ? "" : "a ",
                              lua_isnoneornil(L, index) ? "nothing"
                                                        : luaL_typename(L, index)));
    bool several = lua_getfield(L, index, "services") != LUA_TNIL;
    lua_pop(L, 1);
    if (several)
        read_services(L, index, version);
    else
        read_lone(L, index, version);
}
