"""Distilling an encoder into a table of token vectors, which encodes some hundred times as fast.

The table starts from what the teacher says of each token alone, turned to the wanted width by PCA
of its vectors of the texts, weighted by the token's rarity, with a direction of the token's own
added: pieces of different names look alike to the teacher, and a name must be found by its pieces.
Then it is fitted on batches of texts that the teacher holds to be neighbours:

    loss = KL(softmax_j t_ij / T || softmax_j s_ij / T) - log softmax_i(s(piece_i, text_i) / T)

The first term wants the teacher's neighbours of texts and of questions, t and s being the cosines
of teacher and table; the second wants a text to be found by a few words cut out of it, among its
neighbours. The teacher reads each text once, and no label is needed.

Source: distillation of similarities, Tung and Mori 2019 (1907.09682); pieces as queries, Lee et al.
2019 (1906.00300), where we leave the piece in its text; rarity, Arora et al. 2017 (SIF), a = 1e-4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hoptrail.errors import ConfigError, InputError
from hoptrail.learning.execution.processes import refuse_several
from hoptrail.learning.execution.single_thread import one_thread
from hoptrail.learning.retrieval.collapse import CollapseMonitor
from hoptrail.memory.encoders.static import StaticEncoder
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.encoders.vectors import checked_vectors
from hoptrail.memory.encoders.windows import token_ids, tokenizer_of
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.values.progress import TrainingProgress

Ids = NDArray[np.int64]
RARITY = 1e-4
"""The a of a token's weight a / (a + p): a token of this frequency weighs half."""
OWN = 0.5
"""Length of a token's own random direction, beside 1 for what the teacher says of it."""
NEIGHBOURS = 8
"""Texts nearest to a seed that enter a batch with it, itself among them."""
PIECE = (6, 24)
"""Tokens of a piece cut out of a text: at least, and fewer than."""
LONGEST = 256
"""Tokens of a text that training looks at."""
AMONG = 100_000
"""Texts that training draws from, at most."""


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """The settings of a distillation."""

    dim: int = 256
    """Width of a token's vector; at most the teacher's."""
    steps: int = 600
    """Batches of the fit; 0 leaves the weighted token vectors as they are."""
    seeds: int = 64
    """Texts and questions that a batch is drawn around."""
    learning_rate: float = 3e-3
    """At the first step; it falls to 0 in a line."""
    temperature: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dim < 1 or self.seeds < 2 or self.steps < 0 or self.seed < 0:
            raise ConfigError("dim must be at least 1, seeds 2, steps and seed 0")
        if not (self.learning_rate > 0 and self.temperature > 0):
            raise ConfigError("learning_rate and temperature must be above 0")


def distill(
    texts: Sequence[str],
    teacher: Encoder,
    *,
    questions: Sequence[str] = (),
    config: DistillConfig | None = None,
    progress: TrainingProgress | None = None,
) -> StaticEncoder:
    """A static encoder that ranks as the teacher does, fitted on texts and questions.

    Args:
        texts: What the memory will hold, or texts like it; at least 2 different ones.
        teacher: Encodes them; a `CachedEncoder` remembers them.
        questions: What is asked of them, without answers; helps where there are some.
        config: Settings; its defaults without one.
        progress: Told of each stage.

    Raises:
        InputError: There are fewer than 2 different texts.
        ConfigError: The width is above the teacher's, or `torchrun` started several processes.
    """
    refuse_several("a static encoder")
    config = config or DistillConfig()
    if config.dim > teacher.dim:
        raise ConfigError(f"dim must be at most the teacher's {teacher.dim}, got {config.dim}")
    rng = np.random.default_rng(config.seed)
    texts, questions = list(dict.fromkeys(texts)), list(dict.fromkeys(questions))
    if len(texts) < 2:
        raise InputError(f"distilling needs at least 2 different texts, got {len(texts)}")
    counts = {"texts": len(texts), "questions": len(questions)}
    texts, questions = _some(texts, rng), _some(questions, rng)
    tokenizer = _tokenizer(teacher, texts)
    reading = tokenizer_of(tokenizer)
    ids = [row[:LONGEST] for row in token_ids(reading, [*texts, *questions])]
    vectors = _encode(teacher, [*texts, *questions], "reading texts", progress)
    table = _start(reading, teacher, ids, vectors, config, rng, progress)
    monitor = CollapseMonitor("a static encoder")
    with one_thread():
        fitted = _fit(table, ids, vectors, len(texts), config, rng, progress, monitor)
    made_of = {"teacher": f"{teacher.fingerprint} ({teacher.dim} dim)", **counts, **asdict(config)}
    made_of["collapse"] = monitor.describe()
    return StaticEncoder(fitted, tokenizer, made_of=made_of)


def _some(texts: list[str], rng: np.random.Generator) -> list[str]:
    if len(texts) <= AMONG:
        return texts
    return [texts[i] for i in np.sort(rng.choice(len(texts), AMONG, replace=False))]


def _tokenizer(teacher: Encoder, texts: Sequence[str]) -> str:
    """The teacher's own tokeniser, or else one of whole words of the texts; as JSON."""
    own = getattr(uncached(teacher), "tokenizer_json", None)
    return str(own) if own else _words_of(texts)


def _words_of(texts: Iterable[str]) -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def _encode(
    teacher: Encoder,
    texts: Sequence[str],
    what: str,
    progress: TrainingProgress | None,
    chunk: int = 1024,
) -> Vectors:
    out = np.zeros((len(texts), teacher.dim), dtype=np.float32)
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        out[start : start + chunk] = checked_vectors(teacher.encode(part), part, teacher)
        if progress:
            progress(what, start + len(part), len(texts), {})
    return out


def _start(
    tokenizer: Any,
    teacher: Encoder,
    ids: Sequence[Ids],
    vectors: Vectors,
    config: DistillConfig,
    rng: np.random.Generator,
    progress: TrainingProgress | None,
) -> NDArray[np.float32]:
    """The table before it is fitted, `(tokens, d)`."""
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    names = [tokenizer.id_to_token(i) or "" for i in range(size)]
    alone = [name.removeprefix("##") or name or " " for name in names]
    said = _encode(teacher, alone, "reading tokens", progress)
    _, axes = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    turned = (said - said.mean(0)) @ axes[:, ::-1][:, : config.dim].astype(np.float32)
    turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
    own = rng.normal(size=turned.shape) * OWN / np.sqrt(config.dim)
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *ids]), minlength=size)
    weight = RARITY / (RARITY + counts / max(counts.sum(), 1))
    table: NDArray[np.float32] = ((turned + own) * weight[:, None]).astype(np.float32)
    return table


def _fit(
    table: NDArray[np.float32],
    ids: Sequence[Ids],
    vectors: Vectors,
    texts: int,
    config: DistillConfig,
    rng: np.random.Generator,
    progress: TrainingProgress | None,
    monitor: CollapseMonitor,
) -> NDArray[np.float32]:
    """The table after training; `ids` and `vectors` are of the texts first, then of questions."""
    weight = torch.nn.Parameter(torch.from_numpy(table.copy()))
    optimizer = torch.optim.Adam([weight], lr=config.learning_rate)
    readable = np.asarray([len(row) > 0 for row in ids])
    drawn_from = [np.flatnonzero(readable[:texts]), texts + np.flatnonzero(readable[texts:])]
    if len(drawn_from[0]) < 2:
        raise InputError("distilling needs at least 2 texts that hold a word")
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - step / config.steps)
        loss, passages, scores = _loss(weight, ids, vectors, drawn_from, config, rng)
        own = scores.detach().diagonal() * config.temperature
        monitor.observe(step, passages, logits=scores, cosines=own)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if progress:
            progress("fitting", step + 1, config.steps, {"loss": float(loss.detach())})
    return weight.detach().numpy()


def _loss(
    weight: Tensor,
    ids: Sequence[Ids],
    vectors: Vectors,
    drawn_from: Sequence[Ids],
    config: DistillConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of one batch, drawn around some texts and a quarter as many questions.

    With it come the texts' vectors `(n, d)`, and the scores of their pieces over the temperature,
    `(n, n)`.
    """
    texts, questions = drawn_from
    queries = rng.choice(questions, min(config.seeds // 4, len(questions)), replace=False)
    seeds = rng.choice(texts, min(config.seeds - len(queries), len(texts)), replace=False)
    cosines = vectors[np.concatenate([seeds, queries])] @ vectors[texts].T
    near = np.argpartition(-cosines, min(NEIGHBOURS, len(texts)) - 1, axis=1)[:, :NEIGHBOURS]
    rows = np.union1d(texts[near.ravel()], seeds)
    pieces = [_piece(ids[row], rng) for row in rows]
    bags = _bags(weight, [*(ids[row] for row in [*rows, *queries]), *pieces])
    passages, both, cut = bags[: len(rows)], bags[: len(rows) + len(queries)], bags[-len(rows) :]
    taught = torch.from_numpy(vectors[np.concatenate([rows, queries])] @ vectors[rows].T)
    itself = torch.zeros_like(taught)
    itself[: len(rows)].fill_diagonal_(-1e4)  # a text is no neighbour of its own
    similar = functional.kl_div(
        functional.log_softmax(both @ passages.T / config.temperature + itself, dim=1),
        functional.softmax(taught / config.temperature + itself, dim=1),
        reduction="batchmean",
    )
    scores = cut @ passages.T / config.temperature  # [texts, texts]
    loss = similar + functional.cross_entropy(scores, torch.arange(len(rows)))
    return loss, passages, scores


def _piece(row: Ids, rng: np.random.Generator) -> Ids:
    length = min(len(row), int(rng.integers(*PIECE)))
    start = int(rng.integers(0, len(row) - length + 1))
    return row[start : start + length]


def _bags(weight: Tensor, rows: Sequence[Ids]) -> Tensor:
    """The normalised sums of token vectors, `(n, d)`."""
    flat = torch.from_numpy(np.concatenate(rows))
    starts = torch.from_numpy(np.cumsum([0, *(len(row) for row in rows[:-1])]))
    return functional.normalize(functional.embedding_bag(flat, weight, starts, mode="mean"), dim=1)
