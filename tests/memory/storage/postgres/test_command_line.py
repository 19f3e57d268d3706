"""The command line takes the URL of a server where it takes the path of a file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from hoptrail.cli.locations import store_argument
from hoptrail.cli.server_options import served_memory
from hoptrail.integrations.function_calling import MemoryTools
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.encoders.cache_file import cache_folder
from hoptrail.memory.testing.hash_encoder import HashEncoder

pytestmark = pytest.mark.slow

QUESTION = "Where was the builder of Fram born?"
CORPUS = """\
{"id": "fram", "title": "Fram", "text": "Fram was built by Colin Archer.", "links": ["archer"]}
{"id": "archer", "title": "Colin Archer", "text": "Colin Archer was born in Larvik."}
{"id": "larvik", "title": "Larvik", "text": "Larvik lies at the mouth of a fjord."}
"""
VERBS = (
    ("add", "corpus.jsonl"),
    ("add", "--namespace", "team", "--text", "The lamp of Andenes is red."),
    ("list",),
    ("get", "fram"),
    ("search", "fjord"),
    ("recall", QUESTION),
    ("upsert", "corpus.jsonl"),
    ("update", "larvik", "--text", "Larvik lies in the south."),
    ("supersede", "larvik", "--text", "Larvik is a town.", "--at", "2026-01-31"),
    ("link", "archer", "fram", "--kind", "built"),
    ("unlink", "archer", "fram"),
    ("delete", "archer"),
    ("forget", "--namespace", "team", "--all", "--yes"),
    ("store", "dedup"),
    ("store", "export", "out.jsonl"),
    ("get", "nobody"),
)
VOLATILE = ("id", "ids", "added", "milliseconds", "written_at", "seconds")
"""Keys whose values are another one's each time; of a passage, the id is not."""


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path, host) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder(384))
    monkeypatch.setenv("HOPTRAIL_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.jsonl").write_text(CORPUS, encoding="utf-8")


def steady(value: object) -> object:
    """A result without what is another one's each time."""
    if isinstance(value, dict):
        return {
            key: type(one).__name__ if key in VOLATILE else steady(one)
            for key, one in value.items()
        }
    return [steady(one) for one in value] if isinstance(value, list) else value


def test_each_verb_answers_as_over_a_file(run, url, tmp_path) -> None:
    for verb in VERBS:
        results = []
        for store in (tmp_path / "a.db", url):
            code, out, err = run(*verb, "--store", store, "--json")
            results.append((code, steady(json.loads(out)) if out else None, code and err))
        assert results[0] == results[1], verb
    assert results[0][0] == 1  # the last one names nothing


def test_the_environment_names_the_server(run, url, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_STORE", url)
    code, _, err = run("list")
    assert (code, "there is no store at postgresql://" in err) == (1, True), err
    assert run("add", "corpus.jsonl")[0] == 0
    assert json.loads(run("list", "--json")[1])["count"] == 3
    info = json.loads(run("store", "info", "--json")[1])
    assert (info["passages"], info["namespaces"], info["recalls"]) == (3, {"": 3}, 0)
    assert run("search", "river", "--k", "1")[0] == 0
    assert "1 were recalled, 1 time in all" in run("store", "info")[1]


def test_a_password_that_is_taken_is_not_shown(run, cluster, url) -> None:
    cluster.execute("CREATE ROLE anna LOGIN SUPERUSER PASSWORD 'geheim'")
    secret = url.replace("//postgres@", "//anna:geheim@", 1)
    code, out, err = run("add", "--store", secret, "corpus.jsonl")
    assert (code, "3 passages added to postgresql://anna:***@" in out) == (0, True), err
    for command in (("store", "verify"), ("list", "--namespace", "no"), ("store", "info")):
        out, err = run(*command, "--store", secret)[1:]
        assert "geheim" not in out + err
        assert "postgresql://anna" in out + err


def test_a_server_gets_another_encoder(run, url, monkeypatch) -> None:
    assert run("add", "--store", url, "corpus.jsonl")[0] == 0
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder(48))
    code, out, err = run("encoder", "reencode", "--store", url)
    assert (code, "3 of them encoded" in out) == (0, True), err
    assert json.loads(run("store", "info", "--store", url, "--json")[1])["encoder"].endswith(
        "(48 dim)"
    )
    assert "is in no change" in run("encoder", "reencode", "--store", url, "--drop")[1]
    assert run("search", "--store", url, "fjord", "--k", "1")[0] == 0


def test_what_was_deleted_is_erased(run, url) -> None:
    assert run("add", "--store", url, "corpus.jsonl")[0] == 0
    assert run("delete", "--store", url, "archer")[0] == 0
    code, out, err = run("store", "purge", "--store", url)
    assert (code, "1 deleted contents erased from postgresql://" in out) == (0, True), err


def test_a_server_is_checked_mended_and_copied(run, url) -> None:
    assert run("add", "--store", url, "corpus.jsonl")[0] == 0
    assert "is sound: 3 passages" in run("store", "verify", "--store", url)[1]
    assert "fram" in run("store", "history", "--store", url, "fram")[1]
    assert run("store", "audit", "--store", url)[0] == 0
    assert run("store", "backup", "--store", url, "b.db")[0] == 0
    assert json.loads(run("list", "--store", "b.db", "--json")[1])["count"] == 3
    [replica] = cache_folder().glob("replicas/*.db")
    with closing(sqlite3.connect(replica)) as connection:
        connection.execute("UPDATE passages SET text = 'other words' WHERE id = 'fram'")
        connection.commit()
    code, out, err = run("store", "verify", "--store", url)
    assert (code, "hoptrail store repair" in out) == (1, True), err
    code, out, err = run("store", "repair", "--store", url)
    assert (code, "is made anew" in out) == (0, True), err
    assert run("store", "verify", "--store", url)[0] == 0


def test_agents_are_served_over_the_url(url, host) -> None:
    def serve(read_only: bool):
        return served_memory(
            store_argument(url), read_only=read_only, encoder=None, policy=None, reader=None
        )

    with serve(False) as memory:
        tools = MemoryTools(memory)
        assert tools.call("remember", {"text": "Fram was built by Colin Archer."}).data["written"]
        recall = tools.call("recall", {"question": QUESTION}).data
        assert [one["text"] for one in recall["passages"]] == ["Fram was built by Colin Archer."]
        assert not tools.call("feedback", {"recall": recall["id"], "reward": 1}).is_error
        host("two")
        with serve(True) as other:
            readers = MemoryTools(other, read_only=True)
            assert "feedback" not in [one.name for one in readers.operations]
            again = readers.call("recall", {"question": QUESTION}).data
            assert again["passages"] == recall["passages"]
            assert [one.reward for one in other.feedback_given()] == [1.0]
