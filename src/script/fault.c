/* script/fault.c - where it happened, the lines around it, what may help. */
#include "script/fault.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/buf.h"
#include "base/text.h"
#include "net/conn.h"
#include "net/reactor.h"
#include "script/call.h"
#include "script/lib_conn.h"
#include "script/record.h"
#include "script/source.h"
#include "script/version.h"
#include "script/vm.h"

#define FOLD_MS 10000U
#define EXCERPT_BEFORE 1 /* lines shown before the one that raised */
#define LINE_MAX_LEN 200 /* of a line of code */
#define TEXT_MAX 2048    /* of a message or a traceback */

struct fault {
    const char *what, *message, *traceback; /* what, traceback: may be NULL */
    const char *chunk;                      /* "@chat.lua", or NULL */
    int line;
    const struct conn *conn;
    const struct source *source;
    int version;
    bool closes; /* the connection ends by it */
};

static const char *chunk_name(const char *chunk)
{
    return *chunk == '@' || *chunk == '=' ? chunk + 1 : chunk;
}

/* Lua puts "chat.lua:42: " before a message; where it stands is told better elsewhere. */
static const char *without_place(const struct fault *fault)
{
    const char *message = fault->message;
    if (!fault->chunk)
        return message;
    const char *name = chunk_name(fault->chunk);
    size_t len = strlen(name);
    if (strncmp(message, name, len) != 0 || message[len] != ':')
        return message;
    const char *after = message + len + 1 + strspn(message + len + 1, "0123456789");
    return strncmp(after, ": ", 2) == 0 ? after + 2 : message;
}

/* Escaped, but for tabs, which become spaces: indented code and tracebacks have them. */
static int add_spaced(struct buf *out, const char *text, size_t len)
{
    int failed = 0;
    for (size_t i = 0; i < len && !failed; i++)
        failed = text[i] == '\t' ? buf_append(out, "    ", 4)
                                 : text_escape(out, TEXT_ESCAPE_LOG, text + i, 1);
    return failed;
}

/* Escaped, and cut where it is endless; newlines stay for what has lines. */
static int add_text(struct buf *out, const char *text, bool lines)
{
    size_t len = strnlen(text, TEXT_MAX);
    int failed = 0;
    while (len && !failed) {
        const char *newline = lines ? memchr(text, '\n', len) : NULL;
        size_t part = newline ? (size_t)(newline - text) : len;
        failed = add_spaced(out, text, part);
        if (newline && !failed)
            failed = buf_append(out, "\n  ", 3);
        part += newline != NULL;
        text += part;
        len -= part;
    }
    return failed;
}

static int add_place(struct buf *out, const struct fault *fault)
{
    int failed = buf_printf(out, "\n  --> %s:%d", chunk_name(fault->chunk), fault->line);
    if (!failed && fault->what)
        failed = buf_printf(out, " in %s", fault->what);
    if (failed || !fault->version)
        return failed;
    if (!fault->conn)
        return buf_printf(out, " (version %d)", fault->version);
    char peer[ADDR_TEXT_MAX];
    struct endpoint at;
    conn_peer(fault->conn, &at);
    endpoint_format(&at, peer);
    failed =
        buf_printf(out, " (connection %llu%s", (unsigned long long)conn_number(fault->conn),
                   *peer ? " from " : "");
    if (!failed)
        failed = add_text(out, peer, false);
    return failed ? failed : buf_printf(out, ", version %d)", fault->version);
}

static int add_excerpt(struct buf *out, const struct fault *fault)
{
    int failed = 0;
    bool any = false;
    for (int line = fault->line - EXCERPT_BEFORE; line <= fault->line && !failed; line++) {
        size_t len;
        const char *text = source_line(fault->source, fault->chunk, line, &len);
        if (!text)
            continue;
        any = true;
        failed = buf_printf(out, "\n  %4d | ", line);
        failed = failed ? failed
                        : add_spaced(out, text, len < LINE_MAX_LEN ? len : LINE_MAX_LEN);
    }
    return failed || !any ? failed : buf_printf(out, "\n       |");
}

/* "attempt to call a nil value (method 'sned')": a method that is spelt otherwise. */
static int add_help(struct buf *out, const struct fault *fault)
{
    static const char mark[] = "(method '";
    const char *at = strstr(fault->message, mark);
    if (!at)
        return 0;
    at += sizeof mark - 1;
    char word[32];
    size_t len = strcspn(at, "'");
    if (len >= sizeof word)
        return 0;
    memcpy(word, at, len);
    word[len] = '\0';
    size_t count;
    const char *const *names = lib_conn_names(&count);
    const char *near = text_nearest(word, names, count);
    return near ? buf_printf(out, "\n  help: a connection has '%s'; did you mean that?",
                             near)
                : 0;
}

static int add_note(struct buf *out, const struct conn *conn)
{
    unsigned others = conn->reactor->conns.count - 1;
    int failed = buf_printf(out, "\n  note: connection %llu is closed",
                            (unsigned long long)conn_number(conn));
    if (failed || others == 0)
        return failed;
    return buf_printf(out, "; %u other%s not affected", others,
                      others == 1 ? " is" : "s are");
}

static int write_block(struct buf *out, const struct fault *fault)
{
    int failed = buf_printf(out, "error: %s%s", fault->what ? fault->what : "",
                            fault->what ? " raised: " : "");
    if (!failed)
        failed = add_text(out, without_place(fault), true);
    if (!failed && fault->chunk)
        failed = add_place(out, fault);
    if (!failed && fault->chunk && fault->source)
        failed = add_excerpt(out, fault);
    if (!failed)
        failed = add_help(out, fault);
    if (!failed && fault->closes)
        failed = add_note(out, fault->conn);
    if (!failed && fault->traceback) {
        failed = buf_append(out, "\n  ", 3);
        if (!failed)
            failed = add_text(out, fault->traceback, true);
    }
    return failed ? failed : buf_append(out, "\n", 1);
}

static char *block_text(const struct fault *fault)
{
    struct buf out = {0};
    if (write_block(&out, fault) || buf_append(&out, "", 1)) {
        buf_fini(&out);
        return NULL;
    }
    return buf_bytes(&out); /* from its first byte: nothing was consumed */
}

char *fault_text(const struct source *source, const char *message)
{
    struct fault fault = {.message = message, .source = source};
    char chunk[256];
    /* "chat.lua:3: ..." names the place in the text itself. */
    const char *colon = strstr(message, ": ");
    const char *digits = colon;
    while (digits && digits > message && isdigit((unsigned char)digits[-1]))
        digits--;
    if (digits && digits < colon && digits > message && digits[-1] == ':' &&
        (size_t)(digits - message) < sizeof chunk) {
        chunk[0] = '@';
        size_t len = (size_t)(digits - message) - 1;
        memcpy(chunk + 1, message, len);
        chunk[len + 1] = '\0';
        fault.chunk = chunk;
        fault.line = (int)strtol(digits, NULL, 10);
    }
    return block_text(&fault);
}

/* Fills in what the raised table at `index` says; its strings stay referenced by it. */
static struct fault read_raised(lua_State *L, int index, const struct call *call,
                                const char *what)
{
    const struct version *version = call->version;
    struct fault fault = {.what = what, .message = "unknown error", .conn = call->conn};
    if (version) {
        fault.source = version->source;
        fault.version = version->state == VERSION_LOADING ? 0 : (int)version->number;
    }
    if (lua_getfield(L, index, "message") == LUA_TSTRING)
        fault.message = lua_tostring(L, -1);
    if (lua_getfield(L, index, "traceback") == LUA_TSTRING)
        fault.traceback = lua_tostring(L, -1);
    if (lua_getfield(L, index, "line") == LUA_TNUMBER)
        fault.line = (int)lua_tointeger(L, -1);
    if (lua_getfield(L, index, "source") == LUA_TSTRING)
        fault.chunk = lua_tostring(L, -1);
    lua_pop(L, 4);
    return fault;
}

char *fault_take(lua_State *L, struct call *call)
{
    struct fault fault = read_raised(L, lua_gettop(L), call, call->what);
    return call->quiet ? block_text(&fault) : strndup(fault.message, CONN_DETAIL_MAX);
}

/* ---- Folding ---- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3U;
    return hash;
}

static void end_fold(struct vm *vm)
{
    uint64_t count = vm->fold.count;
    vm->fold.hash = vm->fold.count = 0;
    if (count == 0)
        return;
    struct log_field field = record_integer("count", (int64_t)count);
    static const char message[] = "the last script error happened again";
    record_write(vm, &(struct record){.level = LOG_ERROR,
                                      .message = message,
                                      .message_len = sizeof message - 1,
                                      .no_conn = true,
                                      .fields = &field,
                                      .field_count = 1});
}

static void on_fold_over(struct wheel_timer *timer)
{
    end_fold(container_of(timer, struct vm, fold.timer));
}

/* True: the same as the last one, and counted. */
static bool fold(struct vm *vm, const struct fault *fault)
{
    struct reactor *reactor = vm->host.reactor;
    if (!reactor)
        return false;
    uint64_t hash = hash_text(0xcbf29ce484222325U, fault->message);
    if (fault->what)
        hash = hash_text(hash, fault->what);
    if (hash == vm->fold.hash) {
        vm->fold.count++;
        return true;
    }
    end_fold(vm);
    vm->fold.hash = hash;
    if (!vm->fold.timer.fn)
        wheel_timer_init(&vm->fold.timer, on_fold_over);
    wheel_start(&reactor->wheel, &vm->fold.timer, reactor_now_ms(reactor) + FOLD_MS);
    return false;
}

void fault_close(struct vm *vm)
{
    end_fold(vm);
    if (vm->fold.timer.fn)
        wheel_stop(&vm->host.reactor->wheel, &vm->fold.timer);
}

/* ---- Telling ---- */

static void write_record(struct vm *vm, const struct fault *fault)
{
    struct log_field fields[3];
    size_t count = 0;
    struct buf text = {0}, place = {0};
    if (buf_printf(&text, "%s raised: ", fault->what ? fault->what : "script") ||
        buf_append(&text, without_place(fault), strnlen(without_place(fault), TEXT_MAX)))
        buf_clear(&text);
    if (fault->chunk &&
        buf_printf(&place, "%s:%d", chunk_name(fault->chunk), fault->line) == 0)
        fields[count++] =
            (struct log_field){.key = "script",
                               .key_len = 6,
                               .as.string = {buf_bytes(&place), buf_len(&place)}};
    if (fault->traceback)
        fields[count++] = record_string("traceback", fault->traceback);
    record_write(vm, &(struct record){.level = LOG_ERROR,
                                      .message = buf_len(&text) ? buf_bytes(&text) : "",
                                      .message_len = buf_len(&text),
                                      .conn = fault->conn,
                                      .fields = fields,
                                      .field_count = count});
    buf_fini(&text);
    buf_fini(&place);
}

static bool has_on_log(const struct vm *vm)
{
    const struct version *version = call_version(vm);
    return version && version->hooks[ON_LOG] != LUA_NOREF && !vm->logging;
}

static void tell(struct vm *vm, const struct fault *fault)
{
    if (vm->host.reactor)
        counters_add(&vm->host.reactor->counters, COUNTER_HOOK_ERRORS, 1);
    if (!vm->host.log || !log_is_enabled(vm->host.log, LOG_ERROR) || fold(vm, fault))
        return;
    char *block = log_format_of(vm->host.log) == LOG_TEXT && !has_on_log(vm)
                      ? block_text(fault)
                      : NULL;
    if (block)
        log_write_raw(vm->host.log, block, strlen(block));
    else
        write_record(vm, fault);
    free(block);
}

void fault_tell(lua_State *L, struct call *call, const char *what)
{
    struct fault fault = read_raised(L, lua_gettop(L), call, what);
    bool asks = version_on_error(call->version, call->service) != LUA_NOREF;
    fault.closes = call->conn && !asks;
    tell(call->vm, &fault);
}

void fault_tell_bare(struct call *call, const char *message)
{
    struct fault fault = {.what = call->what, .message = message, .conn = call->conn};
    if (call->version)
        fault.version = (int)call->version->number;
    tell(call->vm, &fault);
}
