"""P9: a handle on a connection that is gone says "closed", and never reaches another one."""

from neap_server import PRELUDE, NeapTest, main

METHODS = {
    "send": "'x'",
    "write": "'x'",
    "close": "",
    "abort": "",
    "shutdown": "",
    "pause": "",
    "resume": "",
    "after": "1, 'x'",
    "cancel": "'x'",
    "set": "'idle_timeout', 1",
    "get": "'idle_timeout'",
    "setsockopt": "'SOL_SOCKET', 'SO_RCVBUF', 65536",
    "getsockopt": "'SOL_SOCKET', 'SO_RCVBUF'",
}
# Those that answer a question, for which "closed" is no answer.
QUESTIONS = {"is_open": "false", "pending": "0"}
FIELDS = (
    "peer host port local_address transport service version received sent data".split()
)


class Handles(NeapTest):
    def ask(self, client, command):
        """Sends a line, and waits for the one that answers it."""
        client.send(command.encode() + b"\n")
        return client.receive_until(b"\n").decode().rstrip("\n")

    def served(self, commands, extra="", listen="tcp://127.0.0.1:0"):
        """A server with commands by name: Lua functions of (conn, kept), which answer a line."""
        rows = ", ".join(f"{name} = function(conn, kept) {code} end" for name, code in commands.items())
        script = (
            PRELUDE
            + f"""
            local kept, commands
            local function list(...)
              local t = table.pack(...)
              for i = 1, t.n do t[i] = tostring(t[i]) end
              return table.concat(t, " ")
            end
            commands = {{ {rows} }}
            return {{
              framing = "line",
              on_connect = function(conn) kept = kept or conn end,
              on_message = function(conn, text)
                local name, rest = text:match("^(%S+) ?(.*)$")
                return commands[name](conn, kept, rest)
              end,
              on_disconnect = function(conn) note("gone", conn.id) end,
              {extra}
            }}"""
        )
        return self.serve(script, listen=listen)

    def test_every_method_of_one_that_is_gone(self):
        calls = {name: f"kept:{name}({args})" for name, args in METHODS.items()}
        calls["framing"] = "kept:set('framing', 'raw')"
        calls["getframing"] = "kept:get('framing')"
        calls.update({name: f"kept:{name}()" for name in QUESTIONS})
        server = self.served({name: f"return list({call})" for name, call in calls.items()})
        first = self.client(server.address)
        other = self.client(server.address)
        self.assertEqual(self.ask(other, "is_open"), "true")
        first.close()
        server.wait_log('"gone 1"')
        for name in calls:
            with self.subTest(name):
                self.assertEqual(
                    self.ask(other, name), QUESTIONS.get(name, "nil closed ECLOSED")
                )

    def test_never_reaches_a_later_connection_in_its_place(self):
        """Connections come and go in its slot and on its descriptor; each uses the old handle."""
        calls = "; ".join(f"said[#said + 1] = list(kept:{m}({a}))" for m, a in METHODS.items())
        server = self.served(
            {
                "use": f"local said = {{}} {calls} return table.concat(said, ';')",
                "same": "return list(conn == kept, conn.id, kept.id)",
            }
        )
        self.client(server.address).close()
        server.wait_log('"gone 1"')
        closed = ";".join(["nil closed ECLOSED"] * len(METHODS))
        for i in range(2, 130):
            with self.client(server.address) as client:
                self.assertEqual(self.ask(client, "use"), closed)
                self.assertEqual(self.ask(client, "same"), f"false {i} 1")
                self.assertEqual(self.ask(client, "use"), closed)
            server.wait_log(f'"gone {i}"')
        many = [self.client(server.address) for _ in range(100)]
        for client in many:
            self.assertEqual(self.ask(client, "use"), closed)
        for client in many:  # nothing was sent, closed, paused or reset by it
            self.assertEqual(self.ask(client, "use"), closed)

    def test_fields_are_nil_but_for_the_id(self):
        server = self.served(
            {
                "ids": "return list(kept.id)",
                "fields": "return list("
                + ", ".join(f"kept.{name} == nil" for name in FIELDS)
                + ")",
                "text": "return tostring(kept)",
            }
        )
        first, other = self.client(server.address), self.client(server.address)
        self.assertEqual(self.ask(other, "fields"), " ".join(["false"] * len(FIELDS)))
        first.close()
        server.wait_log('"gone 1"')
        self.assertEqual(self.ask(other, "fields"), " ".join(["true"] * len(FIELDS)))
        self.assertEqual(self.ask(other, "ids"), "1")
        self.assertEqual(self.ask(other, "text"), "connection 1")

    def test_assigning_data_to_one_that_is_gone(self):
        server = self.served({"data": "kept.data = {} return list(kept.data)"})
        first, other = self.client(server.address), self.client(server.address)
        self.assertEqual(self.ask(other, "data").split(":")[0], "table")
        first.close()
        server.wait_log('"gone 1"')
        self.assertEqual(self.ask(other, "data"), "nil")

    def test_fields_last_until_on_disconnect_has_returned(self):
        server = self.serve(
            PRELUDE
            + """return {
              framing = "line",
              on_message = function(conn, text) conn.data.text = text return text end,
              on_disconnect = function(conn)
                note(conn.id, conn.peer, conn.host, conn.port, conn.transport, conn.service,
                  conn.version, conn.received, conn.sent, conn.data.text)
                note(conn:is_open(), conn:send("x"))
                note(conn:after(1, "x"))
                note(conn:close())
                note(conn:setsockopt("SOL_SOCKET", "SO_RCVBUF", 65536))
                note(conn:set("framing", "raw"))
              end,
            }"""
        )
        client = self.client(server.address)
        name, port = client.name, client.port
        self.assertEqual(client.ask(b"hello\n"), b"hello\n")
        client.close()
        server.wait_log("ECLOSED", count=3)
        server.stop()
        self.assertEqual(
            server.events(),
            [
                f"1 {name} 127.0.0.1 {port} tcp main 1 6 6 hello",
                "false nil closed ECLOSED",
                *["nil closed ECLOSED"] * 4,
            ],
        )

    def test_equal_handles_are_equal_and_the_same_key(self):
        server = self.served(
            {
                "same": """
                  local by_conn = { [kept] = "kept" }
                  local found for c in neap.connections() do if c == conn then found = c end end
                  by_conn[found] = "found"
                  return list(conn == found, rawequal(conn, found), by_conn[conn], by_conn[kept],
                    conn == kept, conn ~= conn, conn == 1, type(conn))""",
                "count": """
                  local seen = {}
                  for c in neap.connections() do seen[c] = true end
                  for c in neap.connections() do seen[c] = true end
                  local n = 0 for _ in pairs(seen) do n = n + 1 end
                  return n .. ''""",
            }
        )
        self.client(server.address)
        other = self.client(server.address)
        self.assertEqual(
            self.ask(other, "same"), "true true found kept false false false userdata"
        )
        self.assertEqual(self.ask(other, "count"), "2")

    def test_close_variables(self):
        server = self.served(
            {
                "leave": "do local c <close> = conn end return 'not sent'",
                "raise": "local c <close> = conn error('wrong', 0)",
                "kept": "do local c <close> = kept end return list(kept:is_open())",
            }
        )
        first = self.client(server.address)
        clients = [self.client(server.address) for _ in range(3)]
        for client, command in zip(clients, (b"leave\n", b"raise\n")):
            client.send(command)
            self.assertEqual(client.receive_all(), b"")
        self.assertEqual(self.ask(clients[2], "kept"), "false")
        self.assertEqual(first.receive_all(), b"")
        first.close()
        server.wait_log('"gone 1"')
        self.assertEqual(self.ask(clients[2], "kept"), "false")

    def test_data_is_a_table_of_each_connection(self):
        server = self.served(
            {
                "get": "return list(conn.data.x)",
                "replace": "conn.data = { x = 'new' } return list(conn.data.x)",
                "own": "local d = conn.data return list(d == conn.data, d == kept.data)",
            }
        )
        one, two = self.client(server.address), self.client(server.address)
        self.assertEqual(self.ask(one, "own"), "true true")
        self.assertEqual(self.ask(two, "own"), "true false")
        self.assertEqual(self.ask(one, "replace"), "new")
        self.assertEqual(self.ask(two, "get"), "nil")
        self.assertEqual(self.ask(one, "get"), "new")

    def test_ids_run_on_and_are_never_used_again(self):
        server = self.served({"id": "return list(conn.id)"})
        for i in range(1, 60):
            with self.client(server.address) as client:
                self.assertEqual(self.ask(client, "id"), str(i))
            server.wait_log(f'"gone {i}"')

    def test_unknown_fields_are_nil(self):
        server = self.served({"x": "return list(conn.nothing, conn[1], conn[conn], conn.__index)"})
        self.assertEqual(self.ask(self.client(server.address), "x"), "nil nil nil nil")

    def test_options_and_socket_options(self):
        server = self.served(
            {
                "get": "return list(conn:get('max_message'), conn:get('overflow'), "
                "conn:get('framing'), conn:get('idle_timeout'), conn:get('linger'))",
                "set": "return list(conn:set('max_message', '2M'), conn:set('overflow', 'drop'), "
                "conn:set('linger', 0.5))",
                "nodelay": "return list(conn:setsockopt('IPPROTO_TCP', 'TCP_NODELAY', conn:"
                "getsockopt('IPPROTO_TCP', 'TCP_NODELAY') == 0), "
                "conn:getsockopt('IPPROTO_TCP', 'TCP_NODELAY'))",
                "keepalive": "return list(conn:getsockopt('SOL_SOCKET', 'SO_KEEPALIVE'), "
                "conn:getsockopt('IPPROTO_TCP', 'TCP_KEEPIDLE'))",
                "number": "return list(conn:getsockopt(1, 3))",
                "bad": "return list(conn:setsockopt('IPPROTO_TCP', 'TCP_MAXSEG', -1))",
                "info": "return list(#conn:getsockopt('IPPROTO_TCP', 'TCP_INFO') > 100)",
            },
            extra="keepalive = 77,",
        )
        one, two = self.client(server.address), self.client(server.address)
        self.assertEqual(self.ask(one, "set"), "true true true")
        self.assertEqual(self.ask(one, "get"), "2097152 drop line 0.0 0.5")
        self.assertEqual(self.ask(two, "get"), "1048576 close line 0.0 5.0")
        self.assertEqual(self.ask(one, "nodelay"), "true 0")
        self.assertEqual(self.ask(one, "nodelay"), "true 1")
        self.assertEqual(self.ask(one, "keepalive"), "1 77")
        self.assertEqual(self.ask(one, "number"), "1")  # SO_TYPE: a stream
        self.assertEqual(self.ask(one, "bad"), "nil Invalid argument EINVAL")
        self.assertEqual(self.ask(one, "info"), "true")

    def test_walking_over_connections(self):
        server = self.serve(
            PRELUDE
            + """
            local function say(conn, text)
              if text == "close all" then
                for c in neap.connections() do c:close("walked over") end
              end
              local n = 0
              for c in neap.connections(text ~= "all" and text or nil) do
                n = n + 1
                assert(c.service == text or text == "all")
              end
              return n .. ""
            end
            local left = function(_, _, detail) note("left", detail) end
            return { services = {
              a = { listen = 0, framing = "line", on_message = say, on_disconnect = left },
              b = { listen = 0, framing = "line", on_message = say, on_disconnect = left },
            } }""",
            listen=["a=tcp://127.0.0.1:0", "b=tcp://127.0.0.1:0"],
        )
        clients = [self.client(server.addresses[i % 3 == 0]) for i in range(9)]
        for client in clients:
            self.assertEqual(self.ask(client, "all")[0].isdigit(), True)
        self.assertEqual(self.ask(clients[0], "all"), "9")
        self.assertEqual(self.ask(clients[0], "a"), "6")
        self.assertEqual(self.ask(clients[0], "b"), "3")
        clients[0].send(b"close all\n")
        for client in clients:
            client.receive_all()
            client.close()
        server.wait_log('"left walked over"', count=9)

    def test_a_handle_of_a_datagram_peer(self):
        server = self.served(
            {
                "stream": """
                  return list(conn:shutdown()) .. ";" .. list(conn:setsockopt(1, 2, 3)) .. ";" ..
                    list(conn:getsockopt(1, 2)) .. ";" .. list(conn:set("framing", "line")) ..
                    ";" .. list(conn:get("framing"))""",
                "close": "conn:close()",
                "kept": "return list(kept:send('x'))",
                "id": "return list(conn.id)",
                "fields": "return list(conn.transport, conn.peer, conn.host, conn.port, "
                "conn.local_address, conn.received, conn.service)",
            },
            listen="udp://127.0.0.1:0",
        )
        client = self.client(server.address)

        def ask(text):
            return client.send(text).datagram().decode()

        self.assertEqual(ask(b"stream"), ";".join(["nil not for datagrams EOPNOTSUPP"] * 5))
        self.assertEqual(
            ask(b"fields"),
            f"udp {client.name} 127.0.0.1 {client.port} {server.address[6:]} 12 main",
        )
        self.assertEqual(ask(b"id"), "1")
        client.send(b"close")
        server.wait_log('"gone 1"')
        self.assertEqual(ask(b"id"), "2")
        self.assertEqual(ask(b"kept"), "nil closed ECLOSED")


if __name__ == "__main__":
    main()
