"""A retriever and a generator as one model: the likelihood of an answer, its gradient, an answer.

    p(y | x) = sum_z p(z | x) p(y | x, z),   p(z | x) ∝ π(z | x) exp(α cos(q, d_z) / τ)

q is the trainable vector of the question and d_z the vector of a context: a passage's, or the
normalised sum of the vectors of a trail's passages. π is 1 for passages; for trails it is what a
policy says of them. The prior is over the contexts that are looked at, as in the paper; how much
mass other passages have at most is said beside it.

Source: Lewis et al. 2020 (2005.11401); the retriever's part of the gradient is that of Guu et al.
2020 (2002.08909), appendix A: a passage is pulled up if it makes the answer likelier than the mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.errors import FormatError, InputError
from hoptrail.learning.generation.decoding import DecodedAnswer, decode_sequence, decode_token
from hoptrail.learning.generation.generator import Generator
from hoptrail.learning.generation.likelihood import rag_sequence, rag_token
from hoptrail.learning.generation.query_tower import QueryTower
from hoptrail.learning.masked import masked_log_softmax
from hoptrail.learning.retrieval.operator import RetrievalOperator
from hoptrail.memory.encoders.model_folder import check_own_folder
from hoptrail.memory.storage.namespaces import ScopeLike
from hoptrail.memory.store import Store
from hoptrail.values.strings import check_choice

RagMode = Literal["sequence", "token"]
"""One context for the whole answer, or one for each token."""

FORMAT = "hoptrail-rag-1"
CARD, WEIGHTS, GENERATOR = "rag.json", "rag.safetensors", "generator"


@dataclass(frozen=True, slots=True)
class TrailContext:
    """A trail as a context: what it read, and what the policy says of it."""

    slots: tuple[int, ...]
    """Of its passages in the view, in order, at least one."""
    log_prob: float
    """log π(z | x), at most 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """The contexts of b questions, z each at most."""

    texts: list[list[str]]
    """Of each question, as a generator reads them."""
    log_prior: Tensor
    """log p(z | x), `(b, z)`, differentiable; -inf where there is no context."""
    slots: list[list[tuple[int, ...]]]
    """The passages of each, by their slots in the view."""
    rest: Tensor
    """The share of p that passages which were not looked at have at most, `(b,)`."""


class RagModel(nn.Module):
    """Answers questions from a memory, its retriever and its generator trained through one loss.

    Args:
        store: The memory's.
        tower: Its trainable query side.
        generator: Reads question and context, and gives the answer.
        namespace: The scope that is read.
        mode: How contexts are summed out.
        contexts: z: passages of a question that the generator reads.
        temperature: τ of the prior to begin with.

    Raises:
        InputError: The mode is unknown or a number is out of range.
    """

    def __init__(
        self,
        store: Store,
        tower: QueryTower,
        generator: Generator,
        namespace: ScopeLike = (),
        *,
        mode: RagMode = "sequence",
        contexts: int = 5,
        temperature: float = 0.05,
    ) -> None:
        super().__init__()
        check_choice(mode, get_args(RagMode), "mode")
        self.mode: RagMode = mode
        self.contexts = contexts
        self.tower, self.generator = tower, generator
        self.retrieval = RetrievalOperator(store, namespace, k=contexts, temperature=temperature)
        # Beside τ it would be a second name for the same thing.
        self.retrieval.dense_weight.requires_grad_(False)

    def read(self, questions: Sequence[str]) -> Contexts:
        """The passages nearest to each question, with their prior.

        Args:
            questions: b of them.
        """
        read = self.retrieval(self.tower(questions))
        count = min(self.contexts, read.logits.shape[1])
        best = read.logits.topk(count, dim=-1).indices  # (b, z)
        passages = read.passages()
        return Contexts(
            texts=[[passages[i].content for i in row] for row in best.tolist()],
            log_prior=masked_log_softmax(read.logits.gather(1, best)),
            slots=[[(int(read.slots[i]),) for i in row] for row in best.tolist()],
            rest=read.rest,
        )

    def read_trails(
        self, questions: Sequence[str], trails: Sequence[Sequence[TrailContext]]
    ) -> Contexts:
        """The trails that a policy found for each question, with their prior.

        Args:
            questions: b of them.
            trails: Of each question, at least one.

        Raises:
            InputError: A question has no trail, or a trail no passage.
        """
        if len(trails) != len(questions) or not all(
            row and all(t.slots for t in row) for row in trails
        ):
            raise InputError("every question needs a trail, and every trail a passage")
        view = self.retrieval.view()
        queries = self.tower(questions)
        width = max(len(row) for row in trails)
        logits = queries.new_full((len(questions), width), -math.inf)
        rows = []
        for query, row, own in zip(queries, trails, logits, strict=True):
            sums = np.stack([view.dense.vectors(np.asarray(t.slots)).sum(0) for t in row])
            vectors = functional.normalize(torch.tensor(sums).to(query), dim=-1)
            policy = query.new_tensor([t.log_prob for t in row])
            fit = self.retrieval.dense_weight * (vectors @ query) / self.retrieval.temperature
            rows.append(torch.cat([policy + fit, own[len(row) :]]))
        contents = [
            ["\n".join(p.content for p in view.passages(t.slots)) for t in row] for row in trails
        ]
        return Contexts(
            texts=contents,
            log_prior=masked_log_softmax(torch.stack(rows)),
            slots=[[t.slots for t in row] for row in trails],
            rest=torch.zeros(len(questions)),
        )

    def forward(
        self, questions: Sequence[str], answers: Sequence[str], contexts: Contexts | None = None
    ) -> Tensor:
        """Log p(y | x), `(b,)`, differentiable by generator, query side and temperature.

        Args:
            questions: b of them.
            answers: One of each.
            contexts: What `read_trails` gave; by default passages are read.

        Raises:
            InputError: An answer has too many tokens, or none.
        """
        contexts = self.read(questions) if contexts is None else contexts
        tokens = self.generator.answer_tokens(answers)
        b, z = contexts.log_prior.shape
        prompts, ids, place = [], [], []
        for i, texts in enumerate(contexts.texts):
            prompts += self.generator.prompts(questions[i], texts)
            ids += [tokens.ids[i]] * len(texts)
            place += [i * z + j for j in range(len(texts))]
        each = self.generator.token_log_probs(prompts, torch.stack(ids))
        index = torch.tensor(place, device=each.device)
        filled = each.new_zeros(b * z, each.shape[1]).index_copy(0, index, each)
        log_tokens = filled.reshape(b, z, -1)
        prior = contexts.log_prior.to(each)
        mask, alive = prior != -math.inf, tokens.mask.to(each.device)
        if self.mode == "token":
            return rag_token(prior, log_tokens, alive, mask=mask)
        return rag_sequence(prior, log_tokens, alive, mask=mask).log_likelihood

    @torch.no_grad()
    def answer(
        self,
        question: str,
        contexts: Contexts | None = None,
        *,
        beams: int = 4,
        max_tokens: int = 32,
    ) -> list[DecodedAnswer]:
        """The likeliest answers to a question, best first.

        Args:
            question: As it is put.
            contexts: What `read_trails` gave for it; by default passages are read.
            beams: Unfinished answers that are followed, and answers returned at most.
            max_tokens: Of an answer, its end included.
        """
        contexts = self.read([question]) if contexts is None else contexts
        prompts = self.generator.prompts(question, contexts.texts[0])
        decode = decode_token if self.mode == "token" else decode_sequence
        prior = contexts.log_prior[0, : len(prompts)]
        return decode(self.generator, prompts, prior, beams=beams, max_tokens=max_tokens)

    def save(self, folder: str | Path, made_of: dict[str, Any] | None = None) -> Path:
        """Write the model to a folder, which `load` reads; the folder.

        Args:
            folder: Made where it is absent.
            made_of: What it was trained on, written beside it; JSON values.

        Raises:
            FormatError: It cannot be written, or holds another model's files of these names.
        """
        from safetensors.torch import save_file

        where = Path(folder)
        check_rag_folder(where)
        card = {
            "format": FORMAT,
            "mode": self.mode,
            "contexts": self.contexts,
            "template": self.generator.template,
            "fingerprint": self.tower.encoder.fingerprint,
            "made_of": made_of or {},
        }
        tensors = {
            "a": self.tower.a,
            "b": self.tower.b,
            "log_temperature": self.retrieval.log_temperature,
        }
        try:
            where.mkdir(parents=True, exist_ok=True)
            self.generator.save(where / GENERATOR)
            save_file(
                {name: each.detach().cpu().contiguous() for name, each in tensors.items()},
                where / WEIGHTS,
            )
            # Last: a folder without it is no model yet.
            (where / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise FormatError(f"no model can be written to {where}: {error}") from error
        return where

    @classmethod
    def load(cls, folder: str | Path, store: Store, namespace: ScopeLike = ()) -> RagModel:
        """The model of a folder, over a store whose encoder is the one that it was trained beside.

        Args:
            folder: As `save` wrote it.
            store: The memory's.
            namespace: The scope that is read.

        Raises:
            FormatError: The folder holds no such model, or it belongs to another encoder.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        where = Path(folder)
        try:
            card = json.loads((where / CARD).read_text(encoding="utf-8"))
            layout, mode, contexts = card["format"], card["mode"], card["contexts"]
            template, fingerprint = card["template"], card["fingerprint"]
            tensors = load_file(where / WEIGHTS)
            a, b, temperature = tensors["a"], tensors["b"], tensors["log_temperature"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FormatError(f"no model can be read from {where}: {error}") from error
        if layout != FORMAT:
            raise FormatError(f"{where / CARD} should have the format {FORMAT!r}, got {layout!r}")
        if store.encoder is None:
            raise InputError(f"{store.name} has no encoder, which a question needs")
        tower = QueryTower(store.encoder, len(a))
        if tower.encoder.fingerprint != fingerprint:
            raise FormatError(
                f"the model in {where} belongs to the encoder {fingerprint}, and {store.name} has "
                f"{tower.encoder.fingerprint}"
            )
        generator = Generator.load(where / GENERATOR, template=template)
        model = cls(store, tower, generator, namespace, mode=mode, contexts=contexts)
        with torch.no_grad():
            tower.a.copy_(a)
            tower.b.copy_(b)
            model.retrieval.log_temperature.copy_(temperature)
        return model


def check_rag_folder(folder: Path) -> None:
    """Refuse a folder in which a model's files would replace somebody else's.

    Args:
        folder: It need not be there.

    Raises:
        FormatError: It holds such a file.
    """
    check_own_folder(folder, FORMAT, (CARD, WEIGHTS), "retriever and generator")
