/* server/reload_report.c - facts of a reload, as JSON. */
#include "server/reload_report.h"

#include <stdio.h>
#include <string.h>

#include "io/io.h"
#include "script/hook.h"
#include "script/source.h"
#include "script/version.h"
#include "server/addresses.h"
#include "server/control.h"
#include "server/history.h"
#include "server/plan.h"
#include "server/turnover.h"

static uint64_t now_ns(void)
{
    return io_system.ops->monotonic_ns(&io_system);
}

void reload_facts_begin(struct reload_facts *facts)
{
    facts->started_ns = now_ns();
}

void reload_facts_over(struct reload_facts *facts)
{
    facts->took_ns = now_ns() - facts->started_ns;
}

void reload_facts_init(struct reload_facts *facts)
{
    *facts = (struct reload_facts){.started_ns = now_ns(),
                                   .files = json_array(),
                                   .opened = json_array(),
                                   .closed = json_array(),
                                   .ignored = json_array()};
}

void reload_facts_fini(struct reload_facts *facts)
{
    json_decref(facts->files);
    json_decref(facts->opened);
    json_decref(facts->closed);
    json_decref(facts->ignored);
}

static void add_text(json_t *array, const char *text)
{
    (void)json_array_append_new(array, control_text(text, strlen(text)));
}

static void add_ignored(struct reload_facts *facts, const char *option, const char *why)
{
    (void)json_array_append_new(facts->ignored,
                                json_pack("{s:s,s:s}", "option", option, "why", why));
}

/* ---- Gathering ---- */

static const struct source_file *find_chunk(const struct source *source, const char *chunk)
{
    for (size_t i = 0; i < source->count; i++)
        if (strcmp(source->files[i].chunk, chunk) == 0)
            return &source->files[i];
    return NULL;
}

static void add_differing(struct reload_facts *facts, const struct source *of,
                          const struct source *other, bool only_missing)
{
    for (size_t i = 0; i < of->count; i++) {
        const struct source_file *file = &of->files[i];
        const struct source_file *there = find_chunk(other, file->chunk);
        bool same = there && there->len == file->len &&
                    memcmp(there->bytes, file->bytes, file->len) == 0;
        if (!there || (!same && !only_missing))
            add_text(facts->files, file->chunk + 1);
    }
}

void reload_facts_files(struct reload_facts *facts, const struct source *before,
                        const struct source *after)
{
    add_differing(facts, after, before, false);
    add_differing(facts, before, after, true);
}

void reload_facts_addresses(struct reload_facts *facts, const struct addresses *addresses)
{
    LIST_FOREACH (&addresses->all, node) {
        const struct address *address = container_of(node, const struct address, node);
        if (address->is_new)
            add_text(facts->opened, address->bound.text);
        else if (!address->next)
            add_text(facts->closed, address->bound.text);
        else if (address->other_options)
            add_ignored(facts, address->bound.text,
                        "options of an address hold from when it was bound");
    }
}

void reload_facts_ignored(struct reload_facts *facts, const struct plan *before,
                          const struct plan *after)
{
    version_globals(after->version, facts->globals, sizeof facts->globals);
    if (after->workers_wanted != after->workers)
        add_ignored(facts, "workers",
                    "the number of workers is fixed while the server runs: restart it");
    if (before->version->settings.log_format != after->version->settings.log_format)
        add_ignored(facts, "log_format", "the log keeps the format that it began with");
}

void reload_facts_worker(struct reload_facts *facts, const struct turnover *turnover)
{
    facts->connections += turnover->connections;
    facts->timers_ended += turnover->timers_ended;
    facts->orphans += turnover->orphans;
    facts->vanished |= turnover->vanished;
    facts->held += turnover->held;
}

/* ---- Telling ---- */

static json_t *warnings(const struct reload_facts *facts)
{
    json_t *array = json_array();
    char text[400];
    for (size_t hook = 0; hook < ON_COUNT; hook++) {
        if (!(facts->vanished & (size_t)1 << hook) || facts->connections == 0)
            continue;
        snprintf(text, sizeof text, "the hook %s is gone; %zu connection%s open",
                 hook_rows[hook].name, facts->connections,
                 facts->connections == 1 ? " is" : "s are");
        add_text(array, text);
    }
    if (facts->orphans) {
        snprintf(text, sizeof text,
                 "a service is gone, and has connections: they keep the hooks they had");
        add_text(array, text);
    }
    if (facts->held) {
        snprintf(text, sizeof text,
                 "conn.data holds functions of older versions (%zu found): they keep the "
                 "old code; keep data there",
                 facts->held);
        add_text(array, text);
    }
    if (*facts->globals) {
        snprintf(text, sizeof text,
                 "globals were written (%s): were they meant to be local?", facts->globals);
        add_text(array, text);
    }
    return array;
}

json_t *reload_report(const struct reload_facts *facts, const struct past *now,
                      const struct history *history)
{
    unsigned previous = history->count > 1 ? history->all[1].number : 0;
    json_t *report = json_pack(
        "{s:i,s:i,s:s,s:f,s:I,s:I,s:O,s:O,s:O,s:O,s:o}", "version", (int)now->number,
        "previous", (int)previous, "hash", now->source->hash, "ms",
        (double)facts->took_ns / 1e6, "connections", (json_int_t)facts->connections,
        "timers_ended", (json_int_t)facts->timers_ended, "files_changed", facts->files,
        "listeners_opened", facts->opened, "listeners_closed", facts->closed, "ignored",
        facts->ignored, "warnings", warnings(facts));
    if (report && now->same_as)
        (void)json_object_set_new(report, "same_as",
                                  json_integer((json_int_t)now->same_as));
    return report;
}

static size_t number_of(const json_t *report, const char *name)
{
    return (size_t)json_integer_value(json_object_get(report, name));
}

static const char *text_of(const json_t *report, const char *name)
{
    return json_string_value(json_object_get(report, name));
}

/* A canary has begun, or was withdrawn. */
static void canary_line(const json_t *report, const json_t *canary, char *line, size_t size)
{
    const char *share = text_of(canary, "share"), *peer = text_of(canary, "peer");
    size_t number = number_of(canary, "version"), serving = number_of(report, "version");
    if (serving == number)
        snprintf(line, size, "canary: version %zu has %s%s, version %zu all others", number,
                 share ? share : "new connections from ",
                 share ? " of new connections" : peer, number_of(report, "previous"));
    else
        snprintf(line, size, "canary: version %zu is withdrawn, version %zu goes on",
                 number, serving);
}

void reload_line(const json_t *report, char *line, size_t size)
{
    const json_t *canary = json_object_get(report, "canary");
    if (canary && !json_object_get(report, "ms")) {
        canary_line(report, canary, line, size);
        return;
    }
    size_t connections = number_of(report, "connections");
    size_t timers = number_of(report, "timers_ended");
    int len = snprintf(
        line, size,
        "reloaded: version %zu -> %zu in %.3g ms, %zu connection%s kept, %zu timer%s "
        "ended",
        number_of(report, "previous"), number_of(report, "version"),
        json_number_value(json_object_get(report, "ms")), connections,
        connections == 1 ? "" : "s", timers, timers == 1 ? "" : "s");
    size_t index;
    const json_t *warning;
    json_array_foreach(json_object_get(report, "warnings"), index,
                       warning) if (len > 0 && (size_t)len < size) len +=
        snprintf(line + len, size - (size_t)len, "; %s", json_string_value(warning));
}
