"""Answers from the command line: evaluated, exported, scored as a benchmark does, and compared."""

from __future__ import annotations

import json

import pytest

from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder

READER = '''
from hoptrail.types import Answer, Evidence

class Reader:
    """Says the last word, and rests on all that it read."""

    def read(self, question, passages):
        if not passages:
            return Answer(question, None, 1.0, 0.0)
        last = passages[-1]
        word = last.text.rstrip(".").split()[-1]
        start = last.text.rindex(word)
        evidence = [Evidence(one.id, one.namespace) for one in passages[:-1]]
        span = Evidence(last.id, last.namespace, "text", start, start + len(word))
        return Answer(question, word, 0.5, 0.5, (*evidence, span), tuple(passages))

reader = Reader()
nobody = "no reader"

def judge(question, answers, answer):
    return answer in answers
'''
QUESTIONS = [
    {
        "_id": "5a1",
        "question": "In what land was Ada Lind born?",
        "answer": "Osk",
        "type": "bridge",
        "level": "hard",
        "supporting_facts": [["Ada Lind", 0], ["Varn", 1]],
        "context": [
            ["Ada Lind", ["Ada Lind was born in Varn.", " She made clocks."]],
            ["Tolle", ["Tolle is a market town."]],
            ["Varn", ["Varn is a town.", " It lies in Osk."]],
        ],
    }
]


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "word_reader.py").write_text(READER, encoding="utf-8")
    (tmp_path / "hotpot.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")


ANSWERS = (
    *("evaluate", "--questions", "hotpot.json", "--distractor", "--answers"),
    *("--reader", "word_reader:reader", "--retrievers", "bm25,dense"),
)


def test_a_published_file_goes_in_and_predictions_and_runs_come_out(run, tmp_path) -> None:
    code, _, err = run(
        *ANSWERS,
        *("--judge", "word_reader:judge", "--read", "1", "--json", "report.json"),
        *("--predictions", "predictions", "--trec", "trec"),
    )
    assert code == 0, err
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert set(report["retrievers"]) == {"gold", "bm25", "dense"}
    for means in report["retrievers"].values():
        assert {"answer_em", "answer_f1", "support_f1", "joint_f1", "answer_judged"} <= set(means)
    assert report["retrievers"]["gold"]["answer_em"] == 1.0
    assert report["settings"]["distractor"] is True
    assert report["settings"]["answers"]["rules"] == "hotpotqa"
    predictions = json.loads((tmp_path / "predictions" / "gold.json").read_text(encoding="utf-8"))
    assert predictions == {
        "answer": {"5a1": "Osk"},
        "sp": {"5a1": [["Ada Lind", 0], ["Varn", 1]]},
    }
    assert {file.name for file in (tmp_path / "trec").iterdir()} == {
        *("qrels.txt", "gold.run", "bm25.run", "dense.run"),
    }
    code, out, err = run(
        "evaluate", "predictions", "hotpot.json", "predictions/gold.json", "--json"
    )
    assert code == 0, err
    scores = json.loads(out)
    assert scores.pop("rules") == "hotpotqa"
    assert set(scores.values()) == {1}
    code, out, err = run("compare", "report.json", "report.json", "--of", "gold", "--json")
    assert code == 0, err
    (pair,) = json.loads(out)["pairs"]
    assert pair["measures"]["answer_f1"]["ties"] == 1


def test_the_tables_show_answers_and_comparisons(run) -> None:
    code, out, err = run(*ANSWERS)
    assert code == 0, err
    assert "answer F1" in out
    run(*ANSWERS, "--json", "report.json")
    code, out, err = run("compare", "report.json", "report.json", "--of", "gold")
    assert code == 0, err
    assert "0 / 1 / 0" in out
    code, out, err = run("compare", "report.json", "report.json")
    assert code == 0, err
    assert "bm25 - bm25, 1 questions" in out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--answers", "--reader", "nowhere:x"], "--reader nowhere:x cannot be loaded"),
        (["--answers", "--reader", "word_reader:nobody"], "should have read(question, passages)"),
        (
            ["--answers", "--reader", "word_reader:Reader", "--judge", "word_reader:nobody"],
            "--judge word_reader:nobody is not a function",
        ),
        (["--predictions", "new"], "--predictions needs --answers"),
        (["--trec", "full"], "full is there already and not empty"),
        (["--corpus", "hotpot.json"], "brings its own paragraphs: leave the corpus out"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(run, tmp_path, options, sentence) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    code, _, err = run("evaluate", "--questions", "hotpot.json", *options)
    assert code == 1
    assert sentence in err


def test_plain_questions_need_their_corpus(run, questions) -> None:
    code, _, err = run("evaluate", "--questions", str(questions))
    assert code == 1
    assert "holds no paragraphs: name the corpus that it is about" in err
    code, _, err = run("evaluate", "--questions", str(questions), "--corpus", "x", "--distractor")
    assert code == 1


def test_two_files_are_compared_and_no_other_number(run) -> None:
    assert run("compare", "a.json")[0] == 1
    assert "compare takes two reports, got 1" in run("compare", "a.json")[2]
    assert "takes two files, got 1" in run("evaluate", "predictions", "hotpot.json")[2]
