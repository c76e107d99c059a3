"""neap.resolve: names to addresses, without blocking."""

import socket
import threading

from control import control
from neap_server import PRELUDE, main, run
from reload_test import free_port
from upstream import A, AAAA, SERVFAIL, OutboundTest

# A line is a name; its addresses come back.
SCRIPT = """
  on_message = function(conn, name)
    local found, why, code = neap.resolve(name, TIMEOUT)
    if not found then return ("nil %s %s"):format(why, code) end
    return table.concat(found, " ")
  end,
  on_disconnect = function(conn, reason) note("gone", reason) end"""


def script(names=None, timeout="nil", options=""):
    servers = f"nameservers = {{ '{names.address}' }}," if names else ""
    return f"{PRELUDE} return {{ framing = 'line', {servers} {options} {SCRIPT.replace('TIMEOUT', timeout)} }}"


class Resolve(OutboundTest):
    def test_without_a_name_server(self):
        server = self.serve(script())
        self.assertEqual(self.ask(server, "192.0.2.1"), "192.0.2.1")
        self.assertEqual(self.ask(server, "2001:db8::1"), "2001:db8::1")
        self.assertIn("127.0.0.1", self.ask(server, "localhost").split())

    def test_both_families(self):
        names = self.names({("both.test", A): ["127.0.0.1", "127.0.0.2"], ("both.test", AAAA): ["::1"]})
        server = self.serve(script(names))
        self.assertEqual(sorted(self.ask(server, "both.test").split()), ["127.0.0.1", "127.0.0.2", "::1"])

    def test_at_most_16(self):
        many = [f"127.0.1.{i}" for i in range(20)]
        server = self.serve(script(self.names({("many.test", A): many, ("many.test", AAAA): []})))
        self.assertEqual(len(self.ask(server, "many.test").split()), 16)

    def test_what_can_go_wrong(self):
        names = self.names(
            {
                ("empty.test", A): [],
                ("empty.test", AAAA): [],
                ("broken.test", A): SERVFAIL,
                ("broken.test", AAAA): SERVFAIL,
                ("slow.test", A): None,
                ("slow.test", AAAA): None,
            }
        )
        server = self.serve(script(names, timeout="0.3"))
        for name, answer in [
            ("none.test", "no such name ENOTFOUND"),
            ("empty.test", "the name has no address ENOTFOUND"),
            ("broken.test", "no name server gives an answer EAGAIN"),
            ("slow.test", "timeout ETIMEDOUT"),
        ]:
            self.assertEqual(self.ask(server, name), f"nil {name}: {answer}")

    def test_nobody_at_the_name_server(self):
        nobody = f"nameservers = {{ '127.0.0.1:{free_port(socket.SOCK_DGRAM)}' }},"
        server = self.serve(script(options=nobody))
        self.assertEqual(self.ask(server, "x.test"), "nil x.test: no name server gives an answer EAGAIN")

    def test_wrong_arguments(self):
        rows = ["", "{}", "''", "('x'):rep(254)", "'a\\0b'", "'x', 'y'"]
        calls = ", ".join(f"function() return neap.resolve({one}) end" for one in rows)
        server = self.serve(
            f"{PRELUDE} return {{ on_connect = function(conn) "
            f"for _, f in ipairs {{ {calls} }} do note(pcall(f)) end conn:close() end }}"
        )
        self.client(server.address).receive_all()
        self.assertEqual(server.stop(), 0)
        events = server.events()
        self.assertEqual(len(events), len(rows))
        for event in events:
            self.assertRegex(event, "^false .*bad argument #[12] to 'resolve'")

    def test_bad_names_are_no_names(self):
        server = self.serve(script(self.names({})))
        for name in ("-", "a..b", "x" * 64 + ".test", "two words", "ä.test"):
            self.assertRegex(self.ask(server, name), "^nil .* ENOTFOUND$", name)

    def test_wrong_name_servers(self):
        for value in ("'127.0.0.1'", "{}", "{ 'dns.test' }", "{ 'localhost' }", "{ '127.0.0.1:x' }", "{ 1.5 }"):
            file = self.folder() / "main.lua"
            file.write_text(f"return {{ nameservers = {value} }}")
            status, errors = run("check", file)
            self.assertEqual(status, 65, errors)
            self.assertRegex(errors, "error: .*name ?server")

    def test_name_servers_as_they_may_be_written(self):
        server = self.serve("return { nameservers = { '127.0.0.1', '::1', '[::1]:5353', '127.0.0.1:5353' } }")
        self.assertEqual(server.stop(), 0)

    def test_the_next_name_server(self):
        silent, names = self.names({("x.test", A): None, ("x.test", AAAA): None}), self.names({("x.test", A): ["127.0.0.9"]})
        server = self.serve(
            script(options=f"nameservers = {{ '{silent.address}', '{names.address}' }},")
        )
        self.assertEqual(self.ask(server, "x.test"), "127.0.0.9")

    def test_many_at_once(self):
        hosts = {(f"h{i}.test", A): [f"127.0.0.{i + 1}"] for i in range(100)}
        server = self.serve(script(self.names(hosts)))
        clients = [self.client(server.address).send(b"h%d.test\n" % i) for i in range(100)]
        for i, client in enumerate(clients):
            self.assertEqual(client.receive_until(b"\n"), b"127.0.0.%d\n" % (i + 1))

    def test_nobody_else_waits(self):
        hosts = {("slow.test", A): None, ("slow.test", AAAA): None, ("fast.test", A): ["127.0.0.1"]}
        server = self.serve(script(self.names(hosts), timeout="20"))
        self.client(server.address).send(b"slow.test\n")
        with self.within(5):
            self.assertEqual(self.ask(server, "fast.test"), "127.0.0.1")

    def test_name_servers_change_with_the_version(self):
        old, new = self.names({("x.test", A): ["127.0.0.1"]}), self.names({("x.test", A): ["127.0.0.2"]})
        server = self.serve(script(old))
        self.assertEqual(self.ask(server, "x.test"), "127.0.0.1")
        self.reload(server, script(new))
        self.assertEqual(self.ask(server, "x.test"), "127.0.0.2")

    def test_ends(self):
        hosts = {("slow.test", A): None, ("slow.test", AAAA): None}
        waits = script(self.names(hosts), timeout="60", options="drain_timeout = 0.1,").replace(
            "local found", "note('asking') local found"
        ).replace("if not found", "note(found, why, code) if not found")
        for end in ("reset", "kick", "reload", "stop"):
            with self.subTest(end):
                server = self.serve(waits)
                client = self.client(server.address).send(b"slow.test\n")
                server.wait_log("asking")
                if end == "reload":
                    self.reload(server, waits + "\n-- 2")
                if end == "kick":
                    control(server, "kick", id=1)
                    client.close()  # or linger waits for it
                elif end == "reset":
                    client.reset()
                if end in ("kick", "reset"):
                    server.wait_log("gone")
                self.assertEqual(server.stop(), 0)
                self.assertIn("nil closed ECLOSED", server.events())

    def test_workers_look_up_side_by_side(self):
        server = self.serve(
            script(self.names({("x.test", A): ["127.0.0.1"]}), options="workers = 2,")
        )
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(self.ask(server, "x.test"))) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, ["127.0.0.1"] * 20)


class Found(OutboundTest):
    def test_lookups_that_were_given_up_do_not_hold_up_others(self):
        names = self.names(
            {("slow.test", A): None, ("slow.test", AAAA): None, ("good.test", A): ["127.0.0.1"], ("good.test", AAAA): []}
        )
        server = self.serve(f"""{PRELUDE} return {{ framing = "line", hook_timeout = 10, nameservers = {{ "{names.address}" }},
            on_message = function(conn, name)
              if name ~= "flood" then
                local found, why, code = neap.resolve(name)
                return found and found[1] or code
              end
              local tasks = {{}}
              for i = 1, 4000 do tasks[i] = conn:spawn(neap.resolve, "slow.test", 0.05) end
              for _, task in ipairs(tasks) do task:wait() end
              return "done"
            end }}""")
        self.assertEqual(self.ask(server, "flood"), "done")
        self.assertEqual(self.ask(server, "good.test"), "127.0.0.1")

    def test_an_address_needs_no_lookup(self):
        server = self.serve(script())
        self.assertEqual(self.ask(server, "192.0.2.7"), "192.0.2.7")
        counters = control(server, "status")["counters"]
        self.assertEqual(counters["lookups"], 0)


if __name__ == "__main__":
    main()
