"""Numbers that must survive half precision, and passes over maps."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

SQUARES = dict.fromkeys(  # checks that do not apply to products of features
    ("large-finite-float16", "large-close-float16"),
    "the output grows with the square of the input, past float16's range",
)


def wide(x: Tensor) -> Tensor:
    """The tensor in at least float32: for products and sums that leave float16's range."""
    return x.float() if x.dtype.itemsize < 4 else x


def mean(x: Tensor, dim: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The mean over some dimensions, taken and given in at least float32."""
    return x.mean(dim=dim, keepdim=keepdim, dtype=torch.float32 if x.dtype.itemsize < 4 else None)


def spatial_mean(x: Tensor, keepdim: bool = False) -> Tensor:
    """The mean over H and W in at least float32: (B, C, H, W) -> (B, C), or (B, C, 1, 1) with keepdim."""
    return mean(x, (2, 3), keepdim)


def product(fresh: Tensor, other: Tensor) -> Tensor:
    """The product, written over `fresh`, which nobody else holds, where no gradient will need it again.

    Of two maps of one shape, the result is laid out in memory as `other`.
    """
    if fresh.shape == other.shape and fresh.stride() != other.stride():
        return other * fresh
    return fresh * other if fresh.requires_grad or other.requires_grad else fresh.mul_(other)


def peak(x: Tensor, dim: int | tuple[int, int]) -> Tensor:
    """The maximum over one dimension, or over two that follow each other.

    As x.amax(dim), by what is fastest in eager mode on a CPU: the backward of `amax` takes six times as long as that
    of `max`, its forward a third.
    """
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x.amax(dim)
    if isinstance(dim, tuple):
        return x.flatten(*dim).max(dim[0]).values
    return x.max(dim).values


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which tensors keep their precision; x only names the device."""
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def precisely(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer in its weights' precision even under autocast.

    For logits, whose rounding a softmax amplifies, and for products of features, which may pass float16's range.
    """
    with without_autocast(x):
        return layer(x.to(next(layer.parameters()).dtype))


def laid_out_like(y: Tensor, x: Tensor) -> Tensor:
    """Give y (B, C, ...), laid out in memory as x (B, C, ...) is: channels last, or contiguous.

    A BatchNorm between a map of one layout and a gradient of the other is several times slower.
    """
    return y.movedim(1, -1).contiguous().movedim(-1, 1) if x.stride(1) == 1 else y.contiguous()
