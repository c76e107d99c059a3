"""--watch: to save is to reload, however an editor saves.

P6: what does not load is told once, in full, and again only when it changes.
"""

import os
import signal
import threading
from pathlib import Path

from control import control
from neap_server import Server, main
from reload_test import ReloadTest, answering, until


class WatchTest(ReloadTest):
    def watch(self, script, **options):
        return self.serve(script, "--watch", **options)

    def reloaded(self, server, version):
        server.wait_log(f'"reloaded: version {version - 1} -> {version} in')

    def settled(self, server, script, tag):
        """Nothing more has come when another edit has been told."""
        version = self.version(server) + 1
        self.replace(server.folder / "main.lua", script)
        self.reloaded(server, version)
        self.says(self.client(server.address), tag)

    def replace(self, path, text):
        """As most editors save: another file takes the name."""
        beside = path.with_name(path.name + "~")
        beside.write_text(text)
        beside.rename(path)


class Saves(WatchTest):
    def test_it_is_told_by_status(self):
        self.assertTrue(control(self.watch(answering(1)), "status")["watch"])
        self.assertFalse(control(self.serve(answering(1)), "status")["watch"])

    def test_without_it_nothing_is_reloaded(self):
        server = self.serve(answering(1))
        self.edit(server, answering(2))
        server.interrupt(signal.SIGHUP)
        self.reloaded(server, 2)
        self.edit(server, answering(3))
        threading.Event().wait(0.2)
        self.says(self.client(server.address), b"2")

    def test_what_was_rolled_back_does_not_come_again_by_itself(self):
        server = self.watch(answering(1))
        self.edit(server, answering(2))
        self.reloaded(server, 2)
        self.edit(server, answering(3))
        self.reloaded(server, 3)
        for number, tag in ((4, b"2"), (5, b"3"), (6, b"2")):
            self.succeeds(control(server, "rollback"))
            os.utime(server.folder / "main.lua")
            threading.Event().wait(0.2)
            self.assertEqual(self.version(server), number)
            self.says(self.client(server.address), tag)
        self.edit(server, answering(1))  # is other than what was there
        self.reloaded(server, 7)
        self.edit(server, answering(3))
        self.reloaded(server, 8)
        self.says(self.client(server.address), b"3")

    def test_written_in_place(self):
        server = self.watch(answering(1))
        client = self.client(server.address)
        for number in range(2, 6):
            self.edit(server, answering(number))
            self.reloaded(server, number)
            self.says(client, b"%d" % number)

    def test_renamed_over(self):
        server = self.watch(answering(1))
        client = self.client(server.address)
        for number in range(2, 6):
            self.replace(server.folder / "main.lua", answering(number))
            self.reloaded(server, number)
            self.says(client, b"%d" % number)

    def test_moved_away_and_written_anew(self):
        """As vim does with backups."""
        server = self.watch(answering(1))
        path = server.folder / "main.lua"
        for number in range(2, 5):
            path.rename(server.folder / "main.lua~")
            path.write_text(answering(number))
            until(lambda: self.version(server) == number)
        self.says(self.client(server.address), b"4")
        self.assertEqual(server.count_log("reload failed"), 0)

    def test_written_in_pieces(self):
        """Half a file is not loaded while the rest is being written."""
        server = self.watch(answering(1))
        text = answering(2)
        with open(server.folder / "main.lua", "w") as file:
            for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
                file.write(piece)
                file.flush()
        self.reloaded(server, 2)
        self.says(self.client(server.address), b"2")
        self.assertEqual(server.count_log("reload failed"), 0)

    def test_many_in_a_row_end_with_the_last(self):
        server = self.watch(answering(1))
        for number in range(2, 50):
            self.replace(server.folder / "main.lua", answering(number))
        client = self.client(server.address)
        until(lambda: client.send(b"x\n").receive_until(b"\n") == b"49:x\n")
        self.assertEqual(server.count_log("reload failed"), 0)

    def test_the_same_bytes_do_not_reload(self):
        server = self.watch(answering(1))
        for _ in range(3):
            self.replace(server.folder / "main.lua", answering(1))
            os.utime(server.folder / "main.lua")
            threading.Event().wait(0.1)
        self.settled(server, answering(2), b"2")
        self.assertEqual(server.count_log("reloaded"), 1)

    def test_other_files_of_the_folder_do_not_matter(self):
        server = self.watch(answering(1), files={"other.lua": "return 1"})
        self.edit(server, "return {", "other.lua")
        self.edit(server, "return {", "new.lua")
        self.settled(server, answering(2), b"2")
        self.assertEqual(server.count_log("reload"), 1)

    def test_what_was_saved_while_it_started(self):
        """Between the first reading of the file and the first look at its folder."""
        folder = self.folder()
        script = folder / "app.lua"
        loading = f"io.open('{folder}/loading', 'a'):close() "
        wait = "local stop = neap.now() + 0.3 while neap.now() < stop do end"
        script.write_text(answering(1, before=loading + wait))
        server = Server(script, "--watch")
        self.addCleanup(self.finish, server)
        until((folder / "loading").exists)
        self.replace(script, answering(2))
        server.wait_ready()
        self.reloaded(server, 2)
        self.says(self.client(server.address), b"2")


class Modules(WatchTest):
    SCRIPT = answering(
        "t",
        before="local m = require 'm'",
        hooks="on_connect = function() return m.word end",
    )

    def word(self, server):
        return self.client(server.address).receive_until(b"\n")

    def test_a_required_module(self):
        server = self.watch(self.SCRIPT, files={"m.lua": "return { word = 'one' }"})
        self.assertEqual(self.word(server), b"one\n")
        self.edit(server, "return { word = 'two' }", "m.lua")
        self.reloaded(server, 2)
        self.assertEqual(self.word(server), b"two\n")
        self.replace(server.folder / "m.lua", "return { word = 'three' }")
        self.reloaded(server, 3)
        self.assertEqual(self.word(server), b"three\n")

    def test_one_that_the_next_version_requires(self):
        server = self.watch(answering(1))
        (server.folder / "m.lua").write_text("return { word = 'one' }")
        self.replace(server.folder / "main.lua", self.SCRIPT)
        self.reloaded(server, 2)
        self.edit(server, "return { word = 'two' }", "m.lua")
        self.reloaded(server, 3)
        self.assertEqual(self.word(server), b"two\n")

    def test_one_that_is_not_required_any_more(self):
        server = self.watch(self.SCRIPT, files={"m.lua": "return { word = 'one' }"})
        self.replace(server.folder / "main.lua", answering(2))
        self.reloaded(server, 2)
        self.edit(server, "return {", "m.lua")
        self.settled(server, answering(3), b"3")
        self.assertEqual(server.count_log("reload failed"), 0)

    def test_one_that_is_missing_until_it_is_saved(self):
        server = self.watch(answering(1))
        self.replace(server.folder / "main.lua", self.SCRIPT)
        server.wait_log("reload failed, version 1 goes on.*module 'm' not found")
        (server.folder / "m.lua").write_text("return { word = 'here' }")
        self.reloaded(server, 2)
        self.assertEqual(self.word(server), b"here\n")

    def test_in_a_folder_below(self):
        script = self.SCRIPT.replace("'m'", "'lib.m'")
        folder = self.folder()
        (folder / "lib").mkdir()
        (folder / "lib" / "m.lua").write_text("return { word = 'one' }")
        server = self.watch(script, folder=folder)
        self.replace(folder / "lib" / "m.lua", "return { word = 'two' }")
        self.reloaded(server, 2)
        self.assertEqual(self.word(server), b"two\n")


class Broken(WatchTest):
    def test_it_is_told_once_in_full_and_the_old_one_serves(self):
        server = self.watch(answering(1))
        client = self.client(server.address)
        self.replace(server.folder / "main.lua", "return {\n  on_message = 1,\n}\n")
        found = server.wait_log('level=error msg="reload failed, version 1 goes on: (.*)')
        self.assertIn("'on_message' must be a function", found.group(1))
        self.says(client, b"1")
        # Again the same: saved twice, touched, renamed.
        for _ in range(3):
            self.replace(server.folder / "main.lua", "return {\n  on_message = 1,\n}\n")
            threading.Event().wait(0.1)
        self.assertEqual(server.count_log("reload failed"), 1)
        # Another mistake is another story.
        self.replace(server.folder / "main.lua", "return {\n  on_message = 2,\n")
        server.wait_log("reload failed, version 1 goes on.*unexpected symbol")
        self.says(client, b"1")
        self.replace(server.folder / "main.lua", answering(2))
        self.reloaded(server, 2)
        self.says(client, b"2")
        self.assertEqual(server.count_log("reload failed"), 2)

    def test_the_same_mistake_after_a_good_one_is_told_again(self):
        server = self.watch(answering(1))
        for number in (2, 3):
            self.replace(server.folder / "main.lua", "error('again')")
            server.wait_log("reload failed.*again", count=number - 1)
            self.replace(server.folder / "main.lua", answering(number))
            self.reloaded(server, number)

    def test_back_to_what_is_served(self):
        """The bytes that serve: nothing to reload, and nothing is wrong any more."""
        server = self.watch(answering(1))
        for count in (1, 2):
            self.replace(server.folder / "main.lua", "error('again')")
            server.wait_log("reload failed.*again", count=count)
            self.replace(server.folder / "main.lua", answering(1))
            threading.Event().wait(0.2)
        self.settled(server, answering(2), b"2")
        self.assertEqual(server.count_log("reloaded"), 1)

    def test_by_hand_it_is_told_each_time(self):
        server = self.watch(answering(1))
        self.replace(server.folder / "main.lua", "error('by hand')")
        server.wait_log("reload failed.*by hand")
        server.interrupt(signal.SIGHUP)
        server.wait_log("reload failed.*by hand", count=2)
        self.fails(control(server, "reload"), 65, "by hand")

    def test_one_that_fails_in_a_worker(self):
        server = self.watch(answering(1, options="workers = 2,"))
        bad = answering("bad", hooks="on_start = function() error('not yet') end")
        self.replace(server.folder / "main.lua", bad)
        server.wait_log("reload failed, version 1 goes on.*not yet")
        self.replace(server.folder / "main.lua", answering(2))
        self.reloaded(server, 2)

    def test_the_file_goes_and_comes_back(self):
        server = self.watch(answering(1))
        path = server.folder / "main.lua"
        path.unlink()
        server.wait_log("reload failed, version 1 goes on.*No such file")
        self.says(self.client(server.address), b"1")
        path.write_text(answering(2))
        self.reloaded(server, 2)
        self.says(self.client(server.address), b"2")


class Links(WatchTest):
    def test_a_script_behind_a_link(self):
        """As a deployment does: current -> releases/N."""
        folder = self.folder()
        for number in (1, 2, 3):
            (folder / f"release{number}").mkdir()
            (folder / f"release{number}" / "app.lua").write_text(answering(number))
        (folder / "current").symlink_to("release1")
        server = self.watch(folder / "current" / "app.lua")
        client = self.client(server.address)
        self.says(client, b"1")
        for number in (2, 3):
            (folder / "next").symlink_to(f"release{number}")
            (folder / "next").rename(folder / "current")
            self.reloaded(server, number)
            self.says(client, b"%d" % number)
        (folder / "release3" / "app.lua").write_text(answering(4))
        self.reloaded(server, 4)
        self.says(client, b"4")

    def test_a_link_that_is_the_script(self):
        folder, other = self.folder(), self.folder()
        (other / "real.lua").write_text(answering(1))
        (folder / "app.lua").symlink_to(other / "real.lua")
        server = self.watch(Path(folder / "app.lua"))
        client = self.client(server.address)
        self.replace(other / "real.lua", answering(2))
        self.reloaded(server, 2)
        self.says(client, b"2")
        (other / "another.lua").write_text(answering(3))
        (folder / "new").symlink_to(other / "another.lua")
        (folder / "new").rename(folder / "app.lua")
        self.reloaded(server, 3)
        self.says(client, b"3")
        (other / "another.lua").write_text(answering(4))
        self.reloaded(server, 4)


if __name__ == "__main__":
    main()
