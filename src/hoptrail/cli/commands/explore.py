"""The command that shows a memory in a browser: explore."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from hoptrail.cli.app import AROUND, app, command
from hoptrail.cli.opening import open_memory
from hoptrail.cli.options import (
    EncoderOption,
    NamespaceOption,
    PolicyOption,
    StoreOption,
    option,
    path_option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import say


@command(
    app,
    "explore",
    panel=AROUND,
    examples="""
explore --store agent.db
explore --store agent.db --read-only --port 9000
explore --store agent.db --compare my-policy""",
)
def explore_store(
    store: StoreOption,
    namespace: NamespaceOption = None,
    policy: PolicyOption = None,
    compare: Annotated[
        list[Path] | None,
        path_option(
            "--compare",
            metavar="DIR",
            help="a further policy to compare with; may be given more than once",
        ),
    ] = None,
    encoder: EncoderOption = None,
    read_only: Annotated[bool, toggle("--read-only", "offer nothing that writes")] = False,
    host: Annotated[
        str, option("--host", metavar="ADDRESS", help="where it listens (default: 127.0.0.1)")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        option("--port", parser=whole_argument, metavar="N", help="0 for any (default: 8765)"),
    ] = 8765,
    allow_host: Annotated[
        list[str] | None,
        option(
            "--allow-host",
            metavar="NAME",
            help="a name that others reach it by; may be given more than once",
        ),
    ] = None,
) -> int:
    """Show a memory in a browser, on this machine.

    Ask and watch the walk step by step on the graph, compare efforts and policies, browse, edit,
    link, forget and undo. Prints the address to open, which holds the token that every request
    needs.
    """
    from hoptrail.integrations.explorer.exploring import explore

    with ExitStack() as stack:
        memory = stack.enter_context(
            open_memory(store, read_only=read_only, encoder=encoder, policy=policy)
        )
        policies = {
            str(folder): stack.enter_context(
                open_memory(store, read_only=True, encoder=encoder, policy=folder)
            )
            for folder in compare or ()
        }
        explore(
            memory,
            policies=policies,
            namespace=namespace or (),
            read_only=read_only,
            host=host,
            port=port,
            allowed_hosts=allow_host or (),
            announce=lambda url: say(f"open {url}", stream=sys.stderr),
        )
    return 0
