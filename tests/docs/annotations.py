"""lua/meta/neap.d.lua, read: classes with fields and functions, and aliases.

Only the part of LuaCATS that the file uses. A line that fits none of it is an error, so that
nothing that is written there is missing in what is made from it.
"""

import re
from collections import namedtuple

from tables import ROOT

FILE = "lua/meta/neap.d.lua"

Field = namedtuple("Field", "name type optional about")
Function = namedtuple("Function", "name owner method about params returns")
Param = namedtuple("Param", "name type optional about")
Return = namedtuple("Return", "type about")
Alias = namedtuple("Alias", "name type about values")


class Class:
    def __init__(self, name, parents, about):
        self.name, self.parents, self.about = name, parents, about
        self.fields, self.functions = [], []

    def field(self, name):
        return next(field for field in self.fields if field.name == name)

    def names(self):
        """Of fields and functions."""
        return [one.name for one in [*self.fields, *self.functions]]


def split_type(text):
    """A type, and what stands behind it."""
    depth, i = 0, 0
    while i < len(text):
        if text[i] == '"':
            i = text.index('"', i + 1)
        depth += {"(": 1, "{": 1, "<": 1, "[": 1, ")": -1, "}": -1, ">": -1, "]": -1}.get(
            text[i], 0
        )
        if text[i] == " " and depth == 0 and text[i - 1] not in ":,|":
            return text[:i], text[i + 1 :].strip()
        i += 1
    return text, ""


def joined(lines):
    return " ".join(line.strip() for line in lines).strip()


class Reader:
    def __init__(self, text):
        self.classes, self.aliases, self.locals = {}, {}, {}
        self.about, self.params, self.returns = [], [], []
        self.current = self.alias = None
        for number, line in enumerate(text.splitlines(), 1):
            try:
                self.read(line.strip())
            except (AttributeError, KeyError, ValueError, IndexError) as error:
                raise ValueError(f"{FILE}:{number}: not understood: {line}") from error

    def take(self):
        about, self.about = joined(self.about), []
        return about

    def read(self, line):
        if line.startswith("---@"):
            word, _, rest = line[4:].partition(" ")
            getattr(self, "on_" + word)(rest.strip())
        elif line.startswith("---|"):
            value, _, about = line[4:].partition("#")
            self.alias.values.append((value.strip(), about.strip()))
        elif line.startswith("---"):
            self.on_text(line[3:].strip())
        elif line.startswith("function "):
            self.on_function(line)
        elif line.startswith("local "):
            self.locals[re.match(r"local (\w+) = \{\}$", line).group(1)] = self.current
            self.about = []
        elif line and not line.startswith("-- ") and line != "return neap":
            raise ValueError(line)
        elif not line:
            self.about = []

    def on_text(self, text):
        if not self.returns and not self.params:
            if text:
                self.about.append(text)
        elif self.returns:
            last = self.returns[-1]
            self.returns[-1] = last._replace(about=joined([last.about, text]))
        else:
            last = self.params[-1]
            self.params[-1] = last._replace(about=joined([last.about, text]))

    def on_meta(self, _):
        self.about = []

    def on_alias(self, text):
        name, _, kind = text.partition(" ")
        self.alias = self.aliases[name] = Alias(name, kind, self.take(), [])

    def on_class(self, text):
        name, _, parents = text.partition(":")
        parents = [parent.strip() for parent in parents.split(",") if parent.strip()]
        self.current = self.classes[name.strip()] = Class(name.strip(), parents, self.take())

    def on_field(self, text):
        found = re.match(r"(\[\d\]|\w+)(\?)? (.*)$", text)
        name, optional, rest = found.groups()
        kind, about = split_type(rest)
        about = joined([self.take(), about])
        self.current.fields.append(Field(name, kind, bool(optional), about))

    def on_param(self, text):
        found = re.match(r"(\.\.\.|\w+)(\?)? (.*)$", text)
        name, optional, rest = found.groups()
        kind, about = split_type(rest)
        self.params.append(Param(name, kind, bool(optional), about))

    def on_return(self, text):
        self.returns.append(Return(*split_type(text)))

    def on_function(self, line):
        owner, mark, name, args = re.match(
            r"function (\w+)([.:])(\w+)\(([^)]*)\) end$", line
        ).groups()
        given = [arg.strip() for arg in args.split(",") if arg.strip()]
        if given != [param.name for param in self.params]:
            raise ValueError(line)
        self.locals[owner].functions.append(
            Function(name, owner, mark == ":", self.take(), self.params, self.returns)
        )
        self.params, self.returns = [], []


def read(text=None):
    """The file, or a text of its kind."""
    return Reader((ROOT / FILE).read_text() if text is None else text)
