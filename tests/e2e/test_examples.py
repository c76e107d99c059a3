"""The examples that speak with others: a proxy, SOCKS5, DNS, RESP, HTTP, a client that reconnects.

What is not ours on the other side: curl, dig, Python's http.server and sockets.
"""

import http.server
import os
import shutil
import subprocess
import threading

from neap_server import DEADLINE, EXAMPLES, LOOPBACK, ends_with_reset, main
from reload_test import free_port, until
from upstream import A, AAAA, OutboundTest

PAGE = bytes(range(256)) * 4096  # more than a socket takes at once


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ExampleTest(OutboundTest):
    def site(self):
        """The port of an HTTP server."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return server.server_address[1]

    def foreign(self, *words, data=b""):
        """Status, output and errors of another program; it must be there."""
        path = shutil.which(words[0])
        self.assertIsNotNone(path, f"{words[0]} is not installed")
        clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        return subprocess.run([path, *words[1:]], input=data, capture_output=True, timeout=DEADLINE, env=clean)

    def curl(self, *words, **options):
        return self.foreign("curl", "-sS", *words, **options)


class Proxy(ExampleTest):
    def proxy(self, upstream):
        front = f"front={LOOPBACK}"
        return self.serve(EXAMPLES / "proxy.lua", "--listen", front, listen=(), env={"UPSTREAM": upstream})

    def test_curl(self):
        server = self.proxy(f"tcp://127.0.0.1:{self.site()}")
        page = server.address.replace("tcp:", "http:") + "/page"
        self.assertEqual(self.curl(page).stdout, PAGE)
        self.assertEqual(self.curl("--data-binary", "@-", page, data=PAGE).stdout, PAGE)
        server.wait_log('"-> closed"', 2)
        server.wait_log('"<- closed"', 2)
        sent = server.records(msg="->")
        self.assertRegex(sent[0]["text"], "^GET /page HTTP/1.1")
        received = sum(int(one["bytes"]) for one in server.records(msg="<-"))
        self.assertGreater(received, 2 * len(PAGE))

    def test_half_close(self):
        upstream = self.upstream()
        server = self.proxy(upstream.address)
        client = self.client(server.address)
        up = upstream.accept()
        client.send(b"question").half_close()
        self.assertEqual(up.receive_all(), b"question")
        up.send(b"answer").close()
        self.assertEqual(client.receive_all(), b"answer")

    def test_a_slow_side_holds_the_other_up(self):
        upstream = self.upstream()
        server = self.proxy(upstream.address)
        client = self.client(server.address)
        up = upstream.accept()
        client.socket.setblocking(False)
        sent = 0
        try:
            while sent < 256 << 20:
                sent += client.socket.send(PAGE)
        except BlockingIOError:
            pass
        self.assertLess(sent, 256 << 20)
        client.socket.setblocking(True)
        client.half_close()
        self.assertEqual(len(up.receive_all()), sent)

    def test_nobody_behind(self):
        server = self.proxy(f"tcp://127.0.0.1:{free_port()}")
        self.assertEqual(self.client(server.address).receive_all(), b"")
        server.wait_log('"no upstream".*Connection refused')


class Socks5(ExampleTest):
    def setUp(self):
        self.server = self.serve(EXAMPLES / "socks5.lua")
        self.at = self.server.address.removeprefix("tcp://")

    def test_curl(self):
        port = self.site()
        for proxy in ("socks5", "socks5h"):
            for host in ("127.0.0.1", "localhost"):
                done = self.curl("--proxy", f"{proxy}://{self.at}", f"http://{host}:{port}/")
                self.assertEqual(done.stdout, PAGE, done.stderr)

    def test_a_body(self):
        url = f"http://127.0.0.1:{self.site()}/"
        done = self.curl("--proxy", f"socks5h://{self.at}", "--data-binary", "@-", url, data=PAGE)
        self.assertEqual(done.stdout, PAGE, done.stderr)

    def test_ipv6(self):
        upstream = self.upstream("tcp://[::1]:0")
        client = self.client(self.server.address)
        client.send(b"\5\1\0\5\1\0\4" + bytes(15) + b"\1" + upstream.port.to_bytes(2, "big"))
        up = upstream.accept().send(b"hello")
        self.assertEqual(client.receive(17), b"\5\0\5\0\0\1" + bytes(6) + b"hello")
        client.send(b"bye").half_close()
        self.assertEqual(up.receive_all(), b"bye")

    def test_what_cannot_be_reached(self):
        for url, code in ((f"http://127.0.0.1:{free_port()}/", b"(5)"), ("http://a..b/", b"(4)")):
            done = self.curl("--proxy", f"socks5h://{self.at}", url)
            self.assertEqual((done.returncode, done.stdout), (97, b""))
            self.assertIn(code, done.stderr)

    def test_what_is_not_spoken(self):
        for asked, answer in [
            (b"\4\1\0", b"\5\xff"),  # version 4
            (b"\5\0", b"\5\xff"),  # no method
            (b"\5\1\2", b"\5\xff"),  # with a password only
            (b"\5\1\0\5\2\0\1" + bytes(6), b"\5\0\5\7\0\1" + bytes(6)),  # BIND
            (b"\5\1\0\5\1\0\7", b"\5\0\5\x08\0\1" + bytes(6)),  # an address of no kind
            (b"\5\1\0\5\1", b"\5\0"),  # and then nothing
        ]:
            client = self.client(self.server.address).send(asked).half_close()
            self.assertEqual(client.receive_all(), answer)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.server.records(level="error"), [])


class DnsForwarder(ExampleTest):
    def forwarder(self, hosts):
        names = self.names(hosts)
        return self.serve(
            EXAMPLES / "dns_forwarder.lua",
            listen="udp://127.0.0.1:0",
            env={"NAMESERVER": f"udp://{names.address}"},
        )

    def dig(self, server, *words):
        port = server.address.rpartition(":")[2]
        done = self.foreign("dig", "@127.0.0.1", "-p", port, "+tries=1", "+time=20", *words)
        return done.stdout.decode()

    def test_dig(self):
        server = self.forwarder({("db.test", A): ["192.0.2.1", "192.0.2.2"], ("db.test", AAAA): ["2001:db8::1"]})
        self.assertEqual(sorted(self.dig(server, "+short", "db.test").split()), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual(self.dig(server, "+short", "-t", "AAAA", "db.test"), "2001:db8::1\n")
        self.assertIn("status: NXDOMAIN", self.dig(server, "none.test"))
        server.wait_log('msg="?question"? .*name=db.test')

    def test_without_an_answer(self):
        server = self.forwarder({("slow.test", A): None})
        answer = self.dig(server, "slow.test")
        self.assertIn("status: SERVFAIL", answer)
        self.assertNotIn("Warning", answer)
        server.wait_log("answered=false")

    def test_what_is_no_question(self):
        server = self.forwarder({("db.test", A): ["192.0.2.1"]})
        for junk in (b"", b"x", b"\xff" * 100, b"\0" * 12 + b"\5ab"):
            self.client(server.address).send(junk)
        self.assertEqual(self.dig(server, "+short", "db.test"), "192.0.2.1\n")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.records(level="error"), [])

    def test_many_at_once(self):
        hosts = {(f"h{i}.test", A): [f"192.0.2.{i + 1}"] for i in range(100)}
        server = self.forwarder(hosts)
        found = {}

        def ask(i):
            found[i] = self.dig(server, "+short", f"h{i}.test").strip()

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(0, 100, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, {i: f"192.0.2.{i + 1}" for i in range(0, 100, 4)})


class RespServer(ExampleTest):
    def setUp(self):
        self.server = self.serve(EXAMPLES / "resp_server.lua")

    @staticmethod
    def command(*words):
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)

    TALK = [
        ((b"PING",), b"+PONG\r\n"),
        ((b"ping", b"hello"), b"$5\r\nhello\r\n"),
        ((b"GET", b"key"), b"$-1\r\n"),
        ((b"SET", b"key", b"a\r\nb\0c"), b"+OK\r\n"),
        ((b"GET", b"key"), b"$6\r\na\r\nb\0c\r\n"),
        ((b"EXISTS", b"key"), b":1\r\n"),
        ((b"DEL", b"key"), b":1\r\n"),
        ((b"DEL", b"key"), b":0\r\n"),
        ((b"INCR", b"count"), b":1\r\n"),
        ((b"INCR", b"count"), b":2\r\n"),
        ((b"SET", b"count", b"x"), b"+OK\r\n"),
        ((b"INCR", b"count"), b"-ERR value is not an integer or out of range\r\n"),
        ((b"SET", b"key"), b"-ERR wrong number of arguments for 'set' command\r\n"),
        ((b"FLY",), b"-ERR unknown command 'FLY'\r\n"),
    ]

    def test_whole_in_one_piece_and_byte_by_byte(self):
        asked = b"".join(self.command(*words) for words, _ in self.TALK)
        answers = b"".join(answer for _, answer in self.TALK)
        for send in ("send", "send_bytes"):
            client = self.client(self.server.address)
            getattr(client, send)(asked)
            self.assertEqual(client.receive(len(answers)), answers)
            client.send(self.command(b"DEL", b"count")).receive(4)
            client.close()

    def test_what_is_no_command(self):
        for junk in (b"hello\r\n", b"*1\r\nx\r\n", b"*" + b"1" * 40, b"\0"):
            client = self.client(self.server.address).send(self.command(b"PING") + junk)
            self.assertEqual(client.receive_all(), b"+PONG\r\n-ERR Protocol error\r\n", junk)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.server.records(level="error"), [])

    def test_the_store_outlives_a_reload(self):
        text = (EXAMPLES / "resp_server.lua").read_text()
        server = self.serve(text)
        client = self.client(server.address).send(self.command(b"SET", b"k", b"v"))
        client.receive(5)
        self.reload(server, text + "\n-- 2")
        self.assertEqual(client.send(self.command(b"GET", b"k")).receive(7), b"$1\r\nv\r\n")


class HttpHello(ExampleTest):
    def setUp(self):
        self.server = self.serve(EXAMPLES / "http_hello.lua")
        self.url = self.server.address.replace("tcp:", "http:") + "/"

    def test_curl(self):
        for words in ((), ("-0",), ("-H", "Connection: close")):
            self.assertEqual(self.curl(*words, self.url).stdout, b"Hello, World!\n", words)
        # Two on one connection.
        done = self.curl("-w", "%{num_connects}\n", self.url, self.url)
        self.assertEqual(done.stdout.split(b"\n")[1::2][:2], [b"1", b"0"])

    def test_what_it_does_not_do(self):
        for words in (("-X", "PUT"), ("-d", "body"), ("-X", "GET", "-d", "body")):
            done = self.curl("-o", "/dev/null", "-w", "%{http_code}", *words, self.url)
            self.assertEqual(done.stdout, b"405", words)
        client = self.client(self.server.address).send(b"hello\r\n\r\n")
        self.assertTrue(client.receive_all().startswith(b"HTTP/1.1 400 "))


class DnsServer(ExampleTest):
    def dig(self, *words):
        port = self.server.address.rpartition(":")[2]
        return self.foreign("dig", "@127.0.0.1", "-p", port, "+tries=1", *words).stdout.decode()

    def test_dig(self):
        self.server = self.serve(EXAMPLES / "dns_server.lua", listen="udp://127.0.0.1:0")
        self.assertEqual(self.dig("+short", "tide.example"), "192.0.2.1\n")
        self.assertEqual(self.dig("+short", "TIDE.example", "AAAA"), "2001:db8::1\n")
        self.assertEqual(self.dig("+short", "moon.example"), "192.0.2.2\n")
        self.assertIn("status: NOERROR", self.dig("moon.example", "AAAA"))
        answer = self.dig("sun.example")
        self.assertIn("status: NXDOMAIN", answer)
        self.assertIn("flags: qr aa rd", answer)
        for junk in (b"", b"x" * 11, b"\0" * 12, b"\xff" * 50, b"\0" * 12 + b"\5ab"):
            self.client(self.server.address).send(junk)
        self.assertEqual(self.dig("+short", "tide.example"), "192.0.2.1\n")
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.server.records(level="error"), [])


class ReconnectingClient(ExampleTest):
    def test_it_comes_back(self):
        port = free_port()
        server = self.serve(
            EXAMPLES / "reconnecting_client.lua", listen=(), env={"SERVER": f"tcp://127.0.0.1:{port}"}
        )
        server.wait_log('"no connection".*Connection refused')
        upstream = self.upstream(f"tcp://127.0.0.1:{port}")
        first = upstream.accept()
        self.assertRegex(first.receive_until(b"\n"), rb"^hello from 127\.0\.0\.1:\d+\n$")
        first.send(b"ping\n")
        self.assertEqual(first.receive_until(b"\n"), b"pong\n")
        server.wait_log('"?line"? text=ping')
        first.close()
        second = upstream.accept()
        self.assertRegex(second.receive_until(b"\n"), b"^hello from ")
        second.reset()
        third = upstream.accept()
        self.assertRegex(third.receive_until(b"\n"), b"^hello from ")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(third.receive_all(), b"")

    def test_a_reload_takes_its_place(self):
        upstream = self.upstream()
        text = (EXAMPLES / "reconnecting_client.lua").read_text()
        server = self.serve(text, listen=(), env={"SERVER": upstream.address})
        first = upstream.accept()
        first.receive_until(b"\n")
        self.reload(server, text.replace("hello from", "hi from"))
        self.assertFalse(ends_with_reset(first))
        self.assertRegex(upstream.accept().receive_until(b"\n"), b"^hi from ")
        until(lambda: server.count_log("connected") >= 2)


if __name__ == "__main__":
    main()
