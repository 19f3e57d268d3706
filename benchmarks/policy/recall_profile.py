"""Where the time of a recall goes: processor milliseconds of each part of a walk, a question.

    python benchmarks/policy/recall_profile.py CORPUS.jsonl QUESTIONS.jsonl [--count 20]

One question after another, models loaded and everything warm. The parts do not overlap; what is
left of a recall stands in the last line. Python's profiler makes calls dearer than they are: shares
say more than milliseconds.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from pathlib import Path

from hoptrail.api.memory import Memory
from hoptrail.formats.jsonl import read_questions
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.policies.data.corpora import open_corpus

PARTS = {
    "encoding": ("onnx_encoder.py", "_passes"),
    "search by words": ("candidates.py", "_rank_by_words"),
    "dense search": ("dense.py", "search"),
    "moments of cosines": ("dense.py", "moments"),
    "PageRank": ("pagerank.py", "pagerank_ranking"),
    "passages read": ("candidates.py", "read"),
    "features of candidates": ("features.py", "now"),
    "features of states": ("state.py", "state_input"),
    "networks": ("array_network.py", "mean_log_pi"),
    "reranking": ("reranker.py", "rerank"),
}
"""The file and the function of each part; all time below it counts."""


def main() -> None:
    """Profile each effort on the same questions, and print its parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--count", type=int, default=20, help="questions (default: 20)")
    args = parser.parse_args()
    questions = [q.text for q in read_questions(args.questions)][: args.count]
    with Memory(open_corpus(args.corpus, minilm())) as memory:
        for effort in ("fast", "balanced"):
            memory.recall(questions[-1], effort=effort)
            profile = cProfile.Profile(time.process_time)
            texts = 0
            for question in questions[:-1]:
                texts += profile.runcall(memory.recall, question, effort=effort).cost.texts_encoded
            report(effort, profile, len(questions) - 1, texts)


def report(effort: str, profile: cProfile.Profile, count: int, texts: int) -> None:
    """Print the parts of one effort."""
    rows = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(row[2] for row in rows.values())
    milliseconds = 1000 / count
    sys.stdout.write(
        f"{effort}: {total * milliseconds:.1f} ms, {texts / count:.1f} texts encoded\n"
    )
    rest = total
    for part, (file, name) in PARTS.items():
        spent = sum(
            row[3]
            for (path, _, function), row in rows.items()
            if function == name and Path(path).name == file
        )
        rest -= spent
        sys.stdout.write(f"   {spent * milliseconds:7.1f} ms {spent / total:5.0%}  {part}\n")
    sys.stdout.write(f"   {rest * milliseconds:7.1f} ms {rest / total:5.0%}  the rest\n")


if __name__ == "__main__":
    main()
