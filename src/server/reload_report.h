/* server/reload_report.h - what a reload did: gathered on the way, told in the answer.
 *
 * Owns:   its JSON values. Thread: main.
 * Errors: what there is no memory for is left out. */
#ifndef NEAP_SERVER_RELOAD_REPORT_H
#define NEAP_SERVER_RELOAD_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct addresses;
struct history;
struct past;
struct plan;
struct source;
struct turnover;

struct reload_facts {
    uint64_t started_ns, took_ns;
    size_t connections, timers_ended, orphans, vanished, held;
    char globals[200];
    json_t *files, *opened, *closed, *ignored;
};

void reload_facts_init(struct reload_facts *facts);
/* From here on it is timed: a canary has waited for people. */
void reload_facts_begin(struct reload_facts *facts);
/* All workers serve the new version. */
void reload_facts_over(struct reload_facts *facts);
void reload_facts_fini(struct reload_facts *facts);

/* Which files differ. */
void reload_facts_files(struct reload_facts *facts, const struct source *before,
                        const struct source *after);
/* Between addresses_prepare and addresses_commit. */
void reload_facts_addresses(struct reload_facts *facts, const struct addresses *addresses);
/* What cannot change while the server runs, and what else the new plan has that is odd. */
void reload_facts_ignored(struct reload_facts *facts, const struct plan *before,
                          const struct plan *after);
/* What one worker's switch came to. */
void reload_facts_worker(struct reload_facts *facts, const struct turnover *turnover);

/* A new object; NULL when memory is out. */
json_t *reload_report(const struct reload_facts *facts, const struct past *now,
                      const struct history *history);

/* The report as one line for the log. */
void reload_line(const json_t *report, char *line, size_t size);

#endif
