/* script/source.c - reading files once, and finding lines in them. */
#include "script/source.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sha2.h>

static int read_all(FILE *file, char **bytes, size_t *len)
{
    struct stat found;
    if (fstat(fileno(file), &found) < 0)
        return -errno;
    if (S_ISDIR(found.st_mode))
        return -EISDIR;
    size_t capacity = 0;
    *len = 0;
    *bytes = NULL;
    do { /* a pipe has no length to ask for */
        capacity = capacity ? capacity * 2 : 4096;
        char *more = realloc(*bytes, capacity);
        if (!more)
            return -ENOMEM;
        *bytes = more;
        *len += fread(*bytes + *len, 1, capacity - *len, file);
    } while (*len == capacity && capacity <= SOURCE_FILE_MAX);
    if (ferror(file))
        return -EIO;
    return *len > SOURCE_FILE_MAX ? -EFBIG : 0;
}

static int read_file(const char *path, char **bytes, size_t *len)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    int failed = read_all(file, bytes, len);
    fclose(file);
    if (failed)
        free(*bytes);
    return failed;
}

/* Takes `bytes` over, also on failure. */
static int add_file(struct source *source, const char *module, char *chunk, char *bytes,
                    size_t len)
{
    struct source_file *files = realloc(source->files, (source->count + 1) * sizeof *files);
    if (files)
        source->files = files;
    char *name = module ? strdup(module) : NULL;
    if (!files || !chunk || (module && !name)) {
        free(name);
        free(chunk);
        free(bytes);
        return -ENOMEM;
    }
    source->files[source->count++] =
        (struct source_file){.module = name, .chunk = chunk, .bytes = bytes, .len = len};
    return 0;
}

static char *join(const char *first, const char *second, const char *third)
{
    char *text = NULL;
    return asprintf(&text, "%s%s%s", first, second, third) < 0 ? NULL : text;
}

int source_open(struct source **source, const char *path)
{
    char *bytes = NULL;
    size_t len = 0;
    int failed = read_file(path, &bytes, &len);
    if (failed)
        return failed;
    *source = calloc(1, sizeof **source);
    if (!*source) {
        free(bytes);
        return -ENOMEM;
    }
    (*source)->refs = 1;
    const char *slash = strrchr(path, '/');
    (*source)->folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("./");
    failed = (*source)->folder ? add_file(*source, NULL, join("@", path, ""), bytes, len)
                               : -ENOMEM;
    if (failed)
        source_unref(*source);
    return failed;
}

int source_from_bytes(struct source **source, const char *name, const char *bytes,
                      size_t len)
{
    *source = calloc(1, sizeof **source);
    char *copy = malloc(len + 1);
    if (!*source || !copy) {
        free(*source);
        free(copy);
        return -ENOMEM;
    }
    memcpy(copy, bytes, len);
    (*source)->refs = 1;
    int failed = add_file(*source, NULL, join("@", name, ""), copy, len);
    if (failed)
        source_unref(*source);
    return failed;
}

static void free_source(struct source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        free(source->files[i].module);
        free(source->files[i].chunk);
        free(source->files[i].bytes);
    }
    free(source->files);
    free(source->missing);
    free(source->folder);
    free(source);
}

void source_ref(struct source *source)
{
    atomic_fetch_add_explicit(&source->refs, 1, memory_order_relaxed);
}

void source_unref(struct source *source)
{
    if (source && atomic_fetch_sub_explicit(&source->refs, 1, memory_order_acq_rel) == 1)
        free_source(source);
}

/* Names and lengths are hashed too: bytes that move from one file to another are another source. */
void source_seal(struct source *source)
{
    SHA2_CTX context;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Init(&context);
    for (size_t i = 0; i < source->count; i++) {
        const struct source_file *file = &source->files[i];
        char head[64];
        int head_len = snprintf(head, sizeof head, "\n%zu\n", file->len);
        SHA256Update(&context, (const uint8_t *)file->chunk, strlen(file->chunk));
        SHA256Update(&context, (const uint8_t *)head, (size_t)head_len);
        SHA256Update(&context, (const uint8_t *)file->bytes, file->len);
    }
    SHA256Final(digest, &context);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(source->hash + 2 * i, 3, "%02x", digest[i]);
    source->sealed = true;
}

const char *source_path(const struct source *source)
{
    return source->files[0].chunk + 1;
}

const struct source_file *source_find(const struct source *source, const char *module)
{
    for (size_t i = 0; i < source->count; i++)
        if (source->files[i].module && strcmp(source->files[i].module, module) == 0)
            return &source->files[i];
    return NULL;
}

/* "?" in a template becomes the module's name with '/' for '.'. */
static char *expand(const char *template, size_t len, const char *module)
{
    size_t name_len = strlen(module), marks = 0;
    for (size_t i = 0; i < len; i++)
        marks += template[i] == '?';
    char *path = malloc(len + marks * name_len + 1);
    char *at = path;
    for (size_t i = 0; path && i < len; i++) {
        if (template[i] != '?') {
            *at++ = template[i];
            continue;
        }
        for (size_t k = 0; k < name_len; k++)
            *at++ = (char)(module[k] == '.' ? '/' : module[k]);
    }
    if (path)
        *at = '\0';
    return path;
}

static int require_along(struct source *source, const char *module, const char *path)
{
    for (const char *at = path; *at;) {
        size_t len = strcspn(at, ";");
        char *name = expand(at, len, module), *bytes = NULL;
        if (!name)
            return -ENOMEM;
        size_t bytes_len = 0;
        int failed = len ? read_file(name, &bytes, &bytes_len) : -ENOENT;
        if (!failed)
            failed = add_file(source, module, join("@", name, ""), bytes, bytes_len);
        free(name);
        if (failed != -ENOENT && failed != -ENOTDIR)
            return failed;
        at += len + (at[len] == ';');
    }
    return -ENOENT;
}

static void note_missing(struct source *source, const char *module)
{
    char *template = join(source->folder, "?.lua", "");
    free(source->missing);
    source->missing = template ? expand(template, strlen(template), module) : NULL;
    free(template);
}

int source_require(struct source *source, const char *module, const char *path,
                   const struct source_file **file)
{
    if (source->sealed)
        return -ENOENT;
    int failed = -ENOENT;
    if (source->folder) {
        char *file_path = join(source->folder, "?.lua;", source->folder);
        char *own = file_path ? join(file_path, "?/init.lua", "") : NULL;
        free(file_path);
        if (!own)
            return -ENOMEM;
        failed = require_along(source, module, own);
        free(own);
    }
    if (failed == -ENOENT)
        failed = require_along(source, module, path);
    if (failed == -ENOENT && source->folder)
        note_missing(source, module);
    *file = failed ? NULL : &source->files[source->count - 1];
    return failed;
}

static const char *next_line(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline ? newline + 1 : end;
}

const char *source_line(const struct source *source, const char *chunk, int line,
                        size_t *len)
{
    for (size_t i = 0; i < source->count; i++) {
        const struct source_file *file = &source->files[i];
        if (strcmp(file->chunk, chunk) != 0)
            continue;
        const char *at = file->bytes, *end = at + file->len;
        for (int number = 1; number < line && at < end; number++)
            at = next_line(at, end);
        if (line < 1 || at >= end)
            return NULL;
        const char *after = next_line(at, end);
        *len = (size_t)(after - at);
        while (*len && (at[*len - 1] == '\n' || at[*len - 1] == '\r'))
            --*len;
        return at;
    }
    return NULL;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool has_key(const char *line, size_t len, const char *word)
{
    size_t word_len = strlen(word);
    for (size_t at = 0; at + word_len <= len; at++) {
        if (memcmp(line + at, word, word_len) != 0 || (at && is_word(line[at - 1])))
            continue;
        size_t after = at + word_len;
        while (after < len &&
               (line[after] == ' ' || line[after] == '"' || line[after] == ']'))
            after++;
        if (after < len && line[after] == '=' &&
            (after + 1 == len || line[after + 1] != '='))
            return true;
    }
    return false;
}

int source_line_of_key(const struct source *source, const char *word)
{
    const struct source_file *file = &source->files[0];
    const char *at = file->bytes, *end = at + file->len;
    for (int number = 1; at < end; number++) {
        const char *after = next_line(at, end);
        if (has_key(at, (size_t)(after - at), word))
            return number;
        at = after;
    }
    return 0;
}
