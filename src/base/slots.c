/* base/slots.c - slot table.
 *
 *     live   object, its id: one comparison finds it
 *     free   NULL, the index of the next free slot: whatever id that number looks like, the
 *            NULL object is the right answer */
#include "base/slots.h"

#include <errno.h>
#include <stdlib.h>

#include "base/require.h"

#define INDEX_MASK ((UINT64_C(1) << SLOTS_INDEX_BITS) - 1)
#define INDEX_COUNT (UINT32_C(1) << SLOTS_INDEX_BITS)
#define NO_INDEX UINT32_MAX
#define CAPACITY_FIRST 64

_Static_assert(SLOTS_INDEX_BITS < 32, "an index and NO_INDEX fit in 32 bits");
_Static_assert(SLOTS_INDEX_BITS + SLOTS_GENERATION_BITS <= 63, "SLOTS_NONE is no id");

struct slot {
    void *object;
    uint64_t number;
};

void slots_init(struct slots *slots)
{
    *slots = (struct slots){.free = NO_INDEX};
}

void slots_fini(struct slots *slots)
{
    free(slots->table);
    slots_init(slots);
}

static void put_free(struct slots *slots, uint32_t index)
{
    slots->table[index] = (struct slot){.number = slots->free};
    slots->free = index;
}

static int grow(struct slots *slots)
{
    if (slots->capacity == INDEX_COUNT)
        return -ENFILE;
    uint32_t capacity = slots->capacity ? slots->capacity * 2 : CAPACITY_FIRST;
    struct slot *table = realloc(slots->table, capacity * sizeof *table);
    if (!table)
        return -ENOMEM;
    slots->table = table;
    for (uint32_t index = capacity; index > slots->capacity; index--)
        put_free(slots, index - 1);
    slots->capacity = capacity;
    return 0;
}

int slots_add(struct slots *slots, void *object, uint64_t generation, uint64_t *id)
{
    REQUIRE(object && generation && generation >> SLOTS_GENERATION_BITS == 0);
    if (slots->free == NO_INDEX) {
        int failed = grow(slots);
        if (failed)
            return failed;
    }
    uint32_t index = slots->free;
    struct slot *slot = &slots->table[index];
    slots->free = (uint32_t)slot->number;
    *slot =
        (struct slot){.object = object, .number = generation << SLOTS_INDEX_BITS | index};
    slots->count++;
    *id = slot->number;
    return 0;
}

void *slots_get(const struct slots *slots, uint64_t id)
{
    uint64_t index = id & INDEX_MASK;
    if (index >= slots->capacity)
        return NULL;
    const struct slot *slot = &slots->table[index];
    return slot->number == id ? slot->object : NULL;
}

void slots_remove(struct slots *slots, uint64_t id)
{
    REQUIRE(slots_get(slots, id));
    slots->count--;
    put_free(slots, (uint32_t)(id & INDEX_MASK));
}

void *slots_next(const struct slots *slots, uint32_t *cursor)
{
    while (*cursor < slots->capacity) {
        void *object = slots->table[(*cursor)++].object;
        if (object)
            return object;
    }
    return NULL;
}
