/* server/history.h - the versions that took over: numbers, times, and the bytes of the last ones.
 *
 * Owns:   references to sources. Thread: main. */
#ifndef NEAP_SERVER_HISTORY_H
#define NEAP_SERVER_HISTORY_H

#include <stddef.h>
#include <stdint.h>

struct source;

#define HISTORY_MAX 6 /* the one that serves, and five to go back to */

struct past {
    unsigned number;
    unsigned same_as; /* it was made from that one's bytes; 0: from files */
    struct source *source;
    uint64_t since_ms; /* it took over then */
};

struct history {
    struct past all[HISTORY_MAX]; /* the newest first */
    size_t count;
    unsigned last; /* the highest number that was given */
};

/* A version has taken over. */
void history_add(struct history *history, const struct past *past);

/* By number; NULL: its bytes are not kept. */
const struct past *history_find(const struct history *history, unsigned number);

void history_fini(struct history *history);

#endif
