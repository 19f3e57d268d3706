"""Passages as text that a model reads, in a form that no stored text can imitate."""

from __future__ import annotations

from collections.abc import Sequence

from hoptrail.outputs.printable import printable_lines, quoted, validity_text
from hoptrail.types import Answer, Hit, Namespace, Recall

NOTHING = "Nothing is remembered here."
"""What a model reads where there is no passage."""
MAX_SHOWN = 20_000
"""Characters of one passage's text that a model is shown."""


def recall_text(recall: Recall, scope: Namespace = ()) -> str:
    """A recall as a model reads it: its id, by which it can be judged, then the passages.

    Args:
        recall: With the passages.
        scope: The namespace that the model knows of; another one is named behind the id.
    """
    if not recall.hits:
        return NOTHING
    sure = "" if recall.complete is None else f", complete: {recall.complete:.2f}"
    return f"Recall (recall: {quoted(recall.id)}{sure})\n\n{passages_text(recall.hits, scope)}"


def answer_text(answer: Answer, scope: Namespace = ()) -> str:
    """An answer as a model reads it: the answer, how sure it is, and the passages it rests on.

    Args:
        answer: Of a memory.
        scope: The namespace that the model knows of; another one is named behind the id.
    """
    sure = "" if answer.probability is None else f", probability: {answer.probability:.2f}"
    recall = f"recall: {quoted(answer.recall.id)}{sure}" if answer.recall else sure[2:]
    if answer.text is None:
        return f"The memory does not hold an answer ({recall})."
    names = {(one.namespace, one.id) for one in answer.evidence}
    hits = [Hit(p, 0.0) for p in answer.passages if (p.namespace, p.id) in names]
    rests = f"\n\nIt rests on:\n\n{passages_text(hits, scope)}" if hits else ""
    return f"Answer: {quoted(answer.text)} ({recall}){rests}"


def passages_text(hits: Sequence[Hit], scope: Namespace = ()) -> str:
    """The passages as a model reads them.

    A passage is a line `[number] "title" (id: "id")`, title and id as JSON strings, and then the
    lines of its text, each behind `> `. So whatever a text, a title or an id holds, it neither
    begins a line that is not behind `> ` nor ends the quotation it stands in; and what could hide
    or turn around is shown as its escape. Where a passage says when it is valid, so does the line
    of its id, and of a text longer than `MAX_SHOWN` how much is shown.

    Args:
        hits: The passages, best first.
        scope: The namespace that the model knows of; another one is named behind the id.
    """
    if not hits:
        return NOTHING
    return "\n\n".join(_passage_text(number, hit, scope) for number, hit in enumerate(hits, 1))


def _passage_text(number: int, hit: Hit, scope: Namespace) -> str:
    passage = hit.passage
    title = quoted(passage.title) if passage.title else "Untitled"
    about = [f"id: {quoted(passage.id)}"]
    if passage.namespace != scope:
        about.append(f"namespace: [{', '.join(map(quoted, passage.namespace))}]")
    if valid := validity_text(passage.valid_from, passage.valid_until):
        about.append(valid)
    if len(passage.text) > MAX_SHOWN:
        about.append(f"the first {MAX_SHOWN} of {len(passage.text)} characters")
    lines = [f"> {line}".rstrip() for line in printable_lines(passage.text[:MAX_SHOWN])]
    return "\n".join([f"[{number}] {title} ({', '.join(about)})", *lines])
