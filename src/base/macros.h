/* base/macros.h - the few macros every layer may use. */
#ifndef NEAP_BASE_MACROS_H
#define NEAP_BASE_MACROS_H

#include <stddef.h>

/* The object that embeds `member` at `pointer`. */
#define container_of(pointer, type, member)                                                \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* On a function whose result tells of failure. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* Checks a format against its arguments; positions count from 1 (`first` 0: a va_list). */
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

#endif
