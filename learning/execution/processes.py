"""Several processes that train one encoder together, as `torchrun` starts them.

All of them draw the same batches. Each computes the vectors of its share of a batch's texts, which
is what a step costs, and is told those of the others; so each has the loss of the whole batch, with
gradients through its own share, and the sum of these is the gradient. A step is that of one process
on the same batch but for rounding, whatever the loss compares with what. (DistributedDataParallel
averages gradients of losses that each process has of its own share: contrastive losses would then
compare within a share.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import torch
from torch import Tensor, distributed, nn

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: the first may encode a large corpus alone."""


@contextmanager
def joined_processes() -> Iterator[None]:
    """Let the processes that `torchrun` started work together, once: within it, it does nothing.

    They speak by NCCL of what is on CUDA, each with the device of its local number, and by Gloo of
    the rest.
    """
    if launched_count() == 1 or distributed.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def launched_count() -> int:
    """How many processes were started together, whether they have joined or not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process is the one that writes and speaks: the only one, or the first."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first process do something before the others: they find it in the disk cache."""
    together = distributed.is_initialized()
    if together and not is_first_process():
        distributed.barrier()
    yield
    if together and is_first_process():
        distributed.barrier()


def shared_vectors(texts: Sequence[str], encode: Callable[[Sequence[str]], Tensor]) -> Tensor:
    """The vectors of texts, of which each process computes its share.

    Args:
        texts: n of them, the same in all processes, at least one.
        encode: The vectors `(m, d)` of m texts, with gradients or without.

    Returns:
        `(n, d)`, the same in all processes; only the own share has gradients.
    """
    if not distributed.is_initialized():
        return encode(texts)
    count, rank = distributed.get_world_size(), distributed.get_rank()
    bounds = [len(texts) * process // count for process in range(count + 1)]
    sizes = [end - start for start, end in pairwise(bounds)]
    share = texts[bounds[rank] : bounds[rank + 1]]
    own = encode(share or texts[:1])  # of no text at all there would be no gradient
    padded = own.new_zeros(max(sizes), own.shape[1])
    padded[: len(share)] = own.detach()[: len(share)]
    parts = [torch.empty_like(padded) for _ in range(count)]
    distributed.all_gather(parts, padded)
    parts = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    if share:
        parts[rank] = own
        return torch.cat(parts)
    return torch.cat(parts) + 0.0 * own.sum()


def add_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Make the gradients of all processes their sum.

    Args:
        weights: What is trained, after `backward`; the same in all processes.
    """
    if not distributed.is_initialized():
        return
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad = part.view_as(weight)
