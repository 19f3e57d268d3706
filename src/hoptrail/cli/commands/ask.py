"""The command that answers: ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from hoptrail.cli.app import EVERY_DAY, app, command
from hoptrail.cli.opening import open_memory, waiting
from hoptrail.cli.options import (
    AsOfOption,
    CountOption,
    EffortOption,
    EncoderOption,
    FilterOption,
    IndexOption,
    JsonFlag,
    NamespaceOption,
    PolicyOption,
    ReaderOption,
    StoreOption,
    argument,
)
from hoptrail.cli.printing import print_json, say
from hoptrail.outputs.printable import printable

if TYPE_CHECKING:
    from hoptrail.types import Answer, Evidence

NOT_KNOWN = 4
"""Exit code of a question to which the memory does not hold an answer."""
AROUND_SPAN = 60
"""Characters that are shown on either side of an answer in its passage."""


@command(
    app,
    "ask",
    panel=EVERY_DAY,
    examples="""
ask --store agent.db "Where was the designer of the Fram born?"
ask --store agent.db --k 10 --json "Who taught Ada?"
ask --store agent.db --as-of 2026-01-31 "Where does Ann live?"
ask --store agent.db --reader my-reader --namespace team "Who wrote it?\"""",
)
def answer_question(
    store: StoreOption,
    question: Annotated[str, argument("QUESTION", "what is to be answered, in a few words")],
    namespace: NamespaceOption = None,
    k: CountOption = 5,
    effort: EffortOption = "balanced",
    filter: FilterOption = None,
    as_of: AsOfOption = None,
    policy: PolicyOption = None,
    reader: ReaderOption = None,
    encoder: EncoderOption = None,
    index: IndexOption = "auto",
    json: JsonFlag = False,
) -> int:
    """Answer a question from a memory.

    Prints the answer in the words of the passages, how probably it is right, and where it stands.
    Where the memory does not hold an answer it says so, and the exit code is 4.
    """
    from hoptrail.formats.json_views import answer_data

    with (
        waiting("walking the memory, and reading"),
        open_memory(store, encoder=encoder, policy=policy, reader=reader, index=index) as memory,
    ):
        answer = memory.ask(question, k, namespace or (), effort, filter=filter, as_of=as_of)
    if json:
        print_json(answer_data(answer))
    else:
        say(*answer_lines(answer))
    return 0 if answer.known else NOT_KNOWN


def answer_lines(answer: Answer) -> list[str]:
    """An answer as a person reads it."""
    sure = "" if answer.probability is None else f"  ({answer.probability:.0%} sure)"
    if answer.text is None:
        return [f"the memory does not hold an answer{sure}"]
    lines = [f"{printable(answer.text)}{sure}"]
    passages = {(passage.namespace, passage.id): passage for passage in answer.passages}
    for one in answer.evidence:
        passage = passages[one.namespace, one.id]
        title = f"  {printable(passage.title)}" if passage.title else ""
        lines.append(f"  [{printable(passage.id)}]{title}")
        if text := _excerpt(passage.text, one):
            lines.append(f"    {printable(text)}")
    return lines


def _excerpt(text: str, evidence: Evidence) -> str:
    """What stands around an answer in a passage's text; the text's head where it does not."""
    inside = evidence.field == "text" and evidence.start is not None
    start = max(0, (evidence.start or 0) - AROUND_SPAN) if inside else 0
    end = (evidence.end or 0) + AROUND_SPAN if inside else 2 * AROUND_SPAN
    before, behind = "…" if start else "", "…" if end < len(text) else ""
    return f"{before}{text[start:end].strip()}{behind}"
