"""Headers: each compiles alone, and a second time; a public one also as strict C11."""

import subprocess

import lint


def check(args, lua, file):
    path = file.relative_to(args.root).as_posix()
    public = path.startswith("include/")
    name = path.split("/", 1)[1] if path.startswith(("src/", "include/")) else path
    source = f'#include "{name}"\n' * 2 + "extern int a_header_may_be_macros_only;\n"
    command = [args.cc, "-x", "c", "-", "-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    if public:
        command += ["-pedantic"]
    else:
        command += ["-D_GNU_SOURCE", "-I", args.root / "src", "-I", args.root, *lua]
    command += ["-I", args.root / "include"]
    run = subprocess.run(
        command, input=source, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if run.returncode == 0:
        return []
    return [f"{path}:1: does not compile alone\n{run.stdout}"]


def main():
    args = lint.arguments("Compiles every header alone.", cc="cc")
    query = ["pkg-config", "--cflags", "lua5.4"]
    lua = subprocess.run(query, text=True, stdout=subprocess.PIPE, check=True).stdout.split()
    files = lint.files(args.root, ("src", "include", "tests"), ".h")
    lint.report(lint.each(lambda file: check(args, lua, file), files), len(files), "headers")


main()
