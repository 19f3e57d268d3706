"""The page of an evaluation: what it shows, that it asks for nothing, that its filters filter."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hoptrail.cli.main import main
from hoptrail.errors import FormatError
from hoptrail.evaluation.answers.graded_answer import GradedAnswer
from hoptrail.evaluation.benchmark import Decision, Ranking, Result
from hoptrail.evaluation.report import build_report
from hoptrail.evaluation.report_page.evaluation_page import evaluation_page, write_page
from hoptrail.evaluation.report_page.outcomes import outcome_of, where_it_broke
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Answer, Hop, Question, Trail

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
RIGHT = {"answer_em": 1.0, "answer_f1": 1.0, "support_f1": 1.0, "joint_f1": 1.0}
WRONG = {"answer_em": 0.0, "answer_f1": 0.0, "support_f1": 0.5, "joint_f1": 0.0}


def walked(ids: str, read: str, stop: float) -> Ranking:
    """A ranking of one-letter ids by a policy that read some, and was so sure at the end."""
    hops = tuple(Hop("query", id_, "cites", 0.5, 0.1) for id_ in read)
    decisions = (*(Decision(tuple(read[:n]), 0.1) for n in range(len(read))),)
    scores = tuple(float(len(ids) - at) for at in range(len(ids)))
    trail = Trail(hops, 0.25, "policy", stop)
    return Ranking(
        tuple(ids), scores, len(read), 3.0, (*decisions, Decision(tuple(read), stop)), trail
    )


def graded(text: str | None, read: str, measures: dict[str, float]) -> GradedAnswer:
    answer = Answer("?", text, 0.75, 0.75)
    return GradedAnswer(answer, tuple(read), 40, {**measures, "answerability": 1.0})


def result(name: str, kind: str, read: str, text: str, measures: dict[str, float]) -> Result:
    """Gold is a and b; dense found a alone, the policy read what is told."""
    question = Question(name, f"What is {name}?", ("Osk",), ("a", "b"), kind)
    dense = Ranking(tuple("acdefb"), (6.0, 5.0, 4.0, 3.0, 2.0, 1.0), 0, 1.0)
    return Result(
        question,
        {"dense": dense, "policy": walked("abcdef", read, 0.9)},
        {"dense": graded("Tolle", "ac", WRONG), "policy": graded(text, read, measures)},
    )


@pytest.fixture
def report(tmp_path) -> dict[str, Any]:
    files = {"corpus": tmp_path / "corpus.jsonl", "questions": tmp_path / "dev.jsonl"}
    for file in files.values():
        file.write_text("{}\n")
    results = [
        result("first", "bridge", "ab", "Osk", RIGHT),
        result("second", "bridge", "ab", "Tolle", WRONG),
        result("third", "comparison", "ac", "Tolle", WRONG),
        result("fourth", "comparison", "ac", "Osk", RIGHT),
    ]
    titles = {((), id_): f"Title {id_}" for id_ in "abcdef"}
    return build_report(results, **files, titles=titles, resamples=50)


def test_a_question_came_to_what_its_evidence_and_answer_say(report) -> None:
    assert [outcome_of(row, "policy") for row in report["questions"]] == [
        "evidence complete",
        "answer wrong on complete evidence",
        "evidence incomplete",
        "answer right without all evidence",
    ]
    absent = {**report["questions"][0], "answerable": False}
    assert outcome_of(absent, "policy") == "nothing to be found"
    del report["questions"][0]["metrics"]["dense"]["answer_em"]
    assert outcome_of(report["questions"][0], "dense") == "evidence incomplete"


def test_where_it_broke_names_the_passage_its_place_and_the_stop(report) -> None:
    second, third = report["questions"][1:3]
    assert where_it_broke(second, "policy") == [
        "all evidence was read, and the reader answered otherwise"
    ]
    assert where_it_broke(third, "policy") == [
        "not read: Title b (place 2 of the ranking)",
        "after 2 passages it stopped, 90% sure to have enough",
        "the first passage off the way was Title c",
    ]
    assert where_it_broke(third, "dense") == ["not read: Title b (place 6 of the ranking)"]


def test_the_page_shows_tables_curves_costs_calibrations_and_every_question(report) -> None:
    page = evaluation_page(report)
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Rankings, all questions: 4 in 1 clusters",
        "Answers, all questions",
        "policy beside the others",
        "Recall by kind of question",
        "Recall against the number of passages",
        "Cost",
        "Calibration of stopping",
        "Calibration of answers",
        "Answers against evidence",
        "To run it again",
        "Questions, as policy fared",
    ]
    assert page.count('class="question') == 4
    order = [page.index(f"What is {one}?") for one in ("third", "second", "fourth", "first")]
    assert order == sorted(order)
    assert "better than dense (2)" in page


def test_the_page_is_one_file_without_script_or_address(report, markup_texts) -> None:
    for at, row in enumerate(report["questions"]):
        row["text"], row["answers"] = markup_texts[at], markup_texts[10:20]
        row["titles"] = dict.fromkeys("abcdef", markup_texts[at + 30])
        row["answered"]["policy"]["text"] = markup_texts[at + 40]
        row["kind"] = markup_texts[50 + at // 2]
    page = evaluation_page(report)
    assert not re.search(r"<(script|img|iframe|link|object|embed|base|form)\b", page)
    assert not re.search(r"<[^>]*\s(on\w+|src|href|style)=", page)
    assert "default-src &#x27;none&#x27;" in page


def test_a_damaged_report_is_refused(report) -> None:
    del report["questions"][0]["metrics"]
    with pytest.raises(FormatError, match="write it again"):
        evaluation_page(report)


def test_a_report_without_a_reader_and_without_a_policy_is_a_page_too(
    tmp_path, monkeypatch, corpus, questions
) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    data = ["evaluate", "--corpus", str(corpus), "--questions", str(questions)]
    folder = tmp_path / "page"
    argv = [*data, "--retrievers", "bm25,dense", "--report", str(folder)]
    assert main(argv) == 0
    assert main(argv) == 0, "a page of ours is replaced"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Questions, as bm25 fared" in page
    assert "Calibration" not in page
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["questions"]
    (folder / "index.html").write_text("my own", encoding="utf-8")
    assert main(argv) == 1
    assert (folder / "index.html").read_text(encoding="utf-8") == "my own"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs a browser: install the system's package chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.mark.slow
def test_filters_filter_in_a_browser_which_is_asked_for_nothing(
    browser, report, tmp_path: Path
) -> None:
    write_page(report, tmp_path / "page")
    page = browser.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "page" / "index.html").as_uri())
    questions = page.locator(".question")
    assert [questions.nth(at).is_visible() for at in range(4)] == [True] * 4
    page.get_by_label("bridge (2)").check()
    visible = [text for text in questions.all_inner_texts() if text]
    assert len([one for one in range(4) if questions.nth(one).is_visible()]) == 2
    assert any("What is first?" in text for text in visible)
    page.get_by_label("answer wrong on complete evidence (1)").check()
    (left,) = [at for at in range(4) if questions.nth(at).is_visible()]
    questions.nth(left).locator("summary").click()
    assert "the reader answered otherwise" in questions.nth(left).inner_text()
    page.locator("#kind-all").check()
    page.locator("#outcome-all").check()
    assert [questions.nth(at).is_visible() for at in range(4)] == [True] * 4
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != light
    assert requests == [(tmp_path / "page" / "index.html").as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
