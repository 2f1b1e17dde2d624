"""What the kernels share that compute a map some of its rows at a time."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

ENTRIES = 2**21  # of the map at a time, 8 MiB in float32: more gains no speed on a CPU
_LINE = 16  # numbers of float32 in a cache line


def chunks(rows: Tensor, columns: Tensor, entries: int = ENTRIES) -> Iterator[tuple[slice, slice]]:
    """Samples and rows of the map (B, N, M) to compute together, for rows (B, N, d) and columns (B, M, d).

    As many as have so many entries; whole samples where they are small.
    """
    samples = max(1, entries // (rows.shape[1] * columns.shape[1]))
    some = max(16, entries // columns.shape[1])
    for b in range(0, rows.shape[0], samples):
        for n in range(0, rows.shape[1], some):
            yield slice(b, b + samples), slice(n, n + some)


class Scratch:
    """Memory for the maps of one chunk after the other, for the pages of fresh memory cost more than filling them.

    Every row begins at a cache line, which makes products that write it a third faster.

    Args:
        rows, columns, entries: as for `chunks`.
    """

    def __init__(self, rows: Tensor, columns: Tensor, entries: int = ENTRIES) -> None:
        b, n = next(chunks(rows, columns, entries))  # none is larger than the first
        self.columns = columns.shape[1]
        padded = math.ceil(self.columns / _LINE) * _LINE
        self.flat = rows.new_empty(math.prod(rows[b, n].shape[:2]), padded)

    def map(self, rows: Tensor) -> Tensor:
        """(B, N, M), whatever it held last, for a chunk's rows (B, N, d)."""
        return self._padded(rows)[..., : self.columns]

    def softmax(self, rows: Tensor) -> Tensor:
        """The map of these rows, turned in place into its softmax over the columns."""
        padded = self._padded(rows)
        padded[..., self.columns :] = -math.inf
        torch.softmax(padded, dim=2, out=padded)
        return padded[..., : self.columns]

    def _padded(self, rows: Tensor) -> Tensor:
        """(B, N, M and the rest of a cache line), contiguous."""
        return self.flat[: math.prod(rows.shape[:2])].view(*rows.shape[:2], -1)


def batched(op: Callable[..., Sequence[Tensor]]) -> Callable[..., tuple[tuple[Tensor, ...], tuple[int, ...]]]:
    """How vmap runs an operation that has a batch: its dimension joins it."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        size = info.batch_size
        joined = [
            (x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(inputs, in_dims, strict=True)
        ]
        outputs = tuple(y.unflatten(0, (size, -1)) for y in op(*joined))
        return outputs, (0,) * len(outputs)

    return rule
