"""What the C code says about itself: the rows of its tables, read from the source.

Options, hooks, counters, control commands, reasons, the fields and methods of a connection, the keys of framings,
the names of socket options, what Lua is refused. The tables are plain initialisers; a file in
which one cannot be found is an error, so that no check passes for want of something to check.
"""

import os
import re
from collections import namedtuple
from pathlib import Path

ROOT = Path(os.environ.get("NEAP_SOURCE_DIR", Path(__file__).resolve().parents[2]))

COMMENT = re.compile(r"/\*.*?\*/", re.S)
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
KIB = 1024
DAY_MS = 86400000
NUMBERS = {
    "KIB": KIB,
    "MIB": KIB**2,
    "GIB": KIB**3,
    "YEAR_MS": 366 * DAY_MS,
    "OVERFLOW_CLOSE": 0,
    "LOG_INFO": 1,
    "CONN_IDLE_DEFAULT": None,
    "OPTION_UNSET": None,
}

Option = namedtuple("Option", "name scope kind initial least most choices shown help")
Hook = namedtuple("Hook", "name of_app of_service")
Counter = namedtuple("Counter", "name notice")
Command = namedtuple("Command", "name right arguments")
Refusal = namedtuple("Refusal", "name why")


def source(path):
    return COMMENT.sub(" ", (ROOT / "src" / path).read_text())


def text_of(field):
    """Adjacent C strings as one; None for NULL."""
    parts = STRING.findall(field)
    return "".join(parts).replace('\\"', '"') if parts else None


def split(text):
    """The parts between commas that stand in no brackets and no string."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        if text[i] == '"':
            i = STRING.match(text, i).end()
            continue
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(text[i], 0)
        if text[i] == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
        i += 1
    return [part for part in [*parts, text[start:].strip()] if part]


def table(path, name):
    """The elements of an array's initialiser."""
    text = source(path)
    found = re.search(rf"\b{name}\[\w*\]\s*=\s*\{{", text)
    if not found:
        raise LookupError(f"src/{path} has no table {name}")
    depth, end = 1, found.end()
    while depth:
        if text[end] == '"':
            end = STRING.match(text, end).end()
            continue
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    rows = split(text[found.end() : end - 1])
    if not rows:
        raise LookupError(f"the table {name} of src/{path} is empty")
    return rows


def fields(row):
    """The parts of "{...}" or "[X] = {...}"."""
    return split(row[row.index("{") + 1 : row.rindex("}")])


def number(text):
    """A product of numbers and names; None where the default is no number."""
    value = 1
    for factor in re.sub(r"(\d)(U|UL|ULL)\b", r"\1", text).split("*"):
        factor = factor.strip()
        if "<<" in factor:
            left, right = factor.split("<<")
            factor = str(int(left) << int(right))
        known = NUMBERS.get(factor) if factor in NUMBERS else int(factor)
        if known is None:
            return None
        value *= known
    return value


def names(path, name):
    """The strings of an array of strings."""
    return [text for row in table(path, name) for text in [text_of(row)] if text]


def options():
    rows = []
    for row in table("script/options.c", "option_rows"):
        name, scope, kind, _, initial, least, most, choices, shown, *about = fields(row)
        words = [] if choices == "NULL" else names("script/options.c", choices)
        rows.append(
            Option(
                text_of(name),
                scope.replace("OPTION_", "").lower(),
                kind.replace("OPTION_", "").lower(),
                number(initial),
                number(least),
                number(most),
                words,
                text_of(shown),
                text_of(" ".join(about)),
            )
        )
    return rows


def hooks():
    rows = [fields(row) for row in table("script/hook.c", "hook_rows")]
    return [Hook(text_of(name), app == "true", own == "true") for name, app, own, *_ in rows]


def counters():
    text = source("net/counters.h").replace("\\\n", " ")
    rows = re.findall(r'X\(\w+,\s*"(\w+)",\s*(NULL|"(?:[^"\\]|\\.)*")\)', text)
    if not rows:
        raise LookupError("src/net/counters.h has no counters")
    return [Counter(name, text_of(notice)) for name, notice in rows]


def commands():
    """Of the control socket; arguments are {name: type}, those that may be left out in brackets."""
    found = []
    for row in table("server/commands.c", "commands"):
        if len(fields(row)) < 4:
            continue  # the end
        name, right, _, listed = fields(row)
        arguments = {}
        for one in table("server/commands.c", listed) if listed != "NULL" else []:
            if len(fields(one)) < 3:
                continue
            word, kind, required = fields(one)
            key = text_of(word) if required == "true" else f"[{text_of(word)}]"
            arguments[key] = kind.replace("CONTROL_", "").lower()
        found.append(Command(text_of(name), right.replace("CONTROL_", "").lower(), arguments))
    return found


def reasons():
    found = names("net/conn.c", "conn_reason_names")
    return [name for name in found if name != "none"]


def methods():
    return [text_of(fields(row)[0]) for row in table("script/lib_conn.c", "methods")]


def connection_fields():
    return [text_of(fields(row)[0]) for row in table("script/lib_conn.c", "fields")]


def functions():
    """Of the module."""
    rows = [text_of(fields(row)[0]) for row in table("script/lib_neap.c", "functions")]
    return [name for name in rows if name]


def log_functions():
    rows = [text_of(fields(row)[0]) for row in table("script/record.c", "functions")]
    return [name for name in rows if name]


def framings():
    """Name -> the keys of its table beside [1] and [2]."""
    rows = [fields(row) for row in table("script/framing.c", "readers")]
    return {text_of(name): STRING.findall(keys) for name, keys, _ in rows}


def service_keys():
    """What a service's table may hold beside hooks and options."""
    text = source("script/app.c")
    found = re.search(r"\bservice_keys\[\]\s*=\s*\{([^}]*)\}", text)
    return STRING.findall(found.group(1))


def socket_names():
    """Levels, and names, of setsockopt(2) that are known."""
    rows = {}
    for name in ("levels", "names"):
        rows[name] = [re.search(r"ROW\((\w+)\)", row).group(1) for row in
                      table("script/sockopt.c", name)]
    return rows["levels"], rows["names"]


def refusals():
    rows = [[text_of(field) for field in fields(row)] for row in
            table("script/environment.c", "refusals")]
    return [
        Refusal(name if library == "_G" else f"{library}.{name}", why)
        for library, name, why in rows
    ]


# ---- For people ----


def size(count):
    for unit, name in ((KIB**3, "GiB"), (KIB**2, "MiB"), (KIB, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return str(count)


def amount(option, value):
    """A value as the documents write it."""
    if option.kind == "seconds" and value >= DAY_MS:
        return f"{value // DAY_MS} days"
    if option.kind == "seconds":
        return f"{value / 1000:g} s"
    if option.kind == "size":
        return size(value)
    if option.kind == "bool":
        return "true" if value else "false"
    if option.kind == "choice":
        return f'"{option.choices[value]}"'
    return str(value)


def default(option):
    return option.shown or amount(option, option.initial)
