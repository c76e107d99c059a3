"""Lints that ask other programs: listed (CMake), format, tidy, lua, shell.

    tools.py --tool tidy --build DIR    DIR holds compile_commands.json; for listed and tidy
"""

import json
import re
import subprocess
from pathlib import Path

import lint


FINDING = re.compile(r"^(?=[^\s:]+:\d+:\d+: (?:error|warning): )", re.M)


def run(root, command):
    """What the command prints, finding by finding, if it fails."""
    result = subprocess.run(
        command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if result.returncode == 0:
        return []
    printed = re.sub(r"^\d+ warnings? generated\.\n", "", result.stdout, flags=re.M)
    found = [part.strip() for part in FINDING.split(printed) if part.strip()]
    return found or [f"{command[0]} failed"]


def check_format(args):
    files = lint.files(args.root, lint.C_FOLDERS, ".c", ".h")
    return files, lambda file: run(
        args.root, ["clang-format", "--dry-run", "-Werror", "--style=file", file]
    )


def compiled(args):
    """The C files that the build knows."""
    entries = json.loads((args.build / "compile_commands.json").read_text())
    return {(Path(entry["directory"]) / entry["file"]).resolve() for entry in entries}


def check_listed(args):
    """A file that no CMakeLists.txt names is code, or a test, that never runs."""
    known = compiled(args)
    files = lint.files(args.root, ("src", "tests"), ".c")
    return files, lambda file: (
        [] if file in known else [f"{file.relative_to(args.root)}:1: is in no CMakeLists.txt"]
    )


def check_tidy(args):
    folders = {args.root / folder for folder in lint.C_FOLDERS}
    files = sorted(file for file in compiled(args) if folders & set(file.parents))
    # The commands are gcc's: clang need not know every warning in them.
    flags = ["--quiet", "-p", args.build, "--extra-arg=-Wno-unknown-warning-option"]
    return files, lambda file: run(args.root, ["clang-tidy", *flags, file])


def check_lua(args):
    """Scripts that must fail to load stand in a folder named bad."""
    files = lint.files(args.root, ("lua", "examples", "tests"), ".lua")
    files = [file for file in files if "bad" not in file.parts]
    return files, lambda file: run(args.root, ["luacheck", "--no-color", "-q", file])


def check_shell(args):
    files = lint.files(args.root, ("tests", "packaging"), ".sh")
    files += [args.root / name for name in ("dev", ".ci/run") if (args.root / name).exists()]
    return files, lambda file: run(args.root, ["shellcheck", "-x", file])


TOOLS = {
    "listed": check_listed,
    "format": check_format,
    "tidy": check_tidy,
    "lua": check_lua,
    "shell": check_shell,
}


def main():
    args = lint.arguments("Runs one tool over its files.", tool="format", build=".")
    args.build = Path(args.build).resolve()
    files, check = TOOLS[args.tool](args)
    # A header is seen once for each file that includes it; its findings are told once.
    findings = list(dict.fromkeys(lint.each(check, files)))
    lint.report(findings, len(files), "files")


main()
