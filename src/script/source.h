/* script/source.h - the bytes of a script and of every Lua file it requires.
 *
 * What:   what one version is made of. It is gathered while the script loads in the scratch
 *         state; from then on it is sealed and constant, and workers load from it without
 *         reading a file.
 * Owns:   the bytes. Thread: main while it is gathered; any once it is sealed.
 * Errors: 0 or a negative errno. */
#ifndef NEAP_SCRIPT_SOURCE_H
#define NEAP_SCRIPT_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

#define SOURCE_FILE_MAX (16U << 20) /* bytes of one Lua file */

struct source_file {
    char *module; /* as require names it; NULL: the script itself */
    char *chunk;  /* "@chat.lua", as Lua names where code is from */
    char *bytes;
    size_t len;
};

#define SOURCE_HASH_LEN 64 /* hexadecimal digits of SHA-256 */

struct source {
    _Atomic unsigned refs;
    char hash[SOURCE_HASH_LEN + 1]; /* of all names and bytes; once it is sealed */
    struct source_file *files;
    size_t count;
    char *missing; /* where a module was looked for last that is not there, or NULL */
    char *folder;  /* where modules are looked for, with its '/'; NULL: nowhere */
    bool sealed;
};

/* Reads a script. -ENOENT, -EACCES, -EISDIR, -EFBIG, ... */
MUST_CHECK int source_open(struct source **source, const char *path);

/* A script that is no file; `name` is what messages call it. */
MUST_CHECK int source_from_bytes(struct source **source, const char *name,
                                 const char *bytes, size_t len);

/* Counted, from any thread: each version is made of one. Born with one reference. */
void source_ref(struct source *source);
void source_unref(struct source *source); /* NULL is allowed */

/* Nothing is added from here on; hashes what there is. */
void source_seal(struct source *source);

const char *source_path(const struct source *source);

/* The file of a module, or NULL. */
const struct source_file *source_find(const struct source *source, const char *module);

/* Looks for a module in the script's folder and then along a Lua path, and adds it. 0; -ENOENT;
 * another errno when a file is there and cannot be read. Not once it is sealed. */
MUST_CHECK int source_require(struct source *source, const char *module, const char *path,
                              const struct source_file **file);

/* A line of the file whose chunk name is given, counted from 1; NULL if there is none. */
const char *source_line(const struct source *source, const char *chunk, int line,
                        size_t *len);

/* The first line of the script itself that has `word` as a table key; 0 if none. */
int source_line_of_key(const struct source *source, const char *word);

#endif
