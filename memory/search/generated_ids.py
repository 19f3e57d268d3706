"""A first stage that generates ids of passages for a question, and ranks the passages of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hoptrail.errors import ConfigError
from hoptrail.memory.index.learned.semantic_ids import SemanticIds
from hoptrail.memory.index.slots import Scores, Slots
from hoptrail.memory.search.derived_rows import SlotRows
from hoptrail.memory.search.first_stages import best_of, living
from hoptrail.memory.search.pipeline import CandidateGenerator, QueryState
from hoptrail.values.numbers import whole


class GeneratedIds(CandidateGenerator):
    """The passages whose ids a decoder proposes for the question, by its ranking layer.

    Only their vectors are compared with the question. A passage that was added after training has
    an id by the same centres and is proposed like any other; long passages count as wholes.

    Args:
        index: Ids, decoder and ranking layer; see `hoptrail.memory.index.learned.semantic_ids`.
        keep: Candidates that go on.
        beam: Ids that are proposed, at most.
    """

    name = "semantic ids"
    needs_vector = True

    def __init__(self, index: SemanticIds, *, keep: int, beam: int = 64) -> None:
        self.beam = whole(beam, "beam", least=1, error=ConfigError)
        super().__init__(keep)
        self._index = index
        self._ids: SlotRows[np.int64] = SlotRows(index.ids)

    def open(self, state: QueryState, count: int) -> tuple[Scores, Slots]:
        """The best of those whose ids are proposed."""
        with state.view.lock:
            slots = living(state)
            if not len(slots):
                return np.zeros(0, dtype=np.float32), slots
            leaves = self._index.leaves(self._ids.of(state.view)[slots])
            proposed, log_probs = self._index.propose(state.query, leaves, self.beam)
            order = np.argsort(proposed)
            places = np.searchsorted(proposed[order], leaves)
            places = order[np.minimum(places, len(order) - 1)]
            inside = proposed[places] == leaves
            vectors = state.view.dense.vectors(slots[inside])
            scores = self._index.scores(state.query, vectors, log_probs[places[inside]])
            return best_of(state, scores, slots[inside], count)

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The ranking layer's scores of the candidates, whether their ids would be proposed."""
        return [self._score(state) for state in batch]

    def _score(self, state: QueryState) -> Scores:
        with state.view.lock:
            ids = self._ids.of(state.view)[state.slots]
            log_probs = self._index.log_probabilities(state.query, ids)
            vectors = state.view.dense.vectors(state.slots)
            return self._index.scores(state.query, vectors, log_probs)
