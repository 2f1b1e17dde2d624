"""Kernels that are fused, mixed or computed."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks.precision import laid_out_like, wide, without_autocast


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
    the groups, a sum of matrix products, one for each tap of the kernel; so too where there is but one, or no sample.
    The bias is (B, out), or None.
    """
    kernels = kernels.to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    if torch.compiler.is_exporting() or kernels.shape[3:] == (1, 1) or x.shape[0] == 0:
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
