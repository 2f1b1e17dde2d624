"""Every sentence a user may read about a wrong argument or input."""

import difflib
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

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


def argument_types(module: str, make: Callable[..., object], arguments: Mapping[str, object]) -> None:
    """Raise AttnzooError for an argument of another type than the function that takes it declares."""
    types = get_type_hints(make)
    for name, value in arguments.items():
        if name in types and not fits(value, types[name]):
            raise AttnzooError(f"{module}: {name}={value!r} is not {_in_words(types[name])}.")


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


def not_negative(module: str, **values: float) -> None:
    """Raise AttnzooError unless every value is at least 0."""
    for name, value in values.items():
        if not value >= 0:
            raise AttnzooError(f"{module}: {name}={value!r} is negative; use 0 or more.")


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
    if isinstance(x, Tensor) and whole and all(n is None or n == m for n, m in zip(sizes, x.shape, strict=True)):
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


def axis_length(module: str, x: Tensor, dim: int, **length: int) -> None:
    """Raise AttnzooError unless the map's height (dim 2) or width (dim 3) is what the argument of this name fixed."""
    for name, value in length.items():
        if x.shape[dim] != value:
            side = "height" if dim == 2 else "width"
            raise AttnzooError(
                f"{module}: expected maps of {side} {value}, got {_shape(x)}. The method fixes it: "
                f"build the module with {name}={x.shape[dim]}."
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


def square(module: str, name: str, value: int | Sequence[int]) -> int:
    """Give the value of an argument as one integer of at least 1; two equal ones count as one."""
    height, width = pair(module, name, value)
    if height != width:
        raise AttnzooError(f"{module}: {name}={value!r} is not square; use one integer.")
    return height


def window(
    module: str,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Give kernel_size, stride, padding and dilation of a convolution as two integers each, or raise AttnzooError."""
    return (
        pair(module, "kernel_size", kernel_size),
        pair(module, "stride", stride),
        pair(module, "padding", padding, least=0),
        pair(module, "dilation", dilation),
    )


def centred(
    module: str, kernel_size: int, padding: int | Sequence[int] | None, dilation: int | Sequence[int]
) -> tuple[int, int]:
    """Give the padding that centres an odd kernel on its place; raise AttnzooError where another is asked for."""
    odd(module, kernel_size=kernel_size)
    height, width = (d * (kernel_size // 2) for d in pair(module, "dilation", dilation))
    if padding is not None and pair(module, "padding", padding, least=0) != (height, width):
        raise AttnzooError(
            f"{module}: padding={padding!r} moves kernels of different sizes apart; use {(height, width)}, or None."
        )
    return height, width


def size_kept(module: str, kernel_size: int, padding: int | None) -> int:
    """Give kernel_size // 2, or raise AttnzooError for an even kernel or any other padding but None."""
    odd(module, kernel_size=kernel_size)
    if padding not in (None, kernel_size // 2):
        raise AttnzooError(
            f"{module}: padding={padding!r} changes the map's size under kernel_size={kernel_size}; "
            f"use {kernel_size // 2}, or None."
        )
    return kernel_size // 2


def strided_windows(module: str, x: Tensor, kernel_size: int, padding: int, stride: int) -> None:
    """Raise AttnzooError unless the padded map has as many windows as stride x stride cells, on both sides."""
    for size in x.shape[2:]:
        windows, cells = (size + 2 * padding - kernel_size) // stride + 1, (size - 1) // stride + 1
        if windows != cells:
            raise AttnzooError(
                f"{module}: expected as many windows as cells of {stride} x {stride}, got {windows} and {cells} along "
                f"{size} places of {_shape(x)} for kernel_size={kernel_size}, padding={padding}, stride={stride}; "
                "use an odd kernel_size and padding = kernel_size // 2."
            )


def channel_groups(module: str, in_channels: int, out_channels: int, groups: int) -> None:
    """Raise AttnzooError unless all are positive and the groups divide the channels on both sides."""
    positive(module, in_channels=in_channels, out_channels=out_channels, groups=groups)
    divisible(module, "in_channels", in_channels, groups=groups)
    divisible(module, "out_channels", out_channels, groups=groups)


def paddable(module: str, x: Tensor, padding: Sequence[int], padding_mode: str) -> None:
    """Raise AttnzooError for a map too small for its own padding: a reflection leaves out the border itself."""
    if padding_mode not in ("reflect", "circular"):
        return
    height, width = (p + (padding_mode == "reflect") for p in padding)
    if x.shape[2] < height or x.shape[3] < width:
        raise AttnzooError(
            f"{module}: expected maps of at least {height} x {width} for padding_mode={padding_mode!r}, "
            f"got {_shape(x)}."
        )


def same_convolution(module: str, conv: nn.Conv2d, own: nn.Conv2d) -> None:
    """Raise AttnzooError unless a plain convolution, to be taken over, has the form of the module's own."""
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
        given, wanted = getattr(conv, name), getattr(own, name)
        if given != wanted:
            raise AttnzooError(f"{module}: cannot take over a convolution of {name}={given}; its own is {wanted}.")
    if conv.padding_mode != own.padding_mode:
        raise AttnzooError(
            f"{module}: cannot take over a convolution of padding_mode={conv.padding_mode!r}; its own is "
            f"{own.padding_mode!r}."
        )


def whole_blocks(module: str, x: Tensor, side: int) -> None:
    """Raise AttnzooError unless the map divides into blocks of side x side places."""
    if x.shape[2] % side or x.shape[3] % side:
        raise AttnzooError(
            f"{module}: expected maps whose height and width are multiples of {side}, got {_shape(x)}. Pad them first."
        )


def takes_over(module: str, conv: nn.Conv2d, holds: bool, wanted: str) -> None:
    """Raise AttnzooError unless it holds that a plain convolution can be taken over; `wanted` says which ones can."""
    if not holds:
        raise AttnzooError(f"{module}: cannot take over {conv}; as built it takes {wanted}.")


def bare(module: str, **parts: nn.Module) -> None:
    """Raise AttnzooError unless the parts, which no plain convolution has, are identities; named by their arguments."""
    for name, part in parts.items():
        if not isinstance(part, nn.Identity):
            raise AttnzooError(
                f"{module}: cannot take over a plain convolution, which has nothing like its {name}; build it without."
            )


def running_statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Give the mean and variance that a BatchNorm keeps, or raise AttnzooError where it keeps none."""
    if norm.running_mean is None or norm.running_var is None:
        raise AttnzooError(
            "fold: expected a BatchNorm with running statistics, got track_running_stats=False: what it computes "
            "depends on the batch, so no convolution equals it."
        )
    return norm.running_mean, norm.running_var


def features(module: str, x: Tensor, channels: int, dimension: int) -> None:
    """Raise AttnzooError unless x is floating-point: (B, channels) and as many sides as dimension says."""
    if dimension == 2:
        nchw(module, x, channels)
    else:
        shaped(module, "x", x, (None, channels, *[None] * dimension))


def halvable(module: str, x: Tensor, sides: int = 2) -> None:
    """Raise AttnzooError unless each of the last `sides` dimensions is at least 2, for a pooling that halves them."""
    if any(size < 2 for size in x.shape[x.dim() - sides :]):
        raise AttnzooError(f"{module}: expected sides of at least 2, got {_shape(x)}: the method halves them.")


def even_sides(module: str, x: Tensor) -> None:
    """Raise AttnzooError unless height and width are even."""
    if x.shape[2] % 2 or x.shape[3] % 2:
        raise AttnzooError(
            f"{module}: expected even height and width, got {_shape(x)}: the method halves the map and doubles it "
            "again. Pad it first."
        )


def only_with(module: str, holds: bool, option: str, needs: str) -> None:
    """Raise AttnzooError where an option, given as 'name=value', is used without what it needs."""
    if not holds:
        raise AttnzooError(f"{module}: {option} needs {needs}.")


def windows_with_pixels(module: str, x: Tensor, bins: int) -> None:
    """Raise AttnzooError for a map that leaves one of `bins` equal windows along a side without a pixel."""
    for size in x.shape[2:]:
        window = (size + bins - 1) // bins
        if (window * bins - size + 1) // 2 >= window:
            raise AttnzooError(
                f"{module}: expected maps whose sides fill {bins} equal windows, got {_shape(x)}: one would hold no "
                "pixel. Use a larger map, or smaller bins."
            )


def shrinks_evenly(module: str, x: Tensor, **factor: int) -> None:
    """Raise AttnzooError unless the argument of this name divides height - 1 and width - 1."""
    for name, step in factor.items():
        if (x.shape[2] - 1) % step or (x.shape[3] - 1) % step:
            raise AttnzooError(
                f"{module}: expected height - 1 and width - 1 divisible by {name}={step}, got {_shape(x)}. "
                f"Resize the map, or build the module with {name}=1."
            )


def floating(module: str, x: Tensor) -> None:
    """Raise AttnzooError unless x is a floating-point tensor, of any shape."""
    _floating(module, x)


def several_maps(module: str, maps: Sequence[Tensor], count: int | None = None) -> None:
    """Raise AttnzooError unless there are `count` maps, or at least one where that is None."""
    if len(maps) != count if count is not None else not maps:
        wanted = "at least one map" if count is None else f"{count} maps"
        raise AttnzooError(
            f"{module}: expected {wanted}, one by one, got {len(maps)}. Build the module for as many; pass a list as "
            "module(*maps)."
        )


def no_less(module: str, least: float, **values: float) -> None:
    """Raise AttnzooError unless every value is at least `least`."""
    for name, value in values.items():
        if not value >= least:
            raise AttnzooError(f"{module}: {name}={value!r} is not a number of at least {least:g}.")


def quartered(module: str, x: Tensor) -> None:
    """Raise AttnzooError unless the channels of x come in four equal parts."""
    if x.shape[1] % 4:
        raise AttnzooError(f"{module}: expected (B, 4 C, H, W), got {_shape(x)}. Give each side as many channels.")


def pyramid(module: str, levels: Mapping[str, Tensor], exact: bool = False) -> None:
    """Raise AttnzooError unless maps of one batch, named fine to coarse, halve in size from one to the next.

    Odd sides are halved rounding up, as strided convolutions do, unless `exact`.
    """
    for (fine, x), (coarse, y) in itertools.pairwise(levels.items()):
        halves = all(2 * n in ((m,) if exact else (m, m + 1)) for m, n in zip(x.shape[2:], y.shape[2:], strict=True))
        if x.shape[0] != y.shape[0] or not halves:
            raise AttnzooError(
                f"{module}: expected {coarse} at half the size of {fine}, {_shape(x)}, got {_shape(y)}. Levels of a "
                "pyramid have strides that double, and one batch."
            )


def square_map(module: str, x: Tensor) -> None:
    """Raise AttnzooError unless the map is as high as it is wide."""
    if x.shape[2] != x.shape[3]:
        raise AttnzooError(f"{module}: expected square maps (B, C, S, S), got {_shape(x)}. Crop or resize it first.")


def divided(module: str, x: Tensor, **divisor: int) -> None:
    """Raise AttnzooError unless the argument of this name divides height and width."""
    for name, step in divisor.items():
        if x.shape[2] % step or x.shape[3] % step:
            raise AttnzooError(
                f"{module}: expected height and width divisible by {name}={step}, got {_shape(x)}. Pad the map first, "
                f"or build the module with {name}=1."
            )


def class_indices(module: str, target: Tensor, batch: int) -> None:
    """Raise AttnzooError unless the target holds one integer for each sample of the batch."""
    if not isinstance(target, Tensor) or target.is_floating_point() or tuple(target.shape) != (batch,):
        given = f"{_shape(target)} of {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        raise AttnzooError(f"{module}: expected target as ({batch}), the index of each sample's class, got {given}.")


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
