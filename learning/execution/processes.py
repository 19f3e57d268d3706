"""Several processes that train one model together, as `torchrun` starts them.

All of them draw the same batches, and a step is that of one process on the same batch but for
rounding. Each computes its share of a batch, which is what a step costs. There are two ways to do
so, and both end with the sum of all gradients:

- A loss that compares texts with one another (`shared_vectors`): each process computes the vectors
  of its share of the texts and is told those of the others; so it has the loss of the whole batch,
  with gradients through its own share. (DistributedDataParallel averages gradients of losses that
  each process has of its own share: contrastive losses would then compare within a share.)
- A loss that is a mean over a batch's examples (`own_share`, `shares_of`): each process has the
  mean over its share, weighed by what part of all it is; so shares may be of any size, and empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from hoptrail.errors import ConfigError

Item = TypeVar("Item")

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


def process_number() -> int:
    """Which of the processes that work together this one is, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first process do something before the others: they find it in the disk cache."""
    together = distributed.is_initialized()
    if together and not is_first_process():
        distributed.barrier()
    yield
    if together and is_first_process():
        distributed.barrier()


def refuse_several(what: str) -> None:
    """Refuse to train what cannot be shared, where several processes were started together.

    Each of them would train the same thing, and write it to the same place.

    Args:
        what: Is trained, as the sentence begins.

    Raises:
        ConfigError: There are several.
    """
    if (count := launched_count()) > 1:
        raise ConfigError(
            f"{what} is trained in one process, got {count} of torchrun: start it without torchrun"
        )


def draw_apart() -> None:
    """Let each process drop out what it draws itself, rather than all the same; after a seed."""
    if number := process_number():
        torch.manual_seed(torch.initial_seed() + number)


def shared_vectors(texts: Sequence[Item], encode: Callable[[Sequence[Item]], Tensor]) -> Tensor:
    """The vectors of texts, or of whatever else, of which each process computes its share.

    Args:
        texts: n of them, the same in all processes, at least one.
        encode: The vectors `(m, d)` of m texts, with gradients or without. What has gradients and
            is not computed here counts once for each process.

    Returns:
        `(n, d)`, the same in all processes; only the own share has gradients.
    """
    if not distributed.is_initialized():
        return encode(texts)
    count, rank = distributed.get_world_size(), distributed.get_rank()
    sizes = [len(_share(texts, process, count)) for process in range(count)]
    share = _share(texts, rank, count)
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


def own_share(items: Sequence[Item]) -> Sequence[Item]:
    """What this process computes of a batch; nothing where there are more processes than items.

    Args:
        items: The batch, the same in all processes.
    """
    if not distributed.is_initialized():
        return items
    return _share(items, distributed.get_rank(), distributed.get_world_size())


def sums_of(values: Sequence[float]) -> list[float]:
    """The sum of each of some numbers over all processes, the same in all of them.

    Args:
        values: As many in every process.
    """
    if not distributed.is_initialized():
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(total)
    return [float(value) for value in total]


def shares_of(counts: Sequence[int]) -> list[float]:
    """Which part of all processes' things of each kind are this one's, in [0, 1].

    A mean over the own ones, times this, adds up over processes to the mean over all.

    Args:
        counts: The own things of each kind.
    """
    if not distributed.is_initialized():
        return [1.0] * len(counts)
    return [own / max(1.0, all_) for own, all_ in zip(counts, sums_of(counts), strict=True)]


def _share(items: Sequence[Item], process: int, count: int) -> Sequence[Item]:
    """What a process of so many computes of a batch."""
    return items[len(items) * process // count : len(items) * (process + 1) // count]


def add_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Make the gradients of all processes their sum; one that no process has stays none.

    Args:
        weights: What is trained, after `backward`; the same in all processes.
    """
    if not distributed.is_initialized():
        return
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    existing = gradients[0].new_tensor([float(w.grad is not None) for w in weights])
    flat = torch.cat([existing, *(gradient.flatten() for gradient in gradients)])
    distributed.all_reduce(flat)
    counts, *parts = torch.split(flat, [len(weights), *(one.numel() for one in gradients)])
    for weight, count, part in zip(weights, counts.tolist(), parts, strict=True):
        weight.grad = part.view_as(weight) if count else None
