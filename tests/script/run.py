"""Runs one *_test.lua in the server: run.py NEAP FILE.

It is good when the server ends with status 0, said that all tests passed and logged no error.
"""

import re
import subprocess
import sys


def main():
    neap, script = sys.argv[1:]
    command = [neap, "run", script, "--listen", "tcp://127.0.0.1:0"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
        check=False,
    )
    output = done.stdout.decode(errors="backslashreplace")
    sys.stdout.write(output)
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}")
    if not re.search(r"\ball [1-9][0-9]* tests passed\b", output):
        sys.exit("not all tests passed")
    if re.search(r"\blevel=error\b", output):
        sys.exit("an error was logged")


if __name__ == "__main__":
    main()
