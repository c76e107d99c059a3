"""Makes docs/reference.md from lua/meta/neap.d.lua and the tables of the C code.

    python3 tests/docs/reference.py            print it
    python3 tests/docs/reference.py --write    write it where it belongs

What things mean stands in the annotations; defaults, bounds and log lines come from the C tables.
"""

import re
import sys

import annotations
import tables

OUTPUT = "docs/reference.md"

HEAD = """\
# Reference

Everything that a script sees of neap. This page is made from `lua/meta/neap.d.lua` and the tables
of the C code: `python3 tests/docs/reference.py --write` makes it anew. The [tutorial](tutorial.md)
shows the same things in use, and [operations](operations.md) how to run a server.
"""

PLACES = """\
Among several services a hook stands in one of them (*service*) or beside `services` (*app*); a lone
service has both kinds."""

UNITS = """\
Times are seconds and may have a fraction; sizes are bytes, or texts such as `"64K"` and `"16M"`.
`conn:set` changes those marked for one connection."""

OF_APP = "They hold for all services together. A lone service has them in its own table."

KEYS = """\
Besides hooks and options these keys are known. Any other key is an error, and the script does
not load."""

REASONS = """\
`on_closing` and `on_disconnect` are given a reason and a detail, which is a text or nil. Where
output was lost, the detail says how many bytes."""

MISUSE = "Misuse, such as a value of the wrong type, raises instead."

REFUSED = "Scripts have Lua 5.4 and its standard libraries, but for these, which raise and say why:"

LIMITED = """\
Further:

- `debug` has `traceback` and `getinfo` only.
- `collectgarbage` takes `"count"` and `"step"` only: a whole collection holds up every connection.
- `load` takes text only.
- `setmetatable` refuses `__gc` (a finalizer that loops could not be stopped) and, on a Lua before
  5.4.8, `__concat` (that Lua can crash in it).
- Globals can be written only while the script loads.
- `require` finds Lua files only while the script loads; later it gives what was loaded then.
"""

COUNTED = """\
What each worker counts. Those with a log line write it at level warn: the first time at once, then
at most once in 10 seconds, with a field `count`. The figures cannot be asked for yet; connections,
datagram peers and messages are logged at the end."""

NAMED = """\
For the option `socket`, for `conn:setsockopt` and `conn:getsockopt`. They are those of
setsockopt(2), socket(7), ip(7), ipv6(7) and tcp(7); any other one is given by its number."""


# ---- Markdown ----


def code(text):
    return f"`{text}`" if text else ""


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |"
                     for line in lines)


def page(parts):
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def shown(kind):
    """A type without the prefix that all of neap's have."""
    return code(re.sub(r"\bneap\.", "", kind))


def fields_table(of, head="field"):
    rows = [[code(one.name), shown(one.type), one.about] for one in of.fields if one.name != "[1]"]
    return table([head, "type", "meaning"], rows)


def values_table(head, alias):
    values = [(value.strip('"'), about) for value, about in alias.values if value[0] == '"']
    return table([head, "meaning"], [[code(value), about] for value, about in values])


def signature(function, owner):
    params = [f"[{one.name}]" if one.optional else one.name for one in function.params]
    return f"{owner}{':' if function.method else '.'}{function.name}({', '.join(params)})"


def param_line(param):
    about = f": {param.about}" if param.about else ""
    return f"- {code(param.name)}, {shown(param.type)}{about}"


def result_line(result):
    name, _, about = result.about.partition(" ")
    words = " ".join(filter(None, ["→", code(name) + "," if name else "", shown(result.type)]))
    return f"- {words}" + (f": {about}" if about else "")


def functions(of, owner):
    for function in of.functions:
        yield f"### `{signature(function, owner)}`"
        yield function.about
        yield "\n".join([*map(param_line, function.params), *map(result_line, function.returns)])


# ---- Parts ----


def returned(read):
    service, app = read.classes["neap.Service"], read.classes["neap.App"]
    known = {one.name for one in [*tables.options(), *tables.hooks()]}
    keys = [one for one in [*service.fields, *app.fields] if one.name not in known]
    of = read.classes["neap.AddressTable"]
    return [
        "## What a script returns",
        read.classes["neap.Script"].about,
        KEYS,
        table(["key", "type", "meaning"], [[code(k.name), shown(k.type), k.about] for k in keys]),
        "## Addresses",
        read.aliases["neap.Address"].about,
        "### A table as an address",
        of.about,
        fields_table(of),
    ]


def hook_row(hook, classes):
    """The row of a hook that stands in one of the classes, or in both."""
    fields = [of.field(hook.name) for of in classes]
    args, result = re.match(r"fun\((.*?)\)(?:: (.*))?$", fields[0].type).groups()
    names = [re.sub(r"\??:.*", "", arg) for arg in args.split(", ")]
    places = [name for name, is_there in
              (("service", hook.of_service), ("app", hook.of_app)) if is_there]
    about = " Beside `services`: ".join(field.about for field in fields)
    return [code(f"{hook.name}({', '.join(names)})"), ", ".join(places), shown(result or ""), about]


def hooks(read):
    service, app = read.classes["neap.Service"], read.classes["neap.App"]
    rows = [hook_row(one, [of for of, is_there in
                           ((service, one.of_service), (app, one.of_app)) if is_there])
            for one in tables.hooks()]
    yield "## Hooks"
    yield service.about
    yield PLACES
    yield table(["hook", "stands in", "result", "when"], rows)
    for title, name in (("`peer` of `on_accept`", "neap.Peer"),
                        ("`err` of `on_error`", "neap.Error"),
                        ("`record` of `on_log`", "neap.LogRecord")):
        yield f"### {title}"
        yield read.classes[name].about
        yield fields_table(read.classes[name])


def option_row(option, field):
    bounds = ""
    if option.kind in ("seconds", "size", "count"):
        bounds = f"{tables.amount(option, option.least)} to {tables.amount(option, option.most)}"
    about = re.sub(r" ?Default: .*$", "", field.about)  # it has a column of its own
    default = tables.default(option)
    if option.kind in ("bool", "choice") and not option.shown:
        default = code(default)
    return [code(option.name), shown(field.type), default, bounds, about]


def options(read):
    service, app = read.classes["neap.Service"], read.classes["neap.App"]
    head = ["option", "type", "default", "bounds", "meaning"]
    of_service = [[*option_row(one, service.field(one.name)), "yes" if one.scope == "conn" else ""]
                  for one in tables.options() if one.scope != "app"]
    of_app = [option_row(one, app.field(one.name))
              for one in tables.options() if one.scope == "app"]
    return [
        "## Options of a service",
        UNITS,
        table([*head, "`conn:set`"], of_service),
        "## Options beside the services",
        OF_APP,
        table(head, of_app),
    ]


def framing(read):
    alias = read.aliases["neap.Framing"]
    yield "## Framing"
    yield alias.about
    yield values_table("name", alias)
    for name in tables.framings():
        of = read.classes[f"neap.{name.capitalize()}Framing"]
        yield f'### `{{ "{name}", ... }}`'
        yield of.about
        yield fields_table(of, "key")


def connection(read):
    of = read.classes["neap.Connection"]
    return [
        "## A connection",
        of.about,
        fields_table(of),
        *functions(of, "conn"),
        "### Reasons",
        REASONS,
        values_table("reason", read.aliases["neap.Reason"]),
        "### Codes",
        read.aliases["neap.Code"].about + " " + MISUSE,
        values_table("code", read.aliases["neap.Code"]),
    ]


def module(read):
    of, script = read.classes["neap"], read.classes["neap.ScriptInfo"]
    timer, log = read.classes["neap.Timer"], read.classes["neap.Log"]
    return [
        "## The module",
        of.about,
        fields_table(of),
        *functions(of, "neap"),
        "### `neap.script`",
        script.about,
        fields_table(script),
        "## Timers",
        timer.about,
        *functions(timer, "timer"),
        "## Logging",
        log.about,
        *functions(log, "neap.log"),
    ]


def refusals():
    return [
        "## What scripts do not get",
        REFUSED,
        "\n".join(f"- `{one.name}`: {one.why}." for one in tables.refusals()),
        LIMITED,
    ]


def counters():
    rows = [[code(one.name), one.notice or ""] for one in tables.counters()]
    return ["## Counters", COUNTED, table(["counter", "log line"], rows)]


def socket_names():
    levels, names = (", ".join(map(code, words)) for words in tables.socket_names())
    return ["## Names of socket options", NAMED, f"Levels: {levels}.", f"Names: {names}."]


def contents(parts):
    titles = [part[3:] for part in parts if part.startswith("## ")]
    anchors = [re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in titles]
    return "\n".join(f"- [{title}](#{anchor})" for title, anchor in zip(titles, anchors))


def make():
    read = annotations.read()
    parts = [*returned(read), *hooks(read), *options(read), *framing(read), *connection(read),
             *module(read), *refusals(), *counters(), *socket_names()]
    return page([HEAD, contents(parts), *parts])


def main():
    if sys.argv[1:] == ["--write"]:
        (tables.ROOT / OUTPUT).write_text(make())
    else:
        sys.stdout.write(make())


if __name__ == "__main__":
    main()
