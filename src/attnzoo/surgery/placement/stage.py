"""The placements 'stage' and 'last': the last features of each resolution on the way to the coarsest ones."""

import re
from collections.abc import Iterator
from typing import Final

from attnzoo.surgery.flow import Flow
from attnzoo.surgery.operations import WEIGHTED
from attnzoo.surgery.placement.block import Residual, residuals
from attnzoo.surgery.placement.place import Feature, Place, features, size_of

NONE: Final = "no submodule gives a map or tokens that everything coarser is made from"
_EXTRA_TOKENS: Final = 16  # class, distillation and register tokens beside those of the image
_COARSER: Final = 0.75  # of the places: convolutions without padding take a rim off, which is no new resolution


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
        rows = {_row(one) for one in _levels(flow, with_blocks)}
        stages = _levels(flow, with_blocks + [one for one in known if _row(one) in rows and _layers(flow, one) > 1])
    else:
        branches = [(flow.dominators[one.total], one.total) for one in sums]
        known = [one for one in known if not any(start < one.step < end for start, end in branches)]
        known = [one for one in known if not _is_output(flow, one.step)]
        stages = _from_longest_row(flow, _levels(flow, _worked(flow, known), _openings(flow, known)))
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


def _from_longest_row(flow: Flow, levels: list[Feature]) -> list[Feature]:
    """The levels without stems: from the first on that stands in a row with the most others, and the most layers."""
    rows: dict[str, list[Feature]] = {}
    for one in levels:
        rows.setdefault(_row(one), []).append(one)
    longest = max(rows.values(), key=lambda row: (len(row), sum(_layers(flow, one) for one in row)), default=[])
    return levels[levels.index(longest[0]) :] if len(longest) > 1 else levels


def _levels(flow: Flow, candidates: list[Feature], openings: frozenset[int] = frozenset()) -> list[Feature]:
    """Of the candidates that all ways to the coarsest pass through, the last one of each resolution, outermost.

    Steps among the openings count only where nothing else ends a resolution.
    """
    by_step: dict[int, list[Feature]] = {}
    for one in candidates:
        by_step.setdefault(one.step, []).append(one)
    best: list[int] = []
    for end in sorted(by_step):
        way = _way(flow, by_step, end, openings)
        if way and way[-1] == end and len(way) >= len(best):
            best = way
    levels: list[Feature] = []
    for step in best:
        own = [one for one in by_step[step] if not levels or levels[-1].step not in one.call.span]
        levels.append(max(reversed(own or by_step[step]), key=lambda one: len(one.call.span)))
    return levels


def _way(flow: Flow, by_step: dict[int, list[Feature]], end: int, openings: frozenset[int]) -> list[int]:
    """Of the candidate steps that all ways to `end` pass through, the last one of each falling resolution."""
    passed = [end]
    while passed[-1]:
        passed.append(flow.dominators[passed[-1]])
    way: list[int] = []
    least = 0
    for step in reversed(passed):
        if step not in by_step:
            continue
        places = by_step[step][0].places
        if not way or places < _COARSER * least:
            way.append(step)
            least = places
        elif places <= least or (len(flow.steps[step].shape) == 3 and places <= least + _EXTRA_TOKENS):
            if step not in openings or way[-1] in openings:
                way[-1] = step
            least = min(least, places)
    return way


def _is_output(flow: Flow, step: int) -> bool:
    """Whether a layer gives it and no layer reads what is made of it: logits."""
    after = {step}
    for number in range(step + 1, len(flow.steps)):
        if not after.isdisjoint(flow.steps[number].parents):
            after.add(number)
    return all((flow.steps[n].function in WEIGHTED) == (n == step) for n in after)


def _layers(flow: Flow, one: Feature) -> int:
    """How many convolutions and linear layers its submodule runs."""
    return sum(flow.steps[n].function in WEIGHTED for n in one.call.span)


def _row(one: Feature) -> str:
    """What the paths of submodules in one row have in common."""
    return re.sub(r"\d+", "*", one.call.path)
