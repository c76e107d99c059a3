/* cli/man.c - neap(1), from the same rows as the help. */
#include "cli/man.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "cli/command.h"
#include "neap/version.h"

struct entry {
    const char *term;
    const char *text;
};

static const struct entry exit_statuses[] = {
    {"0", "Done: the server was asked to stop, the script loads, a reply came."},
    {"1", "A failure at run time; no reply in time; output that could not be written."},
    {"64", "Wrong usage, also a bad value in a flag or in the environment."},
    {"65", "The script does not load."},
    {"66", "There is no such file."},
    {"69", "No server could be reached."},
    {"71", "The system refused, for example because the address is in use."},
    {"74", "The server that was reached gave no answer, or none that can be read."},
    {"77", "Permission denied."},
    {NULL, NULL},
};

static const struct entry files[] = {
    {"SCRIPT", "A Lua 5.4 script, as text. It returns the service or services to serve."},
    {"$XDG_RUNTIME_DIR/neap/NAME.sock",
     "The control socket of the server that is called NAME; without the variable it is in "
     "/run/neap for root, else in a folder neap-UID of /tmp."},
    {"PATH of unix:///PATH, unixgram:///PATH", "The socket that neap makes or sends to."},
    {NULL, NULL},
};

/* Text of a paragraph: what roff would take for a request or an escape is taken from it. */
static void print_text(FILE *out, const char *text)
{
    static const char specials[] = "\\-'`^~\n";
    static const char *const replacements[] = {"\\e",   "\\-",   "\\(aq",  "\\(ga",
                                               "\\(ha", "\\(ti", "\n.PP\n"};
    bool at_line_start = true;
    for (; *text; text++) {
        const char *at = strchr(specials, *text);
        if (at_line_start && *text == '.')
            fputs("\\&", out);
        at_line_start = *text == '\n';
        if (at)
            fputs(replacements[at - specials], out);
        else
            fputc(*text, out);
    }
    fputc('\n', out);
}

/* Help of a flag, which is no sentence: begun and ended like one. */
static void print_sentence(FILE *out, const char *text)
{
    char sentence[512];
    snprintf(sentence, sizeof sentence, "%s.", text);
    sentence[0] = (char)toupper((unsigned char)sentence[0]);
    print_text(out, sentence);
}

static void print_entries(FILE *out, const char *title, const struct entry *entries)
{
    fprintf(out, ".SH %s\n", title);
    for (; entries->term; entries++) {
        fputs(".TP\n", out);
        print_text(out, entries->term);
        print_text(out, entries->text);
    }
}

static void print_synopsis(FILE *out)
{
    fputs(".SH SYNOPSIS\n", out);
    const char *before = "";
    for (const struct command *const *at = command_table; *at; at++) {
        fprintf(out, "%s.B neap\n", before);
        print_text(out, (*at)->usage);
        before = ".br\n";
    }
}

static void print_commands(FILE *out)
{
    fputs(".SH COMMANDS\n", out);
    for (const struct command *const *at = command_table; *at; at++) {
        fputs(".SS ", out);
        print_text(out, (*at)->usage);
        print_text(out, (*at)->about);
    }
}

static void print_flag_name(FILE *out, const char *name)
{
    fputs("\\fB\\-\\-", out);
    for (; *name; name++)
        fprintf(out, "%s%c", *name == '-' ? "\\" : "", *name);
    fputs("\\fR", out);
}

static void print_flag(FILE *out, const struct flag *flag)
{
    fputs(".TP\n", out);
    if (flag->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", flag->letter);
    print_flag_name(out, flag->name);
    if (flag->argument)
        fprintf(out, " \\fI%s\\fR", flag->argument);
    fputc('\n', out);
    print_sentence(out, flag->help);
    if (flag->is_repeatable)
        print_text(out, "May be given more than once.");
    if (flag->env)
        fprintf(out, "Environment:\n.BR %s .\n", flag->env);
}

static void print_options(FILE *out)
{
    static const struct flag help = {.name = "help", .letter = 'h', .help = "print help"};
    fputs(".SH OPTIONS\nEvery command takes\n.BR \\-\\-help .\n", out);
    for (const struct command *const *at = command_table; *at; at++) {
        fprintf(out, ".SS Options of neap %s\n", (*at)->name);
        for (const struct flag *flag = (*at)->flags; flag->name; flag++)
            print_flag(out, flag);
        print_flag(out, &help);
    }
}

/* True when an earlier row stands for the same variable. */
static bool is_repeated(const struct flag *wanted)
{
    for (const struct command *const *at = command_table; *at; at++) {
        for (const struct flag *flag = (*at)->flags; flag->name; flag++) {
            if (flag == wanted)
                return false;
            if (flag->env && strcmp(flag->env, wanted->env) == 0)
                return true;
        }
    }
    return false;
}

static void print_environment(FILE *out)
{
    fputs(".SH ENVIRONMENT\n", out);
    print_text(out, "A flag wins over its variable; an empty variable counts as unset.");
    for (const struct command *const *at = command_table; *at; at++) {
        for (const struct flag *flag = (*at)->flags; flag->name; flag++) {
            if (!flag->env || is_repeated(flag))
                continue;
            fprintf(out, ".TP\n.B %s\nStands in for ", flag->env);
            print_flag_name(out, flag->name);
            fputs(".\n", out);
            print_sentence(out, flag->help);
            if (flag->is_repeatable)
                print_text(out, "Several values are parted by spaces.");
        }
    }
}

static void print_examples(FILE *out)
{
    fputs(".SH EXAMPLES\n", out);
    for (const struct command *const *at = command_table; *at; at++) {
        for (const struct example *example = (*at)->examples; example->line; example++) {
            fputs(".PP\n", out);
            print_sentence(out, example->what);
            fputs(".RS 4\n.nf\n", out);
            print_text(out, example->line);
            fputs(".fi\n.RE\n", out);
        }
    }
}

void man_print(FILE *out)
{
    fprintf(out, ".TH NEAP 1 \"\" \"neap %s\" \"User Commands\"\n", NEAP_VERSION);
    fputs(".SH NAME\nneap \\- a TCP and UDP server that Lua scripts drive\n", out);
    print_synopsis(out);
    fputs(".SH DESCRIPTION\n", out);
    print_text(out,
               "A script returns services: addresses, a framing, and hooks for "
               "connections, messages and disconnections. neap serves them on TCP, UDP "
               "and Unix sockets. Without a script it echoes what it receives.");
    print_commands(out);
    print_options(out);
    print_environment(out);
    print_entries(out, "\"EXIT STATUS\"", exit_statuses);
    print_examples(out);
    print_entries(out, "FILES", files);
}
