"""Every sentence a user may read about a wrong argument or input."""

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from attnzoo.errors import AttnzooError

_T = TypeVar("_T")


def check_types(module: str, make: type) -> None:
    """Let the constructor of a class raise AttnzooError for an argument of another type than it declares.

    Known are int, float, bool, str, callables, sequences of these, and None where it is among the types.
    """
    construct = make.__init__  # type: ignore[misc]
    signature, types = inspect.signature(construct), get_type_hints(construct)

    @functools.wraps(construct)
    def checked(*args: Any, **named: Any) -> None:
        for name, value in signature.bind(*args, **named).arguments.items():
            if name in types and not fits(value, types[name]):
                raise AttnzooError(f"{module}: {name}={value!r} is not {_in_words(types[name])}.")
        construct(*args, **named)

    make.__init__ = checked  # type: ignore[misc]


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
        if not isinstance(value, list | tuple):
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


def nchw(module: str, x: Tensor, channels: int | None = None) -> None:
    """Raise AttnzooError unless x is a floating-point (B, channels, H, W); None takes any channels."""
    _floating(module, x)
    if x.dim() == 4 and (channels is None or x.shape[1] == channels):
        return
    if x.dim() != 4:
        todo = "Reshape tokens to a map first." if x.dim() == 3 else "Give a batch of feature maps."
    elif x.shape[3] == channels:
        todo = "It looks channels-last: permute(0, 3, 1, 2) it first."
    else:
        todo = f"Build the module for {x.shape[1]} channels."
    wanted = "C" if channels is None else channels
    raise AttnzooError(f"{module}: expected (B, {wanted}, H, W), got {_shape(x)}. {todo}")


def tokens(module: str, x: Tensor, channels: int, name: str = "x") -> None:
    """Raise AttnzooError unless x, the argument called `name`, is a floating-point (B, N, channels)."""
    _floating(module, x)
    if x.dim() == 3 and x.shape[2] == channels:
        return
    if x.dim() == 4:
        todo = "Flatten a map to tokens first: flatten(2).transpose(1, 2)."
    elif x.dim() == 3 and x.shape[1] == channels:
        todo = "It looks channels-first: transpose(1, 2) it first."
    else:
        todo = f"Build the module for {x.shape[-1] if x.dim() else 1} channels."
    raise AttnzooError(f"{module}: expected {name} as (B, N, {channels}), got {_shape(x)}. {todo}")


def attention_inputs(
    module: str, channels: int, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> None:
    """Raise AttnzooError unless query is (B, N, C), key and value are (B, M, C), and the mask is boolean."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        tokens(module, x, channels, name)
    if key.shape[:2] != value.shape[:2] or key.shape[0] != query.shape[0]:
        raise AttnzooError(
            f"{module}: expected query (B, N, C), key and value (B, M, C), got {_shape(query)}, {_shape(key)} "
            f"and {_shape(value)}. Give key and value the same length, and all the same batch."
        )
    if mask is not None and mask.dtype != torch.bool:
        raise AttnzooError(
            f"{module}: expected a boolean attention_mask, True where a key is removed, got {mask.dtype}. "
            "Convert it with mask.bool()."
        )


def same_size(module: str, x: Tensor, height: int, width: int) -> None:
    """Raise AttnzooError unless the map is exactly height x width."""
    if x.shape[2] != height or x.shape[3] != width:
        raise AttnzooError(
            f"{module}: expected maps of {height} x {width}, got {_shape(x)}. The method fixes the size: "
            f"build the module with height={x.shape[2]}, width={x.shape[3]}."
        )


def larger_than_one_pixel(module: str, x: Tensor) -> None:
    """Raise AttnzooError for a map of a single pixel, which has no spatial variance."""
    if x.shape[2] * x.shape[3] == 1:
        raise AttnzooError(f"{module}: expected a map of at least 2 pixels, got {_shape(x)}: one has no variance.")


def batch_statistics(module: str, x: Tensor) -> None:
    """Raise AttnzooError for a training batch of one, where pooled vectors are normalised over the batch."""
    if x.shape[0] == 1:
        raise AttnzooError(
            f"{module}: expected a batch of at least 2 in training mode, got {_shape(x)}: the method normalises "
            "pooled vectors over the batch. Use a larger batch, or eval()."
        )


def fixed_size(module: str, x: Tensor, **size: Sequence[int]) -> None:
    """Raise AttnzooError unless the map has the (height, width) that the argument of this name fixed."""
    for name, (height, width) in size.items():
        if x.shape[2] != height or x.shape[3] != width:
            raise AttnzooError(
                f"{module}: expected maps of {height} x {width}, got {_shape(x)}. The method fixes the size: "
                f"build the module with {name}=({x.shape[2]}, {x.shape[3]})."
            )


def shaped(module: str, name: str, x: Tensor | None, sizes: Sequence[int | None]) -> Tensor:
    """Give x, the input called `name`, or raise AttnzooError unless it is a floating-point tensor of these sizes.

    A size of None is any.
    """
    whole = isinstance(x, Tensor) and x.is_floating_point() and x.dim() == len(sizes)
    if isinstance(x, Tensor) and whole and all(n in (None, m) for n, m in zip(sizes, x.shape, strict=True)):
        return x
    wanted = f"{module}: expected {name} as ({', '.join('any' if n is None else str(n) for n in sizes)})"
    if not isinstance(x, Tensor):
        raise AttnzooError(f"{wanted}, got {type(x).__name__}. The module as built needs it.")
    if not x.is_floating_point():
        raise AttnzooError(f"{wanted} in floating point, got {x.dtype}. Convert it with {name}.float().")
    raise AttnzooError(f"{wanted}, got {_shape(x)}. Pass the one that belongs to x, or build the module for it.")


def larger_than_kernel(
    module: str, x: Tensor, kernel_size: Sequence[int], dilation: Sequence[int], padding: Sequence[int]
) -> None:
    """Raise AttnzooError for a map that a convolution's kernel does not fit into, padding included."""
    height, width = (d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel_size, dilation, padding, strict=True))
    if x.shape[2] < height or x.shape[3] < width:
        raise AttnzooError(f"{module}: expected maps of at least {height} x {width}, got {_shape(x)}.")


def absent(module: str, **inputs: Tensor | None) -> None:
    """Raise AttnzooError for an input that the module was not built for."""
    for name, x in inputs.items():
        if x is not None:
            raise AttnzooError(f"{module}: expected no {name}, got one. Build the module for it, or leave it out.")


def several_values(module: str, x: Tensor) -> None:
    """Raise AttnzooError for a single map of a single pixel in training mode, which no BatchNorm can normalise."""
    if x.shape[0] * x.shape[2] * x.shape[3] == 1:
        raise AttnzooError(
            f"{module}: expected more than one value per channel in training mode, got {_shape(x)}: the method "
            "normalises over the batch. Use a larger batch or map, or eval()."
        )


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


def pixels(module: str, x: Tensor, **count: int) -> None:
    """Raise AttnzooError unless the map has as many pixels as the argument of this name fixed."""
    for name, number in count.items():
        if x.shape[2] * x.shape[3] != number:
            raise AttnzooError(
                f"{module}: expected maps of {number} pixels, got {_shape(x)}. The method fixes their number: "
                f"build the module with {name}={x.shape[2] * x.shape[3]}."
            )


def some(module: str, **values: bool) -> None:
    """Raise AttnzooError unless at least one of the values is True."""
    if not any(values.values()):
        raise AttnzooError(f"{module}: {' and '.join(f'{name}=False' for name in values)} leave nothing; turn one on.")


def halved_groups(module: str, channels: int, groups: int) -> None:
    """Raise AttnzooError unless groups of an even number of channels come out, naming the nearest that fits."""
    if channels % 2:
        raise AttnzooError(f"{module}: channels={channels} is odd, but every group is cut in half.")
    if channels % (2 * groups):
        fitting = max(g for g in range(1, min(groups, channels // 2) + 1) if channels % (2 * g) == 0)
        raise AttnzooError(
            f"{module}: 2 * groups={2 * groups} does not divide channels={channels}; use groups={fitting}."
        )


def multiple(module: str, of: int, **values: int) -> None:
    """Raise AttnzooError unless every value is a positive multiple of `of`."""
    positive(module, **values)
    for name, value in values.items():
        if value % of:
            raise AttnzooError(
                f"{module}: {name}={value} is no multiple of {of}; use one, such as {value + -value % of}."
            )


def shape_kept(module: str, projection: str, stride: int, in_channels: int, out_channels: int) -> None:
    """Raise AttnzooError where a plain shortcut does not fit; `projection` names the argument that makes one fit."""
    if stride != 1 or in_channels != out_channels:
        raise AttnzooError(
            f"{module}: stride={stride}, in_channels={in_channels} and out_channels={out_channels} change the shape, "
            f"which the shortcut must follow: set {projection}=True."
        )


def at_least_size(module: str, x: Tensor, least: int) -> None:
    """Raise AttnzooError unless both sides of the map are at least `least`."""
    if x.shape[2] < least or x.shape[3] < least:
        raise AttnzooError(
            f"{module}: expected a map of at least {least} x {least}, got {_shape(x)}: the method shrinks it. "
            "Use larger maps, or place the module at an earlier stage."
        )


def needed(module: str, name: str, value: _T | None, why: str) -> _T:
    """Give the value of an argument, or raise AttnzooError where it is None, saying why it is needed."""
    if value is None:
        raise AttnzooError(f"{module}: {name}=None, but {why}.")
    return value


def same_length(module: str, x: Tensor, **length: int) -> None:
    """Raise AttnzooError unless there are as many tokens as the argument of this name fixed."""
    for name, value in length.items():
        if x.shape[1] != value:
            raise AttnzooError(
                f"{module}: expected {value} tokens, got {_shape(x)}. The method fixes their number: "
                f"build the module with {name}={x.shape[1]}."
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


def nearest(word: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: '; did you mean a, b?', or a full stop where none is near."""
    near = difflib.get_close_matches(str(word).lower(), list(known), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else "."


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type that an argument declares; True where the type is none of those we know."""
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return any(fits(value, one) for one in get_args(kind))
    if kind is int or kind is float:
        numbers = int if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    if get_origin(kind) is Sequence:
        return isinstance(value, list | tuple) and all(fits(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is Callable:
        return callable(value)
    if kind is None or isinstance(kind, type):
        return isinstance(value, kind or type(None))
    return True


def _in_words(kind: Any) -> str:
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return " or ".join(_in_words(one) for one in get_args(kind))
    if get_origin(kind) is Sequence:
        return f"a list or tuple, each item {_in_words(get_args(kind)[0])}"
    if get_origin(kind) is Callable:
        return "a callable such as a class"
    words = {int: "an integer", float: "a finite number", bool: "True or False", str: "a string", type(None): "None"}
    return words.get(kind, str(kind))


def _floating(module: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise AttnzooError(f"{module}: expected a tensor, got {type(x).__name__}.")
    if not x.is_floating_point():
        raise AttnzooError(f"{module}: expected floating-point numbers, got {x.dtype}. Convert it with x.float().")


def _shape(x: Tensor) -> str:
    return f"({', '.join(map(str, x.shape))})"
