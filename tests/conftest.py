"""What the tests share: an instant encoder, a corpus with a known path, the real data if given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hoptrail.formats.jsonl import passage_record, question_record, write_jsonl
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage, Question

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs the network fails at once
os.environ["HOPTRAIL_CONFIG"] = os.devnull  # no settings of whoever runs the tests
os.environ.pop("HOPTRAIL_STORE", None)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def hash_encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line; its exit code, stdout and stderr."""
    from hoptrail.cli.main import main

    def call(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(arg) for arg in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


_TOGETHER = """
import json, sys
from hoptrail.cli.main import main
from hoptrail.learning.execution import processes

join, joined = processes.joined_processes, []


def counted():
    joined.append(True)
    return join()


processes.joined_processes = counted
exec(sys.argv[2])
with join():  # once for all commands: to start takes longer than to train
    for number, argv in enumerate(json.loads(sys.argv[1]), start=1):
        assert main(argv) == 0, argv
        assert len(joined) == number, f"each trained alone: {argv}"
"""


@pytest.fixture
def run_two(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs command lines that train, one after another, in two processes of torchrun.

    What is passed as `before` is executed in each process first. The cache is the test's.
    """

    def call(*commands: Sequence[object], before: str = "") -> subprocess.CompletedProcess[str]:
        program = tmp_path / "together.py"
        program.write_text(_TOGETHER)
        lines = json.dumps([[str(part) for part in argv] for argv in commands])
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        own = {"OMP_NUM_THREADS": "1", "HOPTRAIL_CACHE": str(tmp_path / "cache")}
        for _ in range(3):
            done = subprocess.run(
                [*torchrun, "--nproc-per-node", "2", str(program), lines, before],
                cwd=tmp_path,
                env=os.environ | own,
                capture_output=True,
                text=True,
            )
            if "connectFullMesh failed" not in done.stderr:
                break  # or the machine refused a connection before anything began: once more
        return done

    return call


@pytest.fixture
def sober_bert(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy of it without dropout: what is dropped out is drawn in each process."""
    folder = tmp_path / "sober-bert"
    folder.mkdir()
    for file in tiny_bert.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    about = json.loads((folder / "config.json").read_text())
    about |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a BERT of 16 dims with random weights, as `transformers` saves it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    words = "the old bridge river under of city who built it and when . a |".split()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
        BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def twelve() -> list[Passage]:
    """Twelve passages; the mouth of the river of Ada Lind's birthplace is three hops away."""
    texts = {
        "Ada Lind": "Ada Lind was a clockmaker who was born in Varn and worked in Tolle.",
        "Varn": "Varn is a small town of stone houses on the banks of the Ister Beck.",
        "Ister Beck": "The Ister Beck is a river that flows into Lake Sorrel.",
        "Lake Sorrel": "Lake Sorrel is a deep lake known for its grey trout.",
        "Tolle": "Tolle is a market town with a clock tower of seven bells.",
        "Bram Osk": "Bram Osk was a painter of trout and of river mist.",
        "Grey trout": "The grey trout is a fish of cold lakes.",
        "Clock tower": "A clock tower carries a clock that many people can see.",
        "Harn Pass": "The Harn Pass is a mountain road that is closed in winter.",
        "Stone house": "A stone house stays cool in summer.",
        "Bell founding": "Bell founding is the casting of bells in a foundry.",
        "River mist": "River mist forms on cold mornings over warm water.",
    }
    links = {"Varn": (Link("p-ister-beck", "stands_on"),)}
    return [
        Passage(
            id="p-" + title.lower().replace(" ", "-"),
            title=title,
            text=text,
            links=links.get(title, ()),
        )
        for title, text in texts.items()
    ]


@pytest.fixture
def three_hops() -> Question:
    return Question(
        id="q-1",
        text="Into which lake flows the river of the town where Ada Lind was born?",
        answers=("Lake Sorrel",),
        supporting_ids=("p-ada-lind", "p-varn", "p-ister-beck"),
    )


@pytest.fixture
def corpus(tmp_path: Path, twelve: list[Passage]) -> Path:
    """The twelve passages as a file."""
    file = tmp_path / "corpus.jsonl"
    write_jsonl(file, map(passage_record, twelve))
    return file


@pytest.fixture
def questions(tmp_path: Path, three_hops: Question) -> Path:
    """The one question as a file."""
    file = tmp_path / "questions.jsonl"
    write_jsonl(file, [question_record(three_hops)])
    return file


_ATTACKS = [
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1><a xlink:href=javascript:window.pwned=1>",
    "<style>*{display:none}</style>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<a href='javascript:window.pwned=1'>read on</a>",
    "<base href=//example.org/><meta http-equiv=refresh content='0;url=javascript:pwned=1'>",
    "{{constructor.constructor('window.pwned=1')()}}${window.pwned=1}",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;&#60;script&#62;",
    "\u202e<b>turned</b>\u2066\u200b\ufeff\x00\x1b[2J\x07",
]
_ENDS = [
    "",
    "</script>",
    "</style></textarea></title>",
    "-->",
    "<!--",
    "]]>",
    '" autofocus onfocus="window.pwned=1',
    "' onmouseover='window.pwned=1",
    "\\",
    '"}</script>',
    "</svg></td></table></main></body></html>",
]


@pytest.fixture(scope="session")
def markup_texts() -> list[str]:
    """More than a hundred texts that would be markup, or a program, if a page let them."""
    return [f"{end}{attack}" for attack in _ATTACKS for end in _ENDS]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Vectors go to a folder of the test run, unless the caller names one."""
    if os.environ.get("HOPTRAIL_CACHE"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOPTRAIL_CACHE", str(tmp_path_factory.getbasetemp() / "vectors"))
        yield


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of the real data sets; the test is skipped where there is none."""
    given = os.environ.get("HOPTRAIL_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the data sets: set HOPTRAIL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def triples() -> list[tuple[str, str, str]]:
    """A knowledge graph of paintings, painters, towns, rivers and lakes."""
    painters = {"Bram Osk": "Varn", "Ida Lund": "Tolle", "Jon Reth": "Varn", "Una Sorn": "Merrow"}
    found = [("Varn", "lies_on", "Ister Beck"), ("Tolle", "lies_on", "Grey Ouse")]
    found += [("Merrow", "lies_on", "Ister Beck"), ("Ister Beck", "ends_in", "Lake Sorrel")]
    found += [("Grey Ouse", "ends_in", "Lake Anning")]
    for number, (painter, town) in enumerate(painters.items()):
        found.append((painter, "lives_in", town))
        for canvas in range(4):
            name = f"{('Mist', 'Trout', 'Bells', 'Snow')[canvas]} at {town} {number}"
            found.append((name, "painted_by", painter))
            found.append((name, "shows", town))
    return found


@pytest.fixture(scope="session")
def entity_questions(triples: list[tuple[str, str, str]]) -> list[dict[str, object]]:
    """Questions of one, two and three hops about every painting and painter."""
    tails: dict[tuple[str, str], list[str]] = {}
    for head, relation, tail in triples:
        tails.setdefault((head, relation), []).append(tail)
        tails.setdefault((tail, f"~{relation}"), []).append(head)
    asked = {
        ("painted_by",): "who painted [{}]?",
        ("shows",): "what shows [{}]?",
        ("painted_by", "lives_in"): "where lives who painted [{}]?",
        ("painted_by", "~painted_by"): "what else was painted by who painted [{}]?",
        (
            "painted_by",
            "lives_in",
            "lies_on",
        ): "where lies on a river the home of who painted [{}]?",
        ("~painted_by",): "what was painted by [{}]?",
        ("lives_in", "lies_on"): "where lies on a river the home of [{}]?",
    }
    found: list[dict[str, object]] = []
    for topic in sorted({triple[0] for triple in triples}):
        for path, text in asked.items():
            ends = {(topic, topic)}
            for relation in path:
                ends = {
                    (tail, start)
                    for here, start in ends
                    for tail in tails.get((here, relation), [])
                    if tail != start
                }
            if ends:
                answers = sorted(end for end, _ in ends)
                line = {"question": text.format(topic), "topic": topic, "answers": answers}
                found.append({**line, "path": list(path)})
    return found


@pytest.fixture
def parse_command_line() -> Callable[[Sequence[str]], None]:
    """Takes a command line as the program would, and runs nothing; a wrong one is an error."""
    from typer.core import TyperGroup

    from hoptrail.cli.command import Invocation
    from hoptrail.cli.main import build_command

    def disarm(command: Any) -> None:
        for part in command.commands.values():
            if isinstance(part, TyperGroup):
                disarm(part)
            else:
                part.callback = lambda **_: 0

    def parse(words: Sequence[str]) -> None:
        program = build_command()
        disarm(program)
        with program.make_context("hoptrail", list(words), obj=Invocation("hoptrail")) as context:
            program.invoke(context)

    return parse
