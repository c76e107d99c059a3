/* tests/sim/sim_trace.c - a ring of lines. */
#include "sim_trace.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SET_DEATH_CALLBACK(fn) __sanitizer_set_death_callback(fn)
#else
#define SET_DEATH_CALLBACK(fn) (void)(fn)
#endif

#define LINES 60
#define LINE_LEN 200

static struct {
    uint64_t hash;
    bool running, loud, told;
    size_t count;
    char lines[LINES][LINE_LEN];
    char again
        [LINE_LEN]; /* how to see it fail once more; made early, for a signal handler */
} ring;

static void put(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(SIM_EXIT_FAILED);
}

static void tell(void)
{
    if (!ring.running || ring.told)
        return;
    ring.told = true;
    if (!ring.loud)
        put("the last steps:\n");
    for (size_t i = ring.count > LINES ? ring.count - LINES : 0;
         i < ring.count && !ring.loud; i++) {
        put(ring.lines[i % LINES]);
        put("\n");
    }
    put(ring.again);
}

static void on_signal(int number)
{
    tell();
    signal(number, SIG_DFL);
    raise(number);
}

void trace_start(uint64_t seed, bool loud)
{
    snprintf(ring.again, sizeof ring.again,
             "sim: seed %llu failed; again: NEAP_SIM_SEED=%llu\n", (unsigned long long)seed,
             (unsigned long long)seed);
    ring.hash = 0xcbf29ce484222325U;
    ring.loud = loud;
    ring.count = 0;
    ring.running = true;
    ring.told = false;
    SET_DEATH_CALLBACK(tell);
    signal(SIGABRT, on_signal);
#if !defined(__SANITIZE_ADDRESS__)
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
#endif
}

void trace_end(void)
{
    ring.running = false;
}

void trace(const char *format, ...)
{
    char *line = ring.lines[ring.count++ % LINES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, LINE_LEN, format, args);
    va_end(args);
    for (const char *at = line; *at; at++)
        ring.hash = (ring.hash ^ (unsigned char)*at) * 0x100000001b3U;
    if (ring.loud)
        fprintf(stderr, "%s\n", line);
}

uint64_t trace_hash(void)
{
    return ring.hash;
}

const char *trace_bytes(const char *bytes, size_t len)
{
    static char texts[4][96];
    static unsigned next;
    char *text = texts[next++ % 4];
    size_t at = 0, shown = len < 20 ? len : 20;
    for (size_t i = 0; i < shown; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        bool plain = byte >= 0x20 && byte < 0x7f && byte != '\\';
        at += (size_t)snprintf(text + at, sizeof texts[0] - at, plain ? "%c" : "\\x%02x",
                               byte);
    }
    snprintf(text + at, sizeof texts[0] - at, "%s(%zu)", len > shown ? ".. " : " ", len);
    return text;
}

_Noreturn void sim_fail(const char *format, ...)
{
    char text[512] = "sim: ";
    va_list args;
    va_start(args, format);
    vsnprintf(text + 5, sizeof text - 5, format, args);
    va_end(args);
    tell();
    put(text);
    put("\n");
    _exit(SIM_EXIT_FAILED);
}
