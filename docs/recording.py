"""Makes docs/reload.svg: a file is saved, and a client that is connected gets the new answer.

    python3 docs/recording.py [--neap BINARY]            writes the picture
    python3 docs/recording.py [--neap BINARY] --check    fails if a run would make another one

It runs neap on one pseudo-terminal and `neap send` on another, saves the script twice while the
client is connected, and draws what the two printed, beside the lines that were changed. Numbers
tell what came after what. What differs from run to run is replaced: the port, which is a free one,
and the time of day. How long the reload took is as it was; --check does not compare it.
"""

import argparse
import difflib
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.sax.saxutils import escape

SOURCE = Path(__file__).resolve().parents[1]
PICTURE = SOURCE / "docs/reload.svg"
DEADLINE = 30  # seconds: far more than anything here takes

NAME = "hello.lua"
HEAD = """\
return {
  framing = "line",

  on_connect = function(conn)
    conn.data.count = 0
  end,

  on_message = function(conn, line)
    conn.data.count = conn.data.count + 1
"""
ANSWERS = (  # as the script is at first, and after each save
    '    return conn.data.count .. " " .. line\n',
    '    return conn.data.count .. " " .. line:upper()\n',
    '    return conn.data.count .. " " .. line:upper(\n',
)
TAIL = """\
  end,
}
"""

# ---- The run ----


class Terminal:
    """A program on a terminal: what it printed, line by line, with the number of the step."""

    def __init__(self, step, command, *words, folder):
        self.shown = [(step, "command", "$ " + command)]
        self.text, self.taken = "", 0
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment(folder)
        )
        os.close(slave)

    def wait(self, pattern):
        """For that to be printed since take(); the match."""
        end = time.monotonic() + DEADLINE
        while True:
            found = re.search(pattern, self.text[self.taken :])
            if found:
                return found
            ready, _, _ = select.select([self.master], [], [], max(end - time.monotonic(), 0))
            if not ready:
                raise SystemExit(f"recording: {pattern!r} was not printed:\n{self.text}")
            try:
                piece = os.read(self.master, 65536)
            except OSError as error:  # EIO: its last user has closed it
                raise SystemExit(f"recording: it has ended:\n{self.text}") from error
            self.text += piece.decode().replace("\r\n", "\n")

    def take(self, step, typed=None):
        """Shows what was printed since the last time; a line that was typed is marked as such."""
        lines = self.text[self.taken :].split("\n")
        self.taken = len(self.text) - len(lines.pop())
        for line in lines:
            self.shown.append((step, "typed" if line == typed else "", line))
            typed = None if line == typed else typed

    def say(self, step, line, answer):
        os.write(self.master, line.encode() + b"\n")
        self.wait(rf"(?m)^{re.escape(answer)}$\n")
        self.take(step, line)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


def environment(folder):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NEAP_")}
    return {**kept, "NO_COLOR": "1", "LC_ALL": "C", "XDG_RUNTIME_DIR": folder}


def save(folder, answer):
    (Path(folder) / NAME).write_text(HEAD + answer + TAIL)


def record(neap, folder):
    """What the server's and the client's terminal showed."""
    ends = []
    try:
        save(folder, ANSWERS[0])
        words = [neap, NAME, "--watch", "--listen", "tcp://127.0.0.1:0"]
        server = Terminal(1, f"neap {NAME} --watch", *words, folder=folder)
        ends.append(server)
        server.wait(r"stop:  Ctrl-C\n")
        port = server.wait(r"tcp://127\.0\.0\.1:(\d+)\n").group(1)
        server.take(1)
        client = Terminal(1, "neap send 4343", neap, "send", port, folder=folder)
        ends.insert(0, client)
        client.wait(r"Ctrl-D ends\n")
        client.take(1)
        client.say(1, "hello", "1 hello")
        save(folder, ANSWERS[1])
        server.wait(r"INFO reloaded: .*\n")
        server.take(2)
        client.say(2, "hello", "2 HELLO")
        save(folder, ANSWERS[2])
        server.wait(r"ERROR reload failed.*\n(.*\n)*? +\|\n")
        server.take(3)
        client.say(3, "hello", "3 HELLO")
    finally:
        for terminal in ends:
            terminal.end()
    return [steady(terminal.shown, port) for terminal in (server, client)]


def steady(shown, port):
    """Without what differs from run to run, but for how long the reload took."""
    shown = [(step, kind, re.sub(rf"(?<=127\.0\.0\.1:){port}\b", "4343", line))
             for step, kind, line in shown]
    return [(step, kind, re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "12:00:00.000", line))
            for step, kind, line in shown]


def edits():
    """The script in an editor: the lines that were saved over stand above what they became."""
    rows = [(1, "", line) for line in HEAD.splitlines()]
    rows += [(1, "before", ANSWERS[0].rstrip("\n")), (2, "after", ANSWERS[1].rstrip("\n"))]
    rows += [(3, "broken", ANSWERS[2].rstrip("\n"))]
    return rows + [(1, "", line) for line in TAIL.splitlines()]


# ---- The picture ----

SIZE, LEADING, ADVANCE = 13, 19, 7.9  # of the letters; monospaced ones are 0.6 as wide as high
MARGIN, BAR, GAP, STEP = 12, 28, 14, 26  # STEP: the column of the numbers

STYLE = """\
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
       white-space: pre; fill: #1f2328 }
.pane { fill: #f6f8fa; stroke: #d1d9e0 }
.title { fill: #59636e; font-weight: bold }
.command, .typed { font-weight: bold }
.before { fill: #59636e; text-decoration: line-through }
.after { fill: #1a7f37 }
.broken, .error { fill: #cf222e }
.info { fill: #1a7f37 }
.disc { fill: #0969da }
.number { fill: #ffffff; font-weight: bold; font-size: 11px; text-anchor: middle }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .pane { fill: #151b23; stroke: #3d444d }
  .title, .before { fill: #9198a1 }
  .after, .info { fill: #3fb950 }
  .broken, .error { fill: #f85149 }
  .disc { fill: #4493f8 }
  .number { fill: #0d1117 }
}"""

TITLES = {"editor": f"{NAME} in an editor", "client": "a client", "server": "the server"}
ABOUT = (
    "1: a server runs with --watch, and a client is connected. 2: a changed file is saved; the "
    "next message of the same client runs the new code, and its count goes on. 3: a broken file "
    "is saved; the server says why it does not serve it, and goes on with the version before."
)


def kind_of(kind, line):
    """What a line of output looks like."""
    if kind:
        return kind
    if re.match(r"error: |12:00:00\.000 (ERROR|WARN) ", line):
        return "error"
    return "info" if re.match(r"12:00:00\.000 INFO ", line) else ""


def width_of(rows):
    return round(STEP + max(len(line) for _, _, line in rows) * ADVANCE + 2 * MARGIN)


def height_of(rows):
    return BAR + len(rows) * LEADING + MARGIN


def draw_pane(name, rows, box):
    """A frame with its title, lines, and a number where a step begins."""
    x, y, width, height = box
    yield f'<rect class="pane" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
    yield f'<text class="title" x="{x + MARGIN}" y="{y + 19}">{TITLES[name]}</text>'
    last = 0
    for number, (step, kind, line) in enumerate(rows):
        at = y + BAR + number * LEADING + SIZE
        if step > last:
            last = step
            yield f'<circle class="disc" cx="{x + MARGIN + 8}" cy="{at - 4}" r="8"/>'
            yield f'<text class="number" x="{x + MARGIN + 8}" y="{at}">{step}</text>'
        kind = kind_of(kind, line)
        look = f' class="{kind}"' if kind else ""
        if line:
            left = x + MARGIN + STEP
            yield f'<text{look} x="{left}" y="{at}" xml:space="preserve">{escape(line)}</text>'


def draw(server, client):
    editor = edits()
    top = max(height_of(editor), height_of(client))
    left = width_of(editor)
    width = max(width_of(server), left + GAP + width_of(client))
    below = height_of(server)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width + 2}" '
        f'height="{top + GAP + below + 2}" viewBox="0 0 {width + 2} {top + GAP + below + 2}">',
        "<!-- Made by docs/recording.py from a run of neap. -->",
        "<title>Edit, save, and the next message runs the new code</title>",
        f"<desc>{escape(ABOUT)}</desc>",
        f"<style>\n{STYLE}\n</style>",
        *draw_pane("editor", editor, (1, 1, left, top)),
        *draw_pane("client", client, (1 + left + GAP, 1, width - left - GAP, top)),
        *draw_pane("server", server, (1, 1 + top + GAP, width, below)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def comparable(picture):
    return re.sub(r"\bin [\d.e+-]+ ms", "in N ms", re.sub(r'\b(width|viewBox)="[^"]*"', "", picture))


def main():
    parser = argparse.ArgumentParser(description="Makes docs/reload.svg from a run of neap.")
    built = SOURCE / "build/release/neap"
    parser.add_argument("--neap", default=os.environ.get("NEAP_BIN", str(built)))
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neap-") as folder:
        made = draw(*record(os.path.abspath(options.neap), folder))
    if not options.check:
        PICTURE.write_text(made)
        return 0
    there = PICTURE.read_text() if PICTURE.exists() else ""
    if comparable(made) == comparable(there):
        return 0
    sys.stdout.writelines(difflib.unified_diff(
        comparable(there).splitlines(True), comparable(made).splitlines(True),
        "docs/reload.svg", "this run"))
    print("recording: docs/reload.svg is not what neap does: python3 docs/recording.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
