/* cli/cmd_version.c - `neap version`: of neap, and of what it runs on. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/command.h"
#include "neap/version.h"
#include "server/server.h"

/* The first release of Lua 5.4 without a bug that a legal script can crash it with. */
#define LUA_RECOMMENDED "5.4.8"

static int set_json(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    *(bool *)options = true;
    return 0;
}

static const struct example version_examples[] = {
    {"neap version", "one line, and a second one when this Lua has known bugs"},
    {"neap version --json", "for a program"},
    {NULL, NULL},
};

static const struct flag version_flags[] = {
    {"json", 0, NULL, "print a JSON object", NULL, false, set_json},
    {.name = NULL},
};

static int run(int argc, char **argv)
{
    bool json = false;
    struct flags_line line = {.argc = argc, .argv = argv};
    int status = command_parse(&cmd_version, &line, &json);
    if (status != COMMAND_GO_ON)
        return status;

    const char *libev = server_libev_release();
    const char *lua = server_lua_release();
    bool is_old = strverscmp(lua, LUA_RECOMMENDED) < 0;
    if (json) {
        printf("{\"version\":\"%s\",\"lua_release\":\"%s\",\"lua_recommended\":\"%s\","
               "\"lua_has_known_bugs\":%s,\"libev_release\":\"%s\"}\n",
               NEAP_VERSION, lua, LUA_RECOMMENDED, is_old ? "true" : "false", libev);
        return EX_OK;
    }
    printf("neap %s (Lua %s, libev %s)\n", NEAP_VERSION, lua, libev);
    if (is_old)
        printf("Lua %s has known bugs that neap works around; %s or later is recommended\n",
               lua, LUA_RECOMMENDED);
    return EX_OK;
}

const struct command cmd_version = {
    .name = "version",
    .summary = "print the versions of neap, Lua and libev",
    .usage = "version [--json]",
    .about =
        "Prints the version of neap and the releases of Lua and libev that it runs on, "
        "and says so when that Lua has known bugs.",
    .operand_max = 0,
    .examples = version_examples,
    .flags = version_flags,
    .run = run,
};
