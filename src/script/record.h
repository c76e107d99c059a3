/* script/record.h - log records that come from a worker: with their context, past on_log.
 *
 * Thread: the vm's. Raises: record_write no; the l_ functions as Lua functions do. */
#ifndef NEAP_SCRIPT_RECORD_H
#define NEAP_SCRIPT_RECORD_H

#include <stddef.h>

#include <lua.h>

#include "base/log.h"

struct conn;
struct vm;

#define RECORD_FIELDS_MAX 32 /* of the script; more raise */

struct record {
    enum log_level level;
    const char *message;
    size_t message_len;
    const struct conn *conn; /* NULL: that of the hook that runs, if one does */
    bool no_conn;            /* it is about none, whatever runs */
    const struct log_field *fields;
    size_t field_count;
};

/* Adds worker, conn, peer, service and version, asks on_log, writes. */
void record_write(struct vm *vm, const struct record *record);

struct log_field record_string(const char *key, const char *text);
struct log_field record_integer(const char *key, int64_t value);

/* Puts `neap.log` on the stack. Raises: on memory. */
void record_open(lua_State *L);

/* print(...): one record at info, joined with tabs. */
int l_print(lua_State *L);

#endif
