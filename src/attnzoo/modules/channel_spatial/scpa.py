"""SCPA, Self-Calibrated convolution with Pixel Attention: a plain and a gated branch, merged onto the input."""

from functools import partial

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.spatial.pixel_attention import PAN, PixelAttention
from attnzoo.registry import register

_conv_act = partial(ConvNormAct, norm_layer=None, act_layer=partial(nn.LeakyReLU, 0.2))


@register(
    "scpa",
    title="Self-calibrated convolution with pixel attention",
    contract="feature",
    paper=PAN,
    source="zhaohengyuan1/PAN@4d045d1",
    source_license="none found",
    summary="Splits the input into two branches of half the channels, of which one gates every element of its "
    "convolution's output, and adds their merged result to the input. It needs no normalisation.",
    summary_zh="将输入分成两路、各占一半通道，其中一路对卷积输出逐元素加门，合并后加回输入。全程不使用归一化。",
    placement="The trunk of PAN, 16 in a row.",
    reported="No headline figure recorded here.",
    differences=(
        "It derives from the bottleneck of self-calibrated convolutions, sc_bottleneck, without its BatchNorm and "
        "pooling.",
        "The authors' class has a reduction, but concatenates two branches, so that only 2 fits; here it is fixed.",
    ),
)
class SCPA(nn.Module):
    """x + merge(plain(x), gated(x)), both branches on w = C / 2 channels.

    Args:
        channels: C, the channels of the input, even.
        dilation: of the plain branch's 3x3 convolution.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 9 C^2 + C / 2 parameters, and 9 C^2 H W multiply-adds.
    Raises: AttnzooError for odd channels, dilation below 1, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "conv1_a": "plain.0.conv",
        r"k1\.0": "plain.1.conv",
        "conv1_b": "gated.0.conv",
        r"PAConv\.k2": "gated.1.pixel.conv",
        r"PAConv\.k3": "gated.1.conv",
        r"PAConv\.k4": "gated.2.conv",
        "conv3": "merge",
    }

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        checks.positive("scpa", channels=channels, dilation=dilation)
        checks.divisible("scpa", "channels", channels, halves=2)
        self.channels = channels
        width = channels // 2
        self.plain = nn.Sequential(
            _conv_act(channels, width),
            _conv_act(width, width, 3, dilation=dilation),
        )
        self.gated = nn.Sequential(
            _conv_act(channels, width),
            PixelGatedConv(width),
            _conv_act(width, width, 3),
        )
        self.merge = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("scpa", x, self.channels)
        return x + self.merge(torch.cat([self.plain(x), self.gated(x)], dim=1))


class PixelGatedConv(nn.Module):
    """A 3x3 convolution of x, scaled by pixel attention's gate on x itself. (B, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pixel = PixelAttention(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.pixel.gate(x)
