/* script/version.h - one version of a script in one Lua state: its environment, services, hooks.
 *
 *     source ─load─> environment (own globals, own copies of the libraries, own `neap`)
 *                      └ chunk ─> table ─parse─> services: options, hooks as references
 *
 * What:   what a script's file became. Hooks are looked up once, here.
 * Owns:   its references in the Lua state, its services. Borrows: the vm, the source.
 * Thread: the vm's. Life: version_load() .. version_free(), after its connections are gone.
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
#include "script/hook.h"
#include "script/options.h"

struct source;
struct vm;

#define SERVICE_NAME_MAX 64

struct script_service {
    struct service net; /* first: conn->service is this */
    struct version *version;
    char name[SERVICE_NAME_MAX];
    struct service_settings settings;
    int hooks[ON_COUNT]; /* references, or LUA_NOREF */
    struct addr *listen;
    size_t listen_count;
    bool says_listen; /* even if it is to listen nowhere */
    struct socket_option *sockopts;
    size_t sockopt_count;
};

struct version {
    struct vm *vm;
    struct source *source;
    int number; /* counts from 1 */
    bool loading, lone;
    uint64_t load_deadline_ms;
    int environment; /* reference to its globals */
    int hooks[ON_COUNT];
    struct app_settings settings;
    struct script_service *services;
    size_t service_count;
    struct list timers; /* struct script_timer that are started */
};

/* Loads a version in `vm`, aside of any other. NULL: *error is a report, to be freed, or NULL
 * when memory is out. */
struct version *version_load(struct vm *vm, struct source *source, int number,
                             uint64_t load_timeout_ms, char **error);

/* Ends its timers and forgets its references. NULL is allowed. */
void version_free(struct version *version);

struct script_service *version_service(struct version *version, const char *name);

/* The on_error that an error in a hook of that service (NULL: of none) is for, or LUA_NOREF. */
int version_on_error(const struct version *version, const struct script_service *service);

/* The service of a connection, which the script layer made. */
static inline struct script_service *service_of(const struct conn *conn)
{
    return (struct script_service *)conn->service;
}

#endif
