"""What placements look at and what they find."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from attnzoo.surgery.flow import Call, Flow, Step


@dataclass(frozen=True)
class Place:
    """Where something can be plugged in, and why there.

    Attributes:
        path: the submodule after which.
        axis: the dimension of its output that holds the channels; None takes that of the run.
        reason: what makes it a place.
    """

    path: str
    axis: int | None
    reason: str


class Size(NamedTuple):
    """How many channels a map or tokens have, and at how many places."""

    channels: int
    places: int


class Feature(NamedTuple):
    """A map or tokens of several places that a run of a submodule gives: the run, the step, and how many places."""

    call: Call
    step: int
    places: int


def size_of(step: Step) -> Size | None:
    """Of a map or tokens; None for other tensors, and where the channels are unknown."""
    if step.axis is None or len(step.shape) not in (3, 4) or 0 in step.shape:
        return None
    channels = step.shape[step.axis]
    return Size(channels, math.prod(step.shape[1:]) // channels)


def features(flow: Flow) -> Iterator[Feature]:
    """All features that submodules give."""
    for step, givers in flow.givers.items():
        size = size_of(flow.steps[step])
        if size is not None and size.places > 1:
            yield from (Feature(call, step, size.places) for call in givers)
