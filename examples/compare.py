"""One hop against a walk, on questions of the demo that need two or more passages.

Run it as it stands: python examples/compare.py
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from hoptrail import Memory, read_corpus, read_questions
from hoptrail.metrics import recall_at

QUESTIONS = 12


def main() -> None:
    """Print, for each question, how much of what it needs each of the two finds."""
    home = files("hoptrail")
    with (
        TemporaryDirectory() as folder,
        as_file(home / "demo/corpus.jsonl") as corpus,
        as_file(home / "demo/questions.jsonl") as questions_file,
        Memory(Path(folder) / "demo.db") as memory,
    ):
        memory.add(read_corpus(corpus))
        questions = read_questions(questions_file)[:QUESTIONS]
        recalls = memory.recall_many([question.text for question in questions], k=5)
        print("one hop   walk   question")
        for question, recall in zip(questions, recalls, strict=True):
            hits = memory.search(question.text, k=5)
            gold = question.supporting_ids
            one = recall_at([hit.passage.id for hit in hits], gold, 5)
            walk = recall_at([passage.id for passage in recall.passages], gold, 5)
            print(f"{one:7.0%} {walk:6.0%}   {question.text}")


if __name__ == "__main__":
    main()
