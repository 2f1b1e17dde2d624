"""The tiles in which a map is computed, and what dropout leaves of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from attnzoo.kernels.chunking import Scratch, cut

ENTRIES = 2**21  # of the map at a time, 8 MiB in float32, where all keys fit beside each other
SIDE = 1024  # of a tile, where the map has more keys


class Cuts(NamedTuple):
    """How a map (B, N, M) is cut into tiles: several samples whole where it is small, else parts of one.

    Keys are cut between rows of their own map, where the queries say something of these.
    """

    samples: list[slice]
    queries: list[slice]
    keys: list[slice]

    @classmethod
    def of(cls, q: Tensor, k: Tensor, across: Tensor) -> "Cuts":
        """For q (B, N, d), k (B, M, d) and across (B, N, W)."""
        samples, places, others, width = *q.shape[:2], k.shape[1], max(across.shape[2], 1)
        if others > SIDE:
            return cls(cut(samples, 1), cut(places, SIDE), cut(others, max(SIDE // width, 1) * width))
        several = max(ENTRIES // max(places * others, 1), 1)
        return cls(cut(samples, several), cut(places, max(ENTRIES // max(others, 1), 1)), cut(others, SIDE))

    def scratch(self, like: Tensor) -> Scratch:
        """For the tiles; none is larger than the first."""
        first = (parts[0] if parts else slice(0, 0) for parts in self)
        return Scratch(like, *(part.stop - part.start for part in first))


def dropped(b: slice, n: slice, m: slice, tile: Tensor, seed: Tensor, dropout: float) -> Tensor:
    """A tile without what is dropped of it; itself where nothing is."""
    return tile * _kept(b, n, m, tile, seed, dropout) if dropout else tile


def _kept(b: slice, n: slice, m: slice, like: Tensor, seed: Tensor, dropout: float) -> Tensor:
    """0 where an entry of a tile is dropped, else 1 / (1 - dropout); the same whenever it is asked for."""
    tile = hash((int(seed[0]), b.start, n.start, m.start))
    draws = torch.Generator().manual_seed(tile % 2**63)
    return torch.empty(like.shape, dtype=like.dtype).bernoulli_(1 - dropout, generator=draws).div_(1 - dropout)


def kept_of_all(q: Tensor, k: Tensor, across: Tensor, seed: Tensor, dropout: float) -> Tensor:
    """`_kept` of all tiles as one map."""
    kept = q.new_empty(*q.shape[:2], k.shape[1])
    cuts = Cuts.of(q, k, across)
    for b in cuts.samples:
        for n in cuts.queries:
            for m in cuts.keys:
                kept[b, n, m] = _kept(b, n, m, kept[b, n, m], seed, dropout)
    return kept
