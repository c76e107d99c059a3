"""Framing: where a message ends, whole, byte by byte and glued together; and the way back.

P1: no bytes from the network crash or hang the server. P8: messages in order, none lost.
"""

import struct
import threading

from neap_server import PRELUDE, Client, NeapTest, Server, main

# Logs what it is given in hexadecimal, then sends it back.
ECHO = (
    PRELUDE
    + """
    local function hex(text)
      if #text > 64 then return "#" .. #text end
      return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
    end
    local function echo(_, text) note(hex(text)) return text end
    """
)

# A custom framing: "#5 hello".
HASH = """{ "custom", function(bytes)
    local digits, stop = bytes:match("^#(%d+)()")
    if digits and bytes:sub(stop, stop) == " " then return stop + tonumber(digits), stop end
    if not bytes:match("^#%d*$") or #bytes > 10 then return false end
  end, encode = function(text) return "#" .. #text .. " " .. text end }"""

# Letters between angle brackets, at both ends: a header and a trailer.
ANGLE = """{ "custom", function(bytes)
    if bytes:sub(1, 1) ~= "<" then return false end
    local stop = bytes:find(">", 1, true)
    if stop then return stop, 1, 1 end
  end, peek = 1024, encode = function(text) return "<" .. text .. ">" end }"""

TEXTS = [b"", b"x", b"hello", bytes(range(128, 256)), b"\0\0\0\0", b"y" * 1000]


def varint(number):
    data = b""
    while number >= 128:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def prefix(count, endian, adjust=0):
    return lambda text: (len(text) - adjust).to_bytes(count, endian) + text


def long_ones(*sizes):
    return TEXTS + [b"z" * size for size in sizes]


# Name: the framing in Lua, then frames as (bytes on the wire, message[, bytes sent back]).
FRAMINGS = {
    "line": ("'line'", [(t + b"\n", t) for t in long_ones(70000)]),
    "line_crlf": ("{ 'line', eol = '\\r\\n' }", [(t + b"\r\n", t) for t in TEXTS]),
    "line_mixed": (
        "'line'",
        [
            (b"a\r\n", b"a", b"a\n"),
            (b"\r\n", b"", b"\n"),
            (b"a\rb\n", b"a\rb"),
            (b"\r\r\n", b"\r", b"\r\n"),
        ],
    ),
    "delimiter_crlf": (
        "{ 'delimiter', '\\r\\n' }",
        [(t + b"\r\n", t) for t in long_ones(70000) + [b"a\nb", b"\r", b"a\rb", b"\n"]],
    ),
    "delimiter_overlapping": (
        "{ 'delimiter', '--+--' }",
        [(t + b"--+--", t) for t in [b"", b"--", b"-+-", b"+--", b"-", b"x" * 70000]],
    ),
    "delimiter_nul": (
        "{ 'delimiter', '\\0' }",
        [(t + b"\0", t) for t in TEXTS if b"\0" not in t],
    ),
    "fixed_1": ("{ 'fixed', 1 }", [(b"a", b"a"), (b"\0", b"\0")]),
    "fixed_16": ("{ 'fixed', 16 }", [(bytes(range(16)),) * 2, (b"\n" * 16,) * 2]),
    "fixed_70000": ("{ 'fixed', 70000 }", [(b"x" * 70000,) * 2, (b"y" * 70000,) * 2]),
    "length_adjust_field": (
        "{ 'length', bytes = 4, adjust = -4 }",
        [(prefix(4, "big", -4)(t), t) for t in TEXTS],
    ),
    "length_adjust_more": (
        "{ 'length', bytes = 2, adjust = 3 }",
        [(prefix(2, "big", 3)(t), t) for t in TEXTS if len(t) >= 3],
    ),
    "length_whole": (
        "{ 'length', bytes = 2, strip = 0 }",
        [(prefix(2, "big")(t),) * 2 for t in TEXTS],
    ),
    "length_offset": (
        "{ 'length', bytes = 2, offset = 3, strip = 0 }",
        [(b"HDR" + prefix(2, "big")(t),) * 2 for t in TEXTS],
    ),
    "length_strip": (
        "{ 'length', bytes = 2, offset = 3, strip = 5, send = 'raw' }",
        [(b"HDR" + prefix(2, "big")(t), t, t) for t in TEXTS],
    ),
    "varint": (
        "{ 'length', bytes = 'varint' }",
        [(varint(len(t)) + t, t) for t in long_ones(127, 128, 16383, 16384, 300000)],
    ),
    "netstring": (
        "'netstring'",
        [(b"%d:%s," % (len(t), t), t) for t in long_ones(9, 10, 99, 100, 70000)],
    ),
    "custom_header": (HASH, [(b"#%d %s" % (len(t), t), t) for t in long_ones(70000)]),
    "custom_trailer": (ANGLE, [(b"<" + t + b">", t) for t in TEXTS]),
    "custom_raw": (
        HASH.replace("encode", "peek = 32, send = 'raw', encode"),
        [(b"#%d %s" % (len(t), t), t, t) for t in TEXTS],
    ),
}
for _endian in ("big", "little"):
    for _bytes in range(1, 9):
        FRAMINGS[f"length_{_bytes}_{_endian}"] = (
            f"{{ 'length', bytes = {_bytes}, endian = '{_endian}' }}",
            [
                (prefix(_bytes, _endian)(t), t)
                for t in TEXTS + [b"l" * 255] + [b"L" * 70000] * (_bytes > 2)
                if _bytes > 1 or len(t) < 256
            ],
        )


def shown(text):
    """As ECHO logs it."""
    return text.hex() if len(text) <= 64 else f"#{len(text)}"


class FramingTest(NeapTest):
    def serve_all(self, services, extra="", **options):
        """A server with one service for each framing, on a Unix socket and on TCP."""
        folder = self.folder()
        rows = ", ".join(
            f"{name} = {{ listen = {{ 'unix://{folder}/{name}', 'tcp://127.0.0.1:0' }}, "
            f"framing = {framing}, on_message = echo, {extra} }}"
            for name, framing in services.items()
        )
        script = ECHO + f"return {{ services = {{ {rows} }} }}"
        server = self.serve(script, listen=None, **options)
        pairs = zip(server.addresses[::2], server.addresses[1::2])
        self.addresses = dict(zip(sorted(services), pairs))
        return server

    def serve_one(self, framing, options="", hooks=""):
        folder = self.folder()
        return self.serve(
            ECHO + f"return {{ framing = {framing}, {options} on_message = echo, {hooks} }}",
            listen=[f"unix://{folder}/socket", "tcp://127.0.0.1:0"],
        )


class Echo(FramingTest):
    def setUp(self):
        self.server = self.serve_all({name: row[0] for name, row in FRAMINGS.items()})

    def check(self, cut):
        for name, (_, frames) in FRAMINGS.items():
            with self.subTest(name):
                local, tcp = self.addresses[name]
                if cut == "bytes":
                    frames = [row for row in frames if len(row[0]) < 5000]
                with Client(local if cut == "bytes" else tcp) as client:
                    pairs = [(row[0], row[2] if len(row) > 2 else row[0]) for row in frames]
                    getattr(self, cut)(client, pairs)
                    client.half_close()
                    self.assertEqual(client.receive_all(), b"")
        self.server.stop()
        logged = {name: [] for name in FRAMINGS}
        for line in self.server.records(note="true"):
            logged[line["service"]].append(line["msg"])
        for name, (_, frames) in FRAMINGS.items():
            with self.subTest(name):
                messages = [row[1] for row in frames if cut != "bytes" or len(row[0]) < 5000]
                self.assertEqual(logged[name], [shown(text) for text in messages])

    def whole(self, client, frames):
        for sent, received in frames:
            self.assertEqual(client.ask(sent, len(received)), received)

    def glued(self, client, frames):
        data = b"".join(received for _, received in frames)
        sender = threading.Thread(target=client.send, args=(b"".join(sent for sent, _ in frames),))
        sender.start()
        self.assertEqual(client.receive(len(data)), data)
        sender.join()

    def bytes(self, client, frames):
        for sent, received in frames:
            client.send_bytes(sent)
            self.assertEqual(client.receive(len(received)), received)

    def test_whole(self):
        self.check("whole")

    def test_glued(self):
        self.check("glued")

    def test_byte_by_byte(self):
        self.check("bytes")


class Raw(FramingTest):
    def test_whatever_comes_goes_back(self):
        server = self.serve_one("'raw'")
        data = bytes(range(256)) * 20
        for address in server.addresses:
            client = self.client(address)
            self.assertEqual(client.ask(data), data)
            self.assertEqual(client.send_bytes(data[:300]).receive(300), data[:300])
            self.assertEqual(client.half_close().receive_all(), b"")
        server = self.serve_one("'raw'")
        self.client(server.address).send_bytes(b"abc")
        server.stop()
        self.assertEqual(server.events(), ["61", "62", "63"])

    def test_a_read_longer_than_max_message_is_given_in_parts(self):
        server = self.serve_one("'raw'", "max_message = 1000,")
        client = self.client(server.address)
        self.assertEqual(client.ask(b"x" * 5000), b"x" * 5000)
        server.stop()
        self.assertEqual(server.events(), ["#1000"] * 5)


class SendRaw(FramingTest):
    def test_messages_are_sent_as_they_are(self):
        cases = {
            "line": ("{ 'line', send = 'raw' }", b"hello\n"),
            "delimiter": ("{ 'delimiter', ';', send = 'raw' }", b"hello;"),
            "fixed": ("{ 'fixed', 5, send = 'raw' }", b"hello"),
            "length": ("{ 'length', bytes = 4, send = 'raw' }", b"\0\0\0\5hello"),
            "varint": ("{ 'length', bytes = 'varint', send = 'raw' }", b"\5hello"),
            "netstring": ("{ 'netstring', send = 'raw' }", b"5:hello,"),
            "raw": ("{ 'raw', send = 'raw' }", b"hello"),
            "custom": (HASH[: HASH.index(", encode")] + " }", b"#5 hello"),
        }
        self.serve_all({name: framing for name, (framing, _) in cases.items()})
        for name, (_, data) in cases.items():
            with self.subTest(name):
                client = self.client(self.addresses[name][1]).send(data).half_close()
                self.assertEqual(client.receive_all(), b"hello")

    def test_write_never_frames_and_send_always_does(self):
        server = self.serve(
            PRELUDE
            + """return { framing = { "length", bytes = 2 }, on_message = function(conn, text)
              conn:write("w", 1, text)
              conn:send("s", 2.5, text, ("x"):rep(10))
              local pieces = {}
              for i = 1, 100 do pieces[i] = i end
              conn:send(table.unpack(pieces))
              conn:write(table.unpack(pieces))
            end }"""
        )
        many = "".join(str(i) for i in range(1, 101)).encode()
        expected = b"w1ab" + prefix(2, "big")(b"s2.5ab" + b"x" * 10)
        expected += prefix(2, "big")(many) + many
        client = self.client(server.address).send(b"\0\2ab").half_close()
        self.assertEqual(client.receive_all(), expected)


class Limits(FramingTest):
    """max_message is what the script sees; one more is oversize, before it is buffered."""

    FRAMES = {
        "line": ("'line'", lambda t: t + b"\n"),
        "delimiter": ("{ 'delimiter', '--' }", lambda t: t + b"--"),
        "length": ("{ 'length', bytes = 4 }", prefix(4, "big")),
        "varint": ("{ 'length', bytes = 'varint' }", lambda t: varint(len(t)) + t),
        "netstring": ("'netstring'", lambda t: b"%d:%s," % (len(t), t)),
        "custom": (HASH, lambda t: b"#%d %s" % (len(t), t)),
    }

    def setUp(self):
        notes = """max_message = 100, linger = 0.1,
          on_closing = function(_, reason, detail) note("closing", reason, detail) end,
          on_disconnect = function(_, reason) note("disconnect", reason) end"""
        services = {name: framing for name, (framing, _) in self.FRAMES.items()}
        self.server = self.serve_all(services, notes)

    def outcome(self, name, data, cut=False):
        """The events after a client has sent the data and waited for the server's end."""
        before = len(self.server.events(service=name))
        with Client(self.addresses[name][0]) as client:
            try:
                if cut:
                    client.send_bytes(data)
                else:
                    client.send(data)
            except BrokenPipeError:
                pass  # it was told before all was sent
            client.receive_all()
        self.server.wait_log(rf'"disconnect .*service={name} ', count=self.ended(name) + 1)
        return self.server.events(service=name)[before:]

    def ended(self, name):
        self.endings = getattr(self, "endings", {})
        self.endings[name] = self.endings.get(name, -1) + 1
        return self.endings[name]

    def test_as_long_as_allowed_and_one_more(self):
        for name, (framing, frame) in self.FRAMES.items():
            kind = "length" if name == "varint" else name
            for cut in (False, True):
                with self.subTest(name, cut=cut):
                    data = frame(b"x" * 100) + frame(b"y" * 101)
                    self.assertEqual(
                        self.outcome(name, data, cut),
                        ["#100", f"closing oversize {kind}", "disconnect oversize"],
                    )

    def test_lying_lengths(self):
        """A length that cannot be true ends it at once: nothing waits for so many bytes."""
        big = 1 << 63
        cases = [
            ("length", b"\xff\xff\xff\xff", "oversize"),
            ("length", b"\x7f\xff\xff\xff", "oversize"),
            ("length", b"\0\0\0\x65", "oversize"),
            ("varint", varint(101), "oversize"),
            ("varint", varint(big), "oversize"),
            ("varint", varint(big * 2 - 1), "oversize"),
            ("varint", b"\xff" * 9 + b"\x02", "malformed"),
            ("varint", b"\x80" * 10, "malformed"),
            ("netstring", b"101:", "oversize"),
            ("netstring", b"99999999999999999999999999", "oversize"),
            ("netstring", b"18446744073709551616:", "oversize"),
            ("netstring", b"-1:x,", "malformed"),
            ("netstring", b"01:x,", "malformed"),
            ("netstring", b"00:,", "malformed"),
            ("netstring", b":,", "malformed"),
            ("netstring", b" 1:x,", "malformed"),
            ("netstring", b"1x", "malformed"),
            ("netstring", b"5:hello;", "malformed"),
            ("netstring", b"0::", "malformed"),
            ("custom", b"#99999999 ", "oversize"),
            ("custom", b"#9999999999", "malformed"),
            ("custom", b"x", "malformed"),
            ("custom", b"\0", "malformed"),
        ]
        for name, data, reason in cases:
            kind = "length" if name == "varint" else name
            for cut in (False, True):
                with self.subTest(name=name, data=data, cut=cut):
                    self.assertEqual(
                        self.outcome(name, data, cut),
                        [f"closing {reason} {kind}", f"disconnect {reason}"],
                    )

    def test_a_length_that_adjust_makes_negative_is_malformed(self):
        server = self.serve_one(
            "{ 'length', bytes = 2, adjust = -2 }",
            hooks="on_disconnect = function(_, reason) note(reason) end, linger = 0.1",
        )
        self.client(server.address).send(b"\0\1").receive_all()
        server.wait_log('"malformed"')

    def test_a_field_of_eight_bytes_may_say_anything(self):
        server = self.serve_one(
            "{ 'length', bytes = 8, adjust = 9 }",
            hooks="on_disconnect = function(_, reason) note(reason) end, linger = 0.1",
        )
        cases = [(1 << 64) - 1, (1 << 64) - 9, (1 << 63) - 1, 1 << 63, 1 << 32, 1 << 30]
        for count, value in enumerate(cases):
            with self.client(server.address) as client:
                client.send(struct.pack(">Q", value)).receive_all()
            server.wait_log('"oversize"', count=count + 1)


class Eof(FramingTest):
    """An unfinished frame is not a message; on_eof gets it."""

    CASES = {
        "raw": ("'raw'", b"abc", ["616263"], b""),
        "line": ("'line'", b"one\ntw\r", ["6f6e65"], b"tw\r"),
        "delimiter": ("{ 'delimiter', '--' }", b"one--tw-", ["6f6e65"], b"tw-"),
        "fixed": ("{ 'fixed', 4 }", b"fourtwo", ["666f7572"], b"two"),
        "length": ("{ 'length', bytes = 2 }", b"\0\1x\0\5hell", ["78"], b"\0\5hell"),
        "length_field": ("{ 'length', bytes = 4 }", b"\0\0\0\1x\0\0", ["78"], b"\0\0"),
        "netstring": ("'netstring'", b"1:x,5:hello", ["78"], b"5:hello"),
        "netstring_digits": ("'netstring'", b"1:x,12", ["78"], b"12"),
        "custom": (HASH, b"#1 x#5 hell", ["78"], b"#5 hell"),
        "whole": ("'line'", b"one\n", ["6f6e65"], b""),
        "nothing": ("'line'", b"", [], b""),
    }

    def check(self, on_eof):
        services = {name: row[0] for name, row in self.CASES.items()}
        ends = "on_disconnect = function(_, reason) note('end', reason) end,"
        server = self.serve_all(services, ends + on_eof)
        for name, (_, data, messages, rest) in self.CASES.items():
            for cut in (False, True):
                with self.subTest(name, cut=cut):
                    if name == "raw" and cut:
                        messages = ["61", "62", "63"]
                    before = len(server.events(service=name))
                    with Client(self.addresses[name][0]) as client:
                        (client.send_bytes if cut else client.send)(data)
                        client.half_close().receive_all()
                    server.wait_log(rf'"end .*service={name} ', count=2 if cut else 1)
                    eof = [f"eof {rest.hex()}"] if on_eof else []
                    end = ["end closed" if on_eof else "end eof"]
                    self.assertEqual(
                        server.events(service=name)[before:], messages + eof + end
                    )

    def test_on_eof_gets_the_rest(self):
        self.check("on_eof = function(conn, rest) note('eof', hex(rest)) conn:close() end")

    def test_without_on_eof_it_is_forgotten(self):
        self.check("")


class Switch(FramingTest):
    SCRIPT = (
        PRELUDE
        + """
        local framings = {
          line = "line", netstring = "netstring", raw = "raw",
          fixed = { "fixed", 3 }, delimiter = { "delimiter", ";" },
          length = { "length", bytes = 2 },
          custom = { "custom", function(bytes) return #bytes > 1 and 2 or nil end },
        }
        return {
          framing = "line",
          on_message = function(conn, text)
            note(conn:get("framing"), text)
            local name = text:match("^to (%w+)")
            if name then assert(conn:set("framing", framings[name])) end
            if text == "foo" then assert(conn:set("framing", "line")) end
            conn:send(text)
          end,
        }"""
    )

    def test_takes_effect_with_the_byte_after_the_message(self):
        folder = self.folder()
        server = self.serve(
            self.SCRIPT, listen=[f"unix://{folder}/socket", "tcp://127.0.0.1:0"]
        )
        data = (
            b"to netstring\n" b"9:to length," b"\0\x0cto delimiter" b"to line;" b"one\n"
            b"to fixed\r\nabcfootwo\n"
        )
        expected = (
            b"12:to netstring," b"\0\x09to length" b"to delimiter;" b"to line\n" b"one\n"
            b"abcfoo\ntwo\n"
        )
        for address, send in zip(server.addresses * 2, ("send_bytes", "send", "send", "send_bytes")):
            with self.subTest(address=address, send=send), Client(address) as client:
                getattr(client, send)(data).half_close()
                self.assertEqual(client.receive_all(), expected)

    def test_from_another_place_while_a_frame_is_unfinished(self):
        """Set by a timer: the bytes there are looked at anew."""
        server = self.serve(
            PRELUDE
            + """return {
              framing = "netstring",
              on_connect = function(conn) conn:after(60, "x") end,
              on_message = function(conn, text)
                for other in neap.connections() do
                  if other ~= conn then assert(other:set("framing", "line")) end
                end
                return text
              end,
            }"""
        )
        waiting, other = self.client(server.address), self.client(server.address)
        waiting.send(b"50:a\n5:b\n")
        self.assertEqual(other.ask(b"1:x,"), b"1:x,")
        self.assertEqual(waiting.receive(9), b"50:a\n5:b\n")

    def test_inside_a_custom_decoder_of_the_same_connection(self):
        """What runs is replaced while it runs."""
        server = self.serve(
            PRELUDE
            + """
            local function switcher(conn)
              return { "custom", function(bytes)
                conn:set("framing", switcher(conn))
                conn:set("framing", "line")
                return #bytes
              end }
            end
            return {
              framing = "line",
              on_message = function(conn, text)
                if text == "switch" then conn:set("framing", switcher(conn)) end
                return text
              end,
            }"""
        )
        for _ in range(3):
            client = self.client(server.address)
            client.send(b"switch\n")
            self.assertEqual(len(client.receive(1)), 1)
            client.send(b"more\nand more\n").half_close()
            client.receive_all()
        self.assertEqual(self.client(server.address).ask(b"still\n"), b"still\n")

    def test_closing_inside_a_custom_decoder(self):
        """After a close no further message is delivered."""
        for how in ("close", "abort"):
            with self.subTest(how):
                script = (
                    PRELUDE
                    + f"""
                    local conn
                    return {{
                      on_connect = function(c) conn = c end,
                      framing = {{ "custom", function(b) conn:{how}() return #b end }},
                      on_message = function(_, text) note("message", text) end,
                      on_disconnect = function(_, reason) note("end", reason) end,
                    }}"""
                )
                with Server(script) as server, Client(server.address) as client:
                    client.send(b"x")
                    try:
                        client.receive_all()
                    except ConnectionResetError:
                        pass
                    client.close()
                    server.wait_log('"end')
                    server.stop()
                    self.assertEqual(server.events(), ["end closed"])


class LongMessages(NeapTest):
    """What was received is a string of the script's, whatever its memory was before."""

    def test_they_stay_as_they_came(self):
        server = self.serve(
            PRELUDE
            + """
            local kept = {}
            return { on_message = function(conn, bytes)
              kept[#kept + 1] = bytes
              if bytes:find("\\n", -1, true) then
                conn:send(table.concat(kept))
                kept = {}
              end
            end }"""
        )
        clients = [self.client(server.address) for _ in range(3)]
        for size in (65536, 69632, 69633, 52000, 300000):
            for client in clients:
                sent = b"".join(bytes([65 + i % 26]) * size for i in range(12)) + b"\n"
                client.send(sent)
                self.assertEqual(client.receive(len(sent)), sent)

    def test_others_do_not_see_them(self):
        server = self.serve(
            "return { on_message = function(conn, bytes) conn.data.last = bytes; return bytes end }"
        )
        one, other = self.client(server.address), self.client(server.address)
        for i in range(200):
            self.assertEqual(one.ask(b"a" * 65536), b"a" * 65536)
            self.assertEqual(other.ask(b"b" * (60000 + i)), b"b" * (60000 + i))


class Custom(FramingTest):
    def answers(self, decode, data, options=""):
        """What happens to a client of such a decoder."""
        script = (
            PRELUDE
            + f"""return {{
              framing = {{ "custom", {decode} {options} }}, linger = 0.1,
              on_message = function(_, text) note("message", text) end,
              on_disconnect = function(_, reason) note("end", reason) end,
            }}"""
        )
        with Server(script) as server:
            with Client(server.address) as client:
                client.send(data).half_close()
                client.receive_all()
            server.wait_log('"end')
            server.stop()
            return server.events(), server

    def test_what_a_decoder_may_answer(self):
        cases = {
            "function(b) return 3 end": ["message abc", "message def", "end eof"],
            "function(b) return 3, 1 end": ["message bc", "message ef", "end eof"],
            "function(b) return 3, 1, 1 end": ["message b", "message e", "end eof"],
            "function(b) return 3, 3 end": ["message ", "message ", "end eof"],
            "function(b) return 3, nil, 2 end": ["message a", "message d", "end eof"],
            "function(b) return 3.0 end": ["message abc", "message def", "end eof"],
            "function(b) return 7 end": ["end eof"],
            "function(b) return nil end": ["end eof"],
            "function(b) end": ["end eof"],
            "function(b) return false end": ["end malformed"],
            "function(b) return 0 end": ["end malformed"],
            "function(b) return 3, 4 end": ["end malformed"],
            "function(b) return 3, 2, 2 end": ["end malformed"],
            "function(b) return 1 << 62 end": ["end oversize"],
            "function(b) return math.maxinteger end": ["end oversize"],
            "function(b) return math.maxinteger, math.maxinteger end": ["end oversize"],
        }
        for decode, events in cases.items():
            with self.subTest(decode):
                self.assertEqual(self.answers(decode, b"abcdef")[0], events)

    def test_what_a_decoder_must_not_answer(self):
        for answer in ("-1", "1.5", "'x'", "{}", "true", "3, -1", "3, {}", "3, 1, 'x'"):
            with self.subTest(answer):
                events, server = self.answers(f"function(b) return {answer} end", b"abcdef")
                self.assertEqual(events, ["end error"])
                self.assertTrue(server.count_log("decode must return total"))

    def test_an_error_in_it_is_that_connections(self):
        events, server = self.answers("function(b) error('wrong', 0) end", b"abcdef")
        self.assertEqual(events, ["end error"])
        line = next(line for line in server.records(level="error"))
        self.assertEqual(line["msg"], "the framing's decode raised: wrong")
        self.assertEqual(line.get("conn"), "1")

    def test_sees_no_more_than_peek_and_is_asked_only_about_something_new(self):
        folder = self.folder()
        server = self.serve(
            PRELUDE
            + """
            return {
              framing = { "custom", function(b)
                note("seen", #b)
                if #b == 4 then return 10 end
              end, peek = 4 },
              on_message = function(_, text) note("message", text) return text end,
            }""",
            listen=f"unix://{folder}/socket",
        )
        client = self.client(server.address).send_bytes(b"0123456789")
        self.assertEqual(client.receive(10), b"0123456789")
        client.send(b"0123456789")
        self.assertEqual(client.receive(10), b"0123456789")
        server.stop()
        one = ["message 0123456789"]
        self.assertEqual(
            server.events(), ["seen 1", "seen 2", "seen 3", "seen 4", *one, "seen 4", *one]
        )

    def test_nothing_to_say_about_a_full_peek_is_malformed(self):
        self.assertEqual(
            self.answers("function(b) end", b"abcdef", ", peek = 4")[0], ["end malformed"]
        )

    def test_encode(self):
        server = self.serve(
            PRELUDE
            + """
            local function encode(text)
              note(type(text), text)
              if text == "raise" then error("wrong", 0) end
              if text == "number" then return 5 end
              return "<" .. text .. ">"
            end
            return {
              framing = { "custom", function(b) return b:find("\\n"), 0, 1 end, encode = encode },
              on_message = function(conn, text)
                note(pcall(conn.send, conn, text, 1, 2.5))
                note(pcall(conn.send, conn, 7))
                note(pcall(conn.send, conn, "raise"))
                note(pcall(conn.send, conn, "number"))
                note(pcall(conn.send, conn, "x", {}))
                conn:write("w")
                return text
              end,
            }"""
        )
        client = self.client(server.address).send(b"a\n").half_close()
        self.assertEqual(client.receive_all(), b"<a12.5><7>w<a>")
        server.stop()
        events = server.events()
        self.assertEqual(events[:5], ["string a12.5", "true true", "string 7", "true true", "string raise"])
        self.assertEqual(events[5], "false wrong")
        self.assertEqual(events[6], "string number")
        self.assertIn("must return a string, not a number", events[7])
        self.assertRegex(events[8], "^false .*table")
        self.assertEqual(events[9:], ["string a"])


if __name__ == "__main__":
    main()
