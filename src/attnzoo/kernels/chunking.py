"""What the kernels share that compute a map some of its rows at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

ENTRIES = 2**21  # of the map at a time, 8 MiB in float32: more gains no speed on a CPU


def chunks(rows: Tensor, columns: Tensor, entries: int = ENTRIES) -> Iterator[tuple[slice, slice]]:
    """Samples and rows of the map (B, N, M) to compute together, for rows (B, N, d) and columns (B, M, d).

    As many as have so many entries; whole samples where they are small.
    """
    samples = max(1, entries // (rows.shape[1] * columns.shape[1]))
    some = max(16, entries // columns.shape[1])
    for b in range(0, rows.shape[0], samples):
        for n in range(0, rows.shape[1], some):
            yield slice(b, b + samples), slice(n, n + some)


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
