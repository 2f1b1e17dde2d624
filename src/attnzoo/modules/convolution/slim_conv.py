"""SlimConv: channels weighed twice, forwards and flipped, folded in half, and convolved at two widths."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, spatial_mean
from attnzoo.modules.convolution.fused_conv_bn import FusedConvBN
from attnzoo.registry import Paper, register


@register(
    "slim_conv",
    title="SlimConv",
    contract="feature",
    plug_in=False,
    paper=Paper(
        title="SlimConv: Reducing Channel Redundancy in Convolutional Neural Networks by Features Recombining",
        authors="Qiu, Chen, Liu, Zhang, Zeng",
        venue="IEEE TIP",
        year=2021,
        url="https://arxiv.org/abs/2003.07469",
    ),
    source="JiaxiongQ/SlimConv@da81d83",
    source_license="MIT",
    summary="Weighs the channels by a gate and by the same gate in reverse order, adds the halves of each weighed map, "
    "and convolves one at full and one at half width. Three quarters of the channels come out.",
    summary_zh="分别用一个通道门及其逆序门对通道加权，将每张加权图的前后两半相加，再以全宽与半宽各做一次卷积。"
    "输出的通道数为输入的四分之三。",
    placement="In place of the 3x3 convolution of a ResNet or ResNeXt bottleneck, ReLU after it; the next 1x1 takes "
    "3/4 of the channels.",
    reported="Authors' table: Sc-ResNet-50 (k=4/3) ImageNet top-1 error 22.77, 16.76M parameters, 2.65 GFLOPs.",
    differences=(
        "The paper has free reduction factors; the authors' code fixes halves and quarters (k = 4/3).",
        "The published file mixes tabs and spaces, which Python 3 refuses; a collection repaired just this.",
    ),
)
class SlimConv(nn.Module):
    """[norm(conv_3(halved(w x))), norm(conv_3(relu(norm(conv_1(halved(w' x))))))], w' the gate w in reverse order.

    `halved` adds the second half of the channels to the first.

    Args:
        channels: C, the channels of the input, a multiple of 4.
        stride, groups, dilation: of both 3x3 convolutions; groups divides C / 4.
        reduction: the gate's bottleneck is C // reduction wide.

    Shape: (B, C, H, W) -> (B, 3 C / 4, ceil(H / stride), ceil(W / stride)).
    Cost: about 9 (C^2 / 4 + C^2 / 16) / groups + C^2 / 8 + 2 C^2 / reduction weights.
    Raises: AttnzooError for channels that are no multiple of 4, a gate without channels, groups that do not divide,
        a training batch of one, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"fc\.0": "squeeze.conv",
        r"fc\.1": "squeeze.norm",
        r"fc\.3": "expand",
        r"conv2_1\.0": "top.conv",
        r"conv2_1\.1": "top.norm",
        r"conv2_2\.0": "reduce.conv",
        r"conv2_2\.1": "reduce.norm",
        r"conv2_2\.3": "bottom.conv",
        r"conv2_2\.4": "bottom.norm",
    }

    def __init__(self, channels: int, stride: int = 1, groups: int = 1, dilation: int = 1, reduction: int = 32) -> None:
        super().__init__()
        checks.positive("slim_conv", channels=channels, stride=stride, groups=groups, dilation=dilation)
        checks.multiple("slim_conv", 4, channels=channels)
        checks.divisible("slim_conv", "channels / 4", channels // 4, groups=groups)
        width = checks.reduced("slim_conv", channels, reduction)
        half, quarter = channels // 2, channels // 4
        window = (3, stride, dilation, dilation, groups)
        self.channels = channels
        self.squeeze = ConvNormAct(channels, width)
        self.expand = nn.Conv2d(width, channels, 1)
        self.top = FusedConvBN(half, half, *window, bias=False)
        self.reduce = FusedConvBN(half, quarter, 1, bias=False)
        self.act = nn.ReLU()
        self.bottom = FusedConvBN(quarter, quarter, *window, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("slim_conv", x, self.channels)
        if self.training:
            checks.batch_statistics("slim_conv", x)
        w = self.gate(x)
        top = self.top(_halved(x, w))
        bottom = self.bottom(self.act(self.reduce(_halved(x, w.flip(1)))))
        return torch.cat([top, bottom], dim=1)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        logits = precisely(self.expand, precisely(self.squeeze, spatial_mean(x, keepdim=True)))
        return logits.sigmoid().to(x.dtype)


def _halved(x: Tensor, w: Tensor) -> Tensor:
    """The second half of the channels of w x added to the first: (B, C, H, W) -> (B, C / 2, H, W)."""
    (first, second), (a, b) = x.chunk(2, dim=1), w.chunk(2, dim=1)
    return torch.addcmul(first * a, second, b)
