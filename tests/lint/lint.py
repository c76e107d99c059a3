"""What the lints share: which files there are, C without its comments, and the report.

A lint is a program with the option --root DIR (this tree by default); it prints one line for each
finding, path:line: text, and ends with status 1 if there was any.
"""

import argparse
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
C_FOLDERS = ("src", "include", "tests", "examples")


def arguments(description, **options):
    """The parsed options: --root and those given, as name=default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=Path, default=HERE)
    for name, default in options.items():
        parser.add_argument("--" + name, default=default)
    args = parser.parse_args()
    args.root = args.root.resolve()
    return args


def files(root, folders, *suffixes):
    """The files under those folders of root with one of the suffixes, in a fixed order."""
    found = []
    for folder in folders:
        for at, below, names in os.walk(root / folder):
            below[:] = sorted(name for name in below if not name.startswith((".", "__")))
            found += [Path(at) / name for name in sorted(names) if name.endswith(suffixes)]
    return found


TOKEN = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.S | re.X
)


def code(text):
    """C source with comments, strings and characters blanked; lines stay where they are."""
    return TOKEN.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def each(function, items):
    """The lists that function returns for each item, computed side by side, joined."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [finding for part in pool.map(function, items) for finding in part]


def report(findings, count, what):
    """Prints the findings and ends the program."""
    for finding in findings:
        print(finding)
    if findings:
        sys.exit(1)
    print(f"{count} {what}, nothing found")
    sys.exit(0)
