"""The end of a server: signals, neap.stop, what is still delivered, and how long it takes.

P11: a graceful close delivers what is queued, or says how much was lost. P13: SIGTERM and SIGINT
drain and exit 0 within drain_timeout; a second one ends at once. P14: the log blocks nobody.
"""

import re
import signal
import subprocess
import threading
import time

from neap_server import (
    DEADLINE,
    NEAP,
    PRELUDE,
    Client,
    NeapTest,
    Server,
    ends_with_reset,
    environment,
    main,
)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# "big N" is answered with N megabytes, which nobody has to read.
BIG = (
    PRELUDE
    + """
    local megabyte = ("x"):rep(1 << 20)
    return {
      framing = "line", high_water = "64M", max_output = "64M", hook_timeout = 10, OPTIONS
      on_connect = function() note("connect") end,
      on_message = function(conn, text)
        local count = tonumber(text:match("^big (%d+)"))
        if not count then return text end
        for _ = 1, count do conn:write(megabyte) end
        note("queued", conn:pending() > 0)
      end,
      on_closing = function(_, reason) note("closing", reason) return "the end" end,
      on_disconnect = function(_, reason, detail) note("disconnect", reason, detail) end,
    }"""
)


def big(options=""):
    return BIG.replace("OPTIONS", options)


class ShutdownTest(NeapTest):
    def stopped(self, server):
        """What the last line says was served: connections, peers, messages."""
        found = re.search(
            r'level=info msg="stopped: served (\d+) connections, (\d+) datagram peers, '
            r'(\d+) messages"$',
            server.lines[-1],
        )
        self.assertIsNotNone(found, server.lines[-1])
        return [int(number) for number in found.groups()]


class Signals(ShutdownTest):
    def test_idle_connections_are_gone_at_once(self):
        for number in SIGNALS:
            with self.subTest(number):
                server = self.serve(big())
                clients = [self.client(server.address) for _ in range(50)]
                server.wait_log('"connect"', count=50)
                start = time.monotonic()
                self.assertEqual(server.stop(number), 0)
                self.assertLess(time.monotonic() - start, 3)
                for client in clients:
                    self.assertEqual(client.receive_all(), b"the end\n")
                self.assertEqual(server.events().count("closing shutdown"), 50)
                self.assertEqual(server.events().count("disconnect shutdown nil"), 50)
                self.assertEqual(self.stopped(server), [50, 0, 0])

    def test_queued_output_is_delivered(self):
        for number in SIGNALS:
            with self.subTest(number):
                server = self.serve(big())
                reader, idle = self.client(server.address), self.client(server.address)
                reader.send(b"big 16\n")
                server.wait_log('"queued true"')
                server.interrupt(number)
                server.wait_log('msg="stopping: no new connections, 30 s for the others"')
                self.assertEqual(idle.receive_all(), b"the end\n")
                data = reader.receive_all()
                self.assertEqual(len(data), (16 << 20) + 8)
                self.assertEqual(data[-9:], b"xthe end\n")
                reader.close()
                self.assertEqual(server.wait(), 0)
                self.assertIn("disconnect shutdown nil", server.events())
                self.assertEqual(self.stopped(server), [2, 0, 1])

    def test_nobody_new_is_let_in(self):
        server = self.serve(big())
        reader = self.client(server.address).send(b"big 16\n")
        server.wait_log('"queued true"')
        server.interrupt(signal.SIGTERM)
        server.wait_log("closing shutdown")
        try:
            self.assertEqual(Client(server.address, timeout=1).receive_all(), b"")
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            pass  # the listening socket stays open until the end, and nobody accepts
        reader.receive_all()
        reader.close()
        self.assertEqual(server.wait(), 0)
        self.assertEqual(self.stopped(server), [1, 0, 1])

    def test_drain_timeout(self):
        server = self.serve(big("drain_timeout = 0.4, linger = 60,"))
        self.client(server.address, receive_buffer=4096).send(b"big 16\n")
        server.wait_log('"queued true"')
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        took = time.monotonic() - start
        self.assertTrue(0.4 <= took < 5, took)
        server.wait_log('msg="stopping: no new connections, 0.4 s for the others"')
        self.assertRegex(
            server.events()[-1], r"^disconnect shutdown (\w+; )?\d+ bytes not delivered$"
        )
        server.wait_log('level=warn msg="closed with output that was not delivered"')
        self.assertEqual(self.stopped(server), [1, 0, 1])

    def test_a_reader_that_has_stopped_gets_its_linger_and_no_more(self):
        server = self.serve(big("linger = 0.3,"))
        self.client(server.address, receive_buffer=4096).send(b"big 16\n")
        server.wait_log('"queued true"')
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 5)
        self.assertRegex(server.events()[-1], r"^disconnect shutdown \d+ bytes not delivered$")

    def test_addresses_are_free_while_it_drains(self):
        """New clients are refused at once, and another server may take over."""
        path = self.folder() / "socket"
        server = self.serve(
            big("drain_timeout = 60, linger = 60,"), listen=["tcp://127.0.0.1:0", f"unix://{path}"]
        )
        client = self.client(server.address, receive_buffer=4096).send(b"big 16\n")
        server.wait_log('"queued true"')
        server.interrupt()
        server.wait_log("stopping")
        deadline = time.monotonic() + 10
        while path.exists():  # until the workers have stopped accepting
            self.assertLess(time.monotonic(), deadline)
        with self.assertRaises(ConnectionRefusedError):
            Client(server.address)
        other = self.serve(big(), listen=server.address)
        self.assertEqual(self.client(other.address).ask(b"hello\n"), b"hello\n")
        client.close()
        server.wait_log("stopped: served")

    def test_a_second_signal_ends_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGINT)):
            with self.subTest(first=first, second=second):
                server = self.serve(big("linger = 60, drain_timeout = 60,"), status=1)
                client = self.client(server.address, receive_buffer=4096).send(b"big 16\n")
                server.wait_log('"queued true"')
                server.interrupt(first)
                server.wait_log("stopping")
                server.interrupt(second)  # so soon it is the same signal, sent twice
                threading.Event().wait(0.2)
                self.assertIsNone(server.process.poll())
                start = time.monotonic()
                self.assertEqual(server.stop(second), 1)
                self.assertLess(time.monotonic() - start, 5)
                server.wait_log('level=warn msg="stopped at once by a second signal"')
                self.assertTrue(ends_with_reset(client))
                self.assertEqual(
                    sum(event.startswith("disconnect") for event in server.events()), 1
                )

    def test_while_clients_come_and_go(self):
        server = self.serve(big(), "--workers", 2)
        ended, served = threading.Event(), []

        def client():
            while not ended.is_set():
                try:
                    with Client(server.address, timeout=5) as one:
                        if one.ask(b"hello\n") == b"hello\n":
                            served.append(1)
                except (ConnectionError, TimeoutError):
                    pass

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        server.wait_log("disconnect eof", count=50)
        status = server.stop()
        ended.set()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(status, 0)
        connections, _, messages = self.stopped(server)
        self.assertGreaterEqual(messages, len(served))
        self.assertEqual(server.events().count("connect"), connections)
        ends = [event for event in server.events() if event.startswith("disconnect")]
        self.assertEqual(len(ends), connections)

    def test_all_workers_are_drained_and_counted(self):
        server = self.serve(big(), "--workers", 4)
        clients = [self.client(server.address) for _ in range(40)]
        for client in clients:
            self.assertEqual(client.ask(b"hello\n"), b"hello\n")
        for client in clients[:3]:
            client.send(b"big 12\n")
        server.wait_log('"queued true"', count=3)
        server.interrupt(signal.SIGTERM)
        for client in clients:
            size = 12 << 20 if client in clients[:3] else 0
            self.assertEqual(len(client.receive_all()), size + 8)
            client.close()
        self.assertEqual(server.wait(), 0)
        self.assertEqual(self.stopped(server), [40, 0, 43])

    def test_datagram_peers(self):
        server = self.serve(big(), listen="udp://127.0.0.1:0")
        clients = [self.client(server.address) for _ in range(3)]
        for client in clients:
            client.send(b"x")
            self.assertEqual(client.datagram(), b"x")
            client.socket.settimeout(5)
        self.assertEqual(server.stop(), 0)
        for client in clients:
            self.assertEqual(client.datagram(), b"the end")
        self.assertEqual(server.events().count("disconnect shutdown nil"), 3)
        self.assertEqual(self.stopped(server), [0, 3, 3])

    def test_a_half_open_connection_ends_too(self):
        server = self.serve(PRELUDE + "return { on_eof = function() note('eof') end }")
        client = self.client(server.address).half_close()
        server.wait_log('"eof"')
        self.assertEqual(server.stop(), 0)
        self.assertEqual(client.receive_all(), b"")

    def test_a_paused_connection_ends_too(self):
        server = self.serve(PRELUDE + "return { on_connect = function(c) c:pause() note('on') end }")
        client = self.client(server.address).send(b"x" * 100000)
        server.wait_log('"on"')
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 3)
        ends_with_reset(client)

    def test_half_a_message_does_not_hold_up_the_end(self):
        server = self.serve(big())
        client = self.client(server.address)
        self.assertEqual(client.ask(b"one\nhalf of", 4), b"one\n")
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 3)
        self.assertEqual(client.receive_all(), b"the end\n")

    def test_timers_end_with_it(self):
        server = self.serve(
            PRELUDE
            + """
            neap.every(0.01, function() note("tick") end)
            return { on_stop = function() neap.after(0.01, function() note("late") end) end }"""
        )
        server.wait_log('"tick"', count=3)
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("late", server.events())

    def test_a_signal_before_anything_is_served(self):
        """While on_start runs: it ends, and says nothing of being ready."""
        server = self.serve_unready(
            PRELUDE
            + "return { hook_timeout = 60, on_start = function() note('starting')"
            " local t = neap.now() while neap.now() - t < 0.5 do end end }"
        )
        server.wait_log('"starting"')
        server.interrupt(signal.SIGTERM)
        status = server.wait()
        self.assertNotEqual(status, -signal.SIGTERM)
        self.assertFalse(server.count_log('msg="ready"'))

    def serve_unready(self, script):
        server = Server(script)
        self.addCleanup(server.kill)
        return server


class Stop(ShutdownTest):
    """neap.stop()"""

    def test_from_a_hook(self):
        server = self.serve(
            PRELUDE
            + """return {
              framing = "line",
              on_message = function(conn, text)
                neap.stop(text)
                neap.stop("again")
                conn:send("stopping")
                return "soon"
              end,
              on_stop = function(reason) note("on_stop", reason) end,
              on_disconnect = function(_, reason) note(reason) end,
            }"""
        )
        client = self.client(server.address).send(b"enough\n")
        self.assertEqual(client.receive_all(), b"stopping\nsoon\n")
        client.close()
        self.assertEqual(server.wait(), 0)
        server.wait_log('msg="stopping: enough: no new connections, 30 s for the others"')
        self.assertEqual(server.events(), ["on_stop shutdown", "shutdown"])
        self.assertEqual(self.stopped(server), [1, 0, 1])

    def test_from_a_timer_and_without_a_reason(self):
        server = self.serve('local n = require "neap" n.after(0.05, function() n.stop() end) return {}')
        self.assertEqual(server.wait(), 0)
        server.wait_log('msg="stopping: no new connections')

    def test_from_on_start(self):
        server = self.serve('local n = require "neap" return { on_start = function() n.stop("x") end }')
        self.assertEqual(server.wait(), 0)
        server.wait_log('msg="stopping: x: no new connections')

    def test_from_any_of_several_workers(self):
        server = self.serve(
            'local n = require "neap" return { on_message = function() n.stop("w" .. n.worker) end }',
            "--workers",
            3,
        )
        clients = [self.client(server.address) for _ in range(30)]
        for client in clients[10:]:
            client.send(b"x")
        for client in clients:
            ends_with_reset(client)
            client.close()
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.count_log("stopping: w[123]: "), 1)

    def test_not_while_it_loads(self):
        done = subprocess.run(
            [NEAP, "run", "-e", 'require "neap".stop() return {}'],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            timeout=DEADLINE,
        )
        self.assertEqual(done.returncode, 65)
        self.assertIn("neap.stop while the script loads: use on_start", done.stderr)


class LogReader(ShutdownTest):
    """Who reads the log must not decide whether clients are served."""

    SCRIPT = """return {
      framing = "line",
      on_message = function(_, text) require("neap").log.info(text:rep(10)) return text end,
    }"""

    def start(self):
        """The process, and its address, with nobody who reads on."""
        process = subprocess.Popen(
            [NEAP, "run", "-e", self.SCRIPT, "--listen", "tcp://127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(XDG_RUNTIME_DIR=str(self.folder())),
            bufsize=0,
        )
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        line = b""
        while not line.endswith(b"\n"):
            piece = process.stderr.read(1)
            self.assertTrue(piece, line)
            line += piece
        return process, re.search(rb"listen=(\S+)", line).group(1).decode()

    def ask(self, address, count):
        client = self.client(address)
        line = b"y" * 99 + b"\n"
        for _ in range(count):
            self.assertEqual(client.ask(line), line)
        client.close()

    def test_one_that_reads_nothing_holds_nobody_up_and_is_told_what_was_lost(self):
        process, address = self.start()
        with self.within(DEADLINE):
            self.ask(address, 3000)  # three megabytes of log: pipe and buffer are full
        process.send_signal(signal.SIGTERM)
        text = b"".join(iter(lambda: process.stderr.read(65536), b""))
        self.assertEqual(process.wait(DEADLINE), 0)
        lost = [int(count) for count in re.findall(rb'"log records dropped" count=(\d+)\n', text)]
        kept = len(re.findall(rb'level=info msg="yyy', text))
        self.assertGreater(sum(lost), 0)
        # Its own last words may be among what was lost.
        own = 2 - len(re.findall(rb'msg="stop(ping|ped):? ', text))
        self.assertEqual(kept + sum(lost), 3000 + own)

    def test_one_that_is_gone(self):
        process, address = self.start()
        process.stderr.close()
        self.ask(address, 100)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(DEADLINE), 0)

    def test_one_that_never_reads_does_not_hold_up_the_end(self):
        process, address = self.start()
        self.ask(address, 3000)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(DEADLINE), 0)
        self.assertLess(time.monotonic() - start, 10)


if __name__ == "__main__":
    main()
