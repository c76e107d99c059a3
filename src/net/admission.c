/* net/admission.c - counting connections in all and by address, and a token bucket. */
#include "net/admission.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096U

struct entry {
    struct list node;
    struct in6_addr address;
    uint64_t count;
};

/* IPv4 as an IPv4-mapped address, so that one form is compared. */
static struct in6_addr address_of(const struct endpoint *peer)
{
    struct in6_addr address = {0};
    if (peer->at.sa.sa_family == AF_INET6)
        return peer->at.in6.sin6_addr;
    address.s6_addr[10] = address.s6_addr[11] = 0xff;
    memcpy(&address.s6_addr[12], &peer->at.in.sin_addr, sizeof peer->at.in.sin_addr);
    return address;
}

static struct list *bucket_of(struct admission *admission, const struct in6_addr *address)
{
    uint64_t half[2];
    memcpy(half, address, sizeof half);
    uint64_t hash = (half[0] ^ admission->seed) * 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 29) ^ half[1]) * 0xbf58476d1ce4e5b9U;
    return &admission->buckets[(hash >> 40) % BUCKETS];
}

static struct entry *find(struct list *bucket, const struct in6_addr *address)
{
    LIST_FOREACH (bucket, node) {
        struct entry *entry = container_of(node, struct entry, node);
        if (memcmp(&entry->address, address, sizeof *address) == 0)
            return entry;
    }
    return NULL;
}

static bool enter_address(struct admission *admission, const struct endpoint *peer)
{
    struct in6_addr address = address_of(peer);
    struct list *bucket = bucket_of(admission, &address);
    struct entry *entry = find(bucket, &address);
    if (!entry) {
        entry = calloc(1, sizeof *entry);
        if (!entry)
            return false;
        entry->address = address;
        list_append(bucket, &entry->node);
    }
    if (entry->count >= admission->limits.per_ip)
        return false;
    entry->count++;
    return true;
}

/* A bucket that holds one second's worth. */
static bool take_token(struct admission *admission, uint64_t now_ms)
{
    double rate = (double)admission->limits.accept_rate;
    double passed_s = (double)(now_ms - admission->filled_ms) / 1e3;
    if (now_ms > admission->filled_ms) {
        admission->tokens += passed_s * rate;
        admission->filled_ms = now_ms;
    }
    if (admission->tokens > rate)
        admission->tokens = rate;
    if (admission->tokens < 1)
        return false;
    admission->tokens -= 1;
    return true;
}

static enum counter check_source(struct admission *admission, const struct endpoint *peer,
                                 uint64_t now_ms)
{
    enum counter refused = COUNTER_COUNT;
    pthread_mutex_lock(&admission->lock);
    if (admission->limits.accept_rate && !take_token(admission, now_ms))
        refused = COUNTER_REFUSED_RATE;
    else if (admission->limits.per_ip && !enter_address(admission, peer))
        refused = COUNTER_REFUSED_PER_IP;
    pthread_mutex_unlock(&admission->lock);
    return refused;
}

static bool has_source_limits(const struct admission *admission,
                              const struct endpoint *peer)
{
    return (admission->limits.accept_rate || admission->limits.per_ip) &&
           !endpoint_is_loopback(peer);
}

enum counter admission_enter(struct admission *admission, const struct endpoint *peer,
                             uint64_t now_ms)
{
    uint64_t before = atomic_fetch_add_explicit(&admission->count, 1, memory_order_relaxed);
    enum counter refused = COUNTER_COUNT;
    if (before >= admission->limits.max_connections)
        refused = COUNTER_REFUSED_MAX_CONNECTIONS;
    else if (has_source_limits(admission, peer))
        refused = check_source(admission, peer, now_ms);
    if (refused != COUNTER_COUNT)
        atomic_fetch_sub_explicit(&admission->count, 1, memory_order_relaxed);
    return refused;
}

void admission_leave(struct admission *admission, const struct endpoint *peer)
{
    atomic_fetch_sub_explicit(&admission->count, 1, memory_order_relaxed);
    if (!admission->limits.per_ip || !has_source_limits(admission, peer))
        return;
    struct in6_addr address = address_of(peer);
    pthread_mutex_lock(&admission->lock);
    struct entry *entry =
        admission->buckets ? find(bucket_of(admission, &address), &address) : NULL;
    if (entry && --entry->count == 0) {
        list_remove(&entry->node);
        free(entry);
    }
    pthread_mutex_unlock(&admission->lock);
}

static void forget_addresses(struct admission *admission)
{
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_FOREACH (&admission->buckets[i], node) {
            list_remove(node);
            free(container_of(node, struct entry, node));
        }
}

/* With an empty table of addresses, if there is to be one. */
static int set_per_ip(struct admission *admission, uint64_t per_ip)
{
    if (per_ip && !admission->buckets) {
        admission->buckets = malloc(BUCKETS * sizeof *admission->buckets);
        if (!admission->buckets)
            return -ENOMEM;
        for (size_t i = 0; i < BUCKETS; i++)
            list_init(&admission->buckets[i]);
    } else if (per_ip && admission->limits.per_ip == 0) {
        forget_addresses(admission);
    }
    admission->limits.per_ip = per_ip;
    return 0;
}

void admission_set_limits(struct admission *admission,
                          const struct admission_limits *limits)
{
    pthread_mutex_lock(&admission->lock);
    admission->limits.max_connections = limits->max_connections;
    admission->limits.accept_rate = limits->accept_rate;
    (void)set_per_ip(admission, limits->per_ip);
    pthread_mutex_unlock(&admission->lock);
}

int admission_init(struct admission *admission, const struct admission_limits *limits,
                   uint64_t seed)
{
    *admission = (struct admission){.seed = seed};
    admission->limits.max_connections = limits->max_connections;
    admission->limits.accept_rate = limits->accept_rate;
    admission->tokens = (double)limits->accept_rate;
    pthread_mutex_init(&admission->lock, NULL);
    return set_per_ip(admission, limits->per_ip);
}

void admission_fini(struct admission *admission)
{
    if (admission->buckets)
        forget_addresses(admission);
    free(admission->buckets);
    pthread_mutex_destroy(&admission->lock);
}
