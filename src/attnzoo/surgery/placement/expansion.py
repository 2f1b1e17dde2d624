"""The placement 'expansion': the widest features inside inverted bottlenecks and MLPs."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from attnzoo.surgery.flow import Call, Flow
from attnzoo.surgery.operations import SLICING, WEIGHTED
from attnzoo.surgery.placement.place import Feature, Place, features, size_of
from attnzoo.surgery.placement.residuals import residuals

NONE: Final = "no submodule has features inside that are at least twice as wide as what it takes and gives"
_FACTOR: Final = 2
_PARTS: Final = 2  # of how many equal parts the widest features may be put together: ghost modules take two


class _Wide(NamedTuple):
    """A submodule, the step of its widest features, what gives them, and how much wider than its input they are."""

    outer: Call
    step: int
    giver: Call
    factor: float


def find(flow: Flow) -> Iterator[Place | str]:
    """In the innermost submodules that are wide inside, the last features before they are narrowed.

    What takes the image itself is a stem, and what adds residual sums before its widest features is more than a block.
    """
    sums = [residual.total for residual in residuals(flow)]
    found = [wide for feature in features(flow) if (wide := _widest(flow, feature)) is not None]
    found = [wide for wide in found if not any(wide.outer.span.start <= n < wide.step for n in sums)]
    for wide in found:
        if not any(wide.outer.holds(other.outer) for other in found if other is not wide):
            reason = f"{wide.factor:.3g} times as wide as the input of {wide.outer.path}, before it is narrowed"
            yield Place(wide.giver.path, None, reason)


def _widest(flow: Flow, feature: Feature) -> _Wide | None:
    """The widest features inside a submodule, if layers in it make them and narrow them again."""
    call = feature.call
    taken = size_of(flow.steps[call.takes[0]]) if len(call.takes) == 1 and call.takes[0] else None
    given = size_of(flow.steps[feature.step])
    if taken is None or given is None:
        return None
    widest: _Wide | None = None
    made = 0  # how wide the widest layer is so far
    for number in call.span:
        layer = size_of(flow.steps[number]) if flow.steps[number].function in WEIGHTED else None
        if layer is None:
            continue
        for parent in (_whole(flow, n) for n in flow.steps[number].parents):
            read = size_of(flow.steps[parent])
            if read is None or parent not in call.span or read.places not in (taken.places, given.places):
                continue
            expanded = read.channels >= _FACTOR * max(taken.channels, given.channels, layer.channels)
            factor = read.channels / taken.channels
            if not expanded or read.channels > _PARTS * made or (widest is not None and factor < widest.factor):
                continue
            giver = _giver(flow, call, parent)
            widest = widest if giver is None else _Wide(call, parent, giver, factor)
        made = max(made, layer.channels)
    return widest


def _whole(flow: Flow, number: int) -> int:
    """What a step is cut from, where layers take all of it in parts, as mixed convolutions do; else the step itself."""
    if flow.steps[number].function not in SLICING:
        return number
    whole = flow.steps[number].parents[0]
    parts = flow.readers[whole]
    readers = [n for part in parts for n in flow.readers[part]]
    cut = all(flow.steps[n].function in SLICING for n in parts)
    return whole if cut and all(flow.steps[n].function in WEIGHTED for n in readers) else number


def _giver(flow: Flow, call: Call, number: int) -> Call | None:
    """The outermost submodule inside that makes a step, or else one that hands it through."""
    givers = [one for one in flow.givers.get(number, ()) if call.holds(one)]
    makers = [one for one in givers if one.creates]
    return makers[-1] if makers else next(iter(givers), None)
