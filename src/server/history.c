/* server/history.c - a short list. */
#include "server/history.h"

#include <string.h>

#include "script/source.h"

void history_add(struct history *history, const struct past *past)
{
    if (history->count == HISTORY_MAX)
        source_unref(history->all[--history->count].source);
    memmove(history->all + 1, history->all, history->count * sizeof *history->all);
    history->all[0] = *past;
    history->count++;
    history->last = past->number;
    source_ref(past->source);
}

const struct past *history_find(const struct history *history, unsigned number)
{
    for (size_t i = 0; i < history->count; i++)
        if (history->all[i].number == number)
            return &history->all[i];
    return NULL;
}

void history_fini(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        source_unref(history->all[i].source);
    history->count = 0;
}
