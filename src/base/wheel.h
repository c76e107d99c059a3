/* base/wheel.h - hierarchical timer wheel on a millisecond clock.
 *
 *     level 0:  64 slots of 1 ms        a timer stands in the level of the highest bit in
 *     level 1:  64 slots of 64 ms       which its deadline differs from the wheel's time,
 *     ...                               and moves down as that time comes near
 *     level 6:  64 slots of 2.2 years
 *
 * What:   any number of timers with O(1) start and stop, no memory of its own for a timer.
 * Owns:   nothing. Borrows: started timers, which their owner embeds.
 * Thread: its owner's. Never fires early; fires in the wheel_advance that reaches it. */
#ifndef NEAP_BASE_WHEEL_H
#define NEAP_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define WHEEL_LEVELS 7
#define WHEEL_SLOTS 64
#define WHEEL_NEVER UINT64_MAX

struct wheel_timer;

/* Called by wheel_advance with the timer already stopped; it may start, stop or free any timer. */
typedef void (*wheel_fn)(struct wheel_timer *timer);

struct wheel_timer {
    struct list node;
    uint64_t deadline_ms;
    wheel_fn fn;
};

struct wheel {
    uint64_t now_ms;
    uint64_t occupied[WHEEL_LEVELS]; /* a bit for each slot that holds a timer */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);

void wheel_timer_init(struct wheel_timer *timer, wheel_fn fn);

/* (Re)starts; a deadline not after the wheel's time is due at the next wheel_advance. */
void wheel_start(struct wheel *wheel, struct wheel_timer *timer, uint64_t deadline_ms);

/* Stops; nothing happens when it is not started. */
void wheel_stop(struct wheel *wheel, struct wheel_timer *timer);

bool wheel_timer_is_started(const struct wheel_timer *timer);

/* Moves the wheel's time forward and calls what is due, in order of deadlines. A timer started
 * by a callback with a deadline that is already reached runs in the next call. */
void wheel_advance(struct wheel *wheel, uint64_t now_ms);

/* When wheel_advance must be called next, or WHEEL_NEVER when no timer is started: the earliest
 * deadline, or an earlier moment at which a far timer has to move down a level. */
uint64_t wheel_next_ms(const struct wheel *wheel);

#endif
