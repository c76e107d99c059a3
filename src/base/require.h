/* base/require.h - assertions that hold in every build.
 *
 * REQUIRE is for broken invariants of this program only, never for input: it prints the
 * condition with its place to standard error and aborts. */
#ifndef NEAP_BASE_REQUIRE_H
#define NEAP_BASE_REQUIRE_H

#define REQUIRE(condition)                                                                 \
    ((condition) ? (void)0 : require_failed(#condition, __FILE__, __LINE__))

/* Prints and aborts. */
_Noreturn void require_failed(const char *condition, const char *file, int line);

#endif
