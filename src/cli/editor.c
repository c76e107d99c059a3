/* cli/editor.c - libedit, or getline. */
#include "cli/editor.h"

#include <ctype.h>
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "neap"
#define HISTORY_LINES 1000

static char *prompt(EditLine *edit)
{
    static char text[] = "neap> ";
    (void)edit;
    return text;
}

int editor_open(struct editor *editor)
{
    *editor = (struct editor){.line = NULL};
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return 0;
    (void)setlocale(LC_CTYPE, ""); /* libedit reads characters, not bytes */
    HistEvent event;
    editor->history = history_init();
    editor->edit = el_init(PROGRAM, stdin, stdout, stderr);
    if (!editor->history || !editor->edit) {
        editor_close(editor);
        return -ENOMEM;
    }
    (void)history(editor->history, &event, H_SETSIZE, HISTORY_LINES);
    (void)history(editor->history, &event, H_SETUNIQUE, 1);
    (void)el_set(editor->edit, EL_PROMPT, prompt);
    (void)el_set(editor->edit, EL_EDITOR, "emacs");
    (void)el_set(editor->edit, EL_HIST, history, editor->history);
    /* A signal that ends the program finds the terminal as it was. */
    (void)el_set(editor->edit, EL_SIGNAL, 1);
    (void)el_source(editor->edit, NULL);
    return 0;
}

void editor_close(struct editor *editor)
{
    if (editor->edit)
        el_end(editor->edit);
    if (editor->history)
        history_end(editor->history);
    free(editor->line);
    *editor = (struct editor){.line = NULL};
}

bool editor_is_interactive(const struct editor *editor)
{
    return editor->edit;
}

/* Copies what libedit owns, for the line is cut. 1, 0 or -errno. */
static int read_edited(struct editor *editor)
{
    HistEvent event;
    int len = 0;
    const char *line = el_gets(editor->edit, &len);
    if (!line || len <= 0) {
        putchar('\n'); /* what comes next does not stand behind the prompt */
        return len < 0 && errno != EINTR ? -errno : 0;
    }
    if (line[strspn(line, " \t\r\n")])
        (void)history(editor->history, &event, H_ENTER, line);
    free(editor->line);
    editor->line = strdup(line);
    return editor->line ? 1 : -ENOMEM;
}

static int read_plain(struct editor *editor)
{
    errno = 0;
    if (getline(&editor->line, &editor->capacity, stdin) >= 0)
        return 1;
    return feof(stdin) ? 0 : -errno;
}

int editor_read(struct editor *editor, const char **line)
{
    int rc = editor->edit ? read_edited(editor) : read_plain(editor);
    if (rc != 1)
        return rc;
    char *begin = editor->line + strspn(editor->line, " \t\r\n");
    size_t len = strlen(begin);
    while (len > 0 && isspace((unsigned char)begin[len - 1]))
        len--;
    begin[len] = 0;
    *line = begin;
    return 1;
}
