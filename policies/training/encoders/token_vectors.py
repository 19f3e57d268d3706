"""Training late interaction: the vectors of tokens that questions and passages are compared by.

    score(q, p) = mean over the tokens i of q of  max over the tokens j of p of  cos(q_i, p_j)

as `hoptrail.memory.search.late_interaction` serves it. Both go through the same changes of low
rank to the memory's encoder; each question is compared with all passages of its batch, its own
wrong ones of the memory's search among them (`ranking_lists`).

Source: Khattab and Zaharia 2020 (arXiv:2004.12832); in-batch negatives beside mined ones, Santhanam
et al. 2022 (arXiv:2112.01488).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoptrail.errors import ConfigError
from hoptrail.learning.execution import processes
from hoptrail.learning.low_rank import changed_copy
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.tuned.token_tuned import TokenTunedEncoder
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.late_interaction import MaxSim, TokenEncoder
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.encoders.list_training import (
    ListTrainingConfig,
    TunedRanker,
    cut_encoder,
    pipeline_recalls,
    prepare_lists,
    train_ranker,
    training_record,
)
from hoptrail.policies.training.encoders.ranking_lists import ListBatch
from hoptrail.values.numbers import whole
from hoptrail.values.progress import TrainingProgress, silent


@dataclass(frozen=True, slots=True)
class TokenVectorsConfig(ListTrainingConfig):
    """How the vectors of tokens are trained."""

    learning_rate: float = 3e-4
    temperature: float = 0.05
    rank: int = 8
    """Of the change of each layer's weights."""

    def __post_init__(self) -> None:
        ListTrainingConfig.__post_init__(self)
        whole(self.rank, "rank", least=1, error=ConfigError)


class TokenRanker:
    """Vectors of tokens in training.

    Args:
        encoder: Whose network is changed; its window is that of training.
        config: The settings.
    """

    in_batch = True

    def __init__(self, encoder: TransformerEncoder, config: TokenVectorsConfig) -> None:
        self.encoder = encoder
        self.network, self.changes = changed_copy(
            encoder.model.network, config.rank, device=encoder.device, seed=config.seed
        )

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The change of each layer."""
        return {f"change.{name}": change for name, change in self.changes.items()}

    def scores(self, batch: ListBatch) -> tuple[Tensor, Tensor]:
        """The scores of all passages for all questions; nothing is added.

        Args:
            batch: Questions with their lists.
        """
        asked_tokens = self.encoder.trainable_tokens(self.network, batch.questions)

        def columns(texts: Sequence[str]) -> Tensor:
            passages = self.encoder.trainable_tokens(self.network, texts)
            return maxsim_scores(*asked_tokens, *passages).T

        scores = processes.shared_vectors(batch.passages, columns).T
        return scores, scores.new_zeros(())

    def tuned(self, base: TransformerEncoder) -> TokenTunedEncoder:
        """The encoder as it has become.

        Args:
            base: The encoder that it is served with.
        """
        return TokenTunedEncoder(
            base,
            {
                name: (
                    change.a.detach().cpu().half().numpy(),
                    change.b.detach().cpu().half().numpy(),
                )
                for name, change in self.changes.items()
            },
        )


def maxsim_scores(
    questions: Tensor, question_mask: Tensor, passages: Tensor, passage_mask: Tensor
) -> Tensor:
    """The late interaction of questions and passages, `(b, n)`, with gradients.

    Args:
        questions: `(b, s, d)` vectors of tokens.
        question_mask: Bool `(b, s)`: which tokens there are.
        passages: `(n, t, d)`.
        passage_mask: Bool `(n, t)`.

    Returns:
        Zero where either has no token.
    """
    questions = functional.normalize(questions, dim=-1)
    passages = functional.normalize(passages, dim=-1)
    # One passage after another: all at once take b · n · s · t numbers.
    columns = []
    for tokens, mask in zip(passages, passage_mask, strict=True):
        if not mask.any():
            columns.append(questions.new_zeros(len(questions)))
            continue
        best = (questions @ tokens[mask].T).max(-1).values
        total = best.masked_fill(~question_mask, 0.0).sum(1)
        columns.append(total / question_mask.sum(1).clamp(min=1))
    return torch.stack(columns, dim=1)


def tune_token_vectors(
    data: TrainingData,
    out: Path,
    config: TokenVectorsConfig | None = None,
    *,
    encoder: TransformerEncoder,
    encoder_name: str | None = None,
    resume: bool = False,
    command: str = "",
    progress: TrainingProgress = silent,
) -> TunedRanker:
    """Train late interaction on files of questions, and write its encoder to a folder.

    Args:
        data: What to learn from, and what to measure on: the best `config.depth` of hybrid search,
            ordered by late interaction before training, and after.
        out: The folder that `memory.TokenTunedEncoder.load` then takes.
        config: The settings; those of `TokenVectorsConfig()` by default.
        encoder: Of the passages, whose vectors are cached; its network is changed.
        encoder_name: How to load it again: a folder or a hub's name; None for MiniLM.
        resume: Go on from the checkpoint in the folder, where there is one.
        command: How the run was called, for what is written beside the weights.
        progress: Told of every step.

    Returns:
        What was written. Of the processes that `torchrun` started only the first measures and
        writes.

    Raises:
        InputError: There is no question with its supporting passages.
        FormatError: A file cannot be read, a supporting passage is not in its corpus, or the
            folder cannot be written.
        PolicyError: The checkpoint is damaged, or of a run with other settings or data.
    """
    config = config or TokenVectorsConfig()
    TokenTunedEncoder.check_folder(out)
    with processes.joined_processes(), ExitStack() as stack:
        prepared = prepare_lists(data, out, config, encoder, {}, progress, stack)
        ranker = TokenRanker(cut_encoder(encoder, config.window), config)
        losses = train_ranker(
            ranker, prepared, config, stage="late interaction", resume=resume, progress=progress
        )
        tuned = ranker.tuned(encoder)
        figures = [
            {
                **one.describe(),
                "before": maxsim_recalls(corpus, encoder, config.depth),
                "after": maxsim_recalls(corpus, tuned, config.depth),
            }
            for one, corpus in zip(data.dev, prepared.dev, strict=True)
            if processes.is_first_process()
        ]
    tuned.base_name = encoder_name
    tuned.made_of = training_record(data, config, prepared, losses, figures, command)
    if processes.is_first_process():
        tuned.save(out)
    prepared.checkpoint.remove()
    return TunedRanker(out, tuned.size, tuned.made_of)


def maxsim_recalls(corpus: OpenCorpus, encoder: TokenEncoder, depth: int) -> dict[str, float]:
    """What hybrid search finds when late interaction orders its best, in percent.

    Args:
        corpus: An opened corpus with its questions.
        encoder: Gives the vectors of tokens.
        depth: How many of the best are ordered.
    """
    stage = MaxSim(encoder, keep=depth)
    try:
        return pipeline_recalls(corpus, Pipeline([Search(keep=depth), stage]))
    finally:
        stage.tokens.close()
