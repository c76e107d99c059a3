/* tests/unit/test_budget.c - script/budget: every loop ends, and only its own run (P4). */
#include "script/budget.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <check.h>

#include "script_fixture.h"

#define LIMIT_MS 20
/* What a run over the limit may take until it has ended, sanitizers included. */
#define END_MS 500U

static uint64_t cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

static void limit(uint64_t ms)
{
    budget_stop(&script.vm->budget);
    ck_assert_int_eq(budget_start(&script.vm->budget, ms), 0);
}

static void setup(void)
{
    script_setup();
    limit(LIMIT_MS);
}

struct loop_row {
    const char *what, *body;
};

#define CLOSING(body) "setmetatable({}, { __close = function() " body " end })"

static const struct loop_row loops[] = {
    {"plain", "while true do end"},
    {"for", "for i = 1, math.huge do end"},
    {"repeat", "repeat local a = {} until false"},
    {"goto", "::top:: goto top"},
    {"calls", "local function f() end while true do f() end"},
    {"C calls", "while true do math.abs(1) end"},
    {"tail calls", "local function f(...) return f(...) end f(1)"},
    {"iterator", "for _ in function() return 1 end do end"},
    {"loaded code", "load('while true do end')()"},
    {"metamethod",
     "local t = setmetatable({}, { __index = function() while true do end end }) "
     "return t.x"},
    {"pcall around", "while true do pcall(function() while true do end end) end"},
    {"pcall inside", "pcall(function() while true do pcall(error) end end)"},
    {"pcall in depth", "local function f(n) if n == 0 then while true do end end "
                       "while true do pcall(f, n - 1) end end f(50)"},
    {"error loop", "while true do pcall(error, {}) end"},
    {"coroutine", "coroutine.wrap(function() while true do end end)()"},
    {"coroutines again and again", "while true do coroutine.resume(coroutine.create("
                                   "function() while true do end end)) end"},
    {"many short coroutines", "while true do coroutine.wrap(function() end)() end"},
    {"yields for ever",
     "local f = coroutine.wrap(function() while true do coroutine.yield() end end) "
     "while true do f() end"},
    {"coroutine and pcall", "while true do pcall(coroutine.wrap(function() while true do "
                            "pcall(function() while true do end end) end end)) end"},
    {"nested coroutines", "local function f(n) if n == 0 then while true do end end "
                          "while true do pcall(coroutine.wrap(f), n - 1) end end f(10)"},
    {"close", "local c <close> = " CLOSING("while true do end")},
    {"close after the end", "local c <close> = " CLOSING("while true do end") " while true "
                                                                              "do end"},
    {"close with pcall", "local c <close> = " CLOSING("while true do pcall(error) end")},
    {"close in a coroutine",
     "coroutine.wrap(function() local c <close> = " CLOSING("while true do end") " end)()"},
    {"close of a failed coroutine",
     "pcall(coroutine.wrap(function() local c <close> = " CLOSING(
         "while true do end") " "
                              "error() end))"},
    {"coroutine.close",
     "local co = coroutine.create(function() local c <close> = " CLOSING(
         "while true do end") " coroutine.yield() end) coroutine.resume(co) "
                              "coroutine.close(co)"},
    {"coroutine.close and pcall",
     "while true do pcall(function() local co = coroutine.create(function() local c "
     "<close> = " CLOSING("while true do pcall(error) end") " coroutine.yield() end) "
                                                            "coroutine.resume(co) "
                                                            "coroutine.close(co) end) end"},
    {"after a close that is refused",
     "local outer outer = coroutine.create(function() coroutine.wrap(function() "
     "pcall(coroutine.close, outer) while true do end end)() end) "
     "coroutine.resume(outer)"},
    {"after too many nested coroutines",
     "local function nest() return coroutine.wrap(nest)() end pcall(nest) "
     "while true do end"},
    {"while too many coroutines unwind",
     "local function nest() local c <close> = " CLOSING(
         "while true do end") " "
                              "return coroutine.wrap(nest)() end pcall(nest)"},
    {"comparator", "table.sort({ 3, 2, 1 }, function() while true do end end)"},
    {"comparator and pcall",
     "while true do pcall(table.sort, { 3, 2, 1 }, function() while true do end end) end"},
    {"gsub callback", "(('x'):rep(10)):gsub('.', function() while true do end end)"},
    {"load reader", "load(function() while true do end end)"},
    {"tostring", "tostring(setmetatable({}, { __tostring = function() while true do end "
                 "end }))"},
    {"error value", "error(setmetatable({}, { __tostring = function() while true do end "
                    "end }))"},
    {"xpcall handler", "xpcall(error, function() while true do end end)"},
    {"xpcall body and handler",
     "while true do xpcall(function() while true do end end, function() while true do "
     "end end) end"},
    {"handler that fails", "while true do xpcall(error, function() error() end) end"},
    {"recursion", "while true do pcall(function() local function f() return 1 + f() end "
                  "f() end) end"},
    {"vararg recursion",
     "local function f(...) return 1 + f(1, ...) end while true do pcall(f, 1) end"},
    {"vararg tail recursion", "local function f(...) return f(...) end "
                              "while true do pcall(f, table.unpack({}, 1, 200)) end"},
    {"string building", "local s = '' while true do s = (s .. 'x'):sub(-1000) end"},
    {"timers", "local neap = require 'neap' while true do neap.after(100, print):cancel() "
               "end"},
    {"log", "local neap = require 'neap' while true do neap.log.debug('x') end"},
};

START_TEST(a_loop_is_ended_P4)
{
    const struct loop_row *row = &loops[_i];
    uint64_t before_ms = cpu_ms();

    const char *error = script_run(row->body);
    uint64_t took_ms = cpu_ms() - before_ms;
    ck_assert_msg(error != NULL, "%s: no error", row->what);
    ck_assert_msg(strstr(error, "hook_timeout") != NULL, "%s: %s", row->what, error);
    ck_assert_msg(took_ms < END_MS, "%s: %lu ms", row->what, took_ms);

    /* The next runs as if nothing had been. */
    error = script_run("local sum = 0 for i = 1, 1000 do sum = sum + i end "
                       "assert(sum == 500500) "
                       "assert(coroutine.wrap(function() return pcall(error, 'x') end)() "
                       "== false)");
    ck_assert_msg(!error, "after %s: %s", row->what, error);
}
END_TEST

START_TEST(a_quick_hook_is_let_alone)
{
    for (int i = 0; i < 50; i++) {
        const char *error = script_run("for i = 1, 100 do end");
        ck_assert_msg(!error, "%s", error);
    }
    ck_assert_uint_eq(counters_get(&script.reactor->counters, COUNTER_HOOK_SLOW), 0);
}
END_TEST

START_TEST(a_slow_hook_is_noted_with_its_line)
{
    limit(5000);
    /* Long: a busy machine may take some of the time for itself, and several ticks then are one. */
    const char *error =
        script_run("local clock, t = os.clock, os.clock()\nwhile clock() - t < 0.3 do\n"
                   "end");
    ck_assert_msg(!error, "%s", error);
    ck_assert_uint_eq(counters_get(&script.reactor->counters, COUNTER_HOOK_SLOW), 1);
    ck_assert_msg(strncmp(script.notice, "test.lua:", 9) == 0, "%s", script.notice);
    int line = (int)strtol(script.notice + 9, NULL, 10);
    ck_assert_int_ge(line, 3);
    ck_assert_int_le(line, 4);
}
END_TEST

START_TEST(each_run_has_a_budget_of_its_own)
{
    limit(200);
    for (int i = 0; i < 8; i++) { /* 240 ms in all */
        const char *error = script_run(
            "local clock, t = os.clock, os.clock() while clock() - t < 0.03 do end");
        ck_assert_msg(!error, "%s", error);
    }
}
END_TEST

START_TEST(a_coroutine_that_outlives_its_end_can_be_used)
{
    const char *error = script_load(
        "local co = coroutine.wrap(function() while true do coroutine.yield(1) end end)\n"
        "local first = true\n"
        "return { listen = {}, on_start = function()\n"
        "  if not first then for i = 1, 100 do assert(co() == 1) end return end\n"
        "  first = false\n"
        "  while true do co() end\n"
        "end }");
    ck_assert_msg(!error, "%s", error);
    error = script_start();
    ck_assert_ptr_nonnull(error);
    ck_assert_msg(strstr(error, "hook_timeout"), "%s", error);
    error = script_start();
    /* Its own hook may have been ended in the midst of it, which is an error, not a loop. */
    ck_assert_msg(!error || strstr(error, "dead coroutine"), "%s", error);
}
END_TEST

START_TEST(a_coroutine_that_was_stopped_can_be_closed_later)
{
    const char *error = script_load(
        "local co = coroutine.create(function()\n"
        "  local c <close> = " CLOSING(
            "while true do end") "\n"
                                 "  while true do end\n"
                                 "end)\n"
                                 "return { listen = {},\n"
                                 "  on_start = function() coroutine.resume(co) end,\n"
                                 "  on_stop = function() coroutine.close(co) end }");
    ck_assert_msg(!error, "%s", error);
    ck_assert_ptr_nonnull(script_start());
    uint64_t before_ms = cpu_ms();
    hook_stop(script.version, "shutdown");
    ck_assert_uint_lt(cpu_ms() - before_ms, END_MS);
}
END_TEST

START_TEST(on_error_of_a_stopped_hook_has_a_budget_too)
{
    const char *error = script_load("local function forever() while true do end end\n"
                                    "return { listen = {}, on_stop = forever,\n"
                                    "  on_error = forever }");
    ck_assert_msg(!error, "%s", error);
    uint64_t before_ms = cpu_ms();
    hook_stop(script.version, "shutdown");
    ck_assert_uint_lt(cpu_ms() - before_ms, END_MS + END_MS);
}
END_TEST

START_TEST(a_script_that_loads_has_load_timeout_instead)
{
    const char *error =
        script_load("local function work() local t = os.clock() while os.clock() - t < "
                    "0.08 do end end\n"
                    "work()\n"
                    "coroutine.wrap(work)()\n"
                    "work()\n"
                    "return { listen = {}, on_start = function() while true do end end }");
    ck_assert_msg(!error, "%s", error);
    error = script_start();
    ck_assert_msg(error && strstr(error, "hook_timeout"), "%s", error);
}
END_TEST

START_TEST(a_hook_within_a_hook_is_on_the_budget_of_the_outer)
{
    const char *error = script_load("local neap = require 'neap'\n"
                                    "return { listen = {},\n"
                                    "  on_start = function()\n"
                                    "    while true do neap.log.info('x') end\n"
                                    "  end,\n"
                                    "  on_log = function() while true do end end }");
    ck_assert_msg(!error, "%s", error);
    uint64_t before_ms = cpu_ms();
    error = script_start();
    ck_assert_uint_lt(cpu_ms() - before_ms, END_MS);
    ck_assert_msg(error && strstr(error, "hook_timeout"), "%s", error);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("budget");
    TCase *tcase = tcase_create("budget");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, script_teardown);
    tcase_add_loop_test(tcase, a_loop_is_ended_P4, 0, (int)ARRAY_LEN(loops));
    tcase_add_test(tcase, a_quick_hook_is_let_alone);
    tcase_add_test(tcase, a_slow_hook_is_noted_with_its_line);
    tcase_add_test(tcase, each_run_has_a_budget_of_its_own);
    tcase_add_test(tcase, a_coroutine_that_outlives_its_end_can_be_used);
    tcase_add_test(tcase, a_coroutine_that_was_stopped_can_be_closed_later);
    tcase_add_test(tcase, a_script_that_loads_has_load_timeout_instead);
    tcase_add_test(tcase, a_hook_within_a_hook_is_on_the_budget_of_the_outer);
    tcase_add_test(tcase, on_error_of_a_stopped_hook_has_a_budget_too);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
