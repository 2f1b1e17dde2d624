"""Self-calibrated convolution: a 3x3 convolution gated by what a coarser scale sees."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer
from attnzoo.registry import Paper, register

SCNET = Paper(
    title="Improving Convolutional Networks with Self-Calibrated Convolutions",
    authors="Liu, Hou, Cheng, Wang, Feng",
    venue="CVPR",
    year=2020,
    url="https://mmcheng.net/scconv/",
)


@register(
    "sc_conv",
    title="Self-calibrated convolution",
    contract="conv",
    plug_in=True,
    paper=SCNET,
    source="MCG-NKU/SCNet@c0b5bd6",
    source_license="none found",
    summary="Convolves the map and a shrunk copy of it; the enlarged result of the copy, added to the input, gates the "
    "convolution, and a last convolution follows. Every place so sees far beyond its 3x3 window.",
    summary_zh="对特征图及其缩小的副本分别卷积；副本的结果放大后与输入相加，作为卷积输出的门，最后再接一个卷积。"
    "每个位置的视野由此远超 3x3 窗口。",
    placement="In place of the 3x3 convolution of a ResNet bottleneck, on half of its channels: see sc_bottleneck.",
    reported="SCNet-50: ImageNet top-1 error 22.19 (25.56M); Faster R-CNN R50-FPN on COCO 37.6 to 40.8 AP.",
    differences=(
        "The paper's module also splits the channels and runs a plain 3x3 convolution on the other half; in the "
        "authors' code that belongs to the block around it.",
        "A popular explanation calls that whole split the self-calibrated convolution, without the block's 1x1 "
        "convolutions and activations.",
        "SCConv of CVPR 2023 (spatial and channel reconstruction) is another method.",
    ),
    example={"pooling_r": 2},
    min_size=2,
    not_applicable={
        "large-close-bfloat16": "logits of half-precision convolutions round by more than a sigmoid's width at 1e3",
    },
)
class SCConv(nn.Module):
    """last(fine(x) sigmoid(x + up(coarse(pool(x))))), each a 3x3 convolution with BatchNorm.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, the same number: the input is part of the gate.
        stride: of the last convolution.
        padding: of all three, equal to the dilation, which keeps the size; None takes it.
        dilation, groups: of all three.
        pooling_r: r, by which the coarse copy is shrunk.
        norm_layer: makes the normalisation.

    Shape: (B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)), for H and W from r up.
    Cost: 27 C^2 / groups weights; 9 C^2 H W (1 / r^2 + 1 + 1 / stride^2) / groups multiply-adds.
    Raises: AttnzooError for out_channels other than in_channels, padding other than the dilation, groups that do
        not divide the channels, a map smaller than r, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        rf"{theirs}\.{first + i}": f"{ours}.{part}"
        for theirs, first, ours in (("k2", 1, "coarse"), ("k3", 0, "fine"), ("k4", 0, "last"))
        for i, part in enumerate(("conv", "norm"))
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        pooling_r: int = 4,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("sc_conv", in_channels=in_channels, stride=stride, dilation=dilation, groups=groups)
        checks.positive("sc_conv", pooling_r=pooling_r)
        if out_channels is not None:
            checks.equal("sc_conv", in_channels=in_channels, out_channels=out_channels)
        if padding is not None:
            checks.equal("sc_conv", padding=padding, dilation=dilation)
        checks.divisible("sc_conv", "in_channels", in_channels, groups=groups)
        self.in_channels, self.pooling_r = in_channels, pooling_r
        self.coarse, self.fine, self.last = (
            ConvNormAct(
                in_channels,
                in_channels,
                3,
                stride=step,
                dilation=dilation,
                groups=groups,
                norm_layer=norm_layer,
                act_layer=None,
            )
            for step in (1, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("sc_conv", x, self.in_channels)
        checks.at_least_size("sc_conv", x, self.pooling_r)
        return self.last(self.fine(x) * self.gate(x))

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        pooled = F.avg_pool2d(x, self.pooling_r)
        if self.training:
            checks.several_values("sc_conv", pooled)
        return (x + F.interpolate(self.coarse(pooled), size=x.shape[2:])).sigmoid()
