"""Both sides of facts that changed, or only the newest: on conversations of BEAM.

    python benchmarks/store/facts_in_time.py DATA [--k 10] [--effort balanced] [--words]
        [--out FILE]

DATA holds BEAM's corpus.jsonl and questions.jsonl. Of its questions on knowledge that was updated
and on contradictions the evidence is at least two turns of one conversation; the last of them says
what holds in the end. Every turn is valid from its place in the conversation on. Each question is
asked as the corpus is; then with each turn of its evidence superseded by the next; then of all that
was ever valid; and as of just before the last one. Then that is undone. `--words` searches by words
alone, which needs no model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hoptrail import Memory, Passage, Question
from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.memory.testing.hash_encoder import HashEncoder

KINDS = ("knowledge_update", "contradiction_resolution")
START = 1_700_000_000.0
"""When the first turn of every conversation was said."""

Ask = Callable[[Question, object], set[str]]
"""Ids of what comes back for a question as of a time."""


def main() -> None:
    """Ask every question in each of the ways, and print what came back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--effort", default="balanced")
    parser.add_argument("--words", action="store_true", help="search by words alone")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        encoder = HashEncoder() if args.words else "auto"
        with Memory(Path(folder) / "beam.db", encoder=encoder) as memory:
            figures = measure(memory, args.data, asker(memory, args.k, args.effort, args.words))
    print(json.dumps(figures, indent=1))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def asker(memory: Memory, k: int, effort: str, words: bool) -> Ask:
    """What asks the memory: a recall, or a search by words."""

    def ask(question: Question, as_of: object) -> set[str]:
        options = {"namespace": question.namespace, "as_of": as_of}
        if words:
            hits = memory.search(question.text, k, mode="sparse", **options)
        else:
            hits = list(memory.recall(question.text, k, effort=effort, **options).hits)
        return {hit.passage.id for hit in hits}

    return ask


def measure(memory: Memory, data: Path, ask: Ask) -> dict[str, dict[str, float]]:
    """Shares of the questions of each kind, in %, for each way of asking.

    Args:
        memory: Empty.
        data: BEAM's folder.
        ask: Asks the memory.
    """
    corpus = read_corpus(data / "corpus.jsonl")
    memory.add(replace(passage, valid_from=START + turn(passage.id)) for passage in corpus)
    questions = [
        question
        for question in read_questions(data / "questions.jsonl")
        if question.kind in KINDS and len(question.supporting_ids) > 1
    ]
    rows: dict[str, list[dict[str, bool]]] = {kind: [] for kind in KINDS}
    for question in questions:
        rows[question.kind or ""].append(sides(memory, question, ask))
    return {
        kind: {"questions": len(several)}
        | {name: 100 * sum(row[name] for row in several) / len(several) for name in several[0]}
        for kind, several in rows.items()
    }


def sides(memory: Memory, question: Question, ask: Ask) -> dict[str, bool]:
    """Which sides of one fact come back in each of the ways to ask."""
    *olds, newest = sorted(set(question.supporting_ids), key=turn)
    space, last = question.namespace, START + turn(newest)
    ids_of = {"as it is": ask(question, None)}
    before = {id_: memory.get(id_, space) for id_ in (*olds, newest)}
    for old, new in zip(olds, [*olds[1:], newest], strict=True):
        memory.supersede(old, memory.get(new, space, as_of="ever"), namespace=space)
    ids_of |= {
        "superseded": ask(question, None),
        "ever": ask(question, "ever"),
        "before the last": ask(question, last - 0.5),
    }
    undo(memory, before)
    out: dict[str, bool] = {}
    for how, ids in ids_of.items():
        out[f"{how}: the newest"] = newest in ids
        out[f"{how}: an older one"] = bool(ids & set(olds))
        out[f"{how}: both"] = newest in ids and bool(ids & set(olds))
    return out


def undo(memory: Memory, before: Mapping[str, Passage]) -> None:
    """Have passages say again what they said, and nothing of each other."""
    for id_, passage in before.items():
        for other in before:
            memory.unlink(id_, other, "supersedes", namespace=passage.namespace)
        memory.update(id_, valid_until=None, namespace=passage.namespace)


def turn(id: str) -> int:
    """The place of a turn in its conversation, which ends its id."""
    return int(id.rpartition("/")[2])


if __name__ == "__main__":
    main()
