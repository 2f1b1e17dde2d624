"""An instance and an input of any module, from its contract and card alone."""

from collections.abc import Sequence
from typing import Any

from attnzoo import registry

_CLASSES = 10


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


def input_shape(name: str, channels: int = 64, size: Sequence[int] = (56, 56)) -> tuple[int, ...]:
    """The shape of one example without the batch: (C, H, W), or (N, C) with N = H W tokens."""
    if registry.card(name).contract == "tokens":
        return (size[0] * size[1], channels)
    return (channels, *size)
