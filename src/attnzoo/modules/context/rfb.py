"""RFB, Receptive Field Block: branches whose kernels and dilations grow together, as receptive fields do."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.registry import Paper, register

RFBNET = Paper(
    title="Receptive Field Block Net for Accurate and Fast Object Detection",
    authors="Liu, Huang, Wang",
    venue="ECCV",
    year=2018,
    url="https://arxiv.org/abs/1711.07767",
)
slow_norm = partial(nn.BatchNorm2d, momentum=0.01)
unit = partial(ConvNormAct, norm_layer=slow_norm)  # convolution, normalisation, ReLU
linear_unit = partial(unit, act_layer=None)


class ReceptiveFields(nn.Module):
    """relu(scale * fuse(concat of the branches) + shortcut(x)).

    Args:
        name: the module's, for its errors.
        in_channels, out_channels: of input and output.
        branches: the units of every branch in turn, to be concatenated.
        width: channels of all branches together.
        stride: of the branches and the shortcut.
        scale: a constant.
    """

    reference_keys = {
        r"branch(\d)\.(\d)\.bn": r"branches.\1.\2.norm",
        r"branch(\d)": r"branches.\1",
        r"ConvLinear\.bn": "fuse.norm",
        "ConvLinear": "fuse",
        r"shortcut\.bn": "shortcut.norm",
    }

    def __init__(
        self,
        name: str,
        in_channels: int,
        out_channels: int,
        branches: Sequence[Sequence[nn.Module]],
        width: int,
        stride: int,
        scale: float,
    ) -> None:
        super().__init__()
        self.name = name
        self.in_channels = in_channels
        self.scale = scale
        self.branches = nn.ModuleList(nn.Sequential(*units) for units in branches)
        self.fuse = linear_unit(width, out_channels)
        self.shortcut = linear_unit(in_channels, out_channels, stride=stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw(self.name, x, self.in_channels)
        shortcut = self.shortcut(x)
        if self.training:
            checks.several_values(self.name, shortcut)
        fused = self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))
        return self.act(shortcut + fused * self.scale)


@register(
    "rfb",
    title="Receptive Field Block",
    contract="context",
    plug_in=True,
    paper=RFBNET,
    source="ruinmessi/RFBNet@0f1d836",
    source_license="MIT",
    summary="Three branches with growing kernels end in 3x3 convolutions of growing dilation, as the receptive fields "
    "of human vision grow with their distance from the centre. What they give is fused, scaled and added to a 1x1 "
    "shortcut.",
    summary_zh="三个分支的卷积核逐渐增大，末端 3x3 卷积的空洞率也随之增大，模仿人眼感受野随离心率的增长。"
    "各分支融合并缩放后，与 1x1 捷径相加。",
    placement="The extra layers of SSD: after fc7, and as the strided layers behind it.",
    reported="RFBNet300 (VGG-16): VOC2007 80.7 mAP, COCO test-dev 30.3 AP.",
    differences=(
        "The paper draws 5x5 kernels where the code has two of 3x3.",
        "The BatchNorms have momentum 0.01, a tenth of torch's default.",
        "The MobileNet variant of the repository has other branches, and is another block.",
    ),
)
class RFB(ReceptiveFields):
    """relu(scale * fuse(concat(b_0, b_1, b_2)) + shortcut(x)), the last 3x3 of b_k dilated by v, v + 1, 2 v + 1.

    Args:
        in_channels: channels of the input, at least 16; its eighth is the unit of width.
        out_channels: channels of the output.
        stride: of the branches and the shortcut.
        scale: how much of the branches is added; 1.0 in some places of the authors' network.
        dilation: v.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)), for any H and W from 1 up.
    Cost: with i = in_channels // 8, about 8 i in_channels / 2 + 166 i^2 + 6 i out_channels + in_channels
        out_channels weights.
    Raises: AttnzooError for in_channels below 16, a stride, dilation or scale below what they may be, a single value
        per channel in training, or an input that is not (B, in_channels, H, W).
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, scale: float = 0.1, dilation: int = 1
    ) -> None:
        checks.at_least("rfb", 16, in_channels=in_channels)
        checks.positive("rfb", out_channels=out_channels, stride=stride, dilation=dilation)
        i, v = in_channels // 8, dilation
        branches = (
            (unit(in_channels, 2 * i, stride=stride), linear_unit(2 * i, 2 * i, 3, dilation=v)),
            (
                unit(in_channels, i),
                unit(i, 2 * i, 3, stride),
                linear_unit(2 * i, 2 * i, 3, dilation=v + 1),
            ),
            (
                unit(in_channels, i),
                unit(i, i // 2 * 3, 3),
                unit(i // 2 * 3, 2 * i, 3, stride),
                linear_unit(2 * i, 2 * i, 3, dilation=2 * v + 1),
            ),
        )
        super().__init__("rfb", in_channels, out_channels, branches, 6 * i, stride, scale)
