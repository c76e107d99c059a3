/* tests/sim/sim_random.h - the one source of chance of a seed (splitmix64). */
#ifndef NEAP_TESTS_SIM_RANDOM_H
#define NEAP_TESTS_SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

static inline uint64_t dice_roll(struct dice *dice)
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* 0 .. limit - 1 */
static inline size_t dice_below(struct dice *dice, size_t limit)
{
    return (size_t)(dice_roll(dice) >> 11) % limit;
}

static inline bool dice_chance(struct dice *dice, unsigned per_mille)
{
    return per_mille > 0 && dice_below(dice, 1000) < per_mille;
}

/* 1 .. most, short ones much more often than long ones. */
static inline size_t dice_len(struct dice *dice, size_t most)
{
    size_t scale = most;
    while (scale > 16 && dice_below(dice, 3) > 0)
        scale /= 4;
    return 1 + dice_below(dice, scale);
}

#endif
