"""The command that keeps and shows a log of recalls: log."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from hoptrail.cli.app import AROUND, app, command
from hoptrail.cli.opening import open_memory
from hoptrail.cli.options import (
    JsonFlag,
    NamespaceOption,
    StoreOption,
    option,
    toggle,
    whole_argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.errors import InputError
from hoptrail.outputs.printable import printable


@command(
    app,
    "log",
    panel=AROUND,
    examples="""
log --store agent.db --keep 1000
log --store agent.db
log --store agent.db --namespace team/ann --last 100 --json
log --store agent.db --forget""",
)
def show_recall_log(
    store: StoreOption,
    namespace: NamespaceOption = None,
    last: Annotated[
        int, option("--last", parser=whole_argument, metavar="N", help="recalls (default: 20)")
    ] = 20,
    keep: Annotated[
        int | None,
        option(
            "--keep",
            parser=whole_argument,
            metavar="N",
            help="from now on keep the latest N recalls; 0 ends the log and deletes it",
        ),
    ] = None,
    forget: Annotated[
        bool, toggle("--forget", "delete the log of recalls that asked this namespace")
    ] = False,
    json: JsonFlag = False,
) -> int:
    """Show what was recalled: when, what was asked, what came back, and what was said of it.

    A memory keeps no log until --keep says how many recalls. What is deleted from the memory goes
    from the log in the same transaction.
    """
    if keep is not None and forget:
        raise InputError("--keep and --forget are two things to do: give one of them")
    changes = keep is not None or forget
    with open_memory(store, read_only=not changes, default_encoder=None) as memory:
        if keep is not None:
            memory.keep_log(keep)
            say(f"the latest {keep} recalls are kept" if keep else "no log is kept any more")
            return 0
        if forget:
            count = memory.forget_log(namespace or ())
            print_json({"forgotten": count}) if json else say(f"{count} recalls forgotten")
            return 0
        entries = memory.recall_log(namespace or (), last=last)
    if json:
        print_json({"recalls": [asdict(entry) for entry in entries]})
        return 0
    if not entries:
        say("no recall is in the log: --keep N keeps the latest N", stream=sys.stderr)
    for entry in entries:
        when = datetime.fromtimestamp(entry.asked_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        verdict = "" if entry.reward is None else f"  reward {entry.reward:g}"
        say(f"{when}  {entry.id}  {printable(entry.question)}{verdict}")
        for hit in entry.hits:
            reward = "" if hit.reward is None else f"  reward {hit.reward:g}"
            say(f"    {hit.score:.2f}  {printable(hit.title or hit.id)}{reward}")
    return 0
