"""lua/meta/neap.d.lua says what there is: no name is missing on either side.

One side is the annotations; the other is what the binary shows to a script and, where Lua has no
way to list them, the rows of the C tables.
"""

import json
import re
import sys
import unittest

from neap_server import SOURCE, NeapTest, main, run

sys.path.insert(0, str(SOURCE / "tests" / "docs"))

import annotations  # noqa: E402
import tables  # noqa: E402

# Logs, field by field, what a script finds: names and their types.
LOOK = """
local neap = require "neap"

local function look(what, found)
  table.sort(found)
  neap.log.info("look", { what = what, names = table.concat(found, " ") })
end

local function look_into(what, of)
  local found = {}
  for name, value in pairs(of) do found[#found + 1] = name .. "=" .. type(value) end
  look(what, found)
end

local function look_for(what, of)
  local found = {}
  for name in (NAMES):gmatch("[%w_]+") do
    local value = of[name]
    if value ~= nil then found[#found + 1] = name .. "=" .. type(value) end
  end
  look(what, found)
end

return {
  framing = "line",
  on_start = function()
    look_into("neap", neap)
    look_into("neap.log", neap.log)
    look_into("neap.script", neap.script)
  end,
  on_accept = function(peer) look_into("peer", peer) end,
  on_log = function(record)
    if record.message == "a record" then look_into("record", record) end
  end,
  on_message = function(conn, message)
    if message == "error" then error("raised on purpose") end
    if message == "record" then return neap.log.info("a record") end
    local made = message == "timer" and neap.after(1000, print) or message == "task" and neap.spawn(print)
    look_for(message, made or conn)
  end,
  on_error = function(_, err) look_into("error", err) return "keep" end,
}
"""


class Meta(NeapTest):
    @classmethod
    def setUpClass(cls):
        cls.read = annotations.read()

    def of(self, name):
        return self.read.classes[name]

    def same(self, declared, found):
        self.assertEqual(sorted(declared), sorted(found))
        self.assertTrue(found)

    def same_types(self, of, found):
        """Every field is of a type that its annotation names."""
        for field in of.fields:
            kinds = {"integer": "number", "neap.Log": "table", "neap.ScriptInfo": "table"}
            words = re.sub(r'"[^"]*"', "string", field.type)
            words = re.sub(r"table<.*>", "table", words)
            allowed = {kinds.get(word, word) for word in words.split("|")}
            with self.subTest(of.name, field=field.name):
                if field.name not in found:
                    self.assertTrue(field.optional)
                else:
                    self.assertIn(found[field.name], allowed)


class InTheBinary(Meta):
    """What a script finds when it looks."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.connection = cls.read.classes["neap.Connection"].names()
        cls.timer = cls.read.classes["neap.Timer"].names()

    def look(self, *messages, names=()):
        script = LOOK.replace("NAMES", json.dumps(" ".join(names)))
        server = self.serve(script, "--log-format", "json")
        client = self.client(server.address)
        for message in messages:
            client.send(message.encode() + b"\n")
        client.half_close().receive_all()
        client.close()
        server.stop()
        found = {}
        for line in server.records(msg="look"):
            pairs = [pair.split("=") for pair in line["names"].split()]
            found[line["what"]] = dict(pairs)
        return found

    def test_the_module_and_its_tables(self):
        found = self.look()
        for name in ("neap", "neap.log", "neap.script"):
            of = self.of({"neap.log": "neap.Log", "neap.script": "neap.ScriptInfo"}.get(name, name))
            self.same(of.names(), found[name])
            self.same_types(of, found[name])
            functions = [key for key, kind in found[name].items() if kind == "function"]
            self.assertEqual(sorted(f.name for f in of.functions), sorted(functions))

    def test_what_hooks_are_given(self):
        found = self.look("error", "record")
        for name, of in (
            ("peer", self.of("neap.Peer")),
            ("error", self.of("neap.Error")),
            ("record", self.of("neap.LogRecord")),
        ):
            self.same(of.names(), found[name])
            self.same_types(of, found[name])

    def test_every_declared_name_of_a_connection_is_there(self):
        found = self.look("connection", names=self.connection)["connection"]
        of = self.of("neap.Connection")
        self.same(self.connection, found)
        self.same_types(of, found)
        methods = [name for name, kind in found.items() if kind == "function"]
        self.same([one.name for one in of.functions], methods)

    def test_a_name_that_is_not_declared_is_not_there(self):
        found = self.look("connection", names=["join", "start_tls", "no_such"])
        self.assertEqual(found["connection"], {})

    def test_timers(self):
        found = self.look("timer", names=self.timer)["timer"]
        self.same(self.timer, found)

    def test_tasks(self):
        names = self.read.classes["neap.Task"].names()
        self.same(names, self.look("task", names=names)["task"])

    def test_what_scripts_do_not_get_raises(self):
        names = [one.name for one in tables.refusals()]
        calls = [f"try('{name}', {name})" for name in names]
        calls += [
            "try('gc', setmetatable, {}, { __gc = print })",
            "try('collect', collectgarbage)",
            "try('global', function() made_later = 1 end)",
            "try('old global', function() made_before = 2 end)",
            "try('require', require, 'made_later')",
            "try('binary', function() assert(load('\\27Lua')) end)",
            "try('debug', function() return debug.sethook() end)",
        ]
        script = """
            local neap = require "neap"
            made_before = 1
            local function try(name, ...)
              neap.log.info("try", { name = name, raised = not pcall(...) })
            end
            return { on_start = function() %s end }
        """ % " ".join(calls)
        server = self.serve(script)
        found = {line["name"]: line["raised"] for line in server.records(msg="try")}
        self.assertEqual(len(found), len(calls))
        self.assertEqual({name for name, raised in found.items() if raised != "true"}, set())

    def test_count_step_and_the_rest_of_debug_are_there(self):
        script = """
            local neap = require "neap"
            return { on_start = function()
              collectgarbage("count") collectgarbage("step")
              local names = {}
              for name in pairs(debug) do names[#names + 1] = name end
              table.sort(names)
              neap.log.info("debug", { names = table.concat(names, " ") })
            end }
        """
        server = self.serve(script)
        self.assertEqual(server.records(msg="debug")[0]["names"], "getinfo traceback")


class InTheSource(Meta):
    """What the tables of the C code say."""

    def test_hooks(self):
        service, app = self.of("neap.Service"), self.of("neap.App")
        for of, is_there in (
            (service, [hook.name for hook in tables.hooks() if hook.of_service]),
            (app, [hook.name for hook in tables.hooks() if hook.of_app]),
        ):
            declared = [field.name for field in of.fields if field.name.startswith("on_")]
            self.same(declared, is_there)

    def test_options_and_keys(self):
        keys = set(tables.service_keys())
        declared = {}
        for name in ("neap.Service", "neap.App"):
            fields = self.of(name).fields
            declared[name] = {f.name for f in fields if not f.name.startswith("on_")}
        options = tables.options()
        self.same(
            declared["neap.Service"],
            {one.name for one in options if one.scope != "app"} | keys - {"services"},
        )
        self.same(
            declared["neap.App"],
            {one.name for one in options if one.scope == "app"} | {"services", "nameservers"},
        )

    def test_defaults_and_types_of_options(self):
        types = {"seconds": "number", "size": "neap.Size", "count": "integer", "bool": "boolean"}
        for option in tables.options():
            name = "neap.App" if option.scope == "app" else "neap.Service"
            field = self.of(name).field(option.name)
            words = [f'"{word}"' for word in option.choices]
            expected = "|".join(filter(None, [types.get(option.kind), *words]))
            with self.subTest(option.name):
                self.assertTrue(field.optional)
                self.assertEqual(field.type, expected)
                stated = re.search(r"Default: (.*)\.$", field.about.replace("`", ""))
                self.assertTrue(stated, field.about)
                self.assertEqual(stated.group(1), tables.default(option))

    def test_reasons(self):
        declared = [value.strip('"') for value, _ in self.read.aliases["neap.Reason"].values]
        self.same(declared, tables.reasons())

    def test_connection(self):
        of = self.of("neap.Connection")
        self.same([one.name for one in of.functions], tables.methods())
        self.same([one.name for one in of.fields], tables.connection_fields())

    def test_functions_of_the_module_and_of_the_log(self):
        self.same([one.name for one in self.of("neap").functions], tables.functions())
        self.same(self.of("neap.Log").names(), tables.log_functions())

    def test_framings_and_their_keys(self):
        declared = {}
        for name, of in self.read.classes.items():
            if name.endswith("Framing"):
                fields = {field.name: field for field in of.fields}
                own = fields["[1]"].type.strip('"')
                declared[own] = sorted(key for key in fields if not key.startswith("["))
        found = {name: sorted(keys) for name, keys in tables.framings().items()}
        self.assertEqual(declared, found)

    def test_framings_that_may_be_a_bare_name(self):
        values = self.read.aliases["neap.Framing"].values
        declared = {value.strip('"') for value, _ in values if value.startswith('"')}
        bare = set()
        for name in tables.framings():
            if run("check", "-e", f'return {{ framing = "{name}" }}')[0] == 0:
                bare.add(name)
        self.assertEqual(declared, bare)

    def test_everything_has_a_word_said_about_it(self):
        for of in self.read.classes.values():
            self.assertTrue(of.about, of.name)
            for one in [*of.fields, *of.functions]:
                if not one.name.startswith("["):
                    with self.subTest(of.name, name=one.name):
                        self.assertRegex(one.about, r"\.$")


class CanFail(unittest.TestCase):
    """A file of annotations that is wrong is found out."""

    def test_a_line_that_is_not_understood(self):
        for text in (
            "---@class a\n---@field b",
            "---@class a\nlocal a = 1",
            "---@filed b string",
            "---@class a\nlocal a = {}\n---@param x string\nfunction a.b(y) end",
            "some(code)",
        ):
            with self.subTest(text), self.assertRaises(ValueError):
                annotations.read(text)

    def test_a_table_that_is_not_there(self):
        with self.assertRaises(LookupError):
            tables.table("script/options.c", "no_such_rows")


if __name__ == "__main__":
    main()
