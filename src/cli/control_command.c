/* cli/control_command.c - from the words of the command line to an answer. */
#include "cli/control_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/answer.h"
#include "cli/control_client.h"
#include "cli/report.h"
#include "server/control_path.h"

#define NAME_DEFAULT "default"
#define TIMEOUT_MAX_S 1000000

int control_set_name(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    /* Only whether such a name may be: where its socket is, or why not, is seen later. */
    char path[CONTROL_PATH_MAX];
    if (control_path(value, path, sizeof path, why) == -EINVAL)
        return -EINVAL;
    ((struct control_options *)options)->name = value;
    return 0;
}

int control_set_timeout(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    /* strtod alone would also take "inf", "0x1p3" and "-0". */
    size_t whole = strspn(value, "0123456789");
    size_t len = whole;
    if (value[len] == '.')
        len += 1 + strspn(value + len + 1, "0123456789");
    double seconds = strtod(value, NULL);
    if (whole == 0 || value[len] || seconds > TIMEOUT_MAX_S) {
        snprintf(why, FLAGS_WHY_MAX,
                 "must be a number of seconds, at most %d; 0 waits for ever",
                 TIMEOUT_MAX_S);
        return -EINVAL;
    }
    int ms = (int)(seconds * 1000 + 0.999);
    ((struct control_options *)options)->timeout_ms = ms == 0 ? CONTROL_NO_TIMEOUT : ms;
    return 0;
}

int control_set_json(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    ((struct control_options *)options)->json = true;
    return 0;
}

static int put(struct control_options *options, const char *key, json_t *value,
               char why[FLAGS_WHY_MAX])
{
    if (json_object_set_new(options->request, key, value) == 0)
        return 0;
    snprintf(why, FLAGS_WHY_MAX, "out of memory");
    return -ENOMEM;
}

int control_put_text(struct control_options *options, const char *key, const char *value,
                     char why[FLAGS_WHY_MAX])
{
    json_t *text = json_string(value);
    if (text)
        return put(options, key, text, why);
    snprintf(why, FLAGS_WHY_MAX, "must be UTF-8");
    return -EINVAL;
}

int control_put_number(struct control_options *options, const char *key, const char *value,
                       char why[FLAGS_WHY_MAX])
{
    char *end;
    errno = 0;
    json_int_t number = strtoll(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || number < 1) {
        snprintf(why, FLAGS_WHY_MAX, "must be a whole number from 1 on");
        return -EINVAL;
    }
    return put(options, key, json_integer(number), why);
}

int control_put_true(struct control_options *options, const char *key,
                     char why[FLAGS_WHY_MAX])
{
    return put(options, key, json_true(), why);
}

static int take_operand(const struct control_command *control,
                        struct control_options *options, const struct flags_line *line)
{
    if (line->operand_count == 0) {
        if (!control->missing)
            return COMMAND_GO_ON;
        report_error("%s", control->missing);
        return EX_USAGE;
    }
    char why[FLAGS_WHY_MAX];
    int rc = control->operand(options, line->operands[0], why);
    if (rc == 0)
        return COMMAND_GO_ON;
    if (rc == -EINVAL)
        report_error("%s '%.200s': %s", control->command->name, line->operands[0], why);
    else
        report_error("%s", why);
    return rc == -EINVAL ? EX_USAGE : EX_OSERR;
}

int control_parse(const struct control_command *control, struct control_options *options,
                  int argc, char **argv)
{
    struct flags_line line = {.argc = argc, .argv = argv};
    *options = (struct control_options){
        .name = NAME_DEFAULT,
        .timeout_ms = control->timeout_ms,
        .request = json_pack("{ss}", "command",
                             control->request ? control->request : control->command->name),
    };
    if (!options->request) {
        report_error("out of memory");
        return EX_OSERR;
    }
    int status = command_parse(control->command, &line, options);
    return status == COMMAND_GO_ON ? take_operand(control, options, &line) : status;
}

void control_options_fini(struct control_options *options)
{
    json_decref(options->request);
}

int control_print(const struct control_command *control,
                  const struct control_options *options, const json_t *answer)
{
    int status = answer_status(answer);
    if (options->json) {
        answer_put_json(stdout, answer);
    } else if (status != EX_OK) {
        answer_put_error(answer);
    } else if (control->print(stdout, answer) < 0) {
        report_error("out of memory");
        return EX_OSERR;
    }
    return status;
}

static int ask(const struct control_command *control, const struct control_options *options)
{
    char why[FLAGS_WHY_MAX];
    struct control_client client;
    json_t *answer = NULL;
    int rc = control_client_open(&client, options->name, options->timeout_ms, why);
    if (rc == 0)
        rc = control_client_ask(&client, options->request, &answer, why);
    control_client_close(&client);
    if (rc < 0) {
        report_error("%s", why);
        return control_client_status(rc);
    }
    int status = control_print(control, options, answer);
    json_decref(answer);
    return status;
}

int control_run(const struct control_command *control, int argc, char **argv)
{
    struct control_options options;
    int status = control_parse(control, &options, argc, argv);
    if (status == COMMAND_GO_ON)
        status = ask(control, &options);
    control_options_fini(&options);
    return status;
}
