"""The placements 'stage' and 'last': the last features of each resolution on the way to the coarsest ones."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from attnzoo.surgery.flow import Flow
from attnzoo.surgery.operations import WEIGHTED
from attnzoo.surgery.placement.levels import levels_of
from attnzoo.surgery.placement.place import Feature, Place, features, size_of
from attnzoo.surgery.placement.residuals import Residual, residuals

NONE: Final = "no submodule gives a map or tokens that everything coarser is made from"


def find(flow: Flow) -> Iterator[Place | str]:
    """The last features of every resolution, from fine to coarse.

    Only features that all ways to the coarsest ones pass through count: what an encoder gives, not what a decoder, a
    feature pyramid or one of several parallel resolutions adds. In a residual network a stage is made of residual
    blocks, so stems and extra levels of detectors are none; what stands in one row with the stages ('blocks.0' beside
    'blocks.1') is one, too, if it has at least two convolutions. In other networks every resolution with a convolution
    counts, from the first of the longest row on.
    """
    sums = residuals(flow)
    known = list(features(flow))
    with_blocks = _with_blocks(flow, known, sums)
    if with_blocks:
        rows = {_row(one) for one in levels_of(flow, with_blocks)}
        stages = levels_of(flow, with_blocks + [one for one in known if _row(one) in rows and _layers(flow, one) > 1])
    else:
        branches = [(flow.dominators[one.total], one.total) for one in sums]
        known = [one for one in known if not any(start < one.step < end for start, end in branches)]
        worked, aside = _worked(flow, known), _openings(flow, known)
        levels = levels_of(flow, worked, aside)
        levels = levels_of(flow, worked, aside | _outside_main_part(levels, worked))
        stages = _from_longest_row(flow, levels)
    for number, one in enumerate(stages, 1):
        yield Place(one.call.path, None, f"the last features of their resolution, stage {number} of {len(stages)}")


def find_last(flow: Flow) -> Iterator[Place | str]:
    """The last of the stages."""
    found = list(find(flow))[-1:]
    yield from (Place(one.path, one.axis, "end of the last stage") for one in found if isinstance(one, Place))


def _with_blocks(flow: Flow, known: list[Feature], sums: list[Residual]) -> list[Feature]:
    """Those whose submodules hold a residual block of their own resolution, or of tokens.

    Left out is what goes over several resolutions, but for a block at the beginning that is still as fine as what came
    before: it is a part of the way down.
    """
    totals = [(one.total, size_of(flow.steps[one.total])) for one in sums]
    holding = [
        one
        for one in known
        if any(n in one.call.span and (size is None or size.places == one.places) for n, size in totals)
    ]
    left: list[Feature] = []
    for outer in holding:
        finer = [one for one in holding if outer.call.holds(one.call) and one.places > outer.places]
        sizes = {one.places for one in finer}
        before = any(one.call.span.stop <= outer.call.span.start and one.places in sizes for one in holding)
        if finer:
            left += finer if len(sizes) == 1 and before else [outer]
    return [one for one in holding if one not in left]


def _worked(flow: Flow, known: list[Feature]) -> list[Feature]:
    """Those at a resolution with a layer."""
    sizes = (size_of(step) for step in flow.steps if step.function in WEIGHTED)
    places = {size.places for size in sizes if size is not None}
    return [one for one in known if one.places in places]


def _openings(flow: Flow, known: list[Feature]) -> frozenset[int]:
    """The steps at the beginnings of submodules that end coarser, after a norm or a single layer: they belong there."""
    sizes = [(n, size_of(step)) for n, step in enumerate(flow.steps) if step.function in WEIGHTED]
    layers = [(n, size.places) for n, size in sizes if size is not None]
    return frozenset(
        one.step
        for outer in known
        for one in known
        if outer.places < one.places
        and outer.call.holds(one.call)
        and sum(n in outer.call.span and n <= one.step and places == one.places for n, places in layers) <= 1
    )


def _outside_main_part(levels: list[Feature], known: list[Feature]) -> frozenset[int]:
    """The steps beside the part of the network ('features', 'backbone') that most levels end in: heads."""
    paths = [one.call.path.split(".") for one in levels]
    shared = next((i for i, names in enumerate(zip(*paths, strict=False)) if len(set(names)) > 1), 0)
    parts = Counter(path[shared] for path in paths if len(path) > shared)
    main, count = parts.most_common(1)[0] if parts else ("", 0)
    inside = {one.step for one in known if [*one.call.path.split("."), ""][: shared + 1][-1] == main}
    return frozenset(one.step for one in known if one.step not in inside) if count > 1 else frozenset()


def _from_longest_row(flow: Flow, levels: list[Feature]) -> list[Feature]:
    """The levels without stems: from the first on that stands in a row with the most others, and the most layers."""
    rows: dict[str, list[Feature]] = {}
    for one in levels:
        rows.setdefault(_row(one), []).append(one)
    longest = max(rows.values(), key=lambda row: (len(row), sum(_layers(flow, one) for one in row)), default=[])
    return levels[levels.index(longest[0]) :] if len(longest) > 1 else levels


def _layers(flow: Flow, one: Feature) -> int:
    """How many convolutions and linear layers its submodule runs."""
    return sum(flow.steps[n].function in WEIGHTED for n in one.call.span)


def _row(one: Feature) -> str:
    """What the paths of submodules in one row have in common."""
    return re.sub(r"\d+", "*", one.call.path)
