/* net/loop_sim.h - the controls of the simulated event loop.
 *
 *     loop_sim_turn:  clock -> world: what is ready? -> shuffled: watchers, alarm, wake -> on_turn
 *
 * What:   loop_sim.c behind loop.h never waits and asks a world instead of the kernel. The world
 *         is the test's: it has the clock (behind struct io), the descriptors and the dice, so
 *         that one seed decides everything.
 * Thread: one, loop_wake too.
 * Differs from loop_ev.c where the contract of loop.h leaves it open: any order within a turn,
 *         readiness that is not there any more, on_alarm as late as the world likes. A watcher
 *         that was stopped is never called, as there. */
#ifndef NEAP_NET_LOOP_SIM_H
#define NEAP_NET_LOOP_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/loop.h"

struct loop_sim_world {
    /* Which events (enum loop_events) are dealt to a descriptor in this turn, of which `watched`
     * are asked for. The loop drops what is not. */
    unsigned (*ready)(void *owner, int fd, unsigned watched);
    /* A die: 0 .. limit - 1. */
    uint32_t (*below)(void *owner, uint32_t limit);
    /* After each callback of a turn. May be NULL. */
    void (*after_callback)(void *owner);
    /* For loop_run: nothing is left to do before `until_ms`; time passes, something may happen. */
    void (*wait)(void *owner, uint64_t until_ms);
};

/* Must come before the first turn. */
void loop_sim_use(struct loop *loop, const struct loop_sim_world *world, void *owner);

/* One turn. True: there is more to do, without anything happening outside. */
bool loop_sim_turn(struct loop *loop);

/* What the alarm is set to; UINT64_MAX: to nothing. */
uint64_t loop_sim_alarm_ms(const struct loop *loop);

/* Which events of that descriptor are watched. */
unsigned loop_sim_watched(const struct loop *loop, int fd);

#endif
