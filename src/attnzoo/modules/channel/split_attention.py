"""Split attention (ResNeSt): several versions of the output, mixed per channel by a softmax across them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import NORMS, ConvNormAct, Layer, mean, norm_of, precisely
from attnzoo.registry import Paper, register


@register(
    "split_attention",
    title="Split-Attention convolution (ResNeSt)",
    contract="conv",
    paper=Paper(
        title="ResNeSt: Split-Attention Networks",
        authors="Zhang, Wu, Zhang, Zhu, Lin, Zhang, Sun, He, Mueller, Manmatha, Li, Smola",
        venue="CVPR Workshops",
        year=2022,
        url="https://arxiv.org/abs/2004.08955",
    ),
    source="zhanghang1989/ResNeSt@1dfb3e8; junfu1115/DANet@b0a0fa0 (rectified borders)",
    source_license="Apache-2.0; MIT",
    summary="A grouped convolution makes several versions of the output, and a gate on the mean of their sum weighs "
    "them channel by channel with a softmax across the versions. The weighted versions are summed.",
    summary_zh="用分组卷积产生输出的若干个版本，根据它们之和的均值，在版本之间做 softmax 逐通道加权。"
    "输出为加权后的各版本之和。",
    placement="In place of the 3x3 convolution of a bottleneck, radix 2 with 1x64d or 2x40d; strided blocks take "
    "stride 1 and an average pooling after it.",
    reported="ImageNet top-1 of the authors' release: ResNeSt-50 81.03 (27.48M), ResNeSt-101 82.83 (256 px).",
    differences=(
        "timm's SplitAttn gives the same numbers for the same weights, but rounds the gate's width to a multiple of 8 "
        "and pads by default.",
        "Rectified borders need an extra CUDA package in the original; here they are plain arithmetic.",
        "The DropBlock that the authors may place before the ReLU is left out; it is off in their networks.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class SplitAttention(nn.Module):
    """Sum a_r u_r: u the versions act(norm(conv(x))), a the softmax over them of a gate on the mean of sum u_r.

    Args:
        in_channels: channels of the input; groups * radix divides it.
        out_channels: channels of the output; groups divides it.
        kernel_size, stride, padding, dilation, bias: as in nn.Conv2d.
        groups: cardinal groups, with a softmax each.
        radix: the number of versions; a single one gets a sigmoid.
        reduction: the gate's bottleneck is max(in_channels * radix // reduction, 32) wide; groups divides it.
        rectify: at the borders, scale the convolution by k^2 over the number of taps inside the map.
        rectify_avg: with rectify, by 1 over the number of taps everywhere.
        norm_layer: makes the normalisations, or is 'batch_norm'; None leaves them out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution.
    Cost: out_channels in_channels k^2 / groups weights, and (1 + radix) out_channels m / groups of the gate,
        m its width.
    Raises: AttnzooError for numbers below 1, negative padding, groups that do not divide, an unknown
        norm_layer, a training batch of one with a normalisation, or an input that is not
        (B, in_channels, H, W) or smaller than the kernel.
    """

    reference_keys = {"bn0": "norm", "fc1": "reduce.conv", "bn1": "reduce.norm", "fc2": "select"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        radix: int = 2,
        reduction: int = 4,
        rectify: bool = False,
        rectify_avg: bool = False,
        norm_layer: Layer | str | None = None,
    ) -> None:
        super().__init__()
        checks.positive("split_attention", in_channels=in_channels, out_channels=out_channels)
        checks.positive("split_attention", groups=groups, radix=radix, reduction=reduction)
        if isinstance(norm_layer, str):
            checks.choice("split_attention", NORMS, norm_layer=norm_layer)
        width = max(in_channels * radix // reduction, 32)
        checks.divisible("split_attention", "in_channels", in_channels, **{"groups * radix": groups * radix})
        checks.divisible("split_attention", "out_channels", out_channels, groups=groups)
        checks.divisible("split_attention", "the gate's width", width, groups=groups)
        make_norm = norm_of(norm_layer)
        self.in_channels = in_channels
        self.groups = groups
        self.radix = radix
        self.rectify = rectify
        self.rectify_avg = rectify_avg
        self.kernel_size = checks.pair("split_attention", "kernel_size", kernel_size)
        self.stride = checks.pair("split_attention", "stride", stride)
        self.padding = checks.pair("split_attention", "padding", padding, least=0)
        self.dilation = checks.pair("split_attention", "dilation", dilation)
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        self.conv = nn.Conv2d(in_channels, out_channels * radix, *window, groups=groups * radix, bias=bias)
        self.norm = make_norm(out_channels * radix) if make_norm else nn.Identity()
        self.act = nn.ReLU()
        self.reduce = ConvNormAct(out_channels, width, groups=groups, bias=True, norm_layer=make_norm)
        self.select = nn.Conv2d(width, out_channels * radix, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("split_attention", x, self.in_channels)
        checks.larger_than_kernel("split_attention", x, self.kernel_size, self.dilation, self.padding)
        if self.training and not isinstance(self.norm, nn.Identity):
            checks.batch_statistics("split_attention", x)
        u = self.conv(x)
        if self.rectify and any(self.padding):
            u = u * self._rectification(x)
        versions = self.act(self.norm(u)).unflatten(1, (self.radix, -1))  # (B, R, C, H', W')
        weights = self.gate(versions)[..., None, None]
        mixed = versions[:, 0] * weights[:, 0]
        for r in range(1, self.radix):
            mixed = torch.addcmul(mixed, versions[:, r], weights[:, r])
        return mixed

    def gate(self, versions: Tensor) -> Tensor:
        """(B, R, C, H', W') -> their weights (B, R, C), which sum to 1 over the versions where there are several."""
        means = mean(versions, (3, 4)).sum(dim=1)  # (B, C)
        logits = precisely(self.select, precisely(self.reduce, means[:, :, None, None]))  # (B, R * C, 1, 1)
        grouped = logits.flatten(1).unflatten(1, (self.groups, self.radix, -1))
        weights = grouped.sigmoid() if self.radix == 1 else grouped.softmax(dim=2)
        return weights.transpose(1, 2).flatten(2).to(versions.dtype)

    def _rectification(self, x: Tensor) -> Tensor:
        """The factors (H', W') of the convolution's output."""
        down, across = (self._taps(x, dim) for dim in (2, 3))
        taps = down[:, None] * across
        return (1 if self.rectify_avg else math.prod(self.kernel_size)) / taps.clamp_min(
            1
        )  # a window wholly in the padding gives 0

    def _taps(self, x: Tensor, dim: int) -> Tensor:
        """How many taps of the kernel lie inside the map, at every output place along a dimension."""
        size, i = x.shape[dim], dim - 2
        stride, padding, dilation = self.stride[i], self.padding[i], self.dilation[i]
        reach = dilation * (self.kernel_size[i] - 1)
        starts = torch.arange(-padding, size + padding - reach, stride, device=x.device)
        taps = starts[:, None] + torch.arange(0, reach + 1, dilation, device=x.device)
        return ((taps >= 0) & (taps < size)).sum(dim=1).to(x.dtype)
