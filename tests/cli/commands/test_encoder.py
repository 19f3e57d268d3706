"""`hoptrail encoder distill` and `tune`, and memories of the encoders that they make."""

from __future__ import annotations

import json

import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.encoders.static import StaticEncoder, load_encoder
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


def test_distill_writes_an_encoder_that_add_and_search_take(
    capsys, tmp_path, corpus, questions
) -> None:
    out = tmp_path / "static"
    argv = [
        "encoder",
        "distill",
        "--corpus",
        str(corpus),
        "--questions",
        str(questions),
        "--dim",
        "16",
    ]
    assert main([*argv, "--steps", "40", "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    encoder = StaticEncoder.load(out)
    assert (said["fingerprint"], said["texts"]) == (encoder.fingerprint, 12)
    store = tmp_path / "fast.db"
    assert main(["add", "--store", str(store), "--encoder", str(out), str(corpus)]) == 0
    capsys.readouterr()
    argv = ["search", "--store", str(store), "--encoder", str(out), "--mode", "dense", "--json"]
    assert main([*argv, "who founds bells in a foundry"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"][0]["id"] == "p-bell-founding"
    with Memory(store, encoder=encoder) as memory:
        assert len(memory) == 12


def test_a_width_above_the_teacher_s_is_refused_in_a_sentence(capsys, tmp_path, corpus) -> None:
    argv = [
        "encoder",
        "distill",
        "--corpus",
        str(corpus),
        "--dim",
        "999",
        "--out",
        str(tmp_path / "static"),
    ]
    assert main(argv) == 1
    assert "dim must be at most the teacher's 32, got 999" in capsys.readouterr().err
    assert not (tmp_path / "static").exists()


@pytest.fixture
def store(tmp_path, corpus, capsys):
    path = tmp_path / "agent.db"
    assert main(["add", "--store", str(path), str(corpus)]) == 0
    capsys.readouterr()
    return path


@pytest.fixture
def static(tmp_path, corpus, capsys):
    folder = tmp_path / "static"
    argv = ["encoder", "distill", "--corpus", str(corpus), "--dim", "16", "--steps", "10"]
    assert main([*argv, "--out", str(folder)]) == 0
    capsys.readouterr()
    return folder


def test_reencode_gives_a_memory_another_encoder(capsys, store, static) -> None:
    assert main(["search", "--store", str(store), "--encoder", str(static), "trout"]) == 1
    assert f"hoptrail encoder reencode --store {store} --encoder" in capsys.readouterr().err
    argv = ["encoder", "reencode", "--store", str(store), "--encoder", str(static)]
    assert main([*argv, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["dim"], found["passages"], found["encoded"]) == (16, 12, 12)
    assert "encoding: 12 in" in said.err
    assert main([*argv]) == 0
    assert "12 passages, 0 of them encoded" in capsys.readouterr().out
    argv = ["search", "--store", str(store), "--encoder", str(static), "--mode", "dense", "--json"]
    assert main([*argv, "who founds bells in a foundry"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"]
    assert main(["encoder", "reencode", "--store", str(store)]) == 0  # and back to the default
    assert "has the encoder hash-32 (32 dim) now" in capsys.readouterr().out
    assert main(["search", "--store", str(store), "trout"]) == 0


def test_reencode_goes_on_after_an_interrupt_and_can_be_dropped(
    capsys, store, static, monkeypatch
) -> None:
    encode, left = StaticEncoder.encode, [2]

    def interrupted(self, texts):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return encode(self, texts)

    monkeypatch.setattr(StaticEncoder, "encode", interrupted)
    argv = ["encoder", "reencode", "--store", str(store), "--encoder", str(static), "--batch", "3"]
    assert main(argv) == 130
    said = capsys.readouterr().err
    assert "6 of 12 passages are done: the same command goes on" in said
    assert main(["store", "verify", "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["encoder_change"]["done"] == 6
    assert main(["info", "--store", str(store)]) == 0
    assert "6 of 12 passages (hoptrail encoder reencode goes on" in capsys.readouterr().out
    assert main(["store", "verify", "--store", str(store)]) == 0
    assert "is sound: 12 passages\nchanging to encoder" in capsys.readouterr().out
    left[0] = 99
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["encoded"] == 6
    assert main(["info", "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["encoder_change"] is None
    left[0] = 0
    monkeypatch.setenv("HOPTRAIL_CACHE", str(store.with_name("other")))
    monkeypatch.setattr(HashEncoder, "encode", interrupted)
    assert main(["encoder", "reencode", "--store", str(store)]) == 130
    argv = ["encoder", "reencode", "--store", str(store), "--drop"]
    assert main(argv) == 0
    assert "was dropped, with 0 of 12 passages" in capsys.readouterr().out
    assert main(argv) == 0
    assert "is in no change" in capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dropped": None}


def test_tune_writes_an_encoder_that_asks_a_memory_of_the_base(
    capsys, tmp_path, corpus, questions, tiny_bert
) -> None:
    out, store = tmp_path / "tuned", tmp_path / "asked.db"
    pair = [str(corpus), str(questions)]
    argv = ["encoder", "tune", "--set", *pair, "--dev", *pair, "--epochs", "1"]
    argv += ["--encoder", str(tiny_bert), "--out", str(out)]
    assert main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (
        said["dev"][0]["before"].keys()
        == said["dev"][0]["after"].keys()
        == {
            "recall@5",
            "recall@10",
        }
    )
    assert main(argv) == 0
    assert "recall@10" in capsys.readouterr().out
    assert main(["add", "--store", str(store), "--encoder", str(tiny_bert), str(corpus)]) == 0
    capsys.readouterr()
    argv = ["search", "--store", str(store), "--encoder", str(out), "--mode", "dense", "--json"]
    assert main([*argv, "who founds bells in a foundry"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"]


def test_what_was_judged_useful_in_a_memory_is_learned_from(
    capsys, tmp_path, corpus, tiny_bert
) -> None:
    store, base, out = str(tmp_path / "judged.db"), str(tiny_bert), str(tmp_path / "tuned")
    tune = ["encoder", "tune", "--from-feedback", store, "--encoder", base, "--out", out]
    assert main(tune) == 1
    assert f"there is no store at {store}" in capsys.readouterr().err
    assert main(["add", "--store", store, "--encoder", base, str(corpus)]) == 0
    assert main(tune) == 1
    assert "there is no feedback to learn from" in capsys.readouterr().err
    with Memory(store, encoder=load_encoder(base)) as memory:
        recall = memory.recall("the river of the old city", k=2)
        recall.feedback(1.0, passages=[recall.hits[0].passage.id])
    assert main([*tune, "--epochs", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["feedback"] == [{"store": f"{tmp_path.name}/judged.db", "namespace": []}]
    assert main([*tune, "--namespace", "other"]) == 1
    assert "in namespace other" in capsys.readouterr().err
    assert main(["encoder", "tune", "--corpus", store, "--cloze", "2", "--namespace", "a"]) != 0


def test_what_has_no_weights_to_change_is_refused(capsys, tmp_path, corpus, questions) -> None:
    argv = ["encoder", "tune", "--set", str(corpus), str(questions), "--out", str(tmp_path / "out")]
    assert main(argv) == 1
    assert "not that of a HashEncoder: give another --encoder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_passage_side_is_tuned_and_given_to_a_memory(
    capsys, tmp_path, corpus, questions, tiny_bert
) -> None:
    out, store, base = str(tmp_path / "tuned"), str(tmp_path / "moved.db"), str(tiny_bert)
    assert main(["add", "--store", store, "--encoder", base, str(corpus)]) == 0
    argv = ["encoder", "tune", "--set", str(corpus), str(questions), "--encoder", base]
    argv += ["--side", "passage", "--max-age", "2", "--codes", "int8", "--dims", "4,8"]
    capsys.readouterr()
    assert main([*argv, "--epochs", "1", "--out", out, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    config = said["config"]
    assert (config["side"], config["max_age"], config["dims"]) == ("passage", 2, [4, 8])
    assert said["index"]["encoded"] > 0
    assert said["index"]["code_error"]["score"] > 0
    search = ["search", "--store", store, "--encoder", out, "--mode", "dense", "--json", "bells"]
    assert main(search) == 1  # its vectors are the base's still
    assert main(["encoder", "reencode", "--store", store, "--encoder", out]) == 0
    capsys.readouterr()
    assert main(search) == 0
    assert json.loads(capsys.readouterr().out)["passages"]


def test_what_is_of_the_index_is_refused_where_the_query_side_is_tuned(
    capsys, tmp_path, corpus, questions
) -> None:
    argv = ["encoder", "tune", "--set", str(corpus), str(questions), "--max-age", "3"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 1
    assert "--max-age is for --side passage or both" in capsys.readouterr().err


def test_a_cross_encoder_is_tuned_and_orders_what_search_brings(
    capsys, tmp_path, corpus, questions, tiny_bert
) -> None:
    out, store, base = str(tmp_path / "crossed"), str(tmp_path / "asked.db"), str(tiny_bert)
    pair = [str(corpus), str(questions)]
    argv = ["encoder", "tune", "--kind", "cross-encoder", "--set", *pair, "--dev", *pair]
    argv += ["--depth", "6", "--epochs", "1", "--encoder", base, "--out", out]
    assert main([*argv, "--objective", "lambda", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["folder"], said["config"]["objective"], said["config"]["depth"]) == (
        out,
        "lambda",
        6,
    )
    assert said["dev"][0]["after"].keys() == {"recall@5", "recall@10"}
    assert main([*argv, "--start", out]) == 0
    assert "search on" in (printed := capsys.readouterr().out)
    assert f"weights: {out}" in printed
    assert main(["add", "--store", store, "--encoder", base, str(corpus)]) == 0
    capsys.readouterr()
    argv = ["search", "--store", store, "--encoder", base, "--k", "3", "--json", "who casts bells"]
    assert main([*argv, "--reranker", out, "--depth", "4"]) == 0
    ordered = json.loads(capsys.readouterr().out)["passages"]
    assert main([*argv[:-1], "--k", "4", argv[-1]]) == 0
    first = json.loads(capsys.readouterr().out)["passages"]
    assert len(ordered) == 3
    assert {hit["id"] for hit in ordered} <= {hit["id"] for hit in first}


def test_a_sparse_encoder_is_tuned_and_searches_a_memory(
    capsys, tmp_path, corpus, questions, tiny_bert
) -> None:
    out, store, base = str(tmp_path / "weights"), str(tmp_path / "asked.db"), str(tiny_bert)
    pair = [str(corpus), str(questions)]
    argv = ["encoder", "tune", "--kind", "sparse", "--set", *pair, "--dev", *pair]
    argv += ["--epochs", "1", "--encoder", base, "--out", out, "--json"]
    assert main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["dev"][0].keys() >= {"before", "after"}
    assert main(["add", "--store", store, "--encoder", base, str(corpus)]) == 0
    search = ["search", "--store", store, "--encoder", base, "--learned", out, "--json"]
    for mode in ("sparse", "hybrid"):
        capsys.readouterr()
        assert main([*search, "--mode", mode, "the river of the old city"]) == 0
        assert json.loads(capsys.readouterr().out)["passages"]
    assert main([*search, "--mode", "dense", "bells"]) == 1
    assert "give --mode sparse or hybrid" in capsys.readouterr().err


def test_late_interaction_is_tuned_and_orders_what_search_brings(
    capsys, tmp_path, corpus, questions, tiny_bert
) -> None:
    out, store, base = str(tmp_path / "tokens"), str(tmp_path / "asked.db"), str(tiny_bert)
    argv = ["encoder", "tune", "--kind", "late-interaction", "--set", str(corpus), str(questions)]
    assert main([*argv, "--depth", "6", "--epochs", "1", "--encoder", base, "--out", out]) == 0
    assert "late-interaction of" in capsys.readouterr().out
    assert main(["add", "--store", store, "--encoder", base, str(corpus)]) == 0
    capsys.readouterr()
    argv = ["search", "--store", store, "--encoder", base, "--json", "--reranker", out]
    assert main([*argv, "--depth", "4", "--k", "3", "who casts bells"]) == 0
    hits = json.loads(capsys.readouterr().out)["passages"]
    assert len(hits) == 3
    assert all(-1 <= hit["score"] <= 1 for hit in hits)
    assert main([*argv[:-2], "--depth", "4", "bells"]) == 1
    assert "--depth is for --reranker" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--kind", "sparse", "--start", "x"], "--start is for --kind cross-encoder"),
        (["--kind", "cross-encoder", "--side", "both"], "--side is for --kind vectors"),
        (["--start", "crossed"], "--start is for --kind cross-encoder"),
        (["--resume"], "--resume is for --kind cross-encoder, sparse or late-interaction"),
        (["--kind", "cross-encoder", "--objective", "ndcg"], "objective must be one of likelihood"),
        (["--objective", "binary"], "objective must be one of likelihood, recall"),
    ],
)
def test_what_a_kind_does_not_have_is_refused(
    capsys, tmp_path, corpus, questions, argv, sentence
) -> None:
    out = tmp_path / "out"
    command = ["encoder", "tune", "--set", str(corpus), str(questions), "--out", str(out)]
    assert main([*command, *argv]) == 1
    assert sentence in capsys.readouterr().err
    assert not out.exists()
