"""The documents are true: every code block runs, every name and link in them is there.

tests/docs/blocks.py says what a block may be. That a broken one is found is shown at the end.
"""

import json
import re
import subprocess
import sys
import unittest
from unittest import mock

from neap_server import DEADLINE, NEAP, SOURCE, NeapTest, environment, main

sys.path.insert(0, str(SOURCE / "tests" / "docs"))

import blocks  # noqa: E402
import reference  # noqa: E402
import tables  # noqa: E402

PAGES = [
    SOURCE / "README.md",
    SOURCE / "CHANGELOG.md",
    SOURCE / "src/README.md",
    SOURCE / "examples/README.md",
    *sorted((SOURCE / "docs").rglob("*.md")),
]

# Commands in sh blocks that are not run, and why.
ALLOWED = {
    "./dev run": "builds, and serves until Ctrl-C",
    "./dev test": "runs all tests, this one among them",
    "apt-get install gcc libc6-dev cmake ninja-build pkg-config liblua5.4-dev libev-dev libc-ares-dev libmd-dev libjansson-dev libedit-dev":
        "needs root and a network",
    "cmake --preset release": "builds",
    "cmake --build build/release": "builds",
    "cmake --install build/release --prefix /usr/local": "needs root; test_install.py installs",
}

CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.M | re.S)


def name(page):
    return page.relative_to(SOURCE).as_posix()


def prose(text):
    """A page without its code."""
    return CODE.sub("", text)


def anchors(text):
    """As GitHub makes them from headings."""
    found = set()
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for title in re.findall(r"^#+ (.*)$", text, re.M):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title.replace("`", "")).lower()
        found.add(re.sub(r"[^\w -]", "", title).replace(" ", "-"))
    return found


def section(page, title):
    """The text under a heading, up to the next of its rank or above."""
    text = (SOURCE / page).read_text()
    found = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |\Z)", text, re.M | re.S)
    return found.group(2)


def first_column(text):
    """What stands as code in the first cell of each row of the tables in a text."""
    rows = [line.split("|")[1] for line in text.replace("\\|", "!").splitlines() if line[:1] == "|"]
    return [found for row in rows for found in re.findall(r"`([^`]*)`", row)]


def pattern_of(text, hole):
    """A pattern for a text with holes."""
    return ".*".join(map(re.escape, re.split(hole, text)))


def told(*words):
    """What neap prints."""
    done = subprocess.run(
        [NEAP, *words], stdout=subprocess.PIPE, text=True, check=True, timeout=DEADLINE,
        env=environment(),
    )
    return done.stdout


class Blocks(NeapTest):
    def test_every_block_runs(self):
        used = set()
        for page in PAGES:
            with self.subTest(name(page)):
                document = blocks.Document(page.read_text(), ALLOWED)
                document.run()
                used |= document.used
        self.assertEqual(set(ALLOWED) - used, set(), "allowed and in no document")

    def test_pages_that_teach_have_blocks(self):
        for page, least in (("README.md", 10), ("docs/tutorial.md", 40), ("docs/operations.md", 18),
                            ("docs/control.md", 6)):
            kinds = [block.kind for block in blocks.parse((SOURCE / page).read_text())]
            self.assertGreater(len([kind for kind in kinds if kind != "part"]), least, page)

    def test_commands_in_the_text_are_commands(self):
        """`neap ...` in a sentence or a table: the command and its flags are known."""
        known = {word: told("help", word) for word in [*blocks.COMMANDS, "run"]}
        for page in PAGES:
            text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
            for words in re.findall(r"`neap ([^`\n]+)`", text):
                first = words.split()[0]
                command = first if first in known else "run"
                with self.subTest(name(page), words=words):
                    if first not in known:
                        self.assertRegex(first, r"\.lua$|^-|^[A-Z]+$")
                    for flag in re.findall(r"(?<!\S)--[a-z-]+", words):
                        self.assertIn(flag, known[command])


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
                if re.match(r"\w+://", target):
                    continue
                path, _, anchor = target.partition("#")
                at = (page.parent / path).resolve() if path else page
                with self.subTest(name(page), target=target):
                    self.assertTrue(at.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(at.read_text()))

    def test_readme(self):
        text = (SOURCE / "README.md").read_text()
        self.assertLessEqual(text.count("\n"), 250)
        for line in ("./dev run", "./dev test"):
            self.assertIn(f"\n{line}\n", text)

    def test_changelog_has_the_unreleased_on_top(self):
        headings = re.findall(r"^## (.*)$", (SOURCE / "CHANGELOG.md").read_text(), re.M)
        self.assertEqual(headings[0], "Unreleased")

    def test_decisions_are_whole_and_listed(self):
        folder = SOURCE / "docs/decisions"
        pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
        index = (folder / "README.md").read_text()
        self.assertTrue(pages)
        for number, page in enumerate(pages, 1):
            text = page.read_text()
            with self.subTest(page.name):
                self.assertTrue(text.startswith(f"# {number:04}: "))
                self.assertTrue(page.name.startswith(f"{number:04}-"))
                self.assertIn(f"]({page.name})", index)
                self.assertEqual(
                    re.findall(r"^## (.*)$", text, re.M),
                    ["Context", "Decision", "Consequences", "Alternatives", "To undo it"],
                )

    def test_reference_is_up_to_date(self):
        self.assertEqual((SOURCE / reference.OUTPUT).read_text(), reference.make())


class Map(unittest.TestCase):
    """src/README.md: every file is in it, and no other."""

    def test_files(self):
        text = (SOURCE / "src/README.md").read_text()
        files = text[text.index("\n## Files\n") : text.index("\n## Where to add what\n")]
        listed = {}
        for folder, rows in re.findall(r"^### `src/(\w+)`$(.*?)(?=^###|\Z)", files, re.M | re.S):
            for file in first_column(rows):
                for suffix in "ch" if file.endswith(".[ch]") else [""]:
                    path = f"{folder}/{file.replace('[ch]', suffix)}"
                    self.assertNotIn(path, listed)
                    listed[path] = True
        found = {path.relative_to(SOURCE / "src").as_posix()
                 for path in (SOURCE / "src").rglob("*.[ch]")}
        self.assertEqual(set(listed) - found, set(), "named and not there")
        self.assertEqual(found - set(listed), set(), "there and not named")

    def test_files_and_functions_that_pages_name(self):
        """`conn_pump`, `net/conn.c`: they are in the code."""
        source = "\n".join(
            path.read_text() for folder in ("src", "lua", "include", "tests", "cmake")
            for path in sorted((SOURCE / folder).rglob("*.*"))
            if path.suffix in (".c", ".h", ".lua", ".txt", ".cmake")
        )
        for page in [SOURCE / "src/README.md", *sorted((SOURCE / "docs/decisions").glob("0*.md"))]:
            text = page.read_text()
            words = re.findall(r"`([\w./-]+)`", text)
            for drawing in re.findall(r"^```text$(.*?)^```$", text, re.M | re.S):
                words += re.findall(r"\b[a-z]+(?:_[a-z]+)+\b(?!\.[ch])", drawing)
            self.assertTrue(words)
            for word in words:
                if word in ("lua.h", "ev.h", "ares.h") or "NAME" in word or word.startswith("ev_"):
                    continue
                with self.subTest(name(page), word=word):
                    if re.search(r"\.(c|h|py|lua|cmake)$", word):
                        places = (word, f"src/{word}", f"src/*/{word}")
                        self.assertTrue(any(list(SOURCE.glob(place)) for place in places))
                    elif re.fullmatch(r"[a-z]+(_[a-z]+)+", word):
                        self.assertTrue(re.search(rf"\b{word}\b", source))


class Operations(unittest.TestCase):
    PAGE = "docs/operations.md"

    def test_counters(self):
        listed = first_column(section(self.PAGE, "Counters"))
        self.assertEqual(listed, [one.name for one in tables.counters()])

    def test_limits(self):
        """Each is an option or a number, and its counter and reason are there."""
        text = section(self.PAGE, "Limits")
        text = text[: text.index("### Counters")]
        options = {one.name for one in tables.options()}
        counters = {one.name for one in tables.counters()}
        for line in text.splitlines():
            if not line.startswith("| ") or line.startswith("| option"):
                continue
            option, _, reason, counter = [cell.strip() for cell in line.strip("|").split("|")]
            with self.subTest(option):
                for word in re.findall(r"`(\w+)`", option):
                    self.assertIn(word, options)
                for word in re.findall(r"`(\w+)`", reason):
                    self.assertIn(word, tables.reasons())
                for word in re.findall(r"`(\w+)`", counter):
                    self.assertIn(word, counters)
        for option in tables.options():
            if option.name.startswith(("max_", "message_", "send_", "idle_", "hook_", "lua_")):
                self.assertIn(f"`{option.name}`", text)

    def test_exit_statuses(self):
        listed = re.findall(r"^\| (\d+) \|", section(self.PAGE, "Exit statuses"), re.M)
        manual = told("help", "--man")
        manual = manual[manual.index('.SH "EXIT STATUS"') : manual.index(".SH EXAMPLES")]
        self.assertEqual(listed, re.findall(r"^\.TP\n(\d+)$", manual, re.M))

    def test_flags_and_variables(self):
        text = section(self.PAGE, "Run")
        shown = told("help", "run")
        for word in re.findall(r"--[a-z-]+|NEAP_[A-Z_]+", shown):
            if word != "--help":
                self.assertIn(word, text)
        for word in re.findall(r"`(NEAP_[A-Z_]+)`", text):
            self.assertIn(word, shown)

    def test_messages_of_the_table_are_in_the_code(self):
        """Each is what a format string of the code can say, or the beginning of it."""
        formats = []
        for path in sorted((SOURCE / "src").rglob("*.[ch]")):
            text = tables.COMMENT.sub(" ", path.read_text())
            for run in re.findall(r'(?:"(?:[^"\\]|\\.)*"\s*)+', text):
                formats.append(tables.text_of(run))
        known = [(text, re.compile(pattern_of(text, r"%(?:[.\d*]*l*[a-zA-Z])")))
                 for text in formats if len(re.sub(r"%\S+", "", text)) >= 10]
        listed = first_column(section(self.PAGE, "Troubleshooting"))
        self.assertGreater(len(listed), 20)
        for message in listed:
            said = re.compile(pattern_of(message, r"\.\.\."))
            with self.subTest(message):
                self.assertTrue(any(one.search(message) or said.search(text)
                                    for text, one in known))
        self.assertFalse(any(one.search("no such message anywhere") for _, one in known))


class Control(NeapTest):
    """docs/control.md: commands, rights, arguments, codes, and the members of answers."""

    PAGE = "docs/control.md"

    def rows(self, title):
        text = re.search(rf"^#+ {title}$(.*?)(?=^#|\Z)", (SOURCE / self.PAGE).read_text(), re.M | re.S)
        lines = [line for line in text.group(1).splitlines() if line.startswith("| `")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    def test_commands(self):
        listed = {}
        for command, right, arguments, _ in self.rows("Commands"):
            found = dict(re.findall(r"`(\[?\w+\]?)`: (text|integer|boolean)", arguments))
            listed[command.strip("`")] = (right, found)
        self.assertEqual(listed, {one.name: (one.right, one.arguments) for one in tables.commands()})

    def test_codes(self):
        listed = {code.strip("`") for code, *_ in self.rows("Failures")}
        source = tables.source("server/commands.c") + tables.source("server/control.c")
        self.assertEqual(listed, set(re.findall(r'"(E[A-Z]+)"', source)))

    def test_members(self):
        """Those that a server gives are those that the page has."""
        server = self.serve("return { on_message = function(_, text) return text end }")

        def ask(*words):
            done = subprocess.run(
                [NEAP, *words, "--json"], stdout=subprocess.PIPE, text=True, check=True,
                timeout=DEADLINE, env=environment(XDG_RUNTIME_DIR=server.temporary.name),
            )
            answer = json.loads(done.stdout)
            self.assertTrue(answer.pop("ok"))
            return answer

        for title, given in (
            ("status", ask("status", "--effective")),
            ("reload, rollback", {**ask("reload"), **ask("rollback", "1")}),
            ("versions", {key: 1 for row in ask("versions")["versions"] for key in row}),
        ):
            listed = {name for row in self.rows(title) for name in re.findall(r"`(\w+)`", row[0])}
            with self.subTest(title):
                self.assertEqual(listed, set(given))


class Recording(unittest.TestCase):
    def test_picture_is_what_neap_does(self):
        done = subprocess.run(
            [sys.executable, "-B", SOURCE / "docs/recording.py", "--neap", NEAP, "--check"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE * 4,
        )
        self.assertEqual(done.returncode, 0, done.stdout)


class BrokenBlocks(NeapTest):
    """What the test is for: a block that is not true is found."""

    SERVER = "```console\n$ neap upper.lua\n...\nstop:  Ctrl-C\n```\n"
    SCRIPT = (
        "```lua upper.lua\nreturn {\n  on_message = function(_, text) return text:upper() end,\n"
        "  on_disconnect = function() print('left') end,\n}\n```\n"
    )

    def document(self, text, allowed=("./dev run",)):
        return blocks.Document(text, allowed)

    def passes(self, text):
        self.assertGreater(self.document(text).run(), 0)

    def fails(self, pattern, text):
        with mock.patch.object(blocks, "DEADLINE", 5):  # what is expected never comes
            with self.assertRaisesRegex(blocks.BlockError, pattern):
                self.document(text).run()

    def test_scripts(self):
        self.passes(self.SCRIPT)
        self.fails("line 1, lua: neap check", "```lua\nreturn { on_mesage = print }\n```\n")
        self.fails("unexpected symbol", "```lua a.lua\nreturn { = }\n```\n")
        self.fails("returns no table", "```lua\nlocal x = 1\n```\n")
        self.fails("no name for a script", "```lua ../a.lua\nreturn {}\n```\n")
        self.fails("unknown key 'linger2'", "```lua keys\nlinger2 = 3,\n```\n")

    def test_fragments(self):
        self.passes("```lua fragment\nneap.log.info(message)\nconn:send(message)\n```\n")
        self.fails("attempt to call a nil value", "```lua fragment\nconn:sned(message)\n```\n")
        self.fails("unexpected symbol|expected", "```lua fragment\nif then\n```\n")

    def test_commands(self):
        self.passes("```console\n$ echo one; echo two\none\ntwo\n$ false\n$ echo $?\n1\n```\n")
        self.passes("```console\n$ echo one; echo two; echo three\none\n...\nthree\n```\n")
        self.fails("expected", "```console\n$ echo one\ntwo\n```\n")
        self.fails("expected", "```console\n$ echo one\n```\n")
        self.fails("expected", "```console\n$ neap check none.lua\n```\n")
        self.fails("is no", "```console\necho one\n```\n")

    def test_servers(self):
        client = "```console\n$ neap send 4343 abc\nABC\n```\n"
        self.passes(self.SCRIPT + self.SERVER + client)
        self.fails("abc", self.SCRIPT + self.SERVER + client.replace("ABC", "abc"))
        self.fails("expected", self.SCRIPT + self.SERVER.replace("stop:", "halt:"))
        # No server is left behind by the part before.
        self.fails("expected", self.SCRIPT + self.SERVER + "## Next\n" + client)

    def test_commands_for_the_running_server(self):
        edit = "```console\n$ sed -i 's/upper/lower/' upper.lua\n$ neap reload\n"
        told = "version 1 -> 2 in 3 ms, 0 connections kept, 0 timers ended\n  changed upper.lua\n"
        self.passes(self.SCRIPT + self.SERVER + edit + told + "```\n")
        self.fails("expected", self.SCRIPT + self.SERVER + edit + "```\n")

    def test_logs(self):
        log = "```log\n12:00:00.000 INFO left  conn=1 peer=127.0.0.1:5 version=1\n^C\n...\n```\n"
        client = "```console\n$ neap send 4343 abc\nABC\n```\n"
        self.passes(self.SCRIPT + self.SERVER + client + log)
        self.fails("no server", log)

    def test_shell_blocks(self):
        self.passes("```sh\n./dev run\nneap version # says it\n```\n")
        self.fails("neither", "```sh\nrm -r build\n```\n")
        self.fails("status 64", "```sh\nneap help nosuch\n```\n")

    def test_units(self):
        unit = "```ini\n[Service]\nExecStart=/usr/bin/neap run /etc/upper.lua --workers 2\n```\n"
        self.passes(self.SCRIPT + unit)
        self.fails("wrokers", self.SCRIPT + unit.replace("workers", "wrokers"))
        reload = unit.replace("2\n", "2\nExecReload=/usr/bin/neap reload --timeout 9\n")
        self.passes(self.SCRIPT + reload)
        self.fails("tiemout", self.SCRIPT + reload.replace("timeout", "tiemout"))
        self.fails("no block above", unit)

    def test_what_is_no_block(self):
        self.fails("not known", "```perl\nprint\n```\n")
        self.fails("not known", "```\nprint\n```\n")
        with self.assertRaisesRegex(blocks.BlockError, "no end"):
            self.document("```lua\nreturn {}\n")


if __name__ == "__main__":
    main()
