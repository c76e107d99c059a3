"""What a message costs in neap, beside raw C, libev alone and whatever peers are installed.

    ./dev bench                        five rounds of two seconds, printed
    ./dev bench --rounds 9 --write     the same, into docs/benchmarks.md
    ./dev bench pingpong udp           some scenarios only

The servers take turns: A B C A B C ... in one run, so that a machine that slows down does so for all.
What counts is the CPU time of the server for a message, and its ratio to that of raw C in the same
round. Servers run on the first core, the client on the second: neap bench, which compares every reply.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs/benchmarks.md"

# Name, what it is, framing of the script, words of neap bench.
SCENARIOS = {
    "pingpong": ("64 connections, a line of 64 bytes at a time", "'line'", "-c 64"),
    "lines": ("64 connections, 16 lines of 64 bytes in flight on each", "'line'", "-c 64 -p 16"),
    "length": ("64 connections, 4 messages of 1 KiB behind a length", "{ 'length' }", "-c 64 -p 4 -s 1024 -f length"),
    "bulk": ("16 connections, 64 KiB at a time, without framing", "'raw'", "-c 16 -s 65536 -f raw"),
    "one": ("one connection, a line at a time", "'line'", "-c 1"),
    "churn": ("8 connections, a new one for each line", "'line'", "-c 8 --reconnect 1"),
    "udp": ("8 sockets, 4 datagrams of 64 bytes in flight on each", "'line'", "-c 8 -p 4"),
}


def servers_of(scenario, build, folder):
    """Commands by name; each prints "port=N" or neap's ready line."""
    is_udp = scenario == "udp"
    framing = SCENARIOS[scenario][1]
    kind = {"{ 'length' }": "length", "'line'": "line"}.get(framing, "raw")
    script = folder / f"{scenario}.lua"
    script.write_text(f"return {{ framing = {framing}, on_message = function(_, message) return message end }}")
    address = ("udp" if is_udp else "tcp") + "://127.0.0.1:0"
    name = f"bench{os.getpid()}"
    found = {
        "raw": [build / "tests/bench/bench_echo_raw", "0", *(["udp"] if is_udp else [])],
        "neap": [build / "neap", "run", script, "--listen", address, "--name", name],
    }
    if not is_udp:
        found["libev"] = [build / "tests/bench/bench_echo_libev", "0"]
    if shutil.which("node"):
        found["node"] = ["node", HERE / "echo_node.js", "udp" if is_udp else kind]
    if shutil.which("lua5.4") and kind != "length" and not is_udp and has_luv():
        found["luv"] = ["lua5.4", HERE / "echo_luv.lua", kind]
    return found


def has_luv():
    return subprocess.run(["lua5.4", "-e", "require 'luv'"], capture_output=True).returncode == 0


CORES = sorted(os.sched_getaffinity(0))


def on_core(index):
    """For a process to be started: servers have the first core, the client the second."""
    return lambda: os.sched_setaffinity(0, {CORES[index % len(CORES)]})


class Server:
    def __init__(self, command):
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=on_core(0),
        )
        for line in self.process.stdout:
            mark = "port=" if "port=" in line else "listen="
            if mark in line:
                self.port = line.split(mark, 1)[1].split()[0].rpartition(":")[2]
                return
        raise SystemExit(f"{command[0]} does not serve")

    def cpu_seconds(self):
        """Of all its threads, from the scheduler's own clock."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def stop(self):
        self.process.terminate()
        self.process.wait()


def load(server, scenario, build, seconds):
    """One round: microseconds of CPU a message, messages a second, p99 in microseconds."""
    words = SCENARIOS[scenario][2].split()
    address = f"{'udp' if scenario == 'udp' else 'tcp'}://127.0.0.1:{server.port}"
    before = server.cpu_seconds()
    done = subprocess.run(
        [build / "neap", "bench", address, *words, "-d", str(seconds), "-w", "0", "--json"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=on_core(1),
    )
    used = server.cpu_seconds() - before
    if not done.stdout:
        raise SystemExit(f"{scenario}: neap bench ended with {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    wrong = found["wrong"] + found["closed"]
    if wrong or not found["messages"]:
        raise SystemExit(f"{scenario}: {done.stdout}{done.stderr}")
    return used / found["messages"] * 1e6, found["messages_per_second"], found["latency_us"]["p99"]


def measure(scenario, build, rounds, seconds):
    """Rows of name, CPU a message, ratio to raw, messages a second, p99: medians."""
    with tempfile.TemporaryDirectory() as folder:
        running = {name: Server(command) for name, command in servers_of(scenario, build, pathlib.Path(folder)).items()}
        results = {name: [] for name in running}
        try:
            for turn in range(rounds + 1):
                for name, server in running.items():
                    row = load(server, scenario, build, seconds)
                    if turn:  # the first is to warm up
                        results[name].append(row)
        finally:
            for server in running.values():
                server.stop()
    rows = []
    for name, found in results.items():
        ratio = statistics.median(one[0] / raw[0] for one, raw in zip(found, results["raw"]))
        rows.append((name, statistics.median(one[0] for one in found), ratio, *(statistics.median(one[i] for one in found) for i in (1, 2))))
    return rows


def machine():
    cpu = next(
        (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip() if shutil.which("node") else ""
    names = [f"{os.cpu_count()} cores of {cpu}", f"Linux {platform.release()}"]
    if node:
        names.append(f"Node {node}")
    return ", ".join(names)


def table(scenario, rows):
    lines = [
        f"**{scenario}**: {SCENARIOS[scenario][0]}.",
        "",
        "| server | CPU a message | of raw C | messages a second | p99 |",
        "|---|---|---|---|---|",
    ]
    for name, cost, ratio, rate, p99 in rows:
        lines.append(f"| {name} | {cost:.3f} us | {ratio:.2f} | {rate:,.0f} | {p99:,.0f} us |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5, help="of each server; 5 if nothing is said")
    parser.add_argument("--seconds", type=float, default=2, help="of each round; 2 if nothing is said")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario '{unknown.pop()}'; there are {', '.join(SCENARIOS)}")
    tables = []
    for scenario in options.scenarios or SCENARIOS:
        tables.append(table(scenario, measure(scenario, options.build, options.rounds, options.seconds)))
        print(tables[-1], end="\n\n", flush=True)
    if options.write:
        today = datetime.date.today().isoformat()
        head, mark, rest = PAGE.read_text().partition("<!-- tables -->\n")
        rest = rest.partition("<!-- end of tables -->\n")[2]
        about = f"{today}, {machine()}; medians of {options.rounds} rounds of {options.seconds:g} s."
        body = "\n\n".join([about, *tables])
        PAGE.write_text(f"{head}{mark}\n{body}\n\n<!-- end of tables -->\n{rest}")
        print(f"written to {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
