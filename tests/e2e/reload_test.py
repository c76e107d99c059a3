"""Editing a script while it is served, and reloading it."""

import os
import re
import socket
import threading
import time
from pathlib import Path

from control import Control, control
from neap_server import DEADLINE, NEAP, PRELUDE, Client, NeapTest, is_sanitized

IS_THREAD_SANITIZED = b"__tsan_init" in Path(NEAP).read_bytes()
SLOW = 4 if is_sanitized() else 1


def answering(tag, options="", before="", hooks=""):
    """A script that answers a line with `tag:line`."""
    return f"""{PRELUDE} {before}
      return {{ framing = "line", hook_timeout = 10, {options}
        on_message = function(conn, text) return "{tag}:" .. text end, {hooks} }}"""


def services(**bodies):
    """A script with several services, each given as the inside of its table."""
    rows = ", ".join(f"{name} = {{ {body} }}" for name, body in bodies.items())
    return f"{PRELUDE} return {{ hook_timeout = 10, services = {{ {rows} }} }}"


def line_service(tag, *listen, more=""):
    """The inside of a service that answers a line with `tag:line`."""
    addresses = ", ".join(f"'{one}'" for one in listen)
    return (
        f"listen = {{ {addresses} }}, framing = 'line', {more} "
        f"on_message = function(conn, text) return '{tag}:' .. text end"
    )


def until(is_so, what="it does not come"):
    """Waits for what nothing tells of; its value."""
    end = time.monotonic() + DEADLINE
    while not (value := is_so()):
        if time.monotonic() > end:
            raise AssertionError(what)
        os.sched_yield()
    return value


def refuses(address):
    """Whether nobody listens there any more."""
    try:
        Client(address, timeout=DEADLINE).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except ConnectionResetError:
        pass
    return False


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class ReloadTest(NeapTest):
    def edit(self, server, text, name="main.lua"):
        (server.folder / name).write_text(text)

    def reload(self, server, text=None, name="main.lua"):
        """Saves, if there is something to, and reloads; the answer, which is no failure."""
        if text is not None:
            self.edit(server, text, name)
        return self.succeeds(control(server, "reload"), server)

    def succeeds(self, answer, server=None):
        self.assertTrue(answer and answer["ok"], f"{answer}\n{server}")
        return answer

    def fails(self, answer, status, pattern):
        self.assertEqual((answer["ok"], answer.get("status")), (False, status), answer)
        self.assertRegex(answer["error"], pattern)
        return answer

    def version(self, server):
        return control(server, "status")["version"]

    def says(self, client, expected, text=b"x"):
        """The client, connected all the time, asks for one line."""
        client.send(text + b"\n")
        self.assertEqual(client.receive_until(b"\n"), expected + b":" + text + b"\n")

    def in_background(self, function, *arguments):
        """Runs it beside the test; a function that waits for its result."""
        results = []

        def run():
            try:
                results.append(function(*arguments))
            except BaseException as error:  # told where it is waited for
                results.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def result():
            thread.join(DEADLINE)
            self.assertFalse(thread.is_alive(), "no result")
            if isinstance(results[0], BaseException):
                raise results[0]
            return results[0]

        return result

    def begin_reload(self, server):
        """Asks for one; a connection on which its answer will come."""
        one = Control(server)
        self.addCleanup(one.close)
        return one.send("reload")

    def spread(self, server, workers, address=None):
        """Clients of every worker, by number. The script answers `@` with its worker's."""
        clients = {}
        while len(clients) < workers:
            client = self.client(address or server.address)
            found = re.search(rb"(\d+)\n", client.send(b"@\n").receive_until(b"\n"))
            clients.setdefault(int(found.group(1)), client)
        return clients
