"""The values that pass between the parts: passages and links in, hits and trails out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal, Protocol, runtime_checkable

from hoptrail.errors import InputError

MAX_TEXT = 1_000_000
"""Characters in a passage's text, or in its title, at most: what is longer is to be cut."""

Namespace = tuple[str, ...]
"""Isolates one tenant's memory; a scope holds the namespaces that begin with it."""

Time = float | str | date
"""A moment: seconds since 1970, ISO 8601 text, a `date` or a `datetime`; without an offset, UTC."""

AsOf = Time | Literal["ever"]
"""As of when a memory is read: a moment, or "ever" for what was valid at any time. A moment says
its offset; a date alone begins at midnight, UTC."""

Duration = float | timedelta
"""How long: seconds, or a `timedelta`."""

Metadata = Mapping[str, Any]
"""What else is known of a passage; JSON values."""

FilterDict = Mapping[str, Any]
"""A condition on passages as JSON values: `{"lang": "en", "year": {"$gte": 2001}}`. The language is
described in `hoptrail.memory.filters`, whose `Filter` is one that was checked."""


@dataclass(frozen=True, slots=True)
class Link:
    """A typed, directed, weighted edge from a passage to another of the same namespace."""

    target: str
    """Id of the passage it leads to; it may be written later."""
    kind: str = "link"
    """`cites`, `next`, `similar`, or a relation of the user's own."""
    weight: float = 1.0
    """Above 0."""


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit of memory."""

    id: str
    """Unique in its namespace."""
    text: str
    title: str | None = None
    metadata: Metadata = field(default_factory=dict)
    namespace: Namespace = ()
    links: tuple[Link, ...] = ()
    written_at: float = 0.0
    """Seconds since 1970; set by the store."""
    expires_at: float | None = None
    """Seconds since 1970 from which it is gone; None for never."""
    document: str | None = None
    """The document that it is a part of, by a name that is unique in the namespace; None for one
    that stands alone."""
    parts: int = field(default=0, compare=False)
    """How many parts the document has, on passages that were just cut from it: given together they
    take the place of all that it had. Not stored: 0 on a passage that a memory returns."""
    valid_from: float | None = None
    """Seconds since 1970 from which what it says holds; None for always before."""
    valid_until: float | None = None
    """Seconds since 1970 from which it holds no more; None for as long as nobody says so."""

    def __hash__(self) -> int:
        """Of what names and says it; metadata, which cannot be hashed, has no part in it."""
        return hash((self.namespace, self.id, self.title, self.text))

    @property
    def content(self) -> str:
        """What is indexed and encoded: the text under its title, or after its speaker's name."""
        if self.title:
            return f"{self.title}. {self.text}"
        speaker = self.metadata.get("speaker")
        return f"{speaker}: {self.text}" if speaker else self.text


@dataclass(frozen=True, slots=True)
class Shares:
    """What the score of a recall's hit is made of: factors, whose product is the score.

    1 changes nothing; `links` is no factor, but a part of `policy`. How the factors arise is in
    `hoptrail.policies.search.scoring`.
    """

    policy: float
    """How probable the policy finds it to be read, over all that it followed."""
    links: float = 0.0
    """Of that, the part of states in which a link or a name leads to it from what was read; from 0
    to 1."""
    lexical: float = 1.0
    """What the question's words (BM25) say of it, where the policy is not sure. As the two after
    it, against the candidate that fits best in all three together: below 1 where that is better."""
    dense: float = 1.0
    """What the meaning (the vectors) says of it."""
    likeness: float = 1.0
    """What the terms say that it has in common with what was read."""
    length: float = 1.0
    """What its length costs, where the passages of a memory differ much in length. The factors
    before it are then powers of their own and not against another candidate."""
    total: float = 1.0
    """The same for all hits then: keeps the sum of all scores what the policy made it."""
    judge: float = 1.0
    """What judging it jointly with what was read made of its score, at effort `thorough`."""
    feedback: float = 1.0
    """What a ranking that the policy learned from feedback made of its score: that of the place
    that it takes there, against that of the place that it had."""


@dataclass(frozen=True, slots=True)
class HitSource:
    """What brought a passage into the pool of a recall: a ranking, or a link from what was read."""

    ranking: str | None
    """Of the question: `hybrid`, `dense`, `lexical`, `pagerank`, or `title` where it names the
    passage. Of what was read: `query` for the next query, `entities` for names in common. None for
    a link."""
    rank: int | None = None
    """Its place in the question's ranking, from 1; None elsewhere."""
    link: str | None = None
    """The kind of edge, as in `Hop`; None for a ranking."""
    id: str | None = None
    """The passage read that it led on from; None for the question."""
    namespace: Namespace = ()
    """Where that passage is."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, and how well it fits."""

    passage: Passage
    score: float
    """By which it is ranked: higher is better; comparable within one result only, and below 0 for
    what a recall never thought of. How sure a recall is of a passage is its `probability`."""
    sub_question: str | None = None
    """The sub-question that speaks most for it, where it was judged at effort `thorough`."""
    shares: Shares | None = field(default=None, compare=False, repr=False)
    """What the score is made of; None outside recalls, where a recall explores, and for what was
    never in its pool, whose score is below 0 and only an order."""
    sources: tuple[HitSource, ...] = field(default=(), compare=False, repr=False)
    """All that brought it into the pool of a recall."""
    probability: float | None = None
    """That the question needs it, calibrated, in [0, 1]; it never rises along a ranking. None of a
    search, beside a policy whose scores are not calibrated, and where relations were walked."""
    complete: float | None = None
    """The probability that it and the passages ranked before it suffice, in [0, 1]; it never falls
    along a ranking. None where `probability` is."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a trail: a query that led to a passage."""

    query: str
    """The query as text, after it was rewritten from what was read."""
    id: str
    """The passage read."""
    link: str | None
    """The kind of edge that led here from a passage read before; None for an index hit."""
    probability: float
    """π(read this | state)."""
    stop_probability: float = 0.0
    """π(STOP | state) before it was read: what would have ended the walk here. How probably the
    evidence is complete says `Recall.complete`."""
    namespace: Namespace = ()
    """Where the passage read is; ids are unique within one only."""


@dataclass(frozen=True, slots=True)
class Trail:
    """One path through the memory, as the policy walked it."""

    hops: tuple[Hop, ...]
    probability: float
    """Of reading these passages, in any order that the walk followed, and of ending there; so it
    is at least the product of the hops' and of the stop's."""
    stop_reason: str
    """Why it ended: `policy` (STOP was chosen), `budget` (no hops left) or `exhausted`; the
    likelier where one set of passages ended in two ways."""
    stop_probability: float = 0.0
    """π(STOP | all that it read), which ended the walk."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a recall took."""

    milliseconds: float
    texts_encoded: int
    """Queries whose vectors it needed, also those that were remembered (`Store.cache_info`)."""
    candidates: int
    """Passages that were in the pool."""
    passages_read: int
    """Different passages that the beam read."""
    pairs_scored: int = 0
    """Pairs of sub-question and candidate that effort `thorough` judged jointly."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What a caller gets back: ranked passages, the trails behind them, the cost."""

    question: str
    hits: tuple[Hit, ...]
    trails: tuple[Trail, ...]
    """Most probable first."""
    cost: Cost
    id: str = field(default="", compare=False)
    """By which the memory takes feedback on it; every recall has another."""
    judge: Callable[[float, Sequence[str | Passage] | None], None] | None = field(
        default=None, compare=False, repr=False
    )
    """Takes the feedback to the memory that it came from."""

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The passages, best first."""
        return tuple(hit.passage for hit in self.hits)

    @property
    def complete(self) -> float | None:
        """The probability that the passages returned suffice, calibrated.

        It is low where the memory does not hold what was asked, and 0 where nothing came back; None
        where `Hit.complete` is.
        """
        return self.hits[-1].complete if self.hits else 0.0

    def feedback(self, reward: float, *, passages: Sequence[str | Passage] | None = None) -> None:
        """Say what it was worth; kept in the memory, for `hoptrail train --from-feedback`.

        Args:
            reward: From 0 (of no use) to 1.
            passages: Ids of returned passages that it is for, or the passages themselves; the
                recall as a whole if None.

        Raises:
            UnknownId: It did not return such a passage.
            InputError: The reward is no number in [0, 1], or the recall came from no memory.
            StoreError: The store is read-only.
        """
        if self.judge is None:
            raise InputError("this recall came from no memory that could keep feedback on it")
        self.judge(reward, passages)

    def to_html(self) -> str:
        """A page that shows the walk hop by hop and what came back: one file, no network.

        Returns:
            The page, to be written to a file as UTF-8. Whatever passages say is shown as text.
        """
        from hoptrail.outputs.pages.recall_page import recall_page

        return recall_page(self)

    def _repr_html_(self) -> str:
        """The same, as a notebook shows it."""
        from hoptrail.outputs.pages.recall_page import recall_fragment

        return recall_fragment(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage that an answer rests on, and where in it the answer stands."""

    id: str
    """Of the passage."""
    namespace: Namespace = ()
    field: Literal["text", "title", "speaker"] = "text"
    """What of the passage the span is a part of; `speaker` is in its metadata."""
    start: int | None = None
    """The span's first character in that field; None where the passage supports an answer that
    stands elsewhere, or in no passage, as yes and no do."""
    end: int | None = None
    """The character after its last."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader makes of a question and the passages that were read for it."""

    question: str
    text: str | None
    """The answer; None where the passages do not say."""
    probability: float | None = None
    """That this is right: that the text answers the question or, where it is None, that the
    passages hold no answer. None where the reader does not say."""
    answerable: float | None = None
    """The probability that the passages hold an answer at all, whatever the text is; None where
    the reader does not say."""
    evidence: tuple[Evidence, ...] = ()
    """What it rests on, in the order in which it was read."""
    passages: tuple[Passage, ...] = ()
    """What was read, in order."""
    recall: Recall | None = field(default=None, compare=False, repr=False)
    """The recall that found the passages; None where they came from elsewhere."""

    @property
    def known(self) -> bool:
        """Whether there is an answer."""
        return self.text is not None

    @property
    def trail(self) -> Trail | None:
        """The likeliest trail by which the passages were found; None where nothing was walked."""
        return self.recall.trails[0] if self.recall and self.recall.trails else None


@runtime_checkable
class Reader(Protocol):
    """What answers questions from passages: the one that ships, or another in its place."""

    def read(self, question: str, passages: Sequence[Passage]) -> Answer:
        """The answer that passages give to a question.

        Args:
            question: In words.
            passages: In the order in which they were read, the best first; perhaps none.

        Returns:
            An answer whose evidence is among the passages.
        """


@runtime_checkable
class AbstainingReader(Reader, Protocol):
    """A reader that may say that passages hold no answer, and need not."""

    def without_abstaining(self) -> Reader:
        """The same reader, which always gives its likeliest answer.

        For questions that are known to have one, as those of most published sets.
        """


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what is known of its answer; for training and evaluation."""

    id: str
    text: str
    answers: tuple[str, ...] = ()
    """The first is canonical."""
    supporting_ids: tuple[str, ...] = ()
    """Every passage needed: the gold evidence."""
    kind: str | None = None
    namespace: Namespace = ()
    selection: str | None = None
    """`unbiased`, `retrieved`, or None where the source does not say."""
    answerable: bool = True
    """False where the memory does not hold the answer, and the right thing to say is so."""
