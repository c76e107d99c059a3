"""What an installation puts where, and that it works from there."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

BINARY = Path(os.environ["NEAP_BIN"])
SOURCE = Path(os.environ["NEAP_SOURCE_DIR"])


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.prefix = Path(folder.name) / "prefix"
        subprocess.run(
            ["cmake", "--install", BINARY.parent, "--prefix", cls.prefix],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def test_binary_runs_from_its_new_place(self):
        run = subprocess.run(
            [self.prefix / "bin/neap", "version"], check=True, text=True, stdout=subprocess.PIPE
        )
        self.assertIn("neap", run.stdout)

    def test_scripts_and_annotations_are_there(self):
        for file in (SOURCE / "lua").rglob("*.lua"):
            installed = self.prefix / "share/neap" / file.relative_to(SOURCE)
            with self.subTest(installed):
                self.assertEqual(installed.read_bytes(), file.read_bytes())

    def test_licence_and_examples_are_there(self):
        self.assertTrue((self.prefix / "share/doc/neap/LICENSE").is_file())
        self.assertTrue((self.prefix / "share/doc/neap/examples").is_dir())

    def test_manual_and_completions_are_there(self):
        if not (BINARY.parent / "share").is_dir():
            self.skipTest("an instrumented build does not write them")
        for name, words in (
            ("man/man1/neap.1", ".TH"),
            ("bash-completion/completions/neap", "complete"),
            ("zsh/vendor-completions/_neap", "#compdef neap"),
            ("fish/vendor_completions.d/neap.fish", "complete -c neap"),
        ):
            with self.subTest(name):
                self.assertIn(words, (self.prefix / "share" / name).read_text())


if __name__ == "__main__":
    unittest.main()
