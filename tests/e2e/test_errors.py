"""What goes wrong in a script: raised errors, misuse, on_error, on_log, on_start and on_stop.

P3: an error in a script concerns one hook of one connection.
"""

from hook_test import HookTest, traced
from neap_server import PRELUDE, Client, Server, main


class Errors(HookTest):
    def test_on_error_is_told(self):
        server = self.serve(
            PRELUDE
            + """
            return {
              framing = "line",
              on_message = function(_, text)
                if text == "table" then error({}) end
                if text == "nil" then error() end
                if text == "tostring" then
                  error(setmetatable({}, { __tostring = function() return "as text" end }))
                end
                error(text, 0)
              end,
              on_error = function(conn, err)
                note(conn.id, err.hook, err.message, err.version,
                     err.traceback:match("^stack traceback:") ~= nil)
                return "keep"
              end,
              on_disconnect = function(_, reason) note(reason) end,
            }"""
        )
        client = self.client(server.address).send(b"one\ntable\nnil\ntostring\n").half_close()
        self.assertEqual(client.receive_all(), b"")
        server.wait_log('msg="eof"')
        self.assert_history(
            server,
            "1 on_message one 1 true",
            "1 on_message (error object is a table value) 1 true",
            "1 on_message (error object is a nil value) 1 true",
            "1 on_message as text 1 true",
            "eof",
        )

    def test_without_keep_the_connection_closes(self):
        server = self.serve(
            traced(
                on_message="function() error('wrong', 0) end",
                on_error="function(_, err) note(err.message) return 'kept' end",
            )
        )
        self.client(server.address).send(b"x\n").half_close()
        self.ends("error wrong", server)
        self.assertIn("on_closing error wrong", server.events())

    def test_an_error_in_on_error(self):
        server = self.serve(
            traced(
                on_message="function() error('one', 0) end",
                on_error="function() error('two', 0) end",
            )
        )
        self.client(server.address).send(b"x\n").half_close()
        self.ends("error one", server)
        server.wait_log('"on_message raised: one"')
        server.wait_log('"on_error raised: two"')

    def test_on_error_of_the_service_before_that_of_the_app(self):
        server = self.serve(
            PRELUDE
            + """
            local function raise() error("wrong", 0) end
            return {
              on_error = function() note("app") end,
              services = {
                a = { listen = 0, on_connect = raise, on_error = function() note("a") end },
                b = { listen = 0, on_connect = raise },
              },
            }""",
            listen=["a=tcp://127.0.0.1:0", "b=tcp://127.0.0.1:0"],
        )
        for address, text in zip(server.addresses, ("a", "app")):
            self.client(address).half_close().receive_all()
            server.wait_log(f'msg="{text}"')

    def test_an_error_in_each_hook_is_that_connections_alone(self):
        """P3. A neighbour's echo goes on, whichever hook raises."""
        provoke = {
            "on_connect": b"",
            "on_message": b"x\n",
            "on_eof": None,
            "on_timer": b"timer\n",
            "on_idle": b"idle\n",
            "on_drain": b"drain\n",
            "on_closing": b"error\n",
            "on_disconnect": b"",
        }
        for hook, data in provoke.items():
            with self.subTest(hook):
                hooks = {name: "nil" for name in provoke}
                hooks[hook] = "function() error('wrong in ' .. name, 0) end"
                script = (
                    PRELUDE
                    + f"""
                    local name = "{hook}"
                    local raise = {hooks[hook]}
                    local app = {{ framing = "line", high_water = 10, linger = 0.1 }}
                    local function guarded(conn, ...)
                      if not conn.data.neighbour then return raise(conn, ...) end
                    end
                    app[name] = guarded
                    function app.on_message(conn, text)
                      if text == "neighbour" then conn.data.neighbour = true return text end
                      if conn.data.neighbour then return text end
                      if text == "timer" then return conn:after(0, "soon") end
                      if text == "idle" then return conn:set("idle_timeout", 0.05) end
                      if text == "drain" then return ("x"):rep(100) end
                      if text == "error" then error("first", 0) end
                      if name == "on_message" then raise() end
                    end
                    local on_connect = app.on_connect
                    function app.on_connect(conn)
                      local first = not app.started
                      app.started = true
                      if first then conn.data.neighbour = true return end
                      if on_connect then return on_connect(conn) end
                    end
                    function app.on_accept() end
                    return app"""
                )
                with Server(script) as server, Client(server.address) as neighbour:
                    self.assertEqual(neighbour.ask(b"before\n"), b"before\n")
                    with Client(server.address) as client:
                        if data is None:
                            client.half_close()
                        else:
                            client.send(data)
                        if hook == "on_disconnect":
                            client.half_close()
                        client.receive_all()
                    found = server.wait_log(rf'level=error msg="{hook} raised: wrong in {hook}".*')
                    self.assertIn("traceback=", found.group())
                    self.assertEqual(neighbour.ask(b"after\n"), b"after\n")


class Log(HookTest):
    def test_replaced_dropped_and_let_through(self):
        server = self.serve(
            PRELUDE
            + r"""
            return {
              on_log = function(record)
                note("not called for what is logged inside it")
                if record.message == "drop" then return false end
                if record.message == "replace" then
                  local f = record.fields
                  return ("%s|%s|%s|%s|%s\n\27[2J"):format(
                    record.level, record.message, f.a, f.version, record.time > 1e9)
                end
              end,
              framing = "line",
              on_message = function(_, text) neap.log.warn(text, { a = 1.5 }) return text end,
            }"""
        )
        client = self.client(server.address)
        self.assertEqual(client.ask(b"drop\nreplace\nplain\n"), b"drop\nreplace\nplain\n")
        server.stop()
        plain = [line for line in server.lines if "not called" not in line]
        self.assertIn(r"warn|replace|1.5|1|true\n\x1b[2J", plain)
        self.assertFalse([line for line in plain if "drop" in line])
        self.assertEqual([line["a"] for line in server.records(msg="plain")], ["1.5"])

    def test_one_that_fails_is_not_the_end_of_logging(self):
        server = self.serve(
            PRELUDE
            + """
            return {
              on_log = function(record)
                if record.message == "number" then return 5 end
                error("no log today", 0)
              end,
              framing = "line",
              on_message = function(_, text) neap.log.info(text) return text end,
            }"""
        )
        client = self.client(server.address)
        self.assertEqual(client.ask(b"one\nnumber\n"), b"one\nnumber\n")
        server.wait_log('msg="one"')
        server.wait_log("on_log raised: no log today")
        server.wait_log('msg="number"')
        server.wait_log("on_log raised: on_log must return a string, false or nil")

    def test_levels_and_fields(self):
        server = self.serve(
            PRELUDE
            + """
            neap.log.debug("a debug line")
            neap.log.warn("fields", { i = 1, n = 0.5, b = true, s = "two words", t = setmetatable(
              {}, { __tostring = function() return "as text" end }) })
            print("tab", nil, 1.5, true)
            return {}""",
            "--log-level",
            "warn",
        )
        (line,) = server.records(msg="fields")
        self.assertEqual(line["level"], "warn")
        self.assertEqual(
            {key: line[key] for key in "inbst"},
            {"i": "1", "n": "0.5", "b": "true", "s": "two words", "t": "as text"},
        )
        self.assertFalse(server.count_log("debug line|tab"))
        loud = self.serve('print("tab", nil, 1.5, true) return { log_level = "debug" }')
        loud.wait_log(r'level=info msg="tab\\tnil\\t1.5\\ttrue"')


class StartAndStop(HookTest):
    def test_on_start_before_any_client_and_on_stop_last_of_the_version(self):
        server = self.serve(
            traced(
                on_start="function() note('started') end",
                on_stop="function(...) note('stopped') end",
            )
        )
        client = self.client(server.address)
        server.wait_log("on_connect")
        self.assertEqual(server.stop(), 0)
        client.close()
        self.assertEqual(
            server.events(),
            [
                "on_start",
                "started",
                "on_connect",
                "on_stop",
                "stopped",
                "on_closing shutdown nil",
                "on_disconnect shutdown nil",
            ],
        )

    def test_their_arguments(self):
        server = self.serve(
            PRELUDE
            + """
            return {
              on_start = function(...) note("start", select("#", ...), ...) end,
              on_stop = function(...) note("stop", select("#", ...), ...) end,
            }"""
        )
        self.assert_history(server, "start 1 nil", "stop 1 shutdown")

    def test_an_error_in_on_stop_stops_all_the_same(self):
        server = self.serve("return { on_stop = function() error('wrong', 0) end }")
        self.assertEqual(server.stop(), 0)
        server.wait_log("on_stop raised: wrong")


class Misuse(HookTest):
    """Misuse raises, and the error says what was wrong. `X` is the connection."""

    WRONG = {
        # Globals are for loading.
        "x = 1": "global 'x' written outside the load",
        "_G.x = 1": "global 'x' written outside the load",
        # Assigning to a connection.
        "X.name = 'x'": "a connection has no field 'name' to write: keep it in conn.data",
        "X.id = 1": "a connection has no field 'id' to write",
        "X.send = print": "a connection has no field 'send' to write",
        "X.data = 1": "table expected",
        "X.data = nil": "table expected",
        "X[1] = 1": "a connection has no field '1' to write",
        "X()": "attempt to call",
        "setmetatable(X, {})": "table expected",
        # Methods without a connection.
        "X.send('x')": "a connection expected, got string",
        "X.close()": "a connection expected",
        "X.send(nil, 'x')": "a connection expected, got nil",
        "X.send({}, 'x')": "a connection expected, got table",
        # Arguments.
        "X:send()": "value expected",
        "X:send(nil)": "string expected, got nil",
        "X:send({})": "string expected, got table",
        "X:send(true)": "string expected, got boolean",
        "X:send('x', nil)": "string expected, got nil",
        "X:send(X)": "string expected, got connection",
        "X:write()": "value expected",
        "X:write(print)": "string expected, got function",
        "X:close({})": "string expected, got table",
        "X:abort({})": "string expected, got table",
        "X:after()": "number expected, got no value",
        "X:after(1)": "string expected, got no value",
        "X:after('x', 'name')": "number expected, got string",
        "X:after(-1, 'name')": "seconds from 0",
        "X:after(0/0, 'name')": "seconds from 0",
        "X:after(1/0, 'name')": "seconds from 0",
        "X:after(1, ('x'):rep(256))": "at most 255 bytes",
        "X:after(1, {})": "string expected, got table",
        "X:cancel()": "string expected, got no value",
        "X:set()": "string expected, got no value",
        "X:set('idle_timeout')": "value expected",
        "X:set('idle_timeuot', 1)": "unknown option 'idle_timeuot'",
        "X:set('workers', 1)": "unknown option 'workers'",
        "X:set('idle_timeout', '5')": "'idle_timeout' must be a number of seconds",
        "X:set('idle_timeout', -1)": "'idle_timeout' must be a number of seconds",
        "X:set('idle_timeout', 0/0)": "'idle_timeout' must be a number of seconds",
        "X:set('max_message', 0)": "'max_message' must be a size",
        "X:set('max_message', 1.5)": "'max_message' must be a size",
        "X:set('max_message', '1T')": "'max_message' must be a size",
        "X:set('overflow', 'keep')": "'overflow' must be",
        "X:set('framing', 'lien')": "unknown framing 'lien'; did you mean 'line'?",
        "X:set('framing', 1)": "framing must be a name",
        "X:set('framing', {})": "framing must be a name",
        "X:set('framing', { 'fixed', 0 })": "fixed: the length is missing",
        "X:get('nothing')": "unknown option 'nothing'",
        "X:get()": "string expected, got no value",
        "X:setsockopt()": "a name or a number expected",
        "X:setsockopt('SOL_SOCKT', 'SO_RCVBUF', 1)": "did you mean 'SOL_SOCKET'?",
        "X:setsockopt('SOL_SOCKET', 'SO_RCVBFU', 1)": "did you mean 'SO_RCVBUF'?",
        "X:setsockopt('SOL_SOCKET', 'SO_RCVBUF')": "number expected, got no value",
        "X:setsockopt('SOL_SOCKET', 'SO_RCVBUF', {})": "number expected, got table",
        "X:getsockopt('SOL_SOCKET')": "a name or a number expected",
        # The module.
        "neap.after()": "number expected, got no value",
        "neap.after(1)": "function expected",
        "neap.after(-1, print)": "seconds from 0",
        "neap.after(0/0, print)": "seconds from 0",
        "neap.every(0, print)": "at least 0.001 seconds",
        "neap.every('x', print)": "number expected, got string",
        "neap.connections({})": "string expected, got table",
        "neap.stop({})": "string expected, got table",
        "neap.log.info()": "string expected, got no value",
        "neap.log.info({})": "string expected, got table",
        "neap.log.info('x', 1)": "table expected, got number",
        "neap.log.info('x', { 1 })": "log fields must have names",
        "neap.after(1, print).cancel()": "neap.timer expected",
        # What scripts are not given.
        "os.exit()": "os.exit is not given to scripts",
        "os.execute('true')": "os.execute is not given to scripts",
        "io.popen('true')": "io.popen is not given to scripts",
        "os.setlocale('C')": "os.setlocale is not given to scripts",
        "string.dump(print)": "string.dump is not given to scripts",
        "('x').dump(print)": "dump",
        "dofile('x')": "dofile is not given to scripts",
        "loadfile('x')": "loadfile is not given to scripts",
        "collectgarbage()": "collectgarbage('collect') is not given to scripts",
        "collectgarbage('stop')": "is not given to scripts",
        "debug.sethook()": "attempt to call a nil value",
        "setmetatable({}, { __gc = print })": "__gc is refused",
        "load('\\27Lua')()": "attempt to call a nil value",
        "coroutine.yield()": "attempt to yield from outside a coroutine",
        "require('nothing')": "module 'nothing'",
    }

    def test_every_wrong_argument_raises(self):
        cases = list(self.WRONG)
        chunks = ", ".join(f"function(X) {code} end" for code in self.WRONG).replace("neap.", "N.")
        # An expression is no statement: assign it.
        chunks = ", ".join(
            f"function(X, N) {code} end"
            if " = " in code and not code.startswith(("X:", "setm"))
            else f"function(X, N) local _ = {code} end"
            for code in (case.replace("neap.", "N.") for case in cases)
        )
        server = self.serve(
            PRELUDE
            + f"""
            local cases = {{ {chunks} }}
            return {{
              framing = "line",
              on_message = function(conn)
                for i, case in ipairs(cases) do
                  local ok, err = pcall(case, conn, neap)
                  note(i, ok, err)
                end
                return "done"
              end,
            }}"""
        )
        client = self.client(server.address).send(b"go\n")
        self.assertEqual(client.receive(5), b"done\n")
        server.stop()
        results = [event.split(" ", 2) for event in server.events()]
        self.assertEqual(len(results), len(cases))
        for (_, ok, error), case in zip(results, cases):
            with self.subTest(case):
                self.assertEqual(ok, "false", error)
                self.assertIn(self.WRONG[case], error)

    def test_returning_anything_but_a_string_raises(self):
        server = self.serve(
            PRELUDE
            + """
            local values = {
              number = 5, table = {}, ["function"] = print, thread = coroutine.create(print),
            }
            return {
              framing = "line",
              on_message = function(_, text) return values[text] end,
              on_error = function(_, err) note(err.message) return "keep" end,
            }"""
        )
        client = self.client(server.address)
        client.send(b"number\ntable\nfunction\nthread\n").half_close()
        self.assertEqual(client.receive_all(), b"")
        server.stop()
        self.assertEqual(
            server.events(),
            [
                f"on_message returned a {kind}; a hook returns a string to send, or nothing"
                for kind in ("number", "table", "function", "thread")
            ],
        )

    def test_a_message_that_the_framing_cannot_carry_raises(self):
        server = self.serve(
            PRELUDE
            + """
            return {
              framing = { "fixed", 4 },
              on_message = function(conn, text)
                note(conn:send("too long"))
                note(conn:send("1234"))
                return text == "long" and "too long" or text
              end,
              on_error = function(_, err) note(err.message) return "keep" end,
            }"""
        )
        client = self.client(server.address)
        self.assertEqual(client.send(b"longgood").receive(12), b"12341234good")
        server.stop()
        refused = "nil the framing cannot carry a message of that length EMSGSIZE"
        self.assertEqual(
            server.events(),
            [
                refused,
                "true",
                "on_message returned a string of a length that the framing cannot carry",
                refused,
                "true",
            ],
        )


if __name__ == "__main__":
    main()
