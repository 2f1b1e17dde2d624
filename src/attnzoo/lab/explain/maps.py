"""The maps of attention modules as a figure shows them: bars over channels, maps over places, matrices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attnzoo.lab.explain.keys import keys_of
from attnzoo.lab.explain.stages import Grid, grid_of
from attnzoo.lab.explain.watching import Recorded, Seen

Kind = Literal["places", "channels", "matrix"]


@dataclass(frozen=True)
class Map:
    """Something that an attention module shows for one image.

    Attributes:
        module: its name in the registry.
        path: where it is in the network.
        stage: the number of the stage it runs in, from 0.
        kind: "places", a map (h, w) that covers the image, NaN where it says nothing; "channels", numbers (K,);
            "matrix", (a, b), neither of which is the image's.
        what: in words; the maps of one row of a figure share them.
        values: as the kind says.
        alpha: the network takes x + alpha * (module(x) - x); None where it takes module(x).
        point: the number of the point whose affinity it is, from 0; None for other maps.
    """

    module: str
    path: str
    stage: int
    kind: Kind
    what: str
    values: Tensor
    alpha: float | None = None
    point: int | None = None


def maps_of(
    seen: Seen, ratio: float, points: Sequence[tuple[float, float]], heads: bool = False, parts: bool = False
) -> Iterator[Map]:
    """What one run of a module shows; for a module without a map, how it changes the features.

    Args:
        seen: the run.
        ratio: the image's height over its width.
        points: whose affinities are wanted, as shares of the image's width and height.
        heads: each head of an affinity for itself, not their mean.
        parts: also the maps of parts of a module that has one of its own.
    """
    whole = [recorded for recorded in seen.maps if not recorded.part]
    chosen = seen.maps if parts or not whole else whole
    before = grid_of(tuple(seen.before.shape), ratio)
    grids = [_grid(recorded.features, seen.before, before) for recorded in chosen]
    shown = [
        one for recorded, grid in zip(chosen, grids, strict=True) for one in _shown(seen, recorded, grid, points, heads)
    ]
    for kind, what, values, point in shown or _change(seen, ratio):
        yield Map(seen.name, seen.path, seen.stage, kind, what, values.float().cpu(), seen.alpha, point)


_Shown = tuple[Kind, str, Tensor, int | None]


def _grid(features: Tensor, before: Tensor, grid: Grid | None) -> Grid | None:
    """That of a part's features: maps tell, tokens made of the module's maps must be as many as these have places."""
    if features.dim() == 4:
        return Grid(0, features.shape[2], features.shape[3])
    if features.shape == before.shape:
        return grid
    tokens = features.dim() == 3 and grid is not None and features.shape[1] == grid.places != features.shape[2]
    return grid if tokens else None


def _shown(
    seen: Seen, recorded: Recorded, grid: Grid | None, points: Sequence[tuple[float, float]], heads: bool
) -> Iterator[_Shown]:
    part = f"{recorded.part}: " if recorded.part else ""
    if recorded.again is not None:
        for kind, what, values, point in _affinity(recorded, grid, points, heads):
            yield kind, part + what, values, point
        return
    for kind, what, values in _gate(seen, recorded, grid):
        yield kind, part + what, values, None


def _gate(seen: Seen, recorded: Recorded, grid: Grid | None) -> Iterator[tuple[Kind, str, Tensor]]:
    """A gate (K,) of channels, of a kernel's places or of something else, (h, w) of places, or (K, h, w) of both."""
    gate, features = recorded.values, recorded.features
    axis = 1 if features.dim() == 4 else -1
    if gate.dim() == 1:
        yield _numbers(seen, features, gate)
    elif gate.dim() == 2 and _covers(gate, grid):
        yield "places", "gate of each place", gate
    elif gate.dim() == 3 and _covers(gate[0], grid):
        each = "channel" if len(gate) == features.shape[axis] else "map"
        yield "places", f"gate of each place, mean of the {each}s", gate.mean(0)
        yield "channels", f"gate of each {each}, mean of the places", gate.flatten(1).mean(1)
    else:
        yield "matrix", "gate, neither of channels nor of places", gate.flatten(0, -2)


def _numbers(seen: Seen, features: Tensor, gate: Tensor) -> tuple[Kind, str, Tensor]:
    """A gate (K,), by what there are K of in the module."""
    maps = [x for x in (seen.before, seen.after, features) if x.dim() > 2]
    if len(gate) in {x.shape[1 if x.dim() == 4 else -1] for x in maps}:
        return "channels", "gate of each channel", gate
    if seen.kernel is not None and len(gate) == seen.kernel[0] * seen.kernel[1]:
        return "matrix", "gate of each place in the kernel", gate.view(seen.kernel)
    return "channels", f"shares of {len(gate)}, no channels", gate


def _covers(values: Tensor, grid: Grid | None) -> bool:
    """Whether a map has the grid's shape, or that of a coarser one."""
    if grid is None:
        return False
    height, width = values.shape
    return height <= grid.height and width <= grid.width and height * grid.width == width * grid.height


def _affinity(
    recorded: Recorded, grid: Grid | None, points: Sequence[tuple[float, float]], heads: bool
) -> Iterator[_Shown]:
    """The rows of an affinity (heads, N, M) for the points, or all of it where its rows are no places."""
    affinity = recorded.values
    _, queries, number = affinity.shape
    rows: list[_Shown] = []
    if grid is not None and queries in (1, grid.extra + grid.places):
        for point, (x, y) in enumerate(points if queries > 1 else points[:1]):
            query = grid.extra + grid.cell(x, y)
            keys = keys_of(recorded, grid, query)
            who, which = ("affinity of the point", point) if queries > 1 else ("weights for all queries", None)
            for name, row in _heads(_over_mean(affinity[:, query if queries > 1 else 0]), heads):
                if keys is not None:
                    rows.append(("places", f"{who} to {keys.what}{name}", keys.drawn(row, grid), which))
                elif queries != number or queries != recorded.features.shape[1]:  # else they may as well be channels
                    rows.append(("channels", f"{who} to keys of no known place{name}", row, which))
    yield from rows
    for name, one in _heads(affinity, heads) if not rows else ():
        yield "matrix", f"affinity of all queries (down) to all keys{name}", one, None


def _over_mean(rows: Tensor) -> Tensor:
    """Rows (heads, M) over their means, 1 for a key like all others; those with negative weights as they are."""
    return rows / rows.mean(dim=1, keepdim=True).clamp_min(1e-30) if bool((rows >= 0).all()) else rows


def _heads(values: Tensor, each: bool) -> list[tuple[str, Tensor]]:
    """All heads with their names, or their mean."""
    if len(values) == 1:
        return [("", values[0])]
    if each:
        return [(f", head {number}", value) for number, value in enumerate(values, 1)]
    return [(", mean of the heads", values.mean(0))]


def _change(seen: Seen, ratio: float) -> list[_Shown]:
    """How far the module moves the features at each place, over their mean length."""
    grid = grid_of(tuple(seen.after.shape), ratio)
    if seen.before.shape == seen.after.shape:
        moved = (seen.after - seen.before) * (1 if seen.alpha is None else seen.alpha)
        what = "no map to show; change of the features, |output - input| / mean |input|"
        base = seen.before
    else:
        moved = base = seen.after
        what = "no map to show; length of the features, |output| / mean |output|"
    axis = 1 if moved.dim() == 4 else -1
    lengths = torch.linalg.vector_norm(moved, dim=axis)[0]
    lengths = lengths / torch.linalg.vector_norm(base, dim=axis).mean().clamp_min(1e-12)
    if grid is None:
        return [("channels", what.replace("features", "tokens"), lengths.flatten(), None)]
    return [("places", what, lengths.flatten()[grid.extra :].view(grid.height, grid.width), None)]
