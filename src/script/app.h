/* script/app.h - reads the table that a script returns into a version's services.
 *
 * Thread: the vm's. Raises: with a text for the script's author, which names key, file and line
 * where they are known, and what may have been meant. */
#ifndef NEAP_SCRIPT_APP_H
#define NEAP_SCRIPT_APP_H

#include <lua.h>

struct version;

/* Reads the value at `index`. What it filled in by then is freed with the version. */
void app_read(lua_State *L, int index, struct version *version);

#endif
