"""A hundred thousand connections, or as many as there may be descriptors: what each takes, and that all
are served.

P2: memory is what was said, whatever the number. Several source addresses of the loopback: one has
28,000 ports for one server.
"""

import random
import re
import resource
import socket
import threading
import unittest
from pathlib import Path

from neap_server import NeapTest, is_sanitized, main, target
from reload_test import until

LISTEN = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]
FIRST = 2000  # before the slope is looked at: what every server has
BYTES_EACH = 560  # 512 of the connection and its slot, and what malloc and the lists have between


def raise_limit():
    """As many descriptors as may be; how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# Neap keeps 64 of its own; the client has a few besides its sockets.
COUNT = min(10000 if is_sanitized() else 100000, raise_limit() - 100)


@unittest.skipIf(COUNT < 2 * FIRST, "the limit of descriptors is too low")
class Many(NeapTest):
    def setUp(self):
        self.sockets = []
        self.addCleanup(lambda: [one.close() for one in self.sockets])

    def open(self, at, count):
        for i in range(count):
            one = socket.socket()
            self.sockets.append(one)
            one.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: connect looks for one
            one.bind((f"127.0.0.{2 + len(self.sockets) // 20000}", 0))
            one.connect(at)
        # The last one is answered: all before it have been accepted.
        self.assertEqual(self.ask(self.sockets[-1], b"last\n"), b"last\n")

    @staticmethod
    def ask(one, line):
        one.sendall(line)
        return one.recv(100)

    def test_each_takes_little_and_is_served(self):
        server = self.serve(
            "return { framing = 'line', idle_timeout = 3600, on_message = function(_, line) return line end }"
        )
        at = target(server.address)[2]
        self.open(at, FIRST)
        before = server.status_field("VmRSS")
        self.open(at, COUNT - FIRST)
        each = (server.status_field("VmRSS") - before) * 1024 / (COUNT - FIRST)
        print(f"{COUNT} connections: {each:.0f} bytes of user memory each")
        if not is_sanitized():
            self.assertLess(each, BYTES_EACH)
        dice = random.Random(1)
        for one in dice.sample(self.sockets, 500):
            self.assertEqual(self.ask(one, b"one of them\n"), b"one of them\n")
        with self.within(30):
            self.assertEqual(server.stop(), 0)


class Idle(NeapTest):
    @unittest.skipIf(is_sanitized(), "a sanitizer has a thread of its own")
    def test_an_idle_server_makes_no_system_call(self):
        # Each call that blocks would be a switch from its thread; a busy one would be no idle server.
        server = self.serve(
            "return { idle_timeout = 3600, on_message = function(_, message) return message end }", listen=LISTEN
        )
        clients = [self.client(server.address) for _ in range(100)]
        for client in clients:
            self.assertEqual(client.ask(b"x"), b"x")
        until(lambda: all(state == "S" for state, _ in self.threads(server).values()))
        before, cpu = self.threads(server), server.cpu_seconds()
        threading.Event().wait(3)
        self.assertEqual(self.threads(server), before)
        self.assertEqual(server.cpu_seconds(), cpu)

    @staticmethod
    def threads(server):
        """The state of each thread, and how often it has waited, by its number."""
        found = {}
        for task in Path(f"/proc/{server.process.pid}/task").iterdir():
            text = (task / "status").read_text()
            state = re.search(r"^State:\s+(\w)", text, re.M).group(1)
            waited = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M).group(1)
            found[task.name] = state, waited
        return found


if __name__ == "__main__":
    main()
