"""Listeners and services that come, stay and go with a version.

P7: no listener or socket that both versions name is touched, and those of one that is dropped
are served before it is closed. P6: what cannot be bound vetoes, and nothing is left behind.
"""

import os
import socket
import threading
from pathlib import Path

from control import control
from neap_server import PRELUDE, Client, main, target
from reload_test import ReloadTest, answering, free_port, line_service, refuses, services, until

BUSY = "local stop = neap.now() + SECONDS while neap.now() < stop do end"
ANY = "tcp://127.0.0.1:0"


def inode(server, port):
    """Of the listening TCP sockets at a port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sorted(row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")


class Listeners(ReloadTest):
    def test_a_new_one_serves_when_the_reload_has_answered(self):
        server = self.serve(services(a=line_service("a", ANY)), listen=None)
        port = free_port()
        new = f"tcp://127.0.0.1:{port}"
        answer = self.reload(
            server, services(a=line_service("a2", ANY), b=line_service("b", new))
        )
        self.assertEqual(answer["listeners_opened"], [new])
        self.assertEqual(answer["listeners_closed"], [])
        self.says(self.client(new), b"b")
        self.says(self.client(server.address), b"a2")
        listed = control(server, "status")["listen"]
        self.assertIn({"address": new, "service": "b"}, listed)

    def test_one_that_both_name_is_not_touched(self):
        path = self.folder() / "socket"
        listen = f"listen = {{ '{ANY}', 'unix://{path}' }},"
        server = self.serve(answering("old", options=listen), listen=None)
        port = target(server.address)[2][1]
        before = inode(server, port), os.stat(path).st_ino
        self.assertEqual(len(before[0]), 1)
        for number in range(3):
            answer = self.reload(server, answering(number, options=listen))
            self.assertEqual((answer["listeners_opened"], answer["listeners_closed"]), ([], []))
        self.assertEqual((inode(server, port), os.stat(path).st_ino), before)
        for address in server.addresses:
            self.says(self.client(address), b"2")

    def test_clients_that_wait_in_the_backlog_are_served_by_the_new_version(self):
        hook = f"on_eof = function() {BUSY} end".replace("SECONDS", "0.3")
        server = self.serve(answering("old", hooks=hook))
        busy = self.client(server.address)
        self.says(busy, b"old")
        busy.half_close()
        self.edit(server, answering("new"))
        waiting = self.begin_reload(server)
        clients = [self.client(server.address) for _ in range(20)]
        self.succeeds(waiting.answer())
        for client in clients:
            self.says(client, b"new")

    def test_one_that_is_dropped_is_closed_and_its_connections_live_on(self):
        dropped = f"tcp://127.0.0.1:{free_port()}"
        path = self.folder() / "socket"
        addresses = [dropped, f"unix://{path}"]
        server = self.serve(services(a=line_service("old", ANY, *addresses)), listen=None)
        clients = [self.client(address) for address in addresses for _ in range(5)]
        for client in clients:
            self.says(client, b"old")
        answer = self.reload(server, services(a=line_service("new", ANY)))
        self.assertEqual(sorted(answer["listeners_closed"]), sorted(addresses))
        self.assertEqual(answer["connections"], 10)
        for client in clients:
            self.says(client, b"new")
        for address in addresses:
            self.assertTrue(refuses(address))
        self.assertFalse(path.exists())
        self.reload(server, services(a=line_service("third", ANY)))
        for client in clients:
            self.says(client, b"third")

    def test_clients_that_waited_at_a_dropped_one_are_served(self):
        path = self.folder() / "socket"
        addresses = [f"tcp://127.0.0.1:{free_port()}", f"unix://{path}"]
        busy_hook = f"on_eof = function() {BUSY} end"
        for workers in (1, 2):
            with self.subTest(workers=workers):
                script = services(a=line_service("old", ANY, *addresses, more=busy_hook + ","))
                server = self.serve(
                    script.replace("SECONDS", "0.3"), "--workers", workers, listen=None
                )
                for _ in range(8):  # all workers are busy for a while
                    busy = self.client(server.service("tcp"))
                    self.says(busy, b"old")
                    busy.half_close()
                self.edit(server, services(a=line_service("new", ANY)))
                waiting = self.begin_reload(server)
                clients = [self.client(address) for address in addresses for _ in range(20)]
                self.succeeds(waiting.answer())
                for client in clients:
                    self.says(client, b"new")
                for address in addresses:
                    until(lambda: refuses(address))

    def test_clients_that_came_before_the_switch_to_a_new_one_are_served(self):
        """Worker 1 has switched and hands connections over to one that has not yet."""
        path = self.folder() / "socket"
        script = PRELUDE + """return { workers = 2, framing = "line", hook_timeout = 10, LISTEN
            on_start = function() if neap.worker == 1 then START end note("TAG", neap.worker) end,
            on_message = function(conn, text)
              if text == "@" then return "@" .. neap.worker end
              if text == "busy" then BUSY end
              return "TAG:" .. text
            end }"""
        script = script.replace("BUSY", BUSY.replace("SECONDS", "0.5"))
        old = script.replace("LISTEN", f"listen = '{ANY}',").replace("START", "")
        slow = BUSY.replace("SECONDS", "0.3")
        both = f"listen = {{ '{ANY}', 'unix://{path}' }},"
        new = script.replace("LISTEN", both).replace("START", slow).replace("TAG", "new")
        server = self.serve(old.replace("TAG", "old"), listen=None)
        second = self.spread(server, 2)[2]
        self.edit(server, new)
        waiting = self.begin_reload(server)
        until(path.exists)
        clients = []
        while len(clients) < 30:
            try:
                clients.append(self.client(f"unix://{path}"))
            except ConnectionRefusedError:
                pass  # bound, and does not listen yet
        server.wait_log('"new 2"')
        second.send(b"busy\n")  # worker 2 has prepared, and will not switch for a while
        for client in clients:
            client.send(b"x\n")
        self.succeeds(waiting.answer())
        for client in clients:
            self.assertEqual(client.receive_until(b"\n"), b"new:x\n")
        self.assertEqual(len(second.receive_until(b"\n")), 9)

    def test_a_port_that_is_taken_vetoes_and_nothing_stays_bound(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            free = f"tcp://127.0.0.1:{free_port()}"
            path = self.folder() / "socket"
            server = self.serve(services(a=line_service("old", ANY)), listen=None)
            client = self.client(server.address)
            self.says(client, b"old")
            control(server, "status")
            descriptors = server.descriptors()
            broken = services(a=line_service("new", ANY, free, f"unix://{path}", taken))
            self.edit(server, broken)
            for _ in range(3):
                answer = self.fails(control(server, "reload"), 71, "[Aa]ddress already in use")
                self.assertIn(taken, answer["error"])
                self.assertTrue(refuses(free))
                self.assertFalse(path.exists())
            self.says(client, b"old")
            until(lambda: server.descriptors() <= descriptors)
        self.assertEqual(len(self.reload(server)["listeners_opened"]), 3)
        for address in (free, taken, f"unix://{path}"):
            self.says(self.client(address), b"new")
        self.says(client, b"new")

    def test_what_was_bound_is_closed_when_a_worker_fails(self):
        free = f"tcp://127.0.0.1:{free_port()}"
        path = self.folder() / "socket"
        server = self.serve(services(a=line_service("old", ANY)), "--workers", 2, listen=None)
        broken = services(a=line_service("new", ANY, free, f"unix://{path}"))
        self.edit(server, "if require 'neap'.worker == 2 then error('two') end " + broken)
        self.fails(control(server, "reload"), 65, "two")
        self.assertTrue(refuses(free))
        self.assertFalse(path.exists())
        self.says(self.client(server.address), b"old")
        self.reload(server, broken)
        self.says(self.client(free), b"new")

    def test_an_address_moves_to_another_service(self):
        fixed = f"tcp://127.0.0.1:{free_port()}"
        server = self.serve(
            services(a=line_service("a", ANY), b=line_service("b", fixed)), listen=None
        )
        before = inode(server, target(fixed)[2][1])
        client = self.client(fixed)
        self.says(client, b"b")
        answer = self.reload(
            server, services(a=line_service("a2", ANY, fixed), b=line_service("b2"))
        )
        self.assertEqual((answer["listeners_opened"], answer["listeners_closed"]), ([], []))
        self.assertEqual(inode(server, target(fixed)[2][1]), before)
        self.says(client, b"b2")
        self.says(self.client(fixed), b"a2")

    def test_new_clients_all_the_time_while_listeners_come_and_go(self):
        fixed = f"tcp://127.0.0.1:{free_port()}"
        other = f"tcp://127.0.0.1:{free_port()}"
        server = self.serve(
            services(a=line_service("x", fixed)), "--workers", 2, listen=None
        )
        ended = threading.Event()

        def come():
            count = 0
            while not ended.is_set():
                with Client(fixed) as client:
                    if client.ask(b"y\n", 4) != b"x:y\n":
                        raise AssertionError("lost")
                count += 1
            return count

        comers = [self.in_background(come) for _ in range(3)]
        for number in range(20):
            more = [other] if number % 2 == 0 else []
            self.reload(server, services(a=line_service("x", fixed, *more)) + f" -- {number}")
            if more:
                self.says(self.client(other), b"x")
            else:
                until(lambda: refuses(other))
        ended.set()
        for comer in comers:
            self.assertGreater(comer(), 10)


class Datagrams(ReloadTest):
    def script(self, tag, *listen, more=""):
        addresses = ", ".join(f"'{one}'" for one in listen)
        return PRELUDE + f"""return {{ listen = {{ {addresses} }}, {more}
            on_message = function(conn, text)
              conn.data.count = (conn.data.count or 0) + 1
              return "{tag}:" .. text .. conn.data.count
            end,
            on_disconnect = function(conn, reason) note("end", reason) end }}"""

    def asks(self, client, expected):
        client.send(b"x")
        self.assertEqual(client.datagram(), expected)

    def test_peers_are_kept(self):
        server = self.serve(self.script("a", "udp://127.0.0.1:0"), listen=None)
        clients = [self.client(server.address) for _ in range(3)]
        for number, tag in enumerate("abc", start=1):
            if number > 1:
                answer = self.reload(server, self.script(tag, "udp://127.0.0.1:0"))
                self.assertEqual(answer["connections"], 3)
            for client in clients:
                self.asks(client, b"%s:x%d" % (tag.encode(), number))
        self.assertEqual(server.events(), [])

    def test_datagrams_that_wait_in_the_socket_are_not_lost(self):
        busy = BUSY.replace("SECONDS", "0.3")
        script = self.script("old", "udp://127.0.0.1:0", more="hook_timeout = 10,")
        count = "conn.data.count ="
        server = self.serve(
            script.replace(count, f"if text == 'busy' then {busy} end\n{count}", 1), listen=None
        )
        client = self.client(server.address)
        self.asks(client, b"old:x1")
        client.send(b"busy")
        self.edit(server, self.script("new", "udp://127.0.0.1:0"))
        waiting = self.begin_reload(server)
        for _ in range(20):
            client.send(b"x")
        self.succeeds(waiting.answer())
        received = [client.datagram() for _ in range(21)]
        counts = [int(one.rpartition(b"y" if b"busy" in one else b"x")[2]) for one in received]
        self.assertEqual(counts, list(range(2, 23)))

    def test_a_new_socket_and_one_that_is_dropped(self):
        first, second = (f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}" for _ in range(2))
        idle = "idle_timeout = 1,"
        server = self.serve(self.script("a", first, ANY, more=idle), listen=None)
        old = self.client(first)
        self.asks(old, b"a:x1")
        answer = self.reload(server, self.script("b", second, ANY, more=idle))
        self.assertEqual(answer["listeners_opened"], [second])
        self.assertEqual(answer["listeners_closed"], [first])
        self.asks(self.client(second), b"b:x1")
        self.asks(old, b"b:x2")
        self.assertEqual(server.events(), [])
        # It is closed with its last peer, and nobody new is let in before.
        server.wait_log('"end idle"')
        until(lambda: self.binds(first))

    def binds(self, address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            try:
                one.bind(target(address)[2])
            except OSError:
                return False
        return True

    def test_nobody_new_is_let_in_at_a_dropped_one(self):
        dropped = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        server = self.serve(self.script("a", dropped, ANY), listen=None)
        known = self.client(dropped)
        self.asks(known, b"a:x1")
        self.reload(server, self.script("b", ANY))
        stranger = self.client(dropped)
        self.asks(known, b"b:x2")
        stranger.send(b"x")
        self.asks(known, b"b:x3")
        self.asks(known, b"b:x4")
        stranger.socket.settimeout(0.05)
        with self.assertRaises((TimeoutError, ConnectionRefusedError)):
            stranger.datagram()

    def test_several_are_dropped_one_after_the_other(self):
        """Each keeps its own peers, and goes with its last one."""
        addresses = [f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}" for _ in range(5)]
        more = "idle_timeout = 1.5,"
        timers = "for i = 1, 1000 do neap.after(0.2 + i / 1000, function() end) end "
        script = self.script("0", *addresses, ANY, more=more)
        server = self.serve(script.replace("return", timers + "return", 1), listen=None)
        clients = [self.client(address) for address in addresses]
        for client in clients:
            self.asks(client, b"0:x1")
        for number in range(1, 6):
            script = self.script(str(number), *addresses[number:], ANY, more=more)
            self.reload(server, script.replace("return", timers + "return", 1))
            for client in clients:
                self.asks(client, b"%d:x%d" % (number, number + 1))
        server.wait_log('"end idle"', count=5)
        for address in addresses:
            until(lambda: self.binds(address))
        self.says_on(server)

    def says_on(self, server):
        client = self.client(server.service("tcp"))
        self.assertEqual(client.ask(b"x", 4), b"5:x1")

    def test_the_server_ends_while_peers_hold_dropped_ones(self):
        addresses = [f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}" for _ in range(2)]
        server = self.serve(self.script("a", *addresses, ANY), "--workers", 2, listen=None)
        for client in [self.client(address) for address in addresses]:
            self.asks(client, b"a:x1")
        self.reload(server, self.script("b", addresses[1], ANY))
        self.reload(server, self.script("c", ANY))
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.events().count("end shutdown"), 2)


class Services(ReloadTest):
    def state_of(self, server, number):
        for row in control(server, "versions")["versions"]:
            if row["version"] == number:
                return row["state"]
        return None

    def test_connections_of_one_that_vanished_keep_their_hooks_until_they_end(self):
        both = services(a=line_service("a1", ANY), b=line_service("b1", ANY))
        server = self.serve(both, listen=None)
        first, second = server.addresses
        kept, orphan = self.client(first), self.client(second)
        self.says(orphan, b"b1")
        answer = self.reload(server, services(a=line_service("a2", ANY)))
        self.assertEqual(len(answer["warnings"]), 1)
        self.assertIn("service", answer["warnings"][0])
        for number in (3, 4):
            self.says(kept, b"a%d" % (number - 1))
            self.says(orphan, b"b1")
            self.assertEqual(self.state_of(server, 1), "held")
            self.reload(server, services(a=line_service(f"a{number}", ANY)))
        self.says(orphan, b"b1")
        orphan.half_close()
        self.assertEqual(orphan.receive_all(), b"")
        until(lambda: self.state_of(server, 1) == "kept")
        self.assertEqual([self.state_of(server, n) for n in (2, 3, 4)], ["kept"] * 2 + ["serving"])
        self.says(kept, b"a4")

    def test_one_that_comes_back_takes_its_connections_over(self):
        def both(number):
            return services(
                a=line_service(f"a{number}", ANY), b=line_service(f"b{number}", ANY)
            )

        server = self.serve(both(0), listen=None)
        client = self.client(server.addresses[1])
        self.says(client, b"b0")
        self.reload(server, services(a=line_service("a", ANY)))
        self.says(client, b"b0")
        self.assertEqual(self.state_of(server, 1), "held")
        self.reload(server, both(3))
        self.says(client, b"b3")
        self.assertEqual(self.state_of(server, 1), "kept")
        back = control(server, "status")["listen"]
        address = next(one["address"] for one in back if one["service"] == "b")
        self.says(self.client(address), b"b3")

    def test_one_without_connections_goes_without_a_warning(self):
        both = services(a=line_service("a1", ANY), b=line_service("b1", ANY))
        server = self.serve(both, listen=None)
        answer = self.reload(server, services(a=line_service("a2", ANY)))
        self.assertEqual(answer["warnings"], [])
        until(lambda: self.state_of(server, 1) == "kept")

    def test_it_vanishes_and_comes_back_many_times(self):
        both = services(a=line_service("a", ANY), b=line_service("b", ANY))
        alone = services(a=line_service("a", ANY))
        server = self.serve(both, "--workers", 2, listen=None)
        clients = [self.client(server.addresses[1]) for _ in range(8)]
        for number in range(20):
            self.reload(server, (alone, both)[number % 2])
            for client in clients:
                self.says(client, b"b")
        states = [row["state"] for row in control(server, "versions")["versions"]]
        self.assertEqual(states[1:], ["kept"] * 5)

    def test_its_dropped_listener_serves_those_who_waited_with_the_old_hooks(self):
        busy = f"on_eof = function() {BUSY} end,".replace("SECONDS", "0.3")
        gone = f"tcp://127.0.0.1:{free_port()}"
        both = services(a=line_service("a1", ANY, more=busy), b=line_service("b1", gone))
        server = self.serve(both, listen=None)
        one = self.client(server.service("tcp"))
        self.says(one, b"a1")
        one.half_close()
        self.edit(server, services(a=line_service("a2", ANY)))
        waiting = self.begin_reload(server)
        clients = [self.client(gone) for _ in range(10)]
        self.succeeds(waiting.answer())
        for client in clients:
            self.says(client, b"b1")
        until(lambda: refuses(gone))

    def test_a_name_with_other_options_and_framing(self):
        old = services(
            a="listen = 'tcp://127.0.0.1:0', framing = 'netstring', "
            "on_message = function(_, text) return 'old' end"
        )
        new = services(a=line_service("new", ANY))
        server = self.serve(old, listen=None)
        client = self.client(server.address)
        self.assertEqual(client.ask(b"1:x,", 6), b"3:old,")
        self.reload(server, new)
        self.assertEqual(client.ask(b"1:x,", 8), b"5:new:x,")
        self.says(self.client(server.address), b"new")


if __name__ == "__main__":
    main()
