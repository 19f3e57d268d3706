"""The command line: `hoptrail add`, `recall`, `train`, `evaluate`, `demo` and a few small ones.

Results go to stdout, progress and errors to stderr; with `--json`, stdout holds JSON and nothing
else. An error of ours is one sentence on stderr. Nothing heavy is imported before a command needs
it, so that `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from hoptrail.cli.demo import register as register_demo
from hoptrail.cli.encoder import register as register_encoders
from hoptrail.cli.evaluate import register as register_measuring
from hoptrail.cli.inspect import register as register_looking
from hoptrail.cli.options import say
from hoptrail.cli.query import register as register_memory
from hoptrail.cli.store import register as register_keeping
from hoptrail.cli.train import register as register_learning
from hoptrail.cli.write import register as register_changing
from hoptrail.errors import HoptrailError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
TRACEBACK = "HOPTRAIL_TRACEBACK"
"""In the environment, for developers: an error that is not ours is raised."""
LONGEST = 1000
"""Characters of a message that are printed."""

_EPILOG = """\
exit codes:
  0    done
  1    it could not be done; one sentence on stderr says why, and a store is as it was
  2    the command line itself is wrong
  3    an update of a policy was refused: nothing was written, one sentence on stderr says why
  130  interrupted

environment:
  HOPTRAIL_CACHE      folder of cached vectors and training stores (~/.cache/hoptrail)
  HOPTRAIL_TRACEBACK  1 to see where an error that was not expected arose, for a report

`hoptrail COMMAND --help` shows a command's options and examples."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Whatever goes wrong is one sentence on stderr.

    Args:
        argv: The arguments after the program's name; by default the process's own.
    """
    _prepare_streams()
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        with _sentences_for_warnings():
            args = build_parser().parse_args(given)
            args.command = shlex.join(["hoptrail", *given])
            code: int = args.run(args)
            sys.stdout.flush()
            return code
    except HoptrailError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return OK
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        return _fail(_unexpected(error))


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = _Parser(
        prog="hoptrail",
        description="A memory for agents, linked as a graph, and a small learned policy that "
        "walks it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    register_memory(commands)
    register_changing(commands)
    register_looking(commands)
    register_keeping(commands)
    register_learning(commands)
    register_measuring(commands)
    register_encoders(commands)
    register_demo(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(
            option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version"
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        import hoptrail

        print(f"hoptrail {hoptrail.__version__}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints repeat no orders to a terminal out of the arguments."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Complain of what is not known where the command's own usage can be shown."""
        values, rest = super().parse_known_args(args, namespace)
        if unknown := [argument for argument in rest if argument.startswith("-")] or rest:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return values, rest

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {_short(message)}", stream=sys.stderr)
        raise SystemExit(USAGE)


def _fail(sentence: str) -> int:
    """Say on stderr what is wrong, on one line, whoever wrote it."""
    with suppress(OSError, ValueError):  # nobody may be there to read it
        say(f"hoptrail: {_short(' '.join(sentence.split()))}", stream=sys.stderr)
        sys.stderr.flush()
    return FAILED


def _unexpected(error: Exception) -> str:
    """What is said of an error that is not ours."""
    if isinstance(error, OSError):
        _forget_stdout()  # perhaps it is what failed: nothing may be left in it for the exit
        named = f"{error.filename}: " if error.filename else ""
        return f"{named or 'the system refuses: '}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    said = f": {_short(str(error))}" if str(error) else ""
    return (
        f"an error that hoptrail did not expect, {type(error).__name__}{said} "
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
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: _warn(str(message))
    try:
        yield
    finally:
        warnings.showwarning = before
        logger.removeHandler(handler)


class _Sentences(logging.Handler):
    """Writes warnings and worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        _warn(record.getMessage())


def _warn(message: str) -> None:
    with suppress(OSError, ValueError):
        say(f"hoptrail: warning: {' '.join(message.split())}", stream=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
