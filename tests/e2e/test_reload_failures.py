"""Reloads that fail: at each phase, however they are asked for; and going back.

P6: after a failed one the old version serves, and the next reload works. P13: SIGHUP reloads.
"""

import os
import signal
import socket
import time
import unittest

from control import control, socket_path
from neap_server import PRELUDE, main
from reload_test import (
    IS_THREAD_SANITIZED,
    SLOW,
    ReloadTest,
    answering,
    line_service,
    services,
    until,
)

ONE = "if require 'neap'.worker == 2 then WHAT end "
GOOD = answering("bad")
BOMB = "local s = 'x' while true do s = s .. s end"
# What is wrong: what the script is, and what the error says. All while a script loads.
LOADING = {
    "syntax": ("return { on_message = ", "main.lua:1"),
    "run_time": ("local t = nil\nt.x = 1", "main.lua:2"),
    "nothing_returned": ("", "the script returned nothing"),
    "unknown_hook": ("return { on_mesage = print }", "did you mean 'on_message'"),
    "bad_address": ("return { listen = 'nowhere' }", "listen"),
    "module_missing": ("require 'nobody'", "module 'nobody' not found"),
    "not_while_loading": ("require 'neap'.stop()", "use on_start"),
    "endless_loop": ("while true do end", "load_timeout"),
    "endless_loop_protected": (
        "while true do pcall(function() while true do end end) end",
        "load_timeout",
    ),
    "endless_loop_in_a_coroutine": (
        "coroutine.wrap(function() while true do end end)()",
        "load_timeout",
    ),
    "memory": (BOMB, "memory"),
    "one_worker": (ONE.replace("WHAT", "error('only two')") + GOOD, "only two"),
    "one_worker_loops": (ONE.replace("WHAT", "while true do end") + GOOD, "load_timeout"),
    "one_worker_without_memory": (ONE.replace("WHAT", BOMB) + GOOD, "memory"),
    "on_start_raises": (answering("bad", hooks="on_start = function() error('no') end"), "no"),
}
LOOPING_ON_START = (
    answering("bad", hooks="on_start = function() while true do end end").replace(
        "hook_timeout = 10", "hook_timeout = 0.05"
    ),
    "on_start",
)
FLAGS = ("--workers", 2, "--load-timeout", 0.3 * SLOW)


class Failures(ReloadTest):
    def setUp(self):
        self.broken = dict(LOADING)
        if not IS_THREAD_SANITIZED:  # it holds back the signal that would stop it
            self.broken["on_start_loops"] = LOOPING_ON_START
        self.number = 1
        self.tag = b"0"

    def start(self, *args):
        server = self.serve(answering(0), *FLAGS, *args)
        clients = [self.client(server.address) for _ in range(8)]
        for client in clients:
            self.says(client, b"0")
        return server, clients

    def serves_on(self, server, clients):
        for client in [*clients, self.client(server.address)]:
            self.says(client, self.tag)
        self.assertEqual(self.version(server), self.number)

    def next_one(self):
        """The text of a version that loads."""
        self.number += 1
        self.tag = b"%d" % self.number
        return answering(self.number)

    def test_by_the_control_socket(self):
        server, clients = self.start()
        for name, (text, pattern) in self.broken.items():
            with self.subTest(name):
                self.edit(server, text)
                self.fails(control(server, "reload"), 65, pattern)
                self.serves_on(server, clients)
                self.reload(server, self.next_one())
                self.serves_on(server, clients)

    def test_by_signal(self):
        server, clients = self.start()
        for count, (name, (text, pattern)) in enumerate(self.broken.items(), start=1):
            with self.subTest(name):
                self.edit(server, text)
                server.interrupt(signal.SIGHUP)
                found = server.wait_log(r'level=error msg="reload failed, (.*)', count)
                self.assertIn(f"version {self.number} goes on", found.group(1))
                self.assertRegex(found.group(1).replace('\\"', '"'), pattern)
                self.serves_on(server, clients)
                self.edit(server, self.next_one())
                server.interrupt(signal.SIGHUP)
                server.wait_log(f"reloaded: version {self.number - 1} -> {self.number} in")
                self.serves_on(server, clients)

    def test_by_watch(self):
        server, clients = self.start("--watch")
        for count, (name, (text, pattern)) in enumerate(self.broken.items(), start=1):
            with self.subTest(name):
                self.edit(server, text)
                found = server.wait_log(r'level=error msg="reload failed, (.*)', count)
                self.assertRegex(found.group(1), pattern)
                self.serves_on(server, clients)
                self.edit(server, self.next_one())
                server.wait_log(f"reloaded: version {self.number - 1} -> {self.number} in")
                self.serves_on(server, clients)
        self.assertEqual(server.count_log("reload failed"), len(self.broken))

    def test_several_in_a_row(self):
        server, clients = self.start()
        for text, pattern in list(self.broken.values()) * 2:
            self.edit(server, text)
            self.fails(control(server, "reload"), 65, pattern)
        self.serves_on(server, clients)
        self.reload(server, self.next_one())
        self.serves_on(server, clients)

    def test_a_listener_that_cannot_bind(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            old = services(a=line_service("0", "tcp://127.0.0.1:0"))
            bad = services(a=line_service("bad", "tcp://127.0.0.1:0"), b=line_service("b", taken))
            server = self.serve(old, "--watch", listen=None)
            clients = [self.client(server.address)]
            self.edit(server, bad)
            server.wait_log('level=error msg="reload failed, version 1 goes on.*in use')
            server.interrupt(signal.SIGHUP)
            server.wait_log('level=error msg="reload failed, version 1 goes on.*in use', count=2)
            self.fails(control(server, "reload"), 71, "in use")
            self.serves_on(server, clients)
        self.assertEqual(self.reload(server)["version"], 2)
        self.says(clients[0], b"bad")
        self.says(self.client(taken), b"b")

    def test_a_file_that_vanished(self):
        server, clients = self.start("--watch")
        (server.folder / "main.lua").unlink()
        server.wait_log('level=error msg="reload failed, version 1 goes on.*No such file')
        server.interrupt(signal.SIGHUP)
        server.wait_log('level=error msg="reload failed, version 1 goes on.*No such file', count=2)
        self.fails(control(server, "reload"), 66, "No such file")
        self.serves_on(server, clients)
        self.edit(server, self.next_one())
        server.wait_log("reloaded: version 1 -> 2")
        self.serves_on(server, clients)

    @unittest.skipUnless(os.geteuid(), "root may read everything")
    def test_a_file_that_may_not_be_read(self):
        server, clients = self.start()
        (server.folder / "main.lua").chmod(0)
        self.fails(control(server, "reload"), 77, "Permission denied")
        self.serves_on(server, clients)

    def test_an_error_is_told_in_full(self):
        server = self.serve(answering(0))
        self.edit(server, "local function f()\n  error('deep')\nend\n\nf()\n")
        error = self.fails(control(server, "reload"), 65, "deep")["error"]
        self.assertIn("--> main.lua:2", error)
        self.assertIn("error('deep')", error)


class Rollback(ReloadTest):
    def start(self, count):
        server = self.serve(answering(1))
        client = self.client(server.address)
        for number in range(2, count + 1):
            self.reload(server, answering(number))
        (server.folder / "main.lua").unlink()
        return server, client

    def test_it_reads_no_file(self):
        server, client = self.start(3)
        answer = self.succeeds(control(server, "rollback"))
        self.assertEqual((answer["version"], answer["previous"], answer["same_as"]), (4, 3, 2))
        self.says(client, b"2")
        rows = control(server, "versions")["versions"]
        self.assertEqual([row.get("same_as") for row in rows], [2, None, None, None])
        self.assertEqual(rows[0]["hash"], rows[2]["hash"])
        self.assertEqual(control(server, "status")["hash"], rows[2]["hash"])

    def test_modules_come_from_kept_bytes_too(self):
        script = answering(
            "t",
            before="local m = require 'm'",
            hooks="on_connect = function() return m.word end",
        )
        server = self.serve(script, files={"m.lua": "return { word = 'one' }"})
        self.reload(server, "return { word = 'two' }", "m.lua")
        self.assertEqual(self.client(server.address).receive_until(b"\n"), b"two\n")
        for name in ("m.lua", "main.lua"):
            (server.folder / name).unlink()
        answer = self.succeeds(control(server, "rollback"))
        self.assertEqual(answer["files_changed"], ["./m.lua"])
        self.assertEqual(self.client(server.address).receive_until(b"\n"), b"one\n")

    def test_to_a_number(self):
        server, client = self.start(4)
        answer = self.succeeds(control(server, "rollback", version=1))
        self.assertEqual((answer["version"], answer["same_as"]), (5, 1))
        self.says(client, b"1")

    def test_of_a_rollback_names_the_first(self):
        server, client = self.start(3)
        self.succeeds(control(server, "rollback", version=1))  # 4, same as 1
        self.succeeds(control(server, "rollback", version=2))  # 5, same as 2
        answer = self.succeeds(control(server, "rollback"))
        self.assertEqual((answer["version"], answer["previous"], answer["same_as"]), (6, 5, 1))
        self.says(client, b"1")

    def test_only_five_are_kept(self):
        server, client = self.start(8)
        numbers = [row["version"] for row in control(server, "versions")["versions"]]
        self.assertEqual(numbers, [8, 7, 6, 5, 4, 3])
        for unknown in (1, 2, 9, 0, -1, 1 << 40):
            with self.subTest(unknown):
                answer = control(server, "rollback", version=unknown)
                self.fails(answer, 64, "not kept")
                self.assertEqual(answer["code"], "ENOENT")
        self.says(client, b"8")
        self.succeeds(control(server, "rollback", version=3))
        self.says(client, b"3")

    def test_there_is_none_before_the_first(self):
        server, client = self.start(1)
        self.fails(control(server, "rollback"), 64, "no version before")
        self.says(client, b"1")

    def test_state_ages_and_files_of_versions(self):
        server, client = self.start(3)
        other = self.client(server.address)
        self.says(other, b"3")
        self.says(client, b"3")
        rows = control(server, "versions")["versions"]
        self.assertEqual([row["version"] for row in rows], [3, 2, 1])
        self.assertEqual([row["state"] for row in rows], ["serving", "kept", "kept"])
        self.assertEqual([row["connections"] for row in rows], [1, 0, 1])
        ages = [row["age"] for row in rows]
        self.assertEqual(ages, sorted(ages))
        size = len(answering(3))
        for row in rows:
            self.assertEqual(row["files"], [{"path": "main.lua", "bytes": size}])

    def test_one_that_fails_now_changes_nothing(self):
        """What loaded once may not do so again."""
        path = self.folder() / "there"
        picky = f"on_start = function() assert(io.open('{path}')):close() end"
        server = self.serve(answering(1))
        path.touch()
        self.reload(server, answering(2, hooks=picky))
        self.reload(server, answering(3))
        path.unlink()
        self.fails(control(server, "rollback"), 65, "No such file")
        self.says(self.client(server.address), b"3")
        path.touch()
        self.assertEqual(self.succeeds(control(server, "rollback"))["version"], 4)


class Signals(ReloadTest):
    def test_sighup_reloads_and_the_log_has_the_answer(self):
        server = self.serve(answering(1, before="neap.every(60, print)"))
        client = self.client(server.address)
        self.says(client, b"1")
        self.edit(server, answering(2))
        server.interrupt(signal.SIGHUP)
        server.wait_log(
            r'level=info msg="reloaded: version 1 -> 2 in [\d.]+ ms, '
            r'1 connections? kept, 1 timers? ended"'
        )
        self.says(client, b"2")

    def test_without_a_change_it_reloads_too(self):
        server = self.serve(answering(1))
        server.interrupt(signal.SIGHUP)
        server.wait_log("reloaded: version 1 -> 2")

    def test_failure_is_one_line_in_the_log(self):
        server = self.serve(answering(1))
        self.edit(server, "return {\n  1 +\n}")
        server.interrupt(signal.SIGHUP)
        found = server.wait_log('level=error msg="reload failed, version 1 goes on: (.*)"')
        self.assertIn("main.lua:3", found.group(1))

    def test_while_it_stops_it_is_ignored(self):
        hooks = "on_stop = function() note('stopping') end"
        server = self.serve(answering(1, options="linger = 60, drain_timeout = 1,", hooks=hooks))
        self.edit(server, "return {")
        server.interrupt(signal.SIGTERM)
        try:
            server.interrupt(signal.SIGHUP)
        except ProcessLookupError:
            pass
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.count_log("reload failed"), 0)


class AtTheSameTime(ReloadTest):
    SLOW = "local stop = neap.now() + 0.5 while neap.now() < stop do end"

    def begin(self, before, *args):
        """A server in the middle of a reload whose script runs that, its files read; who waits
        for the answer."""
        server = self.serve(answering(1), *args)
        begun = server.folder / "begun"
        self.edit(server, answering("slow", before=f"io.open('{begun}', 'w'):close() {before}"))
        waiting = self.begin_reload(server)
        until(begun.exists)
        return server, waiting

    def test_one_while_another_is_under_way(self):
        server, waiting = self.begin(self.SLOW)
        answer = self.fails(control(server, "reload"), 1, "another reload is under way")
        self.assertEqual(answer["code"], "EBUSY")
        self.fails(control(server, "rollback"), 64, "no version before")
        self.assertEqual(self.succeeds(waiting.answer())["version"], 2)
        self.assertEqual(self.reload(server, answering(3))["version"], 3)

    def test_clients_are_served_meanwhile(self):
        server, waiting = self.begin(self.SLOW)
        client = self.client(server.address)
        self.says(client, b"1")  # the loader is busy, the worker is not
        self.succeeds(waiting.answer())
        self.says(client, b"slow")

    def test_a_signal_meanwhile_is_not_lost(self):
        """The file may have been read already: it is read again."""
        server, waiting = self.begin(self.SLOW)
        self.edit(server, answering("last"))
        server.interrupt(signal.SIGHUP)
        self.succeeds(waiting.answer())
        server.wait_log("reloaded: version 2 -> 3")
        self.says(self.client(server.address), b"last")

    def test_a_save_meanwhile_is_not_lost(self):
        server, waiting = self.begin(self.SLOW, "--watch")
        self.edit(server, answering("last"))
        waiting.answer()
        client = self.client(server.address)
        until(lambda: client.send(b"x\n").receive_until(b"\n") == b"last:x\n")

    def test_a_signal_while_a_listener_is_closed_is_not_lost(self):
        path = self.folder() / "socket"
        both = line_service(1, "tcp://127.0.0.1:0", f"unix://{path}")
        server = self.serve(services(a=both), listen=None)
        for number in range(2, 22):
            listen = ["tcp://127.0.0.1:0"] + [f"unix://{path}"] * (number % 2)
            self.edit(server, services(a=line_service(number, *listen)))
            waiting = self.begin_reload(server)
            server.interrupt(signal.SIGHUP)
            waiting.answer()
        client = self.client(server.service("tcp"))
        until(lambda: client.send(b"x\n").receive_until(b"\n") == b"21:x\n")
        self.edit(server, services(a=line_service("last", "tcp://127.0.0.1:0")))
        server.interrupt(signal.SIGHUP)
        until(lambda: client.send(b"x\n").receive_until(b"\n") == b"last:x\n")

    def test_while_it_stops(self):
        script = PRELUDE + """return { framing = "line", high_water = "64M", max_output = "64M",
            linger = 60, drain_timeout = 60, hook_timeout = 10,
            on_message = function(conn) conn:write(("z"):rep(16 << 20)) end,
            on_stop = function() note("stopping") end }"""
        server = self.serve(script)
        client = self.client(server.address, receive_buffer=4096).send(b"x\n")
        client.receive(1)
        server.interrupt(signal.SIGTERM)
        server.wait_log('"stopping"')
        for command in ("reload", "rollback"):
            answer = control(server, command)
            self.assertFalse(answer["ok"])
            self.assertNotEqual(answer["status"], 0)
        self.assertIn("stopping", control(server, "reload")["error"])
        client.receive_all()
        client.close()
        self.assertEqual(server.wait(), 0)

    def test_a_stop_while_the_loader_is_busy(self):
        server, waiting = self.begin(self.SLOW)
        with self.within(10):
            self.assertEqual(server.stop(), 0)
        answer = waiting.answer()
        self.assertTrue(answer is None or not answer["ok"] and answer["status"], answer)

    @unittest.skipIf(IS_THREAD_SANITIZED, "a thread that is left behind is a leak to it")
    def test_a_stop_while_a_script_loads_for_ever(self):
        server, waiting = self.begin("while true do end")
        with self.within(4 * SLOW):
            self.assertEqual(server.stop(), 0)
        answer = waiting.answer()
        self.assertTrue(answer is None or not answer["ok"] and answer["status"], answer)
        self.assertFalse(socket_path(server).exists())

    def test_a_stop_while_a_worker_prepares(self):
        for number in (1, 2):
            with self.subTest(number):
                server = self.serve(answering(1), "--workers", 2)
                slow = f"""if neap.worker == {number} then note("preparing")
                    local stop = neap.now() + 0.5 while neap.now() < stop do end end"""
                hooks = f"on_start = function() {slow} end, on_stop = function() note('stop') end"
                self.edit(server, answering("new", hooks=hooks))
                waiting = self.begin_reload(server)
                server.wait_log('"preparing"')
                with self.within(10):
                    self.assertEqual(server.stop(), 0)
                answer = waiting.answer()
                self.assertTrue(answer is None or not answer["ok"] and answer["status"], answer)
                self.assertNotIn("stop", server.events())  # that version never served


class Stuck(ReloadTest):
    """A call into C that does not return: the reload is given up, and nothing is worse for it."""

    def test_in_a_hook_and_while_loading(self):
        """Two servers, so that the waiting is done once."""
        fifo = self.folder() / "fifo"
        os.mkfifo(fifo)
        self.addCleanup(self.unstick, fifo)
        script = PRELUDE + """return { framing = "line", hook_timeout = 60, drain_timeout = 1,
            on_message = function(conn, text)
              if text == "@" then return "@" .. neap.worker end
              if text == "stick" then io.open("FIFO", "r"):close() end
              return "TAG:" .. text
            end }""".replace("FIFO", str(fifo))
        flags = ("--workers", 2, "--load-timeout", 0.5)
        hook = self.serve(script.replace("TAG", "1"), *flags)
        load = self.serve(script.replace("TAG", "1"), *flags)
        clients = self.spread(hook, 2)
        clients[1].send(b"stick\n")
        self.edit(hook, script.replace("TAG", "2"))
        self.edit(load, f"io.open('{fifo}', 'r'):close() " + script.replace("TAG", "2"))
        waiting = [self.begin_reload(hook), self.begin_reload(load)]
        for one, pattern in zip(waiting, ("a worker does not answer", "does not return")):
            self.fails(one.answer(), 1, pattern)
        self.says(clients[2], b"1")
        other = self.client(load.address)
        self.says(other, b"1")
        # While the loader sticks: another one.
        self.reload(load, script.replace("TAG", "3"))
        self.says(other, b"3")
        # While the hook sticks: the next is asked for, and goes on when it is free.
        self.edit(hook, script.replace("TAG", "3"))
        late = self.begin_reload(hook)
        until(lambda: control(hook, "reload").get("code") == "EBUSY")
        for _ in range(2):  # whoever reads
            self.unstick(fifo)
        self.assertEqual(self.succeeds(late.answer())["version"], 2)
        self.assertEqual(clients[1].receive_until(b"\n"), b"1:stick\n")
        for client in clients.values():
            self.says(client, b"3")
        for number in range(4, 8):
            for server in (hook, load):
                self.reload(server, script.replace("TAG", str(number)))
            for client in (*clients.values(), other):
                self.says(client, b"%d" % number)

    def unstick(self, fifo):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
                return
            except OSError:
                os.sched_yield()  # nobody reads


if __name__ == "__main__":
    main()
