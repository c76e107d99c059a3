"""Where a server listens: every kind of address, several services, several workers."""

import contextlib
import os
import re
import socket
import stat
from collections import Counter
from pathlib import Path

from neap_server import PRELUDE, Client, NeapTest, main, run, target

ECHO = "return { on_message = function(_, message) return message end, LISTEN }"
NOTED = (
    PRELUDE
    + """return {
      framing = "line",
      on_connect = function(conn) note("connect", neap.worker, neap.workers) end,
      on_message = function(_, text) return text .. " " .. neap.worker end,
    }"""
)


def echo(listen=""):
    return ECHO.replace("LISTEN", listen)


class ListenTest(NeapTest):
    def assert_echo(self, address, **options):
        client = self.client(address, **options)
        client.socket.send(b"hello")
        received = client.datagram() if target(address)[1] == socket.SOCK_DGRAM else client.receive(5)
        self.assertEqual(received, b"hello", address)


class Kinds(ListenTest):
    def test_each_transport_on_a_free_port(self):
        for listen, ready in (
            ("tcp://127.0.0.1:0", r"tcp://127\.0\.0\.1:\d+"),
            ("udp://127.0.0.1:0", r"udp://127\.0\.0\.1:\d+"),
            ("tcp://[::1]:0", r"tcp://\[::1\]:\d+"),
            ("udp://[::1]:0", r"udp://\[::1\]:\d+"),
            ("0", r"tcp://127\.0\.0\.1:\d+"),
        ):
            with self.subTest(listen):
                server = self.serve(echo(), listen=listen)
                self.assertEqual(len(server.addresses), 1)
                self.assertRegex(server.address, f"^{ready}$")
                self.assertNotRegex(server.address, ":0$")
                self.assert_echo(server.address)

    def test_all_interfaces_must_be_spelled(self):
        for listen, contact in (
            ("tcp://0.0.0.0:0", ["tcp://127.0.0.1", "tcp://127.0.0.2"]),
            ("tcp://[::]:0", ["tcp://[::1]"]),
            ("tcp://[::]:0?ipv6_only=0", ["tcp://[::1]", "tcp://127.0.0.1"]),
        ):
            with self.subTest(listen):
                server = self.serve(echo(), listen=listen)
                port = target(server.address)[2][1]
                for address in contact:
                    self.assert_echo(f"{address}:{port}")
        server = self.serve(NOTED, listen="tcp://[::]:0")
        port = target(server.address)[2][1]
        with contextlib.suppress(ConnectionRefusedError):
            Client(f"tcp://127.0.0.1:{port}").close()  # some other program's, if it is open at all
        self.client(f"tcp://[::1]:{port}")
        server.wait_log('"connect')
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.count_log('"connect'), 1)

    def test_a_mapped_address_is_shown_as_ipv4(self):
        server = self.serve(
            "return { on_connect = function(c) return c.peer .. ' ' .. c.local_address end }",
            listen="tcp://[::]:0?ipv6_only=0",
        )
        port = target(server.address)[2][1]
        client = self.client(f"tcp://127.0.0.1:{port}")
        expected = f"{client.name} 127.0.0.1:{port}".encode()
        self.assertEqual(client.receive(len(expected)), expected)

    def test_localhost_is_both_on_one_port(self):
        for scheme in ("tcp", "udp"):
            with self.subTest(scheme):
                server = self.serve(echo(), listen=f"{scheme}://localhost:0")
                self.assertEqual(len(server.addresses), 2)
                ends = [target(address)[2][:2] for address in server.addresses]
                self.assertEqual([end[0] for end in ends], ["127.0.0.1", "::1"])
                self.assertEqual(ends[0][1], ends[1][1])
                for address in server.addresses:
                    self.assert_echo(address)

    def test_localhost_with_one_of_two_taken(self):
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as other:
            other.bind(("::1", 0))
            other.listen()
            address = f"tcp://localhost:{other.getsockname()[1]}"
            status, error = run("run", "-e", "return {}", "--listen", address)
        self.assertEqual(status, 71)
        self.assertRegex(error, f"^neap: cannot listen on {address}: Address already in use")

    def test_tables_and_lists(self):
        folder = self.folder()
        server = self.serve(
            echo(
                """listen = {
                  "tcp://127.0.0.1:0",
                  0,
                  { host = "127.0.0.1", port = 0 },
                  { transport = "tcp", host = "::1", port = 0 },
                  { transport = "udp", host = "127.0.0.1", port = 0 },
                  { transport = "unix", path = PATH },
                }""".replace("PATH", f'"{folder}/socket"')
            ),
            listen=None,
        )
        schemes = [address.partition("://")[0] for address in server.addresses]
        self.assertEqual(schemes, ["tcp", "tcp", "tcp", "tcp", "udp", "unix"])
        for address in server.addresses:
            self.assert_echo(address)

    def test_one_address_table(self):
        server = self.serve(
            echo("listen = { transport = 'udp', host = '127.0.0.1', port = 0 }"), listen=None
        )
        self.assertRegex(server.address, r"^udp://127\.0\.0\.1:\d+$")
        self.assert_echo(server.address)

    def test_none(self):
        server = self.serve(
            PRELUDE + "neap.after(0, function() note('runs') end) return { listen = {} }",
            listen=None,
        )
        self.assertEqual(server.addresses, [])
        server.wait_log('"runs"')

    def test_flags_replace_what_the_script_says(self):
        server = self.serve(
            echo("listen = { 'udp://127.0.0.1:0', 'udp://127.0.0.1:0' }"),
            listen=["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        )
        self.assertRegex(" ".join(server.addresses), r"^tcp://\S+ tcp://\S+$")
        for address in server.addresses:
            self.assert_echo(address)

    def test_the_environment(self):
        server = self.serve(
            echo(), listen=None, env={"NEAP_LISTEN": "tcp://127.0.0.1:0 udp://127.0.0.1:0"}
        )
        for scheme in ("tcp", "udp"):
            self.assert_echo(server.service(scheme))

    def test_socket_options_are_set_before_the_first_client(self):
        server = self.serve(
            "return { socket = { { 'SOL_SOCKET', 'SO_RCVBUF', 50000 }, { 1, 'SO_KEEPALIVE', true } },"
            " nodelay = false, on_connect = function(c)"
            " return ('%d %d %d'):format(c:getsockopt('SOL_SOCKET', 'SO_RCVBUF'),"
            " c:getsockopt('SOL_SOCKET', 'SO_KEEPALIVE'), c:getsockopt('IPPROTO_TCP', 'TCP_NODELAY'))"
            " end }"
        )
        self.assertEqual(self.client(server.address).receive(10), b"100000 1 0")

    def test_keepalive_of_zero_is_off(self):
        server = self.serve(
            "return { keepalive = 0, on_connect = function(c)"
            " return c:getsockopt('SOL_SOCKET', 'SO_KEEPALIVE') .. '' end }"
        )
        self.assertEqual(self.client(server.address).receive(1), b"0")

    def test_max_connections(self):
        server = self.serve("return { max_connections = 3, on_connect = function() return 'x' end }")
        clients = [self.client(server.address) for _ in range(3)]
        self.assertEqual([client.receive(1) for client in clients], [b"x"] * 3)
        refused = self.client(server.address)
        try:
            self.assertEqual(refused.receive(1), b"")
        except ConnectionResetError:
            pass
        server.wait_log('level=warn msg="refused a connection: max_connections reached"')
        clients[0].half_close()
        self.assertEqual(clients[0].receive_all(), b"")
        self.assertEqual(self.client(server.address).receive(1), b"x")

    def test_limits_for_one_address_do_not_hold_for_this_machine(self):
        server = self.serve(
            "return { max_connections_per_ip = 1, accept_rate = 1,"
            " on_connect = function() return 'x' end }"
        )
        clients = [self.client(server.address) for _ in range(20)]
        self.assertEqual([client.receive(1) for client in clients], [b"x"] * 20)


class Unix(ListenTest):
    def setUp(self):
        self.path = self.folder() / "socket"
        self.address = f"unix://{self.path}"

    def test_stream(self):
        server = self.serve(
            "return { on_connect = function(c) return ('%q %q %s %s'):format(c.peer, c.host, c.port,"
            " c.transport) end }",
            listen=self.address,
        )
        self.assertEqual(server.addresses, [self.address])
        client = self.client(server.address)
        self.assertEqual(client.receive(12), b'"" "" 0 unix')
        client.half_close()
        self.assertEqual(client.receive_all(), b"")
        self.assertEqual(server.stop(), 0)
        self.assertFalse(self.path.exists())

    def test_a_stale_file_is_replaced(self):
        for scheme, kind in (("unix", socket.SOCK_STREAM), ("unixgram", socket.SOCK_DGRAM)):
            with self.subTest(scheme):
                with socket.socket(socket.AF_UNIX, kind) as dead:
                    dead.bind(str(self.path))
                self.assertTrue(self.path.exists())
                server = self.serve(echo(), listen=f"{scheme}://{self.path}")
                source = f"{self.path}.client" if scheme == "unixgram" else None
                self.assert_echo(server.address, source=source)
                server.stop()
                self.assertFalse(self.path.exists())

    def test_after_a_crash(self):
        server = self.serve(echo(), listen=self.address, status=-9)
        server.process.kill()
        server.wait()
        self.assertTrue(self.path.exists())
        again = self.serve(echo(), listen=self.address)
        self.assert_echo(again.address)

    def test_a_live_one_is_refused(self):
        server = self.serve(echo(), listen=self.address)
        for scheme in ("unix", "unixgram"):
            status, error = run("run", "-e", echo(), "--listen", f"{scheme}://{self.path}")
            self.assertEqual(status, 71)
            self.assertRegex(error, f"cannot listen on {scheme}://{self.path}: Address already in use")
        self.assert_echo(server.address)

    def test_a_live_one_with_a_full_backlog_is_refused(self):
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(self.path))
            busy.listen(0)
            self.client(self.address)
            status, error = run("run", "-e", echo(), "--listen", self.address)
        self.assertEqual(status, 71, error)

    def test_a_file_that_is_no_socket_is_left_alone(self):
        self.path.write_text("precious")
        folder = self.path.parent / "folder"
        folder.mkdir()
        link = self.path.parent / "link"
        link.symlink_to(self.path)
        for path in (self.path, folder, link):
            status, error = run("run", "-e", echo(), "--listen", f"unix://{path}")
            self.assertEqual(status, 71)
            self.assertIn(f"cannot listen on unix://{path}: File exists (a file that is no socket)", error)
        self.assertEqual(self.path.read_text(), "precious")
        self.assertTrue(link.is_symlink())

    def test_a_folder_that_is_not_there(self):
        address = f"unix://{self.path}/socket"
        status, error = run("run", "-e", echo(), "--listen", address)
        self.assertEqual(status, 71)
        self.assertRegex(error, f"cannot listen on {address}: No such file or directory")

    def test_mode(self):
        for mode in (0o660, 0o600, 0o666, 0o777):
            for umask in (0o077, 0o022, 0):
                with self.subTest(mode=oct(mode), umask=oct(umask)):
                    server = self.serve(
                        echo(),
                        listen=f"{self.address}?mode={mode:04o}",
                        preexec_fn=lambda: os.umask(umask),
                    )
                    found = stat.S_IMODE(self.path.stat().st_mode)
                    server.stop()
                    self.assertEqual(found, mode)

    def test_without_a_mode_the_umask_holds(self):
        server = self.serve(echo(), listen=self.address, preexec_fn=lambda: os.umask(0o027))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o750)
        server.stop()

    def test_a_file_that_somebody_replaced_is_not_removed_at_the_end(self):
        server = self.serve(echo(), listen=self.address)
        self.path.unlink()
        self.path.write_text("somebody else's")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(self.path.read_text(), "somebody else's")


class Descriptor(ListenTest):
    """fd://N: a socket that was handed down."""

    def serve_fd(self, handed, *args, script=None):
        os.set_inheritable(handed.fileno(), True)
        return self.serve(
            script or echo(), *args, listen=f"fd://{handed.fileno()}", pass_fds=[handed.fileno()]
        )

    def test_tcp(self):
        for listens in (True, False):
            with self.subTest(listens=listens), socket.socket() as handed:
                handed.bind(("127.0.0.1", 0))
                if listens:
                    handed.listen()
                server = self.serve_fd(handed)
                address = f"tcp://127.0.0.1:{handed.getsockname()[1]}"
                self.assertEqual(server.addresses, [address])
                self.assert_echo(address)
                server.stop()

    def test_udp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handed:
            handed.bind(("127.0.0.1", 0))
            server = self.serve_fd(handed)
            self.assertEqual(server.addresses, [f"udp://127.0.0.1:{handed.getsockname()[1]}"])
            self.assert_echo(server.address)

    def test_unix(self):
        path = self.folder() / "socket"
        with socket.socket(socket.AF_UNIX) as handed:
            handed.bind(str(path))
            server = self.serve_fd(handed)
            self.assert_echo(f"unix://{path}")
            self.assertEqual(server.stop(), 0)
        self.assertTrue(path.exists())  # whoever made it removes it

    def test_with_several_workers(self):
        with socket.create_server(("127.0.0.1", 0)) as handed:
            server = self.serve_fd(handed, "--workers", 2, script=NOTED)
            clients = []
            for i in range(40):
                clients.append(self.client(server.address))
                server.wait_log('"connect', count=i + 1)
            counts = Counter(line["worker"] for line in server.records(note="true"))
            self.assertEqual(set(counts), {"1", "2"})
            for client in clients:
                client.close()

    def test_what_is_no_socket(self):
        with open("/dev/null", "rb") as handed:
            os.set_inheritable(handed.fileno(), True)
            address = f"fd://{handed.fileno()}"
            status, error = run(
                "run", "-e", echo(), "--listen", address, pass_fds=[handed.fileno()]
            )
        self.assertEqual(status, 71)
        self.assertRegex(error, f"^neap: cannot listen on {address}: Socket operation on non-socket")

    def test_what_is_not_open(self):
        status, error = run("run", "-e", echo(), "--listen", "fd://999")
        self.assertEqual(status, 71)
        self.assertRegex(error, "^neap: cannot listen on fd://999: Bad file descriptor")


class Services(ListenTest):
    SCRIPT = """
      local function hook(text) return function(c) return text .. " " .. c.service end end
      return { services = {
        chat = { listen = 4391, on_connect = hook "a" },
        admin = { listen = { "tcp://127.0.0.1:0", "tcp://127.0.0.1:0" }, on_connect = hook "b" },
        _x9 = { listen = {}, on_connect = hook "c" },
      } }"""

    def test_each_has_its_own_addresses_and_hooks(self):
        server = self.serve(self.SCRIPT, listen="chat=tcp://127.0.0.1:0")
        greetings = []
        for address in server.addresses:
            client = self.client(address).half_close()
            greetings.append(client.receive_all())
        self.assertEqual(greetings, [b"b admin", b"b admin", b"a chat"])

    def test_overrides_by_name(self):
        folder = self.folder()
        server = self.serve(
            self.SCRIPT,
            listen=[
                "chat=tcp://127.0.0.1:0",
                f"admin=unix://{folder}/admin",
                "chat=udp://127.0.0.1:0",
                "_x9=tcp://127.0.0.1:0?backlog=5",
            ],
        )
        self.assertEqual(
            [address.partition("://")[0] for address in server.addresses],
            ["tcp", "unix", "tcp", "udp"],  # by service: _x9, admin, chat
        )
        for address, text in zip(server.addresses, (b"c _x9", b"b admin", b"a chat")):
            self.assertEqual(self.client(address).half_close().receive_all(), text)


class Workers(ListenTest):
    def worker_counts(self, server, total):
        server.wait_log('"connect', count=total)
        return Counter(int(line["worker"]) for line in server.records(note="true"))

    def test_all_get_connections_and_balance(self):
        """64 connections, over TCP (a socket for each) and Unix (one for all)."""
        for count in (2, 4):
            for listen in ("tcp://127.0.0.1:0", f"unix://{self.folder()}/socket"):
                with self.subTest(workers=count, listen=listen):
                    server = self.serve(NOTED, "--workers", count, listen=listen)
                    server.wait_log(rf'msg="ready" .* workers={count} ')
                    clients = []
                    for i in range(64):  # one after another, so that each can be counted
                        clients.append(self.client(server.address))
                        server.wait_log('"connect', count=i + 1)
                    counts = self.worker_counts(server, 64)
                    self.assertEqual(set(counts), set(range(1, count + 1)))
                    self.assertLessEqual(max(counts.values()) - min(counts.values()), 9, counts)
                    found = Counter()
                    for client in clients:
                        client.send(b"who\n")
                        found[int(client.receive_until(b"\n").split()[1])] += 1
                    self.assertEqual(found, counts)
                    self.assertEqual(
                        set(server.events()), {f"connect {i} {count}" for i in counts}
                    )
                    self.assertEqual(server.stop(), 0)
                    server.wait_log("served 64 connections, 0 datagram peers, 64 messages")

    def test_all_at_once(self):
        server = self.serve(NOTED, "--workers", 2)
        clients = [self.client(server.address) for _ in range(200)]
        for client in clients:
            client.send(b"x\n")
        for client in clients:
            self.assertRegex(client.receive_until(b"\n"), rb"^x [12]\n$")
        counts = self.worker_counts(server, 200)
        self.assertEqual(set(counts), {1, 2})

    def test_auto_is_one_for_each_core(self):
        cores = len(os.sched_getaffinity(0))
        for script, words in ((NOTED, ["--workers", "auto"]), (echo("workers = 'auto'"), [])):
            server = self.serve(script, *words)
            server.wait_log(rf'msg="ready" .* workers={cores} ')

    def test_the_script_says_how_many(self):
        server = self.serve(echo("workers = 3"))
        server.wait_log('msg="ready" .* workers=3 ')
        server = self.serve(echo("workers = 3"), "--workers", "2")
        server.wait_log('msg="ready" .* workers=2 ')

    def test_each_has_its_own_state(self):
        server = self.serve(
            PRELUDE
            + """
            local started = {}
            return {
              on_start = function() started[#started + 1] = neap.worker note(#started) end,
              on_stop = function() note(table.concat(started, " ")) end,
            }""",
            "--workers",
            4,
        )
        server.stop()
        self.assertEqual(Counter(server.events())["1"], 5)  # four, and the end of worker 1
        self.assertEqual(set(server.events()), {"1", "2", "3", "4"})

    def test_connection_ids_are_unique_over_all(self):
        server = self.serve(NOTED, "--workers", 4)
        clients = [self.client(server.address) for _ in range(100)]
        server.wait_log('"connect', count=100)
        found = sorted(int(line["conn"]) for line in server.records(note="true"))
        self.assertEqual(found, list(range(1, 101)))
        for client in clients:
            client.close()

    def test_datagrams(self):
        for scheme in ("udp", "unixgram"):
            with self.subTest(scheme):
                folder = self.folder()
                at = f"unixgram://{folder}/socket" if scheme == "unixgram" else "udp://127.0.0.1:0"
                server = self.serve(NOTED, "--workers", 4, listen=at)
                for i in range(50):
                    source = f"{folder}/{i}" if scheme == "unixgram" else None
                    client = self.client(server.address, source=source)
                    for _ in range(3):  # one client stays with one worker
                        client.send(b"x")
                    self.assertEqual(len({client.datagram() for _ in range(3)}), 1)
                counts = self.worker_counts(server, 50)
                self.assertEqual(sum(counts.values()), 50)
                if scheme == "udp":
                    self.assertGreater(len(counts), 1)

    def test_an_error_while_loading_in_a_worker(self):
        """All serve, or none does."""
        script = """local neap = require "neap"
          return { on_start = function() if neap.worker == 3 then error("not here", 0) end end }"""
        status, error = run(
            "run", "-e", script, "--workers", "4", "--listen", "tcp://127.0.0.1:0"
        )
        self.assertEqual(status, 65)
        self.assertIn("on_start raised: not here", error)
        self.assertNotIn("ready", error)

    def test_a_port_taken_by_another_neap(self):
        """Also when both would share it: SO_REUSEPORT is for the workers of one."""
        for scheme in ("tcp", "udp"):
            for workers in (1, 2):
                with self.subTest(scheme=scheme, workers=workers):
                    server = self.serve(
                        echo(), "--workers", workers, listen=f"{scheme}://127.0.0.1:0"
                    )
                    for again in ("1", "2"):
                        status, error = run(
                            "run", "-e", echo(), "--workers", again, "--listen", server.address
                        )
                        self.assertEqual(status, 71, error)
                        self.assertRegex(
                            error, f"^neap: cannot listen on {server.address}: Address already in use"
                        )
                    self.assert_echo(server.address)

    def test_reuse_port_lets_another_in(self):
        one = self.serve(echo(), listen="tcp://127.0.0.1:0?reuse_port=1")
        two = self.serve(echo(), listen=f"{one.address}?reuse_port=1")
        self.assertEqual(one.address, two.address)
        self.assert_echo(two.address)
        one.stop()
        self.assert_echo(two.address)


class Ready(ListenTest):
    def test_in_every_format(self):
        folder = self.folder()
        for log_format, pattern in (
            ("logfmt", r'^time=\S+Z level=info msg="ready" listen=(\S+) script=main.lua workers=1 '
             r"version=1$"),
            ("json", r'^\{"time":"\S+Z","level":"info","msg":"ready","listen":"(\S+)",'
             r'"script":"main.lua","workers":1,"version":1\}$'),
            ("text", r"^\d\d:\d\d:\d\d\.\d{3} INFO ready  listen=(\S+) script=main.lua workers=1 "
             r"version=1$"),
        ):
            with self.subTest(log_format):
                server = self.serve(
                    echo(), "--log-format", log_format, listen=f"unix://{folder}/{log_format}"
                )
                self.assertRegex(server.lines[0], pattern)
                self.assertEqual(server.addresses, [f"unix://{folder}/{log_format}"])

    def test_serves_before_it_says_so(self):
        """A client that connects as soon as it has read the line is served."""
        for _ in range(5):
            server = self.serve(echo(), "--workers", 2)
            self.assert_echo(server.address)

    def test_nothing_is_left_open_but_what_is_needed(self):
        """Descriptors of ours that a child would inherit, and that grow with nothing."""
        server = self.serve(echo())
        for _ in range(50):
            with self.client(server.address) as client:
                self.assertEqual(client.ask(b"x"), b"x")
        first = self.settled(server)
        for _ in range(50):
            with self.client(server.address) as client:
                self.assertEqual(client.ask(b"x"), b"x")
        self.assertEqual(self.settled(server), first)
        for info in Path(f"/proc/{server.process.pid}/fdinfo").iterdir():
            if int(info.name) > 2:
                flags = int(re.search(r"^flags:\s+(\d+)", info.read_text(), re.M).group(1), 8)
                link = os.readlink(f"/proc/{server.process.pid}/fd/{info.name}")
                self.assertTrue(flags & os.O_CLOEXEC, f"{info.name}: {link}")

    def settled(self, server):
        """The number of descriptors, once the server has noticed that all are gone."""
        with self.client(server.address) as client:
            self.assertEqual(client.ask(b"x"), b"x")
            client.half_close()
            self.assertEqual(client.receive_all(), b"")
        count = server.descriptors()
        for _ in range(1000):
            if server.descriptors() == count:
                return count
            count = server.descriptors()
        return count


if __name__ == "__main__":
    main()
