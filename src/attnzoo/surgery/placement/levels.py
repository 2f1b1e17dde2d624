"""The resolutions that features go through on the way to the coarsest ones."""

from typing import Final

from attnzoo.surgery.flow import Flow
from attnzoo.surgery.placement.place import Feature

_EXTRA_TOKENS: Final = 16  # class, distillation and register tokens beside those of the image
_COARSER: Final = 0.75  # of the places: convolutions without padding take a rim off, which is no new resolution


def levels_of(flow: Flow, candidates: list[Feature], aside: frozenset[int] = frozenset()) -> list[Feature]:
    """Of the candidates that all ways to the coarsest pass through, the last one of each resolution, outermost.

    Steps set aside count only where nothing else ends a resolution.
    """
    by_step: dict[int, list[Feature]] = {}
    for one in candidates:
        by_step.setdefault(one.step, []).append(one)
    best: list[int] = []
    for end in sorted(by_step):
        way = _way(flow, by_step, end, aside)
        if way and way[-1] == end and len(way) >= len(best):
            best = way
    levels: list[Feature] = []
    for step in best:
        own = [one for one in by_step[step] if not levels or levels[-1].step not in one.call.span]
        levels.append(max(reversed(own or by_step[step]), key=lambda one: len(one.call.span)))
    return levels


def _way(flow: Flow, by_step: dict[int, list[Feature]], end: int, aside: frozenset[int]) -> list[int]:
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
            if step not in aside or way[-1] in aside:
                way[-1] = step
            least = min(least, places)
    return way
