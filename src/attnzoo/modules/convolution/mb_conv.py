"""MBConv of EfficientNet: widen, filter depthwise, gate by SE, narrow, and add the input where it fits."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, drop_path
from attnzoo.modules.channel.se import SE
from attnzoo.modules.convolution.fused_conv_bn import FusedConvBN
from attnzoo.registry import Paper, register


@register(
    "mb_conv",
    title="Mobile inverted bottleneck with SE (MBConv)",
    contract="conv",
    paper=Paper(
        title="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        authors="Tan, Le",
        venue="ICML",
        year=2019,
        url="https://arxiv.org/abs/1905.11946",
    ),
    source="huggingface/pytorch-image-models@aa4b585",
    source_license="Apache-2.0",
    summary="Widens the channels, filters each by a depthwise convolution, gates them by SE and projects them back "
    "without activation. The input is added where the shape stays.",
    summary_zh="先扩展通道，逐通道做深度卷积，经 SE 加权后再不带激活地投影回来。形状不变时与输入相加。",
    placement="All stages of EfficientNet, expand_ratio 1 in the first.",
    reported="ImageNet top-1 of the paper: EfficientNet-B0 77.1, 5.3M parameters, 0.39 GFLOPs.",
    differences=(
        "Padding and norms are TensorFlow's, as the released weights need; networks trained in PyTorch take "
        "padding=kernel_size // 2, eps=1e-5 and momentum=0.1.",
        "A collection has eps 0.01 and momentum 0.1 by mistake, and pads for one image size, wrong for others at "
        "stride 2.",
        "SE's width is relative to the block's input, not to the widened channels as in MobileNetV3.",
    ),
)
class MBConv(nn.Module):
    """x + project(se(filter(expand(x)))), without x where stride or channels change the shape.

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size: of the depthwise convolution, odd.
        stride: of the depthwise convolution.
        padding: of the depthwise convolution; 'same' is TensorFlow's, uneven where the stride leaves a remainder.
        expand_ratio: the channels between, relative to in_channels; at 1 they are not widened.
        se_ratio: the width of SE's bottleneck relative to in_channels; 0 leaves SE out.
        drop_path: with what probability a sample's branch is left out in training.
        eps, momentum: of the BatchNorms.
        act_layer: makes the activations.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for the padding 'same'.
    Cost: m (in_channels + k^2 + out_channels + 2 r) weights, m the channels between, r the width of SE, and the norms.
    Raises: AttnzooError for numbers below 1, an even kernel, a negative padding or se_ratio, a padding that changes
        the map where it is added, or an input that is not (B, in_channels, H, W) or smaller than the kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | str = "same",
        expand_ratio: int = 6,
        se_ratio: float = 0.25,
        drop_path: float = 0.0,
        eps: float = 1e-3,
        momentum: float = 0.01,
        act_layer: Activation = nn.SiLU,
    ) -> None:
        super().__init__()
        checks.positive("mb_conv", in_channels=in_channels, out_channels=out_channels, stride=stride)
        checks.positive("mb_conv", expand_ratio=expand_ratio)
        checks.odd("mb_conv", kernel_size=kernel_size)
        checks.no_less("mb_conv", 0, se_ratio=se_ratio)
        checks.probability("mb_conv", drop_path=drop_path)
        checks.above_zero("mb_conv", eps=eps)
        checks.share("mb_conv", momentum=momentum)
        self.adds = stride == 1 and in_channels == out_channels
        self.uneven = (kernel_size, stride) if padding == "same" and stride > 1 else None
        if isinstance(padding, str):
            checks.choice("mb_conv", ("same",), padding=padding)
            padding = 0 if self.uneven else kernel_size // 2
        checks.at_least("mb_conv", 0, padding=padding)
        if self.adds:
            checks.centred("mb_conv", kernel_size, padding, 1)
        mid = in_channels * expand_ratio
        self.in_channels = in_channels
        self.drop_path = drop_path
        self.act = act_layer()
        self.expand: nn.Module = nn.Identity()
        if expand_ratio != 1:
            expand = FusedConvBN(in_channels, mid, 1, bias=False, eps=eps, momentum=momentum)
            self.expand = nn.Sequential(expand, self.act)
        self.filter = FusedConvBN(
            mid, mid, kernel_size, stride, padding, groups=mid, bias=False, eps=eps, momentum=momentum
        )
        self.se: nn.Module = nn.Identity()
        if se_ratio > 0:
            width = max(1, round(in_channels * se_ratio))
            self.se = SE(mid, bias=True, hidden_channels=width, act_layer=act_layer)
        self.project = FusedConvBN(mid, out_channels, 1, bias=False, eps=eps, momentum=momentum)

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors' names, which shift by one where nothing is widened."""
        stages = ["conv_dw", "conv_pw"] if isinstance(self.expand, nn.Identity) else ["conv_pw", "conv_dw", "conv_pwl"]
        ours = ["expand.0", "filter", "project"][-len(stages) :]
        keys = {r"se\.conv_reduce": "se.mlp.fc1", r"se\.conv_expand": "se.mlp.fc2"}
        for i, (conv, part) in enumerate(zip(stages, ours, strict=True)):
            keys |= {conv: f"{part}.conv", f"bn{i + 1}": f"{part}.norm"}
        return keys

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mb_conv", x, self.in_channels)
        y = self.expand(x)
        if self.uneven:
            y = F.pad(y, (*_border(y.shape[3], *self.uneven), *_border(y.shape[2], *self.uneven)))
        y = self.project(self.se(self.act(self.filter(y))))
        return x + drop_path(y, self.drop_path, self.training) if self.adds else y


def _border(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """How far TensorFlow pads a side before and after, so that ceil(size / stride) places come out."""
    total: Any = torch.sym_max(kernel_size - stride + -size % stride, 0)
    return total // 2, total - total // 2
