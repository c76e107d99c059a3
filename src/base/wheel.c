/* base/wheel.c - hierarchical timer wheel.
 *
 * A started timer stands in level(deadline ^ now), where level counts groups of six bits. From
 * this follows all the rest:
 *
 *     now        ... 000101 | 110010 | 001000
 *     deadline   ... 000101 | 111000 | 000001     differs first in group 1: level 1, slot 56
 *
 *   - within a level only slots after that of `now` are occupied, and each level is over
 *     before the next slot of the level above begins: the first occupied slot of the lowest
 *     occupied level is the next event;
 *   - all timers of one deadline stand in one slot, in the order in which they were started;
 *   - the slot of a timer follows from its deadline alone, so that it need not remember it.
 *
 * Two slots would never be used and have a meaning of their own: the slot of `now` in level 0
 * holds what is due already, slot 0 of the top level what lies beyond the top level. It comes
 * after slot 63, when the top level begins anew. */
#include "base/wheel.h"

#include <stddef.h>

#include "base/macros.h"

#define SLOT_BITS 6
#define SLOT_MASK (WHEEL_SLOTS - 1)
#define TOP (WHEEL_LEVELS - 1)
#define WHEEL_BITS (SLOT_BITS * WHEEL_LEVELS)

_Static_assert(WHEEL_SLOTS == 1 << SLOT_BITS, "a slot is a group of bits");

struct place {
    unsigned level, slot;
};

static unsigned slot_at(uint64_t time_ms, unsigned level)
{
    return (unsigned)(time_ms >> SLOT_BITS * level) & SLOT_MASK;
}

static struct place place_of(uint64_t deadline_ms, uint64_t now_ms)
{
    if (deadline_ms <= now_ms)
        return (struct place){0, slot_at(now_ms, 0)};
    unsigned bit = 63U - (unsigned)__builtin_clzll(deadline_ms ^ now_ms);
    unsigned level = bit / SLOT_BITS;
    if (level > TOP)
        return (struct place){TOP, 0};
    return (struct place){level, slot_at(deadline_ms, level)};
}

static void put(struct wheel *wheel, struct wheel_timer *timer)
{
    struct place at = place_of(timer->deadline_ms, wheel->now_ms);

    list_append(&wheel->slots[at.level][at.slot], &timer->node);
    wheel->occupied[at.level] |= UINT64_C(1) << at.slot;
}

/* Finds the next slot that has something to do, and when; false when the wheel is empty. */
static bool next_event(const struct wheel *wheel, struct place *at, uint64_t *time_ms)
{
    uint64_t now = wheel->now_ms;

    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t ahead = UINT64_MAX << slot_at(now, level);
        if (level > 0)
            ahead <<= 1;
        uint64_t bits = wheel->occupied[level] & ahead;
        if (bits == 0)
            continue;
        unsigned shift = SLOT_BITS * level;
        *at = (struct place){level, (unsigned)__builtin_ctzll(bits)};
        uint64_t round = now >> shift >> SLOT_BITS << SLOT_BITS;
        *time_ms = (round | at->slot) << shift;
        return true;
    }
    if (wheel->occupied[TOP] == 0)
        return false;
    *at = (struct place){TOP, 0};
    *time_ms = ((now >> WHEEL_BITS) + 1) << WHEEL_BITS;
    return true;
}

/* Moves what is due at `now_ms` to the list `due`, in order, and the wheel's time along. */
static void collect(struct wheel *wheel, uint64_t now_ms, struct list *due)
{
    struct place at;
    uint64_t time_ms;

    while (next_event(wheel, &at, &time_ms) && time_ms <= now_ms) {
        struct list moving;
        wheel->now_ms = time_ms;
        wheel->occupied[at.level] &= ~(UINT64_C(1) << at.slot);
        list_take(&moving, &wheel->slots[at.level][at.slot]);
        LIST_FOREACH (&moving, node) {
            list_remove(node);
            if (at.level == 0)
                list_append(due, node);
            else
                put(wheel, container_of(node, struct wheel_timer, node));
        }
    }
    wheel->now_ms = now_ms;
}

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    wheel->now_ms = now_ms;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
}

void wheel_timer_init(struct wheel_timer *timer, wheel_fn fn)
{
    list_init(&timer->node);
    timer->deadline_ms = 0;
    timer->fn = fn;
}

void wheel_start(struct wheel *wheel, struct wheel_timer *timer, uint64_t deadline_ms)
{
    wheel_stop(wheel, timer);
    /* One slot holds all that is due; with the deadlines as they were it would need sorting. */
    timer->deadline_ms = deadline_ms < wheel->now_ms ? wheel->now_ms : deadline_ms;
    put(wheel, timer);
}

void wheel_stop(struct wheel *wheel, struct wheel_timer *timer)
{
    if (!wheel_timer_is_started(timer))
        return;
    /* During wheel_advance the timer may stand in its list of due ones instead. Then this is
     * the slot of now, and the bit is cleared only if that is empty: still right. */
    struct place at = place_of(timer->deadline_ms, wheel->now_ms);
    list_remove(&timer->node);
    if (list_is_empty(&wheel->slots[at.level][at.slot]))
        wheel->occupied[at.level] &= ~(UINT64_C(1) << at.slot);
}

bool wheel_timer_is_started(const struct wheel_timer *timer)
{
    return !list_is_empty(&timer->node);
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms)
{
    struct list due, *node;

    list_init(&due);
    collect(wheel, now_ms < wheel->now_ms ? wheel->now_ms : now_ms, &due);
    /* Always the first: a callback may have stopped, restarted or freed any of the others. */
    while ((node = list_first(&due)) != NULL) {
        struct wheel_timer *timer = container_of(node, struct wheel_timer, node);
        list_remove(node);
        timer->fn(timer);
    }
}

uint64_t wheel_next_ms(const struct wheel *wheel)
{
    struct place at;
    uint64_t time_ms;

    return next_event(wheel, &at, &time_ms) ? time_ms : WHEEL_NEVER;
}
