"""Attention a row at a time: what a transformer is trained with on a processor.

In bfloat16 PyTorch's fused attention takes twice the time of its two products there, and a whole
batch's products do not fit a processor's cache; those of one row do. A row's padding takes no part,
so that it costs nothing either.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAME = "hoptrail_rows"
"""What transformers knows it by."""


def attend_by_row(transformer: Any) -> None:
    """Have a transformer compute attention a row at a time, without dropping any of its weights.

    Args:
        transformer: Of the library transformers; changed in place. Its padding has to stand behind
            what it pads.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    transformer.set_attn_implementation(NAME)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """softmax(q k^T s) v for each of b rows with h heads of width w, `(b, t, h, w)`.

    Args:
        module: Which asks for it.
        query: `(b, h, t, w)`, as are key and value.
        key: The keys.
        value: The values.
        attention_mask: Bool `(b, 1, t, t)`: who sees whom; None where all see all.
        scaling: s.
    """
    rows = []
    for i, (q, k, v) in enumerate(zip(query.unbind(), key.unbind(), value.unbind(), strict=True)):
        length = len(q[0]) if attention_mask is None else int(attention_mask[i, 0, 0].sum())
        scores = (q * scaling) @ k[:, :length].transpose(1, 2)
        rows.append(scores.softmax(-1).to(v.dtype) @ v[:, :length])
    return torch.stack(rows).transpose(1, 2), None
