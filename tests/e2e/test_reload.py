"""Reload: an edit is saved, and the next message of a connected client runs the new code.

P6: all workers or none. P7: it closes no connection and loses no byte.
"""

import resource
import threading

from control import control
from neap_server import LOOPBACK, PRELUDE, main
from reload_test import ReloadTest, answering, free_port, until
from test_framing import ECHO, FRAMINGS, shown

# Answers `@` with the number of its worker, everything else with its tag.
WORKERS = PRELUDE + """
    return { framing = "line", workers = COUNT, hook_timeout = 10,
      on_message = function(conn, text)
        return text == "@" and "@" .. neap.worker or "TAG:" .. text
      end, MORE }"""


def tagged(tag, workers, more=""):
    script = WORKERS.replace("COUNT", str(workers)).replace("TAG", str(tag))
    return script.replace("MORE", more)


class Edit(ReloadTest):
    def test_edit_save_reload_and_the_next_message_is_changed(self):
        server = self.serve(answering("old"))
        client = self.client(server.address)
        self.says(client, b"old")
        answer = self.reload(server, answering("new"))
        self.assertEqual((answer["previous"], answer["version"]), (1, 2))
        self.assertEqual(answer["connections"], 1)
        self.says(client, b"new")
        self.says(self.client(server.address), b"new")
        server.stop()
        self.assertEqual(server.count_log("served 2 connections"), 1)

    def test_it_can_go_on_for_long(self):
        server = self.serve(answering(0))
        client = self.client(server.address)
        for number in range(1, 31):
            self.assertEqual(self.reload(server, answering(number))["version"], number + 1)
            self.says(client, b"%d" % number)

    def test_the_answer_tells_what_happened(self):
        server = self.serve(answering("old", before="neap.every(60, print)"))
        clients = [self.client(server.address) for _ in range(3)]
        for client in clients:
            self.says(client, b"old")
        before = control(server, "status")
        answer = self.reload(server, answering("new"))
        after = control(server, "status")
        self.assertNotEqual(before["hash"], after["hash"])
        self.assertGreater(answer.pop("ms"), 0)
        expected = {
            "ok": True,
            "version": 2,
            "previous": 1,
            "hash": after["hash"],
            "connections": 3,
            "timers_ended": 1,
            "files_changed": ["main.lua"],
            "listeners_opened": [],
            "listeners_closed": [],
            "ignored": [],
            "warnings": [],
        }
        self.assertEqual(answer, expected)

    def test_the_same_bytes_are_a_version_too(self):
        server = self.serve(answering("same"))
        answer = self.reload(server)
        self.assertEqual((answer["version"], answer["files_changed"]), (2, []))

    def test_conn_data_is_kept(self):
        count = """on_message = function(conn, text)
            conn.data.count = (conn.data.count or 0) + 1
            return "TAG:" .. conn.data.count
          end"""
        script = PRELUDE + f"return {{ framing = 'line', {count} }}"
        server = self.serve(script.replace("TAG", "a"))
        clients = [self.client(server.address) for _ in range(5)]
        for number, tag in enumerate("abcd", start=1):
            if number > 1:
                self.reload(server, script.replace("TAG", tag))
            for client in clients:
                self.assertEqual(client.ask(b"x\n", 4), b"%s:%d\n" % (tag.encode(), number))

    def test_conn_version_stays_that_of_the_opening(self):
        hook = "on_message = function(conn) return conn.version .. neap.script.version end"
        script = PRELUDE + f"return {{ framing = 'line', {hook} }} -- "
        server = self.serve(script)
        clients = [self.client(server.address)]
        self.assertEqual(clients[0].ask(b"x\n"[:2], 3), b"11\n")
        for number in (2, 3):
            self.reload(server, script + str(number))
            clients.append(self.client(server.address))
            for opened, client in enumerate(clients, start=1):
                self.assertEqual(client.ask(b"x\n", 3), b"%d%d\n" % (opened, number))

    def test_script_version_and_hash(self):
        hook = (
            "on_message = function() local s = neap.script "
            "return s.path .. ' ' .. s.version .. ' ' .. s.hash end"
        )
        script = PRELUDE + f"return {{ framing = 'line', {hook} }} -- "
        server = self.serve(script)
        client = self.client(server.address)
        hashes = set()
        for number in (1, 2, 3):
            if number > 1:
                self.reload(server, script + str(number))
            hash_now = control(server, "status")["hash"]
            expected = f"main.lua {number} {hash_now}\n".encode()
            self.assertEqual(client.send(b"x\n").receive_until(b"\n"), expected)
            hashes.add(hash_now)
        self.assertEqual(len(hashes), 3)
        self.reload(server, script + "2")
        self.assertIn(control(server, "status")["hash"], hashes)

    def test_a_failed_one_takes_no_number(self):
        server = self.serve(answering("old"))
        self.edit(server, "return {")
        for _ in range(3):
            self.fails(control(server, "reload"), 65, "main.lua:1")
        self.assertEqual(self.reload(server, answering("new"))["version"], 2)

    def test_globals_of_a_version_are_its_own(self):
        server = self.serve(answering("old", before="counter = 1"))
        script = f"""counter = (counter or 0) + 1 string.trim = string.trim and 'twice' or 'once'
            {answering("t", hooks="on_connect = function() return counter .. string.trim end")}"""
        for _ in range(3):
            self.reload(server, script)
            self.assertEqual(self.client(server.address).receive_until(b"\n"), b"1once\n")


class Workers(ReloadTest):
    def test_once_it_has_answered_no_worker_runs_old_hooks(self):
        for workers in (2, 3):
            with self.subTest(workers):
                server = self.serve(tagged(0, workers))
                clients = list(self.spread(server, workers).values())
                clients += [self.client(server.address) for _ in range(20)]
                for number in range(1, 21):
                    self.reload(server, tagged(number, workers))
                    for client in clients:
                        client.send(b"x\n")
                    for client in clients:
                        self.assertEqual(client.receive_until(b"\n"), b"%d:x\n" % number)

    def test_messages_of_a_client_never_go_back_to_an_older_version(self):
        server = self.serve(tagged(0, 2))
        clients = list(self.spread(server, 2).values())
        ended = threading.Event()
        seen = [[] for _ in clients]

        def ask(client, answers):
            while not ended.is_set():
                client.send(b"x\n")
                answers.append(int(client.receive_until(b"\n").split(b":")[0]))

        waits = [self.in_background(ask, *pair) for pair in zip(clients, seen)]
        for number in range(1, 31):
            self.reload(server, tagged(number, 2))
        ended.set()
        for wait in waits:
            wait()
        for answers in seen:
            self.assertEqual(answers, sorted(answers))
            self.assertGreaterEqual(answers[-1], 29)

    def test_on_start_and_on_stop_run_in_each(self):
        more = """on_start = function(before) note("start", neap.worker, before) end,
            on_stop = function(reason) note("stop", neap.worker, reason) end,"""
        server = self.serve(tagged(1, 3, more))
        self.reload(server, tagged(2, 3, more))
        until(lambda: len(server.events()) >= 9)
        events = server.events()
        self.assertEqual(sorted(events[:3]), [f"start {i} nil" for i in (1, 2, 3)])
        self.assertEqual(sorted(events[3:6]), [f"start {i} 1" for i in (1, 2, 3)])
        self.assertEqual(sorted(events[6:]), [f"stop {i} reload" for i in (1, 2, 3)])

    def test_their_number_stays_and_that_is_said(self):
        server = self.serve(tagged(1, 2))
        answer = self.reload(server, tagged(2, 4))
        self.assertEqual([one["option"] for one in answer["ignored"]], ["workers"])
        self.assertIn("restart", answer["ignored"][0]["why"])
        self.assertEqual(len(control(server, "status")["workers"]), 2)
        self.assertEqual(self.reload(server, tagged(3, 2))["ignored"], [])

    def test_another_number_leaves_no_socket_without_a_worker(self):
        """One that nobody accepts from would be given its share of the new clients."""
        for running, wanted in ((2, 4), (2, 1)):
            with self.subTest(running=running, wanted=wanted):
                port = free_port()
                server = self.serve(
                    tagged(1, running, "listen = 'tcp://127.0.0.1:0'"), listen=None
                )
                more = f"listen = 'tcp://127.0.0.1:{port}'"
                self.reload(server, tagged(2, wanted, more))
                clients = [self.client(f"tcp://127.0.0.1:{port}") for _ in range(32)]
                for client in clients:
                    self.says(client, b"2")


class Frames(ReloadTest):
    """A reload in the middle of a frame, cut at every byte, for every framing."""

    LONGEST = 40

    def setUp(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.frames = {
            name: [row for row in rows if 1 < len(row[0]) <= self.LONGEST]
            for name, (_, rows) in FRAMINGS.items()
        }
        folder = self.folder()
        self.paths = {name: f"unix://{folder}/{name}" for name in FRAMINGS}

    def script(self, hook):
        rows = ", ".join(
            f"{name} = {{ listen = '{self.paths[name]}', framing = {framing}, "
            f"on_message = {hook} }}"
            for name, (framing, _) in FRAMINGS.items()
        )
        return f"{ECHO} return {{ services = {{ {rows} }} }}"

    def test_the_rest_comes_after_the_reload(self):
        """The old hooks would close the connection: no message is theirs."""
        server = self.serve(self.script("function(conn) conn:abort() end"), listen=None)
        halves = []
        for name, rows in self.frames.items():
            for row in rows:
                for cut in range(1, len(row[0])):
                    halves.append((name, row, cut, self.client(self.paths[name])))
        self.assertGreater(len(halves), 500)
        for _, row, cut, client in halves:
            client.send(row[0][:cut])
        for _, _, _, client in halves:
            until(lambda: not client.unread())
        answer = self.reload(server, self.script("echo"))
        self.assertEqual(answer["connections"], len(halves))
        for _, row, cut, client in halves:
            client.send(row[0][cut:])
        for name, row, cut, client in halves:
            with self.subTest(name, frame=row[0], cut=cut):
                expected = row[2] if len(row) > 2 else row[0]
                self.assertEqual(client.receive(len(expected)), expected)
                client.close()
        server.stop()
        logged = sorted(server.events())
        self.assertEqual(logged, sorted(shown(row[1]) for _, row, _, _ in halves))

    def test_a_reload_at_every_byte_of_one_frame(self):
        server = self.serve(self.script("echo"), listen=None)
        frames = {
            name: max((row for row in rows if len(row[0]) <= 16), key=lambda row: len(row[0]))
            for name, rows in self.frames.items()
            if any(len(row[0]) <= 16 for row in rows)
        }
        clients = {name: self.client(self.paths[name]) for name in frames}
        for at in range(max(len(row[0]) for row in frames.values())):
            for name, row in frames.items():
                clients[name].send(row[0][at : at + 1])
                until(lambda: not clients[name].unread())
            self.reload(server, self.script("echo") + f" -- {at}")
        for name, row in frames.items():
            with self.subTest(name):
                expected = row[2] if len(row) > 2 else row[0]
                self.assertEqual(clients[name].receive(len(expected)), expected)

    def test_what_follows_the_frame_is_not_lost(self):
        """Two frames and half a third in one piece, around a reload."""
        server = self.serve(answering("old"))
        client = self.client(server.address).send(b"one\ntwo\nthr")
        self.assertEqual(client.receive(16), b"old:one\nold:two\n")
        self.reload(server, answering("new"))
        client.send(b"ee\nfour\n")
        self.assertEqual(client.receive(19), b"new:three\nnew:four\n")

    def test_framing_of_an_open_connection_does_not_change(self):
        server = self.serve(answering("old"))
        client = self.client(server.address)
        self.says(client, b"old")
        self.reload(server, answering("new").replace('"line"', '{ "delimiter", ";" }'))
        self.says(client, b"new")
        other = self.client(server.address)
        self.assertEqual(other.ask(b"a\nb;", 8), b"new:a\nb;")


class Kept(ReloadTest):
    """neap.keep"""

    SCRIPT = PRELUDE + """
        local kept = neap.keep("counts", { total = 100 })
        return { framing = "line", on_message = function(_, text)
          kept.total = kept.total + 1
          return "TAG" .. kept.total
        end, MORE }"""

    def script(self, tag, more=""):
        return self.SCRIPT.replace("TAG", tag).replace("MORE", more)

    def test_a_table_is_kept_over_reloads(self):
        server = self.serve(self.script("a"))
        client = self.client(server.address)
        for number, tag in enumerate("abcd", start=101):
            if tag != "a":
                self.reload(server, self.script(tag))
            self.assertEqual(client.ask(b"x\n", 5), b"%s%d\n" % (tag.encode(), number))

    def test_each_worker_has_its_own(self):
        more = "workers = 2"
        server = self.serve(self.script("a", more))
        self.reload(server, self.script("b", more))
        totals = {self.client(server.address).ask(b"x\n", 5) for _ in range(40)}
        self.assertGreaterEqual(len(totals), 20)
        self.assertLess(len(totals), 40)

    def test_an_initial_one_goes_with_the_version_that_failed(self):
        server = self.serve(answering("old"))
        initial = 'local kept = neap.keep("later", { from = "FROM" })'
        failing = answering(
            "bad",
            before=initial.replace("FROM", "bad"),
            hooks="on_start = function() kept.from = 'worse' error('no') end",
        )
        self.edit(server, failing)
        self.fails(control(server, "reload"), 65, "no")
        hook = "on_connect = function() return kept.from end"
        self.reload(server, answering("new", before=initial.replace("FROM", "good"), hooks=hook))
        self.assertEqual(self.client(server.address).receive(5), b"good\n")

    def test_a_table_made_in_a_hook_is_kept_too(self):
        hook = """on_message = function(_, text)
            local list = neap.keep("list") list[#list + 1] = text
            return table.concat(list, ",") end"""
        script = PRELUDE + f"return {{ framing = 'line', {hook} }}"
        server = self.serve(script)
        client = self.client(server.address)
        self.assertEqual(client.ask(b"a\n", 2), b"a\n")
        self.reload(server, script + " -- 2")
        self.assertEqual(client.ask(b"b\n", 4), b"a,b\n")


class StartAndStop(ReloadTest):
    def script(self, tag, start="", stop=""):
        hooks = f"""on_start = function(before)
              note("start {tag}", before, neap.script.version) {start} end,
            on_stop = function(reason)
              note("stop {tag}", reason, neap.script.version) {stop} end"""
        return answering(tag, hooks=hooks)

    def test_the_new_one_starts_before_the_old_one_stops(self):
        server = self.serve(self.script("a"))
        self.reload(server, self.script("b"))
        self.reload(server, self.script("c"))
        self.assertEqual(server.stop(), 0)
        expected = ["start a nil 1", "start b 1 2", "stop a reload 1", "start c 2 3"]
        self.assertEqual(server.events(), expected + ["stop b reload 2", "stop c shutdown 3"])

    def test_on_start_that_raises_vetoes(self):
        server = self.serve(self.script("a"))
        client = self.client(server.address)
        self.edit(server, self.script("b", start="error('not today')"))
        answer = self.fails(control(server, "reload"), 65, "on_start raised: not today")
        self.assertIn("main.lua:", answer["error"])
        self.says(client, b"a")
        self.reload(server, self.script("c"))
        self.says(client, b"c")
        server.stop()
        expected = ["start a nil 1", "start b 1 2", "start c 1 2", "stop a reload 1"]
        self.assertEqual(server.events(), expected + ["stop c shutdown 2"])

    def test_on_start_that_raises_in_one_worker_vetoes_for_all(self):
        server = self.serve(tagged("a", 3))
        clients = self.spread(server, 3)
        start = "on_start = function() if neap.worker == 2 then error('two') end end"
        self.edit(server, tagged("b", 3, start))
        self.fails(control(server, "reload"), 65, "two")
        for client in clients.values():
            self.says(client, b"a")
        self.reload(server, tagged("c", 3))
        for client in clients.values():
            self.says(client, b"c")

    def test_on_stop_that_raises_holds_nothing_up(self):
        server = self.serve(self.script("a", stop="error('still here')"))
        client = self.client(server.address)
        self.reload(server, self.script("b"))
        self.says(client, b"b")
        server.wait_log("on_stop raised: still here")


class Modules(ReloadTest):
    def test_they_are_loaded_anew_with_the_script(self):
        files = {"greet.lua": "return { word = 'hello' }", "other.lua": "return { sign = '!' }"}
        script = answering(
            "t",
            before='local greet, other = require "greet", require "other"',
            hooks="on_connect = function() return greet.word .. other.sign end",
        )
        server = self.serve(script, files=files)
        self.assertEqual(self.client(server.address).receive_until(b"\n"), b"hello!\n")
        answer = self.reload(server, "return { word = 'servus' }", "greet.lua")
        self.assertEqual(answer["files_changed"], ["./greet.lua"])
        self.assertEqual(self.client(server.address).receive_until(b"\n"), b"servus!\n")
        answer = self.reload(server, "return { sign = '?' }", "other.lua")
        self.assertEqual(answer["files_changed"], ["./other.lua"])
        self.assertEqual(self.client(server.address).receive_until(b"\n"), b"servus?\n")

    def test_files_that_came_and_went_are_named(self):
        server = self.serve(
            answering("a", before='require "one"'), files={"one.lua": "", "two.lua": ""}
        )
        answer = self.reload(server, answering("b", before='require "two"'))
        self.assertEqual(sorted(answer["files_changed"]), ["./one.lua", "./two.lua", "main.lua"])
        listed = control(server, "versions")["versions"]
        paths = [sorted(file["path"] for file in version["files"]) for version in listed]
        self.assertEqual(paths, [["./two.lua", "main.lua"], ["./one.lua", "main.lua"]])

    def test_one_that_does_not_load_fails_the_reload(self):
        server = self.serve(
            answering("a", before='require "one"'), files={"one.lua": "return 1"}
        )
        client = self.client(server.address)
        for broken, pattern in (("return (", "one.lua:1"), ("error('in it')", "in it")):
            self.edit(server, broken, "one.lua")
            self.fails(control(server, "reload"), 65, pattern)
        (server.folder / "one.lua").unlink()
        self.fails(control(server, "reload"), 65, "module 'one' not found")
        self.says(client, b"a")
        self.assertEqual(self.reload(server, "return 2", "one.lua")["version"], 2)

    def test_later_only_what_was_loaded_is_found(self):
        hook = """on_message = function(_, name)
            local ok, module = pcall(require, name)
            return ok and module.word or module
          end"""
        server = self.serve(
            PRELUDE + f"require 'one' return {{ framing = 'line', {hook} }}",
            files={"one.lua": "return { word = 'old' }", "late.lua": "return { word = 'late' }"},
        )
        client = self.client(server.address)
        self.edit(server, "return { word = 'new' }", "one.lua")
        self.assertEqual(client.ask(b"one\n", 4), b"old\n")
        self.assertIn(b"was not loaded", client.send(b"late\n").receive_until(b"\n"))
        self.reload(server)
        self.assertEqual(client.ask(b"one\n", 4), b"new\n")


class Timers(ReloadTest):
    def ticking(self, tag, more=""):
        ticks = f"neap.every(0.005, function() note('tick {tag}') end)"
        return answering(tag, before=f"{ticks} {more}")

    def test_those_of_the_old_version_end(self):
        server = self.serve(self.ticking("a"))
        server.wait_log('"tick a"', count=3)
        for before, now in ("ab", "bc"):
            answer = self.reload(server, self.ticking(now))
            self.assertEqual(answer["timers_ended"], 1)
            server.wait_log(f'"tick {now}"', count=20)
        events = server.events()
        for before, now in ("ab", "bc"):
            first = events.index(f"tick {now}")
            self.assertNotIn(f"tick {before}", events[first:])

    def test_those_of_a_version_that_failed_never_fire(self):
        server = self.serve(self.ticking("a"))
        late = "neap.after(0, function() note('late b') end) error('b')"
        self.edit(server, self.ticking("b", late))
        self.fails(control(server, "reload"), 65, "raised: b")
        start = "neap.after(0, function() note('start b') end) error('no')"
        self.edit(server, answering("b", hooks=f"on_start = function() {start} end"))
        self.fails(control(server, "reload"), 65, "no")
        server.wait_log('"tick a"', count=server.events().count("tick a") + 10)
        self.assertEqual(set(server.events()), {"tick a"})

    def test_those_begun_while_it_loads_start_with_the_version(self):
        server = self.serve(answering("a"))
        self.reload(server, answering("b", before="neap.after(0.01, function() note('due') end)"))
        server.wait_log('"due"')

    def test_a_timer_of_a_connection_calls_the_version_that_serves(self):
        def script(tag, delay):
            return f"""{PRELUDE} return {{ framing = "line",
                on_message = function(conn, name) conn:after({delay}, name) return "set" end,
                on_timer = function(conn, name) return "{tag} " .. name end }}"""

        server = self.serve(script("old", 0.3))
        client = self.client(server.address)
        self.assertEqual(client.ask(b"soup\n", 4), b"set\n")
        self.reload(server, script("new", 0.01))
        self.assertEqual(client.receive_until(b"\n"), b"new soup\n")
        self.assertEqual(client.ask(b"tea\n", 4), b"set\n")
        self.assertEqual(client.receive_until(b"\n"), b"new tea\n")

    def test_an_old_function_that_was_kept_can_begin_none(self):
        """conn.data holds the old version; what it begins would be nobody's."""
        old = answering("a", hooks="on_connect = function(conn) conn.data.later = neap.after end")
        new = PRELUDE + """return { framing = "line", on_message = function(conn)
            local _, why = pcall(conn.data.later, 0, print) return why end }"""
        server = self.serve(old)
        client = self.client(server.address)
        self.says(client, b"a")
        self.reload(server, new)
        self.assertIn(b"a timer of version 1", client.send(b"x\n").receive_until(b"\n"))


class Options(ReloadTest):
    NAMES = {
        "idle_timeout": (70, 80, 90),
        "message_timeout": (11, 12, 13),
        "send_timeout": (21, 22, 23),
        "linger": (1, 2, 3),
        "max_message": (1000, 2000, 3000),
        "high_water": (4000, 5000, 6000),
        "max_output": (70000, 80000, 90000),
    }

    def script(self, at, more=""):
        options = ", ".join(f"{name} = {values[at]}" for name, values in self.NAMES.items())
        return f"""{PRELUDE} return {{ framing = "line", {options}, {more}
            on_message = function(conn, text)
              local name, value = text:match("(%S+) (%S+)")
              if value then conn:set(name, tonumber(value)) end
              return ("%d"):format(conn:get(name or text))
            end }}"""

    def rows(self, server):
        return control(server, "connections")["connections"]

    def get(self, client, text):
        return int(client.send(text.encode() + b"\n").receive_until(b"\n"))

    def test_they_change_at_once_but_for_those_a_connection_has_set(self):
        server = self.serve(self.script(0))
        plain, own = self.client(server.address), self.client(server.address)
        for name, values in self.NAMES.items():
            self.assertEqual(self.get(plain, name), values[0], name)
        self.reload(server, self.script(1))
        for name, values in self.NAMES.items():
            self.assertEqual(self.get(plain, name), values[1], name)
            self.assertEqual(self.get(own, f"{name} {values[2]}"), values[2], name)
        self.reload(server, self.script(0))
        for name, values in self.NAMES.items():
            self.assertEqual(self.get(plain, name), values[0], name)
            self.assertEqual(self.get(own, name), values[2], name)

    def test_an_idle_connection_ends_by_the_new_timeout(self):
        end = "on_disconnect = function(_, reason) note('end', reason) end"
        server = self.serve(answering("a", hooks=end))
        client = self.client(server.address)
        self.says(client, b"a")
        self.reload(server, answering("b", options="idle_timeout = 0.1,", hooks=end))
        self.assertEqual(client.receive_all(), b"")
        server.wait_log('"end idle"')

    def test_max_message_holds_for_the_next_one(self):
        server = self.serve(answering("a", options="max_message = 10, linger = 0.1,"))
        short, long = self.client(server.address), self.client(server.address)
        self.says(long, b"a")
        self.reload(server, answering("b", options="max_message = 100, linger = 0.1,"))
        self.says(long, b"b", b"y" * 100)
        self.reload(server, answering("c", options="max_message = 10, linger = 0.1,"))
        self.assertEqual(short.ask(b"y" * 11 + b"\n", 1), b"")

    def test_high_water_holds_for_what_is_queued(self):
        """What is over the mark in the old version goes on being read under a higher one."""
        script = PRELUDE + """return { framing = "line", high_water = HIGH, max_output = "64M",
            hook_timeout = 10, on_message = function(conn, text)
              if text == "big" then conn:write(("z"):rep(8 << 20)) else note("read", text) end
            end }"""
        server = self.serve(script.replace("HIGH", "1000"))
        client = self.client(server.address, receive_buffer=4096).send(b"big\nnext\n")
        until(lambda: any(row["pending"] > 1000 for row in self.rows(server)))
        self.assertEqual(server.events(), [])
        self.reload(server, script.replace("HIGH", "'32M'"))
        server.wait_log('"read next"')
        client.reset()

    def test_app_options(self):
        server = self.serve(answering("a", options="max_connections = 1, log_level = 'info',"))
        client = self.client(server.address)
        self.says(client, b"a")
        with self.client(server.address) as refused:
            try:
                self.assertEqual(refused.receive_all(), b"")
            except ConnectionResetError:
                pass
        options = "max_connections = 2, log_level = 'debug', lua_memory = '32M',"
        hooks = "on_connect = function() neap.log.debug('seen now') end"
        self.reload(server, answering("b", options=options, hooks=hooks))
        self.says(self.client(server.address), b"b")
        self.says(client, b"b")
        server.wait_log("seen now")
        status = control(server, "status", effective=True)
        self.assertEqual(status["workers"][0]["lua_limit"], 32 << 20)
        shown_options = {one["name"]: one for one in status["options"]}
        self.assertEqual(shown_options["max_connections"]["value"], 2)
        self.assertEqual(shown_options["max_connections"]["origin"], "script")

    def test_listen_of_the_command_line_holds(self):
        server = self.serve(answering("a"), listen=LOOPBACK)
        answer = self.reload(server, answering("b", options="listen = 'tcp://127.0.0.1:1',"))
        self.assertEqual((answer["listeners_opened"], answer["listeners_closed"]), ([], []))
        self.says(self.client(server.address), b"b")

    def test_a_hook_that_vanished_is_warned_of(self):
        hook = "on_disconnect = function(_, reason) note(reason) end"
        server = self.serve(answering("a", hooks=hook))
        self.says(self.client(server.address), b"a")
        warnings = self.reload(server, answering("b"))["warnings"]
        self.assertEqual(len(warnings), 1)
        self.assertIn("on_disconnect", warnings[0])


if __name__ == "__main__":
    main()
