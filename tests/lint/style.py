"""Style: what no formatter checks.

- A C file opens with a block comment that says its name and what it is for.
- No file of code has more than 800 lines, no C function more than 70.
- Nothing is left to be done in a comment.
- No test waits by sleeping; neap.sleep in a script is what is tested.
"""

import re

import lint

FILE_LINES = 800
FUNCTION_LINES = 70
FOLDERS = ("src", "include", "lua", "tests", "examples", "cmake", ".ci")
# Written in two pieces, for this file is checked too.
LATER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
SLEEPS = re.compile(r"(?<!neap\.)\b(time\.sleep|usleep|nanosleep|sleep)\(")


def functions(text):
    """(name, first line, lines) of each function body, by matching braces outside of any other."""
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", lambda m: re.sub(r"[^\n]", " ", m.group()), text,
                  flags=re.M)
    depth, start, name = 0, None, ""
    for brace in re.finditer(r"[{}]", text):
        if brace.group() == "}":
            depth = max(depth - 1, 0)
            if depth == 0 and start is not None:
                first = lint.line_of(text, start)
                yield name, first, lint.line_of(text, brace.start()) - first + 1
                start = None
            continue
        before = text[: brace.start()].rstrip()
        if depth == 0 and before.endswith("extern"):
            continue  # extern "C" {: what is in it stands outside, its end is ignored above
        if depth == 0 and before.endswith(")"):
            start = brace.start()
            head = before[max(before.rfind(";"), before.rfind("}")) + 1 :]
            found = re.search(r"(\w+)\s*\(", head)
            name = found.group(1) if found else "?"
        depth += 1


def check_c(path, text):
    inside = re.sub(r"^(src|include)/", "", path)
    if not text.startswith(f"/* {inside} - "):
        yield f"{path}:1: must open with the comment /* {inside} - what it is"
    for name, line, lines in functions(lint.code(text)):
        if lines > FUNCTION_LINES:
            yield f"{path}:{line}: {name} has {lines} lines, more than {FUNCTION_LINES}"


def check(root, file):
    path = file.relative_to(root).as_posix()
    text = file.read_text("utf-8", "replace")
    found = []
    if file.suffix in (".c", ".h"):
        found += check_c(path, text)
    count = text.count("\n")
    if count > FILE_LINES:
        found.append(f"{path}:{count}: {count} lines, more than {FILE_LINES}")
    for word in LATER.finditer(text):
        line = lint.line_of(text, word.start())
        found.append(f"{path}:{line}: {word.group()}: do it, or write it where work is planned")
    if re.match(r"tests/(?!bench/).*\.(c|py)$", path):
        for call in SLEEPS.finditer(lint.code(text) if file.suffix == ".c" else text):
            line = lint.line_of(text, call.start())
            found.append(f"{path}:{line}: {call.group()}): wait for what must happen instead")
    return found


def main():
    args = lint.arguments("Checks what no formatter checks.")
    suffixes = (".c", ".h", ".lua", ".py", ".cmake", ".txt", ".sh")
    files = lint.files(args.root, FOLDERS, *suffixes)
    files += [file for file in [args.root / "dev", args.root / ".ci/run"] if file.exists()]
    files = [file for file in files if "corpus" not in file.parts]
    lint.report(lint.each(lambda file: check(args.root, file), files), len(files), "files")


main()
