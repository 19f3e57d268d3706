"""The command line: `hoptrail add`, `recall`, `train`, `evaluate`, `demo` and a few small ones.

Results go to stdout, progress and errors to stderr; with `--json`, stdout holds JSON and nothing
else. An error of ours is one sentence on stderr. Nothing heavy is imported before a command needs
it, so that `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence

from hoptrail.cli_changing import register as register_changing
from hoptrail.cli_demo import register as register_demo
from hoptrail.cli_encoders import register as register_encoders
from hoptrail.cli_keeping import register as register_keeping
from hoptrail.cli_learning import register as register_learning
from hoptrail.cli_looking import register as register_looking
from hoptrail.cli_measuring import register as register_measuring
from hoptrail.cli_memory import register as register_memory
from hoptrail.errors import HoptrailError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_EPILOG = """\
exit codes:
  0    done
  1    it could not be done; one sentence on stderr says why, and a store is as it was
  2    the command line itself is wrong
  3    an update of a policy was refused: nothing was written, one sentence on stderr says why
  130  interrupted

environment:
  HOPTRAIL_CACHE  folder of cached vectors and training stores (~/.cache/hoptrail)

`hoptrail COMMAND --help` shows a command's options and examples."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code.

    Args:
        argv: The arguments after the program's name; by default the process's own.
    """
    _tolerate_narrow_terminals()
    parser = build_parser()
    given = sys.argv[1:] if argv is None else list(argv)
    args = parser.parse_args(given)
    args.command = shlex.join(["hoptrail", *given])
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except HoptrailError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left (`| head`): nothing more to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
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


def _fail(sentence: str) -> int:
    print(f"hoptrail: {' '.join(sentence.split())}", file=sys.stderr)  # one line, whoever wrote it
    return FAILED


def _tolerate_narrow_terminals() -> None:
    """Print what a terminal's encoding cannot hold as `?`, rather than fail on a passage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
