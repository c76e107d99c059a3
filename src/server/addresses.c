/* server/addresses.c - binding what is new, keeping what is named again. */
#include "server/addresses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "server/plan.h"

void addresses_init(struct addresses *addresses)
{
    list_init(&addresses->all);
}

static bool is_same(const struct addr *a, const struct addr *b)
{
    return a->transport == b->transport && a->port == b->port && a->fd == b->fd &&
           strcmp(a->host, b->host) == 0;
}

static bool has_same_options(const struct addr *a, const struct addr *b)
{
    return a->backlog == b->backlog && a->mode == b->mode && a->ipv6_only == b->ipv6_only &&
           a->reuse_port == b->reuse_port;
}

static struct bind_options options_of(const struct plan *plan,
                                      const struct script_service *service)
{
    const struct service_settings *settings = &service->settings;
    return (struct bind_options){.workers = plan->workers,
                                 .nodelay = settings->nodelay,
                                 .keepalive_s = (unsigned)(settings->keepalive_ms / 1000),
                                 .sockopts = service->sockopts,
                                 .sockopt_count = service->sockopt_count};
}

/* One that is bound for that address and not claimed, of that service if there is one. */
static const struct address *find_unclaimed(const struct addresses *addresses,
                                            const char *service, const struct addr *addr)
{
    const struct address *found = NULL;
    LIST_FOREACH (&addresses->all, node) {
        const struct address *address = container_of(node, const struct address, node);
        if (address->next || address->is_new || !is_same(&address->spec, addr))
            continue;
        if (strcmp(address->service, service) == 0)
            return address;
        if (!found)
            found = address;
    }
    return found;
}

static bool claim(struct addresses *addresses, const struct script_service *service,
                  const struct addr *addr)
{
    const struct address *found = find_unclaimed(addresses, service->name, addr);
    LIST_FOREACH (&addresses->all, node) {
        struct address *address = container_of(node, struct address, node);
        if (!found || address->group != found->group)
            continue;
        address->next = service;
        address->other_options = !has_same_options(&address->spec, addr);
    }
    return found != NULL;
}

static int add(struct addresses *addresses, const struct script_service *service,
               const struct addr *addr, struct bound *bound)
{
    struct address *address = calloc(1, sizeof *address);
    if (!address) {
        bound_close(bound);
        return EX_OSERR;
    }
    address->spec = *addr;
    address->group = addresses->groups;
    address->bound = *bound;
    address->next = service;
    address->is_new = true;
    list_append(&addresses->all, &address->node);
    return EX_OK;
}

static int bind_new(struct addresses *addresses, const struct plan *plan,
                    const struct script_service *service, const struct addr *addr,
                    FILE *errors)
{
    struct bind_options options = options_of(plan, service);
    struct bound bound[BOUND_MAX];
    char why[BIND_WHY_MAX];
    int count = bind_open(addr, &options, bound, why);
    if (count < 0) {
        fprintf(errors, "neap: %s\n", why);
        return count == -EACCES || count == -EPERM ? EX_NOPERM : EX_OSERR;
    }
    int status = EX_OK;
    addresses->groups++;
    for (int i = 0; i < count; i++)
        if (status == EX_OK)
            status = add(addresses, service, addr, &bound[i]);
        else
            bound_close(&bound[i]);
    return status;
}

int addresses_prepare(struct addresses *addresses, const struct plan *plan, FILE *errors)
{
    const struct version *version = plan->version;
    int status = EX_OK;
    for (size_t i = 0; i < version->service_count && status == EX_OK; i++) {
        const struct script_service *service = &version->services[i];
        for (size_t k = 0; k < service->listen_count && status == EX_OK; k++)
            if (!claim(addresses, service, &service->listen[k]))
                status = bind_new(addresses, plan, service, &service->listen[k], errors);
    }
    if (status != EX_OK)
        addresses_abandon(addresses);
    return status;
}

void addresses_commit(struct addresses *addresses, const struct plan *plan,
                      struct list *dropped)
{
    LIST_FOREACH (&addresses->all, node) {
        struct address *address = container_of(node, struct address, node);
        if (!address->next) {
            list_remove(&address->node);
            list_append(dropped, &address->node);
            continue;
        }
        struct bind_options options = options_of(plan, address->next);
        if (!address->is_new)
            bound_set_options(&address->bound, &options);
        memcpy(address->service, address->next->name, sizeof address->service);
        address->next = NULL;
        address->is_new = false;
    }
}

void addresses_abandon(struct addresses *addresses)
{
    LIST_FOREACH (&addresses->all, node) {
        struct address *address = container_of(node, struct address, node);
        address->next = NULL;
        if (address->is_new)
            address_free(address);
    }
}

void address_free(struct address *address)
{
    list_remove(&address->node);
    bound_close(&address->bound);
    free(address);
}

void addresses_close_listeners(const struct list *addresses)
{
    LIST_FOREACH (addresses, node) {
        struct address *address = container_of(node, struct address, node);
        if (transport_is_stream(address->bound.transport))
            bound_close(&address->bound);
    }
}

void addresses_fini(struct addresses *addresses)
{
    LIST_FOREACH (&addresses->all, node)
        address_free(container_of(node, struct address, node));
}
