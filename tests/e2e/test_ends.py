"""How a connection ends: each reason with its detail, and that it ends once (P8)."""

import threading

from hook_test import HookTest, traced
from neap_server import ends_with_reset, main


class Ends(HookTest):
    """Each reason there is, with its detail."""

    def test_eof(self):
        server = self.serve(traced())
        self.client(server.address).send(b"one\ntwo\nrest").half_close()
        self.ends("eof", server)
        self.assert_history(
            server, "on_connect", "on_message one", "on_message two", "on_disconnect eof nil"
        )

    def test_eof_of_a_client_that_sends_nothing(self):
        server = self.serve(traced())
        self.client(server.address).close()
        self.ends("eof", server)
        self.assert_history(server, "on_connect", "on_disconnect eof nil")

    def test_closed_by_the_script(self):
        server = self.serve(
            traced(on_message="function(conn, text) conn:send(text) return conn:close('done') end")
        )
        client = self.client(server.address).send(b"bye\nmore\n")
        self.assertEqual(client.receive_all(), b"bye\n")
        client.close()
        self.ends("closed", server)
        self.assert_history(server, "on_connect", "on_message bye", "on_disconnect closed done")

    def test_the_first_close_counts(self):
        server = self.serve(
            traced(
                on_message="""function(conn)
                  note(conn:close("first"))
                  note(conn:close("second"))
                  note(conn:send("more"))
                  note(conn:abort("third"))
                  note(conn:close("fourth"))
                end"""
            )
        )
        self.client(server.address).send(b"x\n")
        self.ends("closed", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message x",
            "true",
            "true",
            "nil closed ECLOSED",
            "true",
            "nil closed ECLOSED",
            "on_disconnect closed first",
        )

    def test_a_closed_connection_lingers_for_a_client_that_stays(self):
        server = self.serve(
            traced(
                "framing = 'line', linger = 0.2", on_message="function(conn) conn:close() end"
            )
        )
        client = self.client(server.address).send(b"x\n")
        self.assertEqual(client.receive_all(), b"")
        client.send(b"said in vain\n")
        self.ends("closed", server)
        self.assert_history(server, "on_connect", "on_message x", "on_disconnect closed nil")

    def test_aborted_by_the_script(self):
        server = self.serve(
            traced(
                on_message="""function(conn)
                  conn:send("not delivered")
                  conn:abort("enough")
                end"""
            )
        )
        client = self.client(server.address).send(b"x\nmore\n")
        self.assertTrue(ends_with_reset(client))
        self.ends("closed", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message x",
            "on_disconnect closed enough; 14 bytes not delivered",
        )

    def test_reset(self):
        server = self.serve(traced())
        client = self.client(server.address).send(b"one\nrest")
        server.wait_log("on_message one")
        client.reset()
        self.ends("reset", server)
        self.assert_history(
            server, "on_connect", "on_message one", "on_disconnect reset ECONNRESET"
        )

    def test_reset_found_while_sending(self):
        server = self.serve(
            traced(
                "framing = 'line', high_water = '64M', max_output = '64M'",
                on_message="""function(conn)
                  note(conn:send(("x"):rep(1 << 14):rep(1 << 10)))
                  conn:after(0.01, "more")
                end""",
                on_timer="function(conn) conn:send('more') conn:after(0.01, 'more') end",
            )
        )
        client = self.client(server.address, receive_buffer=4096).send(b"one\n")
        server.wait_log("on_timer more")
        client.reset()
        self.ends("reset", server)
        events = [event for event in self.history(server) if event != "on_timer more"]
        self.assertEqual(events[:3], ["on_connect", "on_message one", "true"])
        self.assertRegex(
            events[3], r"^on_disconnect reset (EPIPE|ECONNRESET); \d+ bytes not delivered$"
        )
        self.assertEqual(events[4:], [])

    def test_idle(self):
        server = self.serve(
            traced("framing = 'line', idle_timeout = 0.2", on_idle="function(_, s) note(s >= 0.2) end")
        )
        client = self.client(server.address)
        self.assertEqual(client.receive_all(), b"")
        client.close()
        self.ends("idle", server)
        events = self.history(server)
        self.assertRegex(events[1], r"^on_idle 0\.2")
        self.assertEqual(
            events[:1] + events[2:],
            ["on_connect", "true", "on_closing idle nil", "on_disconnect idle nil"],
        )

    def test_idle_begins_anew_with_every_byte(self):
        """With a byte every 100 ms it takes more than half a second to be 300 ms idle."""
        server = self.serve(
            """return {
              idle_timeout = 0.3,
              on_connect = function(conn) conn.data.since = require("neap").now() end,
              on_disconnect = function(conn, reason)
                print(reason, require("neap").now() - conn.data.since > 0.6)
              end,
            }"""
        )
        client = self.client(server.address)
        waits = threading.Event()
        for _ in range(5):
            client.send(b"x")
            waits.wait(0.1)
        self.assertEqual(client.receive_all(), b"")
        client.close()
        server.wait_log(r'msg="idle\\ttrue"')

    def test_message_timeout(self):
        server = self.serve(traced("framing = 'line', message_timeout = 0.2"))
        client = self.client(server.address).send(b"one\nha")
        server.wait_log("on_message one")
        client.send(b"lf")
        self.assertEqual(client.receive_all(), b"")
        client.close()
        self.ends("timeout", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message one",
            "on_closing timeout message_timeout",
            "on_disconnect timeout message_timeout",
        )

    def test_message_timeout_is_for_one_message_however_slow_its_bytes(self):
        server = self.serve(traced("framing = 'line', message_timeout = 0.3, linger = 0.1"))
        client, waits = self.client(server.address), threading.Event()
        with self.within(10), self.assertRaises((BrokenPipeError, ConnectionResetError)):
            while True:
                client.send(b"x")
                waits.wait(0.05)
        self.ends("timeout", server)

    def test_message_timeout_is_not_for_whole_messages(self):
        server = self.serve(traced("framing = 'line', message_timeout = 0.1"))
        client, waits = self.client(server.address), threading.Event()
        for i in range(4):
            client.send(b"whole\n")
            server.wait_log("on_message whole", count=i + 1)
            waits.wait(0.1)
        client.close()
        self.ends("eof", server)

    def test_send_timeout(self):
        server = self.serve(
            traced(
                "framing = 'line', send_timeout = 0.2, linger = 0.1, max_output = '64M'",
                on_message="function(conn) note(conn:write(('x'):rep(1 << 14):rep(1 << 10))) end",
            )
        )
        self.client(server.address, receive_buffer=4096).send(b"one\n")
        self.ends("timeout", server)
        events = self.history(server)
        self.assertEqual(
            events[:4],
            ["on_connect", "on_message one", "true full", "on_closing timeout send_timeout"],
        )
        self.assertRegex(
            events[4], r"^on_disconnect timeout send_timeout; \d+ bytes not delivered$"
        )
        self.assertEqual(events[5:], [])

    def test_error(self):
        server = self.serve(traced(on_message="function() error('wrong', 0) end"))
        client = self.client(server.address).send(b"one\ntwo\n")
        self.assertEqual(client.receive_all(), b"")
        client.close()
        self.ends("error", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message one",
            "on_closing error wrong",
            "on_disconnect error wrong",
        )

    def test_malformed(self):
        server = self.serve(traced("framing = 'netstring'"))
        client = self.client(server.address).send(b"3:one,x3:two,")
        self.assertEqual(client.receive_all(), b"")
        client.close()
        self.ends("malformed", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message one",
            "on_closing malformed netstring",
            "on_disconnect malformed netstring",
        )

    def test_oversize(self):
        server = self.serve(traced("framing = 'line', max_message = 8"))
        client = self.client(server.address).send(b"12345678\n123456789")
        self.assertEqual(client.receive_all(), b"")
        client.close()
        self.ends("oversize", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message 12345678",
            "on_closing oversize line",
            "on_disconnect oversize line",
        )

    def test_full(self):
        server = self.serve(
            traced(
                "framing = 'line', max_output = 1000",
                on_message="""function(conn)
                  note(conn:send(("x"):rep(600)))
                  note(conn:send(("y"):rep(600)))
                  note(conn:send("z"))
                end""",
            )
        )
        client = self.client(server.address).send(b"one\n")
        self.assertTrue(ends_with_reset(client))
        self.ends("full", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message one",
            "true",
            "nil over limit ENOBUFS",
            "nil closed ECLOSED",
            "on_disconnect full max_output; 601 bytes not delivered",
        )

    def test_full_with_overflow_drop_lives_on(self):
        server = self.serve(
            traced(
                "framing = 'line', max_output = 1000, overflow = 'drop'",
                on_message="""function(conn)
                  note(conn:send(("x"):rep(600)))
                  note(conn:send(("y"):rep(600)))
                  note(conn:send("z"))
                end""",
            )
        )
        client = self.client(server.address).send(b"one\n")
        self.assertEqual(client.receive(603), b"x" * 600 + b"\nz\n")
        client.close()
        self.ends("eof", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message one",
            "true",
            "nil over limit ENOBUFS",
            "true",
            "on_disconnect eof nil",
        )

    def test_full_by_what_all_hold(self):
        """Over max_buffered, the connection that holds most goes; the others stay."""
        server = self.serve(
            traced(
                "framing = 'line', max_buffered = '4M', high_water = '64M', max_output = '64M'",
                on_message="function(conn, size) conn:write(('x'):rep(1000):rep(size // 1000)) end",
            )
        )
        modest, greedy = (self.client(server.address, receive_buffer=4096) for _ in range(2))
        modest.send(b"1000\n")
        self.assertEqual(modest.receive(1000), b"x" * 1000)
        greedy.send(b"20000000\n")
        self.ends("full max_buffered; ", server)
        modest.send(b"1000\n")
        self.assertEqual(modest.receive(1000), b"x" * 1000)

    def test_limit(self):
        server = self.serve(
            traced("max_peers = 2"), listen="udp://127.0.0.1:0"
        )
        first = self.client(server.address)
        first.send(b"x")
        server.wait_log("on_message x")
        for i in range(4):
            self.client(server.address).send(b"y")
            server.wait_log("on_message y", count=i + 1)
        self.ends("limit max_peers", server)
        found = server.records(peer=first.name, note="true")
        self.assertEqual(
            [line["msg"] for line in found],
            ["on_connect", "on_message x", "on_closing limit max_peers", "on_disconnect limit max_peers"],
        )

    def test_shutdown(self):
        server = self.serve(traced())
        client = self.client(server.address).send(b"one\n")
        server.wait_log("on_message one")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(client.receive_all(), b"")
        self.assert_history(
            server,
            "on_connect",
            "on_message one",
            "on_closing shutdown nil",
            "on_disconnect shutdown nil",
        )


if __name__ == "__main__":
    main()
