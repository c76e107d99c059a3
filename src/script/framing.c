/* script/framing.c - from a Lua value to a codec, and the way back into Lua for "custom". */
#include "script/framing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/macros.h"
#include "base/text.h"
#include "net/reactor.h"
#include "script/call.h"
#include "script/version.h"
#include "script/vm.h"

#define PEEK_DEFAULT 64

static const char *const framing_names[] = {"raw",    "line",      "delimiter", "fixed",
                                            "length", "netstring", "custom"};

/* What one framing takes beside its name: keys, and what stands at [2]. */
struct reader {
    const char *name;
    const char *keys[8];
    /* NULL, or what is wrong. The table is at `index`. */
    const char *(*read)(lua_State *L, int index, struct codec *codec);
};

static const char *read_raw(lua_State *L, int index, struct codec *codec)
{
    (void)L;
    (void)index;
    codec_init_raw(codec);
    return NULL;
}

static const char *read_netstring(lua_State *L, int index, struct codec *codec)
{
    (void)L;
    (void)index;
    codec_init_netstring(codec);
    return NULL;
}

static const char *read_line(lua_State *L, int index, struct codec *codec)
{
    size_t len = 1;
    const char *eol = "\n", *why = NULL;
    if (lua_getfield(L, index, "eol") == LUA_TSTRING)
        eol = lua_tolstring(L, -1, &len);
    else if (!lua_isnil(L, -1))
        return "line: eol must be a string";
    return codec_init_line(codec, eol, len, &why) ? why : NULL;
}

static const char *read_delimiter(lua_State *L, int index, struct codec *codec)
{
    size_t len;
    const char *why = NULL;
    if (lua_rawgeti(L, index, 2) != LUA_TSTRING)
        return "delimiter: the delimiter is missing, as in { \"delimiter\", \"\\r\\n\" }";
    const char *bytes = lua_tolstring(L, -1, &len);
    return codec_init_delimiter(codec, bytes, len, &why) ? why : NULL;
}

static const char *read_fixed(lua_State *L, int index, struct codec *codec)
{
    const char *why = NULL;
    lua_rawgeti(L, index, 2);
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1)
        return "fixed: the length is missing, as in { \"fixed\", 16 }";
    return codec_init_fixed(codec, (size_t)lua_tointeger(L, -1), &why) ? why : NULL;
}

/* An integer at a key, or the one given; false when something else stands there. */
static bool read_integer(lua_State *L, int index, const char *key, lua_Integer *value)
{
    if (lua_getfield(L, index, key) == LUA_TNIL)
        return true;
    int is_integer;
    *value = lua_tointegerx(L, -1, &is_integer);
    return is_integer && lua_type(L, -1) == LUA_TNUMBER;
}

static const char *read_field_width(lua_State *L, int index, struct codec_length_spec *spec)
{
    const char *wrong = "length: bytes must be 1 to 8 or \"varint\"";
    int type = lua_getfield(L, index, "bytes");
    if (type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "varint") == 0) {
        spec->bytes = CODEC_VARINT;
        return NULL;
    }
    lua_Integer bytes = 4;
    if (type != LUA_TNIL && !read_integer(L, index, "bytes", &bytes))
        return wrong;
    spec->bytes = (unsigned)bytes;
    return bytes < 1 || bytes > 8 ? wrong : NULL;
}

static const char *read_endian(lua_State *L, int index, struct codec_length_spec *spec)
{
    spec->endian = CODEC_BIG;
    int type = lua_getfield(L, index, "endian");
    const char *word = type == LUA_TSTRING ? lua_tostring(L, -1)
                       : type == LUA_TNIL  ? "big"
                                           : "";
    if (strcmp(word, "little") == 0)
        spec->endian = CODEC_LITTLE;
    else if (strcmp(word, "big") != 0)
        return "length: endian must be \"big\" or \"little\"";
    return NULL;
}

static const char *read_length(lua_State *L, int index, struct codec *codec)
{
    struct codec_length_spec spec = {.send_raw = codec->send_raw};
    const char *why = read_field_width(L, index, &spec);
    if (!why)
        why = read_endian(L, index, &spec);
    lua_Integer offset = 0, adjust = 0, strip = -1;
    if (!why && (!read_integer(L, index, "offset", &offset) || offset < 0))
        why = "length: offset must be a whole number from 0";
    if (!why && !read_integer(L, index, "adjust", &adjust))
        why = "length: adjust must be a whole number";
    if (!why && !read_integer(L, index, "strip", &strip))
        why = "length: strip must be a whole number";
    if (why)
        return why;
    spec.offset = (size_t)offset;
    spec.adjust = adjust;
    spec.strip = strip < 0 ? CODEC_STRIP_FIELD : (size_t)strip;
    return codec_init_length(codec, &spec, &why) ? why : NULL;
}

/* ---- Custom ---- */

static int push_decode(lua_State *L, struct call *call)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    lua_pushlstring(L, call->bytes, call->len);
    return 1;
}

static bool read_len(lua_State *L, int index, size_t *len)
{
    if (lua_isnoneornil(L, index))
        return true;
    int is_integer;
    lua_Integer number = lua_tointegerx(L, index, &is_integer);
    *len = (size_t)number;
    return is_integer && number >= 0;
}

static const char *take_decode(lua_State *L, struct call *call)
{
    struct codec_frame *frame = call->result;
    int type = lua_type(L, CALL_RESULT);
    if (type == LUA_TNONE || type == LUA_TNIL)
        return NULL;
    if (type == LUA_TBOOLEAN && !lua_toboolean(L, CALL_RESULT)) {
        call->number = -EBADMSG;
        return NULL;
    }
    if (!read_len(L, CALL_RESULT, &frame->total) ||
        !read_len(L, CALL_RESULT + 1, &frame->head) ||
        !read_len(L, CALL_RESULT + 2, &frame->tail))
        return "must return total[, header[, trailer]] in bytes, nil for more, or false";
    call->number = CODEC_FRAME;
    return NULL;
}

static int decode_custom(void *context, const char *bytes, size_t len,
                         struct codec_frame *frame)
{
    struct script_framing *framing = context;
    struct conn *conn = framing->vm->host.reactor->decoding;
    struct script_service *service = conn ? service_of(conn) : NULL;
    struct call call = {.vm = framing->vm,
                        .what = "the framing's decode",
                        .conn = conn,
                        .service = service && service->version ? service : NULL,
                        .push = push_decode,
                        .take = take_decode,
                        .bytes = bytes,
                        .len = len,
                        .result = frame,
                        .number = CODEC_MORE,
                        .function = framing->decode};
    bool ok = call_run(&call) == CALL_OK;
    if (!ok && conn)
        conn_end(conn, REASON_ERROR, call.error);
    free(call.error);
    return ok ? (int)call.number : -EBADMSG;
}

static const char *read_custom(lua_State *L, int index, struct codec *codec)
{
    lua_Integer peek = PEEK_DEFAULT;
    const char *why = NULL;
    if (lua_rawgeti(L, index, 2) != LUA_TFUNCTION)
        return "custom: the decode function is missing, as in { \"custom\", decode }";
    int encode = lua_getfield(L, index, "encode");
    if (encode != LUA_TNIL && encode != LUA_TFUNCTION)
        return "custom: encode must be a function";
    if (!read_integer(L, index, "peek", &peek) || peek < 1 || peek > CODEC_PEEK_MAX)
        return "custom: peek must be 1 to 4096 bytes";
    return codec_init_custom(codec, decode_custom, NULL, (size_t)peek, &why) ? why : NULL;
}

/* ---- All ---- */

static const struct reader readers[] = {
    {"raw", {"send"}, read_raw},
    {"line", {"send", "eol"}, read_line},
    {"delimiter", {"send"}, read_delimiter},
    {"fixed", {"send"}, read_fixed},
    {"length", {"send", "bytes", "endian", "offset", "adjust", "strip"}, read_length},
    {"netstring", {"send"}, read_netstring},
    {"custom", {"send", "encode", "peek"}, read_custom},
};

static const struct reader *find_reader(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        if (strcmp(readers[i].name, name) == 0)
            return &readers[i];
    return NULL;
}

static const char *unknown(lua_State *L, const char *what, const char *word,
                           const char *const *names, size_t count)
{
    const char *near = text_nearest(word, names, count);
    lua_pushfstring(L, "unknown %s '%s'", what, word);
    if (near) {
        lua_pushfstring(L, "; did you mean '%s'?", near);
        lua_concat(L, 2);
    }
    return lua_tostring(L, -1);
}

static const char *check_keys(lua_State *L, int index, const struct reader *reader)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TNUMBER)
            continue;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(reader->keys) && reader->keys[i]; i++)
            known |= strcmp(reader->keys[i], key) == 0;
        if (!known)
            return unknown(L, "framing option", key, reader->keys, ARRAY_LEN(reader->keys));
    }
    return NULL;
}

/* "send" = "raw", which must be known before the rest is judged. */
static const char *read_send(lua_State *L, int index, struct codec *codec)
{
    int type = lua_getfield(L, index, "send");
    if (type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "raw") == 0)
        codec->send_raw = true;
    else if (type != LUA_TNIL)
        return "send must be \"raw\"";
    return NULL;
}

static const char *read_codec(lua_State *L, int index, struct codec *codec)
{
    const char *name = NULL;
    if (lua_type(L, index) == LUA_TSTRING) { /* "line" is short for { "line" } */
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, index);
        lua_rawseti(L, -2, 1);
        index = lua_gettop(L);
    }
    if (lua_type(L, index) == LUA_TTABLE && lua_rawgeti(L, index, 1) == LUA_TSTRING)
        name = lua_tostring(L, -1);
    if (!name)
        return "framing must be a name like \"line\", or a table like { \"fixed\", 16 }";
    const struct reader *reader = find_reader(name);
    if (!reader)
        return unknown(L, "framing", name, framing_names, ARRAY_LEN(framing_names));
    const char *why = check_keys(L, index, reader);
    if (!why)
        why = read_send(L, index, codec);
    bool send_raw = codec->send_raw;
    if (!why)
        why = reader->read(L, index, codec);
    codec->send_raw = codec->send_raw || send_raw;
    return why;
}

static void free_framing(struct framing *net)
{
    struct script_framing *framing = container_of(net, struct script_framing, net);
    luaL_unref(framing->vm->L, LUA_REGISTRYINDEX, framing->decode);
    luaL_unref(framing->vm->L, LUA_REGISTRYINDEX, framing->encode);
    free(framing);
}

static struct script_framing *new_framing(struct vm *vm)
{
    struct script_framing *framing = calloc(1, sizeof *framing);
    if (!framing)
        return NULL;
    framing->net.refs = 1;
    framing->net.free = free_framing;
    framing->vm = vm;
    framing->decode = framing->encode = LUA_NOREF;
    return framing;
}

static const char metatable[] = "neap.framing";

static int l_kept_gc(lua_State *L)
{
    struct framing **kept = luaL_checkudata(L, 1, metatable);
    framing_unref(*kept);
    *kept = NULL;
    return 0;
}

struct framing *framing_push_kept(lua_State *L, int argument)
{
    int value = lua_gettop(L);
    struct framing **kept = lua_newuserdatauv(L, sizeof(struct framing *), 0);
    *kept = NULL;
    if (luaL_newmetatable(L, metatable)) {
        lua_pushcfunction(L, l_kept_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_pushvalue(L, value);
    *kept = framing_read(L, lua_gettop(L));
    if (!*kept)
        luaL_argerror(L, argument, lua_tostring(L, -1));
    lua_settop(L, value + 1);
    return *kept;
}

struct framing *framing_raw(struct vm *vm)
{
    struct script_framing *framing = new_framing(vm);
    if (!framing)
        return NULL;
    codec_init_raw(&framing->net.codec);
    return &framing->net;
}

struct framing *framing_read(lua_State *L, int index)
{
    struct codec codec = {0};
    index = lua_absindex(L, index);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    const char *why = read_codec(L, index, &codec);
    if (why || !codec.ops) {
        lua_pushstring(L, why);
        return NULL;
    }
    int decode = LUA_NOREF, encode = LUA_NOREF;
    if (strcmp(codec.ops->name, "custom") == 0) {
        lua_rawgeti(L, index, 2);
        decode = luaL_ref(L, LUA_REGISTRYINDEX);
        if (lua_getfield(L, index, "encode") == LUA_TFUNCTION && !codec.send_raw)
            encode = luaL_ref(L, LUA_REGISTRYINDEX);
        codec.send_raw = true; /* what encode returns, or the message itself */
    }
    struct script_framing *framing = new_framing(vm_of(L));
    if (!framing) {
        luaL_unref(L, LUA_REGISTRYINDEX, decode);
        luaL_unref(L, LUA_REGISTRYINDEX, encode);
        lua_pushliteral(L, "not enough memory");
        return NULL;
    }
    framing->net.codec = codec;
    if (decode != LUA_NOREF)
        framing->net.codec.context = framing;
    framing->decode = decode;
    framing->encode = encode;
    return &framing->net;
}

int framing_encode(const struct conn *conn)
{
    return container_of(conn_framing(conn), const struct script_framing, net)->encode;
}
