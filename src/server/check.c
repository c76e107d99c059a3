/* server/check.c - `neap check`: what a script would serve, without a socket. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/text.h"
#include "script/source.h"
#include "script/version.h"
#include "server/plan.h"
#include "server/server.h"

/* A connection's share of memory besides its buffers, rounded up generously: its struct, its
 * watcher, its slot. */
#define CONN_BYTES 1024ULL

static unsigned long long memory_bound(const struct plan *plan)
{
    const struct app_settings *settings = &plan->version->settings;
    return (unsigned long long)plan->workers *
               (settings->lua_memory + settings->max_buffered) +
           (settings->max_connections + settings->max_peers) * CONN_BYTES;
}

static unsigned long long in_mib(unsigned long long bytes)
{
    return (bytes + (1U << 20) - 1) >> 20;
}

/* Plain for people; quoted, with commas, for JSON. */
static void list_hooks(const int *hooks, const int *more, bool json, FILE *out)
{
    bool any = false;
    for (size_t i = 0; i < ON_COUNT; i++) {
        bool here = hooks[i] >= 0 || (more && more[i] >= 0);
        if (here)
            fprintf(out, json ? "%s\"%s\"" : "%s%s",
                    !any   ? ""
                    : json ? ","
                           : " ",
                    hook_rows[i].name);
        any |= here;
    }
}

/* Those beside `services` are a lone service's own. */
static const int *outer_hooks(const struct version *version)
{
    return version->lone ? version->hooks : NULL;
}

static void list_addresses(const struct script_service *service, const char *separator,
                           FILE *out)
{
    for (size_t i = 0; i < service->listen_count; i++) {
        char text[ADDR_TEXT_MAX];
        addr_format(&service->listen[i], text);
        fprintf(out, "%s%s", i ? separator : "", text);
    }
}

static void show_option(const struct option *option, uint64_t value, FILE *out)
{
    fprintf(out, "    %s = ", option->name);
    if (option->kind == OPTION_BOOL)
        fprintf(out, "%s\n", value ? "true" : "false");
    else if (option->kind == OPTION_CHOICE)
        fprintf(out, "\"%s\"\n", option->choices[value]);
    else if (value == OPTION_WORKERS_AUTO)
        fprintf(out, "\"auto\"\n");
    else if (option->kind == OPTION_SECONDS)
        fprintf(out, "%g\n", (double)value / 1e3);
    else
        fprintf(out, "%llu\n", (unsigned long long)value);
}

static void show_options(const void *settings, bool app, FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_rows[i];
        uint64_t value = option_value(option, settings);
        if ((option->scope == OPTION_APP) == app && value != option->initial &&
            option->offset != offsetof(struct app_settings, max_connections))
            show_option(option, value, out);
    }
}

static void show_text(const struct plan *plan, FILE *out)
{
    const struct version *version = plan->version;
    fprintf(out, "%s: ok\n", source_path(plan->source));
    for (size_t i = 0; i < version->service_count; i++) {
        const struct script_service *service = &version->services[i];
        fprintf(out, "  service %s\n    listens on  ", service->name);
        list_addresses(service, "\n                ", out);
        if (!service->listen_count)
            fputs("nothing", out);
        fprintf(out, "\n    framing     %s\n    hooks       ",
                service->net.framing->codec.ops->name);
        list_hooks(service->hooks, outer_hooks(version), false, out);
        fputs("\n", out);
        show_options(&service->settings, false, out);
    }
    if (!version->lone) {
        fputs("  hooks         ", out);
        list_hooks(version->hooks, NULL, false, out);
        fputs("\n", out);
    }
    fprintf(out, "  workers       %u\n", plan->workers);
    fprintf(out, "  connections   %llu at most (descriptor limit %llu)\n",
            (unsigned long long)version->settings.max_connections,
            (unsigned long long)plan->descriptor_limit);
    fprintf(out, "  memory        %llu MiB at most\n", in_mib(memory_bound(plan)));
    show_options(&version->settings, true, out);
}

/* Names and addresses have no character that JSON escapes: names are checked, a path may. */
static void show_quoted(const char *text, FILE *out)
{
    struct buf escaped = {0};
    if (text_escape(&escaped, TEXT_ESCAPE_JSON, text, strlen(text)) == 0)
        fprintf(out, "\"%.*s\"", (int)buf_len(&escaped),
                buf_len(&escaped) ? buf_bytes(&escaped) : "");
    buf_fini(&escaped);
}

static void show_json_service(const struct version *version,
                              const struct script_service *service, FILE *out)
{
    fprintf(out, "{\"name\":\"%s\",\"listen\":[", service->name);
    for (size_t i = 0; i < service->listen_count; i++) {
        char text[ADDR_TEXT_MAX];
        addr_format(&service->listen[i], text);
        fputs(i ? "," : "", out);
        show_quoted(text, out);
    }
    fprintf(out, "],\"framing\":\"%s\",\"hooks\":[", service->net.framing->codec.ops->name);
    list_hooks(service->hooks, outer_hooks(version), true, out);
    fputs("]}", out);
}

static void show_json(const struct plan *plan, FILE *out)
{
    const struct version *version = plan->version;
    fputs("{\"script\":", out);
    show_quoted(source_path(plan->source), out);
    fputs(",\"services\":[", out);
    for (size_t i = 0; i < version->service_count; i++) {
        fputs(i ? "," : "", out);
        show_json_service(version, &version->services[i], out);
    }
    fprintf(out, "],\"workers\":%u,\"max_connections\":%llu,\"memory_bound\":%llu}\n",
            plan->workers, (unsigned long long)version->settings.max_connections,
            memory_bound(plan));
}

int server_check(const struct server_config *config, bool json, FILE *out)
{
    struct plan plan = {0};
    int status = plan_open(&plan, config, NULL, stderr);
    if (status == EX_OK && json)
        show_json(&plan, out);
    else if (status == EX_OK)
        show_text(&plan, out);
    plan_close(&plan);
    return status;
}
