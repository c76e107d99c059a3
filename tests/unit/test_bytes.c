/* tests/unit/test_bytes.c - script/bytes: long input becomes a string where it is. */
#include "script/bytes.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>
#include <lauxlib.h>

#include "net/conn.h"
#include "script_fixture.h"

#define LONG_LEN 65536U

/* ---- A connection whose input is the reactor's ---- */

static char *give_input(struct conn *conn, const char *bytes, size_t len)
{
    (void)len;
    ck_assert_ptr_eq(bytes, conn->reactor->input);
    return reactor_give_input(conn->reactor);
}

static const struct conn_kind giving = {.is_stream = true, .give_input = give_input};
static const struct conn_kind keeping = {.is_stream = true};

static struct conn conn;
static size_t message_len;

static int l_push(lua_State *L)
{
    bytes_push(L, &conn, conn.reactor->input, message_len);
    return 1;
}

static void receive(const struct conn_kind *kind, size_t len, char fill)
{
    conn.kind = kind;
    conn.reactor = script.reactor;
    message_len = len;
    memset(script.reactor->input, fill, len);
}

/* What was received, as a string at the top. */
static const char *push(const struct conn_kind *kind, size_t len, char fill)
{
    lua_State *L = script.vm->L;
    receive(kind, len, fill);
    lua_pushcfunction(L, l_push);
    ck_assert_int_eq(lua_pcall(L, 0, 1, 0), LUA_OK);
    return lua_tostring(L, -1);
}

static void check_filled(int index, size_t len, char fill)
{
    size_t got;
    const char *bytes = lua_tolstring(script.vm->L, index, &got);
    ck_assert_uint_eq(got, len);
    for (size_t i = 0; i < len; i++)
        ck_assert_int_eq(bytes[i], fill);
    ck_assert_int_eq(bytes[len], '\0');
}

START_TEST(a_long_message_is_not_copied)
{
    const char *input = script.reactor->input;
    ck_assert_ptr_eq(push(&giving, LONG_LEN, 'a'), input);
    ck_assert_ptr_ne(script.reactor->input, input);
    ck_assert_ptr_eq(push(&giving, REACTOR_INPUT_LEN, 'b'), lua_tostring(script.vm->L, 2));
    check_filled(1, LONG_LEN, 'a');
    check_filled(2, REACTOR_INPUT_LEN, 'b');
}
END_TEST

START_TEST(what_is_short_or_shared_is_copied)
{
    const char *input = script.reactor->input;
    ck_assert_ptr_ne(push(&giving, 100, 'a'), input);
    ck_assert_ptr_ne(push(&giving, LONG_LEN / 4, 'b'), input);
    ck_assert_ptr_ne(push(&keeping, LONG_LEN, 'c'), input);
    ck_assert_ptr_eq(script.reactor->input, input);
    memset(script.reactor->input, 'x', REACTOR_INPUT_LEN);
    check_filled(1, 100, 'a');
    check_filled(2, LONG_LEN / 4, 'b');
    check_filled(3, LONG_LEN, 'c');
}
END_TEST

START_TEST(what_lua_frees_is_counted_back)
{
    lua_State *L = script.vm->L;
    lua_gc(L, LUA_GCCOLLECT);
    size_t before = script.vm->alloc.used;
    for (int i = 0; i < 50; i++)
        push(&giving, LONG_LEN, 'a');
    ck_assert_uint_ge(script.vm->alloc.used - before, (size_t)50 * LONG_LEN);
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
    ck_assert_uint_le(script.vm->alloc.used, before + 1024); /* the stack has grown */
}
END_TEST

START_TEST(without_memory_it_raises_and_the_next_is_received)
{
    lua_State *L = script.vm->L;
    size_t limit = script.vm->alloc.limit;
    receive(&giving, LONG_LEN, 'a');
    script.vm->alloc.limit = script.vm->alloc.used + LONG_LEN / 2;
    lua_pushcfunction(L, l_push);
    ck_assert_int_eq(lua_pcall(L, 0, 1, 0), LUA_ERRMEM);
    script.vm->alloc.limit = limit;
    const char *input = script.reactor->input;
    ck_assert_ptr_eq(push(&giving, LONG_LEN, 'b'), input);
    check_filled(-1, LONG_LEN, 'b');
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bytes");
    TCase *tcase = tcase_create("bytes");
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, script_setup, script_teardown);
    tcase_add_test(tcase, a_long_message_is_not_copied);
    tcase_add_test(tcase, what_is_short_or_shared_is_copied);
    tcase_add_test(tcase, what_lua_frees_is_counted_back);
    tcase_add_test(tcase, without_memory_it_raises_and_the_next_is_received);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
