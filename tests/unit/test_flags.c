/* tests/unit/test_flags.c - cli/flags, and cli/settings whose rows it parses. */
#include "cli/flags.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "cli/settings.h"

/* A table of every kind of row; what is set is written down in the order it was. */
struct seen {
    char text[512];
};

static void note(struct seen *seen, const char *name, const char *value)
{
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof seen->text - len, "%s=%s;", name, value ? value : "");
}

static int set_word(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    if (strcmp(value, "bad") == 0) {
        snprintf(why, FLAGS_WHY_MAX, "is bad");
        return -EINVAL;
    }
    if (strcmp(value, "quoted") == 0) {
        snprintf(why, FLAGS_WHY_MAX, "'quoted': is worse");
        return -EINVAL;
    }
    if (strcmp(value, "huge") == 0)
        return -ENOMEM;
    note(options, "word", value);
    return 0;
}

static int set_list(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)why;
    note(options, "list", value);
    return 0;
}

static int set_switch(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)why;
    note(options, "switch", value);
    return 0;
}

static int set_switch_off(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)options;
    (void)value;
    snprintf(why, FLAGS_WHY_MAX, "not today");
    return -EINVAL;
}

static const struct flag table[] = {
    {"word", 'w', "WORD", "a word", "NEAP_TEST_WORD", false, set_word},
    {"list", 'l', "ITEM", "items", "NEAP_TEST_LIST", true, set_list},
    {"switch", 's', NULL, "a switch", NULL, false, set_switch},
    {"switch-off", 0, NULL, "no letter", NULL, false, set_switch_off},
    {.name = NULL},
};

#define ARGUMENTS_MAX 16

static struct seen seen;
static struct flags_line line;
static char *arguments[ARGUMENTS_MAX];
static char why[FLAGS_WHY_MAX];

static void forget_environment(void)
{
    unsetenv("NEAP_TEST_WORD");
    unsetenv("NEAP_TEST_LIST");
    unsetenv("POSIXLY_CORRECT");
}

/* Parses words that are parted by single spaces, with `flags`. */
static int parse_with(const struct flag *flags, void *options, const char *text)
{
    static char words[512];
    snprintf(words, sizeof words, "neap %s", text);
    char *rest = words;
    int count = 0;
    while (rest && *rest && count < ARGUMENTS_MAX - 1)
        arguments[count++] = strsep(&rest, " ");
    arguments[count] = NULL;
    line = (struct flags_line){.argc = count, .argv = arguments};
    why[0] = '\0';
    return flags_parse(flags, &line, options, why);
}

static int parse(const char *text)
{
    seen = (struct seen){.text = ""};
    return parse_with(table, &seen, text);
}

/* Functions, not macros: clang-tidy counts the branches of Check's macros where they stand. */
static void assert_text(const char *context, const char *found, const char *expected)
{
    ck_assert_msg(strcmp(found, expected) == 0, "%s: found \"%s\", expected \"%s\"",
                  context, found, expected);
}

static void assert_number(const char *context, long found, long expected)
{
    ck_assert_msg(found == expected, "%s: found %ld, expected %ld", context, found,
                  expected);
}

START_TEST(flags_are_set_in_the_order_given)
{
    ck_assert_int_eq(parse("--list a -w b --switch -l c --list=d -le"), 0);
    ck_assert_str_eq(seen.text, "list=a;word=b;switch=;list=c;list=d;list=e;");
    ck_assert_int_eq(line.operand_count, 0);
}
END_TEST

START_TEST(operands_are_found_between_flags_and_after_two_dashes)
{
    ck_assert_int_eq(parse("one -s two --word x -- -w --help"), 0);
    ck_assert_str_eq(seen.text, "switch=;word=x;");
    ck_assert_int_eq(line.operand_count, 4);
    ck_assert_str_eq(line.operands[0], "one");
    ck_assert_str_eq(line.operands[1], "two");
    ck_assert_str_eq(line.operands[2], "-w");
    ck_assert_str_eq(line.operands[3], "--help");
}
END_TEST

START_TEST(a_program_without_even_a_name_has_no_operands)
{
    char *none[] = {NULL};
    line = (struct flags_line){.argc = 0, .argv = none};
    ck_assert_int_eq(flags_parse(table, &line, &seen, why), 0);
    ck_assert_int_eq(line.operand_count, 0);
    ck_assert_ptr_null(*line.operands);
}
END_TEST

START_TEST(help_wins_wherever_it_stands_and_nothing_is_set)
{
    static const char *const lines[] = {
        "--help",         "-h",    "-w a --help", "one -h two",        "--nonsense -h",
        "--word=bad -sh", "-z -h", "-h --word",   "--switch=1 --help", "-w a -w b --help",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        assert_number(lines[i], parse(lines[i]), -ECANCELED);
        assert_text(lines[i], seen.text, "");
    }
}
END_TEST

START_TEST(what_is_not_understood_is_explained_and_nothing_is_set)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"-s --wrod x", "unknown flag '--wrod'; did you mean '--word'?"},
        {"-s --wrod=x", "unknown flag '--wrod'; did you mean '--word'?"},
        {"-s --hepl", "unknown flag '--hepl'; did you mean '--help'?"},
        {"-s --nonsense", "unknown flag '--nonsense'"},
        {"-s --sw", "'--sw' may be '--switch' or '--switch-off'"},
        {"-s -z", "unknown flag '-z'; words that begin with a dash stand behind --"},
        {"-sz", "unknown flag '-z'; words that begin with a dash stand behind --"},
        {"-s --word", "--word wants WORD after it"},
        {"-s -w", "--word wants WORD after it"},
        {"-s --switch-off=1", "--switch-off takes no value"},
        {"-s --help=1", "--help takes no value"},
        {"-z --nonsense",
         "unknown flag '-z'; words that begin with a dash stand behind --"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_number(cases[i].line, parse(cases[i].line), -ENOENT);
        assert_text(cases[i].line, why, cases[i].why);
        assert_text(cases[i].line, seen.text, "");
    }
}
END_TEST

START_TEST(a_bad_value_is_named_with_its_flag)
{
    ck_assert_int_eq(parse("--word bad"), -EINVAL);
    ck_assert_str_eq(why, "--word 'bad': is bad");
    ck_assert_int_eq(parse("-wbad"), -EINVAL);
    ck_assert_str_eq(why, "--word 'bad': is bad");
    ck_assert_int_eq(parse("--word quoted"), -EINVAL);
    ck_assert_str_eq(why, "--word 'quoted': is worse");
    ck_assert_int_eq(parse("--switch-off"), -EINVAL);
    ck_assert_str_eq(why, "--switch-off: not today");
    ck_assert_int_eq(parse("--word huge"), -ENOMEM);
}
END_TEST

START_TEST(only_a_repeatable_flag_may_be_given_twice)
{
    ck_assert_int_eq(parse("-l a -l b -s -s"), 0);
    ck_assert_str_eq(seen.text, "list=a;list=b;switch=;switch=;");
    ck_assert_int_eq(parse("-w a --word b"), -EINVAL);
    ck_assert_str_eq(why, "--word 'b': given twice");
}
END_TEST

START_TEST(the_environment_stands_in_for_flags_that_are_not_given)
{
    setenv("NEAP_TEST_WORD", "from env", 1);
    setenv("NEAP_TEST_LIST", " a  b\tc ", 1);
    ck_assert_int_eq(parse("-s"), 0);
    ck_assert_str_eq(seen.text, "switch=;word=from env;list=a;list=b;list=c;");
}
END_TEST

START_TEST(a_flag_wins_over_its_variable)
{
    setenv("NEAP_TEST_WORD", "bad", 1);
    setenv("NEAP_TEST_LIST", "a b", 1);
    ck_assert_int_eq(parse("--word good -l c"), 0);
    ck_assert_str_eq(seen.text, "word=good;list=c;");
}
END_TEST

START_TEST(an_empty_variable_counts_as_unset)
{
    setenv("NEAP_TEST_WORD", "", 1);
    setenv("NEAP_TEST_LIST", "", 1);
    ck_assert_int_eq(parse("one"), 0);
    ck_assert_str_eq(seen.text, "");
}
END_TEST

START_TEST(a_bad_value_is_named_with_its_variable)
{
    setenv("NEAP_TEST_WORD", "bad", 1);
    ck_assert_int_eq(parse("one"), -EINVAL);
    ck_assert_str_eq(why, "NEAP_TEST_WORD 'bad': is bad");
}
END_TEST

START_TEST(long_values_and_names_are_cut_in_messages)
{
    char text[500] = "--";
    memset(text + 2, 'x', sizeof text - 3);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(parse(text), -ENOENT);
    ck_assert_uint_lt(strlen(why), 100);
    memcpy(text, "-wa -w", 6);
    ck_assert_int_eq(parse(text), -EINVAL);
    ck_assert_uint_lt(strlen(why), 300);
}
END_TEST

START_TEST(a_choice_is_found_or_suggested)
{
    static const char *const names[] = {"text", "logfmt", "json"};
    ck_assert_int_eq(flags_choice("json", names, 3, why), 2);
    ck_assert_int_eq(flags_choice("jsno", names, 3, why), -EINVAL);
    ck_assert_str_eq(why, "unknown; did you mean 'json'?");
    ck_assert_int_eq(flags_choice("binary", names, 3, why), -EINVAL);
    ck_assert_str_eq(why, "must be text or logfmt or json");
}
END_TEST

static const struct flag settings_table[] = {
    {"eval", 'e', "CODE", "", NULL, false, settings_set_code},
    {"listen", 'l', "ADDR", "", "NEAP_TEST_LIST", true, settings_set_listen},
    {"workers", 0, "N", "", "NEAP_TEST_WORD", false, settings_set_workers},
    {"log-level", 0, "LEVEL", "", NULL, false, settings_set_log_level},
    {"log-format", 0, "FORMAT", "", NULL, false, settings_set_log_format},
    {"json", 0, NULL, "", NULL, false, settings_set_json},
    {.name = NULL},
};

static struct settings settings;

static int parse_settings(const char *text)
{
    settings_fini(&settings);
    settings_init(&settings);
    return parse_with(settings_table, &settings, text);
}

static void assert_listen(size_t at, const char *service, const char *addr)
{
    char text[ADDR_TEXT_MAX];
    ck_assert_uint_lt(at, settings.config.listen_count);
    const struct server_listen *listen = &settings.config.listen[at];
    addr_format(&listen->addr, text);
    assert_text("address", text, addr);
    assert_text(text, listen->service ? listen->service : "(none)",
                service ? service : "(none)");
}

START_TEST(nothing_given_leaves_all_to_the_script)
{
    ck_assert_int_eq(parse_settings(""), 0);
    ck_assert_int_eq(settings_finish(&settings, &line), 0);
    ck_assert_ptr_null(settings.config.script);
    ck_assert_ptr_null(settings.config.code);
    ck_assert_uint_eq(settings.config.listen_count, 0);
    ck_assert_int_eq(settings.config.workers, SERVER_WORKERS_SCRIPT);
    ck_assert_int_eq(settings.config.log_level, -1);
    ck_assert_int_eq(settings.config.log_format, -1);
    ck_assert(!settings.json);
}
END_TEST

START_TEST(listen_takes_addresses_with_and_without_a_name)
{
    ck_assert_int_eq(parse_settings("-l 4343 -l chat=udp://[::1]:7 --listen=_a-1=4344"), 0);
    ck_assert_uint_eq(settings.config.listen_count, 3);
    assert_listen(0, NULL, "tcp://127.0.0.1:4343");
    assert_listen(1, "chat", "udp://[::1]:7");
    assert_listen(2, "_a-1", "tcp://127.0.0.1:4344");
}
END_TEST

START_TEST(an_equals_sign_in_an_address_is_not_the_end_of_a_name)
{
    ck_assert_int_eq(
        parse_settings(
            "-l tcp://127.0.0.1:1?backlog=9 -l x=unix:///a=b?mode=0660 -l 7?backlog=8"),
        0);
    assert_listen(0, NULL, "tcp://127.0.0.1:1");
    ck_assert_int_eq(settings.config.listen[0].addr.backlog, 9);
    assert_listen(1, "x", "unix:///a=b");
    ck_assert_int_eq(settings.config.listen[1].addr.mode, 0660);
    assert_listen(2, NULL, "tcp://127.0.0.1:7");
    ck_assert_int_eq(settings.config.listen[2].addr.backlog, 8);
}
END_TEST

START_TEST(what_cannot_be_a_name_is_refused)
{
    static const char *const lines[] = {"-l =4343", "-l 9a=4343", "-l -a=4343",
                                        "-l a.b=4343", "-l \xc3\xa4=4343"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        ck_assert_int_eq(parse_settings(lines[i]), -EINVAL);
        ck_assert_msg(strstr(why, "a service's name has letters"), "%s: %s", lines[i], why);
        ck_assert_uint_eq(settings.config.listen_count, 0);
    }
}
END_TEST

START_TEST(a_bad_address_is_refused_with_what_would_do)
{
    ck_assert_int_eq(parse_settings("--listen tpc://1"), -EINVAL);
    ck_assert_str_eq(why,
                     "--listen 'tpc://1': unknown transport 'tpc'; did you mean 'tcp'?");
    setenv("NEAP_TEST_LIST", "4343 chat=tpc://1", 1);
    ck_assert_int_eq(parse_settings(""), -EINVAL);
    ck_assert_str_eq(
        why, "NEAP_TEST_LIST 'tpc://1': unknown transport 'tpc'; did you mean 'tcp'?");
}
END_TEST

START_TEST(names_from_the_environment_are_kept)
{
    setenv("NEAP_TEST_LIST", "chat=1 admin=2", 1);
    ck_assert_int_eq(parse_settings(""), 0);
    setenv("NEAP_TEST_LIST", "xxxxxxxxxxxxxx", 1);
    assert_listen(0, "chat", "tcp://127.0.0.1:1");
    assert_listen(1, "admin", "tcp://127.0.0.1:2");
}
END_TEST

START_TEST(workers_is_a_number_or_auto)
{
    static const char *const bad[] = {"0",  "257", "-1",          "+2",
                                      "2x", "",    "99999999999", "Auto"};
    ck_assert_int_eq(parse_settings("--workers 256"), 0);
    ck_assert_int_eq(settings.config.workers, 256);
    ck_assert_int_eq(parse_settings("--workers auto"), 0);
    ck_assert_int_eq(settings.config.workers, SERVER_WORKERS_AUTO);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[64];
        snprintf(text, sizeof text, "--workers=%s", bad[i]);
        ck_assert_msg(parse_settings(text) == -EINVAL, "%s was taken", bad[i]);
        ck_assert_ptr_nonnull(strstr(why, "must be a number from 1 to 256, or auto"));
    }
}
END_TEST

START_TEST(log_level_and_format_take_the_names_of_the_log)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        char text[64];
        snprintf(text, sizeof text, "--log-level %s", log_level_names[i]);
        assert_number(text, parse_settings(text), 0);
        assert_number(text, settings.config.log_level, i);
    }
    assert_number("format", parse_settings("--log-format logfmt"), 0);
    assert_number("format", settings.config.log_format, LOG_LOGFMT);
    assert_number("bad level", parse_settings("--log-level inof"), -EINVAL);
    assert_text("bad level", why, "--log-level 'inof': unknown; did you mean 'info'?");
}
END_TEST

START_TEST(a_script_or_code_but_not_both)
{
    ck_assert_int_eq(parse_settings("--json chat.lua"), 0);
    ck_assert_int_eq(settings_finish(&settings, &line), 0);
    ck_assert_str_eq(settings.config.script, "chat.lua");
    ck_assert(settings.json);
    ck_assert_int_eq(parse_settings("-e code"), 0);
    ck_assert_int_eq(settings_finish(&settings, &line), 0);
    ck_assert_str_eq(settings.config.code, "code");
    ck_assert_int_eq(parse_settings("-e code chat.lua"), 0);
    ck_assert_int_eq(settings_finish(&settings, &line), -EINVAL);
}
END_TEST

static void finish_settings(void)
{
    settings_fini(&settings);
    settings = (struct settings){.listen = NULL};
}

static TCase *flags_tests(void)
{
    TCase *tcase = tcase_create("flags");
    tcase_add_checked_fixture(tcase, forget_environment, NULL);
    tcase_add_test(tcase, flags_are_set_in_the_order_given);
    tcase_add_test(tcase, operands_are_found_between_flags_and_after_two_dashes);
    tcase_add_test(tcase, a_program_without_even_a_name_has_no_operands);
    tcase_add_test(tcase, help_wins_wherever_it_stands_and_nothing_is_set);
    tcase_add_test(tcase, what_is_not_understood_is_explained_and_nothing_is_set);
    tcase_add_test(tcase, a_bad_value_is_named_with_its_flag);
    tcase_add_test(tcase, only_a_repeatable_flag_may_be_given_twice);
    tcase_add_test(tcase, the_environment_stands_in_for_flags_that_are_not_given);
    tcase_add_test(tcase, a_flag_wins_over_its_variable);
    tcase_add_test(tcase, an_empty_variable_counts_as_unset);
    tcase_add_test(tcase, a_bad_value_is_named_with_its_variable);
    tcase_add_test(tcase, long_values_and_names_are_cut_in_messages);
    tcase_add_test(tcase, a_choice_is_found_or_suggested);
    return tcase;
}

static TCase *settings_tests(void)
{
    TCase *tcase = tcase_create("settings");
    tcase_add_checked_fixture(tcase, forget_environment, finish_settings);
    tcase_add_test(tcase, nothing_given_leaves_all_to_the_script);
    tcase_add_test(tcase, listen_takes_addresses_with_and_without_a_name);
    tcase_add_test(tcase, an_equals_sign_in_an_address_is_not_the_end_of_a_name);
    tcase_add_test(tcase, what_cannot_be_a_name_is_refused);
    tcase_add_test(tcase, a_bad_address_is_refused_with_what_would_do);
    tcase_add_test(tcase, names_from_the_environment_are_kept);
    tcase_add_test(tcase, workers_is_a_number_or_auto);
    tcase_add_test(tcase, log_level_and_format_take_the_names_of_the_log);
    tcase_add_test(tcase, a_script_or_code_but_not_both);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("flags");

    suite_add_tcase(suite, flags_tests());
    suite_add_tcase(suite, settings_tests());

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
