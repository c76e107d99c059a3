"""A neap server for a test, and clients that are not neap's.

    with Server(SCRIPT) as server:                  # Lua code, a Path, or None: the default script
        client = Client(server.address)
        ...
        server.wait_log(r'msg="disconnected"')
        server.stop()                               # -> exit status; everything is logged by then

Every server listens on port 0 and is known by its ready line. At the end of the `with` it is
stopped, and whatever the test was about, three things are checked: the exit status, that no
sanitizer reported anything, and that the log holds nothing that could steer a terminal.

NEAP_BIN is the binary, NEAP_SOURCE_DIR the tree.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

NEAP = os.environ["NEAP_BIN"]
SOURCE = Path(os.environ.get("NEAP_SOURCE_DIR", Path(__file__).resolve().parents[2]))
EXAMPLES = SOURCE / "examples"
LIBC = ctypes.CDLL(None)
DEADLINE = 30  # seconds: far more than anything here takes
RECEIVED_MAX = 256 << 20
LOOPBACK = "tcp://127.0.0.1:0"

# The first line of many scripts: note(...) logs one line that Server.events returns.
PRELUDE = (
    'local neap = require "neap" local function note(...) local t = table.pack(...) '
    "for i = 1, t.n do t[i] = tostring(t[i]) end "
    'neap.log.info(table.concat(t, " "), { note = true }) end '
)

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|REQUIRE")
FIELD = re.compile(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)')
ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def environment(**more):
    """Without what would change an answer; sanitizers do not keep freed memory for long."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NEAP_")}
    kept["ASAN_OPTIONS"] = kept.get("ASAN_OPTIONS", "detect_leaks=1") + ":quarantine_size_mb=8"
    kept.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    return {**kept, "LC_ALL": "C", **more}


def unescape(text):
    def one(found):
        word = found.group(1)
        return chr(int(word[1:], 16)) if len(word) == 3 else ESCAPED.get(word, word)

    return ESCAPE.sub(one, text)


def record(line):
    """The fields of a logfmt or JSON line; {} if it is neither. Bytes come out as Latin-1."""
    if line.startswith("{"):
        return json.loads(line)
    fields = {}
    if line.startswith("time="):
        for key, value in FIELD.findall(line):
            if value.startswith('"'):
                value = unescape(value[1:-1])
            fields.setdefault(key, value)  # a script's fields come before neap's own
    return fields


def is_safe(line):
    """Printable ASCII; JSON is UTF-8 without control characters."""
    if line.startswith("{"):
        return not re.search("[\0-\x1f\x7f-\x9f\u2028\u2029]", line)
    return re.fullmatch("[ -~]*", line)


def die_with_parent(then):
    """In the child: a server that never ends must not outlive a test that was killed."""
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if then:
        then()


class Server:
    started = []  # those of the running test, whose logs are shown if it fails

    def __init__(
        self,
        script=None,
        *args,
        listen=LOOPBACK,
        status=0,
        env=None,
        files=None,
        folder=None,
        **options,
    ):
        self.temporary = tempfile.TemporaryDirectory(prefix="neap-")
        self.folder = Path(folder or self.temporary.name)
        self.status = status
        self.lines = []
        self.has_ended = False
        self.changed = threading.Condition()
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text)
        words = [NEAP, "run"]
        if isinstance(script, Path):
            words.append(str(script))
        elif script is not None:
            (self.folder / "main.lua").write_text(script)
            words.append("main.lua")
        listen = [listen] if isinstance(listen, str) else listen or []
        for address in listen:
            words += ["--listen", address]
        self.words = [*words, *map(str, args)]
        given = options.pop("preexec_fn", None)
        self.process = subprocess.Popen(
            self.words,
            preexec_fn=lambda: die_with_parent(given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=environment(**{"XDG_RUNTIME_DIR": self.temporary.name, **(env or {})}),
            **options,
        )
        Server.started.append(self)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.has_ended = True
            self.changed.notify_all()

    # ---- The log ----

    def wait_log(self, pattern, count=1, timeout=DEADLINE):
        """Waits for the count-th line that holds the pattern; the match."""
        pattern = re.compile(pattern)
        end, seen, found = time.monotonic() + timeout, 0, 0
        with self.changed:
            while True:
                for line in self.lines[seen:]:
                    match = pattern.search(line)
                    found += match is not None
                    if match and found == count:
                        return match
                seen = len(self.lines)
                left = end - time.monotonic()
                if self.has_ended or left <= 0:
                    raise AssertionError(f"no line with {pattern.pattern!r} ({count})\n{self}")
                self.changed.wait(left)

    def count_log(self, pattern):
        with self.changed:
            return sum(re.search(pattern, line) is not None for line in self.lines)

    def records(self, **wanted):
        """Log lines as dicts: those with these fields."""
        with self.changed:
            found = [record(line) for line in self.lines]
        wanted = {key: str(value) for key, value in wanted.items()}
        return [
            line
            for line in found
            if line and all(str(line.get(key)) == value for key, value in wanted.items())
        ]

    def events(self, **wanted):
        """What note(...) of PRELUDE has logged, in order."""
        return [line["msg"] for line in self.records(note="true", **wanted)]

    def __str__(self):
        with self.changed:
            return "\n".join([f"--- {' '.join(self.words)}", *self.lines, "---"])

    # ---- Life ----

    def __enter__(self):
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def wait_ready(self):
        text = self.wait_log(r'\bready\b.*?listen"?[=:]("[^"]*"|\S*)').group(1)
        self.addresses = text.strip('"').split()

    def interrupt(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def suspend(self):
        """SIGSTOP, and waits until no thread runs any more."""
        self.interrupt(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        end = time.monotonic() + DEADLINE
        while any(
            (thread / "stat").read_text().rpartition(")")[2].split()[0] != "T"
            for thread in threads.iterdir()
        ):
            if time.monotonic() > end:
                raise AssertionError(f"it does not stop\n{self}")
            os.sched_yield()

    def stop(self, number=signal.SIGTERM):
        """Asks it to stop, if it still runs, and waits for the end; its exit status."""
        if self.process.poll() is None:
            self.interrupt(number)
        return self.wait()

    def wait(self, timeout=DEADLINE):
        """Waits for the end; the exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running\n{self}") from None
        self.reader.join(DEADLINE)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(DEADLINE)
        self.process.stderr.close()
        self.temporary.cleanup()

    def check(self):
        problems = [f"status {self.process.returncode}"]
        if self.process.returncode == self.status:
            problems = []
        problems += [line for line in self.lines if SANITIZER.search(line)][:1]
        problems += [f"not printable: {line!r}" for line in self.lines if not is_safe(line)][:1]
        if problems:
            raise AssertionError("; ".join(problems))

    def __exit__(self, kind, *_):
        try:
            self.stop()
            if kind is None:
                self.check()
        finally:
            self.kill()

    # ---- Asking ----

    @property
    def address(self):
        return self.addresses[0]

    def service(self, scheme):
        """The first address of that scheme."""
        return next(one for one in self.addresses if one.startswith(scheme + "://"))

    def status_field(self, name):
        """A line of /proc/PID/status in kB, such as VmRSS."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1))

    def cpu_seconds(self):
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def is_sanitized():
    """Whether the binary is built with a sanitizer: slower, and larger."""
    return re.search(b"__[at]san_init", Path(NEAP).read_bytes()) is not None


def run(*words, **options):
    """A run of neap that ends by itself: status, standard error."""
    options = {"stdin": subprocess.DEVNULL, "timeout": DEADLINE, "env": environment(), **options}
    done = subprocess.run(
        [NEAP, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        **options,
    )
    return done.returncode, done.stderr


# ---- Clients ----


def target(address):
    """Family, type and socket address of "tcp://127.0.0.1:1"."""
    scheme, _, rest = address.partition("://")
    kind = socket.SOCK_STREAM if scheme in ("tcp", "unix") else socket.SOCK_DGRAM
    if scheme.startswith("unix"):
        return socket.AF_UNIX, kind, rest
    host, _, port = rest.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, kind, (host.strip("[]"), int(port))
    return socket.AF_INET, kind, (host, int(port))


class Client:
    """A connected socket: a stream, or one that sends datagrams."""

    def __init__(self, address, source=None, receive_buffer=None, timeout=DEADLINE):
        family, kind, at = target(address)
        self.socket = socket.socket(family, kind)
        self.socket.settimeout(timeout)
        self.unused = bytearray()
        try:
            if receive_buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                self.socket.bind(source)
            self.socket.connect(at)
        except BaseException:
            self.socket.close()
            raise
        if kind == socket.SOCK_STREAM and family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def name(self):
        """As neap names it: "127.0.0.1:51512"."""
        at = self.socket.getsockname()
        if isinstance(at, str):
            return at
        return f"[{at[0]}]:{at[1]}" if len(at) == 4 else f"{at[0]}:{at[1]}"

    @property
    def port(self):
        return self.socket.getsockname()[1]

    def send(self, data):
        self.socket.sendall(data)
        return self

    def send_bytes(self, data):
        """Each byte in a segment of its own. On a Unix socket the next waits until the server has
        read the one before; on TCP the server may find several."""
        is_local = self.socket.family == socket.AF_UNIX
        for i in range(len(data)):
            self.socket.sendall(data[i : i + 1])
            end = time.monotonic() + DEADLINE
            while is_local and self.unread():
                if time.monotonic() > end:
                    raise AssertionError(f"byte {i} of {data!r} is not read")
                os.sched_yield()
        return self

    def unread(self):
        """How much of what was sent the server has not read (Unix), or not acknowledged (TCP)."""
        return struct.unpack("i", fcntl.ioctl(self.socket, 0x5411, b"\0\0\0\0"))[0]  # SIOCOUTQ

    def receive(self, count):
        """Exactly so many bytes, or fewer before the end."""
        while len(self.unused) < count and self.fill():
            pass
        return self.take(count)

    def receive_until(self, end):
        """Up to the first `end` and with it, or what there is."""
        at = self.unused.find(end)
        while at < 0 and (piece := self.fill()):
            at = self.unused.find(end, max(0, len(self.unused) - len(piece) - len(end)))
        return self.take(at + len(end) if at >= 0 else len(self.unused))

    def receive_all(self):
        while self.fill():
            pass
        return self.take(len(self.unused))

    def fill(self):
        piece = self.socket.recv(1 << 20)
        self.unused += piece
        if len(self.unused) > RECEIVED_MAX:
            raise AssertionError("the server sends without end")
        return piece

    def take(self, count):
        taken = bytes(self.unused[:count])
        del self.unused[:count]
        return taken

    def datagram(self):
        return self.socket.recv(65536)

    def ask(self, data, count=None):
        """Sends, and receives as much, or so much."""
        return self.send(data).receive(len(data) if count is None else count)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        """Closes with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ends_with_reset(client):
    """Reads on; True for a reset, False for an orderly end."""
    try:
        client.receive_all()
    except ConnectionResetError:
        return True
    return False


class NeapTest(unittest.TestCase):
    """Shows the logs of its servers when it fails."""

    maxDiff = None

    def run(self, result=None):
        Server.started = []
        result = self.defaultTestResult() if result is None else result
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print(f"\n{self.id()}:", *Server.started, sep="\n", file=sys.stderr)
        return result

    def serve(self, script=None, *args, **options):
        """A server that lives as long as the test."""
        server = Server(script, *args, **options)
        self.addCleanup(self.finish, server)
        return server.__enter__()

    def finish(self, server):
        if server.process.stderr.closed:
            return
        try:
            server.stop()
            server.check()
        finally:
            server.kill()

    def client(self, address, **options):
        client = Client(address, **options)
        self.addCleanup(client.close)
        return client

    def folder(self):
        folder = tempfile.TemporaryDirectory(prefix="neap-")
        self.addCleanup(folder.cleanup)
        return Path(folder.name)

    @contextlib.contextmanager
    def within(self, seconds):
        """What stands in it takes no longer."""
        start = time.monotonic()
        yield
        self.assertLess(time.monotonic() - start, seconds)


def main():
    unittest.main(verbosity=1)
