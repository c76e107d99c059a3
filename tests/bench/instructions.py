"""Instructions of user code that a message costs, counted by callgrind: the same on every run.

    ./dev bench instructions           fails if one is more than 2 % above instructions.json
    ./dev bench instructions --write   records what is found

Each figure is the difference between two runs of a server that answers so many messages and twice as
many, so that its start and its end do not count. Linux and glibc below it count, the kernel does not.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECORD = HERE / "instructions.json"
TOLERANCE = 1.02
LINE = b"x" * 63 + b"\n"

ECHO = "return { framing = 'line', on_message = function(_, message) return message end }"


def stream(server, count, pipeline=1):
    """So many lines over one connection, `pipeline` of them in one piece."""
    piece = LINE * pipeline
    with socket.create_connection(("127.0.0.1", server.port)) as conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count // pipeline):
            conn.sendall(piece)
            got = 0
            while got < len(piece):
                got += len(conn.recv(1 << 16))


def lines(server, count):
    stream(server, count, 16)


def datagrams(server, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect(("127.0.0.1", server.port))
        for _ in range(count):
            sock.send(LINE)
            sock.recv(1 << 16)


def churn(server, count):
    for _ in range(count):
        stream(server, 1)


def reloads(server, count):
    """Each with other bytes, so that none is found unchanged."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(next(pathlib.Path(server.folder, "neap").glob("*.sock"))))
        answers = control.makefile("rb")
        for i in range(count):
            server.script.write_text(f"{ECHO} -- {i:06}")
            control.sendall(b'{"command":"reload"}\n')
            answer = json.loads(answers.readline())
            assert answer["ok"], answer


# Name: what is done so many times, and the address.
SCENARIOS = {
    "pingpong": (stream, 4000, "tcp"),
    "lines": (lines, 16000, "tcp"),
    "udp": (datagrams, 4000, "udp"),
    "churn": (churn, 500, "tcp"),
    "reload": (reloads, 50, "tcp"),
}


class Server:
    """neap under callgrind."""

    def __init__(self, neap, scheme):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = self.temporary.name
        self.script = pathlib.Path(self.folder, "echo.lua")
        self.script.write_text(ECHO)
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.folder}/out"]
        self.process = subprocess.Popen(
            [*tool, neap, "run", self.script, "--listen", f"{scheme}://127.0.0.1:0"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_RUNTIME_DIR": self.folder},
        )
        for line in self.process.stderr:
            if found := re.search(r"listen=\S+:(\d+)", line):
                self.port = int(found.group(1))
                return
        raise SystemExit("neap does not start under valgrind")

    def instructions(self):
        """Of its whole life; it is over then."""
        self.process.send_signal(signal.SIGTERM)
        for _ in self.process.stderr:
            pass
        if self.process.wait() != 0:
            raise SystemExit("neap failed under valgrind")
        text = pathlib.Path(self.folder, "out").read_text()
        self.temporary.cleanup()
        return int(re.search(r"^(?:summary|totals): (\d+)", text, re.M).group(1))


def count(neap, name):
    work, times, scheme = SCENARIOS[name]
    totals = []
    for many in (times, 2 * times):
        server = Server(neap, scheme)
        work(server, many)
        totals.append(server.instructions())
    return (totals[1] - totals[0]) / times


def main():
    parser = argparse.ArgumentParser(prog="./dev bench instructions", description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="record what is found")
    options = parser.parse_args()
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    found, failed = {}, 0
    for name in SCENARIOS:
        found[name] = round(count(options.build / "neap", name))
        before = recorded.get(name)
        change = f"{found[name] / before - 1:+.1%} of {before:,}" if before else "not recorded"
        is_over = not options.write and (not before or found[name] > before * TOLERANCE)
        failed += is_over
        print(f"{name:9} {found[name]:9,}  {change}{'  TOO MANY' if is_over else ''}", flush=True)
    if options.write:
        RECORD.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{len(found) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
