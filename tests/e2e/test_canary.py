"""A candidate version for some new connections: shares, networks, promotion, withdrawal, --auto."""

import socket
import threading
from collections import Counter

from control import control
from neap_server import PRELUDE, NeapTest, main


def script(name, on_message=""):
    return (
        PRELUDE
        + f"""
        note("load {name}")
        return {{
          framing = "line",
          on_start = function() note("start {name}") neap.every(0.01, function() TICKS["{name}"] = true end) end,
          on_stop = function(reason) note("stop {name} " .. reason) end,
          on_connect = function(conn) return "hi {name}" end,
          on_message = function(conn, text)
            {on_message}
            return "{name} " .. text
          end,
          on_disconnect = function(conn, reason) note("gone {name} " .. reason) end,
        }}"""
    ).replace("TICKS[", "neap.keep('ticks')[")


def listening(name, *ports):
    return script(name).replace("framing =", f"listen = {{ {', '.join(map(str, ports))} }}, framing =")


class Canary(NeapTest):
    def start(self, *args):
        self.server = self.serve(script("v1"), *args)
        return self.server

    def write(self, *words):
        (self.server.folder / "main.lua").write_text(script(*words))

    def control(self, command, **arguments):
        return control(self.server, command, **arguments)

    def succeeds(self, command, **arguments):
        answer = self.control(command, **arguments)
        self.assertTrue(answer["ok"], answer)
        return answer

    def refused(self, pattern, command, **arguments):
        answer = self.control(command, **arguments)
        self.assertFalse(answer["ok"], answer)
        self.assertRegex(answer["error"], pattern)
        return answer

    def clients(self, count, source=None):
        """Connected ones, each with what it was greeted with."""
        found = []
        for _ in range(count):
            client = self.client(self.server.address, source=source)
            client.greeting = client.receive_until(b"\n").decode().split()[1]
            found.append(client)
        return found

    def say(self, client, text=b"x"):
        client.send(text + b"\n")
        return client.receive_until(b"\n").decode().split()[0]

    def served_by(self, clients):
        return Counter(self.say(client) for client in clients)

    def states(self):
        return [(row["version"], row["state"]) for row in self.succeeds("versions")["versions"]]

    def test_a_share_of_new_connections_until_it_is_promoted(self):
        self.start()
        old = self.clients(10)
        self.write("v2")
        answer = self.succeeds("reload", canary="25%")
        self.assertEqual((answer["version"], answer["previous"]), (2, 1))
        new = self.clients(40)
        self.assertEqual(Counter(client.greeting for client in new), {"v1": 30, "v2": 10})
        self.assertEqual(self.served_by(old + new), {"v1": 40, "v2": 10})
        self.assertEqual(self.states(), [(2, "canary"), (1, "serving")])
        self.refused("another reload is under way", "reload")
        answer = self.succeeds("promote")
        self.assertEqual((answer["version"], answer["previous"], answer["connections"]), (2, 1, 50))
        self.assertEqual(answer["canary"]["connections"], 10)
        self.assertGreaterEqual(answer["canary"]["hooks"], 20)
        self.assertEqual(self.served_by(old + new), {"v2": 50})
        self.assertEqual(self.clients(1)[0].greeting, "v2")
        self.assertEqual(self.states(), [(2, "serving"), (1, "kept")])
        self.refused("there is no canary", "promote")
        self.server.wait_log("stop v1 reload")
        self.server.wait_log("reloaded: version 1 -> 2 in")
        for once in ("load v2", "start v2", "stop v1 reload"):
            self.assertEqual(self.server.count_log(once), 1)

    def test_rollback_withdraws_it_and_its_connections_stay(self):
        self.start("--workers", 2)
        old = self.clients(6)
        self.write("v2")
        self.succeeds("reload", canary="50%")
        new = self.clients(20)
        self.assertTrue(any(client.greeting == "v2" for client in new))
        answer = self.succeeds("rollback")
        self.assertEqual((answer["version"], answer["previous"]), (1, 2))
        self.assertEqual(self.served_by(old + new), {"v1": 26})
        self.server.wait_log("stop v2 reload", count=2)  # in each worker
        self.assertEqual(self.states(), [(1, "serving")])
        self.write("v3")
        self.assertEqual(self.succeeds("reload")["version"], 3)  # 2 is not given again
        self.assertEqual(self.served_by(old + new), {"v3": 26})

    def test_by_the_address_of_the_peer(self):
        self.start()
        self.write("v2")
        self.succeeds("reload", canary_peer="127.0.0.64/26")
        inside = self.clients(3, source=("127.0.0.77", 0))
        outside = self.clients(3, source=("127.0.0.7", 0))
        self.assertEqual({client.greeting for client in inside}, {"v2"})
        self.assertEqual({client.greeting for client in outside}, {"v1"})
        self.assertEqual(self.succeeds("status")["canary"]["peer"], "127.0.0.64/26")

    def test_a_datagram_peer_too(self):
        self.server = self.serve(script("v1"), listen="udp://127.0.0.1:0")
        self.write("v2")
        self.succeeds("reload", canary="100%")
        client = self.client(self.server.address)
        client.socket.send(b"x")
        self.assertEqual({client.datagram(), client.datagram()}, {b"hi v2", b"v2 x"})

    def test_its_listeners_wait_for_the_promotion(self):
        self.server = self.serve(listening("v1", 0), listen=None)
        old = self.clients(2)
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            self.server.folder.joinpath("main.lua").write_text(listening("v2", 0, taken))
            self.succeeds("reload", canary="50%")
            self.refused("Address already in use", "promote")
            self.assertEqual(self.states(), [(2, "canary"), (1, "serving")])
            new = self.clients(4)
        answer = self.succeeds("promote")
        self.assertEqual(answer["listeners_opened"], [f"tcp://127.0.0.1:{taken}"])
        self.assertEqual(self.served_by(old + new), {"v2": 6})
        client = self.client(f"tcp://127.0.0.1:{taken}")
        self.assertEqual(client.receive_until(b"\n"), b"hi v2\n")

    def test_auto_promotes_what_is_no_worse(self):
        self.start()
        old = self.clients(10)
        self.write("v2")
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(self.control("reload", canary="50%", auto=True))
        )
        thread.start()
        self.until(lambda: "canary" in self.succeeds("status"))
        new = self.clients(10)
        self.until(lambda: self.served_by(new) and not thread.is_alive())
        self.assertTrue(answers[0]["ok"], answers)
        self.assertGreaterEqual(answers[0]["canary"]["hooks"], 1000)
        self.assertEqual(self.served_by(old + new), {"v2": 20})

    def test_auto_leaves_it_to_a_person_when_an_address_is_taken(self):
        self.server = self.serve(listening("v1", 0), listen=None)
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            self.server.folder.joinpath("main.lua").write_text(listening("v2", 0, taken))
            answers = []
            thread = threading.Thread(
                target=lambda: answers.append(self.control("reload", canary="50%", auto=True))
            )
            thread.start()
            self.until(lambda: "canary" in self.succeeds("status"))
            clients = self.clients(10)
            self.until(lambda: self.served_by(clients) and not thread.is_alive())
            self.assertRegex(answers[0]["error"], "Address already in use")
        # The address is free, and nobody has said "promote" since.
        self.until(lambda: self.served_by(clients) and self.succeeds("status")["canary"]["hooks"] > 3000)
        self.assertEqual(self.states(), [(2, "canary"), (1, "serving")])
        self.succeeds("promote")
        self.assertEqual(self.served_by(clients), {"v2": 10})

    def test_auto_withdraws_what_raises(self):
        self.start()
        old = self.clients(10)
        self.write("v2", "if text == 'bad' then error('no') end")
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(self.control("reload", canary="50%", auto=True))
        )
        thread.start()
        self.until(lambda: "canary" in self.succeeds("status"))
        for _ in range(30):
            for client in self.clients(2):
                client.send(b"bad\n").receive_until(b"\n")
        thread.join(30)
        self.assertFalse(answers[0]["ok"])
        self.assertRegex(
            answers[0]["error"], r"version 2 was withdrawn: \d+ errors in \d+ hooks, version 1 had 0"
        )
        self.assertEqual(answers[0]["status"], 1)
        self.assertEqual(self.served_by(old + self.clients(4)), {"v1": 14})

    def test_auto_can_be_ended_by_hand(self):
        self.start()
        self.write("v2")
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(self.control("reload", canary="50%", auto=True))
        )
        thread.start()
        self.until(lambda: "canary" in self.succeeds("status"))
        self.succeeds("promote")
        thread.join(30)
        self.assertRegex(answers[0]["error"], "by hand")
        self.assertEqual(self.served_by(self.clients(2)), {"v2": 2})

    def test_what_does_not_load_is_no_canary(self):
        self.start()
        self.server.folder.joinpath("main.lua").write_text("return { on_mesage = print }")
        self.refused("did you mean 'on_message'", "reload", canary="50%")
        self.assertEqual(self.states(), [(1, "serving")])
        self.write("v2")
        self.assertEqual(self.succeeds("reload")["version"], 2)

    def test_terms_that_make_no_sense(self):
        self.start()
        for terms in ("10", "0%", "101%", "x%", ""):
            self.refused("share of new connections", "reload", canary=terms)
        self.refused("network like", "reload", canary_peer="host/8")
        self.refused("not both", "reload", canary="10%", canary_peer="10.0.0.0/8")
        self.refused("say which share", "reload", auto=True)

    def test_the_server_stops_with_one(self):
        self.start("--workers", 2)
        clients = self.clients(4)
        self.write("v2")
        self.succeeds("reload", canary="50%")
        clients += self.clients(10)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.server.count_log("stop v2 shutdown"), 2)
        for client in clients:
            self.assertEqual(client.receive_all(), b"")

    def until(self, holds):
        """Asks again and again, which takes as long as it takes."""
        for _ in range(3000):
            if holds():
                return
        self.fail("it never holds")


if __name__ == "__main__":
    main()
