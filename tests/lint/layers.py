"""Layers: includes go down only, and the doors to Lua, libev and the kernel are where they are.

    cli -> server -> script -> net -> codec -> base
                                 +-> io ----+
"""

import re

import lint

BELOW = {
    "base": set(),
    "io": {"base"},
    "codec": {"base"},
    "net": {"codec", "io", "base"},
    "script": {"net", "codec", "io", "base"},
    "server": {"script", "net", "codec", "io", "base"},
    "cli": {"server", "script", "net", "codec", "io", "base"},
}

# A header that belongs to one place: pattern, who may include it, in words.
DOORS = [
    (re.compile(r"lua\.h|lualib\.h|lauxlib\.h|luaconf\.h|lua\.hpp"), r"src/script/", "src/script"),
    (re.compile(r"ev\.h|ev\+\+\.h"), r"src/net/loop_ev\.c$", "src/net/loop_ev.c"),
    (re.compile(r"ares\.h"), r"src/net/resolver\.c$", "src/net/resolver.c"),
    (re.compile(r"neap/version\.h"), r"src/|include/", "everywhere"),
    (re.compile(r"neap/.*"), r"src/(server|cli)/|include/", "src/server and src/cli"),
]

# What only src/io calls. src/cli is its own client and may too.
CALLS = re.compile(
    r"(?<![\w.>])(recv|recvfrom|recvmsg|recvmmsg|send|sendto|sendmsg|sendmmsg|accept|accept4"
    r"|shutdown|clock_gettime|gettimeofday|time|getrandom)\s*\("
)
CALLERS = re.compile(r"src/(io|cli)/")
# Each of these needs a reason: file -> calls.
EXCEPTIONS = {
    # base is below io; log_printf reads the wall clock itself, and nothing simulates its thread.
    "src/base/log.c": {"clock_gettime"},
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def check_include(root, path, quote, target):
    """What is wrong with one include of one file, or None."""
    for header, may, words in DOORS:
        if header.fullmatch(target) and not re.match(may, path):
            return f"{target} may be included in {words} only"
        if header.fullmatch(target):
            return None
    if quote == "<":
        return None
    if path.startswith("include/"):
        return f'a public header may not include "{target}", which is not installed'
    own, layer = path.split("/")[1], target.split("/")[0]
    if layer not in BELOW:
        return f'"{target}" must be written with its layer, as "{own}/{target}"'
    if layer != own and layer not in BELOW[own]:
        return f'{own} may not include "{target}": {layer} is not below it'
    return None


def check(root, file):
    path = file.relative_to(root).as_posix()
    text = file.read_text("utf-8", "replace")
    found = []
    if path.startswith("src/") and path.split("/")[1] not in BELOW:
        return [f"{path}:1: not in a folder of a known layer"]
    for include in INCLUDE.finditer(text):
        fault = check_include(root, path, *include.groups())
        if fault:
            found.append(f"{path}:{lint.line_of(text, include.start())}: {fault}")
    if CALLERS.match(path) or path.startswith("include/"):
        return found
    for call in CALLS.finditer(lint.code(text)):
        if call.group(1) not in EXCEPTIONS.get(path, ()):
            line = lint.line_of(text, call.start())
            found.append(f"{path}:{line}: {call.group(1)}() is called in src/io only")
    return found


def main():
    args = lint.arguments("Checks what the layers may include and call.")
    files = lint.files(args.root, ("src", "include"), ".c", ".h")
    lint.report(lint.each(lambda file: check(args.root, file), files), len(files), "files")


main()
