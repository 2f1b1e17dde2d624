"""Entering networks that differ in numbers."""

from collections.abc import Callable
from typing import Any

from torch import nn

from attnzoo.registry import register_network


def preset(
    name: str, build: Callable[[str, int, int, bool], nn.Module], *, title: str, classes: int = 1000, **card: Any
) -> None:
    """Enter a network of the usual three arguments.

    Args:
        name: the registry name.
        build: takes the name, num_classes, in_channels and features_only.
        title, card: as in `register_network`.
        classes: num_classes by default.
    """

    def make(num_classes: int = classes, in_channels: int = 3, features_only: bool = False) -> nn.Module:
        return build(name, num_classes, in_channels, features_only)

    make.__qualname__ = name
    make.__doc__ = f"{title}; arguments and shapes as in `Network`."
    register_network(name, title=title, **card)(make)
