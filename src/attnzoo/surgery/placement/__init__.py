"""Placement by meaning: where in a network papers put what, found from one forward pass."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from attnzoo.surgery.flow import Flow
from attnzoo.surgery.placement import block, expansion, stage
from attnzoo.surgery.placement.place import Place as Place


class Placement(NamedTuple):
    """How a placement is found, and what is wrong with a network that has none."""

    find: Callable[[Flow], Iterator[Place | str]]
    none: str


PLACEMENTS: Final = {
    "block": Placement(block.find, block.NONE),
    "stage": Placement(stage.find, stage.NONE),
    "last": Placement(stage.find_last, stage.NONE),
    "expansion": Placement(expansion.find, expansion.NONE),
}
