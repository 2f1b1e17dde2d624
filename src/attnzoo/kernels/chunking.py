"""What the kernels share that compute a map a part at a time."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_LINE = 16  # numbers of float32 in a cache line


def cut(size: int, step: int) -> list[slice]:
    """Slices of so many places at a time, the last of what is left."""
    return [slice(i, min(i + step, size)) for i in range(0, size, step)]


class Scratch:
    """Memory for one part of a map after the other, for the pages of fresh memory cost more than filling them.

    Every row begins at a cache line, which makes products that write it a third faster.

    Args:
        like: what dtype it has.
        samples, rows, columns: of the largest part.
    """

    def __init__(self, like: Tensor, samples: int, rows: int, columns: int) -> None:
        self.flat = like.new_empty(samples * rows, math.ceil(columns / _LINE) * _LINE)

    def map(self, samples: int, rows: int, columns: int) -> Tensor:
        """(samples, rows, columns), whatever it held last."""
        return self._padded(samples, rows)[..., :columns]

    def softmax(self, part: Tensor) -> Tensor:
        """What `map` gave, filled meanwhile, turned in place into its softmax over the columns."""
        padded = self._padded(*part.shape[:2])
        padded[..., part.shape[2] :] = -math.inf
        torch.softmax(padded, dim=2, out=padded)
        return part

    def _padded(self, samples: int, rows: int) -> Tensor:
        """(samples, rows, columns and the rest of a cache line), contiguous."""
        return self.flat[: samples * rows].view(samples, rows, -1)


def batched(op: Callable[..., Sequence[Tensor]]) -> Callable[..., tuple[tuple[Tensor, ...], tuple[int, ...]]]:
    """How vmap runs an operation that has a batch: its dimension joins it. What is no tensor stays as it is."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        size = info.batch_size

        def joined(x: Any, dim: int | None) -> Any:
            if not isinstance(x, Tensor):
                return x
            return (x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)

        found = op(*(joined(x, dim) for x, dim in zip(inputs, in_dims, strict=True)))
        outputs = tuple(y.unflatten(0, (size, -1)) for y in found)
        return outputs, (0,) * len(outputs)

    return rule
