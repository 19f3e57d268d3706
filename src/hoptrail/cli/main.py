"""The command line: one program, its commands in groups, and what it answers when something fails.

Results go to stdout, progress and errors to stderr; with `--json`, stdout holds JSON and nothing
else. An error of ours is one sentence on stderr. Nothing heavy is imported before a command needs
it, so that `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import atexit
import copy
import gc
import io
import logging
import os
import shlex
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import typer

# The order of the panels in the program's help; each module adds its commands to the program.
from hoptrail.cli.commands import write as write  # isort: skip
from hoptrail.cli.commands import query as query  # isort: skip
from hoptrail.cli.commands import ask as ask  # isort: skip
from hoptrail.cli.commands import serve as serve  # isort: skip
from hoptrail.cli.commands import explore as explore  # isort: skip
from hoptrail.cli.commands import log as log  # isort: skip
from hoptrail.cli.commands import store as store  # isort: skip
from hoptrail.cli.commands import train as train  # isort: skip
from hoptrail.cli.commands import train_reformulator as train_reformulator  # isort: skip
from hoptrail.cli.commands import rag as rag  # isort: skip
from hoptrail.cli.commands import train_reader as train_reader  # isort: skip
from hoptrail.cli.commands import evaluate as evaluate  # isort: skip
from hoptrail.cli.commands import compare as compare  # isort: skip
from hoptrail.cli.commands import encoder as encoder  # isort: skip
from hoptrail.cli.commands import learn_index as learn_index  # isort: skip
from hoptrail.cli.commands import demo as demo  # isort: skip
from hoptrail.cli.app import AROUND, app, command
from hoptrail.cli.command import Invocation
from hoptrail.cli.config import config_file, settings_and_sources
from hoptrail.cli.options import JsonFlag
from hoptrail.cli.printing import print_json, say
from hoptrail.errors import HoptrailError
from hoptrail.values.server_urls import without_passwords

OK, FAILED, INTERRUPTED = 0, 1, 130
TRACEBACK = "HOPTRAIL_TRACEBACK"
"""In the environment, for developers: an error that is not ours is raised."""
COMPLETION = "_HOPTRAIL_COMPLETE"
"""In the environment, from the shell: it asks what could follow."""
LONGEST = 1000
"""Characters of a message that are printed."""

NEW_OBJECTS = 20_000
"""Between two searches for objects that refer to each other and are garbage: imports make a hundred
thousand objects that all stay, and Python looks through them after every 700."""

PREPARING_LOGGER = "hoptrail.memory.encoders.onnx_encoder"
"""Tells that an encoder is being made ready for what comes, which takes long and happens once."""


@command(
    app,
    "config",
    panel=AROUND,
    examples="""
config
config --json""",
)
def show_config(json: JsonFlag = False) -> int:
    """Show which defaults apply, and where each is from.

    A file in TOML may set the store, the namespace, the encoder, the policy and the effort of the
    commands that open a memory. The environment goes before it, and an option before both.
    """
    rows = {
        name: (value and without_passwords(value), source)
        for name, (value, source) in settings_and_sources().items()
    }
    file = config_file()
    if json:
        values = {name: {"value": value, "from": source} for name, (value, source) in rows.items()}
        print_json({"file": str(file), "exists": file.exists(), "settings": values})
        return 0
    say(f"settings: {file}{'' if file.exists() else ' (there is none)'}")
    say(*(f"  {name}: {value or '-'}  ({source})" for name, (value, source) in rows.items()))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Whatever goes wrong is one sentence on stderr.

    Args:
        argv: The arguments after the program's name; by default the process's own.
    """
    _prepare_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    invocation = Invocation(without_passwords(shlex.join(["hoptrail", *arguments])))
    try:
        with _sentences_for_warnings():
            code = _run(arguments, invocation)
            sys.stdout.flush()
            return code
    except typer.Exit as stop:
        return stop.exit_code
    except typer.TyperException as error:
        return _refuse(error, invocation)
    except HoptrailError as error:
        return _fail(type(error).__name__, str(error), invocation)
    except KeyboardInterrupt:
        return _fail("KeyboardInterrupt", "interrupted", invocation, INTERRUPTED)
    except BrokenPipeError:
        _forget_stdout()
        return OK
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        return _fail(type(error).__name__, _unexpected(error), invocation)


def run_program() -> int:
    """The program as a shell starts it: `main`, and no more work at either end than it needs.

    When all is said, what is to happen at exit happens, and the process ends there: to take apart
    what it has in memory, object by object, takes as long as a walk. Where a thread is still at
    work, the usual way out waits for it.
    """
    gc.set_threshold(NEW_OBJECTS)
    code = main()
    if threading.active_count() == 1:
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError, AttributeError):  # what fails is said by the usual way
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


def build_command(name: str | None = None) -> Any:
    """The program as Typer runs it: a group of commands.

    Args:
        name: The only command that will be run, if that is known: to build all of them takes as
            long as a recall. One that is no command, or a group, stands for all.
    """
    only = [command for command in app.registered_commands if command.name == name]
    if not only:
        return typer.main.get_command(app)
    program = copy.copy(app)
    program.registered_commands, program.registered_groups = only, []
    return typer.main.get_command(program)


def _run(arguments: list[str], invocation: Invocation) -> int:
    if COMPLETION in os.environ:
        build_command().main(args=arguments, prog_name="hoptrail")  # which exits
    program = build_command(arguments[0] if arguments else None)
    with program.make_context("hoptrail", arguments, obj=invocation) as context:
        code: int = program.invoke(context)
    return code


def _refuse(error: typer.TyperException, invocation: Invocation) -> int:
    """Say on stderr what is wrong with a command line, below its command's usage."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "hoptrail"
    message = error.format_message().replace("Value error, ", "")
    if invocation.json:
        return _fail("UsageError", message, invocation, error.exit_code)
    if context:
        usage = " ".join(context.get_usage().split())
        say(usage, f"try: {path} --help", stream=sys.stderr)
    say(f"{path}: error: {_short(without_passwords(message))}", stream=sys.stderr)
    return error.exit_code


def _fail(kind: str, sentence: str, invocation: Invocation, code: int = FAILED) -> int:
    """Say on stderr what is wrong, on one line or as JSON, whoever wrote it."""
    sentence = _short(without_passwords(" ".join(sentence.split())))
    with suppress(OSError, ValueError):  # nobody may be there to read it
        if invocation.json:
            print_json({"error": kind, "message": sentence, "exit_code": code}, sys.stderr)
        else:
            say(f"hoptrail: {sentence}", stream=sys.stderr)
        sys.stderr.flush()
    return code


def _unexpected(error: Exception) -> str:
    """What is said of an error that is not ours."""
    if isinstance(error, OSError):
        _forget_stdout()  # perhaps it is what failed: nothing may be left in it for the exit
        named = f"{error.filename}: " if error.filename else ""
        return f"{named or 'the system refuses: '}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    message = f": {_short(str(error))}" if str(error) else ""
    return (
        f"an error that hoptrail did not expect, {type(error).__name__}{message} "
        f"(with {TRACEBACK}=1 in the environment it shows where, for a report)"
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _forget_stdout() -> None:
    """Let what is still to be written go nowhere: whoever read it has left, or it cannot be kept.

    Otherwise Python would try once more as it exits, and complain.
    """
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_streams() -> None:
    """Stand in for streams that are closed; print as `?` what an encoding cannot hold."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextmanager
def _sentences_for_warnings() -> Iterator[None]:
    """Have warnings, and what our loggers say, on stderr as one printable line each."""
    handler = _Sentences()
    logger = logging.getLogger("hoptrail")
    logger.addHandler(handler)
    preparing = logging.getLogger(PREPARING_LOGGER)
    level_before = preparing.level
    preparing.setLevel(logging.INFO)  # it tells of what takes long
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: _warn(str(message))
    try:
        yield
    finally:
        warnings.showwarning = before
        logger.removeHandler(handler)
        preparing.setLevel(level_before)


class _Sentences(logging.Handler):
    """Writes warnings and worse, and what a logger tells that is set to tell more."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            _warn(record.getMessage())
        else:
            _tell(record.getMessage())


def _warn(message: str) -> None:
    _tell(f"warning: {message}")


def _tell(message: str) -> None:
    with suppress(OSError, ValueError):
        say(f"hoptrail: {without_passwords(' '.join(message.split()))}", stream=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_program())
