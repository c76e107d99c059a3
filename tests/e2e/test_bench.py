"""neap bench: every reply is checked, every time is one, and a stall is charged."""

import json
import os
import pty
import subprocess
import threading

from neap_server import DEADLINE, LOOPBACK, NEAP, NeapTest, environment, main
from reload_test import free_port
from upstream import Upstream

QUICK = ("-d", "0.2", "-w", "0.05")


def echo(framing="'line'", body="return m", more=""):
    return f"{more} return {{ framing = {framing}, hook_timeout = 10, on_message = function(c, m) {body} end }}"


class BenchTest(NeapTest):
    def bench(self, *words, status=0):
        """What it prints as JSON."""
        done = subprocess.run(
            [NEAP, "bench", *map(str, words), "--json"],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env=environment(),
        )
        self.assertEqual(done.returncode, status, done)
        self.errors = done.stderr
        return json.loads(done.stdout) if done.stdout else None


class Echo(BenchTest):
    def test_every_transport(self):
        folder = self.folder()
        addresses = [LOOPBACK, "tcp://[::1]:0", "udp://127.0.0.1:0", f"unix://{folder}/s", f"unixgram://{folder}/d"]
        server = self.serve(echo(), listen=addresses)
        for address in server.addresses:
            found = self.bench(address, *QUICK, "-c", 3, "-p", 2)
            self.assertGreater(found["messages"], 10, address)
            self.assertEqual((found["wrong"], found["lost"], found["closed"]), (0, 0, 0), address)
            self.assertGreater(found["seconds"], 0.19)

    def test_framings_and_sizes(self):
        for framing, script in (("line", "'line'"), ("length", "{ 'length' }"), ("raw", "'raw'")):
            server = self.serve(echo(script))
            for size in (1, 7, 8, 64, 100000):
                for pipeline in (1, 5):
                    found = self.bench(server.address, *QUICK, "-f", framing, "-s", size, "-p", pipeline, "-c", 2)
                    self.assertGreater(found["messages"], 0, (framing, size))
                    self.assertEqual(found["wrong"] + found["closed"], 0)

    def test_bytes_and_rate(self):
        server = self.serve(echo())
        found = self.bench(server.address, *QUICK, "-c", 1, "-s", 99)
        # A message and its newline; at each end of the time one may be cut.
        self.assertAlmostEqual(found["bytes_received"] / 100, found["messages"], delta=2)
        self.assertAlmostEqual(found["messages_per_second"], found["messages"] / found["seconds"], delta=1)

    def test_latencies_are_in_order(self):
        server = self.serve(echo())
        latency = self.bench(server.address, *QUICK)["latency_us"]
        values = [latency[name] for name in ("p50", "p90", "p99", "p99.9", "max")]
        self.assertEqual(values, sorted(values))
        self.assertGreater(values[0], 1)

    def test_a_hook_that_takes_its_time_is_in_the_latency(self):
        server = self.serve(echo(body="neap.sleep(0.02) return m", more="local neap = require 'neap'"))
        found = self.bench(server.address, "-d", "0.5", "-w", 0, "-c", 2)
        self.assertGreaterEqual(found["latency_us"]["p50"], 19000)
        self.assertLessEqual(found["messages"], 2 * 0.5 / 0.019)

    def test_another_message_and_reply(self):
        server = self.serve(echo(body="return m == 'time' and 'noon' or 'what?'"))
        self.assertGreater(self.bench(server.address, *QUICK, "--message", "time", "--expect", "noon")["messages"], 0)
        self.bench(server.address, *QUICK, "--message", "time", status=1)
        self.assertIn("a wrong reply: 'noon?' instead of 'time?'", self.errors)

    def test_many_connections(self):
        server = self.serve(echo())
        found = self.bench(server.address, "-d", 1, "-c", 400)
        self.assertGreater(found["messages"], 400)


class Faults(BenchTest):
    def test_a_wrong_reply(self):
        server = self.serve(echo(body="return m:find('0a', 1, true) and m:upper() or m"))
        found = self.bench(server.address, *QUICK, "-c", 2, status=1)
        self.assertEqual((found["wrong"], found["closed"]), (2, 2))
        self.assertIn("a wrong reply: 'A", self.errors)

    def test_a_reply_too_many(self):
        server = self.serve(echo(body="c:send(m) return m"))
        self.assertGreater(self.bench(server.address, *QUICK, "-c", 1, status=1)["wrong"], 0)

    def test_replies_out_of_order(self):
        server = self.serve(
            echo(body="local kept = c.data.kept c.data.kept = m if kept then c:send(m) return kept end")
        )
        self.assertGreater(self.bench(server.address, *QUICK, "-c", 1, "-p", 4, status=1)["wrong"], 0)

    def test_a_wrong_datagram(self):
        server = self.serve(echo(body="return m .. 'x'"), listen="udp://127.0.0.1:0")
        self.assertGreater(self.bench(server.address, *QUICK, "-c", 1, status=1)["wrong"], 0)

    def test_lost_datagrams(self):
        server = self.serve(echo(body="if m:sub(-1) ~= 'f' then return m end"), listen="udp://127.0.0.1:0")
        found = self.bench(server.address, *QUICK, "-c", 1, "-p", 8, "-s", 8, status=1)
        self.assertGreater(found["lost"], 0)
        self.assertEqual(found["wrong"], 0)

    def test_a_server_that_closes(self):
        server = self.serve(echo(body="c:close() return m"))
        found = self.bench(server.address, *QUICK, "-c", 5, status=1)
        self.assertEqual(found["closed"], 5)
        self.assertIn("has ended all connections", self.errors)

    def test_nobody_there(self):
        self.assertIsNone(self.bench(f"127.0.0.1:{free_port()}", status=69))
        self.assertIn("Connection refused (is the server running?)", self.errors)

    def test_wrong_words(self):
        for words, pattern in [
            ((), "ADDR .* is missing"),
            (("4343", "5"), "unexpected argument '5'"),
            (("4343", "-c", "0"), "from 1 to 1000000"),
            (("4343", "-c", "1.5"), "whole number"),
            (("4343", "-d", "x"), "must be a number"),
            (("4343", "-r", "0"), "must be a number"),
            (("4343", "-f", "lines"), "did you mean 'line'"),
            (("4343", "--expect", "x"), "the reply to a --message"),
            (("udp://127.0.0.1:1", "-s", "70000"), "at most 65507"),
            (("x:y",), "ADDR"),
        ]:
            self.bench(*words, status=64)
            self.assertRegex(self.errors, pattern, words)


class OpenLoop(BenchTest):
    def test_the_rate_is_kept(self):
        server = self.serve(echo())
        found = self.bench(server.address, "-d", 1, "-w", 0, "-r", 500, "-c", 7)
        self.assertAlmostEqual(found["messages"], 500, delta=5)
        self.assertEqual(found["lost"], 0)

    def test_a_stall_is_charged_with_all_that_was_due(self):
        # The server takes nothing for 0.3 s; 60 messages are due meanwhile and wait up to that long. In
        # a closed loop a single one would.
        upstream = Upstream()
        self.addCleanup(upstream.close)
        stalled = threading.Event()

        def serve():
            conn = upstream.accept()
            count = 0
            while piece := conn.socket.recv(65536):
                count += piece.count(b"\n")
                if count > 20 and not stalled.is_set():
                    stalled.set()
                    threading.Event().wait(0.3)
                conn.socket.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        found = self.bench(upstream.address, "-d", 1, "-w", 0, "-r", 200, "-c", 1)
        thread.join()
        self.assertAlmostEqual(found["messages"], 200, delta=3)
        self.assertGreater(found["latency_us"]["max"], 280000)
        self.assertGreater(found["latency_us"]["p90"], 100000)

    def test_what_is_never_answered_is_lost(self):
        server = self.serve(echo(body=""))
        found = self.bench(server.address, "-d", "0.2", "-w", 0, "-r", 100, "-c", 2, status=1)
        self.assertAlmostEqual(found["lost"], 20, delta=2)


class Terminal(BenchTest):
    def test_progress_and_histogram(self):
        server = self.serve(echo())
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [NEAP, "bench", server.address, "-d", "1", "-w", "0.3"],
            stdout=subprocess.PIPE,
            stderr=slave,
            env=environment(),
        )
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        os.close(master)
        output = process.communicate(timeout=DEADLINE)[0].decode()
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"warming up", seen)
        self.assertRegex(seen, rb"of 1 s  \d+ messages/s  p99 ")
        self.assertTrue(seen.endswith(b"\r\x1b[K"))
        self.assertRegex(output, r"(?m)^messages  \d+ in 1\.\d+ s, \d+/s$")
        self.assertRegex(output, r"(?m)^errors    0 wrong, 0 lost, 0 connections closed$")
        self.assertRegex(output, r"(?m)^latency   p50 .* max ")
        self.assertRegex(output, r"(?m)^  < +[\d.]+ [um]s  #{40} +[\d.]+ %$")

    def test_no_progress_where_nobody_looks(self):
        server = self.serve(echo())
        done = subprocess.run(
            [NEAP, "bench", server.address, *QUICK], capture_output=True, timeout=DEADLINE, env=environment()
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))


if __name__ == "__main__":
    main()
