"""What the answer to a reload tells: figures, what was ignored, warnings."""

from control import control
from neap_server import NeapTest, main


class Report(NeapTest):
    def start(self, text, *args, **options):
        self.server = self.serve(text, *args, **options)

    def control(self, command, **arguments):
        return control(self.server, command, **arguments)

    def reload(self, text):
        (self.server.folder / "main.lua").write_text(text)
        answer = self.control("reload")
        self.assertTrue(answer["ok"], answer)
        return answer

    def test_figures(self):
        self.start(
            "local neap = require 'neap' for i = 1, 3 do neap.every(100, print) end return {}",
            "--workers",
            2,
        )
        self.client(self.server.address).send(b"x")
        self.server.wait_log("ready")
        answer = self.reload("return { on_message = function() return 'y' end }")
        self.assertEqual((answer["previous"], answer["version"]), (1, 2))
        self.assertEqual(answer["timers_ended"], 6)  # three in each worker
        self.assertEqual(answer["files_changed"], ["main.lua"])
        self.assertEqual(answer["warnings"], [])
        self.assertGreater(answer["ms"], 0)

    def test_what_cannot_change(self):
        self.start("return { listen = 'tcp://127.0.0.1:0?backlog=7' }", listen=None)
        answer = self.reload(
            "return { workers = 3, log_format = 'json', listen = 'tcp://127.0.0.1:0?backlog=9' }"
        )
        ignored = {row["option"]: row["why"] for row in answer["ignored"]}
        self.assertEqual(set(ignored), {"workers", "log_format", self.server.address})
        self.assertIn("restart it", ignored["workers"])

    def test_more_workers_and_a_new_address(self):
        self.start("return { services = { a = { listen = 'tcp://127.0.0.1:0' } } }", listen=None)
        text = """return { workers = 3, services = {
          a = { listen = 'tcp://127.0.0.1:0', on_message = function() return 'a' end },
          b = { listen = 'tcp://127.0.0.2:0', on_message = function() return 'b' end } } }"""
        for _ in range(2):  # told each time
            answer = self.reload(text)
            self.assertEqual([row["option"] for row in answer["ignored"]], ["workers"])
        rows = self.control("status")["listen"]
        self.assertEqual(sorted(row["service"] for row in rows), ["a", "b"])
        for row in rows:
            for _ in range(8):  # nobody is left waiting at a socket without a worker
                self.assertEqual(self.client(row["address"]).ask(b"x"), row["service"].encode())

    def test_log(self):
        self.start("return {}")
        self.reload("return { on_message = print }")
        self.server.wait_log("level=info msg=.reloaded: version 1 -> 2 in ")
        (self.server.folder / "main.lua").write_text("retrun {}")
        error = self.control("reload")["error"]
        self.assertFalse(error.endswith("\n"))
        self.server.wait_log("level=error msg=.reload failed, version 2 goes on: error: ")
        self.control("rollback")
        self.server.wait_log("reloaded: version 2 -> 3 in ")

    def test_log_level_that_was_asked_for_stays(self):
        self.start("return { log_level = 'warn' }")
        self.assertEqual(self.control("log-level", level="debug")["previous"], "warn")
        self.reload("return { log_level = 'error' }")
        self.assertEqual(self.control("log-level", level="info")["previous"], "debug")
        options = self.control("status", effective=True)["options"]
        found = {row["name"]: (row["value"], row["origin"]) for row in options}
        self.assertEqual(found["log_level"], ("info", "log-level"))
        self.assertEqual(found["max_connections"][1], "default")

    def test_eval_has_neap(self):
        self.start("return {}", "--workers", 2)
        self.assertEqual(self.control("eval", code="neap.worker", worker=2)["results"], ["2"])

    def test_functions_in_conn_data(self):
        text = """return { framing = "line",
          on_message = function(conn, text)
            conn.data.list = { { function() return print end }, function() return print end, 5 }
            conn.data.self = conn.data
            return text
          end }"""
        self.start(text)
        client = self.client(self.server.address)
        client.ask(b"x\n")
        answer = self.reload(text + " ")
        self.assertRegex(answer["warnings"][0], r"^conn.data holds functions .* \(2 found\)")
        rows = {row["version"]: row for row in self.control("versions")["versions"]}
        self.assertEqual((rows[1]["functions"], rows[2]["functions"]), (2, 0))
        client.ask(b"x\n")
        self.assertIn("(2 found)", self.reload(text)["warnings"][0])  # of version 2, now old

    def test_plain_data_is_no_reason_to_warn(self):
        text = """local function f() return print end
        return { framing = "line",
          on_message = function(conn, text) conn.data.n = { 1, "x", { y = 2 } } f() return text end }"""
        self.start(text)
        self.client(self.server.address).ask(b"x\n")
        self.assertEqual(self.reload(text + " ")["warnings"], [])

    def test_globals(self):
        self.start("return {}")
        answer = self.reload("helper = function() end count = 1 return {}")
        self.assertEqual(len(answer["warnings"]), 1)
        self.assertRegex(answer["warnings"][0], r"globals were written \((helper, count|count, helper)\)")

    def test_a_hook_that_is_gone(self):
        self.start("return { on_message = function() return 'x' end }")
        self.assertEqual(self.client(self.server.address).ask(b"a"), b"x")
        client = self.client(self.server.address).send(b"a")
        self.assertEqual(client.receive(1), b"x")
        answer = self.reload("return {}")
        self.assertRegex(answer["warnings"][0], "^the hook on_message is gone")

    def test_a_service_that_is_gone(self):
        self.start(
            "return { services = { a = { listen = 0, on_message = function() return 'a' end }, "
            "b = { listen = 0 } } }",
            listen=None,
        )
        client = self.client(self.server.addresses[0]).send(b"1")
        self.assertEqual(client.receive(1), b"a")
        answer = self.reload("return { services = { b = { listen = 0 } } }")
        self.assertEqual(len(answer["listeners_closed"]), 1)
        self.assertRegex(answer["warnings"][0], "a service is gone, and has connections")
        client.send(b"2")
        self.assertEqual(client.receive(1), b"a")  # it keeps the hooks it had
        self.assertEqual(
            [(row["version"], row["state"]) for row in self.control("versions")["versions"]],
            [(2, "serving"), (1, "held")],
        )


if __name__ == "__main__":
    main()
