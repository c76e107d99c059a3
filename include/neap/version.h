/* neap/version.h - which neap this is, for native modules and for programs around it.
 *
 * What:   the version as numbers and as text. A native module is a C module of Lua 5.4, found
 *         along package.cpath; of neap it needs no more than this. */
#ifndef NEAP_VERSION_H
#define NEAP_VERSION_H

#define NEAP_VERSION_MAJOR 0
#define NEAP_VERSION_MINOR 1
#define NEAP_VERSION_PATCH 0
#define NEAP_VERSION "0.1.0"

#endif
