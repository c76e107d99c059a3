"""Each lint passes a clean tree and finds one fault planted in it."""

import json
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLEAN = {
    "src/base/buf.h": "/* base/buf.h - bytes. */\n#include <stddef.h>\n\nsize_t buf_len(void);\n",
    "src/base/buf.c": "/* base/buf.c - bytes. */\n#include \"base/buf.h\"\n",
    "src/io/io.c": "/* io/io.c - calls. */\nint x = recv(0, 0, 0, 0);\n",
    "src/net/loop_ev.c": "/* net/loop_ev.c - loop. */\n#include <ev.h>\n#include \"io/io.h\"\n",
    "src/script/vm.c": "/* script/vm.c - Lua. */\n#include <lua.h>\n#include \"net/loop.h\"\n",
    "src/server/api.c": "/* server/api.c - embedding. */\n#include \"neap/neap.h\"\n",
    "src/cli/send.c": "/* cli/send.c - client. */\nint x = send(0, 0, 0, 0);\n",
    "include/neap/neap.h": "/* neap/neap.h - embedding. */\nint neap_run(void);\n",
}


class LintTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, files):
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def copy(self, name):
        """Gives the tree this project's own configuration of a tool."""
        (self.root / name).write_text((HERE.parents[1] / name).read_text())

    def lint(self, script, *options):
        return subprocess.run(
            [sys.executable, "-B", HERE / script, "--root", self.root, *options],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def passes(self, script, *options):
        run = self.lint(script, *options)
        self.assertEqual(run.returncode, 0, run.stdout)

    def finds(self, expected, script, *options):
        run = self.lint(script, *options)
        self.assertEqual(run.returncode, 1, run.stdout)
        self.assertIn(expected, run.stdout)


class Layers(LintTest):
    def setUp(self):
        super().setUp()
        self.write(CLEAN)

    def plant(self, path, line):
        self.write({path: f"/* {path} - planted. */\n{line}\n"})

    def test_clean_tree_passes(self):
        self.passes("layers.py")

    def test_upward_include(self):
        self.plant("src/base/up.c", '#include "net/loop.h"')
        self.finds('src/base/up.c:2: base may not include "net/loop.h"', "layers.py")

    def test_sideways_include(self):
        self.plant("src/codec/side.c", '  #  include "io/io.h"')
        self.finds('src/codec/side.c:2: codec may not include "io/io.h"', "layers.py")

    def test_include_without_layer(self):
        self.plant("src/base/near.c", '#include "buf.h"')
        self.finds('must be written with its layer, as "base/buf.h"', "layers.py")

    def test_lua_outside_script(self):
        self.plant("src/server/peek.c", "#include <lauxlib.h>")
        self.finds("lauxlib.h may be included in src/script only", "layers.py")

    def test_libev_outside_its_file(self):
        for path in ("src/server/worker.c", "src/net/conn.c"):
            with self.subTest(path):
                self.plant(path, "#include <ev.h>")
                self.finds(f"{path}:2: ev.h may be included in", "layers.py")

    def test_system_call_outside_io(self):
        for call in ("recv(1, p, 2, 0)", "accept4 (1, 0, 0, 0)", "clock_gettime(0, &t)"):
            with self.subTest(call):
                self.plant("src/net/conn.c", f"int x = {call};")
                self.finds("is called in src/io only", "layers.py")

    def test_what_only_looks_like_a_system_call_passes(self):
        lines = ["/* recv(1) */", "x = io->ops->recv(io);", "x = conn_send(c);", 's = "send(";']
        self.plant("src/net/conn.c", "\n".join(lines))
        self.passes("layers.py")

    def test_folder_that_is_no_layer(self):
        self.plant("src/util/misc.c", "")
        self.finds("src/util/misc.c:1: not in a folder of a known layer", "layers.py")

    def test_public_header_that_includes_a_private_one(self):
        self.plant("include/neap/more.h", '#include "base/buf.h"')
        self.finds("which is not installed", "layers.py")


class Headers(LintTest):
    def test_complete_headers_pass(self):
        self.write(CLEAN)
        self.passes("headers.py")

    def test_header_that_needs_another(self):
        self.write({"src/base/bad.h": "size_t bad_len(void);\n"})
        self.finds("src/base/bad.h:1: does not compile alone", "headers.py")

    def test_header_without_guard(self):
        self.write({"src/base/bad.h": "struct bad {\n    int x;\n};\n"})
        self.finds("src/base/bad.h:1: does not compile alone", "headers.py")

    def test_public_header_that_needs_gnu(self):
        self.write({"include/neap/bad.h": "#include <time.h>\nint neap_x(locale_t where);\n"})
        self.finds("include/neap/bad.h:1: does not compile alone", "headers.py")


class Style(LintTest):
    def test_clean_tree_passes(self):
        self.write(CLEAN)
        self.passes("style.py")

    def test_file_without_opening_comment(self):
        self.write({"src/base/bad.c": "/* other.c - not me. */\n"})
        self.finds("src/base/bad.c:1: must open with the comment /* base/bad.c - ", "style.py")

    def test_function_of_70_lines_passes(self):
        self.write({"src/base/long.c": self.function(68)})
        self.passes("style.py")

    def test_function_of_71_lines(self):
        self.write({"src/base/long.c": self.function(69)})
        self.finds("src/base/long.c:8: long_one has 71 lines, more than 70", "style.py")

    @staticmethod
    def function(lines):
        head = '/* base/long.c - long. */\nextern "C" {\nconst char *b = "}{{";\n'
        head += "struct t {\n    int x;\n};\nint long_one(int (*f)(void), int b)\n"
        return head + "{\n" + "    if (b) { b++; }\n" * lines + "}\n}\n"

    def test_file_of_801_lines(self):
        self.write({"src/base/long.c": "/* base/long.c - long. */\n" + "\n" * 800})
        self.finds("src/base/long.c:801: 801 lines, more than 800", "style.py")

    def test_word_that_puts_off(self):
        word = "TO" + "DO"
        self.write({"lua/neap/bad.lua": f"-- {word} later\n"})
        self.finds(f"lua/neap/bad.lua:1: {word}: do it", "style.py")

    def test_test_that_sleeps(self):
        self.write({"tests/e2e/test_bad.py": "import time\ntime.sleep" + "(1)\n"})
        self.finds("tests/e2e/test_bad.py:2: time.sleep" + "(): wait for", "style.py")


class Tools(LintTest):
    def test_format(self):
        self.copy(".clang-format")
        self.write({"src/base/a.c": "int a(void)\n{\n    return 1;\n}\n"})
        self.passes("tools.py", "--tool", "format")
        self.write({"src/base/a.c": "int a(void) {\n  return 1;\n}\n"})
        self.finds("src/base/a.c:1", "tools.py", "--tool", "format")

    def compiles(self, *names):
        """Writes what CMake would, had it been told of these files."""
        root = str(self.root)
        entries = [{"directory": root, "file": name, "command": f"cc -c {name}"} for name in names]
        (self.root / "compile_commands.json").write_text(json.dumps(entries))
        return ("--build", root)

    def test_listed(self):
        self.write({"src/base/a.c": "", "tests/unit/test_a.c": ""})
        options = ("--tool", "listed", *self.compiles("src/base/a.c", "tests/unit/test_a.c"))
        self.passes("tools.py", *options)
        self.compiles("src/base/a.c")
        self.finds("tests/unit/test_a.c:1: is in no CMakeLists.txt", "tools.py", *options)

    def test_tidy(self):
        self.copy(".clang-tidy")
        self.write({"src/base/a.c": "int a(void);\nint a(void)\n{\n    return 1;\n}\n"})
        options = ("--tool", "tidy", *self.compiles("src/base/a.c"))
        self.passes("tools.py", *options)
        self.write({"src/base/a.c": "int a(int b);\nint a(int b)\n{\n    return b / 0;\n}\n"})
        self.finds("src/base/a.c:4", "tools.py", *options)

    def test_lua(self):
        self.copy(".luacheckrc")
        self.write({"examples/a.lua": 'local neap = require "neap"\nreturn { listen = neap }\n'})
        self.write({"tests/script/bad/a.lua": "this does not parse\n"})
        self.passes("tools.py", "--tool", "lua")
        self.write({"tests/script/a.lua": "leaked = 1\n"})
        self.finds("tests/script/a.lua:1", "tools.py", "--tool", "lua")

    def test_shell(self):
        self.write({"dev": "#!/bin/bash\necho hello\n"})
        self.passes("tools.py", "--tool", "shell")
        self.write({".ci/run": "#!/bin/bash\necho $1\n"})
        self.finds("SC2086", "tools.py", "--tool", "shell")


if __name__ == "__main__":
    unittest.main()
