"""Where scripts connect to: sockets that accept, or do not, and a name server.

    up = Upstream()                    # or another address; up.address is what a script is given
    conn = up.accept()                 # a Client
    with NameServer(hosts) as names:   # names.address, for `nameservers`
"""

import socket
import struct
import threading

from neap_server import DEADLINE, LOOPBACK, Client, target
from reload_test import ReloadTest


class Accepted(Client):
    """The other end of what neap has opened."""

    def __init__(self, accepted):
        self.socket = accepted
        self.socket.settimeout(DEADLINE)
        self.unused = bytearray()


class Upstream:
    """A listening socket. `full`: its backlog is, so that nobody gets an answer."""

    def __init__(self, address=LOOPBACK, full=False):
        family, kind, at = target(address)
        self.socket = socket.socket(family, kind)
        self.socket.settimeout(DEADLINE)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind(at)
        self.family, self.fillers, self.accepted = family, [], []
        if kind == socket.SOCK_STREAM:
            self.socket.listen(0 if full else 128)
        if full:
            self.fill()

    def fill(self):
        """Connects until that does not succeed at once any more."""
        while True:
            filler = socket.socket(self.family)
            self.fillers.append(filler)
            filler.settimeout(0.2)
            try:
                filler.connect(self.socket.getsockname())
            except (TimeoutError, BlockingIOError):
                return

    @property
    def port(self):
        return self.socket.getsockname()[1]

    @property
    def address(self):
        at = self.socket.getsockname()
        if self.family == socket.AF_UNIX:
            return f"unix://{at}"
        return f"tcp://[{at[0]}]:{at[1]}" if self.family == socket.AF_INET6 else f"tcp://{at[0]}:{at[1]}"

    def accept(self):
        self.accepted.append(Accepted(self.socket.accept()[0]))
        return self.accepted[-1]

    def close(self):
        for one in [self.socket, *self.fillers, *self.accepted]:
            one.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2


class NameServer:
    """A name server on UDP. `hosts`: (name, type) -> list of addresses, an error code, or None: it
    does not answer. What is not there does not exist."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def serve(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            if not question:
                return
            answer = self.answer(question)
            if answer:
                self.socket.sendto(answer, peer)

    def answer(self, message):
        at, labels = 12, []
        while message[at]:
            labels.append(message[at + 1 : at + 1 + message[at]].decode())
            at += 1 + message[at]
        kind = struct.unpack("!H", message[at + 1 : at + 3])[0]
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        found = self.hosts.get((name, kind), NXDOMAIN)
        if found is None:
            return None
        code, rows = (found, []) if isinstance(found, int) else (0, found)
        family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
        packed = [socket.inet_pton(family, row) for row in rows]
        head = message[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(packed), 0, 0)
        body = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(one)) + one for one in packed)
        return head + message[12 : at + 5] + body

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class OutboundTest(ReloadTest):
    def upstream(self, address=LOOPBACK, **options):
        upstream = Upstream(address, **options)
        self.addCleanup(upstream.close)
        return upstream

    def names(self, hosts):
        names = NameServer(hosts)
        self.addCleanup(names.close)
        return names

    def ask(self, server, line):
        """The answer to a line; nothing if it is not let in."""
        client = self.client(server.address).send(line.encode() + b"\n")
        try:
            return client.receive_until(b"\n").decode().rstrip()
        except ConnectionResetError:
            return ""
        finally:
            client.close()
