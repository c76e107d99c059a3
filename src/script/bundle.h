/* script/bundle.h - Lua that is part of the product, compiled into the binary.
 *
 * What:   the files of lua/neap that src/script/CMakeLists.txt lists, in that order; the table
 *         is written by cmake/BundleLua.cmake. Constant; any thread. */
#ifndef NEAP_SCRIPT_BUNDLE_H
#define NEAP_SCRIPT_BUNDLE_H

#include <stddef.h>

struct bundle_file {
    const char *module; /* as `require` knows it: "neap.default" */
    const char *chunk;  /* as tracebacks show it: "@neap/default.lua" */
    const char *bytes;  /* the source, with a NUL behind its last byte */
    size_t len;         /* without that NUL */
};

extern const struct bundle_file bundle_files[];
extern const size_t bundle_file_count;

#endif
