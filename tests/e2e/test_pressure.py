"""Peers that send faster than hooks take it, that take less than they are sent, or are too many.

P2: memory is bounded, and who pays is the connection that holds most. P10: a send queues all or
says no. P11: what a close could not deliver is told. P18: replies to datagrams.
"""

import contextlib
import os
import socket
import threading
import time

from hook_test import HookTest, traced
from neap_server import DEADLINE, PRELUDE, is_sanitized, main, target

LINES = 1 << 19  # 8 MB in lines of 16 bytes
NUMBERED = (
    PRELUDE
    + f"""
    local count = 0
    return {{
      framing = "line", OPTIONS
      on_message = function(conn, text)
        count = count + 1
        if tonumber(text) ~= count then note("not in order", text) end
        if count == {LINES} then return "all" end
      end,
      on_disconnect = function(_, reason, detail) note("gone", reason, detail) end,
    }}"""
)


class Flood(HookTest):
    """Small messages in a row, faster than hooks take them, are left in the kernel."""

    def flood(self, options=""):
        """A server that got LINES of them: all, in order, from a client that was not closed."""
        server = self.serve(NUMBERED.replace("OPTIONS", options))
        before = server.status_field("VmRSS")
        client = self.client(server.address)
        client.send(b"".join(b"%015d\n" % i for i in range(1, LINES + 1)))
        self.assertEqual(client.receive(4), b"all\n")
        grown = server.status_field("VmHWM") - before
        client.half_close()
        server.wait_log('"gone')
        self.assertEqual(server.events(), ["gone eof nil"])
        return grown

    def test_it_does_not_count_against_max_buffered(self):
        """P2, P8."""
        self.flood('max_buffered = "1M",')

    def test_memory_stays_as_it_is(self):
        """P2."""
        grown = self.flood()
        if not is_sanitized():  # they keep what is freed
            self.assertLess(grown, (LINES * 16 >> 10) // 2)

    def test_slow_messages_in_a_row_do_not_keep_another_client_waiting(self):
        server = self.serve(
            traced(
                on_message="""function(_, text)
                  if text ~= "slow" then return text end
                  local start = os.clock()
                  while os.clock() - start < 0.02 do end
                end""",
            )
        )
        slow, quick = self.client(server.address), self.client(server.address)
        self.assertEqual(quick.ask(b"before\n"), b"before\n")
        slow.send(b"slow\n" * 250)  # 5 seconds
        server.wait_log("on_message slow")
        with self.within(1):
            self.assertEqual(quick.ask(b"meanwhile\n"), b"meanwhile\n")

    def test_nor_do_messages_whose_hooks_wait_without_using_the_cpu(self):
        server = self.serve(
            traced(
                before="local gate",
                on_message="""function(_, text)
                  if text ~= "wait" then return text end
                  gate = gate or io.open("gate")
                  gate:setvbuf("no")
                  gate:read(1)
                end""",
            )
        )
        os.mkfifo(server.folder / "gate")
        gate = os.open(server.folder / "gate", os.O_RDWR)
        ended = threading.Event()

        def let_through():
            while not ended.wait(0.02):
                os.write(gate, b"x")

        thread = threading.Thread(target=let_through)
        thread.start()
        waits, quick = self.client(server.address), self.client(server.address)
        try:
            self.assertEqual(quick.ask(b"before\n"), b"before\n")
            waits.send(b"wait\n" * 250)
            server.wait_log("on_message wait")
            with self.within(1):
                self.assertEqual(quick.ask(b"meanwhile\n"), b"meanwhile\n")
        finally:
            ended.set()
            thread.join(DEADLINE)
            os.close(gate)  # its end lets all through


class Output(HookTest):
    """What hooks of others queue for a client that reads."""

    def test_a_broadcast_to_clients_that_read_is_not_over_max_buffered(self):
        """P2: 20 times 100,000 bytes, queued by one hook."""
        server = self.serve(
            traced(
                "framing = 'line', max_buffered = '1M'",
                on_message="""function()
                  local text = ("x"):rep(100000)
                  for other in neap.connections() do other:send(text) end
                end""",
            )
        )
        clients = [self.client(server.address) for _ in range(20)]
        server.wait_log('"on_connect"', count=len(clients))
        clients[0].send(b"go\n")
        for client in clients:
            self.assertEqual(client.receive(100001), b"x" * 100000 + b"\n")
            client.half_close()
        server.wait_log("on_disconnect eof nil", count=len(clients))

    def test_what_was_only_not_sent_yet_is_not_over_max_output(self):
        """P10: twenty times as much as may wait, from the hook of another or from a timer."""
        for how in ("hook", "timer"):
            with self.subTest(how):
                server = self.serve(
                    traced(
                        "framing = 'line', high_water = 10000, max_output = 10001",
                        before="local reader",
                        on_connect="function(conn) reader = reader or conn end",
                        on_message="""function(_, text)
                          local function send()
                            local sent = 0
                            for _ = 1, 20 do
                              if reader:send(("x"):rep(10000)) then sent = sent + 1 end
                            end
                            note("sent", sent)
                          end
                          if text == "hook" then send() else neap.after(0, send) end
                        end""",
                    )
                )
                reader = self.client(server.address)
                server.wait_log("on_connect")
                self.client(server.address).send(how.encode() + b"\n")
                self.assertEqual(reader.receive(200020), (b"x" * 10000 + b"\n") * 20)
                server.wait_log('"sent 20"')
                self.assertEqual(server.stop(), 0)
                self.assertFalse(server.count_log("on_disconnect full"))

    def test_a_raised_high_water_lets_waiting_messages_through(self):
        server = self.serve(
            traced(
                "framing = 'line', high_water = 1000, max_output = '64M'",
                before="local full",
                on_message="""function(conn, text)
                  if text == "fill" then
                    full = conn
                    conn:write(("x"):rep(1 << 24))
                  elseif text == "raise" then
                    note(full:pending() > 1000, full:set("high_water", "64M"))
                  end
                end""",
            )
        )
        self.client(server.address, receive_buffer=4096).send(b"fill\nwaits\n")
        server.wait_log("on_message fill")
        other = self.client(server.address).send(b"one\n")
        server.wait_log("on_message one")
        self.assertNotIn("on_message waits", server.events())
        other.send(b"raise\n")
        server.wait_log('"true true"')
        server.wait_log("on_message waits")

    def test_a_peer_that_takes_a_little_at_a_time_after_a_close_has_send_timeout(self):
        """P11: each little bit counts as progress for linger, which therefore never ends it."""
        server = self.serve(
            traced(
                "framing = 'line', linger = 60, send_timeout = 0.5, max_output = '64M'",
                on_message="""function(conn)
                  conn:write(("x"):rep(1 << 24))
                  conn:close()
                end""",
            )
        )
        client = self.client(server.address, receive_buffer=4096).send(b"go\n")
        ended = threading.Event()
        drip = threading.Thread(target=self.drip, args=(client, ended))
        drip.start()
        start = time.monotonic()
        try:
            server.wait_log("on_disconnect", timeout=10)
        finally:
            ended.set()
            drip.join(DEADLINE)
        self.assertGreaterEqual(time.monotonic() - start, 0.4)
        self.assertRegex(
            self.history(server)[-1], r"^on_disconnect closed (\w+; )?\d+ bytes not delivered$"
        )

    def drip(self, client, ended):
        with contextlib.suppress(ConnectionResetError):
            while not ended.wait(0.02) and client.socket.recv(1000):
                pass


class Datagrams(HookTest):
    def test_max_peers_takes_the_oldest_whichever_service_it_speaks_to(self):
        server = self.serve(
            PRELUDE
            + """
            local function service()
              return {
                listen = "udp://127.0.0.1:0",
                on_message = function(conn, text)
                  if not conn.data.name then note("+", text) end
                  conn.data.name = text
                  return text
                end,
                on_disconnect = function(conn, reason) note("-", conn.data.name, reason) end,
              }
            end
            return { max_peers = 3, services = { new = service(), old = service() } }""",
            listen=None,
        )
        new, old = server.addresses
        names = ["old 1", "old 2", "old 3", "new 1", "new 2", "old once", "new 3"]
        for name in names:
            client = self.client(new if name.startswith("new") else old)
            for _ in range(1 if "once" in name else 2):
                client.send(name.encode())
                self.assertEqual(client.datagram(), name.encode())
        self.assertEqual(
            [event for event in self.history(server) if not event.endswith("shutdown")],
            ["+ old 1", "+ old 2", "+ old 3"]
            + ["- old 1 limit", "+ new 1", "- old 2 limit", "+ new 2"]
            + ["- old 3 limit", "+ old once", "- old once limit", "+ new 3"],
        )

    def test_the_reply_to_a_broadcast_leaves(self):
        """P18: an address that was contacted may be one that nothing can be sent from."""
        at = "127.255.255.255"
        with self.datagrams() as probe, self.datagrams() as sender:
            probe.bind(("0.0.0.0", 0))
            try:
                sender.sendto(b"probe", (at, probe.getsockname()[1]))
                probe.settimeout(1)
                probe.recv(100)
            except OSError as error:
                self.skipTest(f"the kernel has no broadcast on loopback: {error}")
        server = self.serve(
            "return { on_message = function(_, text) return text end }", listen="udp://0.0.0.0:0"
        )
        port = target(server.address)[2][1]
        with self.datagrams() as client:
            client.sendto(b"hello", (at, port))
            data, source = client.recvfrom(100)
        self.assertEqual((data, source[1]), (b"hello", port))

    def datagrams(self):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.settimeout(DEADLINE)
        return made

    def test_max_message_of_one_peer(self):
        server = self.serve(
            traced(
                "max_message = 100",
                on_message="function(conn, text) note(conn:set('max_message', 10)) return text end",
            ),
            listen="udp://127.0.0.1:0",
        )
        client, other = self.client(server.address), self.client(server.address)
        for data in (b"a" * 50, b"b" * 50, b"c" * 11, b"d" * 10):
            client.send(data)
        self.assertEqual([client.datagram(), client.datagram()], [b"a" * 50, b"d" * 10])
        other.send(b"e" * 50)
        self.assertEqual(other.datagram(), b"e" * 50)
        server.stop()
        told = server.records(msg="dropped a datagram longer than max_message", peer=client.name)
        self.assertEqual(len(told), 1)

    def test_without_sessions_no_end_is_told(self):
        server = self.serve(
            traced("sessions = false", on_message="function() error('wrong', 0) end"),
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)
        for _ in range(2):
            client.send(b"x")
        server.wait_log("on_message x", count=2)
        self.assert_history(server, "on_message x", "on_message x")


if __name__ == "__main__":
    main()
