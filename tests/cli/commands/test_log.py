"""The log of recalls from the command line."""

from __future__ import annotations

import json

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.memory.testing.hash_encoder import HashEncoder


def test_a_log_is_kept_shown_and_forgotten(tmp_path, twelve, capsys) -> None:
    file = tmp_path / "agent.db"
    log = ["log", "--store", str(file)]
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add(twelve)
    assert main(log) == 0
    assert "--keep N" in capsys.readouterr().err
    assert main([*log, "--keep", "5"]) == 0
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.recall("Where was\nAda \u202eLind born?", 2, effort="fast").feedback(0.5)
    assert main(log) == 0
    out = capsys.readouterr().out
    assert "Where was Ada \\u202eLind born?  reward 0.5" in out
    assert out.count("\n") == 4
    assert main([*log, "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)["recalls"]
    assert set(entry) == {
        *("id", "question", "namespace", "effort", "asked_at", "milliseconds", "hits", "reward")
    }
    assert set(entry["hits"][0]) == {"id", "namespace", "title", "score", "reward"}
    assert main([*log, "--forget", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"forgotten": 1}
    assert main([*log, "--keep", "5", "--forget"]) != 0
    assert main([*log, "--keep", "-1"]) != 0
    assert main([*log, "--keep", "0"]) == 0
    assert "no log is kept" in capsys.readouterr().out
