"""Multi-hop questions made from a memory's own paths, without labels and without an LLM.

A path leads from passage to passage over names: one says a name that another is about, or both
say it. The question says where the path begins (a name), and of every further passage only what
the one before says of it (a clue); the name that joins them is masked. So whoever answers has to
read one to find the next:

    Triton: "... was discovered by William Lassell ..."   William Lassell: "... born in Bolton ..."
    -> What born of the discovered by of the Triton?      (both passages; the answer is Bolton)

Kinds: `chain` (2 to 4 passages in a row), `comparison` (two that are named and alike), `double`
(a comparison of what two chains lead to) and `branch` (two chains that meet in one passage). Words
are dropped at random, as people do not quote, and of questions that plain term search answers only
a share is kept. Source: the cloze and inverse cloze tasks (Taylor 1953; Lee et al. 2019,
arXiv:1906.00300), here over paths.

What comes out depends on the seed and on contents, not on ids or the order of writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hoptrail.errors import InputError
from hoptrail.graph.view import GraphView
from hoptrail.memory.views.view import View
from hoptrail.policies.data.cloze import AnnotatedPassage, NameOccurrence, plain_title
from hoptrail.policies.data.trail_paths import PassagePaths
from hoptrail.types import Question

EASY = 0.25
"""The most of the questions whose passages are all among the first `TOP` of plain term search."""
TOP = 5
BLUR = 0.3
"""Share of the words of a clue that are taken from elsewhere: people say it in other words."""
PLAIN, COMMON = 1.5, 6.0
"""By idf: words that say too little to ask by, and those too rare to be taken from elsewhere."""
BY_TITLE = 0.8
"""How often a passage that has a title is named by it, rather than by another name that it says."""
TITLE_ASKED = 0.4
"""How often a passage that was reached by a name in its text is asked for its title."""
TRIES = 30
"""Attempts per question asked for, before a memory is said to hold no more paths."""
KINDS = {"chain": 0.66, "comparison": 0.14, "double": 0.08, "branch": 0.12}
"""How often each kind is tried."""
LENGTHS = {2: 0.6, 3: 0.27, 4: 0.13}
"""How long chains are to be; where a path ends early, the question is shorter."""


@dataclass(frozen=True, slots=True)
class QuestionDraft:
    """A question before it is accepted."""

    kind: str
    text: str
    answer: str
    gold: tuple[int, ...]


def pseudo_questions(
    view: View,
    graph: GraphView,
    *,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Question]:
    """Up to `count` questions about a scope's passages, each with its passages and its answer.

    Fewer come out where the passages have too few paths between them.

    Args:
        view: The scope's passages.
        graph: The graph over them.
        count: How many to make.
        seed: Decides, together with the passages' contents.
        progress: Called with (done, total).

    Raises:
        InputError: `count` is below 1.
    """
    if count < 1:
        raise InputError(f"the number of questions to make must be at least 1, got {count}")
    rng = np.random.default_rng(seed)
    questions: list[Question] = []
    easy, seen = 0, set()
    for draft in _drafts(QuestionMaker(view, graph, rng), count * TRIES):
        if len(questions) == count:
            break
        hits = view.sparse.search(draft.text, TOP)[1].tolist()
        simple = set(draft.gold) <= set(hits)
        if draft.text in seen or (simple and easy >= EASY * count):
            continue
        seen.add(draft.text)
        easy += simple
        passages = view.passages(draft.gold)
        questions.append(
            Question(
                id=f"pseudo-{len(questions)}",
                text=draft.text,
                answers=(draft.answer,) if draft.answer else (),
                supporting_ids=tuple(passage.id for passage in passages),
                kind=f"{draft.kind}-{len(draft.gold)}",
                namespace=passages[0].namespace,
            )
        )
        if progress:
            progress(len(questions), count)
    return questions


def _drafts(maker: QuestionMaker, tries: int) -> Iterator[QuestionDraft]:
    """Drafts from beginnings drawn at random, every passage once before any comes twice."""
    kinds = list(KINDS)
    share = np.asarray([KINDS[kind] for kind in kinds])
    makers: dict[str, Callable[[int], QuestionDraft | None]] = {
        "chain": maker.chain,
        "comparison": maker.comparison,
        "double": maker.double,
        "branch": maker.branch,
    }
    starts = maker.paths.starts
    for done in range(tries if len(starts) else 0):
        if done % len(starts) == 0:
            order = maker.rng.permutation(len(starts))
        kind = kinds[maker.rng.choice(len(kinds), p=share / share.sum())]
        draft = makers[kind](starts[order[done % len(starts)]])
        if draft is not None:
            yield draft


class QuestionMaker:
    """Makes drafts that begin at a passage."""

    def __init__(self, view: View, graph: GraphView, rng: np.random.Generator) -> None:
        self.paths, self.rng = PassagePaths(view, graph), rng

    def chain(self, start: int) -> QuestionDraft | None:
        """A path over two to four passages, the first of them named.

        Args:
            start: The slot of the first.
        """
        lengths = list(LENGTHS)
        length = lengths[self.rng.choice(len(lengths), p=list(LENGTHS.values()))]
        anchor = self._anchor(self.paths[start], None)
        if anchor is None:
            return None
        path, clues = [start], [[plain_title(anchor.said)]]
        hidden = {anchor.name}
        entered: NameOccurrence | None = anchor
        while len(path) < length:
            steps, worth = self.paths.steps(self.paths[path[-1]], hidden, path)
            if not steps:
                break
            share = np.asarray(worth) / sum(worth)
            step = steps[self.rng.choice(len(steps), p=share)]
            if step.place is None:
                clues.append(list(step.clue))
                entered = None
            else:
                clues.append(self._clue(self.paths[path[-1]], step.place))
                hidden.add(step.place.name)
                # Its title, where that is the name, and else the first place.
                entered = next(iter(self.paths[step.target].places_of(step.place.name)), None)
            path.append(step.target)
        if len(path) < 2 or any(self.paths[slot].title == anchor.name for slot in path[1:]):
            return None
        return self._finish("chain", path, clues, hidden, entered)

    def comparison(self, start: int) -> QuestionDraft | None:
        """Two passages that are named and alike, and what both speak of.

        Args:
            start: The slot of the first.
        """
        first = self.paths[start]
        second = self._alike(first)
        if second is None:
            return None
        shared = sorted(first.open_words() & second.open_words())
        shared = [word for word in shared if PLAIN < self.paths.idf(word) < COMMON]
        if not shared:
            return None
        weight = np.asarray([1 / self.paths.idf(word) for word in shared])
        size = min(len(shared), int(self.rng.integers(1, 4)))
        words = self.rng.choice(shared, size=size, replace=False, p=weight / weight.sum())
        names = [str(first.heading), str(second.heading)]
        opening = ("Which", "Who", "Are both", "Do both")[self.rng.integers(4)]
        between = " and " if "both" in opening else " or "
        text = f"{opening} {' '.join(words)}, {between.join(names)}?"
        return QuestionDraft("comparison", text, "", (start, second.slot))

    def double(self, start: int) -> QuestionDraft | None:
        """Two passages alike that are named, and what each says something of in the same words.

        Args:
            start: The slot of the first.
        """
        first = self.paths[start]
        second = self._alike(first)
        if second is None:
            return None
        pairs: list[tuple[int, int, list[str]]] = []
        for one, p in self._named(first):
            for other, q in self._named(second):
                common = sorted(first.around(one) & second.around(other))
                if common and len({start, second.slot, p, q}) == 4:
                    pairs.append((p, q, common))
        if not pairs:
            return None
        p, q, common = pairs[self.rng.integers(len(pairs))]
        about = self.paths[p].open_words() & self.paths[q].open_words()
        subjects = [w for w in sorted(about) if PLAIN < self.paths.idf(w) < COMMON]
        words = [str(self.rng.choice(common))]
        if subjects:
            words.insert(0, f"{self.rng.choice(subjects)} of the")
        text = f"Which {' '.join(words)} of {first.heading} and {second.heading}?"
        return QuestionDraft("double", text, "", (start, second.slot, p, q))

    def branch(self, start: int) -> QuestionDraft | None:
        """A passage that two others lead to, each by a name of its own.

        Args:
            start: The slot of the one that they lead to.
        """
        page = self.paths[start]
        places = _different([p for p in page.places if self.paths.sharing(p.name)])
        self.rng.shuffle(places)
        arms: list[tuple[NameOccurrence, AnnotatedPassage, NameOccurrence, NameOccurrence]] = []
        for place in places:
            arm = self._arm(page, place, [start, *(a[1].slot for a in arms)])
            if arm is not None:
                arms.append((place, *arm))
            if len(arms) == 2:
                break
        if len(arms) < 2:
            return None
        hidden = {arm[0].name for arm in arms} | {arm[3].name for arm in arms}
        target = self._target(page, hidden, arms[0][0])
        if target is None:
            return None
        parts = [
            " ".join([*self._clue(other, said), plain_title(anchor.said)])
            for _, other, said, anchor in arms
        ]
        answer, clue = target
        text = f"{_wh(answer)} {' '.join(clue)} the {parts[0]} the {parts[1]}?"
        return QuestionDraft("branch", text, answer, (arms[0][1].slot, arms[1][1].slot, start))

    def _finish(
        self,
        kind: str,
        path: list[int],
        clues: list[list[str]],
        hidden: set[str],
        entered: NameOccurrence | None,
    ) -> QuestionDraft | None:
        """The question of a path, its last passage asked about."""
        last = self.paths[path[-1]]
        target = self._target(last, hidden, entered)
        if target is None:
            return None
        answer, clue = target
        if not clue and not any(clues[1:]):
            return None
        parts = [clue, *reversed(clues)]
        said = [" ".join(part) for part in parts if part]
        if self.rng.random() < 0.5:
            text = f"{_wh(answer)} {' of the '.join(said)}?"
        else:
            text = f"{', which '.join(reversed(said))} {_wh(answer).lower()}?"
        return QuestionDraft(kind, text, answer, tuple(path))

    def _target(
        self, page: AnnotatedPassage, hidden: set[str], entered: NameOccurrence | None
    ) -> tuple[str, list[str]] | None:
        """What is asked of a passage: an answer in it, and a clue to that."""
        by_name = entered is not None and entered.first >= 0 and entered.name != page.title
        own = {page.title} if page.title else set()
        if entered and by_name and own and not own & hidden and self.rng.random() < TITLE_ASKED:
            return page.passage.title or "", self._clue(page, entered)
        answers = page.answers(hidden | own, entered if by_name else None)
        if not answers:
            return None
        # What a passage says first is what it is asked for most.
        weight = np.asarray([1.0 / (1.0 + page.sentence[a.first]) for a in answers])
        answer = answers[self.rng.choice(len(answers), p=weight / weight.sum())]
        return answer.said, self._clue(page, answer)

    def _anchor(self, page: AnnotatedPassage, other_than: str | None) -> NameOccurrence | None:
        """The name that a question begins with: the title, or at times another that is rare."""
        names = [p for p in page.places if p.first >= 0 and p.name not in (other_than, page.title)]
        rare = _different([p for p in names if self.paths.rare(p.name)])
        titled = bool(page.places) and page.places[0].first < 0 and page.title != other_than
        if titled and (not rare or self.rng.random() < BY_TITLE):
            return page.places[0]
        return rare[self.rng.integers(len(rare))] if rare else None

    def _arm(
        self, page: AnnotatedPassage, place: NameOccurrence, others: Sequence[int]
    ) -> tuple[AnnotatedPassage, NameOccurrence, NameOccurrence] | None:
        """Another passage that says a name, where it does, and a name to begin with there."""
        around = self.paths.open(self.paths.sharing(place.name), [page.slot, *others])
        self.rng.shuffle(around)
        for slot in around[:4]:
            other = self.paths[slot]
            said = [p for p in other.places_of(place.name) if p.first >= 0]
            anchor = self._anchor(other, place.name)
            if said and anchor is not None and anchor.name not in {p.name for p in page.places}:
                return other, said[0], anchor
        return None

    def _clue(self, page: AnnotatedPassage, place: NameOccurrence) -> list[str]:
        """A clue in other words: some are taken from passages near in meaning."""
        words = page.clue(place, self.rng)
        blurred = self.rng.random(len(words)) < BLUR
        if not blurred.any():
            return words
        near = self.paths.near(page)
        if not near:
            return words
        other = self.paths[near[self.rng.integers(len(near))]]
        instead = [w for w in sorted(other.open_words()) if self.paths.idf(w) < COMMON]
        if not instead:
            return words
        return [
            str(self.rng.choice(instead)) if change else word
            for word, change in zip(words, blurred, strict=True)
        ]

    def _alike(self, page: AnnotatedPassage) -> AnnotatedPassage | None:
        """A passage near in meaning that has a title too."""
        if page.heading is None:
            return None
        slots = self.paths.near(page)
        for place in self.rng.permutation(len(slots)).tolist():
            other = self.paths[slots[place]]
            if other.heading and other.title != page.title:
                return other
        return None

    def _named(self, page: AnnotatedPassage) -> list[tuple[NameOccurrence, int]]:
        """The passages that a passage names, with where it does."""
        return [
            (place, target)
            for place, targets in page.targets.items()
            for target in self.paths.open(targets, [page.slot])
        ]


def _different(places: list[NameOccurrence]) -> list[NameOccurrence]:
    """The first place of each name."""
    return list({place.name: place for place in reversed(places)}.values())[::-1]


def _wh(answer: str) -> str:
    return "When" if answer.isdigit() else "What"
