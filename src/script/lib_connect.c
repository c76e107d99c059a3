/* script/lib_connect.c - connecting and looking up, in the middle of a hook. */
#include "script/lib_connect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "base/text.h"
#include "net/connect.h"
#include "net/dgram.h"
#include "net/reactor.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "script/children.h"
#include "script/framing.h"
#include "script/lib_conn.h"
#include "script/lib_task.h"
#include "script/run.h"
#include "script/services.h"
#include "script/version.h"
#include "script/vm.h"
#include "script/wait.h"

#define TIMEOUT_MS 5000U
#define KEEPALIVE_S 60U

/* Under way, for a hook or a task. */
struct outbound {
    struct connect *connect;
    struct run *run; /* that waits for it */
    struct vm *vm;
    uint64_t number;                  /* of the connection */
    char service[SERVICE_NAME_MAX];   /* "": none */
    char address[ADDR_NAME_MAX + 32]; /* as the script has it, for messages */
};

/* Stack indices of connect. */
enum { AT_ADDRESS = 1, AT_OPTIONS, AT_FRAMING, AT_TOP = AT_FRAMING };

/* ---- Arguments ---- */

static const char *const keys[] = {"timeout", "framing", "service"};

static int unknown_key(lua_State *L, const char *key)
{
    const char *near = text_nearest(key, keys, ARRAY_LEN(keys));
    return near ? luaL_error(L, "unknown option '%s' of neap.connect; did you mean '%s'?",
                             key, near)
                : luaL_error(L,
                             "unknown option '%s' of neap.connect; there are timeout, "
                             "framing, service",
                             key);
}

static void check_keys(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, AT_OPTIONS); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
            known |= strcmp(key, keys[i]) == 0;
        if (!known)
            unknown_key(L, key);
    }
}

static uint64_t check_timeout(lua_State *L, int index)
{
    uint64_t timeout_ms = wait_check_timeout(L, index);
    return timeout_ms == WAIT_FOR_EVER ? TIMEOUT_MS : timeout_ms;
}

static const char *check_service(lua_State *L, struct version *version)
{
    if (lua_getfield(L, AT_OPTIONS, "service") == LUA_TNIL)
        return "";
    const char *name = luaL_checkstring(L, -1);
    if (version_service(version, name))
        return name;
    luaL_error(L, "neap.connect: there is no service '%s'", name);
    return NULL;
}

/* ---- The owner ---- */

/* The connection that what is opened now belongs to; NULL: the version's. */
static struct conn *owner_of(const struct vm *vm)
{
    uint64_t slot;
    const struct call *call = vm->call;
    if (call->conn)
        return call->conn;
    return lib_task_owner(call, &slot) ? conn_find(vm->host.reactor, slot) : NULL;
}

/* At a stop connections have time to end, and on_stop; nothing new begins. */
static bool is_too_late(const struct vm *vm)
{
    const struct reactor *reactor = vm->host.reactor;
    bool is_for_end = owner_of(vm) || vm->call->outlives;
    return reactor->aborted || (reactor->stopping && !is_for_end);
}

static int adopt(const struct vm *vm, struct conn *conn)
{
    struct conn *owner = owner_of(vm);
    struct children *children = owner ? children_of(owner) : &vm->call->version->children;
    conn->follows = owner != NULL;
    return children ? children_add_conn(children, conn) : -ENOMEM;
}

/* ---- What it came to ---- */

static const char stopping_text[] = "the server stops";

static void free_outbound(struct outbound *outbound)
{
    connect_free(outbound->connect);
    free(outbound);
}

/* Not opened: its place among the connections is free again. */
static void drop(struct outbound *outbound)
{
    outbound->vm->host.dismiss(outbound->vm->host.owner);
    free_outbound(outbound);
}

static int push_failure(lua_State *L, const char *address, const char *why,
                        const char *code)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", address, why);
    lua_pushstring(L, code);
    return 3;
}

/* Nothing is held any more when Lua is asked for memory. */
static int fail(lua_State *L, struct outbound *outbound, const char *why, const char *code)
{
    char address[sizeof outbound->address];
    memcpy(address, outbound->address, sizeof address);
    counters_add(&outbound->vm->host.reactor->counters, COUNTER_CONNECT_FAILED, 1);
    drop(outbound);
    return push_failure(L, address, why, code);
}

static struct conn *open_conn(struct outbound *outbound, struct service *service)
{
    struct reactor *reactor = outbound->vm->host.reactor;
    struct connect *connect = outbound->connect;
    enum transport transport = connect->remote.addr.transport;
    int fd = connect_take(connect);
    if (!transport_is_stream(transport))
        return dgram_open_outbound(reactor, service, fd, transport, &connect->at,
                                   outbound->number);
    struct stream_origin origin = {
        .fd = fd, .transport = transport, .peer = &connect->at, .number = outbound->number};
    return stream_open_outbound(reactor, service, &origin);
}

/* The service whose hooks its events run: as the version that calls has it, if that is a candidate;
 * NULL: no version that serves has it. */
static struct service *find_service(struct vm *vm, const char *name)
{
    struct version *version = vm->call->version;
    if (!*name)
        return vm->unserved;
    return version->exposed ? version_aside(version, name)
                            : services_find_serving(vm, name);
}

static int succeed(lua_State *L, struct outbound *outbound)
{
    struct vm *vm = outbound->vm;
    struct service *service = find_service(vm, outbound->service);
    if (!service)
        return fail(L, outbound, "its service is gone", "ECLOSED");
    struct framing **framing = lua_touserdata(L, AT_FRAMING);
    struct conn *conn = open_conn(outbound, service);
    if (!conn)
        return fail(L, outbound, "out of memory", "ENOMEM");
    if (service == vm->unserved)
        conn->version = vm->call->version->number;
    if (framing) {
        framing_ref(*framing);
        if (conn_set_framing(conn, *framing)) /* a datagram has none */
            framing_unref(*framing);
    }
    if (adopt(vm, conn))
        conn_abort(conn, REASON_ERROR, "out of memory");
    free_outbound(outbound);
    lib_conn_push(L, conn);
    return 1;
}

static int conclude(lua_State *L, struct outbound *outbound)
{
    const struct connect *connect = outbound->connect;
    if (is_too_late(outbound->vm))
        return fail(L, outbound, stopping_text, "ECLOSED");
    return connect->fd >= 0
               ? succeed(L, outbound)
               : fail(L, outbound, connect_why(connect), connect_code(connect));
}

/* ---- Waiting for it ---- */

static void on_connected(struct connect *connect)
{
    struct outbound *outbound = connect->owner;
    wait_wake(outbound->run);
}

/* What is opened in on_start waits for the version to serve: before that its services do not. */
static bool is_over(struct run *run)
{
    const struct outbound *outbound = run->wait.subject;
    return outbound->connect->over && run->call->version->state != VERSION_STARTING;
}

static void abandon(struct run *run)
{
    drop(run->wait.subject);
}

static int has_connected(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct run *run = wait_run(L);
    if (run->wait.end == WAIT_READY)
        return conclude(L, run->wait.subject);
    drop(run->wait.subject);
    return wait_push_closed(L);
}

/* ---- neap.connect ---- */

static struct bind_options socket_options(struct version *version, const char *service)
{
    const struct script_service *of = *service ? version_service(version, service) : NULL;
    if (!of)
        return (struct bind_options){.nodelay = true, .keepalive_s = KEEPALIVE_S};
    return (struct bind_options){.nodelay = of->settings.nodelay,
                                 .keepalive_s =
                                     (unsigned)(of->settings.keepalive_ms / 1000),
                                 .sockopts = of->sockopts,
                                 .sockopt_count = of->sockopt_count};
}

static struct outbound *start(struct version *version, const struct remote *remote,
                              const char *address, const char *service, uint64_t timeout_ms)
{
    struct vm *vm = version->vm;
    struct bind_options options = socket_options(version, service);
    struct outbound *outbound = calloc(1, sizeof *outbound);
    if (!outbound)
        return NULL;
    outbound->vm = vm;
    outbound->connect = connect_start(vm->host.reactor, remote, &options,
                                      version->nameservers, timeout_ms, on_connected);
    if (!outbound->connect) {
        free(outbound);
        return NULL;
    }
    outbound->connect->owner = outbound;
    strncpy(outbound->service, service, sizeof outbound->service - 1);
    strncpy(outbound->address, address, sizeof outbound->address - 1);
    return outbound;
}

static int refuse(lua_State *L, const struct vm *vm, const char *address)
{
    reactor_count(vm->host.reactor, COUNTER_REFUSED_MAX_CONNECTIONS, 1, NULL, address);
    return push_failure(L, address, "max_connections reached", "EMFILE");
}

int l_connect(lua_State *L)
{
    struct version *version = lua_touserdata(L, lua_upvalueindex(1));
    struct vm *vm = version->vm;
    const char *address = luaL_checkstring(L, AT_ADDRESS);
    struct remote remote;
    char why[ADDR_WHY_MAX];
    if (version->state == VERSION_LOADING)
        return luaL_error(L, "neap.connect while the script loads: use on_start");
    lua_settop(L, AT_OPTIONS);
    if (lua_isnil(L, AT_OPTIONS)) {
        lua_newtable(L);
        lua_replace(L, AT_OPTIONS);
    }
    luaL_checktype(L, AT_OPTIONS, LUA_TTABLE);
    check_keys(L);
    if (lua_getfield(L, AT_OPTIONS, "framing") != LUA_TNIL)
        framing_push_kept(L, AT_OPTIONS);
    lua_replace(L, AT_FRAMING);
    lua_settop(L, AT_TOP);
    lua_getfield(L, AT_OPTIONS, "timeout");
    uint64_t timeout_ms = check_timeout(L, -1);
    const char *service = check_service(L, version);
    if (remote_parse(&remote, address, why)) {
        lua_pushnil(L);
        lua_pushfstring(L, "neap.connect: %s", why);
        lua_pushliteral(L, "EINVAL");
        return 3;
    }
    if (!wait_may_begin(L, "neap.connect"))
        return wait_push_closed(L);
    if (is_too_late(vm))
        return push_failure(L, address, stopping_text, "ECLOSED");
    uint64_t number = vm->host.admit(vm->host.owner);
    if (!number)
        return refuse(L, vm, address);
    struct outbound *outbound = start(version, &remote, address, service, timeout_ms);
    lua_settop(L, AT_TOP);
    if (!outbound) {
        vm->host.dismiss(vm->host.owner);
        return push_failure(L, address, "out of memory", "ENOMEM");
    }
    outbound->number = number;
    if (outbound->connect->over && version->state != VERSION_STARTING)
        return conclude(L, outbound);
    outbound->run = wait_prepare(L, WAIT_FOR_EVER, is_over);
    outbound->run->wait.subject = outbound;
    outbound->run->wait.abandon = abandon;
    return lua_yieldk(L, 0, 0, has_connected);
}

/* ---- neap.resolve ---- */

struct resolving {
    struct lookup lookup;
    struct run *run;
};

static int push_addresses(lua_State *L, const struct lookup *lookup)
{
    char host[ADDR_HOST_MAX];
    uint16_t port;
    lua_createtable(L, (int)lookup->count, 0);
    for (size_t i = 0; i < lookup->count; i++) {
        endpoint_split(&lookup->at[i], host, &port);
        lua_pushstring(L, host);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int push_answer(lua_State *L, const struct lookup *lookup)
{
    const char *name = lua_tostring(L, 1);
    return lookup->failed ? push_failure(L, name, resolver_why(lookup->status),
                                         resolver_code(lookup->status))
                          : push_addresses(L, lookup);
}

static void on_resolved(struct lookup *lookup)
{
    wait_wake(container_of(lookup, struct resolving, lookup)->run);
}

static bool is_resolved(struct run *run)
{
    const struct resolving *resolving = run->wait.subject;
    return !resolving->lookup.query;
}

static void free_resolving(struct run *run)
{
    struct resolving *resolving = run->wait.subject;
    lookup_cancel(&resolving->lookup);
    free(resolving);
}

static int has_resolved(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct run *run = wait_run(L);
    struct lookup lookup = ((const struct resolving *)run->wait.subject)->lookup;
    free_resolving(run);
    if (run->wait.end == WAIT_READY)
        return push_answer(L, &lookup);
    if (run->wait.end == WAIT_DUE)
        return push_failure(L, lua_tostring(L, 1), "timeout", "ETIMEDOUT");
    return wait_push_closed(L);
}

int l_resolve(lua_State *L)
{
    struct version *version = lua_touserdata(L, lua_upvalueindex(1));
    struct vm *vm = version->vm;
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len > 0 && len < ADDR_NAME_MAX && strlen(name) == len, 1,
                  "a name of 1 to 253 bytes expected");
    uint64_t timeout_ms = check_timeout(L, 2);
    if (version->state == VERSION_LOADING)
        return luaL_error(L, "neap.resolve while the script loads: use on_start");
    if (!wait_may_begin(L, "neap.resolve"))
        return wait_push_closed(L);
    struct resolving *resolving = calloc(1, sizeof *resolving);
    if (!resolving)
        return luaL_error(L, "not enough memory");
    resolving->lookup.done = on_resolved;
    lookup_start(&resolving->lookup, vm->host.reactor, version->nameservers, name,
                 AF_UNSPEC, 0);
    if (!resolving->lookup.query) {
        struct lookup lookup = resolving->lookup;
        free(resolving);
        return push_answer(L, &lookup);
    }
    resolving->run = wait_prepare(L, timeout_ms, is_resolved);
    resolving->run->wait.subject = resolving;
    resolving->run->wait.abandon = free_resolving;
    return lua_yieldk(L, 0, 0, has_resolved);
}
