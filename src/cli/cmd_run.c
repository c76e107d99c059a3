/* cli/cmd_run.c - `neap run`: serve in the foreground. */
#include <sysexits.h>

#include "cli/command.h"
#include "cli/report.h"
#include "cli/settings.h"

static const struct example run_examples[] = {
    {"neap", "the echo script that is part of neap, TCP and UDP on 127.0.0.1:4343"},
    {"neap chat.lua", "a script; short for neap run chat.lua"},
    {"neap run chat.lua --listen tcp://0.0.0.0:4343 --workers auto",
     "on all IPv4 interfaces, with every core"},
    {"neap run app.lua --listen chat=4343 --listen admin=unix:///run/admin.sock",
     "addresses for two services of the script"},
    {"neap -e 'return { on_message = function(_, text) return text:upper() end }'",
     "code instead of a file"},
    {NULL, NULL},
};

static const struct flag run_flags[] = {
    {"eval", 'e', "CODE", "serve this Lua code instead of a script", NULL, false,
     settings_set_code},
    {"listen", 'l', "[NAME=]ADDR",
     "listen here, not where the script says: its one service, or the one called NAME",
     "NEAP_LISTEN", true, settings_set_listen},
    {"workers", 0, "N|auto", "threads that serve; auto is one for each core",
     "NEAP_WORKERS", false, settings_set_workers},
    {"watch", 'w', NULL, "reload when a file of the script is saved", "NEAP_WATCH", false,
     settings_set_watch},
    {"name", 0, "NAME", "of the control socket, by which neap reload and others find it",
     "NEAP_NAME", false, settings_set_name},
    {"load-timeout", 0, "SECONDS",
     "how long the script may take to load; 5 if neither this nor the script says",
     "NEAP_LOAD_TIMEOUT", false, settings_set_load_timeout},
    {"log-level", 0, "debug|info|warn|error", "the least that is logged", "NEAP_LOG_LEVEL",
     false, settings_set_log_level},
    {"log-format", 0, "text|logfmt|json",
     "how it is logged; text on a terminal and logfmt otherwise if nothing is said",
     "NEAP_LOG_FORMAT", false, settings_set_log_format},
    {.name = NULL},
};

static int serve(struct settings *settings, const struct flags_line *line)
{
    if (settings_finish(settings, line) < 0) {
        report_error("--eval and the script '%s': only one can be served",
                     settings->config.script);
        return EX_USAGE;
    }
    return server_run(&settings->config);
}

static int run(int argc, char **argv)
{
    struct settings settings;
    struct flags_line line = {.argc = argc, .argv = argv};
    settings_init(&settings);
    int status = command_parse(&cmd_run, &line, &settings);
    if (status == COMMAND_GO_ON)
        status = serve(&settings, &line);
    settings_fini(&settings);
    return status;
}

const struct command cmd_run = {
    .name = "run",
    .summary = "serve a script in the foreground",
    .usage = "run [SCRIPT | -e CODE] [FLAG]...",
    .about =
        "Serves a Lua script until SIGINT or SIGTERM. Without a script it serves the one "
        "that is part of neap: an echo on TCP and UDP 127.0.0.1:4343. The word run may be "
        "left out.\n"
        "An address is tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, unixgram:///PATH, "
        "fd://N, or a bare PORT, which is tcp://127.0.0.1:PORT. Hosts are numeric, or "
        "localhost; port 0 takes a free one. Options follow as a query: "
        "?backlog=1024&ipv6_only=0&mode=0660&reuse_port=1.",
    .operand = "SCRIPT",
    .operand_max = 1,
    .examples = run_examples,
    .flags = run_flags,
    .run = run,
};
