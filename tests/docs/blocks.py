"""Runs the code blocks of a document, from its first to its last line.

    ```lua echo.lua     a script: `neap check` must take it; commands below find it by its name
    ```lua              the same without a name; it returns a table
    ```lua keys         some keys of such a table
    ```lua fragment     statements that see conn and message, run inside on_message
    ```console          `$ command` and what it prints; `...` on a line of its own is any lines
    ```log              what the server of this part printed since it was last looked at; a line
                        `^C` stops it
    ```sh               commands without output: those of neap are run, others must be allowed
    ```ini              a systemd unit, whose ExecStart is checked, and ExecReload if it has one
    ```text             nothing to run

A command that serves is started on a terminal, on free ports in place of those it names, and lives
until the next `##`, the next server, or its `^C`. It is found by the commands below it, for both
have the folder of the scripts as XDG_RUNTIME_DIR. Times, ages, sizes of memory, process ids, peers'
ports, and the descriptor limit are not compared.
"""

import configparser
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import tty
from collections import namedtuple
from pathlib import Path

from neap_server import DEADLINE, NEAP, SANITIZER, SOURCE, Client, Server, environment, run

Block = namedtuple("Block", "line kind name text")

FENCE = re.compile(r"^```(.*)$")
ADDRESS = re.compile(
    r"\b(?P<scheme>tcp|udp|unix|unixgram)://(?P<host>\[[^\]/]*\]:|[\w.]+:|)(?P<place>\d+|/[\w./-]+)"
)
COMMANDS = {
    *("check", "send", "bench", "version", "help", "completion"),
    *("reload", "status", "versions", "rollback", "promote", "connections", "kick", "eval"),
    *("console", "log-level", "stop"),
}

LOG_FIELD = re.compile(r' [\w.-]+=("(?:[^"\\]|\\.)*"|\S*)|,"[\w.-]+":("(?:[^"\\]|\\.)*"|[^,}]*)')

# What differs from run to run and from machine to machine.
VARYING = (
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"(?<!//)(127\.0\.0\.1|\[::1\]):\d+"), r"\1:PORT"),
    (re.compile(r"\d+ at most \(descriptor limit \d+\)"), "N at most (descriptor limit N)"),
    (re.compile(r"\bin [\d.e+-]+ ms\b"), "in N ms"),
    (re.compile(r"(?<=  )\d+ s(?=  |$)", re.M), "N s"),
    (re.compile(r"(?<=^pid       )\d+$", re.M), "N"),
    (re.compile(r'("(?:ms|age|idle|uptime|loop_lag_ms|pid|lua_memory)":)[\d.e+-]+'), r"\1N"),
    (re.compile(r"\bLua 5\.4\.\d+"), "Lua 5.4.N"),
    (re.compile(r"\blibev 4\.\d+"), "libev 4.N"),
    (re.compile(r"[ \t]+$", re.M), ""),
)

FRAGMENT = """\
local neap = require "neap"
local function fragment(conn, message)
%s
end
return {
  on_message = function(conn, message)
    fragment(conn, message)
    neap.log.info("fragment ran")
  end,
}
"""


class BlockError(AssertionError):
    """A block that does not do what the document says."""


def parse(text):
    """The blocks, and the lines on which a part begins, in order."""
    found, block = [], None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if block is None and fence:
            kind, _, name = fence.group(1).partition(" ")
            block = Block(number, kind, name.strip(), [])
        elif block is not None and fence:
            found.append(block._replace(text="\n".join(block.text) + "\n"))
            block = None
        elif block is not None:
            block.text.append(line)
        elif re.match(r"##? ", line):
            found.append(Block(number, "part", line, ""))
    if block is not None:
        raise BlockError(f"line {block.line}: this block has no end")
    return found


def sort_fields(line):
    """A script's fields come in the order in which Lua's tables are walked, which is none."""
    if not re.match(r"TIME |time=TIME |\{\"time\"", line):
        return line
    fields = sorted(found.group() for found in LOG_FIELD.finditer(line))
    return LOG_FIELD.sub("", line) + "".join(fields)


def normal(text):
    for pattern, to in VARYING:
        text = pattern.sub(to, text)
    return "\n".join(map(sort_fields, text.strip("\n").split("\n")))


def matches(expected, found):
    """Whether they are the same, `...` standing for any lines."""
    lines = normal(expected).split("\n")
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line + "\n") for line in lines)
    return re.fullmatch(pattern, normal(found) + "\n") is not None


def difference(expected, found):
    return f"--- expected\n{normal(expected)}\n--- found\n{normal(found)}\n---"


def replace_places(text, places):
    """Ports and paths of addresses in a text: (scheme, one) -> another."""

    def one(found):
        place = places.get((found["scheme"], found["place"]), found["place"])
        return f"{found['scheme']}://{found['host']}{place}"

    return ADDRESS.sub(one, text)


# ---- A server on a terminal ----


class Served:
    def __init__(self, words, documented, folder):
        self.output, self.seen = "", 0
        self.changed = threading.Condition()
        self.documented = documented
        master, slave = pty.openpty()
        tty.setraw(slave)  # "\n" stays "\n"
        self.process = subprocess.Popen(
            [NEAP, *on_free_ports(words, documented, folder)],
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment(NO_COLOR="1", XDG_RUNTIME_DIR=str(folder)),
        )
        os.close(slave)
        self.reader = threading.Thread(target=self.read, args=(master,), daemon=True)
        self.reader.start()
        self.find_addresses()

    def read(self, master):
        """EIO is the end of a terminal that its last user closed."""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                piece = b""
            with self.changed:
                self.output += piece.decode("ascii", "backslashreplace")
                self.changed.notify_all()
            if not piece:
                os.close(master)
                return

    def wait(self, condition):
        """For what was printed since it was last looked at to be so; where that ends, or None."""
        end = time.monotonic() + DEADLINE
        with self.changed:
            while not condition(self.output[self.seen :]):
                left = end - time.monotonic()
                if left <= 0 or not self.reader.is_alive():
                    return None
                self.changed.wait(min(left, 0.5))
            return len(self.output)

    def find_addresses(self):
        """From the lines under the first one, in the order of what was asked for; localhost may
        have two. Fills in what port or path each documented one has got."""
        if self.wait(lambda text: "\nstop:  Ctrl-C\n" in text) is None:
            raise BlockError(f"the server does not serve\n{self.output}")
        listed = [ADDRESS.match(text) for text in re.findall(r"^  (\w+://\S+)", self.output, re.M)]
        self.places = {}
        for address in self.documented:
            wanted, got = ADDRESS.match(address), listed.pop(0) if listed else None
            if got is None or got["scheme"] != wanted["scheme"]:
                raise BlockError(f"does not listen on {address}\n{self.output}")
            self.places[wanted["scheme"], wanted["place"]] = got["place"]
            if listed and wanted["host"] == "localhost:" and listed[0]["place"] == got["place"]:
                listed.pop(0)
        if listed:
            raise BlockError(f"listens on more than {self.documented}\n{self.output}")

    def as_documented(self, text):
        back = {(scheme, got): wanted for (scheme, wanted), got in self.places.items()}
        return replace_places(text, back)

    def on_actual_ports(self, command):
        """Addresses of this server in place of those that the document names; a bare number may be
        a port of TCP."""
        command = replace_places(command, self.places)
        return re.sub(
            r"(?<![\w:./])\d{4,5}\b",
            lambda found: self.places.get(("tcp", found.group()), found.group()),
            command,
        )

    def expect(self, expected):
        seen = self.wait(lambda found: matches(expected, self.as_documented(found)))
        if seen is None:
            raise BlockError(difference(expected, self.as_documented(self.output[self.seen :])))
        self.seen = seen

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        status = self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        if status != 0 or SANITIZER.search(self.output):
            raise BlockError(f"the server ended with {status}\n{self.output}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def without(flags, words):
    """Words of a command without some flags and their values."""
    return [word for before, word in zip(["", *words], words) if not {before, word} & set(flags)]


def documented_addresses(words, folder):
    """What the server would listen on, had the document its way; None if it would not serve."""
    words = without(("--log-level", "--log-format", "--name"), words[words[:1] == ["run"] :])
    words = [word for word in words if word not in ("--watch", "-w")]
    if not any(word.endswith(".lua") or word in ("-e", "--eval") for word in words):
        words = [str(SOURCE / "lua/neap/default.lua"), *words]
    status, told = check(["--json", *words], folder)
    if status != 0:
        return None
    addresses = {}
    for service in json.loads(told)["services"]:
        for address in service["listen"]:
            addresses[address] = service["name"]
    return addresses


def redirect(words, folder, address, free):
    """What the scripts of a command connect to, if it is theirs."""
    for word in words:
        script = Path(folder, word)
        if word.endswith(".lua") and script.parent == Path(folder) and script.exists():
            text = script.read_text()
            script.write_text(text.replace(f'connect("{address}"', f'connect("{free}"'))


def on_free_ports(words, documented, folder):
    words = without(("--listen", "-l"), words)
    for address, service in documented.items():
        name = "" if service == "main" else service + "="
        found = ADDRESS.match(address)
        place = f"{folder}/{Path(found['place']).name}" if not found["host"] else "0"
        free = f"{found['scheme']}://{found['host']}{place}"
        if not found["host"]:
            redirect(words, folder, address, free)
        words += ["--listen", name + free]
    return words


def check(words, folder):
    """Status and output of `neap check`."""
    done = subprocess.run(
        [NEAP, "check", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=DEADLINE,
    )
    return done.returncode, done.stdout


def must_load(script, folder):
    status, said = check([script], folder)
    if status != 0:
        raise BlockError(f"neap check {script}: status {status}\n{said}")


def serves(words):
    """Whether a command of neap serves: `neap`, `neap run ...`, `neap chat.lua`."""
    if words[:1] != ["neap"]:
        return False
    return len(words) == 1 or (words[1] not in COMMANDS and "--help" not in words)


# ---- A document ----


class Document:
    """Runs the blocks of a text. `allowed` are the commands of sh blocks that are not run."""

    def __init__(self, text, allowed=()):
        self.blocks = parse(text)
        self.allowed = set(allowed)
        self.used = set()
        self.server, self.status, self.count = None, 0, 0

    def run(self):
        """Raises for the first block that is broken; how many blocks there were."""
        with tempfile.TemporaryDirectory(prefix="neap-") as folder:
            self.folder = Path(folder)
            (self.folder / "examples").symlink_to(SOURCE / "examples")
            try:
                for block in self.blocks:
                    self.run_block(block)
                self.stop_server()
            finally:
                if self.server:
                    self.server.kill()
        return self.count

    def run_block(self, block):
        try:
            if block.kind == "part":
                self.stop_server()
                return
            self.count += 1
            getattr(self, "on_" + block.kind, self.on_unknown)(block)
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
            raise BlockError(f"line {block.line}, {block.kind or 'no kind'}: {error}") from error

    def stop_server(self):
        if self.server:
            server, self.server = self.server, None
            try:
                server.stop()
            finally:
                server.kill()

    def on_unknown(self, block):
        raise BlockError(f"blocks of the kind '{block.kind}' are not known")

    def on_text(self, block):
        pass

    # -- Lua --

    def on_lua(self, block):
        if block.name == "fragment":
            self.run_fragment(block.text)
        elif block.name == "keys":
            self.load(f"return {{\n{block.text}\n}}\n")
        elif re.search(r"^return\b", block.text, re.M):
            self.load(block.text, block.name or "script.lua")
        else:
            raise BlockError("returns no table; mark it 'fragment' or 'keys'")

    def load(self, text, name="keys.lua"):
        if not re.fullmatch(r"[\w-]+\.lua", name):
            raise BlockError(f"'{name}' is no name for a script")
        (self.folder / name).write_text(text)
        must_load(name, self.folder)

    def run_fragment(self, text):
        with Server(FRAGMENT % text) as server:
            with Client(server.address) as client:
                client.send(b"message")
                found = server.wait_log(r"fragment ran|raised:")
            if found.group(0) == "raised:":
                raise BlockError(str(server))

    # -- Commands --

    def on_console(self, block):
        if not block.text.startswith("$ "):
            raise BlockError("the first line is no '$ command'")
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            while re.match(r"[^\n]*\\\n", part):
                part = part.replace("\\\n", " ", 1)
            command, _, expected = part.partition("\n")
            self.run_command(command, expected)

    def run_command(self, command, expected):
        if command == "echo $?":
            found = str(self.status)
        elif serves(shlex.split(command)) and self.serve(command):
            self.server.expect(expected)
            return
        else:
            found = self.shell(command)
        if self.server:
            found = self.server.as_documented(found)
        if not matches(expected, found):
            raise BlockError(f"$ {command}\n{difference(expected, found)}")

    def serve(self, command):
        """Starts a server; False when the script does not load, so that the command ends."""
        words = shlex.split(command)[1:]
        documented = documented_addresses(words, self.folder)
        if documented is None:
            return False
        self.stop_server()
        self.server = Served(words, documented, self.folder)
        return True

    def shell(self, command):
        if self.server:
            command = self.server.on_actual_ports(command)
        paths = f"{Path(NEAP).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=environment(PATH=paths, XDG_RUNTIME_DIR=str(self.folder)),
            timeout=DEADLINE,
        )
        self.status = done.returncode
        return done.stdout

    def on_log(self, block):
        if not self.server:
            raise BlockError("no server runs here")
        before, stop, after = block.text.partition("^C\n")
        if before:
            self.server.expect(before)
        if stop:
            server = self.server
            self.stop_server()
            found = server.as_documented(server.output[server.seen :])
            if not matches(after, found):
                raise BlockError(difference(after, found))

    def on_sh(self, block):
        for line in block.text.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line).strip()
            if not command or command.startswith("#"):
                continue
            if command in self.allowed:
                self.used.add(command)
            elif serves(shlex.split(command)) and self.serve(command):
                continue
            elif command.startswith("neap "):
                found = self.shell(command)
                if self.status != 0:
                    raise BlockError(f"{command}: status {self.status}\n{found}")
            else:
                raise BlockError(f"'{command}' is neither a command of neap nor allowed")

    def on_ini(self, block):
        """The commands of a unit: their flags are known, its script loads."""
        unit = configparser.ConfigParser(interpolation=None, strict=False)
        unit.optionxform = str
        unit.read_string(block.text)
        words = shlex.split(unit["Service"]["ExecStart"])
        if Path(words[0]).name != "neap" or words[1] != "run":
            raise BlockError(f"ExecStart is not 'neap run': {words}")
        script = Path(next(word for word in words if word.endswith(".lua"))).name
        words = [script if word.endswith(script) else word for word in words[2:]]
        if not (self.folder / script).exists():
            raise BlockError(f"no block above is named {script}")
        status, said = run("run", *words, "--log-level", "nosuch", cwd=self.folder)
        if status != 64 or "nosuch" not in said:
            raise BlockError(f"neap run {' '.join(words)}: {said}")
        must_load(script, self.folder)
        self.check_reload(shlex.split(unit["Service"].get("ExecReload", "")))

    def check_reload(self, words):
        """There is no server, which is as far as a command without a mistake comes."""
        if not words:
            return
        if Path(words[0]).name != "neap" or words[1:2] != ["reload"]:
            raise BlockError(f"ExecReload is not 'neap reload': {words}")
        nowhere = environment(XDG_RUNTIME_DIR=str(self.folder / "nowhere"))
        status, said = run(*words[1:], cwd=self.folder, env=nowhere)
        if status != 69:
            raise BlockError(f"{' '.join(words)}: {said}")
