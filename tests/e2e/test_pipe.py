"""conn:pipe: two streams whose input is each other's output.

P8: every byte once and in order, whatever was read before. P2: memory stays flat, whoever is slow.
"""

import hashlib
import random
import threading
import time

from control import control
from neap_server import PRELUDE, ends_with_reset, is_sanitized, main
from reload_test import until
from upstream import OutboundTest

MIB = 1 << 20


class Pipe(OutboundTest):
    def proxy(self, body="conn:pipe(up)", options="", hooks=""):
        """A client and its upstream, joined by a hook."""
        self.up = self.upstream()
        self.server = self.serve(f"""{PRELUDE}
          return {{ hook_timeout = 10, {options}
            on_connect = function(conn)
              local up = assert(neap.connect("{self.up.address}"))
              {body}
            end, {hooks}
            on_disconnect = function(conn, reason, detail) note("gone", reason, detail) end }}""")
        client = self.client(self.server.address)
        return client, self.up.accept()

    def events(self):
        self.assertEqual(self.server.stop(), 0)
        return self.server.events()

    def test_both_ways(self):
        client, up = self.proxy()
        client.send(b"question")
        self.assertEqual(up.receive(8), b"question")
        up.send(b"answer")
        self.assertEqual(client.receive(6), b"answer")

    def test_half_close(self):
        for first, second in ((0, 1), (1, 0)):
            pair = self.proxy()
            pair[first].send(b"last words").half_close()
            self.assertEqual(pair[second].receive_all(), b"last words")
            pair[second].send(b"x" * 100000)
            self.assertEqual(pair[first].receive(100000), b"x" * 100000)
            pair[second].close()
            self.assertEqual(pair[first].receive_all(), b"")
            self.server.wait_log("gone")
            self.assertEqual(self.events(), ["gone eof nil"])

    def test_what_was_read_already_goes_too(self):
        # A line is taken, the rest of the same read and what was read ahead of both are not.
        self.up = self.upstream()
        server = self.serve(f"""{PRELUDE} return {{ framing = "line",
            on_message = function(conn, line)
              local up = assert(neap.connect("{self.up.address}"))
              note("greeting", up:read(5))
              up:write(line, "|")
              conn:write("joined|")
              conn:pipe(up)
            end }}""")
        client = self.client(server.address).send(b"first\nsecond\nthird")
        up = self.up.accept().send(b"helloworld")
        self.assertEqual(up.receive(18), b"first|second\nthird")
        self.assertEqual(client.receive(12), b"joined|world")
        client.send(b"\nfourth\n")
        self.assertEqual(up.receive(8), b"\nfourth\n")
        self.assertEqual(server.stop(), 0)

    def test_a_session_that_returns(self):
        self.up = self.upstream()
        server = self.serve(f"""{PRELUDE} return {{
            on_session = function(conn)
              note("session", conn:read(3))
              conn:pipe(assert(neap.connect("{self.up.address}")))
            end }}""")
        client = self.client(server.address).send(b"onetwo")
        up = self.up.accept()
        self.assertEqual(up.receive(3), b"two")
        up.send(b"three").close()
        self.assertEqual(client.receive_all(), b"three")
        client.close()
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.events(), ["session one"])

    def test_while_its_hook_waits(self):
        client, up = self.proxy("conn:pipe(up) note('slept', neap.sleep(60))")
        client.send(b"x")
        self.assertEqual(up.receive(1), b"x")
        client.reset()
        self.server.wait_log("gone")
        self.assertEqual(self.events(), ["slept nil closed ECLOSED", "gone reset ECONNRESET"])

    def test_a_reset_is_no_end(self):
        for first, second in ((0, 1), (1, 0)):
            pair = self.proxy()
            pair[first].send(b"x")
            pair[second].receive(1)
            pair[first].reset()
            self.assertTrue(ends_with_reset(pair[second]))
            self.server.wait_log("gone")
            reset = "gone reset piped" if first else "gone reset ECONNRESET"
            self.assertEqual(self.events(), [reset])

    def test_when_one_closes_the_other_does(self):
        for close, events in [
            ("conn:close()", ["gone closed nil"]),
            ("up:close()", ["gone closed nil"]),
        ]:
            client, up = self.proxy(f"up:write('x') conn:write('y') conn:pipe(up) neap.sleep(0.01) {close}")
            self.assertEqual(up.receive_all(), b"x")
            self.assertEqual(client.receive_all(), b"y")
            client.close()
            self.server.wait_log("gone")
            self.assertEqual(self.events(), events)

    def test_an_abort(self):
        client, up = self.proxy("conn:pipe(up) neap.sleep(0.01) up:abort()")
        self.assertTrue(ends_with_reset(client))
        self.assertTrue(ends_with_reset(up))
        self.server.wait_log("gone")
        self.assertEqual(self.events(), ["gone closed piped"])

    def test_a_kick(self):
        for number in (1, 2):
            client, up = self.proxy()
            client.send(b"x")
            up.receive(1)
            control(self.server, "kick", id=number)
            self.assertEqual(client.receive_all(), b"")
            self.assertEqual(up.receive_all(), b"")
            client.close()
            self.server.wait_log("gone kicked")

    def test_idle(self):
        client, up = self.proxy(options="idle_timeout = 0.1,")
        with self.within(10):
            self.assertEqual(client.receive_all(), b"")
            self.assertEqual(up.receive_all(), b"")
        client.close()
        self.server.wait_log("gone idle")

    def test_traffic_one_way_is_not_idle(self):
        client, up = self.proxy(options="idle_timeout = 0.3,")
        sent = 0
        end = threading.Event()
        while sent < 20:
            up.send(b"x")
            client.receive(1)
            sent += 1
            end.wait(0.05)
        client.send(b"still")
        self.assertEqual(up.receive(5), b"still")

    def test_a_pause_holds_it(self):
        client, up = self.proxy("conn:pipe(up) conn:pause() note('paused') neap.sleep(0.4) conn:resume()")
        self.server.wait_log("paused")
        began = time.monotonic()
        client.send(b"x")
        self.assertEqual(up.receive(1), b"x")
        self.assertGreater(time.monotonic() - began, 0.1)

    def test_a_shutdown(self):
        client, up = self.proxy()
        client.send(b"x")
        up.receive(1)
        self.server.interrupt()
        self.assertEqual(client.receive_all(), b"")
        self.assertEqual(up.receive_all(), b"")
        self.assertEqual(self.server.wait(), 0)

    def test_over_a_reload(self):
        client, up = self.proxy(hooks="on_message = function() note('never') end,")
        client.send(b"one")
        self.assertEqual(up.receive(3), b"one")
        self.reload(self.server, f"{PRELUDE} return {{ on_disconnect = function(c, reason) note('v2', reason) end }}")
        client.send(b"two")
        self.assertEqual(up.receive(3), b"two")
        up.send(b"three").close()
        self.assertEqual(client.receive_all(), b"three")
        client.close()
        self.server.wait_log("v2")
        self.assertEqual(self.events(), ["v2 eof"])

    def test_timers_go_on(self):
        client, up = self.proxy(
            "conn:pipe(up) conn:after(0.01, 'tick')", hooks="on_timer = function(conn, name) note(name) end,"
        )
        self.server.wait_log("tick")
        up.send(b"x")
        self.assertEqual(client.receive(1), b"x")

    def test_misuse(self):
        client, up = self.proxy(
            """note(pcall(conn.pipe, conn))
            note(pcall(conn.pipe, conn, conn))
            note(pcall(conn.pipe, conn, 5))
            local datagrams = neap.connect("udp://127.0.0.1:9")
            note(conn:pipe(datagrams))
            local gone = neap.connect(UP)
            gone:abort()
            note(conn:pipe(gone))
            note(conn:pipe(up))
            note(pcall(conn.pipe, up, conn))
            note(pcall(conn.read, conn))
            note(pcall(up.read, up))
            note("write", up:write("written"))""".replace(
                "UP", '"' + "tcp://" + '" .. up.peer'
            )
        )
        self.up.accept()
        self.assertEqual(up.receive(7), b"written")
        self.server.wait_log("write")
        client.close()
        up.close()
        self.server.wait_log("gone")
        patterns = [
            "false .*a connection expected",
            "false .*another connection expected",
            "false .*a connection expected",
            "nil not for datagrams EOPNOTSUPP",
            "nil closed ECLOSED",
            "^true$",
            "false .*piped, or read, already",
            "false .*this connection is piped",
            "false .*this connection is piped",
            "write true",
        ]
        for event, pattern in zip(self.events()[: len(patterns)], patterns, strict=True):
            self.assertRegex(event, pattern)

    def test_a_side_is_not_shut_down_by_hand(self):
        client, up = self.proxy("conn:pipe(up) note(pcall(up.shutdown, up))")
        self.server.wait_log("ends with the input of the other one")
        client.send(b"x").half_close()
        self.assertEqual(up.receive_all(), b"x")

    def test_a_decoder_does_not_pipe_what_is_read_with_it(self):
        client, up = self.proxy(
            """local done
            up:set("framing", { "custom", function(bytes)
              if done then return #bytes end
              done = true
              note(pcall(up.pipe, up, conn))
            end })
            note("begins")
            note("read", up:read())"""
        )
        self.server.wait_log("begins")
        up.send(b"one")
        self.server.wait_log("read, already")
        up.send(b"two")
        self.server.wait_log("read onetwo")
        client.close()

    def test_one_that_is_read(self):
        client, up = self.proxy(
            """conn:spawn(function() note("read", up:read()) end)
            neap.sleep(0.01)
            note(pcall(conn.pipe, conn, up))"""
        )
        self.server.wait_log("read, already")
        up.send(b"x")
        self.server.wait_log("read x")
        client.close()

    def test_random_traffic(self):
        # Both ways at once, in pieces of any length, with pauses; what arrives is what was sent.
        client, up = self.proxy(options="high_water = '64K',")
        dice = random.Random(7)
        total = (2 if is_sanitized() else 8) * MIB

        def send(conn):
            piece = dice.randbytes(total)
            at = 0
            while at < total:
                size = dice.choice((1, 100, 5000, 100000))
                conn.send(piece[at : at + size])
                at += size
            conn.half_close()
            sent[conn] = hashlib.sha256(piece).digest()

        def receive(conn):
            got[conn] = hashlib.sha256(conn.receive_all()).digest()

        sent, got = {}, {}
        threads = [threading.Thread(target=work, args=(conn,)) for work in (send, receive) for conn in (client, up)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((got[client], got[up]), (sent[up], sent[client]))

    def test_a_gibibyte_takes_no_memory(self):
        client, up = self.proxy()
        total = (64 if is_sanitized() else 1024) * MIB
        client.send(b"x" * MIB)
        up.receive(MIB)
        before = self.server.status_field("VmRSS")
        received = []

        def take():
            count, buffer = 0, bytearray(MIB)
            while some := up.socket.recv_into(buffer):
                count += some
            received.append(count)

        taker = threading.Thread(target=take)
        taker.start()
        for _ in range(total // MIB):
            client.send(bytes(MIB))
        client.half_close()
        taker.join()
        self.assertEqual(received, [total])
        if not is_sanitized():
            self.assertLess(self.server.status_field("VmHWM") - before, 1024)

    def test_who_does_not_read_holds_the_other_up(self):
        client, up = self.proxy()
        client.socket.setblocking(False)
        sent = 0
        try:
            while sent < 256 * MIB:
                sent += client.socket.send(bytes(MIB))
        except BlockingIOError:
            pass
        self.assertLess(sent, 256 * MIB)
        rows = until(lambda: control(self.server, "connections")["connections"])
        self.assertLessEqual(max(row["pending"] for row in rows), 128 << 10)
        client.socket.setblocking(True)
        client.half_close()
        self.assertEqual(len(up.receive_all()), sent)


if __name__ == "__main__":
    main()
