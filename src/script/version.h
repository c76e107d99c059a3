/* script/version.h - one version of a script in one Lua state: its environment, services, hooks.
 *
 *     source ─load─> environment (own globals, own copies of the libraries, own `neap`)
 *                      └ chunk ─> table ─parse─> services: options, hooks as references
 *
 *     LOADING ──> STARTING ──switch──> SERVING ──another serves──> RETIRED ──> collected
 *        └────────────┴── it failed, or another worker's did ────────^
 *
 * What:   what a script's files became. Hooks are looked up once, here. A version that no longer
 *         serves lives on while services without a successor point at it (`holds`) or hooks of
 *         it wait, and its
 *         memory for as long as anything in Lua holds one of its functions: the struct is a
 *         userdata, which those functions have as upvalue.
 * Owns:   its references in the Lua state, its services. Borrows: the vm.
 * Thread: the vm's. Life: version_load() .. version_free() or version_retire(); the collector
 *         takes the rest.
 * Errors: version_load gives a report for people. */
#ifndef NEAP_SCRIPT_VERSION_H
#define NEAP_SCRIPT_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/list.h"
#include "net/addr.h"
#include "net/bind.h"
#include "net/conn.h"
#include "net/resolver.h"
#include "script/children.h"
#include "script/hook.h"
#include "script/options.h"

struct source;
struct vm;

#define SERVICE_NAME_MAX 64

struct script_service {
    struct vm *vm;
    struct service net;      /* what struct service is filled in with; see services.h */
    struct service *aside;   /* made for it and not serving, or NULL */
    struct version *version; /* NULL: of connections that scripts open for themselves */
    char name[SERVICE_NAME_MAX];
    struct service_settings settings;
    int hooks[ON_COUNT]; /* references, or LUA_NOREF */
    struct addr *listen;
    size_t listen_count;
    bool says_listen; /* even if it is to listen nowhere */
    struct socket_option *sockopts;
    size_t sockopt_count;
};

enum version_state {
    VERSION_LOADING,
    VERSION_STARTING, /* loaded; on_start may run; nothing of it is due before the switch */
    VERSION_SERVING,  /* also a candidate that is given some connections */
    VERSION_RETIRED,
};

struct version {
    struct vm *vm;
    struct list node; /* in vm->versions, until it is let go of */
    struct source *source;
    unsigned number; /* counts from 1 */
    enum version_state state;
    bool lone;
    bool exposed;       /* a candidate that is given some connections */
    unsigned strangers; /* that it was warned of: see require.c */
    uint32_t holds;     /* services that only it still has */
    uint32_t waits;     /* hooks of it that wait */
    uint64_t load_deadline_ms;
    uint64_t calls, errors; /* of its hooks, timers and framing functions */
    int self;               /* reference to the userdata that this is */
    int environment;        /* reference to its globals */
    int kept;               /* reference: what neap.keep keeps if this version takes over */
    int hooks[ON_COUNT];
    struct app_settings settings;
    char nameservers
        [RESOLVER_SERVERS_MAX]; /* as lookup_start takes them; "": the system's */
    struct script_service *services;
    size_t service_count;
    struct children
        children; /* of neap.spawn, and of neap.connect outside of connections */
    struct list
        timers; /* struct script_timer that are started, or will be with the version */
};

/* Loads a version in `vm`, aside of any other; references the source. NULL: *error is a report,
 * to be freed, or NULL when memory is out. */
struct version *version_load(struct vm *vm, struct source *source, unsigned number,
                             uint64_t load_timeout_ms, char **error);

/* It takes over, between two turns: services, kept tables, timers. Returns how many services
 * with connections it does not have. The one before is still to be retired. */
size_t version_switch(struct version *version);

/* Some connections are given to it, beside the version that serves: its timers start. It may still
 * take over, or be withdrawn. */
void version_expose(struct version *candidate);
/* Its connections go to the version that serves, on_stop runs; then it is gone. */
void version_withdraw(struct version *candidate);

/* The live service of that name for connections of a candidate; NULL. */
struct service *version_aside(struct version *candidate, const char *name);

/* It serves no longer: its timers end. Returns how many there were. */
size_t version_retire(struct version *version);

/* It is not to serve at all, or the state is about to be closed. NULL is allowed. */
void version_free(struct version *version);

/* The names of the globals that its files have made, with commas, cut where there is no room. */
void version_globals(struct version *version, char *text, size_t size);

/* Hooks of services of both that only `before` has, as bits by enum hook. */
size_t version_lost_hooks(const struct version *before, struct version *after);

/* Pushes the userdata that it is, for functions to hold it by as an upvalue. Raises: no. */
void version_push(lua_State *L, const struct version *version);

/* For services.c: one service less holds it. */
void version_unhold(struct version *version);
/* For call.c: one hook less waits in it. */
void version_unwait(struct version *version);

struct script_service *version_service(struct version *version, const char *name);

/* The on_error that an error in a hook of that service (NULL: of none) is for, or LUA_NOREF. */
int version_on_error(const struct version *version, const struct script_service *service);

/* The service of a connection, which the script layer made. */
static inline struct script_service *service_of(const struct conn *conn)
{
    return conn->service->script;
}

#endif
