"""Hooks, scripts and connections that take long or never end, and that the others go on.

P3: an error concerns one hook of one connection. P4: a hook over its budget is stopped. P8: one
on_disconnect. P13: the server ends in time, and at a second signal at once. P20: what is slow is
told.
"""

import os
import signal
import threading
import time

from hook_test import HookTest, traced
from neap_server import PRELUDE, environment, main, run

# Waits in a C function, without using the CPU, until GateTest.gate lets it through.
WAIT = """
local function wait_at_gate()
  note("waits")
  local file <close> = io.open("gate")
  file:read(1)
end
"""


class GateTest(HookTest):
    def gate(self, server):
        """Lets one wait_at_gate() of the server through, each time it is called."""
        path = server.folder / "gate"
        os.mkfifo(path)
        file = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, file)  # its end lets all through
        return lambda: os.write(file, b"x")


class Idle(GateTest):
    """A hook that takes longer than idle_timeout: what came meanwhile is looked at first."""

    TIMEOUT = 0.4

    def setUp(self):
        """Connections have the timeout once a first hook has waited, so that none ends before."""
        self.server = self.serve(
            traced(
                before=WAIT + "local timeout = 0",
                on_connect="""function(conn)
                  conn.data.opened = neap.now()
                  conn:set("idle_timeout", timeout)
                end""",
                on_idle="""function(conn)
                  note("at once", neap.now() - conn.data.opened < timeout / 2)
                end""",
                on_message=f"""function(_, text)
                  if text ~= "wait" then return text end
                  wait_at_gate()
                  timeout = {self.TIMEOUT}
                  for conn in neap.connections() do conn:set("idle_timeout", timeout) end
                end""",
            )
        )
        self.open_gate = self.gate(self.server)

    def busy(self):
        """A client whose hook waits."""
        self.client(self.server.address).send(b"wait\n")
        self.server.wait_log('"waits"')

    def pass_time(self):
        """While a hook waits."""
        threading.Event().wait(1.5 * self.TIMEOUT)

    def test_a_request_that_came_meanwhile_is_served(self):
        client = self.client(self.server.address)
        self.assertEqual(client.ask(b"before\n"), b"before\n")
        self.busy()
        client.send(b"meanwhile\n")
        self.pass_time()
        self.open_gate()
        self.assertEqual(client.receive(10), b"meanwhile\n")

    def open_meanwhile(self, request):
        """A connection that has waited for longer than its timeout when it is accepted."""
        other = self.client(self.server.address)
        self.assertEqual(other.ask(b"before\n"), b"before\n")
        self.busy()
        client = self.client(self.server.address).send(request)
        other.send(b"wait\n")  # found in the same turn as the new connection
        self.open_gate()
        self.server.wait_log('"waits"', count=2)
        self.pass_time()
        self.open_gate()
        return client

    def test_a_connection_that_came_meanwhile_is_served(self):
        client = self.open_meanwhile(b"meanwhile\n")
        self.assertEqual(client.receive(10), b"meanwhile\n")

    def test_a_connection_that_came_meanwhile_has_all_of_its_time(self):
        client = self.open_meanwhile(b"")
        self.assertEqual(client.receive_all(), b"")
        self.assertEqual(self.server.stop(), 0)
        self.assertIn("at once false", self.server.events(peer=client.name))


class HookTime(GateTest):
    def test_a_loop_is_stopped_after_a_hook_timeout_of_ten_seconds(self):
        """P4: so much is not taken for a hook that is stuck in C."""
        server = self.serve(
            PRELUDE
            + """
            return {
              framing = "line", hook_timeout = 10,
              on_message = function(_, text)
                while text == "loop" do end
                return text
              end,
              on_error = function(_, err) note(err.hook, err.message) return "keep" end,
            }"""
        )
        client = self.client(server.address, timeout=90).send(b"loop\nafter\n")
        self.assertEqual(client.receive(6), b"after\n")
        self.assertGreaterEqual(server.cpu_seconds(), 9.5)
        server.wait_log('"on_message .*hook_timeout')

    def test_slow_is_the_hook_whose_last_call_was_and_not_the_next(self):
        """P20: a call of C, after which no line of the script comes that could be noted."""
        server = self.serve(
            traced(
                before="local text = ('x'):rep(10000)",
                on_message="""function(_, how)
                  if how == "slow" then return text:find(".-y") end
                  return how
                end""",
            )
        )
        slow, quick = self.client(server.address), self.client(server.address)
        slow.send(b"slow\n")
        server.wait_log("on_message slow")
        for _ in range(10):
            self.assertEqual(quick.ask(b"quick\n"), b"quick\n")
        self.assertEqual(server.stop(), 0)  # which tells what was not told at once
        told = server.records(msg="a hook was slow: more than 10 ms of CPU time")
        self.assertEqual(
            [(line.get("peer"), line.get("detail")) for line in told],
            [(slow.name, "the last call of the hook")],
        )


class Stuck(GateTest):
    """P13: a hook that waits in a C function does not keep the server from ending."""

    def stuck(self, options, hook="wait_at_gate"):
        path = self.folder() / "socket"
        script = traced(f"framing = 'line', {options}", before=WAIT, on_message=hook)
        server = self.serve(
            script.replace("hook_timeout = 10", "hook_timeout = 600"),
            listen=["tcp://127.0.0.1:0", f"unix://{path}"],
            status=1,
        )
        self.gate(server)
        self.client(server.address).send(b"wait\n")
        server.wait_log('"waits"')
        self.assertTrue(path.exists())
        return server, path

    def test_a_second_signal_ends_at_once(self):
        server, path = self.stuck("drain_timeout = 60")
        server.interrupt(signal.SIGTERM)
        server.wait_log('msg="stopping')
        threading.Event().wait(0.2)  # sooner it may be the same signal, sent twice
        with self.within(5):
            self.assertEqual(server.stop(signal.SIGINT), 1)
        server.wait_log('level=warn msg="stopped at once by a second signal"')
        self.assertFalse(path.exists())

    def test_one_signal_ends_a_second_after_drain_timeout(self):
        server, path = self.stuck("drain_timeout = 0.3")
        start = time.monotonic()
        self.assertEqual(server.stop(), 1)
        took = time.monotonic() - start
        self.assertTrue(1.3 <= took < 6, took)
        server.wait_log('level=error msg="a hook does not return: stopped without its worker"')
        self.assertFalse(path.exists())

    def test_while_the_hook_goes_on_logging(self):
        """The log is in use to the end of the process."""
        server, path = self.stuck(
            "drain_timeout = 0.3",
            "function() note('waits') while true do neap.log.info('') end end",
        )
        self.assertEqual(server.stop(), 1)
        self.assertFalse(path.exists())


class Reload(GateTest):
    def test_a_worker_that_does_not_answer(self):
        """The reload is given up, and what it prepared elsewhere is not taken for the next."""
        script = WAIT + """note("loaded VERSION by worker")
        return {
          framing = "line", hook_timeout = 600, load_timeout = 0.1,
          on_message = function(_, text)
            if text == "wait" then wait_at_gate() end
            return "VERSION " .. text
          end }"""
        server = self.serve(PRELUDE + script, "--workers", 2)
        self.gate(server)
        waiting = self.client(server.address).send(b"wait\n")
        server.wait_log('"waits"')
        main_lua = server.folder / "main.lua"
        main_lua.write_text(PRELUDE + script.replace("VERSION", "given up"))
        server.interrupt(signal.SIGHUP)
        server.wait_log("reload failed, version 1 goes on: error: a worker does not answer")
        main_lua.write_text(PRELUDE + script.replace("VERSION", "taken"))
        server.interrupt(signal.SIGHUP)
        server.wait_log("loaded taken by worker")
        with open(server.folder / "gate", "wb") as gate:
            gate.write(b"x")
        self.assertEqual(waiting.receive_until(b"\n"), b"VERSION wait\n")
        server.wait_log("reloaded: version 1 -> 2 ")
        for client in [waiting] + [self.client(server.address) for _ in range(8)]:
            self.assertEqual(client.send(b"x\n").receive_until(b"\n"), b"taken x\n")
        self.assertEqual(server.stop(), 0)


class Load(HookTest):
    """load_timeout: for a script that has not been read yet, from the command line."""

    STUBBORN = "local function spin() while true do end end while true do pcall(spin) end return {}"
    # Loads once, to be looked at, and in the worker never.
    LATER = """
        if io.open("loaded") then while true do pcall(error) end end
        io.open("loaded", "w"):close()
        return { load_timeout = 3600 }"""

    def refuses(self, status, pattern, script, *words, **env):
        folder = self.folder()
        (folder / "main.lua").write_text(script)
        with self.within(20):
            found, error = run(*words, "main.lua", cwd=folder, env=environment(**env))
        self.assertRegex(error, pattern)
        self.assertEqual(found, status, error)

    def test_a_loop_around_pcall(self):
        for command in ("check", "run"):
            for flags, env in (
                (["--load-timeout", "0.5"], {}),
                ([], {"NEAP_LOAD_TIMEOUT": "0.5"}),
                (["--load-timeout=0.5"], {"NEAP_LOAD_TIMEOUT": "3600"}),
            ):
                with self.subTest(command=command, flags=flags, **env):
                    self.refuses(65, "load_timeout", self.STUBBORN, command, *flags, **env)

    def test_without_the_flag_it_is_5_seconds(self):
        start = time.monotonic()
        self.refuses(65, "load_timeout", self.STUBBORN, "check")
        self.assertGreaterEqual(time.monotonic() - start, 4.9)

    def test_the_flag_is_over_the_script_in_a_worker(self):
        self.refuses(65, "load_timeout", self.LATER, "run", "--load-timeout", "0.5")

    def test_bad_values(self):
        for command in ("check", "run"):
            for value in ("x", "0", "-1", "0.05", "86401", "1e999", "nan", "5s", "1 2"):
                with self.subTest(command=command, value=value):
                    wrong = "load-timeout.*: must be seconds from 0.1 to 86400"
                    self.refuses(64, wrong, "return {}", command, f"--load-timeout={value}")
                    wrong = "NEAP_LOAD_TIMEOUT.*: must be seconds from 0.1 to 86400"
                    self.refuses(64, wrong, "return {}", command, NEAP_LOAD_TIMEOUT=value)


class Encode(HookTest):
    """P3: a framing's encode is a script, also for what a hook returned."""

    def served(self, result):
        return self.serve(
            PRELUDE
            + f"""
            local function decode(bytes)
              local stop = bytes:find("\\n", 1, true)
              if stop then return stop, 0, 1 end
            end
            local function encode(text)
              if text == "raise" then error("cannot encode", 0) end
              if text == "wrong" then return {{}} end
              return "<" .. text .. ">"
            end
            return {{
              framing = {{ "custom", decode, encode = encode }},
              on_message = function(_, text) return text end,
              on_error = function(_, err)
                note(err.hook, err.message, err.traceback ~= nil)
                return {result}
              end,
              on_disconnect = function(_, reason, detail) note("gone", reason, detail) end,
            }}"""
        )

    def test_an_error_in_it_is_that_of_the_hook(self):
        for how, message in (("raise", "cannot encode"), ("wrong", "encode must return a string")):
            with self.subTest(how):
                server = self.served("nil")
                client = self.client(server.address).send(how.encode() + b"\nfine\n")
                self.assertEqual(client.receive_all(), b"")
                client.close()
                server.wait_log('"gone error')
                told, gone = self.history(server)
                self.assertRegex(told, f"^on_message .*{message}.* true$")
                self.assertRegex(gone, f"^gone error .*{message}")

    def test_on_error_can_keep_the_connection(self):
        server = self.served("'keep'")
        client = self.client(server.address).send(b"raise\nwrong\nfine\n").half_close()
        self.assertEqual(client.receive_all(), b"<fine>")
        server.wait_log('"gone')
        events = self.history(server)
        self.assertEqual(len(events), 3)
        self.assertEqual(events[0], "on_message cannot encode true")
        self.assertEqual(events[2], "gone eof nil")


class Ends(GateTest):
    """Connections that would last longer than anybody needs them."""

    def test_both_halves_closed_is_the_end(self):
        """P8: whichever half was closed first."""
        scripts = {
            "peer first": {"on_eof": "function(conn) conn:send('last') conn:shutdown() end"},
            "in a timer": {
                "on_eof": "function(conn) conn:after(0.01, 'later') end",
                "on_timer": "function(conn) conn:send('last') conn:shutdown() end",
            },
            "server first": {
                "on_connect": "function(conn) conn:send('last') conn:shutdown() end",
                "on_eof": "function() end",
            },
        }
        for name, hooks in scripts.items():
            with self.subTest(name):
                server = self.serve(traced(**hooks))
                client = self.client(server.address).half_close()
                self.assertEqual(client.receive_all(), b"last\n")
                server.wait_log("on_disconnect", timeout=10)
                self.assertEqual(self.history(server)[-1], "on_disconnect eof nil")

    def test_one_that_lingers_does_not_hold_up_the_end(self):
        """P13: all was delivered, and the client does not close."""
        server = self.serve(
            traced(
                "framing = 'line', linger = 20, drain_timeout = 20",
                on_message="function(conn) conn:close() end",
            )
        )
        client = self.client(server.address).send(b"x\n")
        self.assertEqual(client.receive_all(), b"")
        with self.within(5):
            self.assertEqual(server.stop(), 0)
        self.assertEqual(server.events()[-1], "on_disconnect closed nil")

    def test_those_that_end_in_the_turn_in_which_all_end(self):
        """Their own framing goes before the script does; AddressSanitizer sees if not."""
        path = self.folder() / "socket"
        server = self.serve(
            traced(
                "framing = 'line', workers = 2",
                before=WAIT + "local first",
                on_connect="""function(conn)
                  note("worker", neap.worker)
                  if first and neap.worker == 2 then
                    conn:set("framing", { "custom", function() end })
                    conn:abort()
                  end
                  first = conn
                end""",
                on_message="function(conn) wait_at_gate() conn:abort() end",
                on_stop="function() note('stops', neap.worker) end",
            ),
            listen=f"unix://{path}",  # the first worker accepts all, and hands over the surplus
        )
        open_gate = self.gate(server)
        clients = []
        for count in range(1, 10):
            clients.append(self.client(server.address))
            server.wait_log('"worker', count=count)
        server.wait_log('"worker 2"')
        clients[-1].send(b"wait\n")
        server.wait_log('"waits"')
        for _ in range(6):  # every other one for the second worker
            self.client(server.address)
        server.wait_log('"worker 1"', count=11)
        server.interrupt(signal.SIGTERM)
        server.wait_log('"stops 1"')
        open_gate()
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.events().count("worker 2"), 4)


if __name__ == "__main__":
    main()
