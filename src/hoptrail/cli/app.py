"""The program and what it is made of: groups, panels of its help, and how a command joins it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from hoptrail.cli.command import Command, Group
from hoptrail.cli.options import toggle
from hoptrail.cli.printing import say

EVERY_DAY = "Every day"
CHANGING = "Changing what is there"
KEEPING = "Keeping a memory in order"
LEARNING = "Learning and measuring"
AROUND = "Around it"
PANELS = (EVERY_DAY, CHANGING, KEEPING, LEARNING, AROUND)
"""Of the program's help, in their order."""

Function = TypeVar("Function", bound=Callable[..., int])

_EPILOG = """\
 options
   --help, -h            of the program, a group or a command, with examples
   --version             print the version
   --install-completion  complete commands and options in this shell
   --show-completion     print what that would install

 exit codes
   0    done
   1    it could not be done; stderr says why, and a store is as it was
   2    the command line itself is wrong
   3    an update of a policy was refused, and nothing was written
   4    the memory does not hold an answer to what was asked
   130  interrupted

 environment
   HOPTRAIL_STORE      the memory's file or URL, where --store is not given
   HOPTRAIL_CONFIG     the file of settings that `hoptrail config` shows
   HOPTRAIL_CACHE      the folder of cached vectors and training stores
   HOPTRAIL_TRACEBACK  1 to see where an error that was not expected arose
"""


class Program(Group):
    """The program itself: its help is its commands, panel by panel."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, which the text below the commands names."""
        params = super().get_params(ctx)
        for param in params:
            param.hidden = True
            if param.is_flag and param.default is None:
                param.default = False  # or Typer imports pydantic to learn what None means
        return params

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands, those of a panel together."""

        def place(name: str) -> int:
            panel = getattr(self.commands[name], "rich_help_panel", None)
            return PANELS.index(panel) if panel in PANELS else len(PANELS)

        return sorted(self.commands, key=place)


def command(
    group: typer.Typer,
    name: str,
    *,
    examples: str,
    panel: str | None = None,
    cls: Any = Command,
    hidden: bool = False,
) -> Callable[[Function], Function]:
    """Make a function a command of a group; its docstring is the help, its signature the options.

    Args:
        group: The program, or one of its groups.
        name: What is typed.
        examples: Command lines, one a line, each without `hoptrail`.
        panel: Of the program's help.
        cls: How its options are read; see `hoptrail.cli.command.taking`.
        hidden: It stands in no help and is suggested to nobody.
    """

    def register(function: Function) -> Function:
        decorate = group.command(
            name,
            cls=cls,
            help=_paragraphs(function.__doc__ or ""),
            epilog=epilog_of(examples),
            rich_help_panel=panel,
            hidden=hidden,
        )
        decorate(function)
        return function

    return register


def add_group(
    name: str,
    help: str,
    *,
    examples: str,
    panel: str,
    route: Callable[[list[str]], list[str]] | None = None,
) -> typer.Typer:
    """A group of commands of the program.

    Args:
        name: What is typed before its commands.
        help: What they are for.
        examples: Command lines, one a line, each without `hoptrail`.
        panel: Of the program's help.
        route: Names the command that is meant where its options are given without it.
    """
    group_class = type("Group", (Group,), {"route": staticmethod(route)}) if route else Group
    group = typer.Typer(
        cls=group_class, help=_paragraphs(help), epilog=epilog_of(examples), add_completion=False
    )
    app.add_typer(group, name=name, rich_help_panel=panel)
    return group


def epilog_of(examples: str) -> str:
    """Examples as they stand below a help."""
    lines = (f"   hoptrail {line.strip()}" for line in examples.strip().splitlines())
    return "\n".join((" examples", *lines))


def _paragraphs(text: str) -> str:
    """A docstring whose lines are as wide as the terminal, not as the source."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _print_version(value: bool) -> None:
    if value:
        import hoptrail

        say(f"hoptrail {hoptrail.__version__}")
        raise typer.Exit


app = typer.Typer(
    name="hoptrail",
    cls=Program,
    help="A memory for agents, linked as a graph, and a small learned policy that walks it.",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["--help", "-h"]},
    rich_markup_mode="rich",
)
"""The program; the modules of `hoptrail.cli.commands` add their commands to it."""


@app.callback()
def program(
    version: Annotated[
        bool,
        toggle("--version", "print the version", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """The options of the program itself."""
