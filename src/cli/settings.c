/* cli/settings.c - from the values of flags to a struct server_config. */
#include "cli/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/control_path.h"

void settings_init(struct settings *settings)
{
    *settings = (struct settings){
        .config = {.workers = SERVER_WORKERS_SCRIPT, .log_level = -1, .log_format = -1},
    };
}

void settings_fini(struct settings *settings)
{
    for (size_t i = 0; i < settings->config.listen_count; i++)
        free((char *)settings->listen[i].service);
    free(settings->listen);
}

int settings_set_code(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)why;
    ((struct settings *)options)->config.code = value;
    return 0;
}

/* How many bytes of NAME=ADDR are the NAME; 0 when there is none. An address may hold a '='
 * too, but only in its query: behind a '?', which no name has. */
static size_t name_len(const char *text)
{
    size_t len = strcspn(text, "=:/?");
    return text[len] == '=' ? len : 0;
}

static bool is_name(const char *text, size_t len)
{
    if (!isalpha((unsigned char)text[0]) && text[0] != '_')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != '-')
            return false;
    }
    return true;
}

static int append_listen(struct settings *settings, const struct server_listen *listen)
{
    size_t count = settings->config.listen_count;
    struct server_listen *grown = realloc(settings->listen, (count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    grown[count] = *listen;
    settings->listen = grown;
    settings->config.listen = grown;
    settings->config.listen_count = count + 1;
    return 0;
}

int settings_set_listen(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    struct server_listen listen = {.service = NULL};
    size_t len = name_len(value);
    if (value[0] == '=' || (len > 0 && !is_name(value, len))) {
        snprintf(why, FLAGS_WHY_MAX,
                 "a service's name has letters, digits, '_' and '-', and no digit first");
        return -EINVAL;
    }
    int rc = addr_parse(&listen.addr, len > 0 ? value + len + 1 : value, why);
    if (rc < 0)
        return rc;
    char *name = len > 0 ? strndup(value, len) : NULL;
    listen.service = name;
    rc = len > 0 && !name ? -ENOMEM : append_listen(options, &listen);
    if (rc < 0) {
        snprintf(why, FLAGS_WHY_MAX, "out of memory");
        free(name);
    }
    return rc;
}

int settings_set_workers(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    struct settings *settings = options;
    if (strcmp(value, "auto") == 0) {
        settings->config.workers = SERVER_WORKERS_AUTO;
        return 0;
    }
    int number = 0;
    const char *at = value;
    while (isdigit((unsigned char)*at) && number <= SERVER_WORKERS_MAX)
        number = number * 10 + (*at++ - '0');
    if (*at || number < 1 || number > SERVER_WORKERS_MAX) {
        snprintf(why, FLAGS_WHY_MAX, "must be a number from 1 to %d, or auto",
                 SERVER_WORKERS_MAX);
        return -EINVAL;
    }
    settings->config.workers = number;
    return 0;
}

int settings_set_watch(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    struct settings *settings = options;
    settings->config.watch = !value || strcmp(value, "0") != 0;
    if (!value || strcmp(value, "0") == 0 || strcmp(value, "1") == 0)
        return 0;
    snprintf(why, FLAGS_WHY_MAX, "must be 1 or 0");
    return -EINVAL;
}

int settings_set_name(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    ((struct settings *)options)->config.name = value;
    if (control_name_is_valid(value))
        return 0;
    snprintf(why, FLAGS_WHY_MAX,
             "a name has letters, digits, '_', '-' and '.', no '.' first, and at most 64 "
             "of them");
    return -EINVAL;
}

int settings_set_load_timeout(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    char *end;
    double seconds = strtod(value, &end);
    if (end == value || *end || !(seconds >= 0.1) || seconds > 86400) {
        snprintf(why, FLAGS_WHY_MAX, "must be seconds from 0.1 to 86400");
        return -EINVAL;
    }
    ((struct settings *)options)->config.load_timeout_ms = (uint64_t)(seconds * 1e3);
    return 0;
}

int settings_set_log_level(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    struct settings *settings = options;
    settings->config.log_level = flags_choice(value, log_level_names, LOG_LEVEL_COUNT, why);
    return settings->config.log_level < 0 ? -EINVAL : 0;
}

int settings_set_log_format(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    struct settings *settings = options;
    settings->config.log_format =
        flags_choice(value, log_format_names, LOG_FORMAT_COUNT, why);
    return settings->config.log_format < 0 ? -EINVAL : 0;
}

int settings_set_json(void *options, const char *value, char why[FLAGS_WHY_MAX])
{
    (void)value;
    (void)why;
    ((struct settings *)options)->json = true;
    return 0;
}

int settings_finish(struct settings *settings, const struct flags_line *line)
{
    if (line->operand_count == 0)
        return 0;
    settings->config.script = line->operands[0];
    return settings->config.code ? -EINVAL : 0;
}
