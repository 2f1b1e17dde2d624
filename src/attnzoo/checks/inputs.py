"""Wrong inputs."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attnzoo.checks.arguments import _T
from attnzoo.errors import AttnzooError


def nchw(module: str, x: Tensor, channels: int | None = None, name: str | None = None) -> None:
    """Raise AttnzooError unless x is a floating-point (B, channels, H, W) with a pixel; None takes any channels.

    `name` is that of the argument, where there are several.
    """
    of = f"{name} as " if name else ""
    _floating(module, x, of)
    if x.dim() == 4 and (channels is None or x.shape[1] == channels):
        return _filled(module, x, of)
    if x.dim() != 4:
        todo = "Reshape tokens to a map first." if x.dim() == 3 else "Give a batch of feature maps."
    elif x.shape[3] == channels:
        todo = "It looks channels-last: permute(0, 3, 1, 2) it first."
    else:
        todo = f"Build the module for {x.shape[1]} channels."
    wanted = "C" if channels is None else channels
    raise AttnzooError(f"{module}: expected {of}(B, {wanted}, H, W), got {_shape(x)}. {todo}")


def tokens(module: str, x: Tensor, channels: int, name: str = "x") -> None:
    """Raise AttnzooError unless x, the argument called `name`, is a floating-point (B, N, channels)."""
    _floating(module, x, f"{name} as ")
    if x.dim() == 3 and x.shape[2] == channels:
        return _filled(module, x, f"{name} as ")
    if x.dim() == 4:
        todo = "Flatten a map to tokens first: flatten(2).transpose(1, 2)."
    elif x.dim() == 3 and x.shape[1] == channels:
        todo = "It looks channels-first: transpose(1, 2) it first."
    else:
        todo = f"Build the module for {x.shape[-1] if x.dim() else 1} channels."
    raise AttnzooError(f"{module}: expected {name} as (B, N, {channels}), got {_shape(x)}. {todo}")


def attention_inputs(
    module: str,
    channels: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
) -> None:
    """Raise AttnzooError unless query is (B, N, C), key and value are (B, M, C), and mask and weights fit their map."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        tokens(module, x, channels, name)
    if key.shape[:2] != value.shape[:2] or key.shape[0] != query.shape[0]:
        raise AttnzooError(
            f"{module}: expected query (B, N, C), key and value (B, M, C), got {_shape(query)}, {_shape(key)} "
            f"and {_shape(value)}. Give key and value the same length, and all the same batch."
        )
    if mask is not None:
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            given = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise AttnzooError(
                f"{module}: expected a boolean attention_mask, True where a key is removed, got {given}. "
                "Convert it with mask.bool()."
            )
        _of_map(module, "attention_mask", mask, query, key)
    if weights is not None:
        _floating(module, weights, "attention_weights as ")
        _of_map(module, "attention_weights", weights, query, key)


def _of_map(module: str, name: str, x: Tensor, query: Tensor, key: Tensor) -> None:
    """Raise AttnzooError unless x broadcasts to the map of these tokens."""
    batch, places, keys = query.shape[0], query.shape[1], key.shape[1]
    wanted = {4: batch, 2: places, 1: keys}  # by the place from the right
    if x.dim() > 4 or any(x.shape[-at] not in (1, size) for at, size in wanted.items() if at <= x.dim()):
        raise AttnzooError(
            f"{module}: expected {name} to broadcast to (B, heads, N, M) = ({batch}, heads, {places}, {keys}), got "
            f"{_shape(x)}."
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
        _filled(module, x, f"{name} as ")
        return x
    wanted = f"{module}: expected {name} as ({', '.join('any' if n is None else str(n) for n in sizes)})"
    if not isinstance(x, Tensor):
        raise AttnzooError(f"{wanted}, got {type(x).__name__}. The module as built needs it.")
    if not x.is_floating_point():
        raise AttnzooError(f"{wanted} in floating point, got {x.dtype}. Convert it with {name}.float().")
    raise AttnzooError(f"{wanted}, got {_shape(x)}. Pass the one that belongs to x, or build the module for it.")


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


def times_larger(module: str, factor: int, **maps: Tensor) -> None:
    """Raise AttnzooError unless the first of two named maps is `factor` times as high and wide as the second."""
    (fine, x), (coarse, y) = maps.items()
    if any(n != factor * m for n, m in zip(x.shape[2:], y.shape[2:], strict=True)):
        raise AttnzooError(
            f"{module}: expected {fine} {factor} times as high and wide as {coarse}, {_shape(y)}, got {_shape(x)}. "
            f"Take them from stages whose strides differ by {factor}."
        )


def strides(module: str, backbone: object, wanted: Sequence[int]) -> tuple[list[int], list[int]]:
    """Give the places of the last maps of these strides in what a backbone gives, and their channels.

    Raises AttnzooError where the backbone gives no such maps, or does not tell.
    """
    info = getattr(backbone, "feature_info", None)
    if info is None or not getattr(backbone, "features_only", True):
        raise AttnzooError(
            f"{module}: expected a backbone that gives maps and tells of them in feature_info, got "
            f"{type(backbone).__name__}. Build it with features_only=True."
        )
    given = list(info.reduction())
    if not set(wanted) <= set(given):
        raise AttnzooError(f"{module}: expected a backbone with maps of strides {list(wanted)}, got one of {given}.")
    places = [len(given) - 1 - given[::-1].index(stride) for stride in wanted]
    return places, [info.channels()[place] for place in places]


def class_indices(module: str, target: Tensor, batch: int, classes: int) -> None:
    """Raise AttnzooError unless the target holds, for each sample of the batch, one integer from 0 to below `classes`.

    The values are looked at on the CPU only, and where code reads them: not in a graph, nor under vmap.
    """
    if not isinstance(target, Tensor) or not _counts(target) or tuple(target.shape) != (batch,):
        given = f"{_shape(target)} of {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        raise AttnzooError(f"{module}: expected target as ({batch}), the index of each sample's class, got {given}.")
    if not _holds(target, (target >= 0) & (target < classes)):
        raise AttnzooError(f"{module}: expected classes from 0 to {classes - 1} in target, got {target.tolist()}.")


def class_map(module: str, target: Tensor, logits: Tensor, ignored: int) -> None:
    """Raise AttnzooError unless the target (B, H, W) holds a class, or `ignored`, at each place of logits (B, K, H, W).

    The values are looked at as `class_indices` does.
    """
    batch, classes, *size = logits.shape
    if not isinstance(target, Tensor) or not _counts(target) or tuple(target.shape) != (batch, *size):
        given = f"{_shape(target)} of {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        wanted = ", ".join(map(str, (batch, *size)))
        raise AttnzooError(f"{module}: expected target as ({wanted}), the index of each place's class, got {given}.")
    known = (target >= 0) & (target < classes) | (target == ignored)
    if not _holds(target, known):
        raise AttnzooError(
            f"{module}: expected classes from 0 to {classes - 1}, or {ignored} where none counts, in target, got "
            f"{target[~known].unique().tolist()}."
        )


def _holds(target: Tensor, known: Tensor) -> bool:
    """Whether all classes of a target are known, as far as code reads them here."""
    if target.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    try:
        return bool(known.all())
    except RuntimeError:  # as vmap raises
        return True


def _counts(x: Tensor) -> bool:
    """Whether a tensor holds whole numbers, as indices are."""
    return not (x.is_floating_point() or x.is_complex())


def _floating(module: str, x: Tensor, of: str = "") -> None:
    """`of` is 'low as ' for an argument called low."""
    if not isinstance(x, Tensor):
        raise AttnzooError(f"{module}: expected {of}a tensor, got {type(x).__name__}.")
    if not x.is_floating_point():
        raise AttnzooError(f"{module}: expected {of}floating-point numbers, got {x.dtype}. Convert it with x.float().")


def _filled(module: str, x: Tensor, of: str) -> None:
    """Raise AttnzooError for an input whose samples hold nothing; `of` is as in `_floating`."""
    if any(size == 0 for size in x.shape[1:]):
        raise AttnzooError(f"{module}: expected {of}samples with at least one value, got {_shape(x)}.")


def _shape(x: Tensor) -> str:
    return f"({', '.join(map(str, x.shape))})"
