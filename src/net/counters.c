/* net/counters.c - the table behind counters.h. */
#include "net/counters.h"

#include <stddef.h>

const struct counter_row counter_rows[COUNTER_COUNT] = {
#define X(constant, name, notice) [COUNTER_##constant] = {name, notice},
    COUNTER_TABLE(X)
#undef X
};
