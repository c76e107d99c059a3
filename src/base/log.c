/* base/log.c - the queue of log lines and its writer.
 *
 *     front   producers append under the mutex; at most FRONT_MAX bytes of records
 *     back    the writer's alone, outside the mutex
 *
 * The two change places when the writer has nothing left. Both have their memory from the start,
 * a little more than FRONT_MAX: the line that tells of lost records always fits.
 *
 * The writer may be stuck in write(2) on a descriptor that nobody reads, and nothing but a signal
 * handler or a cancellation could get it out. log_close therefore gives it a second, then leaves
 * it alone with the log, and whoever is last frees it. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FRONT_MAX ((size_t)1024 * 1024)
#define LOST_LINE_MAX 256
#define LINE_LEN 256 /* room that most lines need */
#define CLOSE_WAIT_S 1
#define STUCK_WAIT_MS 100 /* how often a stuck writer looks whether it was left alone */

struct log {
    int fd;
    enum log_format format;
    bool colour;
    atomic_int level;
    atomic_ullong dropped;
    pthread_t thread;

    pthread_mutex_t mutex;
    pthread_cond_t filled, ended;
    struct buf front;
    uint64_t lost; /* dropped and not yet told of */
    bool is_waiting, is_closing, has_ended;

    atomic_bool is_abandoned; /* changed under the mutex, read by a stuck writer without */

    /* The writer's alone. */
    struct buf back;
    bool has_failed; /* the last batch did not get through */
    bool is_torn;    /* what got through last does not end a line */
};

static double wall_clock_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Under the mutex. */
static void count_lost(struct log *log, uint64_t count)
{
    log->lost += count;
    atomic_fetch_add_explicit(&log->dropped, count, memory_order_relaxed);
}

/* Appends the line that tells of lost records. Under the mutex; there is room. */
static void tell_lost(struct log *log)
{
    struct log_field count = {.key = "count",
                              .key_len = strlen("count"),
                              .kind = LOG_INTEGER,
                              .as.integer = (int64_t)log->lost};
    struct log_record record = {.level = LOG_WARN,
                                .time_s = wall_clock_s(),
                                .message = "log records dropped",
                                .message_len = strlen("log records dropped"),
                                .fields = &count,
                                .field_count = 1};

    if (log_format_record(&log->front, log->format, log->colour, &record) == 0)
        log->lost = 0;
}

/* Queues whole lines, or counts one record as lost (bytes NULL: it could not be formatted). */
static void enqueue(struct log *log, const char *bytes, size_t len)
{
    pthread_mutex_lock(&log->mutex);
    size_t room = FRONT_MAX - buf_len(&log->front);
    size_t before = log->lost > 0 ? LOST_LINE_MAX : 0;
    if (!bytes || len > room || before > room - len) {
        count_lost(log, 1);
    } else {
        if (before > 0)
            tell_lost(log);
        if (buf_append(&log->front, bytes, len) != 0)
            count_lost(log, 1);
    }
    bool wakes = log->is_waiting && buf_len(&log->front) > 0;
    if (wakes)
        log->is_waiting = false;
    pthread_mutex_unlock(&log->mutex);
    if (wakes)
        pthread_cond_signal(&log->filled);
}

void log_write(struct log *log, const struct log_record *record)
{
    struct buf line = {0};
    bool is_whole = buf_reserve(&line, LINE_LEN) == 0 &&
                    log_format_record(&line, log->format, log->colour, record) == 0;

    enqueue(log, is_whole ? buf_bytes(&line) : NULL, buf_len(&line));
    buf_fini(&line);
}

void log_write_raw(struct log *log, const char *bytes, size_t len)
{
    if (len > 0)
        enqueue(log, bytes, len);
}

void log_printf(struct log *log, enum log_level level, const char *format, ...)
{
    char *message;
    va_list args;

    if (!log_is_enabled(log, level))
        return;
    va_start(args, format);
    int len = vasprintf(&message, format, args);
    va_end(args);
    if (len < 0) {
        enqueue(log, NULL, 0);
        return;
    }
    struct log_record record = {.level = level,
                                .time_s = wall_clock_s(),
                                .message = message,
                                .message_len = (size_t)len};
    log_write(log, &record);
    free(message);
}

void log_set_level(struct log *log, enum log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

enum log_level log_level_of(const struct log *log)
{
    return (enum log_level)atomic_load_explicit(&log->level, memory_order_relaxed);
}

bool log_is_enabled(const struct log *log, enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed);
}

enum log_format log_format_of(const struct log *log)
{
    return log->format;
}

uint64_t log_dropped(const struct log *log)
{
    return atomic_load_explicit(&log->dropped, memory_order_relaxed);
}

static void log_free(struct log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    pthread_cond_destroy(&log->ended);
    pthread_cond_destroy(&log->filled);
    pthread_mutex_destroy(&log->mutex);
    buf_fini(&log->back);
    buf_fini(&log->front);
    free(log);
}

/* Writes as much as the descriptor takes before an error or log_close gives up; how many bytes. */
static size_t write_bytes(struct log *log, const char *bytes, size_t len)
{
    size_t done = 0;

    while (done < len && !atomic_load(&log->is_abandoned)) {
        ssize_t count = write(log->fd, bytes + done, len - done);
        if (count > 0) {
            done += (size_t)count;
        } else if (count < 0 && errno == EAGAIN) {
            struct pollfd writable = {.fd = log->fd, .events = POLLOUT};
            poll(&writable, 1, STUCK_WAIT_MS);
        } else if (count == 0 || errno != EINTR) {
            break;
        }
    }
    return done;
}

static uint64_t count_lines(const char *bytes, size_t len)
{
    uint64_t count = 0;

    for (size_t i = 0; i < len; i++)
        count += bytes[i] == '\n';
    return count;
}

static void write_batch(struct log *log)
{
    const char *bytes = buf_bytes(&log->back);
    size_t len = buf_len(&log->back), done = 0;

    if (log->is_torn && write_bytes(log, "\n", 1) == 1)
        log->is_torn = false;
    if (!log->is_torn)
        done = write_bytes(log, bytes, len);
    if (done > 0)
        log->is_torn = bytes[done - 1] != '\n';
    log->has_failed = done < len;
    if (log->has_failed) {
        uint64_t lines = count_lines(bytes + done, len - done);
        pthread_mutex_lock(&log->mutex);
        count_lost(log, lines);
        pthread_mutex_unlock(&log->mutex);
    }
    buf_clear(&log->back);
}

/* Waits for lines and takes them all; false at the end. */
static bool take_batch(struct log *log)
{
    pthread_mutex_lock(&log->mutex);
    while (buf_len(&log->front) == 0 && !log->is_closing) {
        log->is_waiting = true;
        pthread_cond_wait(&log->filled, &log->mutex);
    }
    log->is_waiting = false;
    /* A failed write must not make a line that fails again, for ever. */
    if (log->lost > 0 && (buf_len(&log->front) > 0 || !log->has_failed))
        tell_lost(log);
    struct buf batch = log->front;
    log->front = log->back;
    log->back = batch;
    pthread_mutex_unlock(&log->mutex);
    return buf_len(&log->back) > 0;
}

static void *run_writer(void *arg)
{
    struct log *log = arg;

    while (take_batch(log))
        write_batch(log);
    pthread_mutex_lock(&log->mutex);
    log->has_ended = true;
    bool is_mine = atomic_load(&log->is_abandoned);
    pthread_cond_signal(&log->ended);
    pthread_mutex_unlock(&log->mutex);
    if (is_mine)
        log_free(log);
    return NULL;
}

static int start_writer(struct log *log)
{
    sigset_t all, before;

    /* Also SIGPIPE: a broken pipe is then only an error of write. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&log->thread, NULL, run_writer, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err)
        return -err;
    pthread_setname_np(log->thread, "neap-log");
    return 0;
}

static void init_locks(struct log *log)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&log->mutex, NULL);
    pthread_cond_init(&log->filled, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&log->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int log_open(struct log **out, int fd, enum log_format format, bool colour)
{
    struct log *log = calloc(1, sizeof *log);
    if (!log)
        return -ENOMEM;
    log->format = format;
    log->colour = colour;
    atomic_init(&log->level, LOG_INFO);
    atomic_init(&log->dropped, 0);
    atomic_init(&log->is_abandoned, false);
    init_locks(log);
    tzset(); /* localtime_r alone need not read TZ */
    log->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int err = log->fd < 0 ? -errno : 0;
    if (!err)
        err = buf_reserve(&log->front, FRONT_MAX + LOST_LINE_MAX);
    if (!err)
        err = buf_reserve(&log->back, FRONT_MAX + LOST_LINE_MAX);
    if (!err)
        err = start_writer(log);
    if (err) {
        log_free(log);
        return err;
    }
    *out = log;
    return 0;
}

/* Waits until the queue is written and the thread at its end; false: not within CLOSE_WAIT_S.
 * Under the mutex. */
static bool end_writer(struct log *log)
{
    struct timespec deadline;
    int err = 0;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += CLOSE_WAIT_S;
    log->is_closing = true;
    pthread_cond_signal(&log->filled);
    while (!log->has_ended && !err)
        err = pthread_cond_timedwait(&log->ended, &log->mutex, &deadline);
    return log->has_ended;
}

void log_close(struct log *log)
{
    if (!log)
        return;
    pthread_t thread = log->thread;
    pthread_mutex_lock(&log->mutex);
    bool has_ended = end_writer(log);
    if (!has_ended)
        atomic_store(&log->is_abandoned, true);
    pthread_mutex_unlock(&log->mutex);
    /* From here on an abandoned log may be gone at any moment. */
    if (has_ended) {
        pthread_join(thread, NULL);
        log_free(log);
    } else {
        pthread_detach(thread);
    }
}

void log_leave(struct log *log)
{
    if (!log)
        return;
    pthread_mutex_lock(&log->mutex);
    (void)end_writer(log);
    pthread_mutex_unlock(&log->mutex);
}
