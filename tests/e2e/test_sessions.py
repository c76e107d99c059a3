"""Hooks that read by themselves, and sessions: a whole connection as straight-line code.

P8: every byte is given once and in order, whichever way it is read. P7: a reload loses no byte.
"""

import unittest

from control import control
from hook_test import HookTest, traced
from neap_server import PRELUDE, is_sanitized, main, run
from reload_test import until


def session(body, options="framing = 'line'", before=""):
    """A script whose on_session is that body."""
    return f"""{PRELUDE} {before}
      return {{ {options}, hook_timeout = 10,
        on_session = function(conn, resumed) {body} end,
        on_closing = function(conn, reason) note("closing", reason) end,
        on_disconnect = function(conn, reason, detail) note("gone", reason, detail) end }}"""


ECHO = "for message in conn:messages() do conn:send(message) end note('end')"


class Read(HookTest):
    """Each way to read, with input whole, glued together and byte by byte."""

    BODY = """
      note(conn:read())
      note(conn:read(5))
      note(conn:read("netstring"))
      note(conn:read({ "length", bytes = 2 }))
      note(conn:read({ "custom", function(b) return b:find(";", 1, true), 0, 1 end }))
      note(conn:skip(4))
      note(conn:read())
      conn:set("framing", { "delimiter", "||" })
      note(conn:read())
      note(conn:read(nil, 0))
      note(conn:read("all"))
      note(conn:read())
      note(conn:read(1))
      note(conn:read("all"))
      return conn:send("done")
    """
    INPUT = b"one\r\n12345" b"3:abc," b"\x00\x02xy" b"custom;" b"skip" b"two\n" b"three||" b"rest\nof it"
    NOTED = [
        "one",
        "12345",
        "abc",
        "xy",
        "custom",
        "true",
        "two",
        "three",
        "nil timeout ETIMEDOUT",
        "rest\nof it",
        "nil eof EOF",
        "nil eof EOF",
        "",
        "gone eof nil",
    ]

    def reads(self, send):
        server = self.serve(session(self.BODY))
        client = self.client(server.address)
        send(client)
        client.half_close()
        self.assertEqual(client.receive_all(), b"done||")
        self.assert_history(server, *self.NOTED)

    def test_whole(self):
        self.reads(lambda client: client.send(self.INPUT))

    def test_byte_by_byte(self):
        self.reads(lambda client: client.send_bytes(self.INPUT))

    def test_in_on_message_it_takes_what_follows(self):
        server = self.serve(
            traced(
                on_message="""function(conn, text)
                  if text == "pair" then return conn:read() .. "+" .. conn:read() end
                  return text
                end"""
            )
        )
        client = self.client(server.address)
        client.send(b"pair\n1\n2\nx\npair\n3\n").send_bytes(b"4\ny\n").half_close()
        self.assertEqual(client.receive_all(), b"1+2\nx\n3+4\ny\n")

    def test_long_counts(self):
        server = self.serve(session("conn:send(tostring(#conn:read(3000000))) note(conn:read())"))
        client = self.client(server.address).send(b"x" * 3000000 + b"next\n")
        self.assertEqual(client.receive_until(b"\n"), b"3000000\n")
        client.close()
        server.wait_log('"gone')
        self.assertEqual(server.events()[0], "next")

    def test_skip_keeps_nothing(self):
        server = self.serve(session("note(conn:skip(50000000)) conn:send(conn:read())"))
        before = server.status_field("VmRSS")
        client = self.client(server.address).send(b"x" * 50000000 + b"next\n")
        self.assertEqual(client.receive_until(b"\n"), b"next\n")
        if not is_sanitized():
            self.assertLess(server.status_field("VmHWM") - before, 4096)

    def test_timeouts(self):
        server = self.serve(
            session(
                """note(conn:read(nil, 0)) note(conn:read(3, -1)) note(conn:read(nil, 0.02))
                conn:send("now") note(conn:read(nil, 5)) note(conn:skip(3, 0.02)) note(conn:flush(5))"""
            )
        )
        client = self.client(server.address)
        client.receive_until(b"\n")
        client.send(b"in time\n")
        client.receive_all()
        client.close()
        server.wait_log('"gone')
        timeout = "nil timeout ETIMEDOUT"
        self.assert_history(server, timeout, timeout, timeout, "in time", timeout, "true", "gone closed nil")

    def test_a_read_that_fails_takes_nothing(self):
        server = self.serve(session("note(conn:read(10, 0.02)) note(conn:read({ 'fixed', 3 })) note(conn:read())"))
        client = self.client(server.address).send(b"12345\n")
        client.receive_all()
        client.close()
        server.wait_log('"gone')
        self.assert_history(server, "nil timeout ETIMEDOUT", "123", "45", "gone closed nil")

    def test_what_is_too_long_or_malformed(self):
        server = self.serve(
            session(
                """local first = conn:read()
                if first == "own" then conn:set("framing", "netstring") end
                note(first, conn:read("netstring"))
                note(conn:read(nil, 0))""",
                "framing = 'line', max_message = 20",
            )
        )
        for first, body, want in (
            (b"other\n", b"bad:\n", ["other nil malformed EBADMSG", "bad:"]),
            (b"other\n", b"99:\n", ["other nil oversize EMSGSIZE", "99:"]),
        ):
            client = self.client(server.address).send(first + body)
            client.receive_all()
            client.close()
            server.wait_log('"gone', count=1 + (body == b"99:\n"))
            self.assertEqual(server.events()[-3:-1], want)
        self.client(server.address).send(b"y" * 30 + b"\n").receive_all()
        server.wait_log("closing oversize")

    def test_wrong_arguments(self):
        bad = ["0", "-1", "1.5", "2^40", "{}", "'nonsense'", "nil, 'x'", "nil, 1e10", "true"]
        rows = ", ".join(f"function() return conn:read({one}) end" for one in bad)
        server = self.serve(session(f"for _, f in ipairs {{ {rows} }} do note(pcall(f)) end"))
        self.client(server.address).receive_all()
        events = [e for e in self.history(server) if not e.startswith(("gone", "closing"))]
        self.assertEqual(len(events), len(bad))
        for event in events:
            self.assertRegex(event, "^false .*bad argument #[12]")

    def test_another_connection_is_read(self):
        # What a reader takes its own hooks do not get; the rest they do.
        server = self.serve(f"""{PRELUDE} local first
            return {{ framing = "line",
              on_connect = function(conn) first = first or conn end,
              on_message = function(conn, line)
                if conn == first then note("hook", line) return end
                note("reading")
                note("read", first:read())
                return "taken"
              end }}""")
        first = self.client(server.address)
        second = self.client(server.address).send(b"x\n")
        server.wait_log('msg="reading')
        first.send(b"one\ntwo\n")
        self.assertEqual(second.receive_until(b"\n"), b"taken\n")
        first.half_close().receive_all()
        self.assertEqual(self.history(server), ["reading", "read one", "hook two"])

    def test_a_second_reader(self):
        server = self.serve(f"""{PRELUDE}
            return {{ framing = "line",
              on_message = function(conn, line)
                local task = conn:spawn(function()
                  note("reading")
                  return conn:read()
                end)
                neap.sleep(0.01)
                note(pcall(conn.read, conn))
                conn:send("both")
                note(task:wait())
              end }}""")
        client = self.client(server.address).send(b"x\n")
        client.receive_until(b"\n")
        client.send(b"y\n").half_close().receive_all()
        self.assertEqual(
            self.history(server),
            [
                "reading",
                "false conn:read: another hook or task reads from this connection already",
                "true y",
            ],
        )

    def test_datagrams(self):
        server = self.serve(
            traced(
                "sessions = true",
                on_message="""function(conn, text)
                  note(conn:read(3)) note(conn:read("all"))
                  return text .. "+" .. tostring(conn:read(nil, 5))
                end""",
            ),
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)
        client.send(b"a")
        server.wait_log("EOPNOTSUPP")
        client.send(b"b")
        self.assertEqual(client.datagram(), b"a+b")

    def test_flush_waits_for_the_peer(self):
        server = self.serve(
            session("conn:send(('x'):rep(8000000)) note(conn:pending() > 0) note(conn:flush()) note(conn:pending())",
                    "framing = 'line', max_output = '16M'")
        )
        client = self.client(server.address, receive_buffer=65536)
        server.wait_log("true")
        self.assertEqual(len(client.receive_all()), 8000001)
        client.close()
        server.wait_log('"gone')
        self.assert_history(server, "true", "true", "0", "gone closed nil")

    def test_a_failed_read_that_is_raised_is_an_end_and_no_error(self):
        for want, body in (
            ("gone timeout", "assert(conn:read(nil, 0.02))"),
            ("gone eof", "assert(conn:read())"),
            ("gone idle", "assert(conn:read())"),
        ):
            with self.subTest(want):
                idle = "idle_timeout = 0.05," if "idle" in want else ""
                server = self.serve(session(body, f"{idle} framing = 'line'"))
                client = self.client(server.address)
                if "eof" in want:
                    client.half_close()
                client.receive_all()
                client.close()
                server.wait_log(f'"{want}')
                self.assertEqual(server.stop(), 0)
                self.assertFalse(server.count_log("raised"))


class Found(HookTest):
    """What a hunt for faults has found."""

    def test_the_end_comes_after_what_waits_behind_high_water(self):
        server = self.serve(
            session(
                """neap.sleep(0.1)
                for message in conn:messages() do note(message) conn:send(("x"):rep(2500000)) end""",
                "framing = 'line', max_output = '16M'",
            )
        )
        client = self.client(server.address, receive_buffer=65536).send(b"1\n2\n3\n").half_close()
        server.wait_log('msg="1"')
        self.assertEqual(len(client.receive_all()), 3 * 2500001)
        client.close()
        server.wait_log('"gone')
        self.assert_history(server, "1", "2", "3", "gone eof nil")

    def test_a_decoder_does_not_read(self):
        server = self.serve(
            PRELUDE
            + """
            local one
            return {
              framing = { "custom", function() note(pcall(one.read, one, 5, 0)) note(pcall(one.skip, one, 2)) return 8 end },
              on_connect = function(conn) one = conn end,
              on_message = function(conn, text) return text end,
            }"""
        )
        client = self.client(server.address)
        self.assertEqual(client.ask(b"abcdefgh12345678"), b"abcdefgh12345678")
        for event in self.history(server):
            self.assertRegex(event, "^false .*cannot wait in the framing's decode")

    def test_an_old_failure_is_no_excuse(self):
        server = self.serve(session("conn:read(nil, 0) conn:send('go') conn:read() error('timeout', 0)"))
        client = self.client(server.address)
        client.receive_until(b"\n")
        client.send(b"x\n").receive_all()
        server.wait_log("on_session raised: timeout")


class Session(HookTest):
    def test_the_loop_ends_with_the_peer(self):
        server = self.serve(session(ECHO))
        client = self.client(server.address).send(b"a\nb\n").send_bytes(b"c\nd").half_close()
        self.assertEqual(client.receive_all(), b"a\nb\nc\n")
        self.assert_history(server, "end", "gone eof nil")

    def test_returning_closes(self):
        server = self.serve(session("note(resumed) return 'is not sent'"))
        self.assertEqual(self.client(server.address).receive_all(), b"")
        self.assertEqual(self.history(server)[0], "false")

    def test_on_connect_comes_first(self):
        script = session("conn:send('session')").replace(
            "on_closing", "on_connect = function() neap.sleep(0.02) return 'connect' end, on_closing"
        )
        server = self.serve(script)
        self.assertEqual(self.client(server.address).receive_all(), b"connect\nsession\n")

    def test_an_error_closes_that_connection(self):
        server = self.serve(session("for m in conn:messages() do if m == 'bad' then error('oops', 0) end conn:send(m) end"))
        good, bad = self.client(server.address), self.client(server.address)
        bad.send(b"bad\n")
        self.assertEqual(bad.receive_all(), b"")
        self.assertEqual(good.ask(b"fine\n"), b"fine\n")
        server.wait_log("closing error")

    def test_idle_ends_it(self):
        server = self.serve(session("note(conn:read()) note(conn:read())", "framing = 'line', idle_timeout = 0.1"))
        client = self.client(server.address).send(b"a\n")
        client.receive_all()
        client.close()
        server.wait_log('"gone')
        self.assert_history(server, "a", "nil idle ETIMEDOUT", "gone closed nil")

    def test_ends_from_outside(self):
        body = "note(conn:read()) note(conn:read())"
        closed = ["nil closed ECLOSED", "nil closed ECLOSED"]
        with self.subTest("reset"):
            server = self.serve(session(body))
            client = self.client(server.address).send(b"half")
            self.client(server.address).send(b"x\n")
            server.wait_log('msg="x"')
            client.reset()
            server.wait_log("gone reset")
        with self.subTest("kick"):
            server = self.serve(session(body))
            client = self.client(server.address)
            server_number = 1
            while not control(server, "kick", id=server_number)["ok"]:
                pass
            client.receive_all()
            client.close()
            server.wait_log("gone kicked")
            self.assertEqual(self.history(server)[:2], closed)
        with self.subTest("message_timeout"):
            server = self.serve(session(body, "framing = 'line', message_timeout = 0.05"))
            client = self.client(server.address).send(b"half")
            client.receive_all()
            self.assertEqual(self.history(server)[:2], closed)
        with self.subTest("shutdown"):
            server = self.serve(session(body))
            client = self.client(server.address)
            self.assertEqual(control(server, "status")["ok"], True)
            with self.within(5):
                self.assertEqual(server.stop(), 0)
            self.assertEqual(server.events()[-1], "gone shutdown nil")

    def test_hooks_that_it_stands_for_are_refused(self):
        for hook in ("on_message", "on_eof", "on_idle", "on_drain"):
            with self.subTest(hook):
                path = self.folder() / "main.lua"
                path.write_text(f"return {{ on_session = function() end, {hook} = function() end }}")
                status, errors = run("check", path)
                self.assertEqual(status, 65)
                self.assertRegex(errors, f"on_session stands instead of {hook}")

    def test_many_at_once(self):
        server = self.serve(session(ECHO))
        clients = [self.client(server.address) for _ in range(200)]
        for i, client in enumerate(clients):
            client.send(b"%d\n" % i)
        for i, client in enumerate(clients):
            self.assertEqual(client.receive_until(b"\n"), b"%d\n" % i)


class Reload(HookTest):
    def script(self, tag, more=""):
        return session(
            f"""note("{tag}", resumed, conn.data.count)
            local c <close> = setmetatable({{}}, {{ __close = function() note("close {tag}") end }})
            for message in conn:messages() do
              conn.data.count = (conn.data.count or 0) + 1
              {more}
              conn:send("{tag} " .. message)
            end
            note("behind {tag}")"""
        )

    def reload(self, server, text):
        (server.folder / "main.lua").write_text(text)
        answer = control(server, "reload")
        self.assertTrue(answer["ok"], answer)

    def test_at_messages_a_session_makes_room(self):
        server = self.serve(self.script("one"))
        client = self.client(server.address)
        self.assertEqual(client.ask(b"a\nhalf", 6), b"one a\n")
        self.reload(server, self.script("two"))
        server.wait_log("two true 1")
        self.assertEqual(client.ask(b" b\n", 11), b"two half b\n")
        client.half_close()
        self.assertEqual(client.receive_all(), b"")
        self.assert_history(
            server, "one false nil", "close one", "two true 1", "behind two", "close two", "gone eof nil"
        )

    def test_elsewhere_it_does_when_it_comes_there(self):
        server = self.serve(self.script("one", "if message == 'wait' then neap.sleep(0.3) end"))
        client = self.client(server.address).send(b"wait\nnext\n")
        self.assertEqual(self.client(server.address).ask(b"x\n", 6), b"one x\n")
        self.reload(server, self.script("two"))
        self.assertEqual(client.receive_until(b"\n"), b"one wait\n")
        self.assertEqual(client.receive_until(b"\n"), b"two next\n")

    def test_between_sessions_and_hooks(self):
        hooks = traced(on_message="function(conn, text) return 'hooks ' .. text end")
        server = self.serve(self.script("one"))
        client = self.client(server.address)
        self.assertEqual(client.ask(b"a\n", 6), b"one a\n")
        self.reload(server, hooks)
        self.assertEqual(client.ask(b"b\n", 8), b"hooks b\n")
        self.reload(server, self.script("two"))
        self.assertEqual(client.ask(b"c\n", 6), b"two c\n")

    @unittest.skipIf(is_sanitized(), "it counts the memory of the process")
    def test_sessions_do_not_keep_old_versions(self):
        server = self.serve(self.script("one"))
        clients = [self.client(server.address) for _ in range(50)]
        for client in clients:
            self.assertEqual(client.ask(b"a\n", 6), b"one a\n")
        for i in range(60):
            self.reload(server, self.script("two") + f"-- {i}")
            if i == 20:
                before = server.status_field("VmRSS")
        self.assertLess(server.status_field("VmRSS") - before, 2048)
        # A session makes room in the turn after the switch.
        until(
            lambda: [row["waiting"] for row in control(server, "versions")["versions"]]
            == [50, 0, 0, 0, 0, 0]
        )


if __name__ == "__main__":
    main()
