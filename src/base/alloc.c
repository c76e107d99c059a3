/* base/alloc.c - a counted allocator for one Lua state.
 *
 *     chunks ──> [ header | free room <── carved off from its end | blocks ... ] ──> next
 *     large      [ header | block ]      the header is unused and not linked
 *
 * A block carries no size: Lua tells it at every call, and the class of a block is that of the
 * length told last. A block must therefore always be at least as long as its class, and some
 * chunk must own it. Both hold even when a shrinking block finds no memory to move to:
 *
 *     small to small    the block is split, its end goes to the class of that length
 *     large to large    it stays as it is, free() knows its size
 *     large to small    its header joins the chunks: it is now a chunk with one block */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/require.h"

#if defined(__SANITIZE_ADDRESS__)
#define ALLOC_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALLOC_ASAN 1
#endif
#endif
#ifdef ALLOC_ASAN
#include <sanitizer/asan_interface.h>
#endif

#define GRAIN 16
#define SMALL_MAX ((size_t)GRAIN * ALLOC_CLASS_COUNT)
#define CHUNK_LEN ((size_t)32 * 1024)
#define HEADER_LEN ((size_t)ALLOC_LEAD)

struct chunk {
    struct chunk *next;
    size_t left; /* bytes after the header that are not carved off */
};

struct free_block {
    struct free_block *next;
};

_Static_assert(sizeof(struct chunk) <= HEADER_LEN && HEADER_LEN % GRAIN == 0,
               "blocks stay aligned");
_Static_assert(CHUNK_LEN % GRAIN == 0, "what is left of a chunk is a whole block");

void alloc_init(struct alloc *alloc, size_t limit)
{
    *alloc = (struct alloc){.limit = limit};
}

void alloc_fini(struct alloc *alloc)
{
    struct chunk *chunk = alloc->chunks;

    while (chunk) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    alloc_withdraw(alloc);
    alloc_init(alloc, alloc->limit);
}

/* Makes the first `len` bytes of a block the only ones that may be touched, in builds that can
 * check it: the sanitizer does not see blocks come and go inside a chunk. */
static void expose(void *block, size_t block_len, size_t len)
{
#ifdef ALLOC_ASAN
    __asan_unpoison_memory_region(block, len);
    __asan_poison_memory_region((char *)block + len, block_len - len);
#else
    (void)block;
    (void)block_len;
    (void)len;
#endif
}

static bool is_small(size_t len)
{
    return len <= SMALL_MAX;
}

static size_t round_up(size_t len)
{
    return (len + GRAIN - 1) / GRAIN * GRAIN;
}

static void **class_of(struct alloc *alloc, size_t len)
{
    return &alloc->free[(len - 1) / GRAIN];
}

static struct chunk *header_of(void *block)
{
    return (struct chunk *)(void *)((char *)block - HEADER_LEN);
}

static void *body_of(struct chunk *chunk)
{
    return (char *)chunk + HEADER_LEN;
}

static void give_small(struct alloc *alloc, void *ptr, size_t block_len)
{
    void **class = class_of(alloc, block_len);
    struct free_block *block = ptr;

    expose(block, block_len, sizeof *block);
    block->next = *class;
    *class = block;
    expose(block, block_len, 0);
}

static bool add_chunk(struct alloc *alloc)
{
    struct chunk *last = alloc->chunks, *chunk = malloc(CHUNK_LEN);
    if (!chunk)
        return false;
    *chunk = (struct chunk){.next = last, .left = CHUNK_LEN - HEADER_LEN};
    expose(body_of(chunk), chunk->left, 0);
    alloc->chunks = chunk;
    if (last && last->left > 0) {
        give_small(alloc, body_of(last), last->left);
        last->left = 0;
    }
    return true;
}

static void *take_small(struct alloc *alloc, size_t len)
{
    size_t block_len = round_up(len);
    void **class = class_of(alloc, len);
    struct free_block *block = *class;

    if (block) {
        expose(block, block_len, block_len);
        *class = block->next;
    } else {
        struct chunk *chunk = alloc->chunks;
        if ((!chunk || chunk->left < block_len) && !add_chunk(alloc))
            return NULL;
        chunk = alloc->chunks;
        chunk->left -= block_len;
        block = (void *)((char *)body_of(chunk) + chunk->left);
    }
    expose(block, block_len, len);
    return block;
}

static void *take_large(struct alloc *alloc, size_t len)
{
    struct chunk *header = NULL;
    if (alloc->offered && alloc->offered_len == len) {
        header = alloc->offered;
        alloc->offered = NULL;
    } else if (len <= SIZE_MAX - HEADER_LEN) {
        header = malloc(HEADER_LEN + len);
    }
    return header ? body_of(header) : NULL;
}

static void *take(struct alloc *alloc, size_t len)
{
    return is_small(len) ? take_small(alloc, len) : take_large(alloc, len);
}

static void give(struct alloc *alloc, void *ptr, size_t len)
{
    if (is_small(len))
        give_small(alloc, ptr, round_up(len));
    else
        free(header_of(ptr));
}

static void *resize_large(void *ptr, size_t old_len, size_t new_len)
{
    struct chunk *header = NULL;

    if (new_len <= SIZE_MAX - HEADER_LEN)
        header = realloc(header_of(ptr), HEADER_LEN + new_len);
    if (header)
        return body_of(header);
    return new_len <= old_len ? ptr : NULL;
}

/* Memory is out, but shrinking must not fail; see the top of the file. */
static void *shrink_in_place(struct alloc *alloc, void *ptr, size_t old_len, size_t new_len)
{
    size_t block_len = round_up(new_len);

    if (is_small(old_len)) {
        give_small(alloc, (char *)ptr + block_len, round_up(old_len) - block_len);
        expose(ptr, block_len, new_len);
        return ptr;
    }
    struct chunk *header = header_of(ptr), *first = alloc->chunks;
    struct chunk *shrunk = realloc(header, HEADER_LEN + block_len);
    if (shrunk)
        header = shrunk;
    header->left = 0;
    if (first) {
        /* Behind the first, which is the one with free room. */
        header->next = first->next;
        first->next = header;
    } else {
        header->next = NULL;
        alloc->chunks = header;
    }
    expose(body_of(header), block_len, new_len);
    return body_of(header);
}

static void *resize(struct alloc *alloc, void *ptr, size_t old_len, size_t new_len)
{
    size_t old_block_len = round_up(old_len), kept = old_len < new_len ? old_len : new_len;

    if (!is_small(old_len) && !is_small(new_len))
        return resize_large(ptr, old_len, new_len);
    if (is_small(old_len) && is_small(new_len) && old_block_len == round_up(new_len)) {
        expose(ptr, old_block_len, new_len);
        return ptr;
    }
    void *block = take(alloc, new_len);
    if (block) {
        memcpy(block, ptr, kept);
        give(alloc, ptr, old_len);
        return block;
    }
    return new_len < old_len ? shrink_in_place(alloc, ptr, old_len, new_len) : NULL;
}

static bool may_grow(struct alloc *alloc, size_t len)
{
    if (alloc->fail_after > 0 && --alloc->fail_after == 0)
        return false;
    return alloc->used <= alloc->limit && len <= alloc->limit - alloc->used;
}

static void *take_counted(struct alloc *alloc, size_t len)
{
    if (len == 0 || !may_grow(alloc, len))
        return NULL;
    void *block = take(alloc, len);
    if (block)
        alloc->used += len;
    return block;
}

void *alloc_realloc(struct alloc *alloc, void *ptr, size_t old_len, size_t new_len)
{
    /* Without a block Lua passes the type of the object to come instead of a length. */
    if (!ptr)
        return take_counted(alloc, new_len);
    REQUIRE(old_len > 0 && old_len <= alloc->used);
    if (new_len == 0) {
        give(alloc, ptr, old_len);
        alloc->used -= old_len;
        return NULL;
    }
    if (new_len > old_len && !may_grow(alloc, new_len - old_len))
        return NULL;
    void *block = resize(alloc, ptr, old_len, new_len);
    if (block)
        alloc->used = alloc->used - old_len + new_len;
    return block;
}

void alloc_offer(struct alloc *alloc, void *offered, size_t len)
{
    alloc_withdraw(alloc);
    alloc->offered = offered;
    alloc->offered_len = len;
}

void alloc_withdraw(struct alloc *alloc)
{
    free(alloc->offered);
    alloc->offered = NULL;
}

bool alloc_charge(struct alloc *alloc, size_t len)
{
    if (len > 0 && !may_grow(alloc, len))
        return false;
    alloc->used += len;
    return true;
}

void alloc_discharge(struct alloc *alloc, size_t len)
{
    REQUIRE(len <= alloc->used);
    alloc->used -= len;
}
