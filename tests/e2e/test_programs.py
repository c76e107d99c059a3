"""The five programs: TCP server, TCP client, UDP server, UDP client, TCP server for many clients.

Ours on one side, and what is not ours on the other: Python's sockets, netcat, socat.
"""

import errno
import re
import shutil
import signal
import socket
import subprocess
import threading

from neap_server import (
    DEADLINE,
    EXAMPLES,
    NEAP,
    Client,
    NeapTest,
    environment,
    main,
    target,
)

BOTH = "tcp://localhost:0"


def host_port(address):
    host, port = target(address)[2][:2]
    return host, str(port)


class ProgramTest(NeapTest):
    def foreign(self, *words, data=b""):
        """What another program prints; it must be there."""
        path = shutil.which(words[0])
        self.assertIsNotNone(path, f"{words[0]} is not installed")
        done = subprocess.run(
            [path, *words[1:]], input=data, stdout=subprocess.PIPE, timeout=DEADLINE, check=True
        )
        return done.stdout

    def send(self, *words, data=None):
        """What `neap send` prints."""
        options = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        done = subprocess.run(
            [NEAP, "send", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            env=environment(),
            **options,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""), words)
        return done.stdout


class TcpServer(ProgramTest):
    """Program 1: examples/echo_server.lua."""

    def setUp(self):
        self.server = self.serve(EXAMPLES / "echo_server.lua", listen=BOTH)

    def assert_logged(self, peer):
        self.server.wait_log(f'"a new client has connected: {re.escape(peer)}"')
        found = self.server.records(msg=f"a new client has connected: {peer}")
        self.assertEqual([(line["level"], line["peer"]) for line in found], [("info", peer)])

    def test_announces_each_client_and_echoes_until_it_closes(self):
        for message in (b"Hello...", b"", b"\0\xff\r\n", b"x" * 300000):
            client = self.client(self.server.address)
            peer = client.name
            if message:
                sender = threading.Thread(target=client.send, args=(message,))
                sender.start()
                self.assertEqual(client.receive(len(message)), message)
                sender.join()
            client.half_close()
            self.assertEqual(client.receive_all(), b"")
            client.close()
            self.server.wait_log(rf'"client left".* reason=eof .*peer={peer} ')
            self.assert_logged(peer)
        self.server.stop()
        self.assertEqual(len(self.server.records(msg="client left")), 4)

    def test_localhost_is_both_addresses(self):
        hosts = sorted(target(address)[2][0] for address in self.server.addresses)
        self.assertEqual(hosts, ["127.0.0.1", "::1"])
        for address in self.server.addresses:
            client = self.client(address)
            self.assertEqual(client.ask(b"Hello..."), b"Hello...")
            self.assert_logged(client.name)

    def test_with_netcat(self):
        host, port = host_port(self.server.address)
        self.assertEqual(self.foreign("nc", "-N", host, port, data=b"Hello...\n"), b"Hello...\n")

    def test_with_socat(self):
        host, port = host_port(self.server.address)
        data = bytes(range(256)) * 1000
        self.assertEqual(self.foreign("socat", "-", f"TCP:{host}:{port}", data=data), data)

    def test_with_program_2(self):
        self.assertEqual(self.send(self.server.address, "Hello..."), b"Hello...")
        self.server.wait_log("client left")

    def test_ctrl_c_ends_it_in_order(self):
        client = self.client(self.server.address)
        self.assertEqual(client.ask(b"Hello..."), b"Hello...")
        self.server.interrupt()
        self.assertEqual(client.receive_all(), b"")
        self.assertEqual(self.server.wait(), 0)
        self.assertEqual(
            [(line["reason"], line["peer"]) for line in self.server.records(msg="client left")],
            [("shutdown", client.name)],
        )
        self.server.wait_log('"stopped: served 1 connections, 0 datagram peers, 1 messages"')

    def test_the_port_can_be_served_again_at_once(self):
        """Connections that the server closed are in TIME_WAIT at its port."""
        address = self.server.address
        clients = [self.client(address) for _ in range(5)]
        for client in clients:
            self.assertEqual(client.ask(b"Hello..."), b"Hello...")
        self.assertEqual(self.server.stop(signal.SIGINT), 0)
        for client in clients:
            self.assertEqual(client.receive_all(), b"")
            client.close()
        port = "%04X" % target(address)[2][1]
        with open("/proc/net/tcp", encoding="ascii") as table:
            states = [row.split()[3] for row in table if row.split()[1].endswith(":" + port)]
        self.assertIn("06", states)  # TIME_WAIT
        again = self.serve(EXAMPLES / "echo_server.lua", listen=address)
        self.assertEqual(again.addresses, [address])
        self.assertEqual(self.client(address).ask(b"Hello..."), b"Hello...")


class TcpClient(ProgramTest):
    """Program 2: neap send, with servers that are not ours."""

    def test_with_a_python_server(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(DEADLINE)
            received = []

            def answer():
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(DEADLINE)
                    received.append(b"".join(iter(lambda: connection.recv(65536), b"")))
                    connection.sendall(b"you said: " + received[0])

            server = threading.Thread(target=answer)
            server.start()
            port = listener.getsockname()[1]
            printed = self.send(f"tcp://127.0.0.1:{port}", "Hello...")
            server.join(DEADLINE)
        self.assertEqual((received, printed), ([b"Hello..."], b"you said: Hello..."))

    def test_with_socat(self):
        folder = self.folder()
        path = folder / "socket"
        self.assertIsNotNone(shutil.which("socat"), "socat is not installed")
        with subprocess.Popen(
            ["socat", "-d", "-d", f"UNIX-LISTEN:{path}", "EXEC:tr a-z A-Z"], stderr=subprocess.PIPE
        ) as server:
            try:
                for line in server.stderr:
                    if b"listening" in line:
                        break
                printed = self.send(f"unix://{path}", "Hello...")
            finally:
                server.kill()
        self.assertEqual(printed, b"HELLO...")


class UdpServer(ProgramTest):
    """Program 3: examples/udp_server.lua."""

    def setUp(self):
        self.server = self.serve(EXAMPLES / "udp_server.lua", listen="udp://127.0.0.1:0")

    def test_prints_each_message_with_its_sender(self):
        sender = self.client(self.server.address)
        messages = [b"message", b"", b"two\nlines", b"\0\x1b[2J\xff", b"x" * 1000]
        for message in messages:
            sender.send(message)
            self.assertEqual(sender.datagram(), b"received %d bytes\n" % len(message))
        self.server.stop()
        host, port = sender.socket.getsockname()
        self.assertEqual(
            [line["msg"] for line in self.server.records(peer=sender.name)],
            [f"message from {host} port {port}: {text.decode('latin-1')}" for text in messages],
        )

    def test_with_netcat(self):
        host, port = host_port(self.server.address)
        printed = self.foreign("nc", "-u", "-W", "1", host, port, data=b"message\n")
        self.assertEqual(printed, b"received 8 bytes\n")
        self.server.wait_log(r'msg="message from 127\.0\.0\.1 port \d+: message\\n"')

    def test_with_socat(self):
        host, port = host_port(self.server.address)
        printed = self.foreign("socat", "-t", "0.2", "-", f"UDP:{host}:{port}", data=b"message\n")
        self.assertEqual(printed, b"received 8 bytes\n")

    def test_with_program_4(self):
        self.assertEqual(self.send(self.server.address, "message"), b"received 7 bytes\n")
        self.server.wait_log(r'msg="message from 127\.0\.0\.1 port \d+: message"')

    def test_ctrl_c_ends_it_in_order(self):
        self.client(self.server.address).ask(b"message", 17)
        self.assertEqual(self.server.stop(signal.SIGINT), 0)


class UdpClient(ProgramTest):
    """Program 4: neap send, with a server that is not ours."""

    def test_with_a_python_server(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.settimeout(DEADLINE)
            server.bind(("127.0.0.1", 0))
            received = []

            def answer():
                message, sender = server.recvfrom(65536)
                received.append(message)
                server.sendto(b"you said: " + message, sender)

            thread = threading.Thread(target=answer)
            thread.start()
            printed = self.send(f"udp://127.0.0.1:{server.getsockname()[1]}", "message")
            thread.join(DEADLINE)
        self.assertEqual((received, printed), ([b"message"], b"you said: message"))


class ManyClients(ProgramTest):
    """Program 5: examples/many_clients.lua."""

    def setUp(self):
        self.server = self.serve(EXAMPLES / "many_clients.lua", listen=BOTH)

    def test_two_hundred_clients_at_once(self):
        clients = [self.client(self.server.address) for _ in range(200)]
        for i, client in enumerate(clients):
            client.send(b"client %d" % i)
        for i, client in enumerate(clients):
            self.assertEqual(client.receive(len(b"client %d" % i)), b"client %d" % i)
        names = [client.name for client in clients]
        for client in clients:
            client.send(b"bye")
            self.assertEqual(client.receive_all(), b"")
            client.close()
        self.server.wait_log('msg="disconnected"', count=200)
        self.assertEqual(self.server.stop(), 0)
        logged = {name: [] for name in names}
        for line in self.server.records():
            if "peer" in line:
                text = ": " + line["text"] if "text" in line else ""
                logged[line["peer"]].append(line["msg"] + text)
        for i, name in enumerate(names):
            self.assertEqual(
                logged[name],
                [
                    f"a new client has connected: {name}",
                    f"message: client {i}",
                    "message: bye",
                    "disconnected",
                ],
            )

    def test_ends_on_bye_once_stripped(self):
        for text in (b"bye", b" bye \r\n", b"\tbye\n", b"\v\f bye"):
            with self.subTest(text), Client(self.server.address) as client:
                client.send(text)
                self.assertEqual(client.receive_all(), b"")
                name = client.name
                client.close()
                self.server.wait_log(rf'msg="disconnected" reason=closed .*peer={name} ')
        for text in (b"Bye", b"bye bye", b"goodbye", b"by\0e"):
            with self.subTest(text), Client(self.server.address) as client:
                self.assertEqual(client.ask(text), text)

    def test_a_silent_client_holds_nobody_up(self):
        self.client(self.server.address)
        reading_nothing = self.client(self.server.address, receive_buffer=4096)
        reading_nothing.socket.setblocking(False)
        try:
            while True:
                reading_nothing.socket.send(b"x" * 65536)
        except BlockingIOError:
            pass
        self.assertEqual(self.client(self.server.address).ask(b"Hello..."), b"Hello...")

    def test_with_netcat(self):
        host, port = host_port(self.server.address)
        self.assertEqual(self.foreign("nc", host, port, data=b"bye\n"), b"")
        self.server.wait_log('msg="disconnected" reason=closed')

    def test_the_backlog_of_the_address_is_the_listening_sockets(self):
        """While nobody accepts, one more than the backlog are connected; the others wait."""
        script = (EXAMPLES / "many_clients.lua").read_text()
        script = script.replace("localhost:4343?backlog=128", "127.0.0.1:0?backlog=7")
        server = self.serve(script, listen=None)
        server.suspend()
        waiting = []
        for _ in range(20):
            client = socket.socket()
            self.addCleanup(client.close)
            client.setblocking(False)
            self.assertEqual(client.connect_ex(target(server.address)[2]), errno.EINPROGRESS)
            state = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            waiting.append({1: "established", 2: "syn sent"}[state])
        server.interrupt(signal.SIGCONT)
        self.assertEqual(waiting, ["established"] * 8 + ["syn sent"] * 12)

    def test_the_port_can_be_served_again_at_once(self):
        address = self.server.address
        client = self.client(address).send(b"bye")
        self.assertEqual(client.receive_all(), b"")  # the server closed first: TIME_WAIT is its
        client.close()
        self.server.wait_log("disconnected")
        self.assertEqual(self.server.stop(signal.SIGINT), 0)
        again = self.serve(EXAMPLES / "many_clients.lua", listen=address)
        self.assertEqual(self.client(again.address).ask(b"Hello..."), b"Hello...")


class Examples(ProgramTest):
    def test_session(self):
        """Program 5 as straight-line code."""
        server = self.serve(EXAMPLES / "session.lua", listen=BOTH)
        clients = [self.client(server.address) for _ in range(50)]
        for i, client in enumerate(clients):
            self.assertEqual(client.receive_until(b"\n"), b"Who are you?\n")
            client.send_bytes(b"client %d\n" % i)
        for i, client in enumerate(clients):
            self.assertEqual(client.receive_until(b"\n"), b"Hello, client %d.\n" % i)
            self.assertEqual(client.ask(b"a line\n"), b"a line\n")
            self.assertEqual(client.send(b" bye \n").receive_all(), b"")
            client.close()
        server.wait_log('msg="disconnected" reason=closed', count=50)
        self.assertEqual(self.foreign("nc", *host_port(server.address), data=b"nc\nbye\n"), b"Who are you?\nHello, nc.\n")
        self.assertEqual(server.stop(), 0)

    def test_chat(self):
        server = self.serve(EXAMPLES / "chat.lua")
        anna, bert, carl = (self.client(server.address) for _ in range(3))

        def expect(client, line):
            self.assertEqual(client.receive_until(b"\n"), line + b"\n")

        for client in (anna, bert, carl):
            expect(client, b"Your name?")
        anna.send(b"anna\n")
        expect(anna, b"Welcome, anna. Here are: anna")
        bert.send(b"anna\r\n")
        expect(bert, b"anna is here already. Your name?")
        bert.send(b"no name\n")
        expect(bert, b"A name has 1 to 20 letters and digits. Your name?")
        bert.send_bytes(b"bert\nhello\n")
        expect(anna, b"* bert has come")
        expect(bert, b"Welcome, bert. Here are: anna, bert")
        expect(anna, b"bert: hello")
        anna.send(b"/who\n/bye\n")
        expect(anna, b"Here are: anna, bert")
        self.assertEqual(anna.receive_all(), b"")
        anna.close()
        expect(bert, b"* anna has left")
        carl.send(b"anna\n")  # free again
        expect(bert, b"* anna has come")
        expect(carl, b"Welcome, anna. Here are: bert, anna")
        bert.reset()
        expect(carl, b"* bert has left")

    def test_framings(self):
        frames = {
            "line": b"one\ntwo\n",
            "delimiter": b"one--two--",
            "fixed": b"abcdefgh",
            "length": b"\0\0\0\5hello",
            "varint": b"\5hello",
            "netstring": b"5:hello,3:you,",
            "custom": b"#5 hello#3 you",
        }
        server = self.serve(
            EXAMPLES / "framings.lua", listen=[f"{name}=tcp://127.0.0.1:0" for name in frames]
        )
        for name, address in zip(sorted(frames), server.addresses):
            with self.subTest(name):
                data = frames[name]
                self.assertEqual(self.client(address).ask(data), data)
                self.assertEqual(self.client(address).send_bytes(data).receive(len(data)), data)
                server.wait_log(rf'msg=.?message\b.*service={name}\b')

    def test_timers(self):
        script = (EXAMPLES / "timers.lua").read_text()
        for slow, fast in (("every(10", "every(0.05"), ('after(3, "hint', 'after(0.05, "hint')):
            self.assertIn(slow, script)
            script = script.replace(slow, fast)
        self.assertIn("idle_timeout = 30", script)
        server = self.serve(script.replace("idle_timeout = 30", "idle_timeout = 0.3"))
        client = self.client(server.address)
        for line in (b"Type a number of seconds.", b"Still there? Type 5, for example."):
            self.assertEqual(client.receive_until(b"\n"), line + b"\n")
        client.send(b"x\n0.01\n")
        for line in (b"That is no number from 0 to 3600.", b"I shall call you.", b"Time is up!"):
            self.assertEqual(client.receive_until(b"\n"), line + b"\n")
        self.assertEqual(client.receive_all(), b"Say something, or I close.\n")
        server.wait_log(r'msg="alarms so far" (.* )?alarms=1\b')

    def test_default_script(self):
        server = self.serve(listen=["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
        for scheme in ("tcp", "udp"):
            client = self.client(server.service(scheme))
            self.assertEqual(client.ask(b"Hello..."), b"Hello...")
            server.wait_log(f'"a new client has connected: {re.escape(client.name)}"')
            name = client.name
            client.send(b"bye")
            client.close()
            server.wait_log(f'"disconnected" reason=closed .*peer={name} ')


if __name__ == "__main__":
    main()
