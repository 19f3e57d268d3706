"""Whatever a command is given, it answers with an exit code and one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder

PROGRAM = """
import sys
from hoptrail.memory.encoders import transformer
from hoptrail.memory.testing.hash_encoder import HashEncoder
transformer.minilm = lambda **_: HashEncoder()
from hoptrail.cli.main import main
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch) -> None:
    """A folder with a good store and files that are not what they should be."""
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_TRACEBACK", "1")  # what is not ours is raised, and fails the test
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    with Memory("good.db", encoder=HashEncoder()) as memory:
        memory.add([{"id": f"p{n}", "text": f"river {n} flows to Varn"} for n in range(3)])
    for name, text in {
        "empty.db": "",
        "text.db": "no database, just text " * 100,
        "c.jsonl": '{"id": "p0", "text": "Ada saw Varn."}\n',
        "q.jsonl": '{"id": "q0", "question": "What did Ada see?", "supporting_ids": ["p0"]}\n',
        "missing.jsonl": '{"id": "q0", "question": "What?", "supporting_ids": ["nope"]}\n',
        "list.json": "[]",
        "deep.json": "[" * 100_000,
        "report.json": '{"questions": [{"decisions": {"policy": 5}}]}',
        "deep.jsonl": '{"id": "a", "text": "t", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "infinite.jsonl": '{"id": "a", "text": "t", "x": 1e999}',
        "digits.jsonl": '{"id": "a", "text": "t", "x": ' + "9" * 5000 + "}",
        "half.jsonl": '{"id": "a", "text": "\\ud800"}',
        "blank.jsonl": "\n\n",
        "cut.jsonl": '{"id": "a", "te',
        "head.jsonl": "{}\n",
    }.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("bytes.jsonl").write_bytes(b'{"id": "a", "text": "\xff"}')
    Path("junk.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 16)
    Path("folder").mkdir()
    Path("loop.db").symlink_to("loop.db")


STORES = [
    "nope.db",
    "text.db",
    "junk.db",
    "folder",
    "loop.db",
    "no/such/x.db",
    "a\0.db",
    "",
    "x" * 300,
]
OF_A_STORE = [
    ["info", "--json"],
    ["get", "p0"],
    ["search", "river"],
    ["recall", "--effort", "fast", "river"],
    ["history", "p0"],
    ["store", "audit"],
    ["store", "verify"],
    ["store", "repair"],
    ["store", "purge"],
    ["store", "dedup"],
    ["forget", "--all"],
    ["delete", "p0"],
    ["link", "p0", "p1"],
    ["update", "p0", "--title", "x"],
    ["export", "out.jsonl"],
    ["store", "backup", "copy.db"],
    ["encoder", "reencode"],
]
CORPORA = ["deep", "infinite", "digits", "half", "cut", "bytes", "nope"]
LONG = "." * 5000
TEXTS = ["", " ", "\0", "\ud800", LONG]
FILTERS = ["{", "[]", '{"a": ' + "[" * 60_000, '{"a": ' * 60_000, '{"a": {"$in": 5}}', '{"$no": 1}']
OTHERS = [
    [],
    ["nope"],
    ["recall"],
    ["search", "--store", "good.db", "--k", "0", "x"],
    ["search", "--store", "good.db", "--k", "-1", "x"],
    ["search", "--store", "good.db", "--k", "many", "x"],
    ["recall", "--store", "good.db", "--effort", "frantic", "x"],
    ["recall", "--store", "good.db", "--policy", "nope", "x"],
    ["recall", "--store", "good.db", "--policy", "folder", "x"],
    ["recall", "--store", "good.db", "--encoder", "folder", "x"],
    ["recall", "--store", "good.db", "--namespace", "a//b", "x"],
    ["recall", "--store", "good.db", "--namespace", "[1]", "x"],
    ["search", "--store", "good.db", "--index", "tree", "x"],
    ["add", "--store", "good.db", "--ttl", "nan", "c.jsonl"],
    ["link", "--store", "good.db", "p0", "p1", "--weight", "inf"],
    ["import", "--store", "new.db", "nope.jsonl"],
    ["import", "--store", "new.db", "folder"],
    ["import", "--store", "new.db", "head.jsonl"],
    ["import", "--store", "new.db", "bytes.jsonl"],
    ["export", "--store", "good.db", "folder"],
    ["export", "--store", "good.db", "no/such/x.jsonl"],
    ["store", "backup", "--store", "good.db", "text.db"],
    ["stopping", "list.json"],
    ["stopping", "deep.json"],
    ["stopping", "report.json"],
    ["stopping", "nope.json"],
    ["evaluate", "--corpus", "c.jsonl", "--questions", "missing.jsonl"],
    ["evaluate", "--corpus", "c.jsonl", "--questions", "blank.jsonl"],
    ["evaluate", "--corpus", "blank.jsonl", "--questions", "q.jsonl"],
    ["evaluate", "--corpus", "c.jsonl", "--questions", "q.jsonl", "--retrievers", "magic"],
    ["evaluate", "--corpus", "c.jsonl", "--questions", "q.jsonl", "--seed", "-1"],
    ["evaluate", "--corpus", "c.jsonl", "--questions", "q.jsonl", "--json", "folder"],
    ["train", "--set", "c.jsonl", "missing.jsonl", "--out", "new"],
    ["train", "--set", "c.jsonl", "blank.jsonl", "--out", "new"],
    ["train", "--set", "c.jsonl", "q.jsonl", "--out", "c.jsonl"],
    ["train", "--set", "c.jsonl", "q.jsonl", "--out", "new", "--epochs", "0"],
    ["train", "--set", "c.jsonl", "q.jsonl", "--out", "new", "--seed", "-1"],
    ["train", "--set", "c.jsonl", "q.jsonl", "--out", "new", "--objective", "magic"],
    ["train", "--self-supervised", "--corpus", "blank.jsonl", "--out", "new"],
    ["train", "--from-feedback", "good.db", "--out", "new"],
    ["train", "--from-feedback", "text.db", "--out", "new"],
    ["train", "--triples", "c.jsonl", "--questions", "q.jsonl", "--out", "new"],
    ["encoder", "distill", "--corpus", "blank.jsonl", "--out", "new"],
    ["encoder", "distill", "--corpus", "c.jsonl", "--out", "c.jsonl", "--dim", "2", "--steps", "1"],
    ["demo", "--export", "c.jsonl"],
    ["demo", "--store", "text.db"],
]


def lines() -> list[list[str]]:
    """Command lines none of which can succeed."""
    argvs = [[*way, "--store", store] for store in STORES for way in OF_A_STORE]
    writing = (["add"], ["add", "--duplicates", "report"], ["upsert"])
    argvs += [[*way, "--store", "new.db", f"{name}.jsonl"] for name in CORPORA for way in writing]
    for text in TEXTS:
        at = ["--store", "good.db", *(["--json"] if text else [])]
        if text not in ("\0", LONG):  # of which questions may be made
            argvs += [["search", *at, text], ["recall", *at, text]]
        argvs += [
            ["get", *at, text],
            ["history", *at, text],
            ["delete", *at, text],
            ["add", "--store", "new.db", text],
        ]
        argvs += [["train", "--set", text, "q.jsonl", "--out", "new"], ["stopping", text]]
    for condition in FILTERS:
        argvs.append(["search", "--store", "good.db", "--filter", condition, "x"])
        argvs.append(["forget", "--store", "good.db", "--filter", condition])
    return argvs + OTHERS


def test_every_wrong_command_line_ends_in_one_sentence_and_leaves_nothing(capsys) -> None:
    before = sorted(Path().rglob("*"))
    for argv in lines():
        code = main(argv)
        out, err = capsys.readouterr()
        words = [word[:40] for word in argv]
        assert code in (1, 2), words
        reports = argv[:2] in (["store", "verify"], ["store", "repair"])
        if "--json" in argv and argv[0] not in ("evaluate", "stopping"):
            error = json.loads(err[err.index("{") :])
            assert (set(error), error["exit_code"]) == ({"error", "message", "exit_code"}, code)
        else:
            said = [line for line in err.splitlines() if line.startswith("hoptrail")]
            assert len(said) == 1 or reports, (words, err)
            assert all(len(line) < 1200 for line in said), words
        assert not out or reports, words
        left = [path for path in Path().rglob("*") if path not in before]
        assert not [path for path in left if "good.db" not in str(path)], (words, left)


def program(*argv: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with an instant encoder."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *argv],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **settings,  # type: ignore[call-overload]
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_sentence() -> None:
    for option in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = program(
                *("search", "--store", "good.db", *option, "river"),
                stdout=full,
                env={**os.environ, "HOPTRAIL_TRACEBACK": ""},
            )
        sentence = "the system refuses: No space left on device"
        assert done.returncode == 1
        if option:
            assert json.loads(done.stderr)["message"] == sentence
        else:
            assert done.stderr == f"hoptrail: {sentence}\n"


def test_closed_streams_and_readers_that_leave_are_no_errors() -> None:
    code = f"exec {sys.executable} -c '{PROGRAM}' get --store good.db p0 "
    for redirected in (">&-", ">&- 2>&-", "<&- >&-", "| true", "2>&1 | head -c 1 > /dev/null"):
        done = subprocess.run(
            ["sh", "-c", f"{code} {redirected}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), redirected


@pytest.mark.parametrize("argv", ["list", "get p0", "search river"])
def test_a_reader_of_tables_that_leaves_is_no_error_either(argv) -> None:
    command = f"{sys.executable} -c '{PROGRAM}' {argv} --store good.db | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_written_is_written_when_nobody_reads_the_progress() -> None:
    command = (
        f"{sys.executable} -c '{PROGRAM}' add --store good.db --text new 2>&1 >done.txt | true"
    )
    subprocess.run(["bash", "-c", command], check=True)
    assert Path("done.txt").read_text() == "1 passage added to good.db; it holds 4 now\n"


def test_arguments_that_are_not_utf_8_and_a_bare_environment() -> None:
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    for argv in (["get", "--store", "good.db"], ["search", "--store", "good.db"]):
        done = subprocess.run(
            [
                sys.executable.encode(),
                b"-c",
                PROGRAM.encode(),
                *(word.encode() for word in argv),
                b"\xff",
            ],
            capture_output=True,
            env=bare,
            check=False,
        )
        assert done.returncode in (1, 2)
        assert done.stderr.startswith(b"hoptrail: ")
        assert done.stderr.count(b"\n") == 1
    done = program("add", "--store", "b.db", "c.jsonl", stdout=subprocess.PIPE, env=bare)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "encoding: 1 in 0 s")


@pytest.mark.parametrize("cache", ["", "c.jsonl", "/dev/null", "no/such", "/proc/nothing", "a\tb"])
def test_an_odd_cache_folder_is_used_or_named(cache) -> None:
    settings = {**os.environ, "HOPTRAIL_CACHE": cache}
    done = program("add", "--store", "new.db", "c.jsonl", stdout=subprocess.PIPE, env=settings)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)
    assert Path("new.db").exists() == (done.returncode == 0)


def test_what_is_not_expected_is_one_sentence_too(monkeypatch, capsys) -> None:
    from hoptrail.cli.commands import store

    for error in (RuntimeError("odd\nthing"), MemoryError(), OSError(28, "No space left", "x.db")):

        def fails(*_: object, error: Exception = error, **__: object) -> int:
            raise error

        monkeypatch.delenv("HOPTRAIL_TRACEBACK", raising=False)
        monkeypatch.setattr(store, "open_memory", fails)
        assert main(["info", "--store", "good.db"]) == 1
        err = capsys.readouterr().err
        assert err.startswith("hoptrail: ")
        assert err.count("\n") == 1
