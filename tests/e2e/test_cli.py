"""The command line: help, suggestions, exit statuses, completions, the manual page."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

NEAP = os.environ["NEAP_BIN"]
COMMANDS = [
    *("run", "check"),
    *("reload", "status", "versions", "rollback", "promote", "connections", "kick", "eval"),
    *("console", "log-level", "stop"),
    *("send", "bench", "version", "help", "completion"),
]


def plain_environment():
    """Without what would change an answer, and with messages in English."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NEAP_")}
    kept.pop("POSIXLY_CORRECT", None)
    return {**kept, "LC_ALL": "C"}


class CliTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def neap(self, *words, env=None, **options):
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "errors": "surrogateescape",
            "timeout": 60,
            "cwd": self.folder,
            "env": {**plain_environment(), **(env or {})},
            **options,
        }
        return subprocess.run([NEAP, *words], **options)

    def succeeds(self, *words, **options):
        run = self.neap(*words, **options)
        self.assertEqual((run.returncode, run.stderr), (0, ""), words)
        return run.stdout

    def fails(self, status, message, *words, **options):
        """One line on standard error, and nothing on standard output."""
        run = self.neap(*words, **options)
        self.assertEqual((run.stderr, run.stdout), (f"neap: {message}\n", ""), words)
        self.assertEqual(run.returncode, status, words)

    def has_tool(self, name):
        if not shutil.which(name):
            self.skipTest(f"{name} is not there")


class Help(CliTest):
    def test_overview_lists_every_command(self):
        text = self.succeeds("help")
        listed = re.findall(r"^  ([\w-]+) {2,}\w", text[text.index("Commands:") :], re.M)
        self.assertEqual(listed, COMMANDS)
        for words in (["--help"], ["-h"]):
            self.assertEqual(self.succeeds(*words), text)

    def test_help_of_a_command_begins_with_examples(self):
        for command in COMMANDS:
            with self.subTest(command):
                text = self.succeeds("help", command)
                self.assertTrue(text.startswith(f"neap {command} - "), text)
                places = [text.index(f"\n{title}") for title in ("Examples:", "Usage:", "Flags:")]
                self.assertEqual(places, sorted(places))
                self.assertIn(f"\n  neap {command}", text[places[1] :])
                self.assertIn("  -h, --help\n", text)

    def test_help_flag_anywhere_is_help_of_the_command(self):
        for command in COMMANDS:
            text = self.succeeds("help", command)
            for words in (["--help"], ["-h"], ["x", "-h", "y"], ["--nonsense", "--help"]):
                with self.subTest(command=command, words=words):
                    self.assertEqual(self.succeeds(command, *words), text)

    def test_help_flag_without_a_command_is_help_of_run(self):
        text = self.succeeds("help", "run")
        for words in (["chat.lua", "-h"], ["-e", "x", "--help"], ["--listen", "tpc://1", "-h"]):
            with self.subTest(words):
                self.assertEqual(self.succeeds(*words), text)

    def test_help_before_a_command(self):
        self.assertEqual(self.succeeds("--help", "send"), self.succeeds("help", "send"))

    def test_lines_of_text_fit_a_terminal(self):
        for command in COMMANDS:
            for line in self.succeeds("help", command).splitlines():
                if not line.startswith("  neap"):
                    self.assertLessEqual(len(line), 80, line)

    def test_variables_stand_beside_their_flags(self):
        text = self.succeeds("help", "run")
        for name in ("LISTEN", "WORKERS", "LOG_LEVEL", "LOG_FORMAT"):
            self.assertIn(f"(NEAP_{name})", text)


class Usage(CliTest):
    def test_misspelt_command(self):
        cases = {
            "rnu": "'rnu' is neither a command nor a file; did you mean 'run'?",
            "chekc": "'chekc' is neither a command nor a file; did you mean 'check'?",
            "nonsense": "'nonsense' is neither a command nor a file; try 'neap help'",
            "": "'' is neither a command nor a file; try 'neap help'",
        }
        for word, message in cases.items():
            with self.subTest(word):
                self.fails(64, message, word)

    def test_help_of_a_misspelt_command(self):
        self.fails(64, "there is no command 'sned'; did you mean 'send'?", "help", "sned")

    def test_misspelt_flag(self):
        self.fails(
            64, "unknown flag '--lissen'; did you mean '--listen'?", "run", "--lissen", "4343"
        )
        self.fails(64, "unknown flag '--nonsense'; try 'neap help run'", "--nonsense")
        dash = "words that begin with a dash stand behind --"
        self.fails(64, f"unknown flag '-z'; {dash}; try 'neap help send'", "send", "-z")
        self.fails(64, f"unknown flag '-d'; {dash}; try 'neap help send'", "send", "1", "-dash")

    def test_flag_without_its_value_or_with_one_too_many(self):
        self.fails(64, "--workers wants N|auto after it; try 'neap help run'", "--workers")
        self.fails(64, "--json takes no value; try 'neap help check'", "check", "--json=1", "x")

    def test_bad_value_in_a_flag(self):
        unknown = "unknown transport 'tpc'; did you mean 'tcp'?"
        for words, message in (
            (["--listen", "tpc://1"], f"--listen 'tpc://1': {unknown}"),
            (["-l", "chat=tpc://1"], f"--listen 'tpc://1': {unknown}"),
            (["--workers", "0"], "--workers '0': must be a number from 1 to 256, or auto"),
            (["--log-level", "inof"], "--log-level 'inof': unknown; did you mean 'info'?"),
            (["--log-format", "xml"], "--log-format 'xml': must be text or logfmt or json"),
            (["--workers", "1", "--workers", "2"], "--workers '2': given twice"),
        ):
            with self.subTest(words):
                self.fails(64, message, *words)

    def test_bad_value_in_the_environment(self):
        unknown = "unknown transport 'tpc'; did you mean 'tcp'?"
        for name, value, message in (
            ("NEAP_LISTEN", "tcp://127.0.0.1:0 tpc://1", f"'tpc://1': {unknown}"),
            ("NEAP_WORKERS", "many", "'many': must be a number from 1 to 256, or auto"),
            ("NEAP_LOG_LEVEL", "inof", "'inof': unknown; did you mean 'info'?"),
            ("NEAP_LOG_FORMAT", "jsno", "'jsno': unknown; did you mean 'json'?"),
        ):
            with self.subTest(name):
                self.fails(64, f"{name} {message}", "run", env={name: value})

    def test_flag_wins_over_a_bad_variable(self):
        # What is wrong then is the script, which is looked for after all flags are read.
        run = self.neap("run", "--workers", "1", "none.lua", env={"NEAP_WORKERS": "many"})
        self.assertEqual(run.returncode, 66, run.stderr)

    def test_extra_arguments(self):
        for words, extra in (
            (["run", "a.lua", "b.lua"], "b.lua"),
            (["a.lua", "b.lua"], "b.lua"),
            (["check", "a.lua", "b.lua", "c.lua"], "b.lua"),
            (["version", "x"], "x"),
            (["help", "run", "check"], "check"),
            (["completion", "bash", "zsh"], "zsh"),
        ):
            with self.subTest(words):
                command = words[0] if words[0] in COMMANDS else "run"
                message = f"unexpected argument '{extra}'; try 'neap help {command}'"
                self.fails(64, message, *words)

    def test_command_behind_flags(self):
        self.fails(
            64, "the command 'run' must stand before the flags", "--workers", "2", "run", "x.lua"
        )

    def test_script_and_code_together(self):
        for command, done in (("run", "served"), ("check", "checked")):
            message = f"--eval and the script 'x.lua': only one can be {done}"
            self.fails(64, message, command, "-e", "return {}", "x.lua")

    def test_check_needs_a_script(self):
        self.fails(64, "a SCRIPT to check is missing; try 'neap help check'", "check")

    def test_missing_script_is_66_with_and_without_run(self):
        for words in (["run", "none.lua"], ["none.lua"], ["check", "none.lua"]):
            with self.subTest(words):
                run = self.neap(*words)
                self.assertEqual(run.returncode, 66, run.stderr)
                self.assertIn("none.lua", run.stderr)
                self.assertEqual(run.stdout, "")

    def test_file_named_like_nothing_else_is_a_script(self):
        (self.folder / "rnu").write_text("this is no Lua")
        self.assertEqual(self.neap("rnu").returncode, 65)

    def test_control_characters_of_an_argument_are_not_printed(self):
        self.fails(
            64,
            "'a?]0;x?b' is neither a command nor a file; try 'neap help'",
            "a\x1b]0;x\ab",
        )

    def test_long_argument_does_not_break_a_message(self):
        run = self.neap("--" + "x" * 10000)
        self.assertEqual(run.returncode, 64)
        self.assertRegex(run.stderr, r"\Aneap: unknown flag '--x+'; try 'neap help run'\n\Z")


class Version(CliTest):
    def test_text(self):
        first, *rest = self.succeeds("version").splitlines()
        self.assertRegex(first, r"\Aneap \d+\.\d+\.\d+ \(Lua 5\.4\.\d+, libev \d+\.\d+\)\Z")
        self.assertLessEqual(len(rest), 1)
        self.assertEqual(self.succeeds("--version").splitlines(), [first, *rest])

    def test_json_says_the_same(self):
        text = self.succeeds("version")
        found = json.loads(self.succeeds("version", "--json"))
        self.assertIn(
            "neap {version} (Lua {lua_release}, libev {libev_release})\n".format(**found), text
        )
        release = [int(part) for part in found["lua_release"].split(".")]
        self.assertEqual(found["lua_has_known_bugs"], release < [5, 4, 8])
        self.assertEqual("has known bugs that neap works around" in text, release < [5, 4, 8])


class Output(CliTest):
    def test_full_disk_is_an_error(self):
        for words in (["help"], ["help", "--man"], ["version"], ["completion", "zsh"]):
            with self.subTest(words), open("/dev/full", "w") as full:
                run = self.neap(*words, stdout=full)
                message = "neap: standard output: No space left on device\n"
                self.assertEqual((run.returncode, run.stderr), (1, message))

    def test_closed_output_is_an_error(self):
        run = self.neap("version", stdout=None, preexec_fn=lambda: os.close(1))
        message = "neap: standard output: Bad file descriptor\n"
        self.assertEqual((run.returncode, run.stderr), (1, message))

    def test_reader_that_went_away_is_an_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        run = self.neap("help", "--man", stdout=writer)
        os.close(writer)
        self.assertEqual((run.returncode, run.stderr), (1, "neap: standard output: Broken pipe\n"))

    def test_usage_error_with_closed_standard_error(self):
        run = self.neap("rnu", stderr=None, preexec_fn=lambda: os.close(2))
        self.assertEqual((run.returncode, run.stdout), (64, ""))


class Completion(CliTest):
    def complete(self, *words):
        """What bash offers for the last of the words, taken apart as bash does."""
        script = self.folder / "neap.bash"
        script.write_text(self.succeeds("completion", "bash"))
        program = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _neap; '
        program += 'printf "%s\\n" "${COMPREPLY[@]}"'
        run = subprocess.run(
            ["bash", "--norc", "-c", program, "bash", script, "neap", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            timeout=60,
        )
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return run.stdout.split()

    def test_each_shell_reads_its_script(self):
        for shell in ("bash", "zsh", "fish"):
            with self.subTest(shell):
                self.has_tool(shell)
                script = self.folder / "script"
                script.write_text(self.succeeds("completion", shell))
                subprocess.run([shell, "-n", script], check=True, timeout=60)

    def test_each_script_names_every_command_and_flag(self):
        for shell in ("bash", "zsh", "fish"):
            text = self.succeeds("completion", shell)
            for command in COMMANDS:
                for flag in re.findall(r"--([a-z-]+)", self.succeeds("help", command)):
                    with self.subTest(shell=shell, command=command, flag=flag):
                        self.assertIn(command, text)
                        self.assertRegex(text, rf"(--|-l ){flag}\b")

    def test_unknown_shell(self):
        self.fails(64, "completion for 'bsh': unknown; did you mean 'bash'?", "completion", "bsh")
        self.fails(
            64, "completion for 'tcsh': must be bash or zsh or fish", "completion", "tcsh"
        )
        self.fails(64, "completion needs a shell: bash, zsh or fish", "completion")

    def test_commands(self):
        self.has_tool("bash")
        self.assertEqual(self.complete("ru"), ["run"])
        self.assertEqual(self.complete("r"), ["run", "reload", "rollback"])
        self.assertEqual(self.complete("he"), ["help"])
        self.assertEqual(self.complete("help", ""), COMMANDS)
        self.assertEqual(self.complete("completion", "z"), ["zsh"])
        self.assertEqual(self.complete("log-level", ""), ["debug", "info", "warn", "error"])

    def test_scripts_as_commands_and_operands(self):
        self.has_tool("bash")
        (self.folder / "relay.lua").touch()
        self.assertEqual(self.complete("re"), ["reload", "relay.lua"])
        self.assertEqual(self.complete("check", "re"), ["relay.lua"])
        self.assertEqual(self.complete("check", "--json", "re"), ["relay.lua"])
        self.assertEqual(self.complete("send", "re"), [])

    def test_flags_of_the_command_in_question(self):
        self.has_tool("bash")
        self.assertEqual(self.complete("run", "--log-"), ["--log-level", "--log-format"])
        self.assertEqual(self.complete("--log-"), ["--log-level", "--log-format"])
        self.assertEqual(self.complete("send", "--t"), ["--timeout"])
        self.assertEqual(self.complete("version", "--"), ["--json", "--help"])

    def test_values_of_flags(self):
        self.has_tool("bash")
        self.assertEqual(self.complete("run", "--log-level", "d"), ["debug"])
        self.assertEqual(self.complete("--log-format", "=", "l"), ["logfmt"])
        self.assertEqual(self.complete("--log-format", "="), ["text", "logfmt", "json"])
        self.assertEqual(self.complete("check", "--workers", ""), ["auto"])
        self.assertEqual(self.complete("run", "--listen", ""), [])

    def test_words_of_the_table_are_those_that_are_taken(self):
        self.has_tool("bash")
        for flag in ("--log-level", "--log-format", "--workers"):
            for word in self.complete("run", flag, ""):
                with self.subTest(flag=flag, word=word):
                    self.assertEqual(self.neap("run", flag, word, "none.lua").returncode, 66)


class Manual(CliTest):
    def test_sections_are_there_in_order(self):
        text = self.succeeds("help", "--man")
        self.assertTrue(text.startswith(".TH NEAP 1 "))
        sections = re.findall(r"^\.SH (.*)$", text, re.M)
        expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "ENVIRONMENT"]
        self.assertEqual(sections, [*expected, '"EXIT STATUS"', "EXAMPLES", "FILES"])

    def test_names_every_command_flag_and_variable(self):
        text = self.succeeds("help", "--man").replace("\\-", "-")
        for command in COMMANDS:
            self.assertIn(f".SS {command} ", text)
            shown = self.succeeds("help", command)
            for word in re.findall(r"^ .*?(--[a-z-]+)", shown[shown.index("Flags:") :], re.M):
                self.assertIn(f"\\fB{word}\\fR", text)
            for name in re.findall(r"NEAP_\w+", shown):
                self.assertEqual(text.count(f".TP\n.B {name}\n"), 1, name)

    def test_no_line_is_taken_for_a_request(self):
        known = {"TH", "SH", "SS", "TP", "PP", "B", "BR", "br", "RS", "RE", "nf", "fi"}
        for line in self.succeeds("help", "--man").splitlines():
            if line[:1] in (".", "'"):
                self.assertIn(line[1:].split(" ")[0], known, line)

    def test_is_clean_for_groff(self):
        self.has_tool("groff")
        run = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"],
            input=self.succeeds("help", "--man"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        self.assertEqual((run.returncode, run.stdout), (0, ""))

    def test_is_clean_for_mandoc(self):
        self.has_tool("mandoc")
        run = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "error"],
            input=self.succeeds("help", "--man"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        self.assertEqual((run.returncode, run.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
