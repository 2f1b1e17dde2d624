"""Entering networks that differ in numbers."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from attnzoo.registry import register_network


def preset(
    name: str,
    build: Callable[..., nn.Module],
    *,
    title: str,
    classes: int = 1000,
    options: Sequence[str] = (),
    **card: Any,
) -> None:
    """Enter a network of the usual three arguments, and of those of `build` that are named.

    Args:
        name: the registry name.
        build: takes the name, num_classes, in_channels and features_only.
        title, card: as in `register_network`.
        classes: num_classes by default.
        options: further arguments of `build`, with their types and defaults.
    """

    def make(num_classes: int = classes, in_channels: int = 3, features_only: bool = False, **given: Any) -> nn.Module:
        return build(name, num_classes, in_channels, features_only, **given)

    *usual, _ = inspect.signature(make).parameters.values()
    known = inspect.signature(build).parameters
    further = [known[option].replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    make.__signature__ = inspect.Signature([*usual, *further])  # type: ignore[attr-defined]
    make.__annotations__ |= {option.name: option.annotation for option in further}
    make.__qualname__ = name
    also = f"; {', '.join(options)} as in `{_class_of(build)}`" if options else ""
    make.__doc__ = f"{title}; arguments and shapes as in `Network`{also}."
    register_network(name, title=title, **card)(make)


def _class_of(build: Callable[..., nn.Module]) -> str:
    """The name of what a function, or a partial one, calls."""
    made: Any = getattr(build, "func", build)
    return str(made.__name__)
