"""An instance and an input of any module, from its contract and card alone."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attnzoo import registry

_CLASSES = 10


def fitting(name: str, size: Sequence[int]) -> tuple[int, int]:
    """The size, moved up where the module needs larger maps: well above the least, whose inner maps are one pixel.

    torch.export traces one pixel apart from all other sizes, so a size near the least would stand for no other.
    """
    more = 2 * (registry.card(name).min_size - 1)
    return size[0] + more, size[1] + more


def arguments(name: str, channels: int = 64, size: Sequence[int] = (56, 56)) -> dict[str, Any]:
    """Constructor arguments for `channels`, with the map size where the module fixes it."""
    offered = {
        "channels": channels,
        "in_channels": channels,
        "out_channels": _CLASSES if registry.card(name).contract == "head" else channels,
        "num_classes": _CLASSES,
        "height": size[0],
        "width": size[1],
    }
    known = registry.signature(name).parameters
    needed = {key for key, value in known.items() if value.default is value.empty}
    wanted = needed | {"channels", "in_channels"}
    return {key: value for key, value in offered.items() if key in known and key in wanted} | registry.card(
        name
    ).example


def input_shapes(name: str, channels: int = 64, size: Sequence[int] = (56, 56)) -> tuple[tuple[int, ...], ...]:
    """The shapes of forward's arguments for one example, without the batch: (C, H, W), or (N, C) tokens, N = H W."""
    letters = {"C": channels, "N": size[0] * size[1], "H": size[0], "W": size[1]}
    contract = "B N C" if registry.card(name).contract == "tokens" else "B C H W"
    return tuple(_shape(text.split()[1:], letters) for text in registry.card(name).inputs or (contract,))


def inputs(name: str, batch: int = 2, channels: int = 64, size: Sequence[int] = (56, 56)) -> tuple[Tensor, ...]:
    """Random arguments of forward."""
    return tuple(torch.randn(batch, *shape) for shape in input_shapes(name, channels, size))


def _shape(words: Sequence[str], letters: dict[str, int]) -> tuple[int, ...]:
    """'2*C', 'H', '9' as numbers."""
    return tuple(math.prod(letters.get(part) or int(part) for part in word.split("*")) for word in words)
