/* cli/cmd_completion.c - `neap completion`: what a shell needs to complete neap's words.
 *
 * The scripts are made from the table of commands when they are asked for, so that they name
 * what this very binary understands. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/command.h"
#include "cli/report.h"

static const struct example completion_examples[] = {
    {"source <(neap completion bash)", "in ~/.bashrc"},
    {"source <(neap completion zsh)", "in ~/.zshrc, after compinit"},
    {"neap completion fish | source", "in ~/.config/fish/config.fish"},
    {NULL, NULL},
};

static const struct flag completion_flags[] = {{.name = NULL}};

/* What may stand in a place: a file, a command, or words, given as "text|logfmt|json". Capital
 * letters there ("N|auto") stand for what cannot be guessed. */
static bool is_file(const char *place)
{
    return place && (strcmp(place, "FILE") == 0 || strcmp(place, "SCRIPT") == 0);
}

static bool is_command(const char *place)
{
    return place && strcmp(place, "COMMAND") == 0;
}

static void print_words(FILE *out, const char *place)
{
    const char *before = "";
    while (*place) {
        size_t len = strcspn(place, "|");
        if (islower((unsigned char)*place)) {
            fprintf(out, "%s%.*s", before, (int)len, place);
            before = " ";
        }
        place += len + (place[len] == '|');
    }
}

static void print_commands(FILE *out)
{
    const char *before = "";
    for (const struct command *const *at = command_table; *at; at++) {
        fprintf(out, "%s%s", before, (*at)->name);
        before = " ";
    }
}

/* Text between single quotes of a shell; `escaped` characters get a backslash. */
static void print_quoted(FILE *out, const char *text, const char *escaped)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else
            fprintf(out, "%s%c", strchr(escaped, *text) ? "\\" : "", *text);
    }
}

static void print_bash_place(FILE *out, const char *place)
{
    if (is_file(place)) {
        fputs("_neap_reply -f", out);
    } else {
        fputs("_neap_reply -W '", out);
        if (is_command(place))
            print_commands(out);
        else if (place)
            print_words(out, place);
        fputs("'", out);
    }
    fputs(";;\n", out);
}

static void print_bash_values(FILE *out)
{
    for (const struct command *const *at = command_table; *at; at++) {
        for (const struct flag *flag = (*at)->flags; flag->name; flag++) {
            if (!flag->argument)
                continue;
            fprintf(out, "    %s:--%s", (*at)->name, flag->name);
            if (flag->letter)
                fprintf(out, "|%s:-%c", (*at)->name, flag->letter);
            fputs(") ", out);
            print_bash_place(out, flag->argument);
        }
    }
}

static void print_bash_words(FILE *out)
{
    for (const struct command *const *at = command_table; *at; at++) {
        fprintf(out, "    %s:-*) _neap_reply -W '", (*at)->name);
        for (const struct flag *flag = (*at)->flags; flag->name; flag++)
            fprintf(out, "--%s ", flag->name);
        fprintf(out, "--help';;\n    %s:*) ", (*at)->name);
        print_bash_place(out, (*at)->operand);
    }
}

static void print_bash(FILE *out)
{
    fputs("# neap for bash: source <(neap completion bash)\n"
          "_neap_reply()\n"
          "{\n"
          "    mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$word\")\n"
          "}\n"
          "\n"
          "_neap()\n"
          "{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local command=run\n"
          "    COMPREPLY=()\n"
          "    # bash takes --flag=value apart at the equals sign.\n"
          "    if [[ $word == = ]]; then\n"
          "        word=\n"
          "    elif [[ $before == = ]]; then\n"
          "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n"
          "    if ((COMP_CWORD == 1)) && [[ $word != -* ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W '",
          out);
    print_commands(out);
    fputs("' -- \"$word\"; compgen -f -- \"$word\")\n"
          "        return\n"
          "    fi\n"
          "    if ((COMP_CWORD > 1)); then\n"
          "        case ${COMP_WORDS[1]} in\n",
          out);
    for (const struct command *const *at = command_table; *at; at++)
        fprintf(out, "        %s) command=%s;;\n", (*at)->name, (*at)->name);
    fputs("        esac\n"
          "    fi\n"
          "    case $command:$before in\n",
          out);
    print_bash_values(out);
    fputs("    *) case $command:$word in\n", out);
    print_bash_words(out);
    fputs("    esac;;\n"
          "    esac\n"
          "}\n"
          "complete -o filenames -F _neap neap\n",
          out);
}

static void print_zsh_place(FILE *out, const char *place)
{
    fputc(':', out);
    print_quoted(out, place, ":[]\\");
    fputc(':', out);
    if (is_file(place)) {
        fputs("_files", out);
        return;
    }
    fputs("(", out);
    if (is_command(place))
        print_commands(out);
    else
        print_words(out, place);
    fputs(")", out);
}

static void print_zsh_command(FILE *out, const struct command *command)
{
    fprintf(out, "    (%s) _arguments", command->name);
    for (const struct flag *flag = command->flags; flag->name; flag++) {
        for (int i = flag->letter ? 0 : 1; i < 2; i++) {
            fprintf(out, " \\\n        '%s", flag->is_repeatable ? "*" : "");
            if (i == 0)
                fprintf(out, "-%c", flag->letter);
            else
                fprintf(out, "--%s%s", flag->name, flag->argument ? "=" : "");
            fputc('[', out);
            print_quoted(out, flag->help, ":[]\\");
            fputc(']', out);
            if (flag->argument)
                print_zsh_place(out, flag->argument);
            fputc('\'', out);
        }
    }
    fputs(" \\\n        '--help[help]'", out);
    if (command->operand) {
        fputs(" \\\n        '1", out);
        print_zsh_place(out, command->operand);
        fputc('\'', out);
    }
    fputs(";;\n", out);
}

static void print_zsh(FILE *out)
{
    fputs(
        "#compdef neap\n"
        "# neap for zsh: source <(neap completion zsh), or as _neap in a folder of $fpath\n"
        "_neap()\n"
        "{\n"
        "    local -a commands=(\n",
        out);
    for (const struct command *const *at = command_table; *at; at++) {
        fprintf(out, "        '%s:", (*at)->name);
        print_quoted(out, (*at)->summary, ":\\");
        fputs("'\n", out);
    }
    fputs("    )\n"
          "    local command=run\n"
          "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n"
          "        _describe command commands\n"
          "        _files\n"
          "        return\n"
          "    fi\n"
          "    if (( ${commands[(I)$words[2]:*]} )); then\n"
          "        command=$words[2]\n"
          "        shift words\n"
          "        (( CURRENT-- ))\n"
          "    fi\n"
          "    case $command in\n",
          out);
    for (const struct command *const *at = command_table; *at; at++)
        print_zsh_command(out, *at);
    fputs("    esac\n"
          "}\n"
          "if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then\n"
          "    _neap \"$@\"\n"
          "else\n"
          "    compdef _neap neap\n"
          "fi\n",
          out);
}

/* The places of a command: behind its word, and for `run` also where no other word stands. */
static void print_fish_condition(FILE *out, const struct command *command)
{
    fputs("complete -c neap -n '", out);
    if (command != &cmd_run) {
        fprintf(out, "__fish_seen_subcommand_from %s'", command->name);
        return;
    }
    fputs("not __fish_seen_subcommand_from", out);
    for (const struct command *const *at = command_table; *at; at++) {
        if (*at != command)
            fprintf(out, " %s", (*at)->name);
    }
    fputs("'", out);
}

static void print_fish_place(FILE *out, const char *place)
{
    if (is_file(place)) {
        fputs(" -F", out);
        return;
    }
    fputs(" -f -a '", out);
    if (is_command(place))
        print_commands(out);
    else
        print_words(out, place);
    fputs("'", out);
}

static void print_fish_flag(FILE *out, const struct command *command,
                            const struct flag *flag)
{
    print_fish_condition(out, command);
    if (flag->letter)
        fprintf(out, " -s %c", flag->letter);
    fprintf(out, " -l %s", flag->name);
    if (flag->argument) {
        fputs(" -r", out);
        print_fish_place(out, flag->argument);
    }
    fputs(" -d '", out);
    print_quoted(out, flag->help, "\\");
    fputs("'\n", out);
}

static void print_fish(FILE *out)
{
    fputs("# neap for fish: neap completion fish | source\n"
          "complete -c neap -f\n"
          "complete -c neap -l help -s h -d 'help'\n",
          out);
    for (const struct command *const *at = command_table; *at; at++) {
        const struct command *command = *at;
        fprintf(out, "complete -c neap -n __fish_use_subcommand -a %s -d '", command->name);
        print_quoted(out, command->summary, "\\");
        fputs("'\n", out);
        if (command->operand) {
            print_fish_condition(out, command);
            print_fish_place(out, command->operand);
            fputc('\n', out);
        }
        for (const struct flag *flag = command->flags; flag->name; flag++)
            print_fish_flag(out, command, flag);
    }
}

static const struct shell {
    const char *name;
    void (*print)(FILE *out);
} shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

static int print_for(const char *name)
{
    const char *names[ARRAY_LEN(shells)];
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        names[i] = shells[i].name;
    char why[FLAGS_WHY_MAX];
    int at = flags_choice(name, names, ARRAY_LEN(shells), why);
    if (at < 0) {
        report_error("completion for '%s': %s", name, why);
        return EX_USAGE;
    }
    shells[at].print(stdout);
    return EX_OK;
}

static int run(int argc, char **argv)
{
    struct flags_line line = {.argc = argc, .argv = argv};
    int status = command_parse(&cmd_completion, &line, NULL);
    if (status != COMMAND_GO_ON)
        return status;
    if (line.operand_count == 0) {
        report_error("completion needs a shell: bash, zsh or fish");
        return EX_USAGE;
    }
    return print_for(line.operands[0]);
}

const struct command cmd_completion = {
    .name = "completion",
    .summary = "print completions for a shell",
    .usage = "completion bash|zsh|fish",
    .about = "Prints a script that completes commands, flags and their values.",
    .operand = "bash|zsh|fish",
    .operand_max = 1,
    .examples = completion_examples,
    .flags = completion_flags,
    .run = run,
};
