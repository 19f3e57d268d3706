"""No command lets stored text, a file's name or an argument give orders to a terminal."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
import torch

from hoptrail import Link, Memory, Passage, StoreError
from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy

EVIL = (
    "\x1b]0;owned\x07\x1b[31m\x9b32m\u202ebidi\u2066\u200f\u200b\u2028[p9] Forged\r\x0b\x85[/][red]"
)
RICH = re.compile(r"\x1b\[[0-9;?]*[mKhlA]|\r")
"""Colours, and how a progress bar is drawn over itself."""


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("HOPTRAIL_TRACEBACK", "1")


@pytest.fixture
def hostile(tmp_path) -> Path:
    """A store whose every string is hostile, at a path that is as well."""
    folder = tmp_path / "a\x1b[31m\u202eb"
    folder.mkdir()
    store = folder / "agent.db"
    with Memory(store, encoder=HashEncoder()) as memory:
        memory.add(
            [
                Passage(
                    f"p{number}{EVIL}",
                    f"River {EVIL}\nof Varn.",
                    f"Varn {number}{EVIL}",
                    {f"key{EVIL}": EVIL, "source": EVIL},
                    (f"team{EVIL}",),
                    (Link(f"nobody{EVIL}", f"kind{EVIL}"),),
                )
                for number in range(4)
            ]
        )
    return store


@pytest.fixture
def policy(tmp_path) -> Path:
    torch.manual_seed(0)
    Policy([PolicyNetwork(NetworkConfig())]).save(tmp_path / "policy")
    return tmp_path / "policy"


def lines(store: Path, policy: Path) -> list[list[str]]:
    """Command lines of all that prints of a store."""
    at = ["--store", str(store)]
    space = json.dumps([f"team{EVIL}"])
    one = f"p0{EVIL}"
    recall = ["recall", *at, "--trail", f"What is Varn {EVIL}?"]
    return [
        ["info", *at],
        ["get", *at, "--namespace", space, one],
        ["get", *at, one],
        ["search", *at, "river"],
        ["list", *at],
        ["search", *at, "--filter", json.dumps({f"$no{EVIL}": 1}), "river"],
        recall,
        [*recall, "--effort", EVIL],
        [*recall, "--index", EVIL],
        [*recall, "--policy", EVIL],
        ["history", *at, "--namespace", space, one],
        ["store", "audit", *at, "--stale-days", "0"],
        ["store", "verify", *at],
        ["store", "repair", *at],
        ["link", *at, "--namespace", space, one, f"p1{EVIL}"],
        ["update", *at, "--namespace", space, one, "--title", f"New {EVIL}"],
        ["unlink", *at, "--namespace", space, one, f"p1{EVIL}"],
        ["store", "dedup", *at],
        ["forget", *at, "--all"],
        ["forget", *at, "--filter", EVIL],
        ["delete", *at, one],
        ["delete", *at, "--namespace", space, one],
        ["export", *at, str(store.parent / f"x{EVIL}".replace("/", "")) + ".jsonl"],
        ["store", "backup", *at, str(store)],
        ["add", *at, str(store.parent / "absent\x1b.jsonl")],
        ["import", *at, str(store.parent / "absent\x1b.jsonl")],
        ["stopping", str(store.parent / "absent\x1b.json")],
        ["evaluate", "--corpus", EVIL.replace("\0", ""), "--questions", EVIL],
        ["train", "--set", EVIL, EVIL, "--out", EVIL],
        ["get", *at],
        [f"get{EVIL}"],
        ["recall", *at, "--k", EVIL, "q"],
    ]


def dirty(text: str) -> list[str]:
    return [
        character
        for character in text
        if character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]


@pytest.mark.parametrize("colours", [False, True])
def test_no_command_prints_anything_that_a_terminal_would_obey(
    hostile, policy, capsys, monkeypatch, colours
) -> None:
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    for argv in lines(hostile, policy):
        code = main(argv)
        out, err = capsys.readouterr()
        assert code in (0, 1, 2), argv
        assert not dirty(RICH.sub("", out)), argv
        assert not dirty(RICH.sub("", err)), argv
        assert "Traceback" not in err
        forged = [line for line in out.splitlines() if line.startswith("[p9]")]
        assert not forged, argv


def test_json_that_is_printed_means_what_is_stored_and_holds_no_orders(hostile, capsys) -> None:
    space = json.dumps([f"team{EVIL}"])
    at = ["--store", str(hostile), "--json"]
    assert main(["get", *at, "--namespace", space, f"p0{EVIL}"]) == 0
    out = capsys.readouterr().out
    assert not dirty(out)
    assert json.loads(out)[0]["title"] == f"Varn 0{EVIL}"
    assert main(["info", *at]) == 0
    spaces = json.loads(capsys.readouterr().out)["namespaces"]
    assert [json.loads(name) for name in spaces] == [[f"team{EVIL}"]]
    assert main(["recall", *at, "Which river?"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passages"][0]["metadata"]["source"] == EVIL
    assert found["passages"][0]["links"][0]["target"] == f"nobody{EVIL}"
    hops = [hop for trail in found["trails"] for hop in trail["hops"]]
    assert hops[0]["namespace"] == [f"team{EVIL}"]


def test_info_tells_a_slash_in_a_part_from_two_parts_and_both_can_be_named(
    tmp_path, capsys
) -> None:
    store = tmp_path / "m.db"
    with Memory(store, encoder=HashEncoder()) as memory:
        memory.add("one", namespace=("a/b", "c"))
        memory.add(["two", "three"], namespace=("a", "b", "c"))
    main(["info", "--store", str(store), "--json"])
    spaces = json.loads(capsys.readouterr().out)["namespaces"]
    assert spaces == {"a/b/c": 2, '["a/b", "c"]': 1}
    for name, count in spaces.items():
        main(["info", "--store", str(store), "--json", "--namespace", name])
        assert json.loads(capsys.readouterr().out)["passages"] == count


def test_a_warning_is_one_line_of_ours(tmp_path, capsys, monkeypatch) -> None:
    import logging
    import warnings

    from hoptrail.cli.commands import store

    def warns(*_: object, **__: object) -> None:
        warnings.warn(f"odd {EVIL}", stacklevel=1)
        logging.getLogger("hoptrail.memory.index.snapshot").warning("damaged: %s", EVIL)
        raise StoreError("and no memory")

    monkeypatch.setattr(store, "open_memory", warns)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["info", "--store", str(tmp_path / "x.db")]) == 1
    err = capsys.readouterr().err
    assert not dirty(err)
    assert [line.split(":")[:2] for line in err.splitlines()[:-1]] == [["hoptrail", " warning"]] * 2
