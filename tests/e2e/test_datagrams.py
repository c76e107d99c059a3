"""Datagrams: peers as connections, and each datagram by itself; P18 of the design's promises."""

import re
import signal
import socket

from neap_server import PRELUDE, NeapTest, main

UDP = "udp://127.0.0.1:0"
# Logs what happens to peers; `echo` is a message hook.
TRACE = (
    PRELUDE
    + """
    local function echo(_, text) note("message", text) return text end
    local function opened(conn) note("connect", conn.id) end
    local function ended(conn, reason, detail) note("disconnect", conn.id, reason, detail) end
    """
)


class DatagramTest(NeapTest):
    def udp(self, fields, listen=UDP, **options):
        return self.serve(
            TRACE + f"return {{ on_connect = opened, on_disconnect = ended, {fields} }}",
            listen=listen,
            **options,
        )

    def ask(self, client, text):
        client.socket.send(text)
        return client.datagram()

    def hold(self, server):
        """What is sent now is found in one batch."""
        server.suspend()

    def go_on(self, server):
        server.interrupt(signal.SIGCONT)


class Peers(DatagramTest):
    def test_a_peer_is_a_connection(self):
        server = self.udp("on_message = echo, idle_timeout = 0.2")
        one, two = self.client(server.address), self.client(server.address)
        for text in (b"a", b"b"):
            self.assertEqual(self.ask(one, text), text)
        self.assertEqual(self.ask(two, b"c"), b"c")
        server.wait_log('"disconnect 1 idle nil"')
        server.wait_log('"disconnect 2 idle nil"')
        self.assertEqual(self.ask(one, b"d"), b"d")
        server.wait_log('"connect 3"')
        self.assertEqual(
            server.events(peer=one.name)[:5],
            ["connect 1", "message a", "message b", "disconnect 1 idle nil", "connect 3"],
        )
        self.assertEqual(
            server.events(peer=two.name), ["connect 2", "message c", "disconnect 2 idle nil"]
        )

    def test_closing_ends_it_and_the_next_datagram_opens_anew(self):
        for how in ("close", "abort"):
            with self.subTest(how):
                server = self.udp(
                    f"""on_message = function(conn, text)
                      note("message", text)
                      conn:send("last")
                      if text == "bye" then conn:{how}("asked") note(conn:send("x")) end
                    end"""
                )
                client = self.client(server.address)
                for text in (b"a", b"bye", b"c"):
                    self.assertEqual(self.ask(client, text), b"last")
                server.wait_log('"message c"')
                self.assertEqual(
                    server.events(),
                    [
                        "connect 1",
                        "message a",
                        "message bye",
                        "nil closed ECLOSED",
                        "disconnect 1 closed asked",
                        "connect 2",
                        "message c",
                    ],
                )

    def test_closed_by_another_peer_while_a_datagram_waits(self):
        """Nothing is lost: what comes after the close is the first of a new connection."""
        server = self.udp(
            """on_message = function(conn, text)
              note("message", text)
              if text == "close the others" then
                for other in neap.connections() do
                  if other ~= conn then other:close("pushed") end
                end
              end
              return text
            end"""
        )
        one, two = self.client(server.address), self.client(server.address)
        self.assertEqual(self.ask(one, b"a"), b"a")
        self.assertEqual(self.ask(two, b"b"), b"b")
        self.hold(server)
        one.socket.send(b"close the others")
        two.socket.send(b"hello")
        self.go_on(server)
        server.wait_log('"disconnect 2 closed pushed"')
        two.socket.settimeout(5)
        self.assertEqual(two.datagram(), b"hello")
        server.stop()
        self.assertIn("connect 3", server.events(peer=two.name))

    def test_on_connect_may_answer_and_refuse(self):
        server = self.udp(
            "on_message = function() return 'never' end, "
            "on_connect = function(conn) opened(conn) conn:close() return 'not sent' end"
        )
        client = self.client(server.address)
        for i in (1, 2):
            client.send(b"x")
            server.wait_log(f'"disconnect {i} closed nil"')
        client.socket.setblocking(False)
        self.assertRaises(BlockingIOError, client.datagram)
        self.assertEqual(server.count_log("message"), 0)

    def test_an_error_ends_the_peer_alone(self):
        server = self.udp(
            "on_message = function(_, text) if text == 'x' then error('no', 0) end return text end,"
            "on_closing = function(_, reason) return 'because ' .. reason end"
        )
        one, two = self.client(server.address), self.client(server.address)
        self.assertEqual(self.ask(two, b"y"), b"y")
        self.assertEqual(self.ask(one, b"x"), b"because error")
        self.assertEqual(self.ask(two, b"z"), b"z")
        self.assertEqual(self.ask(one, b"w"), b"w")
        server.wait_log('"disconnect 2 error no"')
        self.assertEqual(server.count_log('"disconnect'), 1)

    def test_timers_and_idle(self):
        server = self.udp(
            """idle_timeout = 0.1,
            on_message = function(conn, text)
              conn:after(0.02, "later")
              note(conn:get("idle_timeout"))
            end,
            on_timer = function(_, name) return name end,
            on_idle = function(conn)
              conn.data.idle = (conn.data.idle or 0) + 1
              return conn.data.idle < 3 and "keep" or "idle"
            end"""
        )
        client = self.client(server.address)
        self.assertEqual(self.ask(client, b"x"), b"later")
        server.wait_log('"disconnect 1 idle nil"')
        self.assertEqual(server.events()[1], "0.1")

    def test_the_default_idle_timeout_is_30_seconds(self):
        server = self.udp("on_message = function(c) return c:get('idle_timeout') .. '' end")
        self.assertEqual(self.ask(self.client(server.address), b"x"), b"30.0")

    def test_last_words_are_sent_whatever_ends_it(self):
        server = self.udp(
            """idle_timeout = 0.2,
            on_message = function(conn, text) if text == "timer" then conn:after(0.01, "x") end end,
            on_timer = function(conn) conn:send("timer says") conn:close() end,
            on_closing = function(_, reason) return reason .. " says" end"""
        )
        for text in (b"timer", b"idle"):
            client = self.client(server.address, timeout=5)
            self.assertEqual(self.ask(client, text), text + b" says")

    def test_many_datagrams_in_one_go_keep_their_order(self):
        server = self.udp("reply_limit = false, on_message = echo")
        clients = [self.client(server.address) for _ in range(3)]
        self.hold(server)
        for i in range(50):
            for client in clients:
                client.send(b"%d" % i)
        self.go_on(server)
        for client in clients:
            found = [client.datagram() for _ in range(50)]
            self.assertEqual(found, [b"%d" % i for i in range(50)])

    def test_framing_is_for_streams(self):
        server = self.udp("framing = 'line', on_message = echo")
        client = self.client(server.address)
        for text in (b"no newline", b"two\nlines\n", b""):
            self.assertEqual(self.ask(client, text), text)


class ReplyLimit(DatagramTest):
    """Against amplification: three times what it sent and 1,200 bytes, until it is heard again."""

    SEND = "on_message = function(c) for i = 1, 10 do c:send(i % 10, ('x'):rep(199)) end end"

    def test_a_peer_of_a_single_datagram(self):
        server = self.udp(self.SEND)
        client = self.client(server.address)
        client.send(b"y" * 100)  # 1,500 bytes: seven of 200
        server.wait_log("dropped a reply: reply_limit")
        self.assertEqual([text[:1] for text in self.collect(client, 7)], [b"%d" % i for i in range(1, 8)])
        client.send(b"y")
        self.assertEqual(len(self.collect(client, 10)), 10)
        self.assertEqual(server.count_log("reply_limit"), 1)
        server.stop()
        server.wait_log("reply_limit for a peer of a single datagram.* count=2")

    def collect(self, client, count):
        found = [client.datagram() for _ in range(count)]
        client.socket.setblocking(False)
        self.assertRaises(BlockingIOError, client.datagram)
        client.socket.setblocking(True)
        return found

    def test_an_empty_datagram(self):
        server = self.udp(self.SEND)
        client = self.client(server.address)
        client.socket.send(b"")
        server.wait_log("dropped a reply: reply_limit")
        self.assertEqual(len(self.collect(client, 6)), 6)

    def test_none(self):
        for option in ("reply_limit = false", "sessions = false"):
            with self.subTest(option):
                server = self.udp(f"{option}, {self.SEND}")
                client = self.client(server.address)
                client.send(b"y")
                self.assertEqual(len(self.collect(client, 10)), 10)

    def test_holds_for_what_is_sent_later_too(self):
        server = self.udp(
            "on_message = function(conn) conn:after(0.02, 'later') return ('x'):rep(1000) end,"
            "on_timer = function(conn) conn:send(('y'):rep(200)) note(conn:send(('z'):rep(10))) end"
        )
        client = self.client(server.address)
        client.send(b"1")
        server.wait_log('"true"')
        self.assertEqual(self.collect(client, 2), [b"x" * 1000, b"y" * 200])


class Alone(DatagramTest):
    """sessions = false"""

    def test_each_datagram_has_a_connection_of_its_own(self):
        server = self.udp(
            """sessions = false,
            on_message = function(conn, text)
              note("message", conn.id, text, conn.peer, conn.data.seen)
              conn.data.seen = true
              conn:send("one ")
              return text
            end"""
        )
        one, two = self.client(server.address), self.client(server.address)
        for client, text in ((one, b"a"), (two, b"b"), (one, b"")):
            self.assertEqual(self.ask(client, text), b"one ")
            self.assertEqual(client.datagram(), text)
        server.stop()
        self.assertEqual(
            server.events(),
            [
                f"message 1 a {one.name} nil",
                f"message 2 b {two.name} nil",
                f"message 3  {one.name} nil",
            ],
        )

    def test_its_handle_is_good_until_its_hook_returns(self):
        server = self.serve(
            PRELUDE
            + """
            local kept
            return {
              sessions = false,
              on_message = function(conn, text)
                if kept then note(kept.id, kept.peer, kept:is_open(), kept:send("x")) end
                kept = conn
                conn:after(0, "never")
                return text
              end,
              on_timer = function() note("timer") end,
            }""",
            listen=UDP,
        )
        client = self.client(server.address)
        for text in (b"a", b"b", b"c"):
            self.assertEqual(self.ask(client, text), text)
        server.stop()
        self.assertEqual(
            server.events(),
            ["1 nil false nil closed ECLOSED", "2 nil false nil closed ECLOSED"],
        )

    def test_closing_and_errors(self):
        server = self.udp(
            """sessions = false,
            on_message = function(conn, text)
              if text == "close" then conn:close() return "not sent" end
              if text == "abort" then conn:abort() end
              if text == "pause" then conn:pause() end
              if text == "error" then error("no", 0) end
              return text
            end"""
        )
        client = self.client(server.address)
        for text in (b"close", b"abort", b"pause", b"error"):
            client.send(text)
        client.send(b"still served")
        self.assertIn(client.datagram(), (b"pause", b"still served"))
        server.wait_log("on_message raised: no")
        self.assertEqual(server.events(), [])

    def test_a_thousand_peers_leave_nothing_behind(self):
        server = self.udp(
            "sessions = false, on_message = function(_, text)"
            " local n = 0 for _ in neap.connections() do n = n + 1 end return n .. '' end"
        )
        for _ in range(200):
            with self.client(server.address) as client:
                self.assertEqual(self.ask(client, b"x"), b"0")


class Pause(DatagramTest):
    def test_sixteen_are_queued_and_more_are_dropped(self):
        server = self.udp(
            """on_message = function(conn, text)
              note("message", text)
              if text == "pause" then
                conn:pause()
              elseif text == "resume" then
                for other in neap.connections() do other:resume() end
              end
              return text
            end"""
        )
        paused, other = self.client(server.address), self.client(server.address)
        self.assertEqual(self.ask(paused, b"pause"), b"pause")
        for i in range(20):
            paused.send(b"%d" % i)
        self.assertEqual(self.ask(other, b"hello"), b"hello")
        server.wait_log('"message hello"')
        self.assertEqual(server.events(peer=paused.name), ["connect 1", "message pause"])
        self.assertEqual(self.ask(other, b"resume"), b"resume")
        self.assertEqual([paused.datagram() for _ in range(16)], [b"%d" % i for i in range(16)])
        self.assertEqual(self.ask(paused, b"after"), b"after")
        server.stop()
        found = [text for text in server.events(peer=paused.name) if text.startswith("message")]
        wanted = ["pause", *map(str, range(16)), "after"]
        self.assertEqual(found, [f"message {text}" for text in wanted])
        server.wait_log('"dropped a datagram: its peer is paused or its hook waits, and 16 are queued"')
        server.wait_log('and 16 are queued" count=3')


class Addresses(DatagramTest):
    ANSWER = "on_message = function(conn) return conn.local_address end"

    def test_a_reply_comes_from_the_address_that_was_contacted(self):
        """A connected client hears nobody else."""
        server = self.udp(self.ANSWER, listen="udp://0.0.0.0:0")
        port = server.address.rpartition(":")[2]
        for host in ("127.0.0.1", "127.0.0.2", "127.9.8.7"):
            for _ in range(2):
                client = self.client(f"udp://{host}:{port}")
                self.assertEqual(self.ask(client, b"x"), f"{host}:{port}".encode())

    def test_one_client_and_two_addresses_are_two_peers(self):
        server = self.udp(self.ANSWER, listen="udp://0.0.0.0:0")
        port = int(server.address.rpartition(":")[2])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
                client.sendto(b"x", (host, port))
                self.assertEqual(client.recvfrom(100), (f"{host}:{port}".encode(), (host, port)))
        server.stop()
        self.assertEqual(server.events()[:2], ["connect 1", "connect 2"])
        self.assertNotIn("connect 3", server.events())

    def test_ipv6(self):
        for listen in ("udp://[::]:0", "udp://[::1]:0"):
            with self.subTest(listen):
                server = self.udp(self.ANSWER, listen=listen)
                port = server.address.rpartition(":")[2]
                client = self.client(f"udp://[::1]:{port}")
                self.assertEqual(self.ask(client, b"x"), f"[::1]:{port}".encode())
                peer = re.escape(client.name)
                server.wait_log(f'"connect 1" .*peer="?{peer}')

    def test_both_families_on_one_socket(self):
        server = self.udp(self.ANSWER, listen="udp://[::]:0?ipv6_only=0")
        port = server.address.rpartition(":")[2]
        for host in ("127.0.0.2", "[::1]"):
            client = self.client(f"udp://{host}:{port}")
            self.assertEqual(self.ask(client, b"x"), f"{host}:{port}".encode())
            server.wait_log(f'"connect .*peer="?{re.escape(client.name)}')

    def test_unixgram(self):
        folder = self.folder()
        server = self.udp(
            "on_message = function(conn, text) note('from', conn.peer, conn.transport) return text end",
            listen=f"unixgram://{folder}/server",
        )
        client = self.client(server.address, source=f"{folder}/client")
        for text in (b"x", b"", b"y" * 10000):
            self.assertEqual(self.ask(client, text), text)
        nameless = self.client(server.address)
        nameless.send(b"nobody can answer me")
        server.wait_log("the system did not take it")
        self.assertEqual(self.ask(client, b"z"), b"z")
        server.stop()
        self.assertEqual(server.events().count(f"from {folder}/client unixgram"), 4)
        self.assertEqual(server.events().count("from  unixgram"), 1)


class Eviction(DatagramTest):
    """Over max_peers the least recently heard goes, peers of a single datagram first."""

    def speak(self, server, client, name):
        client.send(name)
        self.assertEqual(client.datagram(), name)

    def test_order(self):
        server = self.udp("max_peers = 3, on_message = function(_, text) return text end")
        a, b, c, d, e, f = (self.client(server.address) for _ in range(6))
        self.speak(server, a, b"a")
        self.speak(server, a, b"a")  # 1: heard twice, though longest ago
        self.speak(server, b, b"b")  # 2
        self.speak(server, c, b"c")  # 3
        self.speak(server, d, b"d")  # 4: 2 goes
        self.speak(server, c, b"c")  # 3 is heard again
        self.speak(server, e, b"e")  # 5: 4 goes, the only one of a single datagram
        self.speak(server, e, b"e")
        self.speak(server, a, b"a")
        self.speak(server, f, b"f")  # 6: of 3, 5, 1 the least recently heard is 3
        server.wait_log('"disconnect 3')
        found = [line for line in server.events() if line.startswith("disconnect")]
        self.assertEqual(found, [f"disconnect {i} limit max_peers" for i in (2, 4, 3)])
        server.wait_log('level=warn msg="closed a datagram peer: max_peers reached"')
        self.assertEqual(server.count_log("max_peers reached"), 1)

    def test_as_many_as_allowed_stay(self):
        server = self.udp("max_peers = 50, on_message = function(_, text) return text end")
        clients = [self.client(server.address) for _ in range(50)]
        for client in clients * 2:
            self.speak(server, client, b"x")
        self.assertEqual(server.count_log("disconnect"), 0)
        self.speak(server, self.client(server.address), b"x")
        server.wait_log('"disconnect 1 limit')

    def test_a_flood_of_peers_is_bounded(self):
        server = self.udp(
            "max_peers = 10, on_message = function() local n = 0"
            " for _ in neap.connections() do n = n + 1 end return n .. '' end"
        )
        for i in range(300):
            with self.client(server.address) as client:
                count = int(self.ask(client, b"x"))
                self.assertLessEqual(count, 10)
        self.assertEqual(count, 10)


class Errors(DatagramTest):
    def test_a_peer_that_is_gone_closes_nothing(self):
        """Replies to a closed port come back as ICMP errors."""
        server = self.udp(
            """on_message = function(conn, text)
              if text ~= "go" then return text end
              conn:after(0.01, "1") conn:after(0.02, "2") conn:after(0.03, "3")
              conn:after(0.04, "4")
            end,
            on_timer = function(conn, name) note(name, conn:send("into the void")) end"""
        )
        for i in range(3):
            with self.client(server.address) as gone:
                gone.send(b"x")
                gone.datagram()
                gone.send(b"go")
            server.wait_log('"4 true"', count=i + 1)
            client = self.client(server.address)
            self.assertEqual(self.ask(client, b"still here"), b"still here")
        self.assertEqual(server.count_log("disconnect"), 0)

    def test_what_the_system_does_not_take_is_dropped_and_told(self):
        """A Unix socket that does not read holds up its sender, until it is gone."""
        folder = self.folder()
        server = self.udp(
            "reply_limit = false, on_message = function(conn, text)"
            " for i = 1, text == 'many' and 2000 or 1 do conn:send(('x'):rep(100)) end end",
            listen=f"unixgram://{folder}/server",
        )
        deaf = self.client(server.address, source=f"{folder}/deaf")
        other = self.client(server.address, source=f"{folder}/other")
        deaf.send(b"many")
        server.wait_log("dropped a datagram: the system did not take it.*EAGAIN")
        deaf.close()
        self.assertEqual(self.ask(other, b"x"), b"x" * 100)


if __name__ == "__main__":
    main()
