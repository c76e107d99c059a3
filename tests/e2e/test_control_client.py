"""The commands that talk to a running server: requests, answers as text, failures."""

import json
import os
import re
import signal
import socket
import subprocess
import threading

from fake_control import NO_ANSWER, REFUSED, ControlTest
from neap_server import DEADLINE, NEAP, main

CHANGE = {
    "ok": True,
    "version": 7,
    "previous": 6,
    "hash": "3f2a9c01b2d4e5f6",
    "ms": 3,
    "connections": 1204,
    "timers_ended": 2,
    "files_changed": ["chat.lua", "lib/words.lua"],
    "listeners_opened": ["tcp://127.0.0.1:7001"],
    "listeners_closed": ["tcp://127.0.0.1:7000"],
    "ignored": [{"option": "workers", "why": "fixed for the life of the process"}],
    "warnings": ["on_idle is gone, and 12 connections have one"],
}
CHANGED = """version 6 -> 7 in 3 ms, 1204 connections kept, 2 timers ended
  changed chat.lua
  changed lib/words.lua
  opened tcp://127.0.0.1:7001
  closed tcp://127.0.0.1:7000
  ignored workers: fixed for the life of the process
  warning: on_idle is gone, and 12 connections have one
"""
STATUS = {
    "ok": True,
    "name": "default",
    "pid": 4711,
    "neap": "0.1.0",
    "lua": "5.4.4",
    "libev": "4.33",
    "uptime": 192.7,
    "script": "chat.lua",
    "version": 7,
    "hash": "3f2a9c01b2d4e5f6",
    "watch": True,
    "listen": [
        {"address": "tcp://127.0.0.1:4343", "service": "chat"},
        {"address": "udp://127.0.0.1:4343", "service": "chat"},
    ],
    "workers": [
        {
            "worker": number,
            "state": "serving",
            "connections": 600 + number,
            "peers": 12,
            "loop_lag_ms": 0.25,
            "lua_memory": 1258291,
            "lua_limit": 67108864,
            "buffered": 0,
        }
        for number in (1, 10)
    ],
    "counters": {"accepted": 1204, "refused": 0, "hook_errors": 3},
}
STATUS_TEXT = """name      default
pid       4711
uptime    3 m 12 s
neap      0.1.0 (Lua 5.4.4, libev 4.33)
script    chat.lua, watched
version   7 (3f2a9c01b2d4)
listens   tcp://127.0.0.1:4343 (chat)
          udp://127.0.0.1:4343 (chat)

worker  state    connections  peers  loop lag ms  Lua memory  Lua limit  buffered
     1  serving          601     12         0.25     1.2 MiB   64.0 MiB       0 B
    10  serving          610     12         0.25     1.2 MiB   64.0 MiB       0 B

counter      number
accepted       1204
hook_errors       3
"""
CANARY = {
    "version": 8,
    "share": "10%",
    "peer": None,
    "connections": 31,
    "hooks": 1200,
    "errors": 1,
}
EFFECTIVE = {
    **STATUS,
    "options": [
        {"name": "workers", "value": "2", "origin": "flag"},
        {"name": "idle_timeout", "value": "60", "origin": "script"},
    ],
}
VERSIONS = {
    "ok": True,
    "versions": [
        {
            "version": 9,
            "hash": "3f2a9c01b2d4e5f6",
            "age": 12.9,
            "state": "serving",
            "same_as": 6,
            "files": [{"path": "chat.lua", "bytes": 10}, {"path": "lib/x.lua", "bytes": 20}],
            "connections": 5,
            "waiting": 0,
            "functions": 0,
        },
        {
            "version": 8,
            "hash": "aaaaaaaaaaaaaaaa",
            "age": 93784,
            "state": "held",
            "files": [{"path": "chat.lua", "bytes": 10}],
            "connections": 1200,
            "waiting": 3,
            "places": {"chat.lua:12": 2, "chat.lua:30": 1},
            "functions": 2,
        },
    ],
}
VERSIONS_TEXT = """\
version  hash              age  state               connections  waiting  functions  files
      9  3f2a9c01b2d4     12 s  serving, same as 6            5        0          0\
  chat.lua and 1 more
      8  aaaaaaaaaaaa  1 d 2 h  held                       1200        3          2  chat.lua

version  waiting  at
      8        2  chat.lua:12
      8        1  chat.lua:30
"""
CONNECTION = {
    "id": 17,
    "peer": "127.0.0.1:51512",
    "service": "chat",
    "transport": "tcp",
    "version": 7,
    "worker": 1,
    "age": 3600,
    "idle": 0.4,
    "received": 1023,
    "sent": 1048575,
    "pending": 5 << 30,
    "state": "open",
}
CONNECTIONS = {"ok": True, "connections": [CONNECTION], "total": 1}
CONNECTIONS_TEXT = """\
id  peer             service  transport  version  worker      age  idle  received     sent\
  pending  state
17  127.0.0.1:51512  chat     tcp              7       1  1 h 0 m   0 s    1023 B  1.0 MiB\
  5.0 GiB  open
"""
# What is typed, what is sent, what comes back, what is printed.
CASES = [
    (["reload"], {"command": "reload"}, CHANGE, CHANGED),
    (
        ["reload", "--canary", "10%", "--auto"],
        {"command": "reload", "canary": "10%", "auto": True},
        {**CHANGE, "canary": CANARY},
        CHANGED.replace(
            "ended\n",
            "ended\n  canary version 8 for 10% of new connections, 31 connections, 1200 hooks, "
            "1 error\n",
        ),
    ),
    (
        ["reload", "--canary-peer", "10.0.0.0/8"],
        {"command": "reload", "canary_peer": "10.0.0.0/8"},
        {"ok": True, "version": 2, "previous": 1, "connections": 1, "timers_ended": 1, "ms": 0.7},
        "version 1 -> 2 in 0.7 ms, 1 connection kept, 1 timer ended\n",
    ),
    (["rollback"], {"command": "rollback"}, CHANGE, CHANGED),
    (
        ["rollback", "6"],
        {"command": "rollback", "version": 6},
        {**CHANGE, "same_as": 6},
        CHANGED.replace("6 -> 7", "6 -> 7, same as 6,"),
    ),
    (["promote"], {"command": "promote"}, CHANGE, CHANGED),
    (["status"], {"command": "status"}, STATUS, STATUS_TEXT),
    (
        ["status"],
        {"command": "status"},
        {**STATUS, "canary": {**CANARY, "share": None, "peer": "10.0.0.0/8"}, "watch": False},
        STATUS_TEXT.replace(", watched", "").replace(
            "listens",
            "canary    version 8 from 10.0.0.0/8, 31 connections, 1200 hooks, 1 error\nlistens",
        ),
    ),
    (
        ["status", "--effective"],
        {"command": "status", "effective": True},
        EFFECTIVE,
        "option        value  origin\nworkers       2      flag\nidle_timeout  60     script\n",
    ),
    (["versions"], {"command": "versions"}, VERSIONS, VERSIONS_TEXT),
    (["connections"], {"command": "connections"}, CONNECTIONS, CONNECTIONS_TEXT),
    (
        ["connections", "--service", "chat", "--limit", "5"],
        {"command": "connections", "service": "chat", "limit": 5},
        CONNECTIONS,
        CONNECTIONS_TEXT,
    ),
    (
        ["kick", "17"],
        {"command": "kick", "id": 17},
        {"ok": True, "id": 17},
        "connection 17 closed\n",
    ),
    (
        ["eval", "1+1"],
        {"command": "eval", "code": "1+1"},
        {"ok": True, "results": ["2", "a\nb"], "output": ["one", "two"]},
        "one\ntwo\n2\na\nb\n",
    ),
    (
        ["eval", "--worker", "2", "x = 1"],
        {"command": "eval", "code": "x = 1", "worker": 2},
        {"ok": True, "results": [], "output": []},
        "",
    ),
    (
        ["stop"],
        {"command": "stop"},
        {"ok": True, "connections": 1204},
        "stopped, 1204 connections served\n",
    ),
    (
        ["log-level", "debug"],
        {"command": "log-level", "level": "debug"},
        {"ok": True, "level": "debug", "previous": "info"},
        "log level info -> debug\n",
    ),
]
WORDS = [words for words, *_ in CASES]


class Commands(ControlTest):
    def test_request_and_text_of_each_command(self):
        for words, request, answer, text in CASES:
            with self.subTest(words):
                server = self.fake(answer)
                self.says(0, text, "", *words)
                self.assertEqual(server.requests(), [request])
                self.assertTrue(server.lines[0].endswith(b"}\n"))
                server.close()

    def test_every_command_is_tried_here(self):
        tried = {words[0] for words in WORDS} | {"console"}
        told = subprocess.run([NEAP, "help"], stdout=subprocess.PIPE, text=True).stdout
        listed = re.findall(r"^  ([\w-]+) {2,}\w", told[told.index("Commands:") :], re.M)
        local = {"run", "check", "send", "version", "help", "completion"}
        for name in listed:
            help_text = subprocess.run([NEAP, "help", name], stdout=subprocess.PIPE, text=True)
            if "the server that neap run --name" in help_text.stdout:
                self.assertIn(name, tried)
        self.assertEqual(tried & set(listed), tried)
        self.assertEqual(tried & local, set())

    def test_error_of_each_command(self):
        for words in WORDS:
            with self.subTest(words):
                server = self.fake(REFUSED)
                self.says(66, "", "no such thing\n", *words)
                server.close()

    def test_json_of_each_command_is_the_answer(self):
        for words, _, answer, _ in CASES:
            for said, status in ((answer, 0), (REFUSED, 66)):
                with self.subTest(words, status=status):
                    server = self.fake(said)
                    run = self.neap(*words, "--json")
                    self.assertEqual((run.returncode, run.stderr), (status, ""))
                    self.assertEqual(run.stdout.count("\n"), 1)
                    self.assertEqual(list(json.loads(run.stdout).items()), list(said.items()))
                    server.close()

    def test_json_has_numbers_as_they_were(self):
        line = '{"ok":true,"a":0.1,"b":9007199254740993,"c":12.5,"d":null}\n'
        self.fake(line.encode())
        self.says(0, line, "", "status", "--json")

    def test_members_that_are_missing_or_of_another_type(self):
        wrong = [{}, [], None, True, "x", -1.5, 1e300]
        for words, _, answer, _ in CASES:
            for value in wrong:
                with self.subTest(words, value=value):
                    spoilt = {key: value for key in answer}
                    server = self.fake({**spoilt, "ok": True})
                    self.assertEqual(self.neap(*words).returncode, 0)
                    server.close()
            for key, inner in answer.items():
                if not isinstance(inner, list):
                    continue
                for value in wrong:
                    with self.subTest(words, key=key, value=value):
                        server = self.fake({**answer, key: [value, {"state": value}]})
                        self.assertEqual(self.neap(*words).returncode, 0)
                        server.close()

    def test_more_connections_than_are_shown(self):
        self.fake({**CONNECTIONS, "total": 12044})
        note = "neap: these are 1 of 12044 connections; --limit shows more\n"
        self.says(0, CONNECTIONS_TEXT, note, "connections")

    def test_nobody_connected(self):
        self.fake({"ok": True, "connections": [], "total": 0})
        run = self.neap("connections")
        self.assertRegex(run.stdout, r"\Aid  peer .*  state\n\Z")

    def test_name_in_a_flag_and_in_the_environment(self):
        answer = {"ok": True, "id": 1}
        flag = self.fake(answer, answer, name="a-b_c.1")
        variable = self.fake(answer, name="other")
        env = {"NEAP_NAME": "other"}
        for words in (["--name", "a-b_c.1"], [], ["--name", "a-b_c.1"]):
            self.says(0, "connection 1 closed\n", "", "kick", "1", *words, env=env)
        self.assertEqual((len(flag.lines), len(variable.lines)), (2, 1))


class Errors(ControlTest):
    def test_text_with_several_lines(self):
        text = "error: attempt to call a nil value\n  --> chat.lua:42\n   41 |\tlocal x = '\\n'\n"
        self.fake({"ok": False, "error": text, "code": "ELOAD", "status": 65})
        self.says(65, "", text, "reload")

    def test_status_that_is_none(self):
        for status in (0, -1, 256, 1.5, "65", None):
            with self.subTest(status):
                server = self.fake({"ok": False, "error": "no", "status": status})
                self.says(1, "", "no\n", "reload")
                server.close()

    def test_no_text(self):
        for error in (None, "", 7):
            with self.subTest(error):
                server = self.fake({"ok": False, "error": error, "status": 65})
                note = "neap: the server says that it failed, and not why\n"
                self.says(65, "", note, "reload")
                server.close()

    def test_no_server(self):
        path = self.runtime / "neap" / "default.sock"
        message = (
            "neap: no neap serves under the name '{}' ({}: {}); start one with neap run, or name "
            "it with --name\n"
        )
        for words in [*WORDS, ["console"]]:
            with self.subTest(words):
                missing = message.format("default", path, "No such file or directory")
                self.says(69, "", missing, *words)
        other = message.format("x", path.with_name("x.sock"), "No such file or directory")
        self.says(69, "", other, "status", "--name", "x", "--json")

    def test_server_that_left_its_socket_behind(self):
        server = self.fake()
        server.socket.shutdown(socket.SHUT_RDWR)
        server.socket.close()
        run = self.neap("status")
        self.assertEqual(run.returncode, 69)
        self.assertIn(f"({server.path}: Connection refused); start one", run.stderr)

    def test_server_that_closes(self):
        message = "neap: the server closed the connection without an answer\n"
        for answer in (NO_ANSWER, b'{"ok":true', lambda client: None):
            with self.subTest(answer=answer):
                server = self.fake(answer)
                self.says(74, "", message, "stop")
                server.close()

    def test_server_that_says_no_before_it_reads(self):
        refusal = {"ok": False, "error": "this server is not yours", "code": "EPERM", "status": 77}
        server = self.fake()
        server.converse = lambda client, _: client.sendall(json.dumps(refusal).encode() + b"\n")
        line = b"x" * 1000000  # more than a socket takes by itself
        self.says(77, "", "this server is not yours\n", "console", input=line)

    def test_garbage(self):
        message = "neap: the server's answer is not a JSON object that says whether it is ok\n"
        for garbage in (
            b"\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x00\xff\x1b[2J\n",
            b"[]\n",
            b"7\n",
            b"{}\n",
            b'{"ok":1}\n',
            b'{"ok":true} {"ok":true}\n',
            b'{"ok":true,"error":"\xff"}\n',
            b"[" * 100000 + b"\n",
        ):
            with self.subTest(garbage[:40]):
                server = self.fake(garbage)
                self.says(74, "", message, "reload")
                server.close()

    def test_answer_of_16_mib_and_no_more(self):
        frame = b'{"ok":true,"results":[],"output":["%s"]}\n'
        room = (16 << 20) - len(frame) + 2
        server = self.fake(frame % (b"x" * room))
        self.says(0, "x" * room + "\n", "", "eval", "1")
        server.close()
        message = "neap: the server's answer is longer than 16 MiB\n"
        for answer in (frame % (b"x" * (room + 1)), b"x" * (17 << 20)):
            server = self.fake(answer)
            self.says(74, "", message, "eval", "1")
            server.close()

    def test_request_of_1_mib_and_no_more(self):
        # The kernel takes no argument that long, but a line.
        room = (1 << 20) - len('{"command":"eval","code":""}\n')
        server = self.fake({"ok": True, "results": ["1"], "output": []})
        lines = b"x" * room + b"\n" + b"x" * (room + 1) + b"\n"
        message = "neap: a request may have no more than 1 MiB\n"
        self.says(64, "1\n", message, "console", input=lines)
        self.assertEqual([len(line) for line in server.lines], [1 << 20])

    def test_no_answer_in_time(self):
        for words in (["eval", "1"], ["reload"]):
            with self.subTest(words), self.within(DEADLINE / 2):
                server = self.fake(lambda client: client.recv(1))
                message = "no answer in 0.05 s; it may still be done (--timeout waits longer)"
                self.says(1, "", f"neap: {message}\n", *words, "--timeout", "0.05")
                server.close()

    def test_answer_that_trickles_in_is_late_too(self):
        def trickle(client):
            while True:  # until the client is gone
                client.sendall(b" ")

        self.fake(trickle)
        run = self.neap("status", "--timeout", "0.05")
        # What is so fast may also be too long first.
        self.assertIn(run.returncode, (1, 74))

    def test_interrupt_ends_it_as_usual(self):
        asked = threading.Event()

        def wait(client):
            asked.set()
            client.recv(1)

        self.fake(wait)
        process = subprocess.Popen([NEAP, "reload"], env=self.environment())
        self.assertTrue(asked.wait(DEADLINE))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE), -signal.SIGINT)


class Usage(ControlTest):
    def test_operands(self):
        number = "must be a whole number from 1 on"
        for words, message in (
            (["kick"], "kick needs the ID of a connection; neap connections lists them"),
            (["kick", "x"], f"kick 'x': {number}"),
            (["kick", "0"], f"kick '0': {number}"),
            (["kick", "99999999999999999999"], f"kick '99999999999999999999': {number}"),
            (["kick", "1", "2"], "unexpected argument '2'; try 'neap help kick'"),
            (["rollback", "six"], f"rollback 'six': {number}"),
            (["eval"], "eval needs CODE; neap console reads line after line"),
            (["eval", b"\xff"], "eval '\udcff': must be UTF-8"),
            (["eval", "1", "--worker", "0"], f"--worker '0': {number}"),
            (["connections", "--limit", "-1"], f"--limit '-1': {number}"),
            (["log-level"], "log-level needs a level: debug, info, warn or error"),
            (["log-level", "inof"], "log-level 'inof': unknown; did you mean 'info'?"),
            (
                ["status", "--timeout", "soon"],
                "--timeout 'soon': must be a number of seconds, at most 1000000; 0 waits for ever",
            ),
            (["status", "x"], "unexpected argument 'x'; try 'neap help status'"),
            (["reload", "--auot"], "unknown flag '--auot'; did you mean '--auto'?"),
        ):
            with self.subTest(words):
                self.says(64, "", f"neap: {message}\n", *words)

    def test_names_that_are_none(self):
        for name in ("", ".hidden", "a/b", "../x", "x" * 65):
            with self.subTest(name):
                run = self.neap("status", "--name", name)
                self.assertEqual((run.returncode, run.stdout), (64, ""), run.stderr)
                self.assertTrue(run.stderr.startswith(f"neap: --name '{name}'"), run.stderr)

    def test_folder_whose_path_is_too_long_for_a_socket(self):
        run = self.neap("status", env={"XDG_RUNTIME_DIR": "/" + "x" * 200})
        self.assertEqual((run.returncode, run.stdout), (64, ""), run.stderr)
        self.assertRegex(run.stderr, r"\Aneap: .*\n\Z")

    def test_help_asks_no_server(self):
        for words in [*WORDS, ["console"]]:
            with self.subTest(words):
                run = self.neap(words[0], "--help")
                self.assertEqual((run.returncode, run.stderr), (0, ""))


class Safety(ControlTest):
    EVIL = "a\x1b]0;x\x07\x7f\x9b2J\u202eb\r\n\tc\x00\\"

    def test_tables_and_reports(self):
        shown = r"a\x1b]0;x\x07\x7f\xc2\x9b2J\xe2\x80\xaeb\r\n\tc\x00" + "\\"
        for words, _, answer, _ in CASES:
            if words[0] == "eval":
                continue
            with self.subTest(words):
                server = self.fake(self.poisoned(answer))
                run = self.neap(*words)
                self.assertEqual((run.returncode, run.stderr), (0, ""))
                self.assertRegex(run.stdout, r"\A[ -~\n]*\Z")
                self.assertEqual(run.stdout.count("\\x1b") > 0, words[0] != "stop")
                if words[0] == "kick":
                    self.assertEqual(run.stdout, f"connection {shown} closed\n")
                server.close()

    def poisoned(self, value):
        """Each text in it, and each number outside of lists, replaced."""
        if isinstance(value, dict):
            return {
                key: inner if key in ("ok", "total", "counters") else self.poisoned(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self.poisoned(inner) for inner in value]
        return self.EVIL

    def test_names_of_counters(self):
        self.fake({**STATUS, "counters": {self.EVIL: 3}})
        self.assertRegex(self.neap("status").stdout, r"\A[ -~\n]*\Z")

    def test_errors_keep_lines_and_tabs_only(self):
        self.fake({"ok": False, "error": self.EVIL, "status": 1})
        shown = "a\\x1b]0;x\\x07\\x7f\\xc2\\x9b2J\\xe2\\x80\\xaeb\\r\n\tc\\x00\\\n"
        self.says(1, "", shown, "reload")

    def test_json_is_ascii_and_says_the_same(self):
        answer = {"ok": True, "results": [self.EVIL], "output": []}
        self.fake(answer)
        run = self.neap("eval", "1", "--json")
        self.assertRegex(run.stdout, r"\A[ -~]*\n\Z")
        self.assertEqual(json.loads(run.stdout), answer)

    def test_results_are_as_they_are_in_a_pipe_and_safe_on_a_terminal(self):
        answer = {"ok": True, "results": [self.EVIL], "output": ["\x1b[2J"]}
        self.fake(answer, answer)
        self.says(0, "\x1b[2J\n" + self.EVIL + "\n", "", "eval", "1")
        terminal = self.terminal("eval", "1")
        self.assertEqual(terminal.end(), 0)
        self.assertRegex(terminal.text, r"\A[ -~\r\n\t]*\Z")
        self.assertTrue(terminal.text.startswith("\\x1b[2J\r\na\\x1b]0;x"), terminal.text)

    def test_server_of_somebody_else_gets_no_request(self):
        if os.geteuid() != 0:
            self.skipTest("takes root, to be two others")
        owner, other = 65533, 65534
        server = self.fake({"ok": True, "results": ["1"], "output": []})
        for path in (self.runtime, server.path.parent, server.path):
            os.chown(path, owner, owner)
            path.chmod(0o666 if path == server.path else 0o711)
        os.seteuid(owner)  # SO_PEERCRED is whoever listened last
        try:
            server.socket.listen()
        finally:
            os.seteuid(0)
        try:
            run = self.neap("eval", "1", user=other)
        except PermissionError:
            self.skipTest("nobody else can reach the binary")
        self.assertEqual((run.returncode, run.stdout), (77, ""), run.stderr)
        self.assertEqual(server.lines, [])
        run = self.neap("eval", "1", user=owner)
        self.assertEqual((run.returncode, run.stdout), (0, "1\n"), run.stderr)


if __name__ == "__main__":
    main()
