"""The vocabulary that modules share."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = Callable[[int], nn.Module]  # channels -> normalisation
Activation = Callable[[], nn.Module]
SQUARES = dict.fromkeys(  # checks that do not apply to products of features
    ("large-finite", "large-close"), "the output grows with the square of the input, past float16's range"
)


class ConvNormAct(nn.Module):
    """Convolution, normalisation, activation; at stride 1 the map keeps its size.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias: as in `nn.Conv2d`.
        norm_layer: makes the normalisation for out_channels; None leaves it out.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for odd kernels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        norm_layer: Layer | None = nn.BatchNorm2d,
        act_layer: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=bias)
        self.norm = norm_layer(out_channels) if norm_layer else nn.Identity()
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class BottleneckMLP(nn.Module):
    """Two linear layers with an activation between: the usual predictor of channel gates.

    Shape: (B, channels) -> (B, out_channels), logits, unrounded by autocast; out_channels is channels by default.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        bias: bool,
        act_layer: Activation = nn.ReLU,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden, channels if out_channels is None else out_channels, bias=bias)

    def forward(self, z: Tensor) -> Tensor:
        return precisely(self.fc2, self.act(precisely(self.fc1, z)))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, heads * d) -> (B, heads, N, d): head h takes the h-th run of d channels."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads * d), the inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)


def affinity(q: Tensor, k: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Softmax over the keys of q k^T / sqrt(d), stored in full: (B, h, N, d), (B, h, M, d) -> (B, h, N, M).

    `weights` (B, h, N, M) multiply the logits; then `mask`, True where a key is removed, takes effect.
    """
    logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if weights is not None:
        logits = logits * weights
    if mask is not None:
        logits = logits.masked_fill(mask, float("-inf"))
    return logits.softmax(dim=-1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """`affinity` times v, its entries dropped with probability `dropout`: (B, h, N, d) -> (B, h, N, dv).

    Only multiplicative weights need the stored map; without them it is never formed where torch can avoid it.
    """
    if weights is None:
        keep = None if mask is None else ~mask
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout)
    return F.dropout(affinity(q, k, mask, weights), dropout) @ v


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C), row by row."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), the inverse of `to_tokens`."""
    return tokens.transpose(1, 2).unflatten(2, (height, width))


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


def depthwise(channels: int, kernel_size: int | tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """One filter per channel, with bias, for an odd kernel: the map keeps its size."""
    height, width = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    padding = (dilation * (height - 1) // 2, dilation * (width - 1) // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, dilation=dilation, groups=channels)


class GatedProjection(nn.Module):
    """x + proj_out(h * gating.gate(h)), h = gelu(proj_in(x)): the shell of the large-kernel attentions.

    Args:
        channels: of input and output.
        gating: a module with a method `gate`, (B, channels, H, W) -> the same; its `reference_keys` are used.

    Shape: (B, channels, H, W) -> the same.
    """

    def __init__(self, channels: int, gating: nn.Module) -> None:
        super().__init__()
        self.channels = channels
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()
        self.gating: Any = gating
        self.proj_out = nn.Conv2d(channels, channels, 1)

    @property
    def reference_keys(self) -> dict[str, str]:
        """The names that VAN, LSKNet and SegNeXt share, then those of the gating."""
        unit = r"spatial_gating_unit\."
        keys = {unit + theirs: f"gating.{ours}" for theirs, ours in self.gating.reference_keys.items()}
        return {"proj_1": "proj_in", "proj_2": "proj_out", **keys}

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.proj_in(x))
        return x + precisely(self.proj_out, wide(h) * self.gating.gate(h)).to(x.dtype)


def covariance(x: Tensor) -> Tensor:
    """The biased covariance of the rows, in at least float32: (B, C, N) -> (B, C, C)."""
    with without_autocast(x):
        deviation = wide(x) - wide(x).mean(dim=2, keepdim=True)
        return deviation @ deviation.mT / x.shape[2]


def averaging(starts: Tensor, ends: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """The matrix (n, size) whose row i averages the places from starts[i] to below ends[i]."""
    places = torch.arange(size, device=starts.device)
    inside = (places >= starts[:, None]) & (places < ends[:, None])
    return inside.to(dtype) / (ends - starts).to(dtype)[:, None]


def adaptive_averaging(x: Tensor, dim: int, cells: int) -> Tensor:
    """The matrix (cells, size) of adaptive average pooling along a dimension of x, coarser or finer.

    Products with it export for any size, which torch's own adaptive pooling does not.
    """
    size, i = x.shape[dim], torch.arange(cells, device=x.device)
    return averaging(i * size // cells, ((i + 1) * size + cells - 1) // cells, size, x.dtype)


def adaptive_avg_pool(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) -> (B, C, height, width) in at least float32, with the windows of `nn.AdaptiveAvgPool2d`."""
    x = wide(x)
    with without_autocast(x):
        return adaptive_averaging(x, 2, height) @ (x @ adaptive_averaging(x, 3, width).mT)


NORMS: dict[str, Layer] = {"batch_norm": nn.BatchNorm2d}  # as a configuration file may call them


def norm_of(layer: Layer | str | None) -> Layer | None:
    """A normalisation, or the one that a name stands for."""
    return NORMS[layer] if isinstance(layer, str) else layer


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """(B, C, ...) -> the same: the channels of the groups dealt out in turn, as by a perfect shuffle."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def laid_out_like(y: Tensor, x: Tensor) -> Tensor:
    """Give y (B, C, H, W), laid out channels-last in memory where x (B, C, H, W) is."""
    return y.contiguous(memory_format=torch.channels_last) if x.stride(1) == 1 else y
