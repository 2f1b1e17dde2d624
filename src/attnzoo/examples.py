"""An instance and an input of any module, from its contract and card alone."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnzoo import registry

_CLASSES = 10
_ITEMS = 5


class Drawn(NamedTuple):
    """An argument of forward: its shape, and, where it holds indices, the number that they stay below."""

    shape: tuple[int, ...]
    below: int | None


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
    letters = _letters(channels, size)
    return tuple(tuple(_number(word, letters) for word in shape if word != "B") for shape, _ in _arguments(name))


def drawn(name: str, batch: int = 2, channels: int = 64, size: Sequence[int] = (56, 56)) -> tuple[Drawn, ...]:
    """What forward's arguments are drawn from."""
    letters = {"B": batch, **_letters(channels, size)}
    return tuple(
        Drawn(tuple(_number(word, letters) for word in shape), _number(below, letters) if below else None)
        for shape, below in _arguments(name)
    )


def fixed(name: str, place: int) -> dict[int, bool]:
    """For each dimension of an argument of forward, but the batch: whether the module is built for its size."""
    shape, _ = _arguments(name)[place]
    return {i: not {"H", "W", "N", "K"} & set(word.split("*")) for i, word in enumerate(shape) if word != "B"}


def inputs(name: str, batch: int = 2, channels: int = 64, size: Sequence[int] = (56, 56)) -> tuple[Tensor, ...]:
    """Random arguments of forward."""
    return tuple(
        torch.randn(shape) if below is None else torch.randint(below, shape)
        for shape, below in drawn(name, batch, channels, size)
    )


def _arguments(name: str) -> list[tuple[list[str], str]]:
    """The words of each argument's shape, from the card or the contract, and that of what indices stay below."""
    contract = "B N C" if registry.card(name).contract == "tokens" else "B C H W"
    parts = (text.partition("<") for text in registry.card(name).inputs or (contract,))
    return [(shape.split(), below) for shape, _, below in parts]


def _letters(channels: int, size: Sequence[int]) -> dict[str, int]:
    return {"C": channels, "N": size[0] * size[1], "H": size[0], "W": size[1], "K": _ITEMS}


def _number(word: str, letters: dict[str, int]) -> int:
    """'2*C', 'H', '9' as a number."""
    return math.prod(letters[part] if part in letters else int(part) for part in word.split("*"))
