"""neap.connect: where to, how long, whose it is, and how it ends.

P5: what is opened has an owner and ends with it. P6: no descriptor is left behind.
"""

import json
import socket

from control import control
from neap_server import LOOPBACK, PRELUDE, ends_with_reset, main, run
from reload_test import free_port, until
from upstream import A, AAAA, OutboundTest

# A line is an address to ask; what it answers comes back.
ASKER = """
  on_message = function(conn, address)
    local up, why, code = neap.connect(address, { timeout = 1, framing = "line" })
    if not up then return ("nil %s %s"):format(why, code) end
    up:send("ping")
    local answer, why, code = up:read()
    up:close()
    return ("%s %s %s"):format(answer, why, code)
  end"""


def asker(options="", before=""):
    return f"{PRELUDE} {before} return {{ framing = 'line', hook_timeout = 10, {options} {ASKER} }}"


class WhereTo(OutboundTest):
    def test_every_transport(self):
        folder = self.folder()
        addresses = [
            LOOPBACK,
            "tcp://[::1]:0",
            "udp://127.0.0.1:0",
            f"unix://{folder}/s",
            f"unixgram://{folder}/d",
        ]
        echo = self.serve(
            "return { framing = 'line', on_message = function(c, m) return 'got ' .. m end }", listen=addresses
        )
        asker_server = self.serve(asker())
        for scheme in ("tcp", "udp", "unix", "unixgram"):
            for address in echo.addresses:
                if address.startswith(scheme + ":"):
                    self.assertEqual(self.ask(asker_server, address), "got ping nil nil", address)

    def test_a_bare_port_and_localhost(self):
        upstream = self.serve("return { framing = 'line', on_message = function() return 'yes' end }")
        server = self.serve(asker())
        port = upstream.address.rpartition(":")[2]
        self.assertEqual(self.ask(server, port), "yes nil nil")
        self.assertEqual(self.ask(server, f"tcp://localhost:{port}"), "yes nil nil")

    def test_nobody_there(self):
        server = self.serve(asker())
        for address, code, words in [
            (f"tcp://127.0.0.1:{free_port()}", "ECONNREFUSED", "Connection refused"),
            (f"tcp://[::1]:{free_port()}", "ECONNREFUSED", "Connection refused"),
            (f"tcp://localhost:{free_port()}", "ECONNREFUSED", "Connection refused"),
            (f"unix://{self.folder()}/none", "ENOENT", "No such file or directory"),
            (f"unixgram://{self.folder()}/none", "ENOENT", "No such file or directory"),
        ]:
            self.assertEqual(self.ask(server, address), f"nil {address}: {words} {code}")
        self.assertEqual(self.ask(server, f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"), "nil closed ECLOSED")

    def test_a_black_hole(self):
        server = self.serve(asker())
        for address in (LOOPBACK, f"unix://{self.folder()}/full"):
            upstream = self.upstream(address, full=True)
            with self.within(10):
                self.assertEqual(
                    self.ask(server, upstream.address), f"nil {upstream.address}: timeout ETIMEDOUT"
                )

    def test_a_full_backlog_is_tried_again(self):
        upstream = self.upstream(f"unix://{self.folder()}/full", full=True)
        server = self.serve(asker().replace("timeout = 1", "timeout = 20"))
        client = self.client(server.address).send(upstream.address.encode() + b"\n")
        server.wait_log("ready")
        for _ in upstream.fillers[:-1]:
            upstream.accept()
        up = upstream.accept()
        self.assertEqual(up.receive_until(b"\n"), b"ping\n")
        up.send(b"pong\n")
        self.assertEqual(client.receive_until(b"\n"), b"pong nil nil\n")

    def test_wrong_arguments(self):
        rows = [
            ("", "string expected"),
            ("'x:1'", "did you mean 'tcp://x:1'"),
            ("'tcp://127.0.0.1'", "no port"),
            ("'tcp://127.0.0.1:0'", "port 0"),
            ("'tcp://no host:1'", "names are not looked up|not a host|write a numeric"),
            ("'fd://3'", "a descriptor"),
            ("'tcp://127.0.0.1:1?backlog=2'", "options"),
            ("'4343', 5", "table expected"),
            ("'4343', { timout = 1 }", "did you mean 'timeout'"),
            ("'4343', { timeout = 'x' }", "number expected"),
            ("'4343', { framing = 'lines' }", "did you mean 'line'"),
            ("'4343', { service = 'up' }", "no service 'up'"),
        ]
        calls = ", ".join(f"function() return neap.connect({one}) end" for one, _ in rows)
        server = self.serve(
            f"{PRELUDE} return {{ on_connect = function(conn) "
            f"for _, f in ipairs {{ {calls} }} do note(pcall(f)) end conn:close() end }}"
        )
        self.client(server.address).receive_all()
        self.assertEqual(server.stop(), 0)
        for (one, pattern), event in zip(rows, server.events(), strict=True):
            is_address = one.startswith("'") and "{" not in one and "," not in one
            start = "^true nil neap.connect: .*" if is_address else "^false .*"
            self.assertRegex(event, f"{start}({pattern})" + (".* EINVAL$" if is_address else ""), one)

    def test_not_while_the_script_loads(self):
        for name in ("connect", "resolve"):
            script = self.folder() / "main.lua"
            script.write_text(f"require('neap').{name}('4343')")
            status, errors = run("check", script)
            self.assertEqual(status, 65, errors)
            self.assertIn(f"neap.{name} while the script loads: use on_start", errors)

    def test_max_connections(self):
        upstream = self.upstream()
        server = self.serve(asker("max_connections = 1,"))
        self.assertEqual(
            self.ask(server, upstream.address), f"nil {upstream.address}: max_connections reached EMFILE"
        )
        self.assertEqual(server.stop(), 0)
        server.wait_log("max_connections reached")

    def test_places_are_given_back(self):
        # Whether it was opened, refused or given up, its place is free again.
        echo = self.serve("return { framing = 'line', on_message = function() return 'yes' end }")
        full, refused = self.upstream(full=True), f"tcp://127.0.0.1:{free_port()}"
        server = self.serve(asker("max_connections = 2,"))
        for _ in range(3):
            until(lambda: self.ask(server, echo.address) == "yes nil nil")
            until(lambda: "ECONNREFUSED" in self.ask(server, refused))
            self.client(server.address).send(full.address.encode() + b"\n").reset()
        until(lambda: self.ask(server, echo.address) == "yes nil nil")


class Names(OutboundTest):
    def server(self, names, **more):
        return self.serve(asker(f"nameservers = {{ '{names.address}' }},", **more))

    def test_a_name(self):
        upstream = self.upstream()
        names = self.names({("db.test", A): ["127.0.0.1"], ("db.test", AAAA): []})
        server = self.server(names)
        client = self.client(server.address).send(f"tcp://db.test:{upstream.port}\n".encode())
        upstream.accept().send(b"pong\n").receive_until(b"\n")
        self.assertEqual(client.receive_until(b"\n"), b"pong nil nil\n")
        self.assertEqual(sorted(names.asked), [("db.test", A), ("db.test", AAAA)])

    def test_no_such_name(self):
        server = self.server(self.names({}))
        self.assertEqual(
            self.ask(server, "tcp://none.test:1"), "nil tcp://none.test:1: no such name ENOTFOUND"
        )

    def test_a_name_without_addresses(self):
        server = self.server(self.names({("empty.test", A): [], ("empty.test", AAAA): []}))
        self.assertEqual(
            self.ask(server, "tcp://empty.test:1"),
            "nil tcp://empty.test:1: the name has no address ENOTFOUND",
        )

    def test_a_server_that_never_answers(self):
        server = self.server(self.names({("slow.test", A): None, ("slow.test", AAAA): None}))
        with self.within(10):
            self.assertEqual(self.ask(server, "tcp://slow.test:1"), "nil tcp://slow.test:1: timeout ETIMEDOUT")

    def test_one_family_that_never_answers(self):
        # Addresses of IPv4 wait 50 ms for those of IPv6, and no longer.
        upstream = self.upstream()
        names = self.names({("half.test", A): ["127.0.0.1"], ("half.test", AAAA): None})
        server = self.server(names)
        client = self.client(server.address).send(f"tcp://half.test:{upstream.port}\n".encode())
        upstream.accept().send(b"pong\n").receive_until(b"\n")
        self.assertEqual(client.receive_until(b"\n"), b"pong nil nil\n")

    def both(self, ipv6):
        """Two upstreams at one port; a name for both."""
        upstream = self.upstream()
        other = self.upstream(f"tcp://[::1]:{upstream.port}", **ipv6)
        names = self.names({("both.test", A): ["127.0.0.1"], ("both.test", AAAA): ["::1"]})
        server = self.server(names)
        client = self.client(server.address).send(f"tcp://both.test:{upstream.port}\n".encode())
        return upstream, other, client

    def test_ipv6_first(self):
        _, other, client = self.both({})
        other.accept().send(b"six\n").receive_until(b"\n")
        self.assertEqual(client.receive_until(b"\n"), b"six nil nil\n")

    def test_the_other_family_when_one_does_not_answer(self):
        upstream, _, client = self.both({"full": True})
        upstream.accept().send(b"four\n").receive_until(b"\n")
        self.assertEqual(client.receive_until(b"\n"), b"four nil nil\n")

    def test_the_next_address_when_one_refuses(self):
        upstream = self.upstream()
        names = self.names({("many.test", A): ["127.0.0.2", "127.0.0.1"], ("many.test", AAAA): ["::1"]})
        server = self.server(names)
        with self.within(5):
            client = self.client(server.address).send(f"tcp://many.test:{upstream.port}\n".encode())
            upstream.accept().send(b"pong\n").receive_until(b"\n")
            self.assertEqual(client.receive_until(b"\n"), b"pong nil nil\n")

    def test_all_refuse(self):
        names = self.names({("many.test", A): ["127.0.0.2", "127.0.0.1"], ("many.test", AAAA): ["::1"]})
        address = f"tcp://many.test:{free_port()}"
        self.assertEqual(
            self.ask(self.server(names), address), f"nil {address}: Connection refused ECONNREFUSED"
        )


class Owner(OutboundTest):
    """It ends with the connection whose hook opened it, or with the version."""

    def opened_by(self, script, **options):
        self.up = self.upstream()
        self.server = self.serve(script.replace("UP", self.up.address), **options)
        return self.server

    KEEPS = """
      on_connect = function(conn) conn.data.up = assert(neap.connect("UP", { framing = "line" })) end,
      on_message = function(conn, text) conn.data.up:send(text) return conn.data.up:read() end"""

    def test_with_its_connection(self):
        server = self.opened_by(f"{PRELUDE} return {{ framing = 'line', {self.KEEPS} }}")
        for end in ("close", "reset"):
            client = self.client(server.address)
            up = self.up.accept()
            client.send(b"x\n")
            up.receive_until(b"\n")
            up.send(b"y\n")
            self.assertEqual(client.receive_until(b"\n"), b"y\n")
            getattr(client, end)()
            self.assertEqual(up.receive_all(), b"")

    def test_over_a_reload(self):
        script = f"{PRELUDE} return {{ framing = 'line', {self.KEEPS} }}"
        server = self.opened_by(script)
        client = self.client(server.address)
        up = self.up.accept()
        self.reload(server, script.replace("UP", self.up.address) + "\n-- 2")
        client.send(b"x\n")
        up.receive_until(b"\n")
        up.send(b"y\n")
        self.assertEqual(client.receive_until(b"\n"), b"y\n")

    def test_with_its_task(self):
        server = self.opened_by(
            f"""{PRELUDE} return {{ framing = "line", on_connect = function(conn)
              conn:spawn(function() local up = neap.connect("UP") note("opened", up) neap.sleep(0) end) end }}"""
        )
        client = self.client(server.address)
        up = self.up.accept()
        server.wait_log("opened connection")
        client.close()
        self.assertEqual(up.receive_all(), b"")

    def test_with_the_version(self):
        script = f"""{PRELUDE} return {{ on_start = function()
            neap.spawn(function() assert(neap.connect("UP")):write("TAG") end) end }}"""
        server = self.opened_by(script.replace("TAG", "1"))
        first = self.up.accept()
        self.assertEqual(first.receive(1), b"1")
        self.reload(server, script.replace("UP", self.up.address).replace("TAG", "2"))
        self.assertEqual(first.receive_all(), b"")
        second = self.up.accept()
        self.assertEqual(second.receive(1), b"2")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(second.receive_all(), b"")

    def test_a_version_that_does_not_take_over(self):
        script = f"""{PRELUDE} return {{ workers = 2, on_start = function()
            if neap.script.version == 2 and neap.worker == 2 then error("no") end
            note("opened", neap.connect("UP", {{ timeout = 20 }})) end }}"""
        server = self.opened_by(script)
        first = [self.up.accept(), self.up.accept()]
        server.wait_log("opened connection", 2)
        self.edit(server, script.replace("UP", self.upstream(full=True).address) + "\n-- 2")
        answer = control(server, "reload")
        self.assertFalse(answer["ok"], answer)
        self.assertEqual(server.stop(), 0)
        self.assertEqual([one.receive_all() for one in first], [b"", b""])
        self.assertEqual(server.count_log("opened"), 2)

    def test_on_stop_may_say_goodbye(self):
        # To a registry, say: the server, and a version that was replaced, wait for it.
        script = f"""{PRELUDE} return {{ drain_timeout = 60, on_stop = function(reason)
            local up = assert(neap.connect("UP", {{ framing = "line" }}))
            up:send("goodbye " .. reason)
            note("answer", up:read())
          end }}"""
        server = self.opened_by(script)
        self.reload(server, script.replace("UP", self.up.address) + "\n-- 2")
        for reason in (b"reload", b"shutdown"):
            up = self.up.accept()
            self.assertEqual(up.receive_until(b"\n"), b"goodbye " + reason + b"\n")
            if reason == b"shutdown":
                server.wait_log("stopping")
            up.send(reason + b"\n")
            self.assertEqual(up.receive_all(), b"")
            up.close()
            if reason == b"reload":
                server.interrupt()
        with self.within(20):
            self.assertEqual(server.wait(), 0)
        self.assertEqual(server.events(), ["answer reload", "answer shutdown"])

    def test_on_stop_has_until_drain_timeout(self):
        server = self.opened_by(
            f"""{PRELUDE} return {{ drain_timeout = 0.2, on_stop = function()
            note("waits")
            local x <close> = setmetatable({{}}, {{ __close = function() note("closed") end }})
            neap.connect("UP", {{ timeout = 60 }}):read() end }}"""
        )
        with self.within(20):
            self.assertEqual(server.stop(), 0)
        self.assertEqual(server.events(), ["waits", "closed"])

    def test_it_is_in_no_list_of_a_service(self):
        server = self.opened_by(
            f"""{PRELUDE} return {{ framing = "line", on_message = function(conn)
              local up, count = neap.connect("UP"), 0
              for _ in neap.connections() do count = count + 1 end
              return ("%d %s %s"):format(count, up.service, up.transport)
            end }}"""
        )
        client = self.client(server.address)
        self.assertEqual(client.send(b"x\n").receive_until(b"\n"), b"1 nil tcp\n")
        rows = control(server, "connections")["connections"]
        self.assertEqual([row["service"] for row in rows], ["main", ""])


class Hooks(OutboundTest):
    """With `service`, its events run that service's hooks."""

    SCRIPT = """
      return { hook_timeout = 10, services = {
        front = { listen = "LISTEN", framing = "line",
          on_message = function(conn, text)
            local up = neap.connect("UP", { service = "back" })
            note("connected", up.service)
            up.data.name = text
          end },
        back = { listen = {}, framing = "netstring",
          on_connect = function(conn) note("TAG on_connect", conn.data.name) end,
          on_message = function(conn, message) note("TAG on_message", conn.data.name, message) return "got " .. message end,
          on_disconnect = function(conn, reason) note("TAG on_disconnect", conn.data.name, reason) end } } }"""

    def script(self, server_address, tag):
        return PRELUDE + self.SCRIPT.replace("UP", self.up.address).replace("TAG", tag).replace(
            "LISTEN", server_address
        )

    def test_hooks_of_the_newest_version(self):
        self.up = self.upstream()
        address = f"unix://{self.folder()}/front"
        server = self.serve(self.script(address, "v1"), listen=())
        client = self.client(address).send(b"name\n")
        up = self.up.accept()
        server.wait_log("v1 on_connect")
        up.send(b"3:one,")
        self.assertEqual(up.receive(10), b"7:got one,")
        self.reload(server, self.script(address, "v2"))
        up.send(b"3:two,")
        self.assertEqual(up.receive(10), b"7:got two,")
        up.close()
        server.wait_log("on_disconnect")
        client.close()
        self.assertEqual(server.stop(), 0)
        self.assertEqual(
            server.events(),
            [
                "connected back",
                "v1 on_connect name",
                "v1 on_message name one",
                "v2 on_message name two",
                "v2 on_disconnect name eof",
            ],
        )

    def test_on_start_of_a_reload(self):
        # What on_start opens is there when the version serves, with the hooks that are new in it.
        self.up = self.upstream()
        address = f"unix://{self.folder()}/front"
        server = self.serve(f"return {{ services = {{ front = {{ listen = '{address}' }} }} }}", listen=())
        text = self.script(address, "v2").replace(
            "services = {", f"on_start = function() note('opened', neap.connect('{self.up.address}', {{ service = 'back' }})) end, services = {{", 1
        )
        self.reload(server, text)
        up = self.up.accept()
        server.wait_log("opened connection")
        up.send(b"3:one,")
        self.assertEqual(up.receive(10), b"7:got one,")
        self.assertEqual(server.stop(), 0)


class Ends(OutboundTest):
    """Whoever waits in neap.connect, or reads what it opened, is told of every end."""

    def waits(self, body, upstream=None, options="framing = 'line',"):
        self.up = upstream or self.upstream()
        script = f"""{PRELUDE} return {{ {options} hook_timeout = 10, drain_timeout = 1,
          on_message = function(conn, text)
            note("message", text)
            {body.replace("UP", self.up.address)}
          end,
          on_disconnect = function(conn, reason) note("gone", reason) end }}"""
        self.server = self.serve(script)
        client = self.client(self.server.address).send(b"x\n")
        self.server.wait_log("message x")
        return client

    CONNECTS = "note('connect', neap.connect('UP', { timeout = 60 }))"
    READS = "local up = neap.connect('UP') note('opened') note('read', up:read()) note('again', up:read())"

    def history(self):
        self.assertEqual(self.server.stop(), 0)
        return self.server.events()

    def end_own(self, end, client):
        """Ends the connection whose hook waits; a stop is left to `history`."""
        if end == "reset":
            client.reset()
        elif end == "kick":
            control(self.server, "kick", id=1)
            client.close()  # or linger waits for it
        if end != "stop":
            self.server.wait_log("gone")

    def test_connecting(self):
        for end in ("reset", "kick", "stop"):
            with self.subTest(end):
                client = self.waits(self.CONNECTS, self.upstream(full=True))
                self.end_own(end, client)
                self.assertIn("connect nil closed ECLOSED", self.history())

    def test_reading_while_the_own_connection_ends(self):
        for end in ("reset", "kick", "stop"):
            with self.subTest(end):
                client = self.waits(self.READS)
                up = self.up.accept()
                self.server.wait_log("opened")
                self.end_own(end, client)
                self.assertEqual(self.history()[2:4], ["read nil closed ECLOSED", "again nil closed ECLOSED"])
                # Over drain_timeout everything is reset.
                self.assertEqual(ends_with_reset(up), end == "stop")

    def test_reading_while_the_other_ends(self):
        for end, read, again in [
            ("close", "read nil eof EOF", "again nil eof EOF"),
            ("reset", "read nil closed ECLOSED", "again nil closed ECLOSED"),
        ]:
            with self.subTest(end):
                self.waits(self.READS)
                up = self.up.accept()
                self.server.wait_log("opened")
                getattr(up, end)()
                self.server.wait_log("again")
                self.assertEqual(self.history()[2:4], [read, again])

    def test_kicking_the_other(self):
        self.waits(self.READS)
        up = self.up.accept()
        self.server.wait_log("opened")
        control(self.server, "kick", id=2)
        self.server.wait_log("again")
        self.assertEqual(up.receive_all(), b"")
        self.assertEqual(self.history()[2:4], ["read nil closed ECLOSED", "again nil closed ECLOSED"])

    def test_timeouts(self):
        self.waits(
            """local up = neap.connect('UP')
            note("timeout", up:read(nil, 0.05))
            note("now", up:read(nil, 0))
            up:set("idle_timeout", 0.05)
            note("idle", up:read())
            up:set("idle_timeout", 0)
            note("skip", up:skip(1, 0.05))
            note("flush", up:flush(0.05))"""
        )
        up = self.up.accept()
        self.server.wait_log("flush")
        up.close()
        self.assertEqual(
            self.history()[1:6],
            [
                "timeout nil timeout ETIMEDOUT",
                "now nil timeout ETIMEDOUT",
                "idle nil idle ETIMEDOUT",
                "skip nil timeout ETIMEDOUT",
                "flush true",
            ],
        )

    def test_flushing_while_it_ends(self):
        client = self.waits(
            """local up = neap.connect('UP')
            up:write(("x"):rep(7000000))
            note("opened")
            note("flush", up:flush())
            note("again", up:flush(0.01))"""
        )
        up = self.up.accept()
        self.server.wait_log("opened")
        up.reset()
        self.server.wait_log("again")
        client.close()
        self.assertEqual(self.history()[2:4], ["flush nil closed ECLOSED", "again nil closed ECLOSED"])

    def test_a_flush_that_succeeds(self):
        self.waits(
            """local up = neap.connect('UP')
            up:write(("x"):rep(7000000))
            note("flush", up:flush())"""
        )
        up = self.up.accept()
        self.assertEqual(len(up.receive(7000000)), 7000000)
        self.server.wait_log("flush true")

    def test_a_task_that_is_cancelled(self):
        full = self.upstream(full=True)
        self.waits(
            """local task = conn:spawn(function() local x <close> = CLOSING neap.connect('UP', { timeout = 60 }) end)
            neap.sleep(0.05)
            note("cancel", task:cancel())
            note("wait", task:wait())""".replace(
                "CLOSING", "setmetatable({}, { __close = function() note('closed') end })"
            ),
            full,
        )
        self.server.wait_log("wait")
        self.assertEqual(self.history()[1:4], ["closed", "cancel true", "wait nil cancelled ECANCELED"])

    def test_over_a_reload(self):
        self.waits(self.READS + " return 'v1 done'")
        up = self.up.accept()
        self.server.wait_log("opened")
        self.reload(self.server, "return { framing = 'line' }")
        rows = control(self.server, "versions")["versions"]
        self.assertIn("main.lua", json.dumps(rows))
        up.send(b"more")
        up.close()
        self.server.wait_log("again")
        self.assertEqual(self.history()[2:4], ["read more", "again nil eof EOF"])

    def test_assert_ends_the_hook_in_the_log(self):
        # Not the own connection: an error that is told.
        client = self.waits("local up = neap.connect('UP') assert(up:read())")
        self.up.accept().close()
        self.server.wait_log("on_message raised: .*eof")
        client.close()

    def test_other_connections_go_on(self):
        self.waits("if text == 'y' then return 'yes' end " + self.CONNECTS, self.upstream(full=True))
        with self.within(10):
            self.assertEqual(self.ask(self.server, "y"), "yes")

    def test_at_a_shutdown_the_hook_has_time(self):
        client = self.waits(
            """local up = neap.connect('UP')
            note("opened")
            local answer = up:read(1)
            note("answer", answer)
            return answer""",
        )
        up = self.up.accept()
        self.server.wait_log("opened")
        self.server.interrupt()
        self.server.wait_log("stopping")
        up.send(b"y")
        self.assertEqual(client.receive_all(), b"y\n")
        self.assertIn("answer y", self.history())


class Found(OutboundTest):
    """What a hunt has found, each once."""

    def talk(self, body, options="", before=""):
        """A server whose on_message is that body, and the answer to one line."""
        self.up = self.upstream()
        script = f"""{PRELUDE} {before} return {{ {options} services = {{
            main = {{ listen = "{LOOPBACK}", framing = "line",
              on_message = function(conn, text) {body} end }},
            up = {{ listen = {{}}, on_disconnect = function(c, reason) note("up", reason, c.local_address) end }} }} }}"""
        self.server = self.serve(script.replace("UP", self.up.address), listen=())
        self.peer = self.client(self.server.address).send(b"x\n")

    def test_what_a_replaced_version_opens_in_on_stop_ends_with_it(self):
        up = self.upstream()
        server = self.serve(
            f"""{PRELUDE} return {{ on_stop = function()
              note("opened", neap.connect("{up.address.replace('127.0.0.1', 'localhost')}")) end }}"""
        )
        self.reload(
            server,
            f"{PRELUDE} neap.every(0.005, function() collectgarbage('step', 100000) end) "
            "return { on_message = function() end }",
        )
        self.assertEqual(up.accept().receive_all(), b"")
        server.wait_log("opened connection")

    def test_a_canary_that_is_withdrawn_leaves_what_it_has_opened(self):
        up = self.upstream()
        main = "main = { listen = 'LISTEN', framing = 'line', on_message = function(c, m) BODY end }"
        address = f"unix://{self.folder()}/main"
        first = f"{PRELUDE} return {{ services = {{ {main} }} }}".replace("LISTEN", address)
        server = self.serve(first.replace("BODY", "return '1' .. m"), listen=())
        second = first.replace("} } }", "}, up = { listen = {}, on_message = function(c, m) return 'up ' .. m end } } }")
        connect = f"neap.connect('{up.address}', {{ service = 'up' }}) return '2' .. m"
        self.edit(server, second.replace("BODY", connect))
        self.succeeds(control(server, "reload", canary="100%"), server)
        client = self.client(address).send(b"x\n")
        self.assertEqual(client.receive_until(b"\n"), b"2x\n")
        self.succeeds(control(server, "rollback"), server)
        self.assertEqual(client.send(b"y\n").receive_until(b"\n"), b"1y\n")
        other = up.accept().send(b"z")
        self.assertEqual(other.receive(4), b"up z")
        client.close()
        self.assertEqual(other.receive_all(), b"")

    def test_on_stop_of_a_withdrawn_canary_may_connect(self):
        up = self.upstream(f"unix://{self.folder()}/up")
        server = self.serve("return { on_message = function() end }")
        self.edit(
            server,
            f"""{PRELUDE} return {{ on_stop = function()
              note("stop", neap.connect("{up.address}", {{ service = "main" }})) end }}""",
        )
        self.succeeds(control(server, "reload", canary="100%"), server)
        self.succeeds(control(server, "rollback"), server)
        server.wait_log("stop connection")
        self.assertEqual(up.accept().receive_all(), b"")

    def test_a_task_that_reconnects_does_not_keep_the_server(self):
        for up in (self.upstream(), self.upstream(f"unix://{self.folder()}/up")):
            server = self.serve(
                f"""{PRELUDE} neap.spawn(function() while true do
                  local up, why = neap.connect("{up.address}")
                  if up then for m in up:messages() do end up:close() else note(why) neap.sleep(0.01) end
                end end)
                return {{ drain_timeout = 20,
                  on_message = function() note("message") neap.sleep(0.2) return "done" end }}"""
            )
            client = self.client(server.address).send(b"x")
            up.accept()
            server.wait_log("message")
            server.interrupt()
            self.assertEqual(client.receive_all(), b"done")
            client.close()
            with self.within(10):
                self.assertEqual(server.wait(), 0)
            self.assertIn("the server stops", server.events()[1])

    def test_what_follows_a_connection_does_not_linger_at_a_stop(self):
        self.talk("conn.data.up = neap.connect('UP', { service = 'up' }) return 'done'")
        self.assertEqual(self.peer.receive_until(b"\n"), b"done\n")
        self.up.accept()  # which does not close
        with self.within(4):
            self.assertEqual(self.server.stop(), 0)
        self.assertRegex(self.server.events()[-1], "^up shutdown")

    def test_an_icmp_error_that_a_send_is_told_ends_the_connection(self):
        dead = free_port(socket.SOCK_DGRAM)
        live = self.serve("return { on_message = function(c, m) return m end }", listen="udp://127.0.0.1:0")
        self.talk(
            f"""local a, b = neap.connect("udp://127.0.0.1:{dead}"), neap.connect("{live.address}")
            a:send("1") b:send("x") a:send("2")
            note("dead", a:read(nil, 10))
            note("live", b:read(nil, 10))
            return 'done'"""
        )
        self.assertEqual(self.peer.receive_until(b"\n"), b"done\n")
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.server.events(), ["dead nil closed ECLOSED", "live x"])

    def test_a_closed_datagram_connection_has_no_address(self):
        at = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        self.talk(
            f"""local a = neap.connect("{at}", {{ service = "up" }})
            neap.sleep(0.02)
            a:abort()
            local b = neap.connect("{at}")
            note("other", b.local_address)
            return "done" """
        )
        self.assertEqual(self.peer.receive_until(b"\n"), b"done\n")
        self.assertEqual(self.server.stop(), 0)
        self.assertIn("up closed ", self.server.events())

    def test_small_ones(self):
        path = f"{self.folder()}/up"
        upstream = self.upstream(f"unix://{path}")
        self.talk(
            f"""local up = neap.connect("unix://{path}")
            note(up.peer, up.host, up.port)
            up:send("lost") up:abort()
            note("flush", up:flush())
            return "done" """
        )
        upstream.accept()
        self.assertEqual(self.peer.receive_until(b"\n"), b"done\n")
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.server.events(), [f"{path} {path} 0", "flush nil closed ECLOSED"])

    def test_a_service_that_the_newest_version_does_not_have(self):
        self.up = self.upstream()
        address = f"unix://{self.folder()}/main"
        rest = "main = { listen = 'LISTEN', framing = 'line', on_message = function(c) BODY end }"
        text = f"{PRELUDE} return {{ services = {{ old = {{ listen = {{}} }}, {rest} }} }}".replace("LISTEN", address)
        again = "note(neap.connect('UP', { service = 'old' }))".replace("UP", self.up.address)
        first = text.replace("BODY", f"{again} note('waits') neap.sleep(0.3) {again} return 'done'")
        server = self.serve(first, listen=())
        client = self.client(address).send(b"x\n")
        server.wait_log("waits")
        self.reload(server, text.replace("old = { listen = {} },", "").replace("BODY", ""))
        self.assertEqual(client.receive_until(b"\n"), b"done\n")
        self.assertEqual(server.stop(), 0)
        self.assertRegex(server.events()[-1], "^nil .*: its service is gone ECLOSED$")


if __name__ == "__main__":
    main()
