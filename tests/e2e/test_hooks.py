"""Hooks: which are called, in which order, with what.

P8: on_connect at most once, messages in order, on_disconnect exactly once, nothing after it.
"""

import contextlib
import threading

from hook_test import HookTest, traced
from neap_server import PRELUDE, Client, Server, ends_with_reset, main


class Order(HookTest):
    def test_messages_come_in_order_and_only_after_on_connect(self):
        server = self.serve(traced())
        client = self.client(server.address)
        for i in range(1000):
            client.send(b"%d\n" % i)
        client.close()
        self.ends("eof", server)
        self.assert_history(
            server,
            "on_connect",
            *[f"on_message {i}" for i in range(1000)],
            "on_disconnect eof nil",
        )

    def test_a_thousand_messages_in_one_segment_do_not_keep_others_waiting(self):
        server = self.serve(
            traced(
                on_connect="function(conn) return conn:after(0.05, 'soon') end",
                on_message="function(_, text) return text end",
            )
        )
        client = self.client(server.address)
        data = b"".join(b"%d\n" % i for i in range(20000))
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        self.assertEqual(client.receive(len(data)), data)
        sender.join()
        server.wait_log("on_timer soon")

    def test_what_hooks_send_leaves_in_order(self):
        server = self.serve(
            traced(
                on_connect="function(conn) conn:send('a') conn:write('b') return 'c' end",
                on_message="""function(conn, text)
                  conn:send(1, " ", 2.5, " ", text)
                  conn:send("")
                  return "z", "not sent"
                end""",
                on_disconnect="function() return 'too late' end",
            )
        )
        client = self.client(server.address).send(b"y\n").half_close()
        self.assertEqual(client.receive_all(), b"a\nbc\n1 2.5 y\n\nz\n")

    def test_nil_true_and_false_send_nothing(self):
        server = self.serve(
            traced(
                on_connect="function() end",
                on_message="""function(_, text)
                  if text == "nil" then return nil end
                  if text == "true" then return true, "x" end
                  if text == "false" then return false end
                  return ""
                end""",
            )
        )
        client = self.client(server.address).send(b"nil\ntrue\nfalse\nempty\n").half_close()
        self.assertEqual(client.receive_all(), b"\n")

    def test_no_hook_runs_inside_another(self):
        """What one connection does to another is told after its hook has returned."""
        server = self.serve(
            traced(
                on_message="""function(conn, text)
                  note("in", text)
                  for other in neap.connections() do
                    if other ~= conn then
                      if text == "abort" then other:abort("by a neighbour") end
                      if text == "close" then other:close("by a neighbour") end
                      note(other:is_open(), other:send("x"))
                    end
                  end
                  note("out", text)
                end"""
            )
        )
        for how in ("abort", "close"):
            with self.subTest(how), Client(server.address) as other, Client(server.address) as one:
                server.wait_log("on_connect", count=2 if how == "abort" else 4)
                one.send(how.encode() + b"\n")
                self.assertEqual(ends_with_reset(other), how == "abort")
                other.close()
                server.wait_log("by a neighbour", count=1 if how == "abort" else 2)
                one.close()
                server.wait_log("on_disconnect eof", count=1 if how == "abort" else 2)
        found = []
        for how in ("abort", "close"):
            found += ["on_connect", "on_connect", f"on_message {how}", f"in {how}"]
            found += ["false nil closed ECLOSED", f"out {how}"]
            found += ["on_disconnect closed by a neighbour", "on_disconnect eof nil"]
        self.assert_history(server, *found)

    def test_close_and_abort_in_every_hook(self):
        """P8: whatever a hook does to its connection, it ends once."""
        provoke = {
            "on_connect": b"",
            "on_message": b"x\n",
            "on_eof": None,
            "on_timer": b"timer\n",
            "on_idle": b"",
            "on_drain": b"drain\n",
            "on_closing": b"error\n",
            "on_disconnect": b"close\n",
        }
        for hook, data in provoke.items():
            for how in ("close", "abort"):
                with self.subTest(hook=hook, how=how):
                    self.close_in(hook, how, data)

    def close_in(self, hook, how, data):
        hooks = {
            "on_message": """function(conn, text)
              if text == "timer" then conn:after(0, "soon") end
              if text == "drain" then conn:write(("x"):rep(100)) end
              if text == "error" then error("wrong", 0) end
              if text == "close" then conn:close() end
            end"""
        }
        if hook != "on_message":
            hooks["given"] = hooks.pop("on_message")
            hooks["on_message"] = "given"
        script = traced(
            "framing = 'line', high_water = 10, linger = 0.1, idle_timeout = "
            + ("0.05" if hook == "on_idle" else "0"),
            before=f"local given = {hooks.pop('given', 'nil')}",
            **{**hooks, hook: f"function(conn) note(conn:{how}('in {hook}')) return 'more' end"},
        )
        with Server(script) as server:
            try:
                with Client(server.address) as client:
                    if data is None:
                        client.half_close()
                    else:
                        client.send(data)
                    server.wait_log("on_disconnect")
            except (ConnectionResetError, BrokenPipeError):
                pass  # an abort that was faster than this client
            server.wait_log("on_disconnect")
            server.stop()
            events = server.events()
            self.assertEqual(events[0], "on_connect")
            self.assertTrue(any(event.startswith(hook) for event in events), events)
            ends = [event for event in events if event.startswith("on_disconnect")]
            self.assertEqual(len(ends), 1, events)
            after = events[events.index(ends[0]) + 1 :]
            self.assertEqual(after, ["nil closed ECLOSED"] if hook == "on_disconnect" else [])


class Accept(HookTest):
    def test_false_closes_at_once_and_no_other_hook_runs(self):
        server = self.serve(
            traced(
                before="local count = 0",
                on_accept="function() count = count + 1 return count % 2 == 0 end",
            )
        )
        for _ in range(3):
            for accepted in (False, True):
                client = self.client(server.address)
                if accepted:
                    self.assertEqual(client.half_close().receive_all(), b"")
                else:
                    self.assertEqual(client.receive_all(), b"")
        server.wait_log("on_disconnect eof", count=3)
        table, refused = "on_accept", ["on_connect", "on_disconnect eof nil"]
        events = [event.split(" table")[0] for event in self.history(server)]
        self.assertEqual(events, [table, table, *refused] * 3)

    def test_peer(self):
        server = self.serve(
            traced(
                on_accept="""function(p)
                  note(p.host, p.port, p.address, p.transport, p.service)
                end"""
            )
        )
        client = self.client(server.address)
        server.wait_log("on_connect")
        self.assertEqual(
            server.events()[1:2], [f"127.0.0.1 {client.port} {client.name} tcp main"]
        )

    def test_an_error_refuses(self):
        server = self.serve(traced(on_accept="function() error('wrong', 0) end"))
        client = self.client(server.address)
        try:
            self.assertEqual(client.receive_all(), b"")
        except ConnectionResetError:
            pass
        server.wait_log("on_accept raised: wrong")
        events = self.history(server)
        self.assertEqual(len(events), 1)
        self.assertRegex(events[0], "^on_accept")


class Idle(HookTest):
    def test_keep_gives_as_long_again(self):
        server = self.serve(
            traced(
                "framing = 'line', idle_timeout = 0.1",
                before="local kept = 0",
                on_idle="""function(conn)
                  kept = kept + 1
                  conn:send(kept)
                  return kept < 3 and "keep" or "let it go"
                end""",
            )
        )
        client = self.client(server.address)
        self.assertEqual(client.receive_all(), b"1\n2\n3\n")
        client.close()
        self.ends("idle", server)
        events = self.history(server)
        self.assertEqual(len([event for event in events if event.startswith("on_idle 0.1")]), 3)
        self.assertEqual(events[-2:], ["on_closing idle nil", "on_disconnect idle nil"])

    def test_a_timeout_set_for_one_connection(self):
        server = self.serve(
            traced(
                "framing = 'line', idle_timeout = 60",
                on_message="""function(conn, text)
                  note(conn:get("idle_timeout"), conn:set("idle_timeout", tonumber(text)))
                end""",
            )
        )
        stays, goes = self.client(server.address), self.client(server.address).send(b"0.05\n")
        self.assertEqual(goes.receive_all(), b"")
        goes.close()
        self.ends("idle", server)
        self.assertIn("60.0 true", server.events())
        stays.send(b"0\n")
        server.wait_log('"60.0 true"', count=2)


class Drain(HookTest):
    def test_once_below_half_after_full(self):
        server = self.serve(
            traced(
                "framing = 'line', high_water = 100000, max_output = '64M'",
                on_message="""function(conn)
                  local sends = 0
                  local ok, full
                  repeat
                    sends = sends + 1
                    ok, full = conn:write(("x"):rep(10000))
                  until full or not ok
                  note(full, conn:pending() > 100000)
                  conn:send("sent", sends)
                end""",
                on_drain="function(conn) note(conn:pending() < 50000) conn:send('drained') end",
            )
        )
        client = self.client(server.address)
        for i in range(2):
            client.send(b"go\n")
            server.wait_log('"full true"', count=i + 1)  # reading now, it might never be full
            self.assertTrue(client.receive_until(b"drained\n").startswith(b"xxxx"))
        client.close()
        self.ends("eof", server)
        once = ["on_message go", "full true", "on_drain", "true"]
        self.assert_history(server, "on_connect", *once, *once, "on_disconnect eof nil")

    def test_messages_wait_above_high_water(self):
        """What is read of a client that does not read is bounded: it waits in the kernel."""
        server = self.serve(
            traced(
                "framing = 'line', high_water = 1000, max_output = '64M'",
                on_message="function(conn, text) return ('x'):rep(1 << 12):rep(1 << 10) end",
            )
        )
        client = self.client(server.address).send(b"one\ntwo\n")
        server.wait_log("on_message one")
        other = self.client(server.address)
        server.wait_log("on_connect", count=2)
        other.close()
        self.ends("eof", server)
        self.assertNotIn("on_message two", server.events())
        self.assertEqual(client.receive(2 * (1 << 22) + 2).count(b"x"), 2 << 22)
        server.wait_log("on_message two")


class Closing(HookTest):
    def test_the_last_message(self):
        """What on_closing returns arrives, whatever the reason."""
        cases = {
            "idle": ("framing = 'line', idle_timeout = 0.05", b""),
            "timeout": ("framing = 'line', message_timeout = 0.05", b"half"),
            "oversize": ("framing = 'line', max_message = 3", b"long line\n"),
            "malformed": ("framing = 'netstring'", b"x"),
            "error": ("framing = 'line'", b"error\n"),
            "shutdown": ("framing = 'line'", b"stop\n"),
        }
        for reason, (options, data) in cases.items():
            with self.subTest(reason):
                script = traced(
                    options,
                    on_message="""function(_, text)
                      if text == "error" then error("wrong") end
                      if text == "stop" then neap.stop("asked") end
                    end""",
                    on_closing="function(conn, reason) conn:write('because ') return reason end",
                )
                with Server(script) as server, Client(server.address) as client:
                    client.send(data)
                    end = b"%d:%s," % (len(reason), reason.encode())
                    if "netstring" not in options:
                        end = reason.encode() + b"\n"
                    self.assertEqual(client.receive_all(), b"because " + end)
                    client.close()
                    self.ends(reason, server)
                    if reason == "shutdown":
                        server.wait()

    def test_not_for_what_the_peer_or_the_script_ends(self):
        server = self.serve(
            traced(on_message="function(conn, text) conn[text](conn) end")
        )
        for data in (b"close\n", b"abort\n", b""):
            with Client(server.address) as client:
                client.send(data)
                with contextlib.suppress(OSError):  # it may be reset already
                    client.half_close()
                ends_with_reset(client)
        client = self.client(server.address)
        client.reset()
        server.wait_log("on_disconnect", count=4)
        events = self.history(server)
        self.assertEqual([event for event in events if event.startswith("on_closing")], [])

    def test_an_error_in_it_changes_nothing(self):
        server = self.serve(
            traced("idle_timeout = 0.05", on_closing="function() error('again', 0) end")
        )
        client = self.client(server.address)
        self.assertEqual(client.receive_all(), b"")
        client.close()
        self.ends("idle", server)
        server.wait_log("on_closing raised: again")
        self.assertRegex(self.history(server)[-1], "^on_disconnect idle ")


class Timers(HookTest):
    def test_after_and_cancel(self):
        server = self.serve(
            traced(
                on_connect="""function(conn)
                  note(conn:after(0.06, "third"))
                  note(conn:after(0.04, "second"))
                  note(conn:after(0.02, "first"))
                  note(conn:after(0.03, "never"))
                  note(conn:cancel("never"), conn:cancel("never"), conn:cancel("other"))
                end""",
                on_timer="""function(conn, name)
                  if name == "third" then conn:close() end
                  return name
                end""",
            )
        )
        client = self.client(server.address)
        self.assertEqual(client.receive_all(), b"first\nsecond\nthird\n"[: -len(b"third\n")])
        client.close()
        self.ends("closed", server)
        self.assert_history(
            server,
            "on_connect",
            *["true"] * 4,
            "true false false",
            "on_timer first",
            "on_timer second",
            "on_timer third",
            "on_disconnect closed nil",
        )

    def test_the_same_name_sets_it_anew(self):
        server = self.serve(
            traced(
                on_connect="""function(conn)
                  conn:after(0.01, "a") conn:after(60, "b")
                  conn:after(60, "a") conn:after(0.01, "b")
                end""",
                on_timer="function(conn, name) conn.data.n = (conn.data.n or 0) + 1"
                " if conn.data.n < 3 then conn:after(0.01, name) else conn:close() end end",
            )
        )
        client = self.client(server.address)
        self.assertEqual(client.receive_all(), b"")
        client.close()
        self.ends("closed", server)
        self.assert_history(
            server, "on_connect", *["on_timer b"] * 3, "on_disconnect closed nil"
        )

    def test_timers_end_with_the_connection(self):
        server = self.serve(
            traced(on_message="function(conn) conn:after(0.05, 'late') conn:close() end"),
        )
        waits = self.client(server.address)
        waits.send(b"x\n")
        self.assertEqual(waits.receive_all(), b"")
        waits.close()
        threading.Event().wait(0.1)  # twice as long as the timer
        self.assertNotIn("on_timer late", self.history(server))

    def test_names_are_bytes(self):
        server = self.serve(
            traced(
                on_connect=r"""function(conn)
                  conn:after(0.02, "a\0b") conn:after(0.01, "") conn:after(60, "a")
                  note(conn:cancel("a"))
                end""",
            )
        )
        self.client(server.address)
        server.wait_log(r'"on_timer a\\x00b"')
        self.assertEqual(server.events()[1:3], ["true", "on_timer "])

    def test_of_the_version(self):
        server = self.serve(
            PRELUDE
            + """
            note("loading")
            local ticks, every = 0
            local never = neap.after(0.01, function() note("never") end)
            every = neap.every(0.02, function(passed)
              ticks = ticks + 1
              note("tick", ticks, passed > 0.01)
              if ticks == 3 then note(every:cancel()) end
            end)
            note(never:cancel())
            return {
              on_start = function()
                note("start")
                local once once = neap.after(0.2, function(...)
                  note("once", select("#", ...), once:cancel(), once:cancel())
                end)
              end,
            }"""
        )
        server.wait_log('"once')
        events = self.history(server)
        self.assertEqual(events[:3], ["loading", "true", "start"])
        self.assertEqual(events[3:6], ["tick 1 true", "tick 2 true", "tick 3 true"])
        self.assertEqual(events[6], "true")
        self.assertRegex(events[7], "^once 0 ")
        self.assertEqual(events[8:], [])

    def test_an_error_in_a_timer_ends_nothing(self):
        server = self.serve(
            PRELUDE
            + """
            local count = 0
            neap.every(0.02, function() count = count + 1 error("tick " .. count, 0) end)
            return { on_error = function(conn, err) note(conn, err.hook, err.message) end }"""
        )
        for count in (1, 2, 3):
            server.wait_log(rf'"nil timer tick {count}"')
            server.wait_log(rf'"timer raised: tick {count}"')


class HalfOpen(HookTest):
    def test_on_eof_keeps_the_sending_half_open(self):
        server = self.serve(
            traced(
                on_eof="function(conn, rest) conn:after(0.05, 'later') return 'got ' .. rest end",
                on_timer="function(conn) conn:send('later') conn:close() end",
            )
        )
        client = self.client(server.address).send(b"one\nre").send(b"st").half_close()
        self.assertEqual(client.receive_all(), b"got rest\nlater\n")
        self.ends("closed", server)
        self.assert_history(
            server,
            "on_connect",
            "on_message one",
            "on_eof rest",
            "on_timer later",
            "on_disconnect closed nil",
        )

    def test_rest_is_empty_after_whole_messages(self):
        server = self.serve(traced(on_eof="function(conn) conn:close() end"))
        self.client(server.address).send(b"one\n").half_close().receive_all()
        self.ends("closed", server)
        self.assertIn("on_eof ", server.events())

    def test_shutdown_lets_the_peer_go_on(self):
        server = self.serve(
            traced(
                on_connect="function(conn) conn:send('last') note(conn:shutdown()) end",
                on_message="function(conn, text) note(conn:send('x'), conn:is_open()) end",
            )
        )
        client = self.client(server.address)
        self.assertEqual(client.receive_all(), b"last\n")
        client.send(b"one\ntwo\n").close()
        self.ends("eof", server)
        self.assert_history(
            server,
            "on_connect",
            "true",
            "on_message one",
            "nil false",
            "on_message two",
            "nil false",
            "on_disconnect eof nil",
        )

    def test_output_is_delivered_after_the_peers_end(self):
        size = 1 << 22
        server = self.serve(
            traced(on_message=f"function() return ('x'):rep(1024):rep({size} // 1024) end", options="framing = 'line'")
        )
        client = self.client(server.address, receive_buffer=4096).send(b"go\n").half_close()
        self.assertEqual(len(client.receive_all()), size + 1)
        self.ends("eof nil", server)


class Pause(HookTest):
    def test_no_message_is_delivered_in_between(self):
        server = self.serve(
            traced(
                on_message="""function(conn, text)
                  if text == "pause" then
                    conn:pause()
                    conn:after(0.05, "resume")
                  end
                  return text
                end""",
                on_timer="function(conn) conn:resume() end",
            )
        )
        client = self.client(server.address).send(b"a\npause\nb\nc\n")
        self.assertEqual(client.receive(12), b"a\npause\nb\nc\n")
        client.send(b"pause\nd\n").half_close()
        self.assertEqual(client.receive_all(), b"pause\nd\n")
        self.ends("eof", server)
        once = ["on_message pause", "on_timer resume"]
        self.assert_history(
            server,
            "on_connect",
            "on_message a",
            *once,
            "on_message b",
            "on_message c",
            *once,
            "on_message d",
            "on_disconnect eof nil",
        )

    def test_a_paused_connection_notices_a_reset(self):
        server = self.serve(traced(on_connect="function(conn) conn:pause() end"))
        client = self.client(server.address).send(b"one\n")
        server.wait_log("on_connect")
        client.reset()
        self.ends("reset", server)
        self.assert_history(server, "on_connect", "on_disconnect reset ECONNRESET")

    def test_what_is_read_ahead_is_bounded(self):
        server = self.serve(traced(on_connect="function(conn) conn:pause() end"))
        client = self.client(server.address)
        client.socket.setblocking(False)
        sent = 0
        try:
            while sent < 1 << 26:
                sent += client.socket.send(b"x" * 65536)
        except BlockingIOError:
            pass
        self.assertLess(sent, 1 << 26)
        self.client(server.address)
        server.wait_log("on_connect", count=2)


if __name__ == "__main__":
    main()
