"""Reload under load: hundreds of them, a third broken, while clients talk all the time.

P6: after a failed one everything works. P7: no connection is closed, no byte lost or reordered.
"""

import random
import resource
import threading

from control import Control, control
from neap_server import PRELUDE, Client, is_sanitized, main
from reload_test import ReloadTest, answering, until

RELOADS = 60 if is_sanitized() else 200
IDLE = 200
TALKERS = 16 if is_sanitized() else 32
SLACK = 1024  # KiB

# Answers a line with its version and the line. A callback of a version that has ended would
# note it: timers, and hooks that find another version serving.
TALK = PRELUDE + """
    local mine = neap.script.version
    local kept = neap.keep("serving")
    neap.every(0.01, function()
      if kept.version ~= mine then note("a timer of an ended version", mine) end
    end)
    return { framing = "line", hook_timeout = 10, workers = 2, max_message = "2M",
      on_start = function() neap.after(0, function() kept.version = mine end) end,
      on_message = function(conn, text)
        local name = text:match("^%d%d%d%d%d%d%d%d")
        if name and (conn.data.name or name) ~= name then note("not its data") end
        conn.data.name = name
        return mine .. ":" .. text
      end,
      on_disconnect = function(_, reason) note("end", reason) end,
    } -- NUMBER"""
BROKEN = [
    "return { on_message = ",
    "error('at run time')",
    "if require 'neap'.worker == 2 then error('one worker') end " + TALK,
    TALK.replace("on_start = function()", "on_start = function() error('no')"),
    TALK.replace("return {", "return { on_mesage = 1,", 1),
    "local s = 'x' while true do s = s .. s end",
]


class Talker(threading.Thread):
    """A client that sends lines of many lengths, several at once and cut anywhere, and checks
    each byte of each answer, and that versions only grow."""

    def __init__(self, address, number, ended):
        super().__init__(daemon=True)
        self.client = Client(address)
        self.random = random.Random(number)
        self.ended = ended
        self.name_of = b"%08d" % number
        self.lines = 0
        self.version = 0
        self.wrong = None
        self.start()

    def run(self):
        try:
            while not self.ended.is_set():
                self.talk()
        except BaseException as error:
            self.wrong = f"{type(error).__name__}: {error}, after {self.lines} lines"
        self.client.close()

    def talk(self):
        lines = []
        for _ in range(self.random.randrange(1, 4)):
            length = self.random.choice((1, 10, 100, 1000, 5000))
            lines.append(self.name_of + b"%d " % self.lines + b"x" * length)
            self.lines += 1
        data = b"".join(line + b"\n" for line in lines)
        cut = self.random.randrange(len(data))
        self.client.send(data[:cut])
        if self.random.random() < 0.2:
            self.ended.wait(0.01)  # half a frame for a while
        self.client.send(data[cut:])
        for line in lines:
            self.check(line, self.client.receive_until(b"\n"))

    def check(self, line, answer):
        version, _, text = answer.partition(b":")
        if text != line + b"\n":
            raise AssertionError(f"{answer[:60]!r} instead of {line[:60]!r}")
        if int(version) < self.version:
            raise AssertionError(f"version {int(version)} after {self.version}")
        self.version = int(version)


class Comer(threading.Thread):
    """New clients, all the time."""

    def __init__(self, address, ended):
        super().__init__(daemon=True)
        self.address = address
        self.ended = ended
        self.count = 0
        self.wrong = None
        self.start()

    def run(self):
        try:
            while not self.ended.is_set():
                with Client(self.address) as client:
                    answer = client.send(b"hello\n").receive_until(b"\n")
                    if not answer.endswith(b":hello\n"):
                        raise AssertionError(f"{answer!r}")
                    client.half_close()
                    if client.receive_all():
                        raise AssertionError("more than was asked for")
                self.count += 1
                self.ended.wait(0.01)
        except BaseException as error:
            self.wrong = f"{type(error).__name__}: {error}, client {self.count}"


class Load(ReloadTest):
    def setUp(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def test_reloads_while_clients_talk(self):
        server = self.serve(TALK)
        idle = [self.client(server.address) for _ in range(IDLE)]
        asking = self.client(server.address)
        ended = threading.Event()
        threads = [Talker(server.address, number, ended) for number in range(TALKERS)]
        threads += [Comer(server.address, ended) for _ in range(2)]
        self.addCleanup(ended.set)
        good = 1
        for number in range(RELOADS):
            if number % 3 == 2:
                self.edit(server, BROKEN[number // 3 % len(BROKEN)])
                self.assertEqual(control(server, "reload")["status"], 65)
            else:
                good += 1
                answer = self.reload(server, TALK.replace("NUMBER", str(number)))
                self.assertEqual(answer["version"], good)
                self.assertGreaterEqual(answer["connections"], IDLE + TALKERS)
            # The next message: this client's, and each that is sent from now on.
            asking.send(b"now\n")
            self.assertEqual(asking.receive_until(b"\n"), b"%d:now\n" % good)
            if number % 10 == 0:
                idle[number % IDLE].send(b"idle\n")
                answer = idle[number % IDLE].receive_until(b"\n")
                self.assertEqual(answer, b"%d:idle\n" % good)
            self.assertEqual([one.wrong for one in threads if one.wrong], [])
        ended.set()
        for thread in threads:
            thread.join(30)
        self.assertEqual([one.wrong for one in threads if one.wrong], [])
        for client in idle:
            client.send(b"still here\n")
        for client in idle:
            self.assertEqual(client.receive_until(b"\n"), b"%d:still here\n" % good)
        talked = [one for one in threads if isinstance(one, Talker)]
        self.assertGreater(min(one.lines for one in talked), 10)
        # Only those who came anew and went by themselves have ended.
        came = sum(one.count for one in threads if isinstance(one, Comer))
        self.assertGreater(came, 10)
        until(lambda: len(server.events()) >= came + TALKERS)  # who have ended by now
        events = server.events()
        self.assertEqual(set(events), {"end eof"})
        self.assertEqual(len(events), came + TALKERS)

    def test_a_broadcast_of_reloads_from_several_who_ask(self):
        """Each is answered: done, or another one is under way."""
        server = self.serve(TALK)
        ended = threading.Event()
        talkers = [Talker(server.address, number, ended) for number in range(4)]
        self.addCleanup(ended.set)

        def ask():
            done = 0
            with Control(server) as one:
                for _ in range(30):
                    answer = one.send("reload").answer()
                    if answer["ok"]:
                        done += 1
                    elif answer["code"] != "EBUSY":
                        raise AssertionError(answer)
            return done

        asked = [self.in_background(ask) for _ in range(4)]
        done = sum(result() for result in asked)
        self.assertEqual(self.version(server), 1 + done)
        ended.set()
        for talker in talkers:
            talker.join(30)
            self.assertIsNone(talker.wrong)


class Flat(ReloadTest):
    """Nothing of a version is left when it has ended."""

    BEFORE, AFTER = (20, 100) if is_sanitized() else (200, 1000)

    def script(self, number):
        """With all that a version can make: timers, kept tables, modules, coroutines."""
        return answering(
            number,
            before="""local m = require "m"
                local kept = neap.keep("counts", { n = 0 })
                local big = {} for i = 1, 200 do big[i] = ("y"):rep(100) .. i end
                local co = coroutine.wrap(function() coroutine.yield(big) end) co()
                for i = 1, 5 do neap.every(60, function() return big, co end) end""",
            hooks="""on_start = function() neap.after(60, function() return big end) end,
                on_stop = function() kept.n = kept.n + 1 end,
                on_connect = function(conn) conn.data.text = m.text end""",
        )

    def reload_until(self, server, one, last):
        client = self.client(server.address)
        for number in range(self.version(server) + 1, last + 1):
            if number % 50 == 0:
                client.close()
                client = self.client(server.address)
            self.edit(server, self.script(number))
            answer = one.send("reload").answer()
            self.assertEqual((answer["ok"], answer.get("version")), (True, number), answer)
            self.says(client, b"%d" % number)
            if number % 3 == 0:
                self.edit(server, "error('broken') --")
                self.assertFalse(one.send("reload").answer()["ok"])
        client.close()

    def test_memory_and_descriptors(self):
        server = self.serve(self.script(1), files={"m.lua": "return { text = ('m'):rep(1000) }"})
        kept = [self.client(server.address) for _ in range(20)]
        for client in kept:
            self.says(client, b"1")
        with Control(server) as one:
            self.reload_until(server, one, self.BEFORE)
            memory, descriptors = server.status_field("VmRSS"), server.descriptors()
            threads = server.status_field("Threads")
            lua = one.send("status").answer()["workers"][0]["lua_memory"]
            self.reload_until(server, one, self.AFTER)
            now = server.status_field("VmRSS")
            if not is_sanitized():  # it keeps what was freed for a while
                self.assertLess(now, memory * 1.05 + SLACK)
            self.assertLessEqual(server.descriptors(), descriptors + 1)
            lua_now = one.send("status").answer()["workers"][0]["lua_memory"]
            self.assertLess(lua_now, lua * 1.5 + (1 << 20))
            rows = one.send("versions").answer()["versions"]
        self.assertEqual([row["state"] for row in rows], ["serving"] + ["kept"] * 5)
        for client in kept:
            self.says(client, b"%d" % self.AFTER)
        self.assertEqual(server.status_field("Threads"), threads)


if __name__ == "__main__":
    main()
