/* cli/flags.c - getopt_long, twice over the same line.
 *
 * The first pass looks for what getopt_long does not understand and for --help, the second one
 * sets: so `neap run --lissen 1 --help` helps, and no value is taken of a line that is wrong. */
#include "cli/flags.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/require.h"
#include "base/text.h"

#define LONG_FIRST 256 /* above any letter: getopt_long's value of row 0 */
#define LONG_HELP (LONG_FIRST + FLAGS_MAX)
#define SHOWN_MAX 200 /* bytes of a value that a message repeats */

struct scan {
    const struct flag *flags;
    size_t count;
    struct option longs[FLAGS_MAX + 2];
    char letters[2 * FLAGS_MAX + 3];
    bool seen[FLAGS_MAX];
    struct flags_line *line;
    char *why;
};

static void scan_init(struct scan *scan, const struct flag *flags, struct flags_line *line,
                      char *why)
{
    *scan = (struct scan){.flags = flags, .line = line, .why = why};
    char *letter = scan->letters;
    *letter++ = ':'; /* tells a missing argument from an unknown flag, and prints nothing */
    *letter++ = 'h';
    for (; flags[scan->count].name; scan->count++) {
        const struct flag *flag = &flags[scan->count];
        REQUIRE(scan->count < FLAGS_MAX);
        scan->longs[scan->count] = (struct option){
            .name = flag->name,
            .has_arg = flag->argument ? required_argument : no_argument,
            .val = LONG_FIRST + (int)scan->count,
        };
        if (!flag->letter)
            continue;
        *letter++ = flag->letter;
        if (flag->argument)
            *letter++ = ':';
    }
    scan->longs[scan->count] = (struct option){.name = "help", .val = LONG_HELP};
}

static const struct flag *flag_of(const struct scan *scan, int value)
{
    if (value >= LONG_FIRST && value < LONG_FIRST + (int)scan->count)
        return &scan->flags[value - LONG_FIRST];
    for (size_t i = 0; i < scan->count; i++) {
        if (value && scan->flags[i].letter == value)
            return &scan->flags[i];
    }
    return NULL;
}

static void explain_ambiguous(const struct scan *scan, const char *word, size_t len)
{
    int at = snprintf(scan->why, FLAGS_WHY_MAX, "'--%.*s' may be", (int)len, word);
    const char *before = "";
    for (size_t i = 0; i < scan->count && at > 0 && at < FLAGS_WHY_MAX; i++) {
        if (strncmp(scan->flags[i].name, word, len) != 0)
            continue;
        at += snprintf(scan->why + at, (size_t)(FLAGS_WHY_MAX - at), "%s '--%s'", before,
                       scan->flags[i].name);
        before = " or";
    }
}

static void explain_unknown_long(const struct scan *scan, const char *word)
{
    size_t len = strcspn(word, "=");
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1),
             word);
    const char *names[FLAGS_MAX + 1];
    size_t alike = 0;
    for (size_t i = 0; i < scan->count; i++) {
        names[i] = scan->flags[i].name;
        if (len > 0 && strncmp(names[i], name, len) == 0)
            alike++;
    }
    names[scan->count] = "help";
    const char *near = text_nearest(name, names, scan->count + 1);
    if (alike > 1)
        explain_ambiguous(scan, name, strlen(name));
    else if (near)
        snprintf(scan->why, FLAGS_WHY_MAX, "unknown flag '--%s'; did you mean '--%s'?",
                 name, near);
    else
        snprintf(scan->why, FLAGS_WHY_MAX, "unknown flag '--%s'", name);
}

/* What getopt_long complained about; `value` is what it returned. */
static void explain(const struct scan *scan, int value)
{
    const struct flag *flag = flag_of(scan, optopt);
    if (value == ':' && flag)
        snprintf(scan->why, FLAGS_WHY_MAX, "--%s wants %s after it", flag->name,
                 flag->argument);
    else if (flag || optopt == LONG_HELP)
        snprintf(scan->why, FLAGS_WHY_MAX, "--%s takes no value",
                 flag ? flag->name : "help");
    else if (optopt)
        snprintf(scan->why, FLAGS_WHY_MAX,
                 "unknown flag '-%c'; words that begin with a dash stand behind --",
                 optopt);
    else
        explain_unknown_long(scan, scan->line->argv[optind - 1] + 2);
}

/* The word that getopt_long took `letter` from: it has moved on if that was the last one there. */
static const char *word_of(const struct scan *scan, int letter)
{
    const char *before = scan->line->argv[optind - 1];
    size_t len = strlen(before);
    bool ended = len > 1 && before[0] == '-' && before[len - 1] == letter;
    return ended ? before : scan->line->argv[optind];
}

static int look(struct scan *scan)
{
    const char *wrong = NULL; /* the first word that is not understood */
    int rc = 0;
    int value;
    optind = 0; /* glibc: begin anew, also after another command line */
    while ((value = getopt_long(scan->line->argc, scan->line->argv, scan->letters,
                                scan->longs, NULL)) != -1) {
        /* "-dash" is no request for help, but a text that begins with a dash. */
        if (value == LONG_HELP || (value == 'h' && word_of(scan, 'h') != wrong))
            return -ECANCELED;
        if ((value == '?' || value == ':') && rc == 0) {
            rc = -ENOENT;
            wrong = optopt && optopt < LONG_FIRST ? word_of(scan, optopt) : NULL;
            explain(scan, value);
        }
    }
    return rc;
}

/* Sets one value; `origin` is the flag with its dashes, or the variable. */
static int set(const struct scan *scan, const struct flag *flag, const char *origin,
               const char *value, void *options)
{
    char reason[FLAGS_WHY_MAX] = "not valid";
    int rc = flag->set(options, value, reason);
    if (rc == 0)
        return 0;
    if (value && reason[0] != '\'')
        snprintf(scan->why, FLAGS_WHY_MAX, "%s '%.*s': %.500s", origin, SHOWN_MAX, value,
                 reason);
    else
        snprintf(scan->why, FLAGS_WHY_MAX, "%s%s %.500s", origin, value ? "" : ":", reason);
    return rc;
}

static int set_flags(struct scan *scan, void *options)
{
    int value;
    optind = 0;
    while ((value = getopt_long(scan->line->argc, scan->line->argv, scan->letters,
                                scan->longs, NULL)) != -1) {
        const struct flag *flag = flag_of(scan, value);
        REQUIRE(flag);
        bool *seen = &scan->seen[flag - scan->flags];
        if (*seen && flag->argument && !flag->is_repeatable) {
            snprintf(scan->why, FLAGS_WHY_MAX, "--%s '%.*s': given twice", flag->name,
                     SHOWN_MAX, optarg);
            return -EINVAL;
        }
        *seen = true;
        char origin[64];
        snprintf(origin, sizeof origin, "--%s", flag->name);
        int rc = set(scan, flag, origin, optarg, options);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int set_words(const struct scan *scan, const struct flag *flag, const char *value,
                     void *options)
{
    char *words = strdup(value);
    if (!words)
        return -ENOMEM;
    int rc = 0;
    char *rest = NULL;
    for (char *word = strtok_r(words, " \t\r\n", &rest); word && rc == 0;
         word = strtok_r(NULL, " \t\r\n", &rest))
        rc = set(scan, flag, flag->env, word, options);
    free(words);
    return rc;
}

static int set_environment(const struct scan *scan, void *options)
{
    for (size_t i = 0; i < scan->count; i++) {
        const struct flag *flag = &scan->flags[i];
        const char *value = flag->env && !scan->seen[i] ? getenv(flag->env) : NULL;
        if (!value || !*value)
            continue;
        int rc = flag->is_repeatable ? set_words(scan, flag, value, options)
                                     : set(scan, flag, flag->env, value, options);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int flags_parse(const struct flag *flags, struct flags_line *line, void *options,
                char why[FLAGS_WHY_MAX])
{
    struct scan scan;
    scan_init(&scan, flags, line, why);
    snprintf(why, FLAGS_WHY_MAX, "out of memory");
    int rc = look(&scan);
    if (rc == 0)
        rc = set_flags(&scan, options);
    line->operands = line->argv + (optind < line->argc ? optind : line->argc);
    line->operand_count = optind < line->argc ? line->argc - optind : 0;
    return rc == 0 ? set_environment(&scan, options) : rc;
}

int flags_choice(const char *value, const char *const *names, size_t count,
                 char why[FLAGS_WHY_MAX])
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(value, names[i]) == 0)
            return (int)i;
    }
    const char *near = text_nearest(value, names, count);
    if (near) {
        snprintf(why, FLAGS_WHY_MAX, "unknown; did you mean '%s'?", near);
        return -EINVAL;
    }
    int at = snprintf(why, FLAGS_WHY_MAX, "must be");
    for (size_t i = 0; i < count && at > 0 && at < FLAGS_WHY_MAX; i++)
        at += snprintf(why + at, (size_t)(FLAGS_WHY_MAX - at), "%s %s", i ? " or" : "",
                       names[i]);
    return -EINVAL;
}
