"""neap send, against servers of this test on port 0."""

import contextlib
import os
import pty
import resource
import socket
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

NEAP = os.environ["NEAP_BIN"]
DEADLINE = 60
LOCALHOST = ("127.0.0.1", 0)
LARGE = bytes(range(256)) * 16384  # 4 MiB, more than all buffers on the way


def plain_environment():
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NEAP_")}
    kept.pop("POSIXLY_CORRECT", None)
    return {**kept, "LC_ALL": "C"}


def read_all(connection):
    """What the peer sends until it half-closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def echo(connection):
    """What neap's default script does: answers, and closes when the client has half-closed."""
    for piece in iter(lambda: connection.recv(65536), b""):
        connection.sendall(piece)


class Server(threading.Thread):
    """Hands one connection, or the bound datagram socket, to `serve`; its result is `result`."""

    def __init__(self, test, serve, family=socket.AF_INET, kind=socket.SOCK_STREAM, at=LOCALHOST):
        super().__init__(daemon=True)
        self.serve, self.result, self.error = serve, None, None
        self.socket = socket.socket(family, kind)
        test.addCleanup(self.socket.close)
        self.socket.settimeout(DEADLINE)
        self.socket.bind(at)
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        self.address = self.name_of(family, kind, self.socket.getsockname())
        self.start()

    @staticmethod
    def name_of(family, kind, at):
        streams = kind == socket.SOCK_STREAM
        if family == socket.AF_UNIX:
            return f"{'unix' if streams else 'unixgram'}://{at}"
        host = f"[{at[0]}]" if family == socket.AF_INET6 else at[0]
        return f"{'tcp' if streams else 'udp'}://{host}:{at[1]}"

    @property
    def port(self):
        return self.socket.getsockname()[1]

    def run(self):
        try:
            if self.socket.type != socket.SOCK_STREAM:
                self.result = self.serve(self.socket)
                return
            connection, _ = self.socket.accept()
            with connection:
                connection.settimeout(DEADLINE)
                self.result = self.serve(connection)
        except OSError as error:
            self.error = error

    def finish(self):
        self.join(DEADLINE)
        if self.error:
            raise self.error
        return self.result


class SendTest(unittest.TestCase):
    maxDiff = 1000

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def options(self, options):
        return {"stderr": subprocess.PIPE, "env": plain_environment(), **options}

    def send(self, *words, **options):
        options.setdefault("stdout", subprocess.PIPE)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([NEAP, "send", *words], timeout=DEADLINE, **self.options(options))

    def ends(self, status, output, message, *words, **options):
        run = self.send(*words, **options)
        expected = f"neap: {message}\n".encode() if message else b""
        self.assertEqual((run.stderr, run.returncode), (expected, status), words)
        self.assertEqual(run.stdout, output, words)

    def succeeds(self, output, *words, **options):
        self.ends(0, output, None, *words, **options)

    def datagram_server(self, serve, **options):
        return Server(self, serve, kind=socket.SOCK_DGRAM, **options)

    def unused_port(self, kind=socket.SOCK_STREAM, family=socket.AF_INET, host="127.0.0.1"):
        """A port that stays taken and that nobody listens on."""
        holder = socket.socket(family, kind)
        self.addCleanup(holder.close)
        holder.bind((host, 0))
        port = holder.getsockname()[1]
        if kind == socket.SOCK_DGRAM:
            # A datagram socket always receives: from its own port only, no other is heard.
            holder.connect((host, port))
        return port

    def terminal(self):
        """Descriptors of both ends of a terminal that changes no byte of output."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        return master, slave

    def read_terminal(self, master):
        """What was written to a terminal until its last user closed it."""
        found = b""
        with contextlib.suppress(OSError):  # EIO is its end of file
            for piece in iter(lambda: os.read(master, 65536), b""):
                found += piece
        return found.replace(b"\r\n", b"\n")


class Stream(SendTest):
    def test_echo_comes_back_as_it_is(self):
        server = Server(self, echo)
        self.succeeds(b"Hello...", server.address, "Hello...")
        server.finish()

    def test_every_way_to_write_an_address(self):
        for form in ("{}", "127.0.0.1:{}", "localhost:{}", "tcp://localhost:{}"):
            with self.subTest(form):
                server = Server(self, echo)
                self.succeeds(b"x", form.format(server.port), "x")

    def test_texts_are_joined_with_spaces_and_half_closed(self):
        server = Server(self, read_all)
        self.succeeds(b"", server.address, "one", "two  three", "")
        self.assertEqual(server.finish(), b"one two  three ")

    def test_flags_and_dashes_among_texts(self):
        server = Server(self, read_all)
        self.succeeds(b"", server.address, "a", "--timeout", "9", "--", "-b", "--hex")
        self.assertEqual(server.finish(), b"a -b --hex")

    def test_lines(self):
        server = Server(self, read_all)
        self.succeeds(b"", "--line", server.address, "one", "", "two words")
        self.assertEqual(server.finish(), b"one\n\ntwo words\n")

    def test_hexadecimal(self):
        server = Server(self, read_all)
        self.succeeds(b"", server.address, "--hex", "00 fF1b", "0a")
        self.assertEqual(server.finish(), b"\x00\xff\x1b\x0a")

    def test_bad_hexadecimal(self):
        for text in ("0", "0x", "0 1", "zz", "00 0"):
            with self.subTest(text):
                message = f"--hex '{text}': needs two hexadecimal digits for each byte"
                self.ends(64, b"", message, "4343", "--hex", "00", text)

    def test_empty_text_only_connects_and_half_closes(self):
        server = Server(self, lambda peer: peer.sendall(b"welcome") or read_all(peer))
        self.succeeds(b"welcome", server.address, "")
        self.assertEqual(server.finish(), b"")

    def test_standard_input(self):
        server = Server(self, read_all)
        self.succeeds(b"", server.address, input=b"no newline\0")
        self.assertEqual(server.finish(), b"no newline\0")

    def test_lines_of_standard_input_end_with_a_newline(self):
        for given, sent in ((b"a\nb", b"a\nb\n"), (b"a\n", b"a\n"), (b"", b""), (b"\0", b"\0\n")):
            with self.subTest(given):
                server = Server(self, read_all)
                self.succeeds(b"", "--line", server.address, input=given)
                self.assertEqual(server.finish(), sent)

    def test_file(self):
        file = self.folder / "request"
        file.write_bytes(b"from a file\xff")
        server = Server(self, read_all)
        self.succeeds(b"", server.address, "--file", file)
        self.assertEqual(server.finish(), b"from a file\xff")

    def test_dash_is_standard_input(self):
        server = Server(self, read_all)
        self.succeeds(b"", server.address, "--file", "-", input=b"typed")
        self.assertEqual(server.finish(), b"typed")

    def test_missing_file_is_66(self):
        file = self.folder / "none"
        message = f"--file '{file}': No such file or directory"
        self.ends(66, b"", message, "4343", "--file", file)

    def test_large_echo_passes_while_both_sides_write(self):
        server = Server(self, echo)
        run = self.send(server.address, input=LARGE)
        self.assertEqual((run.stderr, run.returncode), (b"", 0))
        self.assertTrue(run.stdout == LARGE, f"{len(run.stdout)} bytes")

    def test_memory_does_not_grow_with_what_passes(self):
        if b"__asan" in Path(NEAP).read_bytes() or b"__tsan" in Path(NEAP).read_bytes():
            self.skipTest("a sanitizer reserves more address space than the limit")
        limit = 48 << 20

        def bound():
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        file = self.folder / "large"
        with open(file, "wb") as out:
            for _ in range(32):
                out.write(LARGE)
        server = Server(self, echo)
        run = self.send(
            server.address, "--file", file, stdout=subprocess.DEVNULL, preexec_fn=bound
        )
        self.assertEqual((run.stderr, run.returncode), (b"", 0))

    def test_unix_socket(self):
        server = Server(self, echo, family=socket.AF_UNIX, at=str(self.folder / "s"))
        self.succeeds(b"Hello...", server.address, "Hello...")

    def test_silent_close_is_fine(self):
        server = Server(self, read_all)
        self.succeeds(b"", server.address, "bye")

    def test_no_reply_in_time(self):
        done = threading.Event()
        server = Server(self, lambda peer: (read_all(peer), done.wait(DEADLINE)))
        message = f"no reply from {server.address} within 0.2 s"
        self.ends(1, b"", message, server.address, "x", "--timeout", "0.2")
        done.set()

    def test_timeout_of_zero_waits_for_ever(self):
        late = threading.Event()

        def serve(peer):
            read_all(peer)
            late.wait(DEADLINE)
            peer.sendall(b"late")

        server = Server(self, serve)
        with subprocess.Popen(
            [NEAP, "send", server.address, "x", "--timeout", "0"],
            stdout=subprocess.PIPE,
            **self.options({}),
        ) as client:
            with self.assertRaises(subprocess.TimeoutExpired):
                client.wait(0.3)
            late.set()
            output, errors = client.communicate(timeout=DEADLINE)
            self.assertEqual((output, errors, client.returncode), (b"late", b"", 0))

    def test_some_reply_and_no_end_is_fine(self):
        done = threading.Event()
        server = Server(self, lambda peer: (peer.sendall(b"some"), done.wait(DEADLINE)))
        self.succeeds(b"some", server.address, "x", "--timeout", "0.2")
        done.set()

    def test_kept_open_the_server_sees_no_end(self):
        def serve(peer):
            found = peer.recv(100)
            peer.sendall(b"reply")
            peer.settimeout(0.3)
            try:
                return found, peer.recv(100)
            except socket.timeout:
                return found, "open"

        server = Server(self, serve)
        self.succeeds(b"reply", server.address, "x", "--keep-open", "--timeout", "30")
        self.assertEqual(server.finish(), (b"x", "open"))

    def test_last_words_of_a_server_that_does_not_listen_are_printed(self):
        def serve(peer):
            peer.recv(1)
            peer.sendall(b"too much")
            peer.shutdown(socket.SHUT_WR)
            peer.recv(1)

        server = Server(self, serve)
        run = self.send(server.address, input=LARGE)
        self.assertEqual((run.stdout, run.returncode), (b"too much", 1))
        self.assertRegex(
            run.stderr.decode(),
            rf"\Aneap: {server.address}(: Connection reset by peer| closed before all was sent)\n\Z",
        )

    def test_reset_is_an_error(self):
        def serve(peer):
            peer.recv(10)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        server = Server(self, serve)
        message = f"{server.address}: Connection reset by peer"
        self.ends(1, b"", message, server.address, "x", "--keep-open")

    def test_server_that_takes_nothing(self):
        done = threading.Event()
        server = Server(self, lambda peer: done.wait(DEADLINE))
        message = f"{server.address} took no more bytes for 0.3 s"
        self.ends(1, b"", message, server.address, "--timeout", "0.3", input=LARGE * 4)
        done.set()

    def test_server_may_speak_first_while_input_is_open(self):
        server = Server(self, lambda peer: peer.sendall(b"greeting\n") or echo(peer))
        with subprocess.Popen(
            [NEAP, "send", server.address, "--timeout", "0.1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **self.options({}),
        ) as client:
            self.assertEqual(client.stdout.readline(), b"greeting\n")
            # Nobody is late while more input may come, however short the timeout is.
            with self.assertRaises(subprocess.TimeoutExpired):
                client.wait(0.3)
            output, errors = client.communicate(b"more", DEADLINE)
            self.assertEqual((output, errors, client.returncode), (b"more", b"", 0))


class Datagram(SendTest):
    @staticmethod
    def answer(*replies, requests=1):
        """Serves by sending the replies after that many requests, which are the result."""

        def serve(server):
            found = [server.recvfrom(65536) for _ in range(requests)]
            for reply in replies:
                server.sendto(reply, found[-1][1])
            return [data for data, _ in found]

        return serve

    def test_first_reply_ends_it(self):
        server = self.datagram_server(self.answer(b"one", b"two"))
        self.succeeds(b"one", server.address, "a", "b")
        self.assertEqual(server.finish(), [b"a b"])

    def test_as_many_replies_as_asked_for(self):
        server = self.datagram_server(self.answer(b"one", b"", b"three", b"four"))
        self.succeeds(b"onethree", server.address, "x", "--replies", "3")

    def test_no_reply_is_waited_for(self):
        server = self.datagram_server(self.answer())
        self.succeeds(b"", server.address, "x", "--replies", "0", "--timeout", "0")
        self.assertEqual(server.finish(), [b"x"])

    def test_fewer_replies_than_asked_for_are_fine(self):
        server = self.datagram_server(self.answer(b"one"))
        self.succeeds(b"one", server.address, "x", "--replies", "2", "--timeout", "0.2")

    def test_no_reply_in_time(self):
        server = self.datagram_server(self.answer())
        message = f"no reply from {server.address} within 0.2 s"
        self.ends(1, b"", message, server.address, "x", "--timeout", "0.2")

    def test_empty_datagrams_count_both_ways(self):
        for words, given in ((("",), None), ((), b"")):
            with self.subTest(words):
                server = self.datagram_server(self.answer(b""))
                self.succeeds(b"", server.address, *words, input=given or b"")
                self.assertEqual(server.finish(), [b""])

    def test_a_datagram_for_each_line(self):
        for words, given in ((("a", "b c"), b""), ((), b"a\nb c")):
            with self.subTest(words):
                server = self.datagram_server(self.answer(b"1", b"2", requests=2))
                self.succeeds(b"12", "--line", server.address, *words, input=given)
                self.assertEqual(server.finish(), [b"a\n", b"b c\n"])

    def test_no_line_is_no_datagram(self):
        port = self.unused_port(socket.SOCK_DGRAM)
        self.succeeds(b"", "--line", f"udp://127.0.0.1:{port}", input=b"")

    def test_input_is_one_datagram(self):
        for data in (b"a\nb\n", b"\0" * 65507):
            with self.subTest(len(data)):
                server = self.datagram_server(self.answer(data))
                self.succeeds(data, server.address, input=data)
                self.assertEqual(server.finish(), [data])

    def test_too_long_for_a_datagram(self):
        port = self.unused_port(socket.SOCK_DGRAM)
        address = f"udp://127.0.0.1:{port}"
        message = "standard input: more than 65536 bytes do not fit into a datagram"
        self.ends(1, b"", message, address, input=b"x" * 65537)
        self.ends(1, b"", message, address, "--line", input=b"x" * 70000)
        self.ends(1, b"", f"{address}: Message too long", address, input=b"x" * 65508)

    def test_unix_datagrams_are_answered(self):
        at = str(self.folder / "s")
        server = self.datagram_server(self.answer(b"reply"), family=socket.AF_UNIX, at=at)
        self.succeeds(b"reply", server.address, "Hello...")
        self.assertEqual(server.finish(), [b"Hello..."])

    def test_flags_of_the_other_kind_are_refused(self):
        message = "--replies counts datagrams: a stream has none; try 'neap help send'"
        self.ends(64, b"", message, "4343", "x", "--replies", "1")
        message = "--keep-open is for streams: datagrams have no end; try 'neap help send'"
        self.ends(64, b"", message, "udp://127.0.0.1:1", "x", "--keep-open")


class Absent(SendTest):
    def test_tcp(self):
        address = f"tcp://127.0.0.1:{self.unused_port()}"
        message = f"cannot connect to {address}: Connection refused (is the server running?)"
        self.ends(69, b"", message, address, "x")

    def test_udp(self):
        address = f"udp://127.0.0.1:{self.unused_port(socket.SOCK_DGRAM)}"
        message = f"cannot reach {address}: Connection refused (is the server running?)"
        self.ends(69, b"", message, address, "x")

    def test_unix_sockets(self):
        for transport, kind in (("unix", socket.SOCK_STREAM), ("unixgram", socket.SOCK_DGRAM)):
            with self.subTest(transport):
                path = self.folder / transport
                message = f"cannot connect to {transport}://{path}: %s (is the server running?)"
                self.ends(69, b"", message % "No such file or directory", f"{transport}://{path}")
                with socket.socket(socket.AF_UNIX, kind) as gone:
                    gone.bind(str(path))
                self.ends(69, b"", message % "Connection refused", f"{transport}://{path}")

    def test_localhost_at_neither_address(self):
        port = self.unused_port()
        message = f"cannot connect to tcp://localhost:{port}: Connection refused"
        self.ends(69, b"", f"{message} (is the server running?)", f"localhost:{port}", "x")


class LocalhostIPv6(SendTest):
    def setUp(self):
        super().setUp()
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 here")

    def hold(self, kind, port):
        """Keeps the port's IPv4 side taken by nobody who listens."""
        holder = socket.socket(socket.AF_INET, kind)
        self.addCleanup(holder.close)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            self.skipTest(f"port {port} of 127.0.0.1 is in use")
        if kind == socket.SOCK_DGRAM:
            holder.connect(("127.0.0.1", port))

    def test_stream(self):
        server = Server(self, echo, family=socket.AF_INET6, at=("::1", 0))
        self.hold(socket.SOCK_STREAM, server.port)
        self.succeeds(b"six", server.address, "six")
        server = Server(self, echo, family=socket.AF_INET6, at=("::1", 0))
        self.hold(socket.SOCK_STREAM, server.port)
        self.succeeds(b"six", f"localhost:{server.port}", "six")

    def test_datagram_is_sent_again_to_the_other_address(self):
        for words, given in ((("six",), b""), ((), b"six")):
            with self.subTest(words):
                server = self.datagram_server(
                    Datagram.answer(b"reply"), family=socket.AF_INET6, at=("::1", 0)
                )
                self.hold(socket.SOCK_DGRAM, server.port)
                self.succeeds(b"reply", f"udp://localhost:{server.port}", *words, input=given)
                self.assertEqual(server.finish(), [b"six"])


class Usage(SendTest):
    def test_bad_addresses(self):
        for text, why in (
            ("tpc://1", "'tpc://1': unknown transport 'tpc'; did you mean 'tcp'?"),
            ("fd://3", "'fd://3': nothing can be sent to a descriptor"),
            ("0", "'0': nothing can be sent to port 0"),
            ("udp://127.0.0.1:0", "'udp://127.0.0.1:0': nothing can be sent to port 0"),
        ):
            with self.subTest(text):
                self.ends(64, b"", f"ADDR {why}", text, "x")

    def test_missing_address(self):
        self.ends(64, b"", "an ADDR to send to is missing; try 'neap help send'")

    def test_bad_numbers(self):
        for value in ("", "x", "-1", "1e3", "0x1", "inf", "1.2.3", ".", "1000001", "1s"):
            with self.subTest(value):
                message = f"--timeout '{value}': must be a number of seconds, at most 1000000; "
                self.ends(64, b"", message + "0 waits for ever", "1", f"--timeout={value}")
        for value in ("", "x", "-1", "1.5", "99999999999999999999", " 1"):
            with self.subTest(value):
                message = f"--replies '{value}': must be a number from 0 to 1000000000"
                self.ends(64, b"", message, "udp://127.0.0.1:1", f"--replies={value}")

    def test_two_things_to_send(self):
        message = "--file and TEXT: only one can be sent; try 'neap help send'"
        self.ends(64, b"", message, "4343", "text", "--file", "x")
        message = "--hex needs TEXT after the address; try 'neap help send'"
        self.ends(64, b"", message, "4343", "--hex")


class Terminal(SendTest):
    """Standard output or input is a terminal."""

    def test_bytes_that_drive_a_terminal_are_escaped(self):
        master, slave = self.terminal()
        sent = b"a\tb\n\x1b]0;title\x07\\ \x7f\x80\xff\r\x00end"
        server = Server(self, lambda peer: peer.sendall(sent) or read_all(peer))
        run = self.send(server.address, "x", stdout=slave)
        os.close(slave)
        self.assertEqual((run.stderr, run.returncode), (b"", 0))
        shown = self.read_terminal(master)
        # The terminal itself turns a tab into spaces if it likes.
        shown = shown.replace(b"a       b", b"a\tb")
        expected = b"a\tb\n\\x1b]0;title\\x07\\\\ \\x7f\\x80\\xff\\r\\x00end\n"
        self.assertEqual(shown, expected)

    def test_every_byte_reaches_a_pipe_as_it_is(self):
        server = Server(self, lambda peer: peer.sendall(bytes(range(256))) or read_all(peer))
        self.succeeds(bytes(range(256)), server.address, "x")

    def test_datagrams_are_shown_on_lines_of_their_own(self):
        master, slave = self.terminal()
        server = self.datagram_server(Datagram.answer(b"one", b"two\n", b"three"))
        run = self.send(server.address, "x", "--replies", "3", stdout=slave)
        os.close(slave)
        self.assertEqual((run.stderr, run.returncode), (b"", 0))
        self.assertEqual(self.read_terminal(master), b"one\ntwo\nthree\n")

    def converse(self, address, *words):
        """A client with a terminal as input; the other end of that."""
        master, slave = self.terminal()
        client = subprocess.Popen(
            [NEAP, "send", address, *words],
            stdin=slave,
            stdout=subprocess.PIPE,
            **self.options({}),
        )
        os.close(slave)
        self.addCleanup(client.stderr.close)
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        hint = client.stderr.readline().decode()
        self.assertEqual(hint, f"{address}: type lines to send; Ctrl-D ends\n")
        return client, master

    def test_typed_lines_are_sent_and_control_d_half_closes(self):
        server = Server(self, lambda peer: echo(peer) or peer.sendall(b"goodbye"))
        client, keyboard = self.converse(server.address)
        for line in (b"Hello...\n", b"again\n"):
            os.write(keyboard, line)
            self.assertEqual(client.stdout.readline(), line)
        os.write(keyboard, b"\4")
        self.assertEqual(client.stdout.read(), b"goodbye")
        self.assertEqual(client.wait(DEADLINE), 0)
        self.assertEqual(client.stderr.read(), f"{server.address}: closed\n".encode())

    def test_server_that_closes_ends_the_conversation(self):
        server = Server(self, lambda peer: peer.recv(100))
        client, keyboard = self.converse(server.address)
        os.write(keyboard, b"bye\n")
        self.assertEqual(client.wait(DEADLINE), 0)
        self.assertEqual(server.finish(), b"bye\n")
        self.assertEqual(client.stderr.read(), f"{server.address}: closed\n".encode())

    def test_typed_lines_are_datagrams(self):
        def serve(server):
            for _ in range(3):
                data, client = server.recvfrom(100)
                server.sendto(data.upper(), client)

        server = self.datagram_server(serve)
        client, keyboard = self.converse(server.address)
        for line in (b"one\n", b"two\n"):
            os.write(keyboard, line)
            self.assertEqual(client.stdout.readline(), line.upper())
        os.write(keyboard, b"no newline\4\4")
        self.assertEqual(client.stdout.read(), b"NO NEWLINE")
        self.assertEqual(client.wait(DEADLINE), 0)

    def test_text_is_sent_also_from_a_terminal(self):
        _, slave = self.terminal()
        server = Server(self, echo)
        self.succeeds(b"x", server.address, "x", stdin=slave)
        os.close(slave)


class Output(SendTest):
    def test_full_disk_is_an_error(self):
        server = Server(self, echo)
        with open("/dev/full", "wb") as full:
            message = "standard output: No space left on device"
            self.ends(1, None, message, server.address, "x", stdout=full)

    def test_closed_output_is_an_error_and_no_socket_takes_its_place(self):
        def serve(peer):
            found = peer.recv(1)
            peer.sendall(b"reply")
            return found + read_all(peer)

        server = Server(self, serve)
        run = self.send(server.address, "x", stdout=None, preexec_fn=lambda: os.close(1))
        message = b"neap: standard output: Bad file descriptor\n"
        self.assertEqual((run.stderr, run.returncode), (message, 1))
        self.assertEqual(server.finish(), b"x")

    def test_closed_input_is_an_error(self):
        server = Server(self, read_all)
        run = self.send(server.address, stdin=None, preexec_fn=lambda: os.close(0))
        message = b"neap: standard input: Bad file descriptor\n"
        self.assertEqual((run.stderr, run.returncode), (message, 1))


if __name__ == "__main__":
    unittest.main()
