/* script/eval.h - a piece of Lua in a running version, for those who look after the server.
 *
 * What:   an expression, or statements, with the globals of the version that serves. What they
 *         assign to globals stays for the next piece and is seen by no script. print goes to the
 *         one who asks.
 * Thread: the vm's, outside any hook. The budget of a hook holds. */
#ifndef NEAP_SCRIPT_EVAL_H
#define NEAP_SCRIPT_EVAL_H

#include <stdbool.h>
#include <stddef.h>

struct vm;

struct eval_ops {
    /* One result, as tostring has it; one line that print made. */
    void (*on_result)(void *owner, const char *text, size_t len);
    void (*on_output)(void *owner, const char *text, size_t len);
    void *owner;
};

/* False: *error is what it raised, to be freed. Raises: no. */
bool eval_run(struct vm *vm, const char *code, size_t len, const struct eval_ops *ops,
              char **error);

#endif
