"""A reader while it learns: the encoder's transformer with changes of low rank, and its head."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from hoptrail.learning.answering.answer_network import AnswerNetwork, AnswerScores
from hoptrail.learning.answering.extractive_reader import ExtractiveReader, window_layout
from hoptrail.learning.answering.row_attention import attend_by_row
from hoptrail.learning.answering.trail_windows import TrailWindow, pad_windows
from hoptrail.learning.low_rank import add_low_rank, keep_attention_whole
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.windows import tokenizer_of
from hoptrail.policies.reading.trail_sampling import TrainingTrail


class TrainableReader:
    """A copy of an encoder's transformer whose changes and head are trained.

    Args:
        encoder: Whose transformer is changed; it stays as it is, and training runs on its device.
        rank: Of the change of each layer's weights.
        layers: The transformer's layers that are changed, from the last one down.
        window: Tokens of a window, at most.
        seed: Of the weights that it begins with.

    Attributes:
        network: The transformer and the head on it.
        layout: How its windows are put together.
        modules: What is trained, by name.
        weights: Of these modules.
    """

    def __init__(
        self, encoder: TransformerEncoder, *, rank: int, layers: int, window: int, seed: int
    ) -> None:
        self._encoder = encoder
        transformer = copy.deepcopy(encoder.model.network)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._changes = add_low_rank(transformer, rank, layers)
            keep_attention_whole(transformer)  # so that attention can be fused
            if encoder.device == "cpu":
                attend_by_row(transformer)
            self.network = AnswerNetwork(transformer).to(encoder.device).train()
        self.network.head.requires_grad_(True)
        changes = {f"change.{name}": change for name, change in self._changes.items()}
        self.modules: dict[str, nn.Module] = {"head": self.network.head, **changes}
        self.weights = [weight for one in self.modules.values() for weight in one.parameters()]
        model = encoder.model
        self.layout = window_layout(model, tokenizer_of(model.tokenizer), window)

    def begin_from(self, start: ExtractiveReader) -> None:
        """Take over what a reader has learned.

        Args:
            start: Of the same encoder.

        Raises:
            ReaderError: It is of another one, or changes other layers or by another rank.
        """
        start.hand_over(self._changes, self.network.head)

    def score(
        self, trails: Sequence[TrainingTrail]
    ) -> tuple[AnswerScores, list[list[TrailWindow]]]:
        """What the network makes of trails, with gradients, and the windows that it read.

        Args:
            trails: Read together, padded to the longest window.
        """
        windows = [self.layout.windows(trail.question, trail.passages) for trail in trails]
        batch = pad_windows(windows, self._encoder.model.padding[0]).to(self._encoder.device)
        return self.network(batch), windows

    def reader(self) -> ExtractiveReader:
        """The reader that it is now."""
        factors = {name: (change.a, change.b) for name, change in self._changes.items()}
        return ExtractiveReader(self._encoder, factors, self.network.head)
