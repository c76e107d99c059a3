"""What conn:pipe costs beside a relay in C: CPU seconds for a GiB, in turns.

    python3 tests/bench/pipe.py build/release [ROUNDS]

The sender, the receiver and the relay share the machine, so that the ratio of
CPU seconds is what counts, not the throughput.
"""

import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SIZE = 1 << 30
PIECE = 256 << 10

SCRIPT = """
local neap = require "neap"
return {
  listen = "tcp://127.0.0.1:0",
  on_session = function(conn)
    conn:pipe(assert(neap.connect("tcp://127.0.0.1:%d")))
  end,
}
"""


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sink(listener):
    """Takes one connection to its end and answers with the number of bytes."""
    conn, _ = listener.accept()
    buffer, got = bytearray(PIECE), 0
    while count := conn.recv_into(buffer):
        got += count
    conn.sendall(b"%d" % got)
    conn.close()


def move(port, listener):
    """Seconds that a GiB takes through the relay at that port."""
    receiver = threading.Thread(target=sink, args=(listener,))
    receiver.start()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as conn:
        piece = bytes(PIECE)
        for _ in range(SIZE // PIECE):
            conn.sendall(piece)
        conn.shutdown(socket.SHUT_WR)
        answer = b""
        while more := conn.recv(64):
            answer += more
    receiver.join()
    assert int(answer) == SIZE, answer
    return time.monotonic() - began


def start(command, pattern):
    """A relay and its port."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in server.stdout:
        if pattern in line:
            return server, int(line.split(pattern, 1)[1].split()[0].rpartition(":")[2])
    raise SystemExit(f"{command[0]} ended")


def main():
    build, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = listener.getsockname()[1]
        script = pathlib.Path(folder, "pipe.lua")
        script.write_text(SCRIPT % upstream)
        relay = [build / "tests/bench/bench_relay", "0", str(upstream)]
        neap = [build / "neap", "run", script, "--name", f"bench{os.getpid()}"]
        servers = {"relay": start(relay, "port="), "neap": start(neap, "listen=")}
        cost = {name: [] for name in servers}
        for turn in range(rounds + 1):
            for name, (server, port) in servers.items():
                before = cpu_seconds(server.pid)
                seconds = move(port, listener)
                used = cpu_seconds(server.pid) - before
                if turn:  # the first is to warm up
                    cost[name].append(used)
                    print(f"{name:6} {used:5.2f} s CPU {SIZE / seconds / 1e6:7.0f} MB/s", flush=True)
        for server, _ in servers.values():
            server.terminate()
            server.wait()
        ratio = statistics.median(a / b for a, b in zip(cost["neap"], cost["relay"]))
        print(f"neap costs x{ratio:.2f} of the relay (median of {rounds})")


main()
