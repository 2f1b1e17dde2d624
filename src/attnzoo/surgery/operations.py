"""What the functions of torch do to a tensor, as far as a model's structure shows in it."""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

Shape = tuple[int, ...]

ADDING: Final = {"add", "add_", "__add__", "__radd__", "__iadd__"}
SCALING: Final = {"mul", "mul_", "__mul__", "__rmul__", "__imul__"}
WEIGHTED: Final = {
    *(f"conv{n}d" for n in (1, 2, 3)),
    *(f"conv_transpose{n}d" for n in (1, 2, 3)),
    *("linear", "bilinear", "deform_conv2d", "multi_head_attention_forward", "lstm", "gru"),
}
MIXING: Final = {"matmul", "__matmul__", "bmm", "einsum", "scaled_dot_product_attention", "rfft2", "fft2", "cumsum"}
POOLING: Final = {"avg_pool2d", "max_pool2d"}
UPSAMPLING: Final = {"interpolate", "upsample", "grid_sample", "pixel_shuffle", "conv_transpose2d"}
SLICING: Final = {"__getitem__", "chunk", "split", "split_with_sizes", "narrow", "unbind", "select", "tensor_split"}
_PERMUTING: Final = {"permute", "transpose", "transpose_", "swapaxes", "swapdims", "movedim", "t", "T", "mT"}
_RESHAPING: Final = {
    function.__name__
    for function in (Tensor.view, torch.reshape, torch.flatten, Tensor.unflatten, torch.squeeze, torch.unsqueeze)
}
_COPYING: Final = {"contiguous", "clone", "to", "type", "type_as", "float", "half", "bfloat16", "dropout", "detach"}
REORDERING: Final = _PERMUTING | _COPYING  # no value changes, and no dimension is merged or cut
VIEWING: Final = REORDERING | _RESHAPING  # no value changes

_CHANNELS_SECOND: Final = {
    *(name for name in WEIGHTED if name.startswith("conv")),
    *("deform_conv2d", "batch_norm", "group_norm", "instance_norm", "interpolate", "upsample", "pixel_shuffle"),
    *("avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "pixel_unshuffle"),
}
_CHANNELS_LAST: Final = {"linear", "layer_norm", "rms_norm", "multi_head_attention_forward", "lstm", "gru"}
_CHANNELS_UNKNOWN: Final = MIXING | {"stack", "unbind"}


def permutation(function: str, arguments: Sequence[Any], named: dict[str, Any], dims: int) -> tuple[int, ...] | None:
    """For a function that permutes dimensions: which of the input's each of the output's is."""
    if function not in _PERMUTING:
        return None
    order = list(range(dims))
    if function == "permute":
        given = named.get("dims", arguments)
        given = given[0] if len(given) == 1 and isinstance(given[0], Sequence) else given
        return tuple(d % dims for d in given)
    if function == "movedim":
        source, target = (
            named.get(key, value) for key, value in zip(("source", "destination"), arguments, strict=True)
        )
        if not isinstance(source, int) or not isinstance(target, int):
            return None
        order.insert(target % dims, order.pop(source % dims))
        return tuple(order)
    a, b = (-2, -1) if function in ("t", "mT") else (0, 0)
    if function.startswith(("transpose", "swap")):
        a, b = [*arguments, *named.values()][:2]
    elif function == "T":
        return tuple(reversed(order))
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def axis_of_made(
    function: str, order: tuple[int, ...] | None, before: Shape, axis: int | None, after: Shape
) -> int | None:
    """Which dimension of a result holds the channels, where that is known.

    Args:
        function: its name.
        order: its `permutation`.
        before, axis: shape and channel dimension of what it was made from.
        after: the shape of the result.
    """
    dims = len(after)
    if function in _CHANNELS_SECOND:
        return 1
    if function in _CHANNELS_LAST:
        return dims - 1
    if axis is None or function in _CHANNELS_UNKNOWN:
        return None
    if order is not None:
        return order.index(axis)
    if function in _RESHAPING:
        return _same_dimension(before, axis, after)
    return axis if dims == len(before) else None


def axis_of_read(
    function: str, order: tuple[int, ...] | None, after: Shape, axis: int | None, before: Shape
) -> int | None:
    """Which dimension of what a function read holds the channels, where its result tells; the arguments as above."""
    dims = len(before)
    if function in _CHANNELS_SECOND:
        return 1 if dims > 1 else None
    if function in _CHANNELS_LAST:
        return dims - 1
    if axis is None or function in _CHANNELS_UNKNOWN:
        return None
    if order is not None:
        return order[axis]
    if function in _RESHAPING:
        return _same_dimension(after, axis, before)
    return axis if dims == len(after) else None


def _same_dimension(one: Shape, axis: int, other: Shape) -> int | None:
    """Where a dimension of a tensor is in another form of it; None where it is merged or cut."""
    ahead = math.prod(one[:axis])
    fits = (i for i in range(len(other)) if math.prod(other[:i]) == ahead and other[i] == one[axis])
    return next(fits, None)
