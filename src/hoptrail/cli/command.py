"""How a command line is read: commands, their groups, and what is said of one that there is not.

Typer reads options whose number of values is fixed. Three kinds more are spread out before it sees
them: an option that may be repeated takes several values at once (`--corpus a b`), one of pairs
takes two (`--set CORPUS QUESTIONS`), and one whose value may be left out gets it (`--varied`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from hoptrail.cli.printing import say

RENAMED = {"prune": "dedup"}
"""Commands that had another name once, so that it is suggested."""
SUGGESTIONS = 3
"""Commands that are suggested in place of one that there is not."""


@dataclass
class Invocation:
    """One run of the program.

    Attributes:
        line: The command line, as a shell would take it.
        json: Whether stdout is to hold JSON, so that an error is JSON as well.
    """

    line: str
    json: bool = False


def invocation_line(context: Any) -> str:
    """The command line of a command at work, for the card of what it makes.

    Args:
        context: The command's.
    """
    invocation: Invocation = context.obj
    return invocation.line


class Command(TyperCommand):
    """A command whose options may also be pairs, or go without their value."""

    optional: ClassVar[Mapping[str, str]] = {}
    """Options that may go without a value, and which they then have."""
    pairs: ClassVar[frozenset[str]] = frozenset()
    """Options of two values each."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, with no type where help need not show one."""
        params = super().get_params(ctx)
        _hide_types(params)
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and the examples below it as they are typed, whatever the width."""
        with _no_epilog(self) as epilog:
            super().format_help(ctx, formatter)
        say(*epilog.splitlines())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spread the arguments out, see where errors go, and let a user's settings be defaults."""
        if ctx.resilient_parsing:  # a shell asks what could follow
            return super().parse_args(ctx, args)
        args = list(self._spread(ctx, args))
        report = "--json=-" in args
        if isinstance(ctx.obj, Invocation):
            flags = {param.name for param in self.params if getattr(param, "is_flag", False)}
            ctx.obj.json = report or ("--json" in args and "json" in flags)
        if any(param.name == "store" for param in self.params):
            from hoptrail.cli.config import load_settings

            ctx.default_map = load_settings()
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if getattr(error, "ctx", None) is None:  # of an option without its value
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def _spread(self, ctx: Any, args: list[str]) -> Iterator[str]:
        several = {
            name
            for param in self.params
            if getattr(param, "multiple", False)
            for name in param.opts
        }
        positional = any(param.param_type_name == "argument" for param in self.params)
        rest = list(args)
        while rest:
            token = rest.pop(0)
            if token == "--":
                yield token
                yield from rest
                return
            values = _values_ahead(rest)
            if token in self.pairs:
                if len(values) != 2:
                    metavar = next(p.metavar for p in self.params if token in p.opts)
                    raise typer.BadParameter(
                        f"takes {metavar}, got {len(values)} of them", ctx, param_hint=[token]
                    )
            elif token in self.optional:
                yield f"{token}={rest.pop(0) if values else self.optional[token]}"
                continue
            elif token not in several or positional or not values:
                yield token
                continue
            for value in values:
                yield from (token, value)
            del rest[: len(values)]


def taking(*, optional: Mapping[str, str] | None = None, pairs: tuple[str, ...] = ()) -> Any:
    """A class of commands with such options.

    Args:
        optional: Options that may go without a value, and which they then have.
        pairs: Options of two values each.
    """
    options = {"optional": optional or {}, "pairs": frozenset(pairs)}
    return type("Command", (Command,), options)


class Group(TyperGroup):
    """A group of commands, one of which may be meant where none is named."""

    route: ClassVar[Callable[[list[str]], list[str]] | None] = None
    """Puts the name of the command that is meant before its options."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, with no type where help need not show one."""
        params = super().get_params(ctx)
        _hide_types(params)
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and the examples below it as they are typed, whatever the width."""
        with _no_epilog(self) as epilog:
            super().format_help(ctx, formatter)
        say(*epilog.splitlines())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the command where its options are given without it."""
        route = type(self).route
        if route and args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = route(args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command, or an error that says which one may be meant."""
        if self.get_command(ctx, args[0]) is None:
            root = ctx.find_root()
            meant = suggestions(args[0], dict(command_paths(root.command, root.command_path)))
            hint = f": did you mean {' or '.join(f'`{path}`' for path in meant)}?" if meant else ""
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


def command_paths(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that is shown in a help, by what is typed to run it."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{path} {name}", command
            if isinstance(command, TyperGroup):
                yield from command_paths(command, f"{path} {name}")


def suggestions(name: str, commands: Mapping[str, Any]) -> list[str]:
    """The commands that somebody may mean by a name that none has, the likeliest first."""
    last = {path: path.rsplit(" ", 1)[1] for path in commands}
    name = RENAMED.get(name, name)
    same = [path for path, word in last.items() if word == name]
    if same:
        return same[:SUGGESTIONS]
    near = get_close_matches(name, set(last.values()), n=SUGGESTIONS, cutoff=0.7)
    return [path for word in near for path in last if last[path] == word][:SUGGESTIONS]


@contextmanager
def _no_epilog(command: Any) -> Iterator[str]:
    """A command without what stands below its help, which Typer would wrap."""
    epilog, command.epilog = command.epilog or "", None
    try:
        yield epilog
    finally:
        command.epilog = epilog


def _values_ahead(tokens: list[str]) -> list[str]:
    """What stands before the next option."""
    values: list[str] = []
    for token in tokens:
        if token.startswith("-") and token != "-":
            break
        values.append(token)
    return values


def _hide_types(params: list[Any]) -> None:
    """Let help say `--json` and `SOURCE`, not `--json <bool>` and `SOURCE <list[Path]>`."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
        elif param.param_type_name == "argument":
            param.display_type_rich = _no_type


def _no_type(ctx: Any) -> None:
    """What help shows of the type of a positional argument."""


def settings_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a command sets: options that were left out keep the defaults of what they are for.

    Args:
        options: Values by the names of settings; None for one that was left out.
    """
    return {name: value for name, value in options.items() if value is not None}
