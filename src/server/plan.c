/* server/plan.c - read, load aside, override, count. */
#include "server/plan.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "io/io.h"
#include "script/bundle.h"
#include "script/source.h"
#include "script/version.h"
#include "script/vm.h"

#define SCRATCH_MEMORY (256U << 20)
#define SCRATCH_TIMEOUT_MS 5000U

/* Descriptors that are not connections: the log, epoll, the listeners, what libraries open. */
#define DESCRIPTOR_RESERVE 64U
/* Some systems say a thousand million; nobody has so many, and tables must not be sized by it. */
#define DESCRIPTOR_MAX (1U << 22)

const char *server_default_script(size_t *len)
{
    *len = bundle_files[0].len;
    return bundle_files[0].bytes;
}

static int open_source(struct plan *plan, const struct server_config *config, FILE *errors)
{
    int failed;
    if (config->code) {
        failed =
            source_from_bytes(&plan->source, "eval", config->code, strlen(config->code));
    } else if (config->script) {
        failed = source_open(&plan->source, config->script);
    } else {
        size_t len;
        const char *bytes = server_default_script(&len);
        failed = source_from_bytes(&plan->source, bundle_files[0].chunk + 1, bytes, len);
    }
    if (!failed)
        return EX_OK;
    plan->source = NULL;
    fprintf(errors, "neap: cannot read the script '%s': %s\n",
            config->script ? config->script : "-e", strerror(-failed));
    if (failed == -EACCES || failed == -EPERM)
        return EX_NOPERM;
    return failed == -ENOMEM ? EX_OSERR : EX_NOINPUT;
}

uint64_t plan_load_timeout_ms(const struct server_config *config)
{
    return config->load_timeout_ms ? config->load_timeout_ms : SCRATCH_TIMEOUT_MS;
}

static int load(struct plan *plan, const struct server_config *config, FILE *errors)
{
    /* Without a log: what a script prints while it loads is printed where it serves. */
    struct vm_host host = {.io = &io_system, .worker = 1, .workers = 1};
    char *error = NULL;
    plan->scratch = vm_new(&host, SCRATCH_MEMORY);
    if (plan->scratch)
        plan->version = version_load(plan->scratch, plan->source, 1,
                                     plan_load_timeout_ms(config), &error);
    if (!plan->source->sealed)
        source_seal(plan->source);
    if (plan->version && config->load_timeout_ms)
        plan->version->settings.load_timeout_ms = config->load_timeout_ms;
    if (plan->version)
        return EX_OK;
    fputs(error ? error : "error: not enough memory\n", errors);
    free(error);
    return EX_DATAERR;
}

/* ---- --listen ---- */

static struct script_service *find_service(struct plan *plan,
                                           const struct server_listen *listen)
{
    struct version *version = plan->version;
    if (listen->service)
        return version_service(version, listen->service);
    return version->service_count == 1 ? &version->services[0] : NULL;
}

static int complain_service(const struct plan *plan, const struct server_listen *listen,
                            FILE *errors)
{
    if (listen->service)
        fprintf(errors, "neap: --listen: the script has no service '%s'; it has",
                listen->service);
    else
        fprintf(errors,
                "neap: --listen: say which service it is for, as in --listen NAME=ADDR; "
                "the script has");
    for (size_t i = 0; i < plan->version->service_count; i++)
        fprintf(errors, "%s '%s'", i ? "," : "", plan->version->services[i].name);
    fprintf(errors, "\n");
    return EX_USAGE;
}

static int add_listen(struct script_service *service, const struct addr *addr)
{
    struct addr *more =
        realloc(service->listen, (service->listen_count + 1) * sizeof *service->listen);
    if (!more)
        return EX_OSERR;
    service->listen = more;
    service->listen[service->listen_count++] = *addr;
    return EX_OK;
}

/* Those given replace the script's list; so a service's first one empties it. */
static int override_listen(struct plan *plan, const struct server_config *config,
                           FILE *errors)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        struct script_service *service = find_service(plan, &config->listen[i]);
        if (!service)
            return complain_service(plan, &config->listen[i], errors);
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first &= find_service(plan, &config->listen[k]) != service;
        if (first)
            service->listen_count = 0;
        int status = add_listen(service, &config->listen[i].addr);
        if (status != EX_OK)
            return status;
    }
    return EX_OK;
}

/* ---- Numbers ---- */

static unsigned count_cores(void)
{
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) < 0)
        return 1;
    return (unsigned)CPU_COUNT(&cores);
}

static unsigned count_workers(const struct plan *plan, const struct server_config *config)
{
    uint64_t script = plan->version->settings.workers;
    unsigned count = config->workers > 0 ? (unsigned)config->workers : (unsigned)script;
    if (config->workers == SERVER_WORKERS_AUTO ||
        (config->workers == SERVER_WORKERS_SCRIPT && script == OPTION_WORKERS_AUTO))
        count = count_cores();
    return count > SERVER_WORKERS_MAX ? SERVER_WORKERS_MAX : count;
}

/* As many descriptors as we may have; and so many connections, if the script does not say. */
static void settle_descriptors(struct plan *plan, FILE *errors)
{
    struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < DESCRIPTOR_MAX ? limit.rlim_max : DESCRIPTOR_MAX;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t all = limit.rlim_cur, half = all / 2;
    uint64_t *max_connections = &plan->version->settings.max_connections;
    uint64_t most = all - half > DESCRIPTOR_RESERVE ? all - DESCRIPTOR_RESERVE : half;
    plan->descriptor_limit = all;
    plan->max_connections_is_default = *max_connections == OPTION_UNSET;
    if (*max_connections != OPTION_UNSET && *max_connections > most)
        fprintf(errors,
                "neap: max_connections is %llu instead of %llu: the limit of file "
                "descriptors is "
                "%llu; raise it with ulimit -n or LimitNOFILE\n",
                (unsigned long long)most, (unsigned long long)*max_connections,
                (unsigned long long)all);
    if (*max_connections > most) /* OPTION_UNSET is more than any */
        *max_connections = most;
}

int plan_open(struct plan *plan, const struct server_config *config, struct source *source,
              FILE *errors)
{
    int status = EX_OK;
    plan->source = source;
    if (source)
        source_ref(source);
    else
        status = open_source(plan, config, errors);
    if (status == EX_OK)
        status = load(plan, config, errors);
    if (status == EX_OK)
        status = override_listen(plan, config, errors);
    if (status != EX_OK)
        return status;
    plan->workers = plan->workers_wanted = count_workers(plan, config);
    settle_descriptors(plan, errors);
    return EX_OK;
}

void plan_close(struct plan *plan)
{
    version_free(plan->version);
    vm_free(plan->scratch);
    source_unref(plan->source);
}

const char *server_lua_release(void)
{
    return vm_lua_release() + strlen("Lua ");
}
