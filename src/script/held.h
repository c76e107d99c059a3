/* script/held.h - functions that conn.data holds, and so the version that they are of.
 *
 * What:   looks into the tables that scripts keep with connections, not deeply: functions that
 *         use globals name their version by them.
 * Thread: the vm's, outside any hook. Raises: no; without memory it finds nothing. */
#ifndef NEAP_SCRIPT_HELD_H
#define NEAP_SCRIPT_HELD_H

#include <stddef.h>

#define HELD_VERSIONS_MAX 32 /* told apart in one look */

struct vm;

struct held {
    unsigned number[HELD_VERSIONS_MAX];  /* of versions ... */
    size_t functions[HELD_VERSIONS_MAX]; /* ... and how many functions of each were found */
    size_t count;
    size_t connections; /* that were looked at */
};

/* Looks at up to `most` connections. */
void held_look(struct vm *vm, size_t most, struct held *held);

/* How many functions of that version, or of all but that one, were found. */
size_t held_of(const struct held *held, unsigned number);
size_t held_of_others(const struct held *held, unsigned number);

#endif
