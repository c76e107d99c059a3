"""Bad input: scripts that do not load, addresses that cannot be served, peers that misbehave,
scripts that fail while they serve.

P1, P2, P3, P5, P12, P15, P20 of the design's promises.
"""

import json
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from neap_server import (
    DEADLINE,
    NEAP,
    PRELUDE,
    Client,
    NeapTest,
    Server,
    ends_with_reset,
    environment,
    is_sanitized,
    main,
    run,
    target,
)

# In a log, from a peer: a terminal's escape sequence, a forged line, NUL, quotes, C1, no UTF-8.
NASTY = (
    b"\x1b]0;title\x07\x1b[2J\0 \nlevel=error msg=\"forged\" x=1\r\n\t\\n \\ ' \" = \x7f \x9b31m \xff\xfe"
    + "é € \U0001f600 \u202e\u2028".encode()
)


def nobody():
    """In a child: gives up root's rights."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)


class BadInputTest(NeapTest):
    def refuses(self, status, pattern, script, *args, **options):
        """The script is not served: status, and what standard error says."""
        folder = self.folder()
        (folder / "main.lua").write_text(script)
        words = ["run", "main.lua", *args]
        found, error = run(*words, cwd=folder, **options)
        self.assertRegex(error, pattern)
        self.assertEqual(found, status, error)
        for line in error.splitlines():
            self.assertRegex(line, "^[ -~]*$")
        return error


class Scripts(BadInputTest):
    """Each with the place, and with what may have been meant."""

    WRONG = {
        # syntax, and errors while it loads
        "local x =\nreturn {": r"unexpected symbol near 'return'\n  --> main.lua:2\n",
        "return {": r"near <eof>\n  --> main.lua:1\n",
        "\n\nerror('at load')": r"at load\n  --> main.lua:3 ",
        "error({})": r"\(error object is a table value\)",
        "local t = nil\nreturn t.x": r"attempt to index a nil value \(local 't'\)\n  --> main.lua:2 ",
        "require 'nothing.here'": r"module 'nothing.here'",
        "while true do end return {}": "load_timeout",
        "\x1bLua": "main.lua",
        "return nothing": "the script returned nothing; it must return a table",
        "": "main.lua: the script returned nothing; it must return a table",
        "return 5": "main.lua: the script returned a number; it must return a table",
        "return function() end": "returned a function; it must return a table",
        # keys
        "return {\n  on_mesage = print }": r"unknown hook 'on_mesage'; did you mean 'on_message'\?\n"
        r"  --> main.lua:2\n",
        "return { idle_timeuot = 5 }": r"unknown key 'idle_timeuot'; did you mean 'idle_timeout'\?",
        "return { lisen = 0 }": r"unknown key 'lisen'; did you mean 'listen'\?",
        "return { nonsense = 0 }": r"unknown key 'nonsense'\n  --> main.lua:1\n",
        "return { 'line' }": "a key is a number; keys are names, like on_message",
        "return { [{}] = 1 }": "a key is a table; keys are names",
        "return { on_message = 5 }": r"'on_message' must be a function, not a number\n"
        r"  --> main.lua:1\n",
        "return { on_start = 'x' }": "'on_start' must be a function, not a string",
        # options
        "return { idle_timeout = '5' }": "'idle_timeout' must be a number of seconds,.*, not \"5\"",
        "return { idle_timeout = -1 }": "'idle_timeout' must be a number of seconds",
        "return { idle_timeout = 0/0 }": "'idle_timeout' must be a number of seconds",
        "return { idle_timeout = 1/0 }": "'idle_timeout' must be a number of seconds",
        "return { idle_timeout = true }": "'idle_timeout' must be a number of seconds,.*, not true",
        "return { max_message = 0 }": "'max_message' must be a size",
        "return { max_message = '16X' }": "'max_message' must be a size .*, not \"16X\"",
        "return { max_message = 1.5 }": "'max_message' must be a size .*, not 1.5",
        "return { overflow = 'keep' }": "'overflow' must be \"close\" or \"drop\"",
        "return { nodelay = 1 }": "'nodelay' must be true or false, not 1",
        "return { workers = 0 }": "'workers' must be a whole number from 1 to 256 or \"auto\"",
        "return { workers = 'many' }": "'workers' must be .*, not \"many\"",
        "return { max_connections = 1.5 }": "'max_connections' must be a whole number",
        "return { log_level = 'inof' }": "'log_level' must be",
        "return { log_format = 5 }": "'log_format' must be",
        # framing
        "return { framing = 'lien' }": r"unknown framing 'lien'; did you mean 'line'\?",
        "return { framing = 5 }": "framing must be a name like \"line\"",
        "return { framing = {} }": "framing must be a name like \"line\"",
        "return { framing = { 'line', eol = 5 } }": "line: eol must be a string",
        "return { framing = { 'line', eof = '' } }": r"'eof'.*did you mean 'eol'\?",
        "return { framing = { 'delimiter' } }": "delimiter: the delimiter is missing",
        "return { framing = { 'delimiter', '' } }": "delimiter: must be 1 to 64 bytes",
        "return { framing = { 'fixed' } }": "fixed: the length is missing",
        "return { framing = { 'fixed', 0 } }": "fixed: the length is missing",
        "return { framing = { 'fixed', 2000000 } }": "fixed: the length is over max_message",
        "return { framing = { 'length', bytes = 9 } }": "length: bytes must be 1 to 8",
        "return { framing = { 'length', bytes = 'vraint' } }": "length: bytes must be 1 to 8",
        "return { framing = { 'length', endian = 'middle' } }": "endian must be \"big\" or",
        "return { framing = { 'length', offset = -1 } }": "offset must be",
        "return { framing = { 'length', offset = 2 } }": "with an offset, strip must be 0 or",
        "return { framing = { 'length', strip = 1 } }": "strip must be 0 or",
        "return { framing = { 'netstring', x = 1 } }": "'x'",
        "return { framing = { 'line', send = true } }": "send must be \"raw\"",
        "return { framing = { 'custom' } }": "custom: the decode function is missing",
        "return { framing = { 'custom', print, peek = 0 } }": "custom: peek must be 1 to 4096",
        "return { framing = { 'custom', print, encode = 1 } }": "custom: encode must be a function",
        # addresses
        "return { listen = 'tpc://1' }": r"unknown transport 'tpc'; did you mean 'tcp'\?",
        "return { listen = 70000 }": "70000.* out of range",
        "return { listen = 'tcp://127.0.0.1' }": "listen: ",
        "return { listen = 'tcp://example.org:80' }": "listen: ",
        "return { listen = 'tcp://:80' }": "listen: ",
        "return { listen = 'tcp://127.0.0.1:0?bcklog=5' }": r"did you mean 'backlog'\?",
        "return { listen = { true } }": "'listen' must be an address",
        "return { listen = { host = '::1', port = 0 } , framing = 'x' }": "unknown framing",
        "return { listen = { host = '::1' } }": "needs a host and a port",
        "return { listen = { host = '::1', prt = 4343 } }": "unknown key 'prt'.*did you mean 'port'",
        "return { listen = { transport = 'tpc', host = '::1', port = 1 } }": "transport must be",
        "return { listen = 'unix://" + "x" * 200 + "' }": "listen: ",
        # socket options
        "return { socket = 5 }": "'socket' must be a list",
        "return { socket = { 5 } }": r"each of 'socket' must be a \{ level, name, value \}",
        "return { socket = { { 'SOL_SOCKET', 'SO_RCVBFU', 1 } } }": r"did you mean 'SO_RCVBUF'\?",
        "return { socket = { { 'SOL_SOCKET', 'SO_RCVBUF', 'x' } } }": "integers or booleans",
        # services
        "return { services = {} }": "'services' must hold 1 to 256 services",
        "return { services = 5 }": "'services' must be a table of services",
        "return { services = { a = 5 } }": "service 'a' must be a table",
        "return { services = { ['a b'] = { listen = 0 } } }": "the keys of 'services' are names",
        "return { services = { { listen = 0 } } }": "the keys of 'services' are names",
        "return { services = {\n a = { on_message = print } } }": "service 'a': 'listen' is missing",
        "return { services = { a = { listen = 0, on_mesage = print } } }": "service 'a': unknown "
        r"hook 'on_mesage'; did you mean 'on_message'\?",
        "return { services = { a = { listen = 0, workers = 2 } } }": "service 'a': unknown key "
        "'workers'; it stands beside 'services'",
        "return { services = { a = { listen = 0 } }, on_message = print }": "'on_message'; it "
        "stands in a service",
        "return { services = { a = { listen = 0 } }, framing = 'line' }": "'framing'; it stands "
        "in a service",
        "return { services = { a = { listen = 0 } }, idle_timeout = 1 }": "'idle_timeout'; it "
        "stands in a service",
    }

    def test_that_do_not_load(self):
        """65, on standard error; `neap check` says the same."""
        names = {name: pattern for name, pattern in self.WRONG.items() if "while true" not in name}
        for script, pattern in names.items():
            with self.subTest(script):
                error = self.refuses(65, pattern, script)
                self.assertTrue(error.startswith("error: "), error)
                self.assertIn("main.lua", error)

    def test_that_load_for_ever(self):
        self.refuses(65, "longer to load than load_timeout", "while true do end return {}")

    def test_nul_and_escapes_in_a_script(self):
        for script in ("return { ['\\27[2J\\0'] = 1 }", "error('\\27[2J\\0\\n')", "\x1b[2J\0 = 1"):
            with self.subTest(script):
                self.refuses(65, "main.lua", script)

    def test_an_error_in_on_start(self):
        error = self.refuses(
            65,
            r"on_start raised: no\n  --> main.lua:2 in on_start",
            "return {\n  on_start = function() error('no') end }",
            "--listen",
            "tcp://127.0.0.1:0",
        )
        self.assertIn("stack traceback", error)

    def test_check_says_the_same(self):
        folder = self.folder()
        (folder / "main.lua").write_text("return { on_mesage = print }")
        said = [run(command, "main.lua", cwd=folder) for command in ("check", "run")]
        self.assertEqual(said[0], said[1])

    def test_missing(self):
        for command in ("run", "check"):
            status, error = run(command, "nothing.lua", cwd=self.folder())
            self.assertEqual(status, 66)
            self.assertEqual(
                error, "neap: cannot read the script 'nothing.lua': No such file or directory\n"
            )

    def test_a_folder(self):
        folder = self.folder()
        (folder / "a").mkdir()
        self.assertEqual(run("run", "a", cwd=folder)[0], 66)


class Addresses(BadInputTest):
    def test_bad_in_a_flag(self):
        for address in ("tpc://1", "tcp://1.2.3.4", "70000", "udp://127.0.0.1:x", "tcp://[::1:1", ""):
            with self.subTest(address):
                self.refuses(64, "^neap: --listen", "return {}", "--listen", address)

    def test_bad_in_the_environment(self):
        env = environment(NEAP_LISTEN="tpc://1")
        self.refuses(64, "^neap: NEAP_LISTEN 'tpc://1': .*did you mean 'tcp'", "return {}", env=env)

    def test_for_a_service_that_is_not_there(self):
        script = "return { services = { a = { listen = 0 }, b = { listen = 0 } } }"
        self.refuses(64, "no service 'c'; it has 'a', 'b'", script, "--listen", "c=4343")
        self.refuses(64, "say which service it is for", script, "--listen", "4343")

    def test_a_port_that_is_taken(self):
        for kind, scheme in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
            with self.subTest(scheme), socket.socket(socket.AF_INET, kind) as other:
                other.bind(("127.0.0.1", 0))
                if scheme == "tcp":
                    other.listen()
                address = f"{scheme}://127.0.0.1:{other.getsockname()[1]}"
                for workers in ("1", "2"):
                    error = self.refuses(
                        71, re.escape(address), "return {}", "--listen", address, "--workers", workers
                    )
                    self.assertEqual(
                        error,
                        f"neap: cannot listen on {address}: Address already in use (is another "
                        "server running there, or is the address given twice?)\n",
                    )

    def test_a_port_that_is_taken_gives_the_others_back(self):
        """A Unix socket's file that was made before the failure is removed."""
        folder = self.folder()
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            words = ["--listen", f"unix://{folder}/socket", "--listen", address]
            self.refuses(71, address, "return {}", *words)
        self.assertEqual(list(folder.iterdir()), [])

    def test_an_address_of_no_interface(self):
        self.refuses(71, "tcp://192.0.2.1:9", "return { listen = 'tcp://192.0.2.1:9' }")

    def test_no_permission(self):
        """As somebody who is not root: a port below 1024, and a script that is not readable."""
        folder = self.folder()
        folder.chmod(0o755)
        binary = folder / "neap"
        shutil.copy(NEAP, binary)
        binary.chmod(0o755)
        for name, mode in (("main.lua", 0o644), ("secret.lua", 0)):
            (folder / name).write_text("return {}")
            (folder / name).chmod(mode)

        def as_nobody(*words):
            done = subprocess.run(
                [binary, *words],
                cwd=folder,
                env=environment(),
                preexec_fn=nobody,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=DEADLINE,
            )
            return done.returncode, done.stderr

        lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
        self.assertGreater(lowest, 1, "every port is free for all here")
        status, error = as_nobody("run", "main.lua", "--listen", "tcp://127.0.0.1:1")
        self.assertRegex(error, "^neap: cannot listen on tcp://127.0.0.1:1: Permission denied")
        self.assertEqual(status, 77)
        status, error = as_nobody("run", "secret.lua")
        self.assertRegex(error, "^neap: cannot read the script 'secret.lua': Permission denied")
        self.assertEqual(status, 77)
        status, error = as_nobody("run", "main.lua", "--listen", f"unix://{folder}/socket")
        self.assertRegex(error, f"^neap: cannot listen on unix://{folder}/socket: Permission")
        self.assertEqual(status, 77)


class Escapes(BadInputTest):
    """P15: no byte of a peer reaches the log as it is, and one record is one line."""

    SCRIPT = (
        PRELUDE
        + """
        return {
          framing = { "length", bytes = 4 },
          on_message = function(conn, text)
            neap.log.info(text)
            neap.log.info("a field", { value = text, [text] = "a key" })
            print(text)
            neap.log.info("a table", { value = setmetatable({}, {
              __tostring = function() return text end }) })
            error(text)
          end,
          on_error = function(_, err) neap.log.info("told", { text = err.message }) return "keep" end,
          on_disconnect = function(conn, reason, detail) print(reason, detail) end,
        }"""
    )

    def serve_nasty(self, log_format):
        server = self.serve(self.SCRIPT, "--log-format", log_format)
        client = self.client(server.address)
        client.send(len(NASTY).to_bytes(4, "big") + NASTY).half_close()
        self.assertEqual(client.receive_all(), b"")
        server.wait_log("eof")
        server.stop()
        return server

    def test_text(self):
        server = self.serve_nasty("text")
        self.assertFalse(server.count_log("^level=error"))
        self.assertTrue(server.count_log(r"INFO \\x1b\]0;title\\x07\\x1b\[2J\\x00 \\nlevel=error"))
        self.assertTrue(server.count_log("^error: on_message raised: "))
        self.assertTrue(server.count_log(r"^  --> main.lua:\d+ in on_message \(connection 1 from "))

    def test_logfmt(self):
        server = self.serve_nasty("logfmt")
        text = NASTY.decode("latin-1")
        self.assertEqual(len(server.records(msg=text)), 2)
        fields = server.records(msg="a field")
        self.assertEqual([line["value"] for line in fields], [text])
        self.assertEqual([line["value"] for line in server.records(msg="a table")], [text])
        self.assertIn(text, server.records(msg="told")[0]["text"])
        for line in server.lines:
            self.assertRegex(line, "^time=")
        self.assertFalse(server.records(msg="forged"))

    def test_json(self):
        server = self.serve_nasty("json")
        for line in server.lines:
            fields = json.loads(line)
            self.assertTrue({"time", "level", "msg"} <= set(fields), line)
            self.assertNotRegex(line, "[\0-\x1f\x7f-\x9f\u2028\u2029]")
        found = [line["msg"] for line in server.records() if "title" in line["msg"]]
        expected = NASTY.decode("utf-8", "replace")
        self.assertEqual(found[:2], [expected] * 2)

    def test_a_line_of_on_log(self):
        script = PRELUDE + (
            "return { on_log = function(r) return r.message end, framing = 'raw',"
            " on_message = function(_, text) neap.log.info(text) return text end }"
        )
        server = self.serve(script)
        client = self.client(server.address)
        self.assertEqual(client.ask(NASTY), NASTY)
        server.stop()
        self.assertTrue(server.count_log(r"^\\x1b\]0;title\\x07\\x1b\[2J\\x00 \\nlevel=error msg=\"forged"))

    def test_a_long_message_is_one_line(self):
        server = self.serve(
            PRELUDE + "return { framing = 'line', on_message = function(_, t) print(t) return 'ok' end }"
        )
        client = self.client(server.address)
        self.assertEqual(client.ask(b"\x1b" * 100000 + b"\n", 3), b"ok\n")
        server.stop()
        self.assertEqual(sum("x1b" in line for line in server.lines), 1)


class Peers(BadInputTest):
    def test_a_flood_of_garbage_at_every_framing(self):
        rows = {
            "line": "'line'",
            "delimiter": "{ 'delimiter', '\\r\\n\\r\\n' }",
            "fixed": "{ 'fixed', 7 }",
            "length": "{ 'length', bytes = 4 }",
            "varint": "{ 'length', bytes = 'varint' }",
            "netstring": "'netstring'",
        }
        services = ", ".join(
            f"{name} = {{ listen = 'tcp://127.0.0.1:0', framing = {framing}, max_message = 1000,"
            " linger = 0.1, on_message = echo }"
            for name, framing in rows.items()
        )
        server = self.serve(
            f"local function echo(_, m) return m end return {{ services = {{ {services} }} }}",
            listen=None,
        )
        dice = random.Random(20240229)
        for address in server.addresses:
            for _ in range(30):
                data = dice.randbytes(dice.choice([1, 10, 3000]))
                with Client(address) as client:
                    try:
                        client.send(data)
                        client.half_close()
                        client.receive_all()
                    except (ConnectionResetError, BrokenPipeError, OSError):
                        pass
        good = dict(zip(sorted(rows), server.addresses))["netstring"]
        self.assertEqual(self.client(good).ask(b"5:hello,"), b"5:hello,")

    def test_resets_and_half_closes_at_any_moment(self):
        server = self.serve(
            "return { framing = 'line', on_message = function(_, m) return m:rep(1000) end }"
        )
        for i in range(100):
            client = Client(server.address)
            if i % 3:
                client.send(b"some text\n" * (i % 5))
            if i % 4 == 0:
                client.half_close()
            if i % 2:
                client.reset()
            client.close()
        self.assertEqual(self.client(server.address).ask(b"a\n", 1001), b"a" * 1000 + b"\n")
        server.stop()
        server.wait_log("served 101 connections")

    def test_clients_that_push_and_never_read(self):
        """An echo stops reading them at high_water: memory stays flat, others are served."""
        server = self.serve("return { high_water = '64K', on_message = function(_, m) return m end }")
        self.assertEqual(self.client(server.address).ask(b"x"), b"x")
        before = server.status_field("VmRSS")
        pushed = 0
        for _ in range(20):
            client = self.client(server.address)
            client.socket.setblocking(False)
            blocked = 0
            while blocked < 3:  # the server may take more a moment later
                try:
                    pushed += client.socket.send(b"x" * (1 << 20))
                    blocked = 0
                except BlockingIOError:
                    blocked += 1
                    self.assertEqual(self.client(server.address).ask(b"y"), b"y")
        grown = server.status_field("VmRSS") - before
        self.assertGreater(pushed, 20 << 20)
        self.assertLess(grown, 40 << 10 if is_sanitized() else 8 << 10)

    def test_a_broadcast_to_clients_that_do_not_read(self):
        """They end with "full" at max_output; memory stays under their sum."""
        server = self.serve(
            PRELUDE
            + """return {
              framing = "line", max_output = "1M", high_water = "512K",
              on_message = function(conn, text)
                for other in neap.connections() do
                  if other ~= conn then other:send(("x"):rep(65536)) end
                end
                return text
              end,
              on_disconnect = function(_, reason, detail) note(reason, detail) end,
            }"""
        )
        deaf = [self.client(server.address, receive_buffer=4096) for _ in range(10)]
        speaker = self.client(server.address)
        self.assertEqual(speaker.ask(b"first\n"), b"first\n")
        before = server.status_field("VmRSS")
        peak = 0
        for _ in range(200):
            self.assertEqual(speaker.ask(b"next\n"), b"next\n")
            peak = max(peak, server.status_field("VmRSS"))
        server.wait_log('msg="full max_output; ', count=10)
        self.assertLess(peak - before, 50 << 10 if is_sanitized() else 20 << 10)
        self.assertTrue(all(ends_with_reset(client) for client in deaf[:1]))
        server.wait_log("does not read what is sent")
        self.assertEqual(server.count_log('level=warn msg="closed a connection: it does not'), 1)

    def test_many_that_dribble_do_not_hold_memory(self):
        """A frame's length is believed only as its bytes come."""
        server = self.serve(
            "return { framing = { 'length', bytes = 4 }, max_message = '64M',"
            " on_message = function(_, m) return #m .. '' end }"
        )
        self.assertEqual(self.client(server.address).ask(b"\0\0\0\1x", 5), b"\0\0\0\0011")
        before = server.status_field("VmRSS")
        for _ in range(100):
            self.client(server.address).send((64 << 20).to_bytes(4, "big") + b"x" * 10)
        self.assertEqual(self.client(server.address).ask(b"\0\0\0\1x", 5), b"\0\0\0\0011")
        grown = server.status_field("VmRSS") - before
        self.assertLess(grown, 40 << 10 if is_sanitized() else 8 << 10)


class Datagrams(BadInputTest):
    def test_an_empty_datagram_is_a_message(self):
        server = self.serve(
            PRELUDE
            + "return { on_message = function(_, m) note('got', #m) return m == '' and '' or m end }",
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)
        for text in (b"", b"x", b""):
            client.socket.send(text)
            self.assertEqual(client.datagram(), text)
        server.stop()
        self.assertEqual(server.events(), ["got 0", "got 1", "got 0"])

    def test_the_longest_datagram(self):
        server = self.serve(
            "return { reply_limit = false, on_message = function(_, m) return m end }",
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)
        data = bytes(range(251)) * 261  # 65,511: four more than fit
        client.send(data[:65507])
        self.assertEqual(client.datagram(), data[:65507])

    def test_one_over_max_message_is_dropped_and_told(self):
        server = self.serve(
            "return { max_message = 100, on_message = function(_, m) return m end }",
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)
        for _ in range(10):
            client.send(b"x" * 101)
        client.send(b"y" * 100)
        self.assertEqual(client.datagram(), b"y" * 100)
        server.wait_log('level=warn msg="dropped a datagram longer than max_message"')
        self.assertEqual(server.count_log("longer than max_message"), 1)
        server.stop()
        server.wait_log('longer than max_message" count=9')

    def test_a_reply_too_long_to_send_is_dropped_and_told(self):
        server = self.serve(
            "return { reply_limit = false, on_message = function(_, m)"
            " return m == 'long' and ('x'):rep(70000) or m end }",
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)
        client.send(b"long")
        client.send(b"short")
        self.assertEqual(client.datagram(), b"short")
        server.wait_log("the system did not take it.*EMSGSIZE")


class Descriptors(BadInputTest):
    """P12: at the limit: refuse fast, serve the others, no busy loop, one log line an interval."""

    CLIENTS = 2000

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = self.CLIENTS + 200
        self.assertGreaterEqual(hard, needed, "not enough descriptors to test with")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def check(self, options, message, least, most):
        server = self.serve(
            f"return {{ {options} on_connect = function() return 'hello' end, "
            "on_message = function(_, m) return m end }",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
        )
        cpu, start = server.cpu_seconds(), time.monotonic()
        clients = [self.client(server.address) for _ in range(self.CLIENTS)]
        served, refused = [], 0
        for client in clients:
            try:
                if client.receive(5) == b"hello":
                    served.append(client)
                else:
                    refused += 1
            except ConnectionResetError:
                refused += 1
        took = time.monotonic() - start
        self.assertLess(took, 15)
        self.assertTrue(least <= len(served) <= most, len(served))
        self.assertEqual(len(served) + refused, self.CLIENTS)
        self.assertEqual(served, clients[: len(served)])  # those that came first
        for client in served:
            self.assertEqual(client.ask(b"still here"), b"still here")
        self.assertLess(server.cpu_seconds() - cpu, 4 if is_sanitized() else 1)
        server.wait_log(f'level=warn msg="{message}"')
        self.assertLessEqual(server.count_log(message), 1 + took // 10)
        for client in served[:50]:
            client.close()
        deadline = time.monotonic() + DEADLINE
        while True:  # until the server has noticed
            later = self.client(server.address)
            try:
                if later.receive(5) == b"hello":
                    break
            except ConnectionResetError:
                pass
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(later.ask(b"me too"), b"me too")
        before = server.cpu_seconds()
        threading.Event().wait(0.5)
        self.assertLess(server.cpu_seconds() - before, 0.1)  # nothing runs for nothing
        server.stop()
        self.assertRegex("\n".join(server.lines), f'msg="{message}".* count=')

    def test_more_connections_than_descriptors(self):
        """What the script says is no promise that the system keeps."""
        server = self.serve(
            "return { max_connections = 100000 }",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
        )
        server.wait_log("max_connections is 192 instead of 100000: .* ulimit -n")

    def test_the_limit_that_follows_from_the_descriptors(self):
        self.check("", "refused a connection: max_connections reached", 192, 192)

    def test_no_descriptors_at_all(self):
        self.check(
            "on_start = function() local t = {} for i = 1, 100 do t[i] = io.open('/dev/null') end require('neap').keep('files', t) end,",
            "refused a connection: out of file descriptors",
            100,
            150,
        )


class LuaMemory(BadInputTest):
    """P5: a script over its memory gets an error; the worker serves on."""

    BOMBS = {
        "string": "return ('x'):rep(1 << 28)",
        "doubling": "local s = 'x' while true do s = s .. s end",
        "table": "local t = {} for i = 1, 1e9 do t[i] = i end",
        "nested": "local t = {} while true do t = { t, {}, {}, {} } end",
        "closures": "local t = {} while true do t[#t + 1] = function() return t end end",
        "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
        "concat": "local t = {} for i = 1, 1e6 do t[i] = 'xxxxxxxxxxxxxxxx' end return table.concat(t)",
        "strings": "local t = {} for i = 1, 1e9 do t[i] = i .. 'x' end",
        "gsub": "return (('x'):rep(1 << 20):gsub('x', ('y'):rep(1000)))",
        "unpack": "return select('#', table.unpack({}, 1, 1e6))",
        "recursion": "local function f() return 1 + f() end return f()",
        "deep": "local function f(...) return f(1, ...) end return f()",
        "data": "local d = conn.data while true do d = { d } conn.data.x = d end",
        "data_kept": "conn.data.x = {} while true do conn.data.x[#conn.data.x + 1] = {} end",
        "log": "neap.log.info(('x'):rep(1 << 24))",
        "send": "while true do conn:send(('x'):rep(1 << 18)) end",
        "pcall": "while true do pcall(string.rep, 'x', 1 << 28) end",
    }

    def test_bombs(self):
        rows = ", ".join(f"{name} = function(conn) {code} end" for name, code in self.BOMBS.items())
        server = self.serve(
            PRELUDE
            + f"""
            local bombs = {{ {rows} }}
            return {{
              lua_memory = "16M", hook_timeout = 0.5, framing = "line", linger = 0.1,
              on_message = function(conn, text)
                if bombs[text] then return bombs[text](conn) end
                return text
              end,
              on_disconnect = function(conn, reason) note(conn.id, reason) end,
            }}"""
        )
        neighbour = self.client(server.address)
        self.assertEqual(neighbour.ask(b"before\n"), b"before\n")
        before = server.status_field("VmRSS")
        for name in self.BOMBS:
            with self.subTest(name):
                client = self.client(server.address)
                client.send(name.encode() + b"\n")
                self.assertEqual(neighbour.ask(b"meanwhile\n"), b"meanwhile\n")
                client.close()
                again = self.client(server.address)
                self.assertEqual(again.ask(b"and after\n"), b"and after\n")
                again.close()
        peak = server.status_field("VmHWM") - before
        self.assertLess(peak, (200 if is_sanitized() else 64) << 10)
        self.assertTrue(server.count_log("not enough memory"))

    def test_what_a_script_keeps_for_good(self):
        """A script that leaks into its own tables: its hooks fail, the process does not."""
        server = self.serve(
            PRELUDE
            + """
            local leak = {}
            return {
              lua_memory = "4M", framing = "line",
              on_message = function(_, text)
                for _ = 1, 1000 do leak[#leak + 1] = { text } end
                return text
              end,
            }"""
        )
        for _ in range(200):
            with Client(server.address) as client:
                try:
                    client.send(b"x\n").half_close().receive_all()
                except (ConnectionResetError, BrokenPipeError, OSError):
                    pass
        server.wait_log("not enough memory")
        self.client(server.address)

    def test_while_it_loads(self):
        self.refuses(
            65,
            "not enough memory",
            "local t = {} for i = 1, 1e9 do t[i] = { i } end return {}",
        )


class HookTimeout(BadInputTest):
    """P4: a hook over its budget is stopped, and the others go on."""

    LOOPS = {
        "plain": "while true do end",
        "pcall": "while true do pcall(function() while true do end end) end",
        "coroutine": "while true do coroutine.wrap(function() while true do end end)() end",
        "close": "local c <close> = setmetatable({}, { __close = function() while true do end end })",
        "xpcall": "while true do xpcall(error, function() while true do end end) end",
        "sort": "local t = {} for i = 1, 100 do t[i] = i end"
        " while true do table.sort(t, function() return math.random() < 2 end) end",
        "gsub": "while true do (('x'):rep(100)):gsub('x', function() while true do end end) end",
        "metamethod": "local t = setmetatable({}, { __index = function() while true do end end })"
        " return t.x",
    }

    def test_recursion_without_end(self):
        """P4: no time goes into counting hundreds of thousands of levels."""
        server = self.serve(
            """return { framing = "line",
              on_message = function(conn, text)
                local f, g
                f = function() return 1 + (g and g() or f()) end
                if text == "two" then g = function() return 1 + f() end end
                if text == "pcall" then return tostring(pcall(f)) end
                return f()
              end }"""
        )
        for text in (b"one\n", b"two\n", b"pcall\n"):
            start = time.monotonic()
            client = self.client(server.address).send(text)
            client.receive_all()
            self.assertLess(time.monotonic() - start, 10 if is_sanitized() else 2)
        self.assertTrue(server.count_log("hook_timeout|stack overflow"))

    def test_messages_that_came_together_have_their_time_each(self):
        server = self.serve(
            """return { framing = "line", hook_timeout = 0.2,
              on_message = function(conn, text)
                local clock, stop = os.clock, os.clock() + tonumber(text)
                while clock() < stop do end
                return text
              end }"""
        )
        client = self.client(server.address)
        together = b"0.12\n0\n" * 5
        self.assertEqual(client.ask(together), together)
        client.send(b"0.12\n0\n" + b"9\n" + b"0\n").half_close()
        self.assertEqual(client.receive_all(), b"0.12\n0\n")
        server.wait_log("hook_timeout")

    def test_loops(self):
        rows = ", ".join(f"{name} = function(conn) {code} end" for name, code in self.LOOPS.items())
        server = self.serve(
            PRELUDE
            + f"""
            local loops = {{ {rows} }}
            return {{
              framing = "line", linger = 0.1,
              on_message = function(conn, text)
                if loops[text] then return loops[text](conn) end
                return text
              end,
            }}"""
        )
        for name in self.LOOPS:
            with self.subTest(name):
                client = self.client(server.address).send(name.encode() + b"\n")
                start = time.monotonic()
                self.assertEqual(self.client(server.address).ask(b"served\n"), b"served\n")
                self.assertLess(time.monotonic() - start, 10)
                self.assertEqual(client.receive_all(), b"")
                client.close()
        server.stop()
        found = server.count_log("hook_timeout") + sum(
            int(line["count"]) for line in server.records(msg="the last script error happened again")
        )
        self.assertGreaterEqual(found, 1)

    def test_a_loop_does_not_hold_up_the_end(self):
        server = self.serve("return { linger = 0.1, on_message = function() while true do end end }")
        self.client(server.address).send(b"x")
        server.interrupt()
        self.assertEqual(server.wait(), 0)


if __name__ == "__main__":
    main()
