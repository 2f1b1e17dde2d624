"""Wrong arguments."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from torch import Tensor

from attnzoo.checks.types import nearest
from attnzoo.errors import AttnzooError

_T = TypeVar("_T")


def positive(module: str, **values: int) -> None:
    """Raise AttnzooError unless every value is an integer of at least 1."""
    at_least(module, 1, **values)


def at_least(module: str, least: int, **values: int) -> None:
    """Raise AttnzooError unless every value is an integer of at least `least`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise AttnzooError(f"{module}: {name}={value!r} is not an integer of at least {least}.")


def odd(module: str, **values: int) -> None:
    """Raise AttnzooError unless every value is a positive odd integer."""
    positive(module, **values)
    for name, value in values.items():
        if value % 2 == 0:
            raise AttnzooError(f"{module}: {name}={value} is even; use an odd one, such as {value + 1}.")


def above_zero(module: str, **values: float) -> None:
    """Raise AttnzooError unless every value is a finite number above 0."""
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < float("inf"):
            raise AttnzooError(f"{module}: {name}={value!r} is not a number above 0.")


def probability(module: str, **values: float) -> None:
    """Raise AttnzooError unless every value lies in [0, 1)."""
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < 1:
            raise AttnzooError(f"{module}: {name}={value!r} is no probability; use a number from 0 up to below 1.")


def share(module: str, **values: float) -> None:
    """Raise AttnzooError unless every value lies in [0, 1]."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise AttnzooError(f"{module}: {name}={value!r} is no share; use a number from 0 to 1.")


def divisible(module: str, dividend: str, value: int, **divisors: int) -> None:
    """Raise AttnzooError unless every divisor divides `value`, the argument called `dividend`."""
    for name, divisor in divisors.items():
        if value % divisor:
            raise AttnzooError(f"{module}: {name}={divisor} does not divide {dividend}={value}.")


def reduced(module: str, channels: int, reduction: int, of: str = "channels") -> int:
    """Give channels // reduction, or raise AttnzooError where that leaves none; `of` says what is reduced."""
    positive(module, channels=channels, reduction=reduction)
    if channels < reduction:
        raise AttnzooError(f"{module}: reduction={reduction} leaves no {of} of {channels}; use at most {channels}.")
    return channels // reduction


def choice(module: str, options: Collection[str | int], **values: str | int) -> None:
    """Raise AttnzooError unless every value is one of the options."""
    for name, value in values.items():
        if not isinstance(value, str | int) or value not in options:
            raise AttnzooError(f"{module}: {name}={value!r} is unknown; use one of {', '.join(map(str, options))}.")


def sequence(module: str, length: int | None = None, least: int = 1, **values: Sequence[object]) -> None:
    """Raise AttnzooError unless every value is a list or tuple of `length`, or of at least `least`, items."""
    for name, value in values.items():
        wanted = f"{length}" if length is not None else f"at least {least}"
        if not isinstance(value, (list, tuple)):  # torch 2.8 cannot trace list | tuple
            given = type(value).__name__ if isinstance(value, Tensor) else repr(value)
            raise AttnzooError(f"{module}: {name}={given} is not a list or tuple of {wanted} items.")
        if len(value) < least or length not in (None, len(value)):
            raise AttnzooError(f"{module}: {name}={value!r} has {len(value)} items; give {wanted}.")


def pair(module: str, name: str, value: int | Sequence[int], least: int = 1) -> tuple[int, int]:
    """Give the value of an argument as two integers of at least `least`; a single one stands for both."""
    both = (value, value) if isinstance(value, int) else value
    sequence(module, 2, 1, **{name: both})
    at_least(module, least, **(items(**{name: both}) if both is value else {name: value}))
    return both[0], both[1]


def items(**values: Sequence[Any]) -> dict[str, Any]:
    """{'name[0]': ..., 'name[1]': ...}: the items of lists, named for the other checks."""
    return {f"{name}[{i}]": item for name, value in values.items() for i, item in enumerate(value)}


def between(module: str, least: int, most: int, **values: int) -> None:
    """Raise AttnzooError unless every value is an integer from `least` to `most`."""
    for name, value in values.items():
        if value not in range(least, most + 1):
            raise AttnzooError(f"{module}: {name}={value!r} is not an integer from {least} to {most}.")


def equal(module: str, **values: int) -> None:
    """Raise AttnzooError unless all values are the same."""
    if len(set(values.values())) > 1:
        given = ", ".join(f"{name}={value}" for name, value in values.items())
        raise AttnzooError(f"{module}: {given} differ, but the method needs them equal.")


def halved_groups(module: str, channels: int, groups: int) -> None:
    """Raise AttnzooError unless groups of an even number of channels come out, naming the nearest that fits."""
    if channels % 2:
        raise AttnzooError(f"{module}: channels={channels} is odd, but every group is cut in half.")
    if channels % (2 * groups):
        fitting = max(g for g in range(1, min(groups, channels // 2) + 1) if channels % (2 * g) == 0)
        raise AttnzooError(
            f"{module}: 2 * groups={2 * groups} does not divide channels={channels}; use groups={fitting}."
        )


def head_widths(
    module: str, channels: int, num_heads: int, key_dim: int | None, value_dim: int | None
) -> tuple[int, int]:
    """Give the widths of keys and values per head, channels // num_heads where None, or raise AttnzooError."""
    positive(module, channels=channels, num_heads=num_heads)
    if key_dim is None or value_dim is None:
        divisible(module, "channels", channels, num_heads=num_heads)
    key_dim = channels // num_heads if key_dim is None else key_dim
    value_dim = channels // num_heads if value_dim is None else value_dim
    positive(module, key_dim=key_dim, value_dim=value_dim)
    return key_dim, value_dim


def only_with(module: str, holds: bool, option: str, needs: str) -> None:
    """Raise AttnzooError where an option, given as 'name=value', is used without what it needs."""
    if not holds:
        raise AttnzooError(f"{module}: {option} needs {needs}.")


def no_less(module: str, least: float, **values: float) -> None:
    """Raise AttnzooError unless every value is at least `least`."""
    for name, value in values.items():
        if not value >= least:
            raise AttnzooError(f"{module}: {name}={value!r} is not a number of at least {least:g}.")


def multiple(module: str, of: int, **values: int) -> None:
    """Raise AttnzooError unless every value is a positive multiple of `of`."""
    positive(module, **values)
    for name, value in values.items():
        if value % of:
            raise AttnzooError(
                f"{module}: {name}={value} is no multiple of {of}; use one, such as {value + -value % of}."
            )


def known_checks(given: Collection[str], known: Collection[str]) -> None:
    """Raise AttnzooError unless every name is that of a check of the matrix."""
    for name in given:
        if name not in known:
            raise AttnzooError(f"verify: unknown check {name!r}{nearest(name, known)} Known: {', '.join(known)}.")
