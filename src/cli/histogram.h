/* cli/histogram.h - how often each length of time came up, in buckets that grow with it.
 *
 *     0 1 2 .. 31 | 32 33 .. 63 | 64 66 .. 126 | 128 132 .. 252 | ...       nanoseconds
 *
 * What:   every power of two has 32 buckets of one width, so that a bucket is at most 1/32 of what
 *         it holds: 3 %. The longest is kept exactly.
 * Owns:   nothing. Thread: any, one at a time. Errors: none; more than 18 minutes is that. */
#ifndef NEAP_CLI_HISTOGRAM_H
#define NEAP_CLI_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_FINE 32   /* buckets of a power of two */
#define HISTOGRAM_POWERS 36 /* up to 2^40 ns */

struct histogram {
    uint64_t count;
    uint64_t longest_ns;
    uint64_t of[(HISTOGRAM_POWERS + 1) * HISTOGRAM_FINE];
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The time that a share of all, 0 to 1, did not pass: the upper end of its bucket; 0 if empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

/* A bar for each power of two that came up. */
void histogram_print(const struct histogram *histogram, FILE *out);

/* "850 ns", "12.3 us", "4.56 ms", "1.20 s". */
#define HISTOGRAM_TIME_MAX 16
void histogram_format(uint64_t ns, char text[HISTOGRAM_TIME_MAX]);

#endif
