"""`neap console`: lines from a pipe, and from a terminal where they can be edited."""

import json
import signal
import subprocess
import termios

from fake_control import NO_ANSWER, REFUSED, ControlTest
from neap_server import NEAP, SANITIZER, main


class Console(ControlTest):
    def results(self, *results):
        return {"ok": True, "results": list(results), "output": []}

    def codes(self, server):
        return [request["code"] for request in server.requests()]

    def test_lines_from_a_pipe(self):
        server = self.fake(self.results("2"), self.results("3", "4"))
        self.says(0, "2\n3\n4\n", "", "console", input=b"1+1\n\n  3, 4 \t\n")
        self.assertEqual(
            server.requests(),
            [{"command": "eval", "code": "1+1"}, {"command": "eval", "code": "3, 4"}],
        )
        self.assertEqual(server.connections, 1)

    def test_last_line_without_a_newline(self):
        server = self.fake(self.results("2"))
        self.says(0, "2\n", "", "console", "--worker", "3", input=b"1+1")
        self.assertEqual(server.requests(), [{"command": "eval", "code": "1+1", "worker": 3}])

    def test_exit_ends_it(self):
        server = self.fake(self.results("1"))
        self.says(0, "1\n", "", "console", input=b"1\n exit \n2\n")
        self.assertEqual(self.codes(server), ["1"])

    def test_no_line_at_all(self):
        self.fake()
        self.says(0, "", "", "console", input=b"")

    def test_error_does_not_end_it_but_is_the_exit_status(self):
        server = self.fake(REFUSED, self.results("2"))
        self.says(66, "2\n", "no such thing\n", "console", input=b"oops(\n2\n")
        self.assertEqual(self.codes(server), ["oops(", "2"])

    def test_line_that_is_not_utf8_is_passed_over(self):
        server = self.fake(self.results("2"))
        self.says(64, "2\n", "neap: line: must be UTF-8\n", "console", input=b"\xff\n2\n")
        self.assertEqual(self.codes(server), ["2"])

    def test_server_that_goes_away_ends_a_pipe(self):
        self.fake(self.results("1"), NO_ANSWER, self.results("3"))
        message = "neap: the server closed the connection without an answer\n"
        self.says(74, "1\n", message, "console", input=b"1\n2\n3\n")

    def test_json(self):
        self.fake(self.results("1"), REFUSED)
        run = self.neap("console", "--json", input=b"1\n2\n")
        self.assertEqual((run.returncode, run.stderr), (66, ""))
        answers = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertEqual(answers, [self.results("1"), REFUSED])

    def test_answer_comes_before_the_next_line_is_there(self):
        self.fake(self.results("1"), self.results("2"))
        process = subprocess.Popen(
            [NEAP, "console"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment(),
            bufsize=0,
        )
        with process:
            for line in (b"1\n", b"2\n"):
                process.stdin.write(line)
                self.assertEqual(process.stdout.readline(), line)
        self.assertEqual(process.returncode, 0)

    def test_line_edited_on_a_terminal(self):
        server = self.fake(self.results("three"), self.results("again"))
        terminal = self.terminal("console")
        terminal.wait_for_prompt()
        terminal.type("+22\x7f\x011\r")  # rubs out the last 2, goes to the start, inserts a 1
        terminal.wait_for("three\r\n")
        terminal.wait_for_prompt()
        terminal.type("\x1b[A\r")  # the line before
        terminal.wait_for("again\r\n")
        terminal.wait_for_prompt()
        terminal.type("\x04")
        self.assertEqual(terminal.end(), 0)
        self.assertNotRegex(terminal.text, SANITIZER)
        self.assertEqual(self.codes(server), ["1+2", "1+2"])
        self.assertEqual(server.connections, 1)
        kept = sorted(path.name for path in self.runtime.iterdir())
        self.assertEqual(kept, ["neap"], "no history is written")

    def test_characters_beyond_ascii_on_a_terminal(self):
        server = self.fake(self.results("ok"))
        terminal = self.terminal("console", LC_ALL="C.UTF-8")
        terminal.wait_for_prompt()
        terminal.type("'m\u00f6\u00f6\x7fwe'\r")
        terminal.wait_for("ok\r\n")
        terminal.wait_for_prompt()
        terminal.type("exit\r")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(self.codes(server), ["'m\u00f6we'"])

    def test_errors_do_not_end_a_terminal(self):
        server = self.fake(REFUSED, NO_ANSWER, self.results("back"))
        terminal = self.terminal("console")
        for code, said in (("a", "no such thing"), ("b", "without an answer"), ("c", "back")):
            terminal.wait_for_prompt()
            terminal.type(code + "\r")
            terminal.wait_for(said + "\r\n")
        terminal.wait_for_prompt()
        terminal.type("exit\r")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(self.codes(server), ["a", "b", "c"])
        self.assertEqual(server.connections, 2)

    def test_interrupt_leaves_the_terminal_as_it_was(self):
        self.fake(self.results())
        terminal = self.terminal("console")
        terminal.wait_for_prompt()
        terminal.type("half a li\x03")
        self.assertEqual(terminal.end(), -signal.SIGINT)
        self.assertTrue(termios.tcgetattr(terminal.master)[3] & termios.ICANON)


if __name__ == "__main__":
    main()
