/* cli/histogram.c - which bucket, and which quantile. */
#include "cli/histogram.h"

#include <math.h>
#include <stddef.h>

#include "base/macros.h"

#define FINE_BITS 5
#define BAR_LEN 40

static size_t bucket_of(uint64_t ns)
{
    if (ns < HISTOGRAM_FINE)
        return (size_t)ns;
    unsigned power = 63U - (unsigned)__builtin_clzll(ns);
    unsigned shift = power - FINE_BITS;
    if (shift >= HISTOGRAM_POWERS)
        return (size_t)(HISTOGRAM_POWERS + 1) * HISTOGRAM_FINE - 1;
    return (size_t)(shift + 1) * HISTOGRAM_FINE + (ns >> shift) % HISTOGRAM_FINE;
}

/* The longest time that falls into it. */
static uint64_t end_of(size_t bucket)
{
    size_t row = bucket / HISTOGRAM_FINE, column = bucket % HISTOGRAM_FINE;
    if (row == 0)
        return column;
    return ((uint64_t)(HISTOGRAM_FINE + column + 1) << (row - 1)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->of[bucket_of(ns)]++;
    if (ns > histogram->longest_ns)
        histogram->longest_ns = ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)histogram->count), seen = 0;
    for (size_t bucket = 0; bucket < ARRAY_LEN(histogram->of); bucket++) {
        seen += histogram->of[bucket];
        if (seen < wanted || seen == 0)
            continue;
        uint64_t end = end_of(bucket);
        return end < histogram->longest_ns ? end : histogram->longest_ns;
    }
    return 0;
}

void histogram_format(uint64_t ns, char text[HISTOGRAM_TIME_MAX])
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    double value = (double)ns;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(text, HISTOGRAM_TIME_MAX, "%.3g %s", value, units[unit]);
}

/* A row is a power of two; those of the first one are put together. */
static uint64_t sum_of(const struct histogram *histogram, size_t row)
{
    uint64_t sum = 0;
    for (size_t column = 0; column < HISTOGRAM_FINE; column++)
        sum += histogram->of[row * HISTOGRAM_FINE + column];
    return sum;
}

void histogram_print(const struct histogram *histogram, FILE *out)
{
    uint64_t most = 0;
    size_t first = 0, last = 0;
    for (size_t row = 0; row <= HISTOGRAM_POWERS; row++) {
        uint64_t sum = sum_of(histogram, row);
        if (!sum)
            continue;
        first = most ? first : row;
        last = row;
        most = sum > most ? sum : most;
    }
    for (size_t row = first; most && row <= last; row++) {
        char text[HISTOGRAM_TIME_MAX];
        uint64_t sum = sum_of(histogram, row);
        histogram_format(end_of(row * HISTOGRAM_FINE + HISTOGRAM_FINE - 1) + 1, text);
        int bar = (int)(sum * BAR_LEN / most);
        fprintf(out, "  < %8s  %-*.*s %5.1f %%\n", text, BAR_LEN, bar,
                "########################################",
                100. * (double)sum / (double)histogram->count);
    }
}
