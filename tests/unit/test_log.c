/* tests/unit/test_log.c - base/log. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#define TIME_S 1767323045.678 /* 2026-01-02T03:04:05.678Z */

static struct log_field string_field(const char *key, const char *value)
{
    return (struct log_field){.key = key,
                              .key_len = strlen(key),
                              .kind = LOG_STRING,
                              .as.string = {value, strlen(value)}};
}

static struct log_field number_field(const char *key, double value)
{
    return (struct log_field){
        .key = key, .key_len = strlen(key), .kind = LOG_NUMBER, .as.number = value};
}

static struct log_field integer_field(const char *key, int64_t value)
{
    return (struct log_field){
        .key = key, .key_len = strlen(key), .kind = LOG_INTEGER, .as.integer = value};
}

static struct log_record record_of(enum log_level level, const char *message)
{
    return (struct log_record){.level = level,
                               .time_s = TIME_S,
                               .message = message,
                               .message_len = strlen(message)};
}

static void assert_line(enum log_format format, bool colour,
                        const struct log_record *record, const char *expected)
{
    struct buf out = {0};

    ck_assert_int_eq(buf_append(&out, "|", 1), 0);
    ck_assert_int_eq(log_format_record(&out, format, colour, record), 0);
    ck_assert_int_eq(buf_append(&out, "", 1), 0);
    ck_assert_str_eq(buf_bytes(&out) + 1, expected);
    buf_fini(&out);
}

static void use_time_zone(const char *zone)
{
    ck_assert_int_eq(setenv("TZ", zone, 1), 0);
    tzset();
}

START_TEST(a_record_is_one_line_in_each_format)
{
    struct log_field fields[] = {string_field("peer", "127.0.0.1:5"),
                                 string_field("reason", "two words"),
                                 integer_field("count", -3),
                                 number_field("seconds", 0.25),
                                 {"ok", 2, LOG_BOOLEAN, {.boolean = true}}};
    struct log_record record = record_of(LOG_WARN, "client left");

    record.fields = fields;
    record.field_count = 1;
    use_time_zone("UTC-1:30");
    assert_line(LOG_TEXT, false, &record,
                "04:34:05.678 WARN client left  peer=127.0.0.1:5\n");
    record.field_count = 5;
    assert_line(LOG_TEXT, false, &record,
                "04:34:05.678 WARN client left  peer=127.0.0.1:5 reason=\"two words\" "
                "count=-3 seconds=0.25 ok=true\n");
    assert_line(LOG_LOGFMT, true, &record,
                "time=2026-01-02T03:04:05.678Z level=warn msg=\"client left\" "
                "peer=127.0.0.1:5 reason=\"two words\" count=-3 seconds=0.25 ok=true\n");
    assert_line(LOG_JSON, true, &record,
                "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\","
                "\"msg\":\"client left\",\"peer\":\"127.0.0.1:5\",\"reason\":\"two words\","
                "\"count\":-3,\"seconds\":0.25,\"ok\":true}\n");
}
END_TEST

START_TEST(text_is_coloured_on_request)
{
    static const char *const colours[] = {"36", "32", "33", "31"};
    static const char *const labels[] = {"DEBUG", "INFO", "WARN", "ERROR"};
    char expected[100];

    use_time_zone("UTC");
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        struct log_record record = record_of((enum log_level)level, "m");
        snprintf(expected, sizeof expected,
                 "\x1b[2m03:04:05.678\x1b[0m \x1b[%sm%s\x1b[0m m\n", colours[level],
                 labels[level]);
        assert_line(LOG_TEXT, true, &record, expected);
    }
}
END_TEST

START_TEST(nothing_in_a_record_ends_the_line_or_forges_a_field)
{
    struct log_field fields[] = {string_field("", "\x1b[2J"), string_field("a b\n=", "x=y"),
                                 string_field("q", "say \"hi\"\\"), string_field("e", ""),
                                 string_field("u", "\xc3\xa9\xff")};
    struct log_record record = record_of(LOG_INFO, "a\nlevel=error \"msg\"\x9b");

    record.fields = fields;
    record.field_count = 5;
    use_time_zone("UTC");
    assert_line(LOG_TEXT, false, &record,
                "03:04:05.678 INFO a\\nlevel=error \"msg\"\\x9b  _=\"\\x1b[2J\" "
                "a_b__=\"x=y\" q=\"say \\\"hi\\\"\\\\\" e=\"\" u=\"\\xc3\\xa9\\xff\"\n");
    assert_line(LOG_LOGFMT, false, &record,
                "time=2026-01-02T03:04:05.678Z level=info "
                "msg=\"a\\nlevel=error \\\"msg\\\"\\x9b\" _=\"\\x1b[2J\" a_b__=\"x=y\" "
                "q=\"say \\\"hi\\\"\\\\\" e=\"\" u=\"\\xc3\\xa9\\xff\"\n");
    assert_line(LOG_JSON, false, &record,
                "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"info\","
                "\"msg\":\"a\\nlevel=error \\\"msg\\\"\xef\xbf\xbd\","
                "\"_\":\"\\u001b[2J\",\"a_b__\":\"x=y\",\"q\":\"say \\\"hi\\\"\\\\\","
                "\"e\":\"\",\"u\":\"\xc3\xa9\xef\xbf\xbd\"}\n");
}
END_TEST

static const struct {
    double number;
    const char *text, *json;
} numbers[] = {
    {0, "0", "0"},
    {-1.5, "-1.5", "-1.5"},
    {0.1, "0.1", "0.1"},
    {1.0 / 3, "0.3333333333333333", "0.3333333333333333"},
    {0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"},
    {1e21, "1e+21", "1e+21"},
    {123456789012, "123456789012", "123456789012"},
    {5e-324, "4.94065645841247e-324", "4.94065645841247e-324"},
    {NAN, "nan", "\"nan\""},
    {INFINITY, "inf", "\"inf\""},
    {-INFINITY, "-inf", "\"-inf\""},
};

START_TEST(numbers_read_back_and_json_has_no_others)
{
    struct log_field field = number_field("n", numbers[_i].number);
    struct log_record record = record_of(LOG_INFO, "m");
    char expected[200];

    record.fields = &field;
    record.field_count = 1;
    snprintf(expected, sizeof expected,
             "time=2026-01-02T03:04:05.678Z level=info msg=\"m\" n=%s\n", numbers[_i].text);
    assert_line(LOG_LOGFMT, false, &record, expected);
    snprintf(expected, sizeof expected,
             "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"info\",\"msg\":\"m\","
             "\"n\":%s}\n",
             numbers[_i].json);
    assert_line(LOG_JSON, false, &record, expected);
}
END_TEST

START_TEST(absurd_times_are_moved_to_the_nearest_that_can_be_written)
{
    static const struct {
        double time_s;
        const char *text;
    } times[] = {
        {0, "1970-01-01T00:00:00.000Z"},         {-5, "1970-01-01T00:00:00.000Z"},
        {NAN, "1970-01-01T00:00:00.000Z"},       {0.9996, "1970-01-01T00:00:01.000Z"},
        {951782400, "2000-02-29T00:00:00.000Z"}, {INFINITY, "9999-12-31T23:59:59.000Z"},
    };
    char expected[100];

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct log_record record = record_of(LOG_ERROR, "");
        record.time_s = times[i].time_s;
        snprintf(expected, sizeof expected, "time=%s level=error msg=\"\"\n",
                 times[i].text);
        assert_line(LOG_LOGFMT, false, &record, expected);
    }
}
END_TEST

START_TEST(random_bytes_never_leave_the_printable_range)
{
    unsigned short seed[3] = {9, 9, 9};
    char bytes[64];

    for (int round = 0; round < 5000; round++) {
        struct buf out = {0};
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(nrand48(seed) % 256);
        struct log_field field = {
            bytes, 8, LOG_STRING, {.string = {bytes + 8, sizeof bytes - 8}}};
        struct log_record record = {LOG_INFO, TIME_S, bytes, sizeof bytes, &field, 1};
        enum log_format format = round % 2 ? LOG_TEXT : LOG_LOGFMT;
        ck_assert_int_eq(log_format_record(&out, format, false, &record), 0);
        for (size_t i = 0; i + 1 < buf_len(&out); i++) {
            char byte = buf_bytes(&out)[i];
            if (byte < 0x20 || byte > 0x7e)
                ck_abort_msg("byte %d at %zu", byte, i);
        }
        ck_assert_int_eq(buf_bytes(&out)[buf_len(&out) - 1], '\n');
        buf_fini(&out);
    }
}
END_TEST

/* Reads a descriptor to its end, in a thread of its own. */
struct reader {
    pthread_t thread;
    int fd;
    struct buf got;
};

static void *run_reader(void *arg)
{
    struct reader *reader = arg;
    ssize_t count;

    do {
        if (buf_reserve(&reader->got, 65536) != 0)
            abort();
        count = read(reader->fd, buf_tail(&reader->got), 65536);
        if (count > 0)
            buf_commit(&reader->got, (size_t)count);
    } while (count > 0);
    return NULL;
}

static void reader_start(struct reader *reader, int fd)
{
    *reader = (struct reader){.fd = fd};
    ck_assert_int_eq(pthread_create(&reader->thread, NULL, run_reader, reader), 0);
}

/* What was read until the end, as a string. */
static char *reader_finish(struct reader *reader)
{
    ck_assert_int_eq(pthread_join(reader->thread, NULL), 0);
    close(reader->fd);
    ck_assert_int_eq(buf_append(&reader->got, "", 1), 0);
    return buf_bytes(&reader->got);
}

/* Ends each line with a NUL: a sanitizer looks for the end of the whole text at every search. */
static size_t split_lines(char *text)
{
    size_t len = strlen(text);

    for (char *end = text; (end = memchr(end, '\n', len - (size_t)(end - text))) != NULL;)
        *end = '\0';
    return len;
}

static struct log *open_log(int fd, enum log_format format)
{
    struct log *log = NULL;

    ck_assert_int_eq(log_open(&log, fd, format, false), 0);
    ck_assert_ptr_nonnull(log);
    return log;
}

START_TEST(closing_writes_out_what_is_queued)
{
    int ends[2];
    struct reader reader;
    struct log_record record = record_of(LOG_DEBUG, "one");

    ck_assert_int_eq(pipe(ends), 0);
    struct log *log = open_log(ends[1], LOG_LOGFMT);
    ck_assert_int_eq(log_format_of(log), LOG_LOGFMT);
    log_write(log, &record);
    log_write_raw(log, "two\nthree\n", 10);
    log_write_raw(log, NULL, 0);
    log_close(log);
    close(ends[1]);
    reader_start(&reader, ends[0]);
    ck_assert_str_eq(reader_finish(&reader),
                     "time=2026-01-02T03:04:05.678Z level=debug msg=\"one\"\ntwo\nthree\n");
    buf_fini(&reader.got);
}
END_TEST

START_TEST(leaving_writes_out_what_is_queued_and_others_may_go_on)
{
    int ends[2];
    struct reader reader;

    ck_assert_int_eq(pipe(ends), 0);
    struct log *log = open_log(ends[1], LOG_LOGFMT);
    log_write_raw(log, "one\n", 4);
    log_leave(log);
    log_write_raw(log, "nobody writes this\n", 19);
    ck_assert_int_eq(log_is_enabled(log, LOG_INFO), true);
    log_close(log);
    log_leave(NULL);
    close(ends[1]);
    reader_start(&reader, ends[0]);
    ck_assert_str_eq(reader_finish(&reader), "one\n");
    buf_fini(&reader.got);
}
END_TEST

START_TEST(printf_obeys_the_level_and_escapes)
{
    int ends[2];
    struct reader reader;

    ck_assert_int_eq(pipe(ends), 0);
    struct log *log = open_log(ends[1], LOG_LOGFMT);
    log_printf(log, LOG_DEBUG, "below info at first");
    ck_assert_int_eq(log_is_enabled(log, LOG_DEBUG), false);
    ck_assert_int_eq(log_is_enabled(log, LOG_INFO), true);
    log_printf(log, LOG_INFO, "a\n%d", 7);
    log_set_level(log, LOG_ERROR);
    ck_assert_int_eq(log_is_enabled(log, LOG_WARN), false);
    log_printf(log, LOG_WARN, "below error");
    log_set_level(log, LOG_DEBUG);
    log_printf(log, LOG_DEBUG, "%s", "last");
    log_close(log);
    close(ends[1]);
    reader_start(&reader, ends[0]);
    const char *got = reader_finish(&reader);
    ck_assert_ptr_nonnull(strstr(got, " level=info msg=\"a\\n7\"\n"));
    ck_assert_ptr_nonnull(strstr(got, " level=debug msg=\"last\"\n"));
    ck_assert_ptr_null(strstr(got, "below"));
    buf_fini(&reader.got);
}
END_TEST

START_TEST(closing_no_log_is_allowed)
{
    log_close(NULL);
}
END_TEST

START_TEST(a_bad_descriptor_is_refused_at_once)
{
    struct log *log = NULL;

    ck_assert_int_eq(log_open(&log, -1, LOG_TEXT, false), -EBADF);
    ck_assert_ptr_null(log);
}
END_TEST

enum { PRODUCERS = 4, LINES_EACH = 2000 };

struct producer {
    pthread_t thread;
    struct log *log;
    int number;
};

static void *run_producer(void *arg)
{
    struct producer *producer = arg;
    char line[32];

    for (int i = 0; i < LINES_EACH; i++) {
        int len = snprintf(line, sizeof line, "%d:%d\n", producer->number, i);
        log_write_raw(producer->log, line, (size_t)len);
        if (i % 100 == 0)
            log_set_level(producer->log, i % 200 ? LOG_INFO : LOG_DEBUG);
    }
    return NULL;
}

START_TEST(lines_of_several_threads_arrive_whole_and_in_the_order_of_each)
{
    struct producer producers[PRODUCERS];
    struct reader reader;
    int ends[2];
    long next[PRODUCERS] = {0};

    ck_assert_int_eq(pipe(ends), 0);
    reader_start(&reader, ends[0]);
    struct log *log = open_log(ends[1], LOG_TEXT);
    close(ends[1]);
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.log = log, .number = i};
        pthread_create(&producers[i].thread, NULL, run_producer, &producers[i]);
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i].thread, NULL);
    ck_assert_uint_eq(log_dropped(log), 0);
    log_close(log);
    char *line = reader_finish(&reader), *end = line + split_lines(line), *rest;
    for (; line < end; line += strlen(line) + 1) {
        long thread = strtol(line, &rest, 10), number = strtol(rest + 1, NULL, 10);
        if (thread < 0 || thread >= PRODUCERS || *rest != ':' || number != next[thread]++)
            ck_abort_msg("'%s' is out of order", line);
    }
    for (int i = 0; i < PRODUCERS; i++)
        ck_assert_int_eq(next[i], LINES_EACH);
    buf_fini(&reader.got);
}
END_TEST

static void write_numbered(struct log *log, long number)
{
    char message[100];
    int len = snprintf(message, sizeof message, "record %090ld", number);
    struct log_record record = record_of(LOG_INFO, message);

    ck_assert_int_lt(len, (int)sizeof message);
    log_write(log, &record);
}

/* Writes numbered records until the buffer has refused ten; how many were written. */
static long overfill(struct log *log)
{
    long written = 0;

    while (log_dropped(log) < 10)
        write_numbered(log, written++);
    return written;
}

/* The number after `label` in a line, or -1. */
static long number_after(const char *line, const char *label)
{
    const char *found = strstr(line, label);

    return found ? strtol(found + strlen(label), NULL, 10) : -1;
}

/* Checks that every record of 0..written-1 is there or told to be lost, in its place. */
static void assert_all_told_of(char *got, long written)
{
    long next = 0;

    for (char *line = got, *end = got + split_lines(got); line < end;
         line += strlen(line) + 1) {
        long lost = number_after(line, " level=warn msg=\"log records dropped\" count=");
        long number = number_after(line, " level=info msg=\"record ");
        if (lost < 0 && number != next)
            ck_abort_msg("after record %ld: %s", next - 1, line);
        next += lost < 0 ? 1 : lost;
    }
    ck_assert_int_eq(next, written);
}

START_TEST(a_full_buffer_drops_and_the_next_line_says_how_many)
{
    struct reader reader;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    struct log *log = open_log(ends[1], LOG_LOGFMT);
    close(ends[1]);
    long written = overfill(log);
    ck_assert_uint_eq(log_dropped(log), 10);
    reader_start(&reader, ends[0]);
    /* And now while both ends are at work, whichever is faster. */
    for (int i = 0; i < 30000; i++)
        write_numbered(log, written++);
    log_close(log);
    char *got = reader_finish(&reader);
    assert_all_told_of(got, written);
    buf_fini(&reader.got);
}
END_TEST

START_TEST(a_record_too_large_for_the_buffer_is_dropped_and_told_of)
{
    size_t len = (size_t)1024 * 1024 + 1;
    char *huge = malloc(len);
    struct reader reader;
    int ends[2];

    memset(huge, 'h', len);
    huge[len - 1] = '\n';
    ck_assert_int_eq(pipe(ends), 0);
    reader_start(&reader, ends[0]);
    struct log *log = open_log(ends[1], LOG_LOGFMT);
    close(ends[1]);
    log_write_raw(log, huge, len);
    ck_assert_uint_eq(log_dropped(log), 1);
    log_write_raw(log, "after\n", 6);
    log_close(log);
    const char *got = reader_finish(&reader);
    ck_assert_ptr_nonnull(strstr(got, "msg=\"log records dropped\" count=1\nafter\n"));
    free(huge);
    buf_fini(&reader.got);
}
END_TEST

START_TEST(a_non_blocking_descriptor_is_waited_for)
{
    struct reader reader;
    int ends[2];
    char line[1001];

    memset(line, '.', sizeof line);
    line[1000] = '\n';
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, 0), 0);
    struct log *log = open_log(ends[1], LOG_TEXT);
    close(ends[1]);
    for (int i = 0; i < 900; i++)
        log_write_raw(log, line, sizeof line);
    reader_start(&reader, ends[0]);
    log_close(log);
    const char *got = reader_finish(&reader);
    ck_assert_uint_eq(buf_len(&reader.got) - 1, 900 * sizeof line);
    for (size_t i = 0; i < 900; i++) {
        if (memcmp(got + i * sizeof line, line, sizeof line) != 0)
            ck_abort_msg("line %zu differs", i);
    }
    buf_fini(&reader.got);
}
END_TEST

static double monotonic_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

START_TEST(closing_waits_a_second_for_a_reader_that_does_not_read)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, _i ? O_NONBLOCK : 0), 0);
    struct log *log = open_log(ends[1], LOG_TEXT);
    overfill(log);
    double before = monotonic_s();
    log_close(log);
    double waited = monotonic_s() - before;
    ck_assert_double_ge(waited, 0.99);
    ck_assert_double_le(waited, 10);
    close(ends[1]);
    close(ends[0]);
}
END_TEST

/* Waits for the writer to have met the error, of which only this counter tells. */
static void await_dropped(const struct log *log, uint64_t count)
{
    while (log_dropped(log) < count)
        sched_yield();
}

START_TEST(a_broken_pipe_neither_kills_nor_blocks)
{
    int ends[2];

    ck_assert_ptr_ne(signal(SIGPIPE, SIG_DFL), SIG_ERR);
    ck_assert_int_eq(pipe(ends), 0);
    struct log *log = open_log(ends[1], LOG_TEXT);
    close(ends[0]);
    close(ends[1]);
    for (uint64_t i = 1; i <= 3; i++) {
        log_write_raw(log, "lost\n", 5);
        await_dropped(log, i);
    }
    double before = monotonic_s();
    log_close(log);
    ck_assert_double_lt(monotonic_s() - before, 0.9);
}
END_TEST

START_TEST(a_full_disk_is_counted_and_does_not_end_the_log)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    struct log *log = open_log(fd, LOG_TEXT);
    close(fd);
    log_write_raw(log, "a\nb\n", 4);
    await_dropped(log, 2);
    log_write_raw(log, "c\n", 2);
    await_dropped(log, 3);
    log_close(log);
}
END_TEST

/* Lets the writer cut a line where the file may grow no further. Without an assertion before the
 * limit is gone: Check's own file would be cut too. */
static int write_over_limit(struct log *log, rlim_t size)
{
    struct rlimit limit, before;

    if (getrlimit(RLIMIT_FSIZE, &before) != 0)
        return -1;
    limit = (struct rlimit){size, before.rlim_max};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return -1;
    log_write_raw(log, "whole\ncut off\n", 14);
    await_dropped(log, 1);
    return setrlimit(RLIMIT_FSIZE, &before);
}

START_TEST(after_a_line_that_was_cut_the_next_begins_anew)
{
    char path[] = "/tmp/neap-test-log-XXXXXX", got[300] = {0};
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    struct log *log = open_log(fd, LOG_LOGFMT);
    ck_assert_int_eq(write_over_limit(log, 8), 0);
    log_write_raw(log, "next\n", 5);
    log_close(log);
    ck_assert_int_gt(pread(fd, got, sizeof got - 1, 0), 9);
    ck_assert_int_eq(strncmp(got, "whole\ncu\ntime=", 14), 0);
    ck_assert_str_eq(strstr(got, " level="),
                     " level=warn msg=\"log records dropped\" count=1\nnext\n");
    close(fd);
}
END_TEST

START_TEST(the_writer_takes_no_signals)
{
    sigset_t set;
    int ends[2], number;

    ck_assert_int_eq(pipe(ends), 0);
    struct log *log = open_log(ends[1], LOG_TEXT);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    /* Not blocked by every thread, it would kill. */
    ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
    ck_assert_int_eq(sigwait(&set, &number), 0);
    ck_assert_int_eq(number, SIGUSR1);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &set), 0);
    ck_assert_int_eq(sigismember(&set, SIGTERM), 0);
    log_close(log);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

static void add_format_tests(TCase *tcase)
{
    tcase_add_test(tcase, a_record_is_one_line_in_each_format);
    tcase_add_test(tcase, text_is_coloured_on_request);
    tcase_add_test(tcase, nothing_in_a_record_ends_the_line_or_forges_a_field);
    tcase_add_loop_test(tcase, numbers_read_back_and_json_has_no_others, 0,
                        ARRAY_LEN(numbers));
    tcase_add_test(tcase, absurd_times_are_moved_to_the_nearest_that_can_be_written);
    tcase_add_test(tcase, random_bytes_never_leave_the_printable_range);
}

static void add_queue_tests(TCase *tcase)
{
    tcase_add_test(tcase, closing_writes_out_what_is_queued);
    tcase_add_test(tcase, leaving_writes_out_what_is_queued_and_others_may_go_on);
    tcase_add_test(tcase, printf_obeys_the_level_and_escapes);
    tcase_add_test(tcase, closing_no_log_is_allowed);
    tcase_add_test(tcase, a_bad_descriptor_is_refused_at_once);
    tcase_add_test(tcase, lines_of_several_threads_arrive_whole_and_in_the_order_of_each);
    tcase_add_test(tcase, a_full_buffer_drops_and_the_next_line_says_how_many);
    tcase_add_test(tcase, a_record_too_large_for_the_buffer_is_dropped_and_told_of);
    tcase_add_test(tcase, a_non_blocking_descriptor_is_waited_for);
    tcase_add_loop_test(tcase, closing_waits_a_second_for_a_reader_that_does_not_read, 0,
                        2);
    tcase_add_test(tcase, a_broken_pipe_neither_kills_nor_blocks);
    tcase_add_test(tcase, a_full_disk_is_counted_and_does_not_end_the_log);
    tcase_add_test(tcase, after_a_line_that_was_cut_the_next_begins_anew);
    tcase_add_test(tcase, the_writer_takes_no_signals);
}

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *formats = tcase_create("formats"), *queue = tcase_create("queue");

    suite_add_tcase(suite, formats);
    suite_add_tcase(suite, queue);
    add_format_tests(formats);
    add_queue_tests(queue);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
