/* cli/help.c - help texts: examples first, lines of at most 80 columns. */
#include "cli/help.h"

#include <string.h>

#include "cli/command.h"

#define LINE_WIDTH 80
#define EXAMPLE_WIDTH 32 /* what is longer has its explanation above it */

static const struct example overview_examples[] = {
    {"neap", "serve an echo on 127.0.0.1:4343"},
    {"neap send 4343 'Hello...'", "talk to it from another window"},
    {"neap chat.lua", "serve a script"},
    {"neap check chat.lua", "see what it would serve"},
    {NULL, NULL},
};

/* Fills lines from column `indent` on; the first one is there already. */
static void print_wrapped(FILE *out, const char *text, int indent)
{
    int column = indent;
    while (*text) {
        int len = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + len > LINE_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", len, text);
        column += len;
        text += len;
        if (*text == '\n') {
            fprintf(out, "\n\n%*s", indent, "");
            column = indent;
        }
        if (*text)
            text++;
    }
    fputc('\n', out);
}

static void print_examples(FILE *out, const struct example *examples)
{
    fputs("Examples:\n", out);
    for (const struct example *at = examples; at->line; at++) {
        if (strlen(at->line) <= EXAMPLE_WIDTH &&
            EXAMPLE_WIDTH + 6 + strlen(at->what) <= LINE_WIDTH)
            fprintf(out, "  %-*s  # %s\n", EXAMPLE_WIDTH, at->line, at->what);
        else
            fprintf(out, "  # %s\n  %s\n", at->what, at->line);
    }
}

static void print_flag(FILE *out, const struct flag *flag)
{
    if (flag->letter)
        fprintf(out, "  -%c, --%s", flag->letter, flag->name);
    else
        fprintf(out, "      --%s", flag->name);
    if (flag->argument)
        fprintf(out, " %s", flag->argument);
    fputs(flag->is_repeatable ? " ...\n" : "\n", out);
    char text[512];
    snprintf(text, sizeof text, "%s%s%s%s", flag->help, flag->env ? " (" : "",
             flag->env ? flag->env : "", flag->env ? ")" : "");
    fprintf(out, "%*s", 10, "");
    print_wrapped(out, text, 10);
}

void help_command(FILE *out, const struct command *command)
{
    fprintf(out, "neap %s - %s\n\n", command->name, command->summary);
    print_examples(out, command->examples);
    fprintf(out, "\nUsage:\n  neap %s\n\n", command->usage);
    print_wrapped(out, command->about, 0);
    fputs("\nFlags:\n", out);
    bool has_variables = false;
    for (const struct flag *flag = command->flags; flag->name; flag++) {
        print_flag(out, flag);
        has_variables = has_variables || flag->env;
    }
    fprintf(out, "  -h, --help\n%*sthis text\n", 10, "");
    if (has_variables)
        fputs("\nA flag wins over the environment variable in brackets behind it.\n", out);
}

void help_overview(FILE *out)
{
    fputs("neap - a TCP and UDP server that Lua scripts drive\n\n", out);
    print_examples(out, overview_examples);
    fputs("\nUsage:\n"
          "  neap [SCRIPT] [FLAG]...\n"
          "  neap COMMAND [ARGUMENT]...\n"
          "\nCommands:\n",
          out);
    for (const struct command *const *at = command_table; *at; at++)
        fprintf(out, "  %-13s%s\n", (*at)->name, (*at)->summary);
    fputs("\n'neap help COMMAND' tells more, 'neap help --man' everything.\n", out);
}
