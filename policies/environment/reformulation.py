"""The next query, rewritten from what was read.

Text: encode(question ⊕ passage), as in multi-hop dense retrieval (Xiong et al. 2021,
arXiv:2009.12756, eq. 2), one encoder pass for all passages of a hop. Latent: norm(q + v), which
costs no pass at all. Both depend on the passage read and not on the order of reading, so that a
passage is rewritten once for a question whatever beams read it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.policies.environment.candidates import CandidatePool

HEAD = 400
"""Characters of a passage that enter the rewritten query: its head says what it is about, and
the time to encode grows with every token."""


def rewritten(question: str, content: str) -> str:
    """The rewritten query as text.

    Args:
        question: In words.
        content: Of the passage read; its first `HEAD` characters count.
    """
    return f"{question} {content[:HEAD]}"


class Reformulator:
    """Rewrites queries, in text or in vector space.

    Args:
        encoder: For text.
        reencode: Whether to encode the text; otherwise the query moves in vector space.
    """

    def __init__(self, encoder: Encoder, *, reencode: bool) -> None:
        self.encoder, self.reencode = encoder, reencode

    def rewrite(self, reads: Sequence[tuple[CandidatePool, int]]) -> Vectors:
        """The query of each (question, passage read), `(n, d)`, L2-normalised.

        Args:
            reads: n of them: a question's pool, and the slot that was read for it.
        """
        if not reads:
            return np.zeros((0, self.encoder.dim), dtype=np.float32)
        if self.reencode:
            return self.encoder.encode(
                [rewritten(pool.question, candidate_content(pool, slot)) for pool, slot in reads]
            )
        moved = np.stack(
            [p.vector + p.scope.view.dense.vectors(np.asarray([s]))[0] for p, s in reads]
        )
        unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return unit


def candidate_content(pool: CandidatePool, slot: int) -> str:
    """The content of a candidate.

    Args:
        pool: The question's.
        slot: Of the candidate.
    """
    return pool.scope.lexicon.passage_terms([slot])[0].passage.content
