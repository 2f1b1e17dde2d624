"""Where on the image the keys of an affinity lie: supposed from their number, then tried out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attnzoo.lab.explain.stages import Grid
from attnzoo.lab.explain.watching import Recorded

_TRIES = 5  # places that are changed
_ENOUGH = 0.6  # of them must change the key that is supposed to lie there the most
_SMALL = 0.3  # standard deviation of the features, changed by 1
_NOTHING = 1e-5  # what rounding may change


@dataclass(frozen=True)
class Keys:
    """What M keys are to one query: pairs of a key and a place of the grid that it stands for.

    Attributes:
        what: in words.
        keys, places: of every pair; no place is negative.
    """

    what: str
    keys: Tensor
    places: Tensor

    def drawn(self, row: Tensor, grid: Grid) -> Tensor:
        """The weights of the keys (M,) as a map (H, W), NaN where no key stands, a sum where several do."""
        weights = row.cpu()[self.keys]
        sums = torch.zeros(grid.places, dtype=weights.dtype).index_add(0, self.places, weights)
        none = torch.ones(grid.places, dtype=torch.bool).index_fill(0, self.places, False)
        return sums.masked_fill(none, math.nan).view(grid.height, grid.width)


def keys_of(recorded: Recorded, grid: Grid, query: int) -> Keys | None:
    """Where the keys of one query lie; None if they are no places of the image, or do not show which.

    A number of keys fits several arrangements: 64 may be a map of 8 x 8 or the slots of a memory. So made-up
    features, small enough to saturate nothing, are changed at a few places, and an arrangement holds if that changes
    the keys it has there the most.

    Args:
        recorded: an affinity.
        grid: of the features that went into it.
        query: its token.
    """
    again = recorded.again
    if again is None:
        return None
    like = recorded.features
    made_up = _SMALL * torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)
    row = query if recorded.values.shape[1] > 1 else 0

    def weights(features: Tensor) -> Tensor:
        with torch.no_grad():
            return again(features)[0, :, row].double().cpu()

    before = weights(made_up)
    best, found = 0.0, None
    for keys in _supposed(before.shape[-1], grid, query):
        places = _tried(keys, query - grid.extra)
        after = (weights(_changed(made_up, grid, place)) for place in places)
        hits = sum(_hit(keys, place, before, one) for place, one in zip(places, after, strict=True))
        if places and hits / len(places) > best:
            best, found = hits / len(places), keys
    return found if best >= _ENOUGH else None


def _supposed(number: int, grid: Grid, query: int) -> Iterator[Keys]:
    """The arrangements that so many keys allow."""
    height, width = grid.height, grid.width
    y, x = divmod(query - grid.extra, width)
    every, ys = torch.arange(grid.places), torch.arange(height)[:, None]
    xs = torch.arange(width)[None]
    if number == grid.extra + grid.places:
        yield Keys("all places", every + grid.extra, every)
    for step in range(2, min(height, width) + 1):
        for rows, columns in {(height // step, width // step), (-(-height // step), -(-width // step))}:
            if number == rows * columns:
                inside = ((ys // step < rows) & (xs // step < columns)).flatten()
                keys = (ys // step * columns + xs // step).flatten()
                yield Keys(f"areas of {step} x {step} places", keys[inside], every[inside])
    side = math.isqrt(number)
    if side * side == number and side % 2 == 1:
        down, across = ys - y + side // 2, xs - x + side // 2
        inside = ((down >= 0) & (down < side) & (across >= 0) & (across < side)).flatten()
        yield Keys(f"a window of {side} x {side} places", (down * side + across).flatten()[inside], every[inside])
    row, column = y * width + torch.arange(width), torch.arange(height) * width + x
    if number == width + height:
        yield Keys("the row and the column", torch.arange(number), torch.cat([row, column]))
    if number == width:
        yield Keys("the row", torch.arange(number), row)
    if number == height:
        yield Keys("the column", torch.arange(number), column)


def _tried(keys: Keys, own: int) -> list[int]:
    """A few of the places that have a key, spread over them."""
    places = [place for place in keys.places.unique().tolist() if place != own]
    middle = len(places) // (2 * _TRIES)
    return list(dict.fromkeys(places[i * len(places) // _TRIES + middle] for i in range(_TRIES))) if places else []


def _hit(keys: Keys, place: int, before: Tensor, after: Tensor) -> bool:
    """Whether the key whose weights changed the most, beyond what all keys' did, is one that stands for the place."""
    if bool((before >= 0).all()):  # shares of a sum: what one key gains, all others lose in proportion
        before, after = (weights.clamp_min(1e-30).log() for weights in (before, after))
    change = after - before
    change = (change - change.median(dim=-1, keepdim=True).values).abs().sum(0)  # over the heads
    return bool(change.max() > _NOTHING and change.argmax() in keys.keys[keys.places == place])


def _changed(features: Tensor, grid: Grid, place: int) -> Tensor:
    """Other features at one place."""
    features = features.clone()
    axis = 1 if features.dim() == 4 else 2
    noise = torch.randn(features.shape[axis], generator=torch.Generator().manual_seed(place + 1)).to(features)
    if axis == 1:
        features.flatten(2)[0, :, place] += noise  # flattening gives a view
    else:
        features[0, grid.extra + place] += noise
    return features
