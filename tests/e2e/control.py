"""The control socket of a server, spoken by hand: no neap on the client's side.

    control(server, "reload")                       # -> {"ok": True, "version": 2, ...}
    with Control(server) as one:                    # several requests on a connection
        one.send("status", id=1)
        one.answer()
"""

import json
import socket
from pathlib import Path

from neap_server import DEADLINE


def socket_path(server, name="default"):
    """Where the server called that has its socket: its runtime folder is one of its own."""
    return Path(server.temporary.name) / "neap" / f"{name}.sock"


class Control:
    """A connection to a control socket: of a server, or at a path."""

    def __init__(self, server, timeout=DEADLINE):
        path = server if isinstance(server, (str, Path)) else socket_path(server)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(str(path))
        except BaseException:
            self.socket.close()
            raise
        self.lines = self.socket.makefile("rb")

    def send(self, command, **arguments):
        return self.send_line(json.dumps({"command": command, **arguments}).encode())

    def send_line(self, line):
        self.socket.sendall(line + b"\n")
        return self

    def answer(self):
        """The next one; None at the end."""
        line = self.lines.readline()
        return json.loads(line) if line else None

    def close(self):
        self.lines.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def control(server, command, **arguments):
    """Asks, and waits for the answer."""
    with Control(server) as one:
        return one.send(command, **arguments).answer()
