/* tests/unit/test_vm.c - script/vm: the pool of coroutines, and memory that runs out. */
#include "script/vm.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "script/run.h"
#include "script_fixture.h"

#define MIB ((size_t)1 << 20)

/* ---- Memory ---- */

static void check_cap(const char *body)
{
    script_limit(8 * MIB);
    const char *error = script_run(body);
    ck_assert_msg(error && strstr(error, "not enough memory"), "%s: %s", body, error);
    ck_assert_uint_le(script.vm->alloc.used, 8 * MIB);
    for (int i = 0; i < 3; i++) { /* what was held is free again */
        error =
            script_run("local t = {} for i = 1, 1000 do t[i] = ('x'):rep(1000) .. i end");
        ck_assert_msg(!error, "after %s: %s", body, error);
    }
}

START_TEST(a_script_over_its_cap_gets_an_error_P5)
{
    check_cap("local t = {} while true do t[#t + 1] = {} end");
    check_cap("local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end");
    check_cap("local s = 'x' while true do s = s .. s end");
    check_cap("return ('x'):rep(1 << 28)");
    check_cap("local t = {} for i = 1, 1 << 40 do t[i] = i end");
    check_cap("local t = {} while true do t[#t + 1] = coroutine.create(print) end");
    check_cap("local t = {} while true do t[#t + 1] = require('neap').after(1, print) end");
}
END_TEST

START_TEST(pcall_catches_it)
{
    script_limit(8 * MIB);
    const char *error =
        script_run("local ok, why = pcall(string.rep, 'x', 1 << 30) "
                   "assert(not ok and why == 'not enough memory', why) "
                   "ok, why = pcall(function() local t = {} while true do t[#t + 1] = {} "
                   "end end) assert(not ok and why == 'not enough memory', why)");
    ck_assert_msg(!error, "%s", error);
}
END_TEST

START_TEST(a_state_that_does_not_fit_is_not_made)
{
    struct vm_host host = {.workers = 1};
    size_t limit = 1000;
    struct vm *vm;
    for (; !(vm = vm_new(&host, limit)); limit += 1000)
        ck_assert_uint_lt(limit, MIB);
    ck_assert_uint_gt(limit, 10000);
    vm_free(vm);
    vm_free(NULL);
}
END_TEST

static const char service[] =
    "local neap = require 'neap'\n"
    "neap.after(1, print)\n"
    "return { listen = { 'tcp://127.0.0.1:0' }, framing = 'line',\n"
    "  max_message = '64K', on_message = function() end,\n"
    "  on_start = function()\n"
    "    local t <close> = setmetatable({}, { __close = function() return {} end })\n"
    "    local co = coroutine.wrap(function() coroutine.yield(('y'):rep(600)) end)\n"
    "    neap.log.info(co(), { a = t, b = 'x' .. #co })\n"
    "  end }";
static const char raised[] = "attempt to get length of a function"; /* what it ends with */

/* So much memory more, in steps, until there is enough. */
static size_t room(size_t extra)
{
    return extra < 4096 ? extra + 64 : extra + extra / 16;
}

START_TEST(memory_may_run_out_anywhere_in_a_load)
{
    unsigned failures = 0;
    const char *error = "";
    for (size_t extra = 0; error; extra = room(extra)) {
        ck_assert_uint_lt(extra, 16 * MIB);
        lua_gc(script.vm->L, LUA_GCCOLLECT);
        script.vm->alloc.limit = script.vm->alloc.used + extra;
        error = script_load(service);
        failures += error != NULL;
        script.vm->alloc.limit = 64 * MIB;
    }
    ck_assert_uint_gt(failures, 20);
    ck_assert_msg(strstr(script_start(), raised), "%s", script.error);
}
END_TEST

START_TEST(memory_may_run_out_anywhere_in_a_hook)
{
    ck_assert_msg(!script_load(service), "%s", script.error);
    bool enough = false;
    unsigned failures = 0;
    for (size_t extra = 0; !enough; extra += 16) {
        ck_assert_uint_lt(extra, MIB);
        lua_gc(script.vm->L, LUA_GCCOLLECT);
        script.vm->alloc.limit = script.vm->alloc.used + extra;
        const char *error = script_start();
        ck_assert_ptr_nonnull(error);
        enough = strstr(error, raised) && strstr(error, "stack traceback");
        failures += !enough;
        script.vm->alloc.limit = 64 * MIB;
    }
    ck_assert_uint_gt(failures, 5);
}
END_TEST

/* Lua answers a refusal with a whole collection and asks again. */
START_TEST(a_collection_may_come_with_any_allocation)
{
    ck_assert_msg(!script_load(service), "%s", script.error);
    for (unsigned n = 1; n < 200; n++) {
        script.vm->alloc.fail_after = n;
        const char *error = script_start();
        ck_assert_msg(error && strstr(error, raised), "%u: %s", n, error);
    }
    for (unsigned n = 1; n < 2000; n += 1 + n / 16) {
        script.vm->alloc.fail_after = n;
        ck_assert_msg(!script_load(service), "%u: %s", n, script.error);
    }
    script.vm->alloc.fail_after = 0;
}
END_TEST

/* ---- The pool ---- */

START_TEST(a_coroutine_that_is_given_back_is_taken_again)
{
    struct run *first = run_take(script.vm), *second = run_take(script.vm);
    ck_assert_ptr_ne(first->L, second->L);
    lua_pushinteger(first->L, 1);
    run_give(first);
    struct run *third = run_take(script.vm);
    ck_assert_ptr_eq(third, first);
    ck_assert_int_eq(lua_gettop(third->L), 0);
    ck_assert_ptr_eq(vm_of(third->L), script.vm);
    run_give(second);
    run_drop(third);
}
END_TEST

START_TEST(the_pool_is_bounded)
{
    static struct run *runs[VM_POOL_MAX + 50];
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        ck_assert_ptr_nonnull(runs[i] = run_take(script.vm));
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        run_give(runs[i]);
    ck_assert_uint_eq(script.vm->pool_count, VM_POOL_MAX);
}
END_TEST

START_TEST(a_pool_that_cannot_grow_says_so)
{
    while (script.vm->pool_count)
        run_drop(run_take(script.vm));
    script.vm->alloc.limit = 1;
    ck_assert_ptr_null(run_take(script.vm));
    script.vm->alloc.limit = 64 * MIB;
    run_drop(run_take(script.vm));
}
END_TEST

START_TEST(hooks_leave_nothing_behind)
{
    ck_assert_msg(!script_load("return { listen = {}, on_start = function() end }"), "%s",
                  script.error);
    for (int i = 0; i < 10; i++)
        ck_assert_msg(!script_start(), "%s", script.error);
    lua_gc(script.vm->L, LUA_GCCOLLECT);
    size_t before = script.vm->alloc.used, pool = script.vm->pool_count;
    for (int i = 0; i < 1000; i++)
        ck_assert(!script_start());
    lua_gc(script.vm->L, LUA_GCCOLLECT);
    ck_assert_uint_eq(script.vm->alloc.used, before);
    ck_assert_uint_eq(script.vm->pool_count, pool);
}
END_TEST

START_TEST(versions_leave_nothing_behind)
{
    static const char text[] =
        "local neap = require 'neap' neap.after(1, print)\n"
        "return { listen = {}, framing = { 'custom', function(b) return #b end } }";
    size_t before = 0;
    for (int i = 0; i < 60; i++) {
        ck_assert_msg(!script_load(text), "%s", script.error);
        lua_gc(script.vm->L, LUA_GCCOLLECT);
        lua_gc(script.vm->L, LUA_GCCOLLECT);
        if (i == 10)
            before = script.vm->alloc.used;
    }
    ck_assert_uint_le(script.vm->alloc.used, before + 1024);
}
END_TEST

START_TEST(the_release_is_that_of_the_library)
{
    ck_assert_msg(strncmp(vm_lua_release(), "Lua 5.4.", 8) == 0, "%s", vm_lua_release());
    bool old = strtol(vm_lua_release() + 8, NULL, 10) < 8;
    ck_assert_int_eq(vm_lua_is_old(), old);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vm");
    TCase *tcase = tcase_create("vm");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, script_setup, script_teardown);
    tcase_add_test(tcase, a_script_over_its_cap_gets_an_error_P5);
    tcase_add_test(tcase, pcall_catches_it);
    tcase_add_test(tcase, a_state_that_does_not_fit_is_not_made);
    tcase_add_test(tcase, memory_may_run_out_anywhere_in_a_load);
    tcase_add_test(tcase, memory_may_run_out_anywhere_in_a_hook);
    tcase_add_test(tcase, a_collection_may_come_with_any_allocation);
    tcase_add_test(tcase, a_coroutine_that_is_given_back_is_taken_again);
    tcase_add_test(tcase, the_pool_is_bounded);
    tcase_add_test(tcase, a_pool_that_cannot_grow_says_so);
    tcase_add_test(tcase, hooks_leave_nothing_behind);
    tcase_add_test(tcase, versions_leave_nothing_behind);
    tcase_add_test(tcase, the_release_is_that_of_the_library);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
