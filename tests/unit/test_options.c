/* tests/unit/test_options.c - script/options: the rows, and reading values for them. */
#include "script/options.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include <check.h>

#include "base/macros.h"

#define ALL (1U << OPTION_CONN | 1U << OPTION_SERVICE | 1U << OPTION_APP)

static lua_State *L;

static void setup(void)
{
    L = luaL_newstate();
    ck_assert_ptr_nonnull(L);
}

static void teardown(void)
{
    lua_close(L);
}

static const struct option *row(const char *name)
{
    const struct option *option = option_find(name, ALL);
    ck_assert_msg(option != NULL, "%s", name);
    return option;
}

/* Reads a Lua expression for an option. */
static const char *read_it(const char *name, const char *expression, uint64_t *value)
{
    lua_settop(L, 0);
    lua_pushfstring(L, "return %s", expression);
    ck_assert_int_eq(luaL_loadstring(L, lua_tostring(L, -1)), LUA_OK);
    lua_call(L, 0, 1);
    return option_read(L, -1, row(name), value);
}

static void reads(const char *name, const char *expression, uint64_t wanted)
{
    uint64_t value = 12345;
    const char *wrong = read_it(name, expression, &value);
    ck_assert_msg(!wrong, "%s = %s: %s", name, expression, wrong);
    ck_assert_msg(value == wanted, "%s = %s: %lu, not %lu", name, expression, value,
                  wanted);
}

static void refuses(const char *name, const char *expression, const char *why)
{
    uint64_t value;
    const char *wrong = read_it(name, expression, &value);
    ck_assert_msg(wrong != NULL, "%s = %s is taken", name, expression);
    ck_assert_msg(strstr(wrong, why) && strstr(wrong, name), "%s = %s: %s", name,
                  expression, wrong);
}

START_TEST(names_are_unique_and_found)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_rows[i];
        ck_assert_ptr_eq(option_find(option->name, ALL), option);
        ck_assert_ptr_eq(option_find(option->name, 1U << option->scope), option);
        ck_assert_ptr_null(option_find(option->name, ALL & ~(1U << option->scope)));
        ck_assert_msg(option->help && *option->help, "%s", option->name);
    }
    ck_assert_ptr_null(option_find("no_such_option", ALL));
}
END_TEST

START_TEST(every_field_has_one_row)
{
    unsigned service[sizeof(struct service_settings) / sizeof(uint64_t)] = {0};
    unsigned app[sizeof(struct app_settings) / sizeof(uint64_t)] = {0};
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_rows[i];
        size_t at = option->offset / sizeof(uint64_t);
        if (option->scope == OPTION_APP)
            app[at]++;
        else
            service[at]++;
        bool of_conn = option->offset < sizeof(struct conn_options);
        ck_assert_msg(option->scope == OPTION_APP ||
                          of_conn == (option->scope == OPTION_CONN),
                      "%s", option->name);
    }
    for (size_t i = 0; i < ARRAY_LEN(service); i++)
        ck_assert_msg(service[i] == 1, "word %zu of service_settings: %u", i, service[i]);
    for (size_t i = 0; i < ARRAY_LEN(app); i++)
        ck_assert_msg(app[i] == 1, "word %zu of app_settings: %u", i, app[i]);
}
END_TEST

START_TEST(defaults_are_within_their_bounds)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_rows[i];
        if (option->initial == OPTION_UNSET || option->initial == CONN_IDLE_DEFAULT) {
            ck_assert_msg(option->shown != NULL, "%s", option->name);
            continue;
        }
        if (option->kind == OPTION_CHOICE) {
            ck_assert_msg(option->choices[option->initial] != NULL, "%s", option->name);
            continue;
        }
        ck_assert_msg(option->initial >= option->least && option->initial <= option->most,
                      "%s: %lu of %lu to %lu", option->name, option->initial, option->least,
                      option->most);
    }
}
END_TEST

START_TEST(defaults_are_what_the_documents_say)
{
    struct service_settings service;
    struct app_settings app;
    options_init_service(&service);
    options_init_app(&app);
    ck_assert_mem_eq(&service.conn, &conn_options_default, sizeof service.conn);
    ck_assert_uint_eq(service.conn.message_timeout_ms, 30000);
    ck_assert_uint_eq(service.conn.send_timeout_ms, 60000);
    ck_assert_uint_eq(service.conn.linger_ms, 5000);
    ck_assert_uint_eq(service.conn.max_message, 1U << 20);
    ck_assert_uint_eq(service.conn.max_output, 8U << 20);
    ck_assert_uint_eq(service.sessions, 1);
    ck_assert_uint_eq(service.keepalive_ms, 60000);
    ck_assert_uint_eq(app.workers, 1);
    ck_assert_uint_eq(app.max_peers, 65536);
    ck_assert_uint_eq(app.hook_timeout_ms, 100);
    ck_assert_uint_eq(app.load_timeout_ms, 5000);
    ck_assert_uint_eq(app.lua_memory, 256U << 20);
    ck_assert_uint_eq(app.drain_timeout_ms, 30000);
}
END_TEST

START_TEST(what_is_stored_is_found)
{
    struct app_settings app = {0};
    option_store(row("max_peers"), &app, 77);
    ck_assert_uint_eq(app.max_peers, 77);
    ck_assert_uint_eq(option_value(row("max_peers"), &app), 77);
}
END_TEST

START_TEST(sizes)
{
    reads("max_message", "65536", 65536);
    reads("max_message", "'64K'", 65536);
    reads("max_message", "'1G'", 1U << 30);
    reads("max_message", "1", 1);
    reads("max_message", "2.0", 2);
    refuses("max_message", "0", "a size from 1 to 1073741824 bytes");
    refuses("max_message", "(1 << 30) + 1", "not 1073741825");
    refuses("max_message", "'2G'", "not \"2G\"");
    refuses("max_message", "-1", "not -1");
    refuses("max_message", "1.5", "not 1.5");
    refuses("max_message", "'64 potatoes'", "like 65536 or \"64K\"");
    refuses("max_message", "''", "a size");
    refuses("max_message", "true", "not true");
    refuses("max_message", "nil", "not nil");
    refuses("max_message", "{}", "not table");
    refuses("max_buffered", "1000", "a size from 1048576");
}
END_TEST

START_TEST(seconds)
{
    reads("linger", "5", 5000);
    reads("linger", "0", 0);
    reads("linger", "0.25", 250);
    reads("linger", "0.0001", 1); /* never rounded to none */
    reads("linger", "86400 * 366", 366ULL * 86400000);
    refuses("linger", "86400 * 366 + 1", "seconds, like 30, from 0");
    refuses("linger", "-1", "seconds, like 30, from 0");
    refuses("linger", "0/0", "seconds");
    refuses("linger", "1/0", "seconds");
    refuses("linger", "'5'", "not \"5\"");
    refuses("linger", "'5s'", "not \"5s\"");
    refuses("hook_timeout", "0.009", "seconds, like 30, from 0.01");
    reads("hook_timeout", "0.01", 10);
    refuses("load_timeout", "0", "seconds, like 30, from 0.1");
}
END_TEST

START_TEST(counts)
{
    reads("workers", "4", 4);
    reads("workers", "'auto'", OPTION_WORKERS_AUTO);
    refuses("workers", "0", "a whole number from 1 to 256 or \"auto\"");
    refuses("workers", "257", "not 257");
    refuses("workers", "'many'", "not \"many\"");
    refuses("workers", "2.5", "not 2.5");
    reads("max_connections", "100", 100);
    refuses("max_connections", "0", "a whole number from 1");
    refuses("max_connections", "'auto'", "not \"auto\"");
    refuses("max_connections", "'10'", "not \"10\"");
    reads("accept_rate", "0", 0);
}
END_TEST

START_TEST(switches_and_words)
{
    reads("nodelay", "true", 1);
    reads("nodelay", "false", 0);
    refuses("nodelay", "1", "true or false, not 1");
    refuses("nodelay", "nil", "true or false");
    refuses("nodelay", "'yes'", "not \"yes\"");
    reads("overflow", "'close'", OVERFLOW_CLOSE);
    reads("overflow", "'drop'", OVERFLOW_DROP);
    refuses("overflow", "'block'", "\"close\" or \"drop\", not \"block\"");
    refuses("overflow", "1", "\"close\" or \"drop\", not 1");
    refuses("log_level", "'loud'", "\"debug\" or \"info\" or \"warn\" or \"error\"");
}
END_TEST

START_TEST(what_is_pushed_reads_the_same)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_rows[i];
        if (option->initial == OPTION_UNSET || option->initial == CONN_IDLE_DEFAULT)
            continue;
        uint64_t value;
        lua_settop(L, 0);
        option_push(L, option, option->initial);
        const char *wrong = option_read(L, 1, option, &value);
        ck_assert_msg(!wrong, "%s", wrong);
        ck_assert_msg(value == option->initial, "%s: %lu, not %lu", option->name, value,
                      option->initial);
    }
    option_push(L, row("linger"), 2500);
    ck_assert_double_eq(lua_tonumber(L, -1), 2.5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");

    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, names_are_unique_and_found);
    tcase_add_test(tcase, every_field_has_one_row);
    tcase_add_test(tcase, defaults_are_within_their_bounds);
    tcase_add_test(tcase, defaults_are_what_the_documents_say);
    tcase_add_test(tcase, what_is_stored_is_found);
    tcase_add_test(tcase, sizes);
    tcase_add_test(tcase, seconds);
    tcase_add_test(tcase, counts);
    tcase_add_test(tcase, switches_and_words);
    tcase_add_test(tcase, what_is_pushed_reads_the_same);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
