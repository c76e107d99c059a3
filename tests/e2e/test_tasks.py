"""neap.spawn and conn:spawn: functions beside the hooks.

P3: an error in one concerns no connection. P6: those of a version that does not take over never begin.
"""

from control import control
from hook_test import HookTest, traced
from neap_server import PRELUDE, main


class Tasks(HookTest):
    def run_body(self, body, before=""):
        """What a hook notes, in a connection that lives until it has returned."""
        server = self.serve(
            traced(before=before, on_message=f"function(conn, text) {body} return 'done' end")
        )
        client = self.client(server.address).send(b"x\n").half_close()
        self.assertEqual(client.receive_all(), b"done\n")
        return [e for e in self.history(server) if not e.startswith("on_")]

    def test_what_it_returns_is_waited_for(self):
        noted = self.run_body(
            """local quick = neap.spawn(function(...) note("runs", ...) return ..., nil, 7 end, 1, nil, "three")
            note("first")
            note(quick:wait())
            note(quick:wait(0))
            local slow = neap.spawn(function() neap.sleep(0.05) return "slept" end)
            note(slow:wait(0))
            note(slow:wait(0.001))
            note(slow:wait())
            note(neap.spawn(function() end):wait())"""
        )
        timeout = "nil timeout ETIMEDOUT"
        self.assertEqual(
            noted,
            ["first", "runs 1 nil three", "true 1 nil 7", "true 1 nil 7", timeout, timeout, "true slept", "true"],
        )

    def test_several_wait_for_one_and_run_side_by_side(self):
        noted = self.run_body(
            """local one = neap.spawn(function() neap.sleep(0.03) return "one" end)
            local others = {}
            for i = 1, 3 do others[i] = neap.spawn(function() return i, select(2, one:wait()) end) end
            for i = 1, 3 do note(others[i]:wait()) end"""
        )
        self.assertEqual(noted, ["true 1 one", "true 2 one", "true 3 one"])

    def test_errors(self):
        server = self.serve(
            traced(
                before="local function bad() neap.sleep(0.001) error('oops', 0) end",
                on_message="""function()
                  note(neap.spawn(bad):wait())
                  note(neap.spawn(function() error({}) end):wait())
                  local task
                  task = neap.spawn(function() return pcall(task.wait, task) end)
                  note(task:wait())
                  task = neap.spawn(function() return pcall(task.cancel, task) end)
                  note(task:wait())
                  note(pcall(neap.spawn)) note(pcall(neap.spawn, 1))
                  return "done"
                end""",
            )
        )
        self.assertEqual(self.client(server.address).ask(b"x\n", 5), b"done\n")
        noted = [e for e in self.history(server) if not e.startswith("on_")]
        self.assertEqual(noted[0], "nil oops ERAISED")
        self.assertRegex(noted[1], "nil .*error object is a table value.* ERAISED")
        self.assertRegex(noted[2], "true false .*a task cannot wait for itself")
        self.assertRegex(noted[3], "true false .*a task that runs cannot be cancelled")
        self.assertRegex(noted[4], "false .*bad argument #1")
        self.assertRegex(noted[5], "false .*bad argument #1")
        self.assertEqual(server.count_log("task raised: oops"), 1)

    def test_a_failed_read_is_an_error_of_the_task(self):
        server = self.serve(
            traced(
                before="local gone",
                on_connect="function(conn) gone = gone or conn end",
                on_message="""function(conn)
                  note(neap.spawn(function() assert(gone:read()) end):wait())
                  assert(gone:read())
                end""",
            )
        )
        self.client(server.address).reset()
        server.wait_log("on_disconnect reset")
        client = self.client(server.address).send(b"x\n")
        client.receive_all()
        client.close()
        server.wait_log("on_disconnect error")
        self.assertRegex(" ".join(self.history(server)), r"nil main.lua:\d+: closed ERAISED")
        self.assertEqual(server.count_log("raised: closed"), 2)

    def test_cancel(self):
        noted = self.run_body(
            """local task = neap.spawn(function()
              local c <close> = setmetatable({}, { __close = function() note("closed", neap.sleep(1)) end })
              neap.sleep(60)
              note("never")
            end)
            local waits = neap.spawn(function() return task:wait() end)
            neap.sleep(0.01)
            note(task:cancel(), task:cancel())
            note(task:wait())
            note(waits:wait())
            local new = neap.spawn(function() note("never") end)
            note(new:cancel())
            note(new:wait())
            note(neap.spawn(function() end):cancel())"""
        )
        cancelled = "nil cancelled ECANCELED"
        self.assertEqual(
            noted,
            ["closed nil closed ECLOSED", "true false", cancelled, f"true {cancelled}", "true", cancelled, "true"],
        )

    def test_one_of_a_connection_ends_with_it(self):
        server = self.serve(
            traced(
                on_connect="""function(conn)
                  conn:spawn(function(every)
                    local c <close> = setmetatable({}, { __close = function() note("closed") end })
                    while neap.sleep(every) do conn:send("tick") end
                  end, 0.01)
                end""",
                on_message="function(conn, text) return text end",
            )
        )
        client = self.client(server.address)
        for _ in range(3):
            self.assertEqual(client.receive_until(b"\n"), b"tick\n")
        client.send(b"x\n")
        found = client.receive_until(b"\n")
        while found == b"tick\n":
            found = client.receive_until(b"\n")
        self.assertEqual(found, b"x\n")
        client.close()
        server.wait_log('"closed')
        history = self.history(server)
        self.assertEqual(history[-1], "closed")
        self.assertRegex(history[-2], "on_disconnect")

    def test_reload(self):
        def script(tag):
            return (
                PRELUDE
                + f"""
                local function task(name)
                  local c <close> = setmetatable({{}}, {{ __close = function() note("closed", name) end }})
                  note("runs", name)
                  neap.sleep(60)
                end
                neap.spawn(task, "{tag}")
                return {{ framing = "line",
                  on_connect = function(conn) conn:spawn(task, "conn {tag}") end,
                  on_message = function(_, text) return "{tag} " .. text end }}"""
            )

        server = self.serve(script("one"))
        client = self.client(server.address)
        server.wait_log("runs conn one")
        (server.folder / "main.lua").write_text(script("two"))
        self.assertTrue(control(server, "reload")["ok"])
        server.wait_log("runs two")
        self.assertEqual(client.ask(b"x\n", 6), b"two x\n")
        rows = {row["version"]: row["waiting"] for row in control(server, "versions")["versions"]}
        self.assertEqual(rows[2], 1)
        self.assertEqual(rows[1], 1)
        (server.folder / "main.lua").write_text(script("three") + " error('does not load')")
        self.assertFalse(control(server, "reload")["ok"])
        client.close()
        server.wait_log("closed conn one")
        rows = {row["version"]: row["waiting"] for row in control(server, "versions")["versions"]}
        self.assertEqual(rows, {2: 1, 1: 0})
        self.assertEqual(server.stop(), 0)
        events = server.events()
        self.assertEqual(events[:3], ["runs one", "runs conn one", "closed one"])
        self.assertNotIn("three", " ".join(events))

    def test_a_decoder_does_not_cancel_the_task_that_reads_with_it(self):
        server = self.serve(
            f"""{PRELUDE} local task
            return {{ framing = "line", on_message = function(conn)
              task = conn:spawn(function()
                local read = {{ "custom", function(bytes)
                  if #bytes > 3 then note(pcall(task.cancel, task)) end
                  return #bytes
                end }}
                note("begins")
                note("read", conn:read(read))
              end)
            end }}"""
        )
        client = self.client(server.address).send(b"x\n")
        server.wait_log("begins")
        client.send(b"hello").half_close().receive_all()
        self.assertEqual(server.stop(), 0)
        events = server.events()
        self.assertRegex(events[1], "^false a task that runs cannot be cancelled")
        self.assertEqual(events[-1], "read hello")

    def test_a_thousand_at_once(self):
        noted = self.run_body(
            """local tasks, sum = {}, 0
            for i = 1, 1000 do tasks[i] = neap.spawn(function() neap.sleep(0.01) return i end) end
            for i = 1, 1000 do sum = sum + select(2, tasks[i]:wait()) end
            note(sum)"""
        )
        self.assertEqual(noted, ["500500"])


if __name__ == "__main__":
    main()
