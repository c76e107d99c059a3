"""The control socket of the real binary: its commands, and who and what is at its path.

P17: 0600 from its first moment, the peer's user is checked, nothing is deleted that is not ours.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

from control import Control, control, socket_path
from neap_server import (
    DEADLINE,
    NEAP,
    PRELUDE,
    SANITIZER,
    Client,
    Server,
    environment,
    main,
)
from reload_test import (
    IS_THREAD_SANITIZED,
    ReloadTest,
    answering,
    line_service,
    services,
    until,
)

ANY = "tcp://127.0.0.1:0"


class CommandTest(ReloadTest):
    def neap(self, server, *words):
        """A command of the command line to that server: status, standard output, error."""
        env = environment(XDG_RUNTIME_DIR=server.temporary.name)
        run = subprocess.run(
            [NEAP, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            env=env,
        )
        self.assertNotRegex(run.stderr, SANITIZER)
        return run.returncode, run.stdout, run.stderr


class Status(CommandTest):
    def test_what_it_has(self):
        server = self.serve(answering(1, options="workers = 2,"), "--log-level", "info")
        clients = [self.client(server.address) for _ in range(4)]
        for client in clients:
            self.says(client, b"1")
        status = self.succeeds(control(server, "status"))
        self.assertEqual(status["name"], "default")
        self.assertEqual(status["pid"], server.process.pid)
        self.assertEqual((status["script"], status["version"]), ("main.lua", 1))
        self.assertRegex(status["hash"], r"^[0-9a-f]{16,}$")
        self.assertRegex(status["lua"], r"^Lua 5\.4|^5\.4")
        self.assertFalse(status["watch"])
        self.assertLess(status["uptime"], DEADLINE)
        self.assertEqual(status["listen"], [{"address": server.address, "service": "main"}])
        self.assertEqual([one["worker"] for one in status["workers"]], [1, 2])
        self.assertEqual(sum(one["connections"] for one in status["workers"]), 4)
        for one in status["workers"]:
            self.assertEqual(one["state"], "serving")
            self.assertGreater(one["lua_memory"], 1000)
            self.assertEqual(one["lua_limit"], 256 << 20)
            self.assertLess(one["loop_lag_ms"], 10000)
        self.assertEqual(status["counters"]["connections"], 4)
        self.assertEqual(status["counters"]["messages"], 4)
        self.assertNotIn("options", status)
        self.assertNotIn("canary", status)

    def test_effective_options_and_their_origin(self):
        script = services(
            a=line_service("a", ANY, more="high_water = '2M', overflow = 'drop',"),
            b=line_service("b", ANY, more="idle_timeout = 7.5,"),
        )
        server = self.serve(script, "--workers", 2, "--load-timeout", 3, listen=None)
        options = {
            one["name"]: (one["value"], one["origin"])
            for one in control(server, "status", effective=True)["options"]
        }
        expected = {
            "workers": (2, "flag"),
            "load_timeout": (3.0, "flag"),
            "hook_timeout": (10.0, "script"),
            "drain_timeout": (30.0, "default"),
            "log_level": ("info", "default"),
            "lua_memory": (256 << 20, "default"),
            "a.high_water": (2 << 20, "script"),
            "a.overflow": ("drop", "script"),
            "b.overflow": ("close", "default"),
            "b.idle_timeout": (7.5, "script"),
            "b.nodelay": (True, "default"),
        }
        self.assertEqual({name: options.get(name) for name in expected}, expected)
        self.assertEqual(options["a.idle_timeout"][1], "default")
        self.assertNotEqual(options["a.idle_timeout"][0], "auto")

    def test_a_limit_that_neap_has_chosen_is_no_script_s(self):
        """max_connections follows from the descriptors when nobody says it."""
        server = self.serve(answering(1))
        options = {
            one["name"]: one for one in control(server, "status", effective=True)["options"]
        }
        self.assertEqual(options["max_connections"]["origin"], "default")

    def test_counters_add_up_over_workers_and_versions(self):
        server = self.serve(answering(1, options="workers = 2,"))
        for number in range(2, 5):
            self.reload(server, answering(number, options="workers = 2,"))
            with Client(server.address) as client:
                self.says(client, b"%d" % number)
        self.assertEqual(control(server, "status")["counters"]["messages"], 3)

    def test_on_the_command_line(self):
        server = self.serve(answering(1))
        code, out, error = self.neap(server, "status")
        self.assertEqual((code, error), (0, ""))
        self.assertIn("main.lua", out)
        code, out, _ = self.neap(server, "status", "--effective")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"hook_timeout.*script")
        code, out, _ = self.neap(server, "status", "--json")
        self.assertEqual(json.loads(out)["pid"], server.process.pid)


class Connections(CommandTest):
    def setUp(self):
        script = services(
            chat=line_service("c", ANY, "udp://127.0.0.1:0"), admin=line_service("a", ANY)
        ).replace("return {", "return { workers = 2,", 1)
        self.server = self.serve(script, listen=None)
        listed = control(self.server, "status")["listen"]
        at = {(one["service"], one["address"][:3]): one["address"] for one in listed}
        self.chat, self.admin = at["chat", "tcp"], at["admin", "tcp"]
        self.datagrams = at["chat", "udp"]

    def rows(self, **arguments):
        answer = self.succeeds(control(self.server, "connections", **arguments))
        return answer["connections"], answer["total"]

    def test_a_row(self):
        client = self.client(self.chat)
        self.says(client, b"c", b"hello")
        rows, total = self.rows()
        self.assertEqual((len(rows), total), (1, 1))
        row = rows[0]
        self.assertIn(row.pop("worker"), (1, 2))
        for name in ("age", "idle"):
            self.assertTrue(0 <= row.pop(name) < DEADLINE)
        self.assertGreater(row.pop("id"), 0)
        expected = {
            "peer": client.name,
            "service": "chat",
            "transport": "tcp",
            "version": 1,
            "received": 6,
            "sent": 8,
            "pending": 0,
            "state": "open",
        }
        self.assertEqual(row, expected)

    def test_service_and_limit(self):
        clients = [self.client(self.chat) for _ in range(5)]
        clients += [self.client(self.admin) for _ in range(3)]
        for client in clients:
            client.send(b"x\n").receive_until(b"\n")
        peer = self.client(self.datagrams).send(b"x")
        peer.datagram()
        self.assertEqual(self.rows()[1], 9)
        rows, total = self.rows(service="admin")
        self.assertEqual(([row["service"] for row in rows], total), (["admin"] * 3, 3))
        rows, total = self.rows(service="chat")
        self.assertEqual(sorted(row["transport"] for row in rows), ["tcp"] * 5 + ["udp"])
        rows, total = self.rows(limit=2)
        self.assertEqual((len(rows), total), (2, 9))
        self.assertEqual(self.rows(service="nobody"), ([], 0))
        for limit in (0, -1, 100001):
            self.fails(control(self.server, "connections", limit=limit), 64, "limit must be")
        code, out, error = self.neap(self.server, "connections", "--service", "admin")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(out.count("admin"), 3)

    def test_ids_are_those_of_the_script(self):
        client = self.client(self.chat)
        self.says(client, b"c")
        number = self.rows()[0][0]["id"]
        answers = set()
        for worker in (1, 2):
            code = "local t = {} for c in neap.connections() do t[#t + 1] = c.id end return t[1]"
            answer = control(
                self.server, "eval", code=f"local neap = require 'neap' {code}", worker=worker
            )
            answers.add(tuple(self.succeeds(answer)["results"]))
        self.assertEqual(answers, {(str(number),), ("nil",)})


class Kick(CommandTest):
    def test_one_and_no_other(self):
        hook = "on_disconnect = function(conn, reason) note('end', reason, conn.id) end"
        server = self.serve(answering(1, options="workers = 2,", hooks=hook))
        clients = [self.client(server.address) for _ in range(6)]
        for client in clients:
            self.says(client, b"1")
        rows = control(server, "connections")["connections"]
        numbers = {row["peer"]: row["id"] for row in rows}
        kicked = clients.pop(3)
        number = numbers[kicked.name]
        self.assertEqual(control(server, "kick", id=number), {"ok": True, "id": number})
        self.assertEqual(kicked.receive_all(), b"")
        kicked.close()
        server.wait_log(f'"end kicked {number}"')
        for client in clients:
            self.says(client, b"1")
        self.assertEqual(len(control(server, "connections")["connections"]), 5)
        self.assertEqual(server.events(), [f"end kicked {number}"])

    def test_nobody(self):
        server = self.serve(answering(1))
        for number in (1, 0, -5, 1 << 50):
            answer = self.fails(control(server, "kick", id=number), 1, "no connection")
            self.assertEqual(answer["code"], "ENOENT")
        self.fails(control(server, "kick"), 64, "id")
        self.fails(control(server, "kick", id="1"), 64, "id")
        self.assertEqual(self.neap(server, "kick", "7")[0], 1)

    def test_a_datagram_peer(self):
        hook = "on_disconnect = function(_, reason) note('end', reason) end"
        server = self.serve(PRELUDE + f"return {{ {hook} }}", listen="udp://127.0.0.1:0")
        self.client(server.address).send(b"x")
        row = until(lambda: control(server, "connections")["connections"])[0]
        self.succeeds(control(server, "kick", id=row["id"]))
        server.wait_log('"end kicked"')

    def test_output_is_delivered_first(self):
        server = self.serve(
            "return { hook_timeout = 10, "
            "on_message = function(c) c:write(('x'):rep(1 << 20)) end }"
        )
        client = self.client(server.address, receive_buffer=4096).send(b"x")
        client.receive(1)
        row = control(server, "connections")["connections"][0]
        self.succeeds(control(server, "kick", id=row["id"]))
        self.assertEqual(len(client.receive_all()), (1 << 20) - 1)


class Eval(CommandTest):
    def eval(self, server, code, **arguments):
        return control(server, "eval", code=code, **arguments)

    def test_results_and_output(self):
        server = self.serve("secret = 17 local neap = require 'neap' return {}")
        cases = {
            "1 + 1": (["2"], []),
            "return 1, nil, 'two', {} ~= nil": (["1", "nil", "two", "true"], []),
            "print('a', 2) print('b')": ([], ["a\t2", "b"]),
            "local x = 5; return x * 2": (["10"], []),
            "secret": (["17"], []),
            "require('neap').script.version": (["1"], []),
            "": ([], []),
        }
        for code, (results, output) in cases.items():
            with self.subTest(code):
                answer = self.succeeds(self.eval(server, code))
                self.assertEqual((answer["results"], answer["output"]), (results, output))

    def test_what_is_assigned_stays_for_the_next_piece_and_not_for_the_script(self):
        script = "return { framing = 'line', on_message = function() return tostring(_G.mine) end }"
        server = self.serve(script)
        self.succeeds(self.eval(server, "mine = 3"))
        self.assertEqual(self.eval(server, "mine")["results"], ["3"])
        client = self.client(server.address)
        self.assertEqual(client.send(b"x\n").receive_until(b"\n"), b"nil\n")

    def test_errors(self):
        server = self.serve(answering(1))
        for code, pattern in {
            "1 +": "eval:1|near",
            "error('my own')": "my own",
            "nothing.here": "nil value",
            "error({})": "error",
        }.items():
            with self.subTest(code):
                answer = self.fails(self.eval(server, code), 65, pattern)
                self.assertEqual(answer["code"], "EEVAL")
        self.says(self.client(server.address), b"1")

    def test_in_a_worker_of_ones_choice(self):
        server = self.serve(answering(1, options="workers = 3,"))
        for number in (1, 2, 3):
            answer = self.eval(server, "require('neap').worker", worker=number)
            self.assertEqual(answer["results"], [str(number)])
        self.assertEqual(self.eval(server, "require('neap').worker")["results"], ["1"])
        for number in (0, 4, -1):
            self.fails(self.eval(server, "1", worker=number), 64, "there is no worker")

    def test_it_runs_in_the_version_that_serves(self):
        server = self.serve("tag = 'one' return {}")
        self.assertEqual(self.eval(server, "tag")["results"], ["one"])
        self.reload(server, "tag = 'two' return {}")
        self.assertEqual(self.eval(server, "tag")["results"], ["two"])

    def test_it_can_talk_to_connections(self):
        server = self.serve("return { framing = 'line' }")
        client = self.client(server.address)
        until(lambda: control(server, "connections")["total"])
        code = "for c in require('neap').connections() do c:send('hello') end"
        self.succeeds(self.eval(server, code))
        self.assertEqual(client.receive_until(b"\n"), b"hello\n")

    def test_one_that_does_not_end_is_stopped(self):
        if IS_THREAD_SANITIZED:
            self.skipTest("it holds back the signal that would stop it")
        script = answering(1).replace("hook_timeout = 10", "hook_timeout = 0.1")
        server = self.serve(script)
        client = self.client(server.address)
        protected = "while true do pcall(function() while true do end end) end"
        for code in ("while true do end", protected):
            with self.within(10):
                self.fails(self.eval(server, code), 65, "hook_timeout")
            self.says(client, b"1")
        self.reload(server, answering(2))

    def test_one_that_takes_all_memory_is_stopped(self):
        server = self.serve(answering(1, options="lua_memory = '16M',"))
        code = "local t = {} while true do t[#t + 1] = ('x'):rep(1 << 16) .. #t end"
        self.fails(self.eval(server, code), 65, "memory")
        self.says(self.client(server.address), b"1")

    def test_much_output_is_cut(self):
        server = self.serve(answering(1, options="log_level = 'info',"))
        answer = self.succeeds(self.eval(server, "for i = 1, 100 do print(('x'):rep(1e5)) end"))
        self.assertLess(len(json.dumps(answer)), 5 << 20)
        self.assertIn("left out", answer["output"][-1])

    def test_bytes_that_are_no_text(self):
        server = self.serve(answering(1))
        answer = self.succeeds(self.eval(server, "'a\\0b\\255c\\27'"))
        self.assertEqual(answer["results"], ["a\0b\ufffdc\x1b"])

    def test_on_the_command_line(self):
        server = self.serve(answering(1))
        self.assertEqual(self.neap(server, "eval", "1 + 1, 'x'"), (0, "2\nx\n", ""))
        code, out, error = self.neap(server, "eval", "error('no')")
        self.assertEqual((code, out), (65, ""))
        self.assertIn("no", error)


class LogLevel(CommandTest):
    def test_it_changes_at_once(self):
        hooks = "on_connect = function() neap.log.debug('seen') neap.log.warn('warned') end"
        server = self.serve(answering(1, hooks=hooks))
        answer = self.succeeds(control(server, "log-level", level="debug"))
        self.assertEqual((answer["level"], answer["previous"]), ("debug", "info"))
        self.says(self.client(server.address), b"1")
        server.wait_log("seen")
        answer = self.succeeds(control(server, "log-level", level="error"))
        self.assertEqual(answer["previous"], "debug")
        self.says(self.client(server.address), b"1")
        self.succeeds(control(server, "log-level", level="info"))
        server.stop()
        self.assertEqual((server.count_log("seen"), server.count_log("warned")), (1, 1))

    def test_there_are_four(self):
        server = self.serve(answering(1))
        for level in ("loud", "", "INFO"):
            self.fails(control(server, "log-level", level=level), 64, "debug, info, warn or error")
        answer = self.neap(server, "log-level", "warn")
        self.assertEqual(answer, (0, "log level info -> warn\n", ""))


class Stop(CommandTest):
    def test_it_is_answered_when_all_are_gone(self):
        server = self.serve(
            PRELUDE + """return { framing = "line", high_water = "64M", max_output = "64M",
              hook_timeout = 10,
              on_message = function(c) c:write(("x"):rep(16 << 20)) note("queued") end,
              on_stop = function(reason) note("stop", reason) end }"""
        )
        client = self.client(server.address, receive_buffer=4096).send(b"x\n")
        server.wait_log('"queued"')
        one = Control(server)
        self.addCleanup(one.close)
        one.send("stop", id="s")
        server.wait_log('"stop shutdown"')
        server.wait_log('msg="stopping: neap stop: no new connections')
        again = control(server, "stop")
        self.assertEqual((again["ok"], again["code"]), (False, "EBUSY"))
        self.assertEqual(len(client.receive_all()), 16 << 20)
        client.close()
        self.assertEqual(one.answer(), {"ok": True, "connections": 1, "id": "s"})
        self.assertIsNone(one.answer())
        self.assertEqual(server.wait(), 0)
        self.assertFalse(socket_path(server).exists())

    def test_on_the_command_line(self):
        server = self.serve(answering(1))
        self.says(self.client(server.address), b"1")
        code, out, error = self.neap(server, "stop")
        self.assertEqual((code, error), (0, ""))
        self.assertIn("1", out)
        self.assertEqual(server.wait(), 0)
        self.assertEqual(self.neap(server, "stop")[0], 69)

    def test_one_who_went_away_does_not_matter(self):
        server = self.serve(answering(1))
        with Control(server) as one:
            one.send("stop")
        self.assertEqual(server.wait(), 0)


class Protocol(CommandTest):
    def test_several_requests_on_a_connection(self):
        server = self.serve(answering(1))
        with Control(server) as one:
            for number in range(10):
                one.send(("status", "versions", "connections")[number % 3], id=number)
            answers = [one.answer() for _ in range(10)]
        self.assertEqual(sorted(answer["id"] for answer in answers), list(range(10)))
        self.assertTrue(all(answer["ok"] for answer in answers))

    def test_mistakes_leave_the_connection_open(self):
        server = self.serve(answering(1))
        with Control(server) as one:
            for line, pattern in {
                b"": "JSON|object",
                b"{": "JSON",
                b"[]": "object",
                b'{"command":"relod"}': "did you mean 'reload'",
                b'{"command":"reload","canry":"10%"}': "did you mean 'canary'",
                b'{"command":"kick","id":1.5}': "id",
                b'{"command":"eval"}': "code",
                b'{"command":"status","effective":1}': "effective",
            }.items():
                with self.subTest(line):
                    self.fails(one.send_line(line).answer(), 64, pattern)
            self.succeeds(one.send("status").answer())

    def test_many_clients_at_once(self):
        server = self.serve(answering(1))

        def ask():
            with Control(server) as one:
                for _ in range(30):
                    if not one.send("status").answer()["ok"]:
                        raise AssertionError("no")
            return True

        for result in [self.in_background(ask) for _ in range(16)]:
            self.assertTrue(result())

    def test_a_client_that_reads_nothing_holds_nobody_up(self):
        server = self.serve(answering(1))
        with Control(server) as deaf:
            data = b'{"command":"eval","code":"(\'x\'):rep(1e6)"}\n' * 16
            deaf.socket.sendall(data)
            for _ in range(10):
                self.succeeds(control(server, "status"))
            self.reload(server, answering(2))
            self.says(self.client(server.address), b"2")


class Places(CommandTest):
    """What may be at the path of the socket."""

    def start(self, runtime, *args, status=0):
        """A server in a runtime folder of the test's choice, which need not become ready."""
        server = Server(
            answering(1), *args, env={"XDG_RUNTIME_DIR": str(runtime)}, status=status
        )
        self.addCleanup(self.finish, server)
        return server

    def refused(self, runtime, pattern, status=71, name="mine"):
        """With a name that was asked for it is refused; without one it serves, and warns."""
        server = self.start(runtime, "--name", name, status=status)
        self.assertEqual(server.wait(), status)
        self.assertRegex(str(server), pattern)
        self.assertEqual(server.count_log('msg="ready"'), 0)

    def test_modes(self):
        server = self.serve(answering(1))
        path = socket_path(server)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)

    def test_modes_do_not_depend_on_the_umask(self):
        for mask in (0, 0o777):
            with self.subTest(oct(mask)):
                folder = self.folder()
                (folder / "main.lua").write_text(answering(1))
                server = Server(
                    Path(folder / "main.lua"), preexec_fn=lambda: os.umask(mask) and None
                )
                self.addCleanup(self.finish, server)
                server.wait_ready()
                path = socket_path(server)
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
                self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)

    def test_a_name_of_its_own(self):
        server = self.serve(answering(1), "--name", "chat-2.test_x")
        path = socket_path(server, "chat-2.test_x")
        with Control(path) as one:
            self.assertEqual(one.send("status").answer()["name"], "chat-2.test_x")
        self.assertEqual(server.stop(), 0)
        self.assertFalse(path.exists())

    def test_names_that_are_none(self):
        for name in (".hidden", "a/b", "", "x" * 65, "a b"):
            with self.subTest(name):
                self.refused(self.folder(), "a name has letters", status=64, name=name)

    def test_a_second_one_of_the_same_name_is_refused_and_the_first_untouched(self):
        runtime = self.folder()
        first = self.start(runtime, "--name", "mine")
        first.wait_ready()
        path = runtime / "neap" / "mine.sock"
        number = path.stat().st_ino
        self.refused(runtime, "another neap serves under the name 'mine'")
        self.assertEqual(path.stat().st_ino, number)
        with Control(path) as one:
            self.assertEqual(one.send("status").answer()["pid"], first.process.pid)
        self.says(self.client(first.address), b"1")

    def test_a_second_one_without_a_name_serves_with_a_warning(self):
        runtime = self.folder()
        servers = []
        for _ in range(2):
            servers.append(self.start(runtime))
            servers[-1].wait_ready()
        servers[1].wait_log("level=warn.*no control socket: another neap serves under the name")
        for server in servers:
            self.says(self.client(server.address), b"1")
        path = runtime / "neap" / "default.sock"
        with Control(path) as one:
            self.assertEqual(one.send("status").answer()["pid"], servers[0].process.pid)
        self.assertEqual(servers[1].stop(), 0)
        self.assertTrue(path.exists())
        self.assertEqual(servers[0].stop(), 0)
        self.assertFalse(path.exists())

    def test_several_at_the_same_moment(self):
        runtime = self.folder()
        servers = [self.start(runtime) for _ in range(6)]
        for server in servers:
            server.wait_ready()
        warned = sum(server.count_log("no control socket") for server in servers)
        self.assertEqual(warned, 5)
        with Control(runtime / "neap" / "default.sock") as one:
            pid = one.send("status").answer()["pid"]
        self.assertIn(pid, [server.process.pid for server in servers])

    def test_a_stale_socket_is_replaced(self):
        """Of a server that was killed."""
        runtime = self.folder()
        for _ in range(2):
            server = self.start(runtime, "--name", "mine", status=-signal.SIGKILL)
            server.wait_ready()
            server.process.kill()
            server.wait()
            self.assertTrue((runtime / "neap" / "mine.sock").exists())
        server = self.start(runtime, "--name", "mine")
        server.wait_ready()
        with Control(runtime / "neap" / "mine.sock") as one:
            self.assertEqual(one.send("status").answer()["pid"], server.process.pid)

    def planted(self, plant, pattern):
        runtime = self.folder()
        (runtime / "neap").mkdir(mode=0o700)
        path = runtime / "neap" / "mine.sock"
        plant(path)
        before = os.lstat(path)
        self.refused(runtime, pattern)
        after = os.lstat(path)
        self.assertEqual((before.st_ino, before.st_mode), (after.st_ino, after.st_mode))

    def test_a_file_at_the_path_is_left_alone(self):
        self.planted(lambda path: path.write_text("mine"), "something else")
        self.planted(lambda path: path.mkdir(), "something else")
        self.planted(os.mkfifo, "something else")

    def test_a_link_at_the_path_is_left_alone(self):
        target = self.folder() / "target"
        self.planted(lambda path: path.symlink_to(target), "something else")
        self.assertFalse(target.exists())
        target.write_text("precious")
        self.planted(lambda path: path.symlink_to(target), "something else")
        self.assertEqual(target.read_text(), "precious")

    def test_without_a_name_what_is_planted_is_warned_of(self):
        runtime = self.folder()
        (runtime / "neap").mkdir(mode=0o700)
        path = runtime / "neap" / "default.sock"
        path.write_text("mine")
        server = self.start(runtime)
        server.wait_ready()
        server.wait_log("level=warn.*no control socket: .*something else")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(path.read_text(), "mine")

    def test_a_folder_that_is_a_link_or_open_to_others_is_refused(self):
        runtime, other = self.folder(), self.folder()
        (runtime / "neap").symlink_to(other)
        self.refused(runtime, "is no folder")
        self.assertEqual(list(other.iterdir()), [])
        for mode in (0o770, 0o707, 0o1777):
            runtime = self.folder()
            (runtime / "neap").mkdir()
            (runtime / "neap").chmod(mode)
            self.refused(runtime, "others may write", status=77)
            self.assertEqual(list((runtime / "neap").iterdir()), [])

    def test_a_file_of_another_that_took_the_place_is_not_removed(self):
        server = self.serve(answering(1))
        path = socket_path(server)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            self.assertEqual(server.stop(), 0)
            self.assertTrue(path.exists())

    def test_no_place_for_a_folder(self):
        runtime = self.folder() / "missing"
        self.refused(runtime, "cannot make the folder")


class Users(CommandTest):
    """Another user may not even ask."""

    ASK = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
one = socket.socket(socket.AF_UNIX)
try:
    one.connect(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
else:
    one.settimeout(20)
    try:
        one.sendall(b'{"command":"eval","code":"1"}\\n')
    except OSError:
        pass
    print(one.makefile().readline())
"""

    def setUp(self):
        if os.geteuid():
            self.skipTest("only root can be somebody else")

    def ask(self, path):
        run = subprocess.run(
            [sys.executable, "-B", "-c", self.ASK, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            cwd="/",
        )
        return run.stdout + run.stderr

    def test_the_file_and_the_folder_keep_them_out(self):
        server = self.serve(answering(1))
        os.chmod(server.temporary.name, 0o755)
        self.assertIn("PermissionError", self.ask(socket_path(server)))

    def test_the_socket_asks_who_it_is(self):
        """Even if somebody has opened the way."""
        server = self.serve(answering(1))
        path = socket_path(server)
        for place, mode in ((server.temporary.name, 0o755), (path.parent, 0o755), (path, 0o666)):
            os.chmod(place, mode)
        answer = self.ask(path).strip()
        self.assertEqual(answer.count("\n"), 0, answer)
        answer = json.loads(answer)
        self.assertEqual((answer["ok"], answer["code"]), (False, "EPERM"))
        server.wait_log("65534")
        self.succeeds(control(server, "status"))

    def test_a_folder_and_a_socket_of_another_are_refused(self):
        runtime = self.folder()
        (runtime / "neap").mkdir(mode=0o700)
        os.chown(runtime / "neap", 65534, 65534)
        path = runtime / "neap" / "mine.sock"
        self.refuses(runtime, "belongs to user 65534")
        os.chown(runtime / "neap", 0, 0)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            os.chown(path, 65534, 65534)
            self.refuses(runtime, "belongs to user 65534")
            self.assertEqual(path.stat().st_uid, 65534)

    def refuses(self, runtime, pattern):
        server = Server(
            answering(1), "--name", "mine", env={"XDG_RUNTIME_DIR": str(runtime)}, status=77
        )
        self.addCleanup(self.finish, server)
        self.assertEqual(server.wait(), 77)
        self.assertRegex(str(server), pattern)


if __name__ == "__main__":
    main()
