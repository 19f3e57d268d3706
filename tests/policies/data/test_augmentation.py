"""Questions asked again over other kinds of memory: what is asked, and what it depends on."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from hoptrail.formats.jsonl import passage_record, question_record, write_jsonl
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data.augmentation import AugmentedCorpus, augmented_corpora, untitled
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.inverse_cloze import sentences
from hoptrail.types import Link, Passage, Question

ENCODER = HashEncoder()


@pytest.fixture
def open_corpus(tmp_path, monkeypatch):
    """Opens passages with questions as a corpus."""
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    opened = []

    def open_(passages, questions) -> OpenCorpus:
        folder = tmp_path / f"corpus-{len(opened)}"
        folder.mkdir()
        write_jsonl(folder / "corpus.jsonl", map(passage_record, passages))
        write_jsonl(folder / "questions.jsonl", map(question_record, questions))
        opened.append(OpenCorpus(folder / "corpus.jsonl", folder / "questions.jsonl", ENCODER))
        return opened[-1]

    yield open_
    for corpus in opened:
        corpus.close()


@pytest.fixture
def demo(open_corpus, demo_passages, demo_questions) -> OpenCorpus:
    return open_corpus(demo_passages, demo_questions)


def by_name(corpus: OpenCorpus, share: float = 1.0, seed: int = 0) -> dict[str, AugmentedCorpus]:
    return {variant.name: variant for variant in augmented_corpora(corpus, share=share, seed=seed)}


def said(variant: AugmentedCorpus) -> list:
    """All of a variant, to compare."""
    return [
        sorted((p.namespace, p.id, p.text, p.links) for p in variant.passages),
        [(q.text, q.namespace, q.supporting_ids) for q in variant.questions],
    ]


def test_every_variant_can_be_opened_and_holds_its_own_gold(demo) -> None:
    found = by_name(demo)
    assert list(found) == ["untitled", "inverse-cloze"]
    for variant in found.values():
        with closing(variant.open(ENCODER)) as opened:
            for question in variant.questions:
                gold = opened.gold(question)  # an id that is missing would be refused
                passages = opened.scope(question.namespace).view.passages(gold)
                assert gold
                assert {passage.namespace for passage in passages} == {question.namespace}


def test_untitled_passages_say_their_titles_and_link_to_nothing(demo, demo_passages) -> None:
    variant = by_name(demo, share=0.5)["untitled"]
    assert len(variant.questions) == round(0.5 * len(demo.questions))
    assert all(question in demo.questions for question in variant.questions)
    assert not any(p.title or p.links for p in variant.passages)
    assert {p.text for p in variant.passages} == {p.content for p in demo_passages}


def test_a_passage_without_a_title_is_a_note_already() -> None:
    note = Passage("n", "Ada came.", metadata={"speaker": "Bo"}, links=(Link("m"),))
    assert untitled(note) == replace(note, links=())
    assert untitled(note).content == note.content == "Bo: Ada came."


def test_notes_have_no_untitled_variant(open_corpus, demo_passages, demo_questions) -> None:
    notes = open_corpus([untitled(passage) for passage in demo_passages], demo_questions)
    assert "untitled" not in by_name(notes)


def test_what_an_inverse_cloze_question_is_made_of_is_not_there(demo, demo_passages) -> None:
    variant = by_name(demo)["inverse-cloze"]
    stay = {passage.id for passage in variant.passages}
    gone = [passage for passage in demo_passages if passage.id not in stay]
    assert 0 < len(gone) <= len(demo_passages) // 10
    assert len(variant.questions) <= len(gone)
    for question in variant.questions:
        assert any(set(question.text.split()) <= set(p.content.split()) for p in gone)
        assert set(question.supporting_ids) <= stay
    for passage in variant.passages:
        assert passage.title is None
        assert {link.target for link in passage.links} <= stay


def test_titles_that_are_named_become_links(demo, demo_passages) -> None:
    links = {
        p.id: {link.target for link in p.links} for p in by_name(demo)["inverse-cloze"].passages
    }
    titles = {p.title: p.id for p in demo_passages}
    named = [
        (p.id, titles[title])
        for p in demo_passages
        for title in titles
        if p.id in links and titles[title] in links and p.title != title and title in p.text
    ]
    assert named
    assert sum(target in links[source] for source, target in named) > 0.9 * len(named)


def test_the_seed_and_the_contents_decide(demo, open_corpus, demo_passages) -> None:
    first, again, other = by_name(demo), by_name(demo), by_name(demo, seed=1)
    turned = by_name(open_corpus(demo_passages[::-1], demo.questions))
    for name, variant in first.items():
        assert said(variant) == said(again[name]) == said(turned[name])
        assert said(variant) != said(other[name])


def test_namespaces_are_kept_apart(open_corpus, twelve, three_hops) -> None:
    spaces = [("a",), ("b",)]
    passages = [replace(p, namespace=space) for space in spaces for p in twelve]
    questions = [replace(three_hops, id=f"q-{s[0]}", namespace=s) for s in spaces]
    for variant in by_name(open_corpus(passages, questions)).values():
        assert {passage.namespace[:1] for passage in variant.passages} <= set(spaces)
        with closing(variant.open(ENCODER)) as opened:
            for question in variant.questions:
                assert question.namespace[:1] in spaces
                assert opened.gold(question)


def test_nothing_is_asked_where_no_gold_is_known(open_corpus, twelve) -> None:
    unknown = Question("q", "Where was Ada Lind born?", answers=("Varn",))
    assert by_name(open_corpus(twelve, [unknown])) == {}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One.", ["One."]),
        (
            "The first of them is long enough to stand. "
            "The second one is as long as the first of them. No.",
            [
                "The first of them is long enough to stand.",
                "The second one is as long as the first of them. No.",
            ],
        ),
        (
            "It was built for the widow of Dr. Adam Holm in the year of the flood.",
            ["It was built for the widow of Dr. Adam Holm in the year of the flood."],
        ),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts
