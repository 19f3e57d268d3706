"""The command line: what each command prints and writes, and how it refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hoptrail import Memory, MissingExtra
from hoptrail.cli import app
from hoptrail.cli.command import command_paths
from hoptrail.cli.commands import evaluate
from hoptrail.cli.main import build_command
from hoptrail.formats.jsonl import read_questions
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    """The real encoder takes seconds to load in every process; one test below does load it."""
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="session")
def policy(tmp_path_factory) -> Path:
    """An untrained policy's folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("policy")
    Policy([PolicyNetwork(NetworkConfig())]).save(folder)
    return folder


@pytest.fixture
def store(tmp_path, twelve) -> Path:
    file = tmp_path / "agent.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add(twelve)
    return file


def contents(store: Path) -> list[tuple]:
    with sqlite3.connect(store) as connection:
        return connection.execute(
            "SELECT namespace, id, title, text, metadata FROM passages ORDER BY namespace, id"
        ).fetchall()


# The contract


def test_add_takes_folders_files_and_corpora(run, tmp_path, corpus) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("# Tea\n\nSee [the plant](b.md).\n")
    (notes / "b.md").write_text("# Camellia\n\nIt grows in Yunnan.\n")
    store = tmp_path / "new.db"
    code, out, _ = run("add", "--store", store, "--namespace", "team/ann", notes, corpus)
    assert (code, out) == (0, f"14 passages added to {store}; it holds 14 now\n")
    with Memory(store, encoder=None) as memory:
        assert memory.get("p-varn", ("team", "ann")).links[0].kind == "stands_on"
        assert memory.get("a.md", ("team", "ann")).title == "Tea"


def test_lines_of_one_session_follow_each_other(run, tmp_path) -> None:
    file, store = tmp_path / "turns.jsonl", tmp_path / "s.db"
    turns = [{"id": str(i), "text": f"Turn {i}.", "session": i // 2} for i in range(4)]
    file.write_text("".join(json.dumps(t) + "\n" for t in turns), encoding="utf-8")
    code, _, err = run("add", "--store", store, "--sequence", "day", file)
    assert (code, store.exists()) == (1, False)
    assert "no passage has 'day'" in err
    assert run("add", "--store", store, "--sequence", "session", file)[0] == 0
    shown = run("get", "--store", store, "0", "1")[1]
    assert "next -> 1" in shown
    assert "next -> 2" not in shown
    questions = tmp_path / "q.jsonl"
    asked = {"id": "q", "question": "Turn 0?", "supporting_ids": ["0"]}
    questions.write_text(json.dumps(asked) + "\n", encoding="utf-8")
    report = tmp_path / "r.json"
    given = ("--corpus", file, "--questions", questions, "--sequence", "session")
    assert run("evaluate", *given, "--retrievers", "hybrid", "--json", report)[0] == 0
    assert json.loads(report.read_text(encoding="utf-8"))["settings"]["sequence"] == "session"


def test_add_says_what_it_did_as_json_too(run, tmp_path, corpus) -> None:
    store = tmp_path / "new.db"
    code, out, _ = run("add", "--store", store, "--json", corpus)
    assert code == 0
    assert json.loads(out)["count"] == len(json.loads(out)["added"]) == 12
    code, out, _ = run("add", "--store", store, "--on-duplicate", "skip", corpus)
    assert out == f"0 passages added to {store} (12 skipped); it holds 12 now\n"


def test_recall_s_json_is_the_contract_and_alone_on_stdout(run, store, policy, three_hops) -> None:
    code, out, _ = run(
        "recall", "--store", store, three_hops.text, "--k", 3, "--policy", policy, "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert len(found["passages"]) == 3
    for passage in found["passages"]:
        assert {"id", "title", "text", "score", "sub_question"} <= set(passage)
    for trail in found["trails"]:
        assert {"probability", "stop_reason", "stop_probability", "hops"} <= set(trail)
        for hop in trail["hops"]:
            assert {"query", "id", "link", "probability", "stop_probability"} <= set(hop)
    assert set(found["cost"]) == {
        "milliseconds",
        "texts_encoded",
        "candidates",
        "passages_read",
        "pairs_scored",
    }
    code, out, _ = run(
        "recall",
        *("--store", store, "--effort", "fast", "--json", "--policy", policy),
        *("--namespace", "nobody/here", "Who?"),
    )
    assert code == 0
    assert json.loads(out)["passages"] == json.loads(out)["trails"] == []


def test_recall_prints_passages_with_their_scores(run, store, policy, three_hops) -> None:
    code, out, err = run("recall", "--store", store, "--policy", policy, "--k", 2, three_hops.text)
    assert (code, err) == (0, "")
    hits = [line.split() for line in out.splitlines() if re.match(r"\d ", line)]
    assert [rank for rank, *_ in hits] == ["1", "2"]
    scores = [float(score) for _, score, *_ in hits]
    assert scores == sorted(scores, reverse=True)
    assert "passages read out of" in out
    assert "the walk" not in out


def test_a_recall_s_trail_is_shown_beside_vector_search(run, store, policy, three_hops) -> None:
    options = ("--store", store, "--policy", policy, "--trail")
    code, out, err = run("recall", *options, three_hops.text)
    assert code == 0
    assert "the walk" in out
    assert "plain vector search" in out
    assert "STOP" in out
    assert "Lake Sorrel" in out
    assert "passages read out of" in out
    assert err == ""


def test_a_recall_says_why(run, store, policy, three_hops) -> None:
    options = ("--store", store, "--policy", policy, "--k", 2)
    plain = run("recall", *options, three_hops.text)[1]
    assert "by the policy" not in plain
    code, out, _ = run("recall", *options, "--why", three_hops.text)
    assert code == 0
    assert out.count("by the policy") == out.count("in the pool by: ") == 2


def test_search_get_and_delete(run, store) -> None:
    code, out, _ = run("search", "--store", store, "--json", "--k", 2, "clockmaker Ada Lind")
    assert code == 0
    assert json.loads(out)["passages"][0]["id"] == "p-ada-lind"
    assert "Ada Lind" in run("search", "--store", store, "--mode", "sparse", "clockmaker")[1]
    code, out, _ = run("get", "--store", store, "p-varn")
    assert out == (
        "[p-varn] Varn\n    Varn is a small town of stone houses on the banks of the Ister Beck.\n"
        "  stands_on -> p-ister-beck\n"
    )
    assert json.loads(run("get", "--store", store, "--json", "p-varn")[1])[0]["title"] == "Varn"
    assert run("delete", "--store", store, "p-varn")[1] == (
        f"1 passage deleted from {store}; it holds 11 now\n"
    )
    assert run("delete", "--store", store, "--json", "p-tolle")[1].split() == (
        '{ "deleted": 1, "count": 10 }'.split()
    )


def test_train_then_evaluate(run, tmp_path, corpus, questions) -> None:
    out_folder = tmp_path / "mine"
    code, out, err = run(
        *("train", "--set", corpus, questions, "--set", corpus, questions),
        *("--dev", corpus, questions, "--epochs", 1, "--networks", 1, "--seed", 3),
        *("--objective", "imitation", "--out", out_folder),
    )
    assert code == 0
    assert "imitation" in out
    assert "questions.jsonl" in out
    assert "loss" in err
    card = Policy.load(out_folder).card
    assert card["seed"] == 3
    assert card["command"].startswith("hoptrail train --set")

    report, picture = tmp_path / "report.json", tmp_path / "recall.svg"
    code, out, _ = run(
        *("evaluate", "--corpus", corpus, "--questions", questions, "--policy", out_folder),
        *("--effort", "fast", "--seed", 1, "--json", report, "--plot", picture),
    )
    assert code == 0
    found = json.loads(report.read_text())
    assert list(found["retrievers"]) == ["bm25", "dense", "hybrid", "pagerank", "policy"]
    assert list(found["retrievers"]) == evaluate.RETRIEVERS.split(",")
    assert found["settings"]["policy"]["source"] == str(out_folder)
    assert found["settings"]["policy"]["card"]["seed"] == 3
    for means in found["retrievers"].values():
        assert set(means) == {
            *("recall@2", "recall@5", "recall@10", "recall@20", "all_gold@5", "mrr", "ndcg@10"),
            *("ms_median", "hops_mean"),
        }
    assert found["retrievers"]["hybrid"]["hops_mean"] == 0
    assert found["retrievers"]["policy"]["hops_mean"] > 0
    assert found["questions"][0]["id"] == "q-1"
    assert len(found["questions"][0]["ranked"]["policy"]) == 12
    assert "pagerank" in out
    assert picture.stat().st_size > 0


def test_evaluate_compares_only_what_is_asked_for(run, corpus, questions) -> None:
    code, out, _ = run(
        *("evaluate", "--corpus", corpus, "--questions", questions),
        *("--retrievers", "hybrid, bm25"),
    )
    assert code == 0
    assert "hybrid" in out
    assert "pagerank" not in out


def test_tables_fit_eighty_columns(run, monkeypatch, corpus, questions, policy, tmp_path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    data = ("--corpus", corpus, "--questions", questions, "--policy", policy, "--effort", "fast")
    out = run("evaluate", *data, "--json", tmp_path / "report.json")[1]
    assert "95 % interval" in out
    out += run("evaluate", "stopping", tmp_path / "report.json")[1]
    assert "retriever" in out
    assert "hybrid" in out
    assert "passages read" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_demo_walks_a_question_of_one_s_own(run, tmp_path, policy) -> None:
    store = tmp_path / "demo.db"
    question = "In which town was the discoverer of Triton born?"
    code, out, _ = run("demo", "--store", store, "--policy", policy, "--question", question)
    assert code == 0
    assert "the walk" in out
    assert f"hoptrail recall --store {store}" in out
    code, out, _ = run("recall", "--store", store, "--policy", policy, "--json", question)
    assert len(json.loads(out)["passages"]) == 5


def test_the_demo_compares_and_shows_two_trails(run, policy) -> None:
    code, out, err = run("demo", "--policy", policy, "--effort", "fast")
    assert code == 0
    assert "vector search" in out
    assert "A bridge question" in out
    assert "comparison question" in out
    assert "needed" in out
    assert "✓" in out
    assert "asking questions: 60" in err


def test_the_demo_s_files_can_be_had(run, refuses, tmp_path) -> None:
    folder = tmp_path / "files"
    code, out, _ = run("demo", "--export", folder)
    assert (code, out.splitlines()) == (
        0,
        [f"{folder}/corpus.jsonl", f"{folder}/questions.jsonl"],
    )
    assert len(read_questions(folder / "questions.jsonl")) == 60
    assert "cannot be written" in refuses("demo", "--export", folder / "corpus.jsonl")


# Around it


def test_the_help_begins_with_what_is_used_every_day(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("--help")
    assert code == 0
    panels = re.findall(r"^╭─ ([\w ]+) ─", out, re.MULTILINE)
    assert panels == [app.EVERY_DAY, app.CHANGING, app.KEEPING, app.LEARNING, app.AROUND]
    every_day = out[out.index(panels[0]) : out.index(panels[1])]
    assert re.findall(r"^│ (\w+) ", every_day, re.MULTILINE) == [
        *("add", "recall", "search", "list", "get", "ask", "history", "generate", "demo"),
    ]
    assert "exit codes" in out
    assert "HOPTRAIL_STORE" in out
    assert run("-h")[1] == out


def test_every_command_explains_itself_in_eighty_columns_with_examples(
    run, monkeypatch, parse_command_line
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    count = 0
    for path, command in command_paths(build_command(), "hoptrail"):
        code, out, _ = run(*path.split()[1:], "--help")
        assert code == 0
        assert command.help, path
        text, _, below = out.partition("\n examples\n")
        assert f"Usage: {path}" in text
        assert max(map(len, text.splitlines())) <= 80, path
        examples = [line for line in below.splitlines() if line]
        assert examples, path
        for line in examples:
            program, *words = shlex.split(line.partition(" < ")[0], comments=True)
            assert program == "hoptrail", line
            parse_command_line(words)
        count += len(examples)
    assert count > 50


def test_the_version(run) -> None:
    import hoptrail

    assert run("--version")[:2] == (0, f"hoptrail {hoptrail.__version__}\n")


@pytest.mark.parametrize(
    "argv", [(), ("fly",), ("recall",), ("recall", "--store"), ("train", "--set", "one")]
)
def test_a_wrong_command_line_is_2(run, argv) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert "Usage: hoptrail" in err


# Bad input: one sentence, a code that is not zero, a store as it was


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("add", "--ttl", "30d", "n.md"), "'--ttl': must be a number, got '30d'"),
        (("search", "--k", "3.5", "x"), "'--k': must be a whole number, got '3.5'"),
        (("upsert", "--sort", "n.md"), "hoptrail upsert: error: No such option: --sort"),
    ],
)
def test_a_wrong_option_is_told_in_words_beside_its_command_s_usage(
    run, store, argv, complaint
) -> None:
    code, out, err = run(argv[0], "--store", store, *argv[1:])
    assert (code, out) == (2, "")
    assert err.startswith(f"Usage: hoptrail {argv[0]} ")
    assert complaint in err


def test_a_search_without_a_hit_says_where_it_looked(run, store) -> None:
    code, out, err = run("search", "--store", store, "--namespace", "nobody", "Unix")
    assert (code, out) == (0, "")
    assert f"no passage in nobody of {store} was a hit" in err


@pytest.fixture
def refuses(run, store):
    """Runs what must be refused; the sentence on stderr."""

    def call(*argv: object) -> str:
        before = contents(store)
        code, out, err = run(*argv)
        assert (code, out) == (1, "")
        assert err.startswith("hoptrail: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert contents(store) == before
        return err

    return call


def test_a_file_that_is_not_there(refuses, store, tmp_path) -> None:
    gone = tmp_path / "gone.jsonl"
    assert f"{gone} does not exist" in refuses("add", "--store", store, gone)
    assert "gone.jsonl does not exist" in refuses("evaluate", "--corpus", gone, "--questions", gone)
    assert "gone.jsonl does not exist" in refuses(
        "train", "--set", gone, gone, "--out", tmp_path / "p"
    )
    assert not (tmp_path / "p").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(refuses, store, corpus) -> None:
    corpus.chmod(0)
    assert "cannot be read: Permission denied" in refuses("add", "--store", store, corpus)


def test_a_file_that_is_not_text(refuses, store, tmp_path) -> None:
    (tmp_path / "image.md").write_bytes(b"\x89PNG\r\n\xff\xfe")
    assert "not UTF-8" in refuses("add", "--store", store, tmp_path / "image.md")
    (tmp_path / "data.tar").write_text("a,b")
    assert "data.tar is a .tar file" in refuses("add", "--store", store, tmp_path / "data.tar")


def test_a_store_that_is_not_there_is_not_made(refuses, tmp_path) -> None:
    wrong = tmp_path / "wrong.db"
    for command in (("recall",), ("search",), ("get",), ("delete",)):
        assert f"there is no store at {wrong}" in refuses(*command, "--store", wrong, "x")
    assert not wrong.exists()
    assert "there is no folder" in refuses(
        "add", "--store", tmp_path / "no" / "a.db", _text(tmp_path)
    )


def _text(folder: Path) -> Path:
    file = folder / "one.txt"
    file.write_text("One.")
    return file


def test_a_store_that_is_none(refuses, tmp_path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("These are my notes, and they are long enough. " * 200)
    before = file.read_bytes()
    assert "notes.db" in refuses("recall", "--store", file, "Who?")
    assert "notes.db" in refuses("add", "--store", file, _text(tmp_path))
    assert file.read_bytes() == before
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    assert "no hoptrail store" in refuses("recall", "--store", other, "Who?")


@pytest.mark.parametrize("question", ["", "   "])
def test_an_empty_question(refuses, store, question) -> None:
    assert "a question must not be empty" in refuses("recall", "--store", store, question)
    assert "a query must not be empty" in refuses("search", "--store", store, question)


def test_a_k_below_1(refuses, store) -> None:
    for k in ("0", "-3"):
        sentence = f"k must be a whole number of at least 1, got {k}"
        assert sentence in refuses("recall", "--store", store, "--k", k, "Who?")
        assert sentence in refuses("search", "--store", store, "--k", k, "Who?")


def test_an_effort_that_does_not_exist(refuses, store, corpus, questions) -> None:
    for command in (
        ("recall", "--store", store, "Who?"),
        ("evaluate", "--corpus", corpus, "--questions", questions),
    ):
        assert "'heroic'" in refuses(*command, "--effort", "heroic")


def test_a_kind_of_index_that_does_not_exist(refuses, run, store) -> None:
    assert run("search", "--store", store, "--index", "flat", "clockmaker")[0] == 0
    for command in ("search", "recall"):
        found = refuses(command, "--store", store, "--index", "annoy", "Who?")
        assert "index must be one of auto, flat, sq8," in found


def test_a_duplicate_id(refuses, run, store, corpus, tmp_path) -> None:
    assert "'p-" in refuses("add", "--store", store, corpus)
    twice = tmp_path / "twice.jsonl"
    twice.write_text('{"id": "a", "text": "One."}\n\n{"id": "a", "text": "Two."}\n')
    assert "twice.jsonl, line 3: id 'a' is already on line 1" in refuses(
        "add", "--store", store, twice
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "b", "text": ', "line 2: not valid JSON"),
        ('["b", "text"]', "line 2: a line must hold a JSON object"),
        ('{"id": "b"}', 'line 2: "text" is missing'),
        ('{"id": 7, "text": "x"}', 'line 2: "id" must be a string'),
        ('{"id": "b", "text": "x", "links": [{"kind": "a"}]}', "line 2, in a link"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(refuses, store, tmp_path, line, complaint) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(f'{{"id": "a", "text": "Good."}}\n{line}\n')
    assert f"bad.jsonl, {complaint}" in refuses("add", "--store", store, file)
    fresh = tmp_path / "fresh.db"
    refuses("add", "--store", fresh, file)
    assert not fresh.exists()


def test_malformed_questions(refuses, corpus, tmp_path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"id": "q", "question": "Who?", "supporting_ids": ["nobody"]}\n')
    assert "question 'q' needs passage 'nobody', which is not in" in refuses(
        "evaluate", "--corpus", corpus, "--questions", file, "--retrievers", "bm25"
    )
    file.write_text('{"id": "q"}\n')
    assert "q.jsonl, line 1" in refuses("evaluate", "--corpus", corpus, "--questions", file)
    file.write_text("")
    assert "no questions" in refuses("evaluate", "--corpus", corpus, "--questions", file)


def test_a_store_of_another_encoder(refuses, store, monkeypatch, tmp_path, policy) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder(16))
    for command in (
        ("recall", "--policy", policy, "--store", store, "Who?"),
        ("search", "--store", store, "Who?"),
        ("add", "--store", store, _text(tmp_path)),
    ):
        sentence = refuses(*command)
        assert "hash-32 (32 dim), got hash-16 (16 dim)" in sentence


def test_an_absent_extra_is_named(refuses, store, monkeypatch, tmp_path, corpus, questions) -> None:
    def absent(**_: object) -> None:
        raise MissingExtra("the default encoder's weights are not installed", "minilm")

    monkeypatch.setattr(encoders, "minilm", absent)
    for command in (
        ("recall", "--store", store, "Who?"),
        ("search", "--store", store, "Who?"),
        ("add", "--store", store, _text(tmp_path)),
        ("evaluate", "--corpus", corpus, "--questions", questions),
        ("train", "--set", corpus, questions, "--out", tmp_path / "p"),
        ("demo",),
    ):
        assert "pip install 'hoptrail[minilm]'" in refuses(*command)


def test_a_policy_that_is_absent_or_damaged(
    refuses, store, tmp_path, policy, corpus, questions
) -> None:
    for folder in ("gone", "damaged"):
        if folder == "damaged":
            Policy.load(policy).save(tmp_path / folder)
            (tmp_path / folder / "policy.safetensors").write_bytes(b"\0" * 100)
        for command in (
            ("recall", "--store", store, "Who?"),
            ("evaluate", "--corpus", corpus, "--questions", questions),
        ):
            assert str(tmp_path / folder) in refuses(*command, "--policy", tmp_path / folder)


def test_an_unknown_retriever_objective_and_id(refuses, store, corpus, questions, tmp_path) -> None:
    assert "there is no retriever 'google'" in refuses(
        "evaluate", "--corpus", corpus, "--questions", questions, "--retrievers", "bm25,google"
    )
    assert "'luck'" in refuses(
        *("train", "--set", corpus, questions, "--objective", "luck", "--out", tmp_path / "p")
    )
    assert "'nobody'" in refuses("get", "--store", store, "nobody")
    assert "'nobody'" in refuses("delete", "--store", store, "p-varn", "nobody")


def test_a_report_that_could_not_be_written_is_refused_before_the_work(
    refuses, corpus, questions, tmp_path
) -> None:
    for option in ("--json", "--plot"):
        assert "there is no folder" in refuses(
            *("evaluate", "--corpus", corpus, "--questions", questions),
            *(option, tmp_path / "no" / "out"),
        )


def test_a_corrupt_index_is_named_and_built_anew(run, tmp_path, caplog) -> None:
    store = tmp_path / "big.db"
    with Memory(store, encoder=HashEncoder()) as memory:
        memory.add(
            {"id": f"p{n}", "text": f"Passage {n} tells of river {n % 7}."} for n in range(1200)
        )
        memory.search("river")
    snapshots = list(Path(f"{store}.index").iterdir())
    assert snapshots
    for file in snapshots:
        file.write_bytes(b"nonsense")
    before = contents(store)
    code, out, _ = run("search", "--store", store, "--json", "river 3")
    assert code == 0
    assert len(json.loads(out)["passages"]) == 5
    assert [snapshots[0].name in record.message for record in caplog.records] == [True]
    assert contents(store) == before


def test_a_corrupt_store_is_refused(run, tmp_path, twelve) -> None:
    store = tmp_path / "agent.db"
    with Memory(store, encoder=HashEncoder()) as memory:
        memory.add(twelve)
    raw = bytearray(store.read_bytes())
    for page in range(4096, len(raw), 4096):
        raw[page : page + 2048] = b"\xff" * 2048
    store.write_bytes(raw)
    code, out, err = run("search", "--store", store, "river")
    assert (code, out) == (1, "")
    assert "agent.db" in err
    assert "Traceback" not in err
    assert store.read_bytes() == bytes(raw)


# As a process


def program(*argv: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "hoptrail", *map(str, argv)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_help_and_errors_come_at_once(tmp_path) -> None:
    started = time.perf_counter()
    assert program("recall", "--store", tmp_path / "no.db", "Who?").returncode == 1
    assert time.perf_counter() - started < 3


def test_a_reader_that_leaves_is_no_error(store) -> None:
    command = f"{sys.executable} -P -m hoptrail get --store {store} p-varn p-tolle | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stdout == "["
    assert done.stderr == ""


def test_a_terminal_without_unicode_gets_question_marks(store, tmp_path) -> None:
    with Memory(store, encoder=HashEncoder()) as memory:
        memory.add({"id": "lwow", "text": "Lwów — a city."})
    done = program("get", "--store", store, "lwow", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "[lwow]\n    Lw?w ? a city.\n")


def test_an_interrupt_is_130_and_leaves_the_store_whole(tmp_path, store) -> None:
    """A corpus of many seconds is being read when the signal comes."""
    long = tmp_path / "long.jsonl"
    long.write_text("".join(f'{{"id": "{n}", "text": "Turn {n}."}}\n' for n in range(600_000)))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "hoptrail", "add", "--store", store, long],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in the background deaf to it, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "hoptrail: interrupted\n"
    assert len(contents(store)) == 12


@pytest.mark.slow
def test_with_the_real_encoder_and_the_shipped_policy(tmp_path) -> None:
    store = tmp_path / "demo.db"
    done = program("demo", "--store", store)
    assert done.returncode == 0, done.stderr
    assert "the walk" in done.stdout
    question = "In which town was the discoverer of Triton born?"
    done = program("recall", "--store", store, "--json", question)
    found = [passage["id"] for passage in json.loads(done.stdout)["passages"]]
    assert {"triton", "william-lassell"} <= set(found)
