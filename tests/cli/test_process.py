"""The program as a process: it ends when all is said, and leaves out nothing that was to happen."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, sys, threading
from hoptrail.cli.main import run_program

class Held:
    def __del__(self):
        print("taken apart", flush=True)

held = Held()
held.itself = held
atexit.register(print, "at exit")
over = threading.Event()
work = threading.Thread(target=lambda: (over.wait(), print("worked")))
if "--work" in sys.argv:
    sys.argv.remove("--work")
    work.start()
code = run_program()
over.set()
sys.exit(code)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a process that holds an object, with what is to happen as it ends."""
    return subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_was_to_happen_at_exit_happens_and_nothing_is_taken_apart() -> None:
    done = run("--version")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith("hoptrail ")
    assert rest == ["at exit"]


def test_the_exit_code_is_the_command_s() -> None:
    assert run("no-such-command").returncode == 2
    done = run("recall", "--store", "no-such-folder/no.db", "Who?")
    assert done.returncode == 1
    assert "no.db" in done.stderr


def test_a_thread_that_is_at_work_is_waited_for() -> None:
    done = run("--version", "--work")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:3] == ["worked", "at exit"]
