"""Hooks that wait: what they hold back and what not, and how each wait ends.

P3: an error concerns one hook of one connection. P4: a budget for each stretch between two waits.
P8: never two hooks of a connection at once, on_disconnect last. P13: the server ends in time.
"""

import unittest

from control import control
from hook_test import HookTest, traced
from neap_server import PRELUDE, NeapTest, main
from reload_test import IS_THREAD_SANITIZED

# Answers a line with what it says, "N" after so many seconds.
WAITING = """function(conn, text)
  note("slept", neap.sleep(tonumber(text) or 60))
  return text
end"""


class Order(HookTest):
    def test_the_next_event_of_the_connection_waits(self):
        server = self.serve(
            traced(
                on_connect="function(conn) conn:after(0, 't') neap.sleep(0.05) return 'hello' end",
                on_message=WAITING,
            )
        )
        client = self.client(server.address).send(b"0.05\n0\n").half_close()
        self.assertEqual(client.receive_all(), b"hello\n0.05\n0\n")
        self.assert_history(
            server,
            "on_connect",
            "on_timer t",
            "on_message 0.05",
            "slept true",
            "on_message 0",
            "slept true",
            "on_disconnect eof nil",
        )

    def test_no_other_connection_does(self):
        server = self.serve(traced(on_message=WAITING))
        waits, quick = self.client(server.address), self.client(server.address)
        waits.send(b"wait\n")
        server.wait_log("on_message wait")
        self.assertEqual(quick.ask(b"0\n"), b"0\n")
        waits.reset()
        server.wait_log("on_disconnect reset")

    def test_what_was_sent_leaves_when_the_wait_begins(self):
        server = self.serve(traced(on_message="function(conn) conn:send('at once') neap.sleep(60) end"))
        client = self.client(server.address).send(b"x\n")
        self.assertEqual(client.receive_until(b"\n"), b"at once\n")
        client.reset()

    def test_messages_that_came_meanwhile_are_delivered_one_by_one(self):
        server = self.serve(traced(on_message=WAITING))
        client = self.client(server.address)
        client.send(b"0.02\n" + b"0\n" * 500).half_close()
        self.assertEqual(client.receive_all(), b"0.02\n" + b"0\n" * 500)

    def test_a_flood_meanwhile_is_left_in_the_kernel(self):
        server = self.serve(traced("framing = 'line', drain_timeout = 0.1", on_message=WAITING))
        client = self.client(server.address).send(b"wait\n")
        server.wait_log("on_message wait")
        before = server.status_field("VmRSS")
        client.socket.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            for _ in range(1000):
                client.socket.send(b"0\n" * 50000)
        self.assertLess(server.status_field("VmRSS") - before, 4096)
        client.reset()

    def test_datagrams_of_the_peer_queue_up_to_a_point(self):
        script = traced("sessions = true", on_message=WAITING)
        server = self.serve(script, listen="udp://127.0.0.1:0")
        waits, quick = self.client(server.address), self.client(server.address)
        waits.send(b"0.2")
        server.wait_log("on_message 0.2")
        for _ in range(30):
            waits.send(b"0")
        quick.send(b"0")
        self.assertEqual(quick.datagram(), b"0")
        self.assertEqual([waits.datagram() for _ in range(17)], [b"0.2"] + [b"0"] * 16)

    def test_not_too_many_datagrams_without_sessions(self):
        server = self.serve(
            traced("sessions = false, max_waiting = 3, drain_timeout = 0.1", on_message=WAITING),
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)
        for _ in range(10):
            client.send(b"60")
        server.wait_log("dropped a datagram: max_waiting")
        self.assertEqual(control(server, "status")["counters"]["datagrams_max_waiting"], 7)

    def test_datagrams_without_sessions_wait_side_by_side(self):
        server = self.serve(traced("sessions = false", on_message=WAITING), listen="udp://127.0.0.1:0")
        client = self.client(server.address)
        for text in (b"0.3", b"0.15", b"0"):
            client.send(text)
        self.assertEqual([client.datagram() for _ in range(3)], [b"0", b"0.15", b"0.3"])
        server.stop()
        self.assertNotIn("on_disconnect", " ".join(server.events()))


class Where(HookTest):
    """Each kind of function that may wait, and those that may not."""

    def test_through_pcall_iterators_metamethods_close_and_coroutines(self):
        server = self.serve(
            traced(
                before="""
                  local function wait(...) assert(neap.sleep(0.01)) return ... end
                  local lazy = setmetatable({}, {
                    __index = function(_, key) return wait(key) end,
                    __call = function(_, a) return wait(a) end,
                    __add = function() return wait("sum") end,
                    __lt = function() return wait(true) end,
                  })
                  local function each() return function(_, i) return wait(i < 3 and i + 1 or nil) end, nil, 0 end
                """,
                on_message="""function(conn, text)
                  note(pcall(wait, 1, 2))
                  note(select(2, pcall(function() wait() error("raised", 0) end)))
                  note(xpcall(function() wait() error("raised", 0) end, function(e) return "handled " .. e end))
                  note(lazy.key, lazy("called"), lazy + 1, lazy < lazy)
                  local sum = 0
                  for i in each() do sum = sum + i end
                  note(sum)
                  do local c <close> = setmetatable({}, { __close = function() note(wait("closed")) end }) end
                  local outer = coroutine.wrap(function(a)
                    local inner = coroutine.create(function(b) local c = coroutine.yield(wait(b)) return wait(c) end)
                    note(coroutine.resume(inner, a))
                    coroutine.yield("yielded")
                    note(coroutine.resume(inner, "c"))
                    note(coroutine.resume(inner))
                    wait()
                    error("out of it", 0)
                  end)
                  note(outer("b"))
                  note(pcall(outer))
                  return text
                end""",
            )
        )
        client = self.client(server.address).send(b"x\n").half_close()
        self.assertEqual(client.receive_all(), b"x\n")
        self.assertEqual(
            self.history(server)[2:-1],
            [
                "true 1 2",
                "raised",
                "false handled raised",
                "key called sum true",
                "6",
                "closed",
                "true b",
                "yielded",
                "true c",
                "false cannot resume dead coroutine",
                "false out of it",
            ],
        )

    def test_not_below_c_code_nor_in_what_must_answer_at_once(self):
        rows = {
            "sort": "table.sort({ 3, 2, 1 }, function() neap.sleep(1) end)",
            "gsub": "(('x'):gsub('x', function() neap.sleep(1) end))",
            "load": "load(function() neap.sleep(1) end)",
            "tostring": "tostring(setmetatable({}, { __tostring = function() neap.sleep(1) end }))",
            "inside": "table.sort({ 2, 1 }, function() coroutine.wrap(neap.sleep)(1) end)",
        }
        commands = ", ".join(f"{name} = function() return {code} end" for name, code in rows.items())
        server = self.serve(
            traced(
                before=f"local commands = {{ {commands} }}",
                on_message="function(_, text) note(select(2, pcall(commands[text]))) return 'next' end",
            )
        )
        client = self.client(server.address)
        for name in rows:
            self.assertEqual(client.ask(name.encode() + b"\n", 5), b"next\n")
        server.stop()
        for event in server.events()[2:-1:2]:
            self.assertRegex(event, r"main.lua:\d+: neap.sleep cannot wait in a function that C code .*on_message")
        self.assertEqual(len(server.events()), 3 + 2 * len(rows))

    def test_not_while_the_script_loads_nor_in_on_accept_on_log_and_decoders(self):
        with self.subTest("load"):
            server = self.serve(f"{PRELUDE} note(pcall(neap.sleep, 1)) return {{}}")
            server.stop()
            self.assertRegex(server.events()[0], "false .*neap.sleep cannot wait in the script")
        script = PRELUDE + """
          local function try(what) note(what, select(2, pcall(neap.sleep, 1))) end
          return {
            framing = { "custom", function() try("decode") return 1 end },
            on_accept = function() try("accept") end,
            on_log = function(r) if not r.fields.note then try("log") end end,
            on_message = function(conn, b) return b end,
          }"""
        server = self.serve(script)
        self.assertEqual(self.client(server.address).ask(b"x"), b"x")
        server.stop()
        events = " ".join(server.events())
        self.assertIn("decode neap.sleep cannot wait in the framing's decode", events)
        self.assertIn("accept neap.sleep cannot wait in on_accept", events)

    def test_wrong_arguments(self):
        server = self.serve(
            traced(on_message="function() for _, s in ipairs { -1, 1e10, 'x', 0/0 } do note(pcall(neap.sleep, s)) end end")
        )
        self.client(server.address).send(b"x\n").half_close().receive_all()
        for event in self.history(server)[2:-1]:
            self.assertRegex(event, "^false .*bad argument #1")

    def test_timers_and_on_start(self):
        server = self.serve(
            PRELUDE
            + """
            local inside, count = 0, 0
            local every
            every = neap.every(0.01, function()
              inside = inside + 1
              assert(inside == 1, "it overlaps itself")
              neap.sleep(0.03)
              inside = inside - 1
              count = count + 1
              if count == 3 then every:cancel() note("three") end
            end)
            neap.after(0, function() neap.sleep(0.01) note("once") end)
            return {
              on_start = function() note("starts") neap.sleep(0.01) note("started") end,
              on_stop = function() neap.sleep(0.01) note("stopped") end,
              on_message = function(conn, text) return text end,
            }"""
        )
        server.wait_log("three")
        client = self.client(server.address)
        server.stop()
        self.assertEqual(sorted(server.events()[:3]), ["once", "started", "starts"])
        self.assertEqual(client.receive_all(), b"")

    def test_a_coroutine_that_waits_is_left_alone(self):
        server = self.serve(
            traced(
                before="local co",
                on_message="""function(conn, text)
                  if text == "look" then
                    note(coroutine.resume(co))
                    note(pcall(coroutine.close, co))
                    return "seen"
                  end
                  co = coroutine.create(function() neap.sleep(0.2) return "woken" end)
                  note(coroutine.resume(co))
                  return "done"
                end""",
            )
        )
        one, other = self.client(server.address), self.client(server.address)
        one.send(b"x\n")
        server.wait_log("on_message x")
        self.assertEqual(other.ask(b"look\n", 5), b"seen\n")
        self.assertEqual(one.receive_until(b"\n"), b"done\n")
        server.stop()
        events = [e for e in server.events() if not e.startswith("on_")]
        self.assertEqual(events[0], "false cannot resume a coroutine that waits")
        self.assertRegex(events[1], "false .*cannot close a coroutine that waits")
        self.assertEqual(events[2], "true woken")


class Ends(HookTest):
    """What wakes a hook that would wait for a minute."""

    def waits(self, **hooks):
        """A server with a hook that waits, and the client."""
        hooks.setdefault(
            "on_message",
            """function(conn)
              note("woken", neap.sleep(60))
              note("again", neap.sleep(60))
              note("sends", conn:send("x"))
            end""",
        )
        self.server = self.serve(traced(**hooks))
        client = self.client(self.server.address).send(b"x\n")
        self.server.wait_log("on_message x")
        return client

    CLOSED = ["woken nil closed ECLOSED", "again nil closed ECLOSED"]

    def test_a_reset(self):
        self.waits().reset()
        self.ends("reset", self.server)
        self.assert_history(
            self.server,
            "on_connect",
            "on_message x",
            *self.CLOSED,
            "sends nil closed ECLOSED",
            "on_disconnect reset ECONNRESET",
        )

    def test_kick(self):
        client = self.waits()
        control(self.server, "kick", id=1)
        self.assertEqual(client.receive_all(), b"")
        history = self.history(self.server)
        self.assertEqual(history[2:4], self.CLOSED)
        self.assertEqual(history[4], "sends nil closed ECLOSED")
        self.assertRegex(history[-1], "on_disconnect kicked")

    def test_abort_from_elsewhere(self):
        self.waits(
            on_message="""function(conn, text)
              if text ~= "abort" then note("woken", neap.sleep(60)) return "never" end
              for other in neap.connections() do if other ~= conn then other:abort() end end
              return "done"
            end"""
        )
        self.assertEqual(self.client(self.server.address).ask(b"abort\n", 5), b"done\n")
        self.server.wait_log("on_disconnect closed")
        self.assertIn(self.CLOSED[0], self.history(self.server))

    def test_the_idle_clock_stands(self):
        client = self.waits(
            options="framing = 'line', idle_timeout = 0.05",
            on_message="function(conn, text) neap.sleep(0.3) return text end",
        )
        self.assertEqual(client.receive_until(b"\n"), b"x\n")
        self.assertEqual(client.receive_all(), b"")
        history = self.history(self.server)
        self.assertEqual(history[1], "on_message x")
        self.assertRegex(history[2], r"on_idle 0\.0[5-9]")

    def test_its_own_close_lets_it_go_on(self):
        client = self.waits(
            on_message="function(conn) conn:send('x') conn:close() note('slept', neap.sleep(0.05)) end"
        )
        self.assertEqual(client.receive_all(), b"x\n")
        client.close()
        self.ends("closed", self.server)
        self.assertEqual(self.history(self.server)[2][:5], "slept")

    def test_eof_waits_for_the_hook(self):
        client = self.waits(on_message="function(conn, text) neap.sleep(0.1) return text end").half_close()
        self.assertEqual(client.receive_all(), b"x\n")
        self.assert_history(self.server, "on_connect", "on_message x", "on_disconnect eof nil")

    def test_shutdown_gives_it_time_to_end(self):
        client = self.waits(on_message="function(conn, text) neap.sleep(0.2) return text end")
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(client.receive_all(), b"x\n")
        self.assertEqual(self.server.events()[-1], "on_disconnect shutdown nil")

    def test_shutdown_does_not_wait_for_ever(self):
        client = self.waits(options="framing = 'line', drain_timeout = 0.2")
        with self.within(10):
            self.assertEqual(self.server.stop(), 0)
        client.close()
        self.assertEqual(self.server.events()[2:4], self.CLOSED)
        self.assertRegex(self.server.events()[-1], "on_disconnect shutdown")

    def test_in_on_disconnect_nothing_is_waited_for(self):
        server = self.serve(traced(on_disconnect="function() note(neap.sleep(60)) end"))
        self.client(server.address).close()
        server.wait_log("nil closed ECLOSED")

    def test_on_closing_may_wait(self):
        server = self.serve(
            traced(
                "framing = 'line', idle_timeout = 0.05",
                on_closing="function(conn, reason) neap.sleep(0.1) return 'bye: ' .. reason end",
            )
        )
        client = self.client(server.address)
        self.assertEqual(client.receive_all(), b"bye: idle\n")
        self.assertRegex(" ".join(self.history(server)), "on_idle .*on_closing idle nil on_disconnect idle nil$")

    def test_on_idle_may_wait(self):
        server = self.serve(
            traced(
                "framing = 'line', idle_timeout = 0.05",
                before="local count = 0",
                on_idle="""function() count = count + 1 neap.sleep(0.05) return count < 3 and "keep" or nil end""",
            )
        )
        self.assertEqual(self.client(server.address).receive_all(), b"")
        self.assertEqual(len([e for e in self.history(server) if e.startswith("on_idle")]), 3)


class Found(HookTest):
    """What a hunt for faults has found."""

    def test_timers_that_wait_at_a_shutdown(self):
        server = self.serve(
            PRELUDE
            + """
            neap.every(0.01, function() neap.sleep(0.1) note("ticks") end)
            return { framing = "line", on_message = function()
              for _ = 1, 60 do
                local s = ("x"):rep(5000)
                collectgarbage("step", 100)
                neap.sleep(0.005)
              end
              return "done"
            end }"""
        )
        client = self.client(server.address).send(b"x\n")
        server.wait_log("ticks")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(client.receive_all(), b"done\n")

    def test_a_socket_stays_for_datagrams_that_wait(self):
        def script(answer, host):
            return f"""{PRELUDE} return {{ listen = "udp://{host}:0", sessions = false,
              on_message = function(conn, text)
                note("waits")
                neap.sleep(0.3)
                return "{answer} " .. text .. (conn.local_address and "" or "?")
              end }}"""

        server = self.serve(script("one", "127.0.0.1"), listen=None)
        client = self.client(server.address).send(b"a")
        server.wait_log("waits")
        (server.folder / "main.lua").write_text(script("two", "127.0.0.2"))
        answer = control(server, "reload")
        self.assertEqual(client.datagram(), b"one a")
        self.assertTrue(answer["ok"], answer)

    def test_a_stuck_client_at_a_shutdown_costs_no_cpu(self):
        server = self.serve(
            traced(
                "framing = 'line', send_timeout = 0.1, drain_timeout = 1.5",
                on_message="function(conn) conn:send(('x'):rep(3000000)) neap.sleep(60) end",
            )
        )
        client = self.client(server.address, receive_buffer=4096).send(b"x\n")
        server.wait_log("on_message x")
        before = server.cpu_seconds()
        server.interrupt()
        server.wait_log("stopping")
        server.wait_log("on_disconnect shutdown")
        self.assertLess(server.cpu_seconds() - before, 0.7)
        client.close()
        self.assertEqual(server.wait(), 0)

    def test_a_cancelled_hook_closes_what_it_has_open_at_every_depth(self):
        script = (
            PRELUDE
            + """
            local function noting(name)
              return setmetatable({}, { __close = function() note(name, neap.sleep(1)) end })
            end
            neap.after(0, function()
              local a <close> = noting("outer")
              coroutine.wrap(function()
                local b <close> = noting("middle")
                coroutine.wrap(function()
                  local c <close> = noting("inner")
                  note("waits")
                  neap.sleep(60)
                end)()
              end)()
            end)
            neap.after(0, function()
              local bad <close> = setmetatable({}, { __close = function() error("in close", 0) end })
              neap.sleep(60)
            end)
            return { on_message = function() end }"""
        )
        server = self.serve(script)
        server.wait_log("waits")
        (server.folder / "main.lua").write_text("return { on_message = function() end }")
        self.assertTrue(control(server, "reload")["ok"])
        server.wait_log("timer raised: in close")
        closed = "nil closed ECLOSED"
        self.assert_history(server, "waits", f"inner {closed}", f"middle {closed}", f"outer {closed}")

    def test_memory_that_runs_out_as_a_wait_begins(self):
        server = self.serve(
            traced(
                "framing = 'line', lua_memory = '4M'",
                on_message="""function(conn, text)
                  local held, size = {}, 1 << 16
                  while size >= 16 do
                    if not pcall(function() held[#held + 1] = ("x"):rep(size) .. #held end) then size = size // 2 end
                  end
                  local co = coroutine.create(function() return neap.sleep(0.01) end)
                  local ok = pcall(coroutine.resume, co)
                  held = nil
                  neap.sleep(0.05)
                  return "done"
                end""",
            )
        )
        for _ in range(10):
            client = self.client(server.address).send(b"x\n").half_close()
            client.receive_all()
        self.assertIsNone(server.process.poll())


class Errors(HookTest):
    def test_after_a_wait_it_concerns_that_connection(self):
        server = self.serve(
            traced(on_message="function(conn, text) neap.sleep(0.02) if text == 'raise' then error('oops', 0) end return text end")
        )
        bad, good = self.client(server.address), self.client(server.address)
        bad.send(b"raise\n")
        self.assertEqual(good.ask(b"fine\n"), b"fine\n")
        self.assertEqual(bad.receive_all(), b"")
        bad.close()
        server.wait_log("on_disconnect error oops")
        self.assertRegex(" ".join(self.history(server)), "on_closing error oops on_disconnect error oops")

    def test_on_error_may_wait_and_keep(self):
        server = self.serve(
            traced(
                on_message="function(conn, text) neap.sleep(0.01) if text == 'raise' then error('oops', 0) end return text end",
                on_error="function(conn, err) neap.sleep(0.05) note(err.hook, err.message) return 'keep' end",
            )
        )
        client = self.client(server.address).send(b"raise\nfine\n")
        self.assertEqual(client.receive_until(b"\n"), b"fine\n")
        self.assertIn("on_message oops", self.history(server))

    @unittest.skipIf(IS_THREAD_SANITIZED, "a loop without end does not see the signal there")
    def test_each_stretch_has_a_budget_of_its_own(self):
        server = self.serve(
            PRELUDE
            + """
            local function burn(seconds) local stop = os.clock() + seconds while os.clock() < stop do end end
            return { framing = "line", hook_timeout = 0.2, on_message = function(conn, text)
              for _ = 1, 4 do burn(0.1) neap.sleep(0.001) end
              if text == "loop" then while true do end end
              return text
            end }"""
        )
        client = self.client(server.address)
        self.assertEqual(client.ask(b"fine\n"), b"fine\n")
        self.assertEqual(client.send(b"loop\n").receive_all(), b"")
        server.wait_log("more CPU time than hook_timeout")


class Reload(HookTest):
    def test_a_hook_that_waits_ends_in_its_version(self):
        def script(tag):
            return (
                PRELUDE
                + f"""return {{ framing = "line", on_message = function(conn, text)
                    if text == "wait" then neap.sleep(0.3) end
                    return "{tag} " .. text
                  end, on_stop = function(reason) note("stop {tag}", reason) end }}"""
            )

        server = self.serve(script("one"))
        client = self.client(server.address).send(b"wait\nnext\n")
        self.assertEqual(self.client(server.address).ask(b"x\n", 6), b"one x\n")
        (server.folder / "main.lua").write_text(script("two"))
        answer = control(server, "reload")
        self.assertTrue(answer["ok"], answer)
        rows = {row["version"]: row for row in control(server, "versions")["versions"]}
        self.assertEqual([rows[1]["waiting"], rows[1]["state"]], [1, "held"])
        self.assertEqual([rows[1]["places"], rows[2]["places"]], [{"main.lua:2": 1}, {}])
        self.assertEqual([rows[2]["waiting"], rows[2]["state"]], [0, "serving"])
        self.assertEqual(client.receive_until(b"\n"), b"one wait\n")
        self.assertEqual(client.receive_until(b"\n"), b"two next\n")
        rows = {row["version"]: row for row in control(server, "versions")["versions"]}
        self.assertEqual([rows[1]["waiting"], rows[1]["state"]], [0, "kept"])

    def test_timers_that_wait_end_with_their_version(self):
        def script(tag):
            return (
                PRELUDE
                + f"""neap.after(0, function()
                    local c <close> = setmetatable({{}}, {{ __close = function() note("closed {tag}") end }})
                    note("waits {tag}")
                    neap.sleep(60)
                    note("never")
                  end)
                  return {{ on_message = function() end }}"""
            )

        server = self.serve(script("one"))
        server.wait_log("waits one")
        (server.folder / "main.lua").write_text(script("two"))
        self.assertTrue(control(server, "reload")["ok"])
        server.wait_log("waits two")
        server.stop()
        self.assertEqual(server.events(), ["waits one", "closed one", "waits two", "closed two"])


class Strangers(NeapTest):
    """Modules that hold up a worker are warned of once, with what to use instead."""

    LOAD = 'package.path = FOLDER .. "/?.lua;" .. package.path ' + "".join(
        f'require "{name}" ' for name in ("socket", "socket.http", "luv", "socketry")
    )

    def test_modules_along_the_path(self):
        folder = self.folder()
        (folder / "socket").mkdir()
        for name in ("socket", "socket/http", "luv", "socketry"):
            (folder / f"{name}.lua").write_text("return {}")
        server = self.serve(self.LOAD.replace("FOLDER", f"'{folder}'") + "return { workers = 2 }")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(
            [(line["module"], line["msg"]) for line in server.records(level="warn")],
            [
                (
                    "socket",
                    "LuaSocket blocks the worker with all its connections: use neap.connect and conn:read",
                ),
                (
                    "luv",
                    "luv needs a loop of its own, which does not run here: use neap.connect, neap.sleep, "
                    "neap.spawn",
                ),
            ],
        )

    def test_a_file_of_the_script_may_have_any_name(self):
        server = self.serve('require "socket" return {}', files={"socket.lua": "return {}"})
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.records(level="warn"), [])


if __name__ == "__main__":
    main()
