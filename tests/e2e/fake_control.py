"""A control socket that only says what a test tells it, and neap at a terminal.

    class Some(ControlTest):
        def test_it(self):
            server = self.fake({"ok": True, "id": 17})      # its answers, one after the other
            self.says(0, "connection 17 closed\\n", "", "kick", "17")
            server.requests()                               # -> [{"command": "kick", "id": 17}]
"""

import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import termios
import threading
import time

from neap_server import DEADLINE, NEAP, SANITIZER, NeapTest, environment

NO_ANSWER = None
REFUSED = {"ok": False, "error": "no such thing", "code": "ENOENT", "status": 66}


class FakeServer:
    """Answers one request after the other with what it was given: an object, bytes as they are,
    NO_ANSWER to close instead, or a function of the socket. Then it closes."""

    def __init__(self, runtime, answers, name="default"):
        folder = runtime / "neap"
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / f"{name}.sock"
        self.answers = list(answers)
        self.lines = []
        self.connections = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.path))
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            with client, client.makefile("rb") as file:
                try:
                    self.converse(client, file)
                except OSError:
                    pass  # it went away, as some tests want it to

    def converse(self, client, file):
        while self.answers:
            line = file.readline()
            if not line:
                return
            self.lines.append(line)
            answer = self.answers.pop(0)
            if answer is NO_ANSWER:
                return
            if callable(answer):
                answer(client)
                return
            if isinstance(answer, dict):
                answer = json.dumps(answer).encode() + b"\n"
            client.sendall(answer)

    def requests(self):
        return [json.loads(line) for line in self.lines]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self.thread.join(DEADLINE)
        self.path.unlink(missing_ok=True)


class Terminal:
    """neap at the other side of a terminal, as the leader of its own session."""

    def __init__(self, words, env):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [NEAP, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(slave)
        self.text = ""
        self.seen = 0

    def type(self, keys):
        os.write(self.master, keys.encode())

    def read(self):
        """More text; False at the end."""
        if not select.select([self.master], [], [], DEADLINE)[0]:
            raise TimeoutError(self.text)
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False  # EIO: nobody has the other side open
        self.text += data.decode("latin-1")
        return bool(data)

    def wait_for(self, pattern):
        """Until the pattern stands behind what was waited for before."""
        while True:
            found = re.search(pattern, self.text[self.seen :])
            if found:
                self.seen += found.end()
                return found
            if not self.read():
                raise EOFError(self.text)

    def wait_for_prompt(self):
        """libedit writes the prompt first and then turns the terminal's own editing off."""
        self.wait_for("neap> ")
        deadline = time.monotonic() + DEADLINE
        while termios.tcgetattr(self.master)[3] & termios.ICANON:
            if time.monotonic() > deadline:
                raise TimeoutError(self.text)
            os.sched_yield()

    def end(self):
        while self.read():
            pass
        return self.process.wait(DEADLINE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
        os.close(self.master)


class ControlTest(NeapTest):
    def setUp(self):
        self.runtime = self.folder()

    def fake(self, *answers, **options):
        server = FakeServer(self.runtime, answers, **options)
        self.addCleanup(server.close)
        return server

    def environment(self, **more):
        more = {"XDG_RUNTIME_DIR": str(self.runtime), "HOME": str(self.runtime), **more}
        return environment(**more)

    def neap(self, *words, env=None, **options):
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "timeout": DEADLINE,
            "env": self.environment(**(env or {})),
            **options,
        }
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        run = subprocess.run([NEAP, *words], **options)
        run.stdout = run.stdout.decode("utf-8", "surrogateescape")
        run.stderr = run.stderr.decode("utf-8", "surrogateescape")
        self.assertNotRegex(run.stderr, SANITIZER)
        return run

    def says(self, status, stdout, stderr, *words, **options):
        run = self.neap(*words, **options)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (status, stdout, stderr), words)

    def terminal(self, *words, **env):
        terminal = Terminal(words, self.environment(TERM="xterm", **env))
        self.addCleanup(terminal.close)
        return terminal
