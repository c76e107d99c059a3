/* base/slots.h - slot table: a number that names an object and goes stale with it.
 *
 *     id, 63 bits:   [ generation, 41 bits | index, 22 bits ]
 *
 * What:   maps ids to objects in O(1). The generation comes from the caller, a number that it
 *         does not give again (a running number): so an old id is never taken for a new object,
 *         whoever got its slot, and the number of an object can be read from its id for ever.
 * Owns:   the table, which grows by doubling and never shrinks. Borrows: the objects.
 * Thread: its owner's. */
#ifndef NEAP_BASE_SLOTS_H
#define NEAP_BASE_SLOTS_H

#include <stdint.h>

#include "base/macros.h"

#define SLOTS_INDEX_BITS 22
#define SLOTS_GENERATION_BITS 41
#define SLOTS_GENERATION_LAST ((UINT64_C(1) << SLOTS_GENERATION_BITS) - 1)
#define SLOTS_NONE UINT64_MAX /* never an id */

struct slot;

struct slots {
    struct slot *table;
    uint32_t capacity, count;
    uint32_t free; /* the first free slot, by index */
};

void slots_init(struct slots *slots);
void slots_fini(struct slots *slots);

/* Gives `object` (not NULL) an id with that generation, 1 .. 2^41 - 1. 0, -ENOMEM, or -ENFILE
 * when every index is in use. */
MUST_CHECK int slots_add(struct slots *slots, void *object, uint64_t generation,
                         uint64_t *id);

/* The generation in an id, whether its object lives or not. */
static inline uint64_t slots_generation(uint64_t id)
{
    return id >> SLOTS_INDEX_BITS;
}

/* The object of that id, or NULL when it was removed or the number was never an id. */
void *slots_get(const struct slots *slots, uint64_t id);

/* Forgets a live id. */
void slots_remove(struct slots *slots, uint64_t id);

/* Walks the live objects by index: start with *cursor = 0; NULL at the end. Objects may be
 * added and removed while walking; one added meanwhile may or may not be seen. */
void *slots_next(const struct slots *slots, uint32_t *cursor);

#endif
