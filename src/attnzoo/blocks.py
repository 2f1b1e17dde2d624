"""The vocabulary that modules share."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.kernels.attention import attention

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


def affinity(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Softmax over the keys of scale * q k^T, stored in full: (B, h, N, d), (B, h, M, d) -> (B, h, N, M).

    `scale` is 1/sqrt(d) by default. `weights` (B, h, N, M) multiply the logits; then `mask`, True where a key is
    removed, takes effect.
    """
    logits = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
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
    scale: float | None = None,
) -> Tensor:
    """`affinity` times v, its entries dropped with probability `dropout`: (B, h, N, d) -> (B, h, N, dv).

    Only multiplicative weights need the stored map; without them it is never formed where torch can avoid it.
    """
    if weights is None and mask is None and not dropout:
        return attention(q, k, v, scale)
    if weights is None:
        keep = None if mask is None else ~mask
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout, scale=scale)
    return F.dropout(affinity(q, k, mask, weights, scale), dropout) @ v


def by_offset(table: Tensor, queries: int) -> Tensor:
    """(2 M - 1, d) -> (queries, M, d): entry [i, j] is the table's row for the offset j - i, from 1 - M up."""
    keys = (table.shape[0] + 1) // 2
    i, j = (torch.arange(n, device=table.device) for n in (queries, keys))
    return table[j - i[:, None] + keys - 1]


def position_terms(q: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """What the queries of a map give to each row and each column of the keys' map.

    q (B, h, H W, d), rows (H, H', d), columns (W, W', d) -> (B, h, H W, H'), (B, h, H W, W'): the products of the query
    of place (y, x) with rows[y] and columns[x]. Where heads have vectors of their own, (h, H, H', d), (h, W, W', d).
    """
    q = q.unflatten(2, (rows.shape[-3], columns.shape[-3]))
    down, across = q @ rows.mT, (q.transpose(2, 3) @ columns.mT).transpose(2, 3)
    return down.flatten(2, 3), across.flatten(2, 3)


def with_positions(q: Tensor, k: Tensor, down: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Widen queries and keys so that q k^T gains down[..., y'] + across[..., x'] for the key of row y', column x'.

    The query carries its numbers for all rows and columns, the key a one in its own. Attend to these with scale=1.
    q (B, h, N, d), k (B, h, H' W', d), down (B, h, N, H'), across (B, h, N, W').
    """
    height, width = down.shape[3], across.shape[3]
    y, x = (torch.arange(n, device=k.device) for n in (height, width))
    in_row, in_column = (y[:, None] == y)[:, None].expand(-1, width, -1), (x[:, None] == x).expand(height, -1, -1)
    places = torch.cat([in_row, in_column], dim=2).flatten(0, 1).to(k.dtype).expand(*k.shape[:2], -1, -1)
    return torch.cat([q, down, across], dim=3), torch.cat([k, places], dim=3)


def coordinates(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (1, 2, H, W) in at least float32: column and row of each place, from -1 to 1, -1 if alone."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    rows, columns = (
        torch.arange(n, dtype=dtype, device=x.device).mul(2 / torch.sym_max(n - 1, 1)) - 1 for n in x.shape[2:]
    )
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]


def neighbours(
    x: Tensor, height: int, width: int, kernel_size: int, stride: int = 1, dilation: int = 1
) -> list[Tensor]:
    """What height x width windows of a padded map (..., H', W') hold at each of their k^2 places, row by row.

    The entries (..., height, width) are views. A loop over them is faster than any form that stores all the windows,
    by five times or so on a CPU, and needs k^2 times less memory.
    """
    x, reach = x.contiguous(), kernel_size * dilation
    down, across = (height - 1) * stride + 1, (width - 1) * stride + 1
    rows = [x[..., i : i + down : stride, :] for i in range(0, reach, dilation)]
    return [row[..., j : j + across : stride] for row in rows for j in range(0, reach, dilation)]


def windows(x: Tensor, kernel_size: int, stride: int = 1, dilation: int = 1) -> Tensor:
    """All windows of a padded map (B, C, H', W') as a view (B, C, k, k, H, W), for what must be stored for each."""
    span = dilation * (kernel_size - 1) + 1
    held = x.contiguous().unfold(2, span, stride).unfold(3, span, stride)[..., ::dilation, ::dilation]
    return held.permute(0, 1, 4, 5, 2, 3)


def neighbour_products(q: Tensor, k: Tensor, kernel_size: int, stride: int = 1) -> Tensor:
    """The products q k^T within windows: (B, h, d, H, W), padded keys (B, h, d, H', W') -> (B, h, k^2, H, W)."""
    height, width = q.shape[-2:]
    q = q.contiguous()
    return torch.stack([(q * key).sum(dim=2) for key in neighbours(k, height, width, kernel_size, stride)], dim=2)


def neighbour_sum(weights: Tensor, values: Tensor, kernel_size: int, stride: int = 1, dilation: int = 1) -> Tensor:
    """Sum each window with its weights: (..., k^2, H, W), padded values (..., H', W') -> (..., H, W), in float32.

    Weights and values may have any leading dimensions that broadcast.
    """
    height, width = weights.shape[-2:]
    each = zip(
        neighbours(wide(values), height, width, kernel_size, stride, dilation), weights.unbind(dim=-3), strict=True
    )
    value, weight = next(each)
    y = value * weight
    for value, weight in each:
        y = torch.addcmul(y, value, weight)
    return y


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


def fuse_conv_bn(weight: Tensor, bias: Tensor | None, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that equals a convolution and then `bn` in eval mode.

    `weight` (out, in / groups, h, w) and `bias` (out) are the convolution's; None stands for no bias. The
    results are in at least float32.
    """
    mean, variance = checks.running_statistics(bn)
    scale = (wide(variance) + bn.eps).rsqrt()
    if bn.weight is not None:
        scale = scale * bn.weight
    shift = -mean * scale if bias is None else (bias - mean) * scale
    return weight * scale[:, None, None, None], shift if bn.bias is None else shift + bn.bias


def plain_conv(weight: Tensor, bias: Tensor, like: nn.Conv2d) -> nn.Conv2d:
    """A convolution of this weight and bias, otherwise as `like`."""
    conv = nn.Conv2d(
        like.in_channels,
        like.out_channels,
        like.kernel_size,  # type: ignore[arg-type]
        like.stride,  # type: ignore[arg-type]
        like.padding,  # type: ignore[arg-type]
        like.dilation,  # type: ignore[arg-type]
        like.groups,
        padding_mode=like.padding_mode,
        device="meta",
    )
    conv.weight = nn.Parameter(weight.detach().to(like.weight.dtype))
    conv.bias = nn.Parameter(bias.detach().to(like.weight.dtype))
    return conv


def pass_on(bn: nn.BatchNorm2d, bias: Tensor | None = None) -> None:
    """Set a BatchNorm so that in eval mode it adds `bias` (C), or nothing, and no more."""
    bn.reset_running_stats()
    nn.init.constant_(bn.weight, math.sqrt(1 + bn.eps))
    with torch.no_grad():
        bn.bias.zero_() if bias is None else bn.bias.copy_(bias)


def silence(*norms: nn.BatchNorm2d) -> None:
    """Let BatchNorms give zeros at first."""
    for bn in norms:
        nn.init.zeros_(bn.weight)
        nn.init.zeros_(bn.bias)


def widened(kernel: Tensor, height: int, width: int) -> Tensor:
    """A kernel (..., h, w) in the middle of one of height x width, with zeros around it."""
    down, across = (height - kernel.shape[-2]) // 2, (width - kernel.shape[-1]) // 2
    return F.pad(kernel, (across, across, down, down))


def identity_kernel(like: Tensor) -> Tensor:
    """The 1x1 kernel (C, C / groups, 1, 1) that hands every channel on; shaped and typed after a weight `like`."""
    channels, per_group = like.shape[:2]
    eye = torch.eye(per_group, dtype=like.dtype, device=like.device)
    return eye.repeat(channels // per_group, 1)[:, :, None, None]


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of the divisor nearest to a value, at least the divisor and at least 90% of the value."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


def strip_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int],
    norm_layer: Layer = nn.BatchNorm2d,
    act_layer: Activation = nn.ReLU,
) -> nn.Sequential:
    """As `ConvNormAct` with stride 1, for a kernel of odd height and width: the map keeps its size."""
    height, width = kernel_size
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=(height // 2, width // 2), bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=norm_layer(out_channels), act=act_layer()))


def resize(x: Tensor, height: int, width: int, *, align_corners: bool = False) -> Tensor:
    """Bilinear interpolation: (B, C, H, W) -> (B, C, height, width)."""
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=align_corners)


def mixed(shares: Tensor, parts: Tensor) -> Tensor:
    """Sums of parts, weighed for every sample: (B, n), (n, m) -> (B, m), unrounded by autocast."""
    with without_autocast(shares):
        return shares.to(parts.dtype) @ parts


def convolve_each(
    x: Tensor,
    kernels: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Convolve every sample with a kernel of its own: (B, C, H, W), (B, out, C / groups, h, w) -> (B, out, H', W').

    One convolution, with the batch folded into its groups. Exported, where the batch is free but ONNX wants to know
    the groups, a sum of matrix products, one for each tap of the kernel; so too where there is but one. The bias is
    (B, out), or None.
    """
    kernels = kernels.to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    if torch.compiler.is_exporting() or kernels.shape[3:] == (1, 1):
        y = _convolve_by_taps(x, kernels, stride, padding, dilation, groups)
        return laid_out_like(y if bias is None else y + bias[..., None, None], x)
    batch, flat = x.shape[0], None if bias is None else bias.flatten()
    y = F.conv2d(x.flatten(0, 1)[None], kernels.flatten(0, 1), flat, stride, padding, dilation, batch * groups)
    return laid_out_like(y[0].unflatten(0, (batch, -1)), x)


def _convolve_by_taps(
    x: Tensor,
    kernels: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    rows, columns = kernels.shape[3:]
    height, width = (
        (x.shape[i + 2] + 2 * padding[i] - dilation[i] * (kernels.shape[i + 3] - 1) - 1) // stride[i] + 1
        for i in range(2)
    )
    if any(padding):
        x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    x, kernels = x.unflatten(1, (groups, -1)), kernels.unflatten(1, (groups, -1))

    def seen(start: int, count: int, step: int) -> slice:
        return slice(start, start + (count - 1) * step + 1, step)

    taps = (
        kernels[..., i, j]
        @ x[..., seen(i * dilation[0], height, stride[0]), seen(j * dilation[1], width, stride[1])].flatten(3)
        for i in range(rows)
        for j in range(columns)
    )  # (B, groups, out / groups, H' W') each
    y = next(taps)
    for tap in taps:
        y = y + tap
    return y.flatten(1, 2).unflatten(2, (height, width))


class ComputedKernel(nn.Module):
    """What a convolution has besides its kernel, for those that compute theirs: the checked arguments, and their use.

    Args:
        called: the registry name, with which errors begin.
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode: as in `nn.Conv2d`.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        called: str,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        padding: int | Sequence[int],
        dilation: int | Sequence[int],
        groups: int,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        checks.channel_groups(called, in_channels, out_channels, groups)
        self.called = called
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size, self.stride, self.padding, self.dilation = checks.window(
            called, kernel_size, stride, padding, dilation
        )
        self.groups = groups
        self.padding_mode = padding_mode

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """(out_channels, in_channels / groups, height, width)."""
        return self.out_channels, self.in_channels // self.groups, *self.kernel_size

    def fill(self, fan_in: int | None = None) -> None:
        """Draw weight and bias as `nn.Conv2d` does; fan_in is what one output sums, the kernel's places by default."""
        bound = (math.prod(self.kernel_shape[1:]) if fan_in is None else fan_in) ** -0.5
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def several(self, count: int) -> nn.Parameter:
        """Kernels to be mixed, not yet filled: (count, -1), as `Module.to(memory_format=...)` fails for five axes."""
        return nn.Parameter(torch.empty(count, math.prod(self.kernel_shape)))

    def shaped(self, kernels: Tensor) -> Tensor:
        """(n, -1) -> (n, *kernel_shape), a view."""
        return kernels.unflatten(1, self.kernel_shape)

    def check(self, x: Tensor) -> None:
        """Raise AttnzooError unless x is a map that the kernel fits into."""
        checks.nchw(self.called, x, self.in_channels)
        checks.larger_than_kernel(self.called, x, self.kernel_size, self.dilation, self.padding)
        checks.paddable(self.called, x, self.padding, self.padding_mode)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        """With one kernel of `kernel_shape`, or (B, *kernel_shape) for each sample its own; so too the bias (out)."""
        if kernel.dim() == 5:
            biases = bias if bias is None else bias.expand(x.shape[0], -1)
            return convolve_each(x, kernel, biases, self.stride, self.padding, self.dilation, self.groups)
        bias = None if bias is None else bias.to(x.dtype)
        padding = self.padding
        if self.padding_mode != "zeros":
            height, width = padding
            x, padding = F.pad(x, (width, width, height, height), mode=self.padding_mode), (0, 0)
        return F.conv2d(x, kernel.to(x.dtype), bias, self.stride, padding, self.dilation, self.groups)

    def plain(self, kernel: Tensor, bias: Tensor | None) -> nn.Conv2d:
        """A plain convolution of this kernel, otherwise alike."""
        conv = plain_conv(kernel, kernel[:, 0, 0, 0] if bias is None else bias, like=self)  # type: ignore[arg-type]
        if bias is None:
            conv.bias = None
        return conv

    def taken_over(self, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
        """Weight and bias, zero for none, of a convolution to be taken over; AttnzooError where its form is another."""
        checks.same_convolution(self.called, conv, self)  # type: ignore[arg-type]
        fits = conv.bias is None or self.bias is not None
        checks.takes_over(self.called, conv, fits, "one without bias, as it was built with bias=False itself")
        weight = conv.weight.detach()
        return weight, weight.new_zeros(self.out_channels) if conv.bias is None else conv.bias.detach()


def drop_path(y: Tensor, probability: float, training: bool) -> Tensor:
    """A residual branch left out for each sample with this probability in training, and scaled up to make up for it."""
    if not training or not probability:
        return y
    kept = y.new_empty(y.shape[0], *(1,) * (y.dim() - 1)).bernoulli_(1 - probability)
    return y * (kept / (1 - probability))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every place: (B, C, H, W) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
