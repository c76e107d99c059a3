/* base/alloc.h - a counted allocator with a limit, for one Lua state.
 *
 * What:   blocks up to 512 bytes come from size classes of 16 bytes with free lists (no locks,
 *         no malloc on the hot path); larger ones from malloc. Everything is counted.
 * Owns:   its chunks, until alloc_fini. Thread: its owner's.
 * Errors: NULL when the limit would be passed or memory is out. Shrinking and freeing always
 *         succeed (Lua depends on it). */
#ifndef NEAP_BASE_ALLOC_H
#define NEAP_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#define ALLOC_CLASS_COUNT 32 /* 16, 32, ... 512 bytes */
#define ALLOC_LEAD 16        /* bytes that come before a larger block in its memory */

struct alloc {
    size_t used;       /* bytes asked for and not yet given back, with what was charged */
    size_t limit;      /* `used` may not pass it by growing */
    size_t fail_after; /* tests: the n-th next growing call fails; 0 never */
    void *chunks;
    void *offered; /* memory for the next block of `offered_len` bytes */
    size_t offered_len;
    void *free[ALLOC_CLASS_COUNT];
};

void alloc_init(struct alloc *alloc, size_t limit);
void alloc_fini(struct alloc *alloc);

/* realloc with the old size known: ptr NULL allocates, new_len 0 frees (and returns NULL). */
void *alloc_realloc(struct alloc *alloc, void *ptr, size_t old_len, size_t new_len);

/* Lets the next new block of that length, more than 512 bytes, be in `offered`, which malloc gave
 * and has room for ALLOC_LEAD and the block; it is the allocator's from now on. NULL is allowed. */
void alloc_offer(struct alloc *alloc, void *offered, size_t len);
/* No block came that took it: frees it. */
void alloc_withdraw(struct alloc *alloc);

/* Counts memory that lives elsewhere but belongs to the same budget; false when over the limit,
 * and then nothing is counted. */
bool alloc_charge(struct alloc *alloc, size_t len);
void alloc_discharge(struct alloc *alloc, size_t len);

#endif
