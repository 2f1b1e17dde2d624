"""Coordinate attention: one gate per row and one per column, for every channel."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, ConvNormAct, Layer, mean, product, without_autocast
from attnzoo.registry import Paper, register


@register(
    "coord",
    title="Coordinate Attention",
    contract="feature",
    paper=Paper(
        title="Coordinate Attention for Efficient Mobile Network Design",
        authors="Hou, Zhou, Feng",
        venue="CVPR",
        year=2021,
        url="https://arxiv.org/abs/2103.02907",
    ),
    source="houqb/CoordAttention@7619bea",
    source_license="MIT",
    summary="Averages each channel along the rows and along the columns, encodes both strips with one convolution, "
    "and turns them into a gate per row and a gate per column. Position survives, at the price of SE.",
    summary_zh="分别沿行、列方向对每个通道取平均，用同一个卷积编码两条带，再得到逐行与逐列的门。"
    "以接近 SE 的代价保留了位置信息。",
    placement="MobileNetV2: in the inverted residual, after the depthwise convolution's activation; ResNet: after "
    "the last BatchNorm of a block.",
    reported="ImageNet top-1: MobileNetV2 1.0 72.3 to 74.3 (3.95M); MobileNeXt 74.0 to 75.2.",
    differences=(
        "timm's CoordAttn rounds the bottleneck to a multiple of 8 of two thirds of C/16, without biases.",
        "The paper's text calls the activation SiLU; the authors' code uses the hard swish.",
        "A popular explanation never turns the strip of row means back, so that both gates act along the width.",
    ),
)
class CoordAttention(nn.Module):
    """Scale x[c, i, j] by sigmoid(rows[c, i]) * sigmoid(columns[c, j]).

    Args:
        channels: C, the channels of the input.
        reduction: r; the strips are encoded in m = max(8, C // r) channels.
        norm_layer, act_layer: make the normalisation and the activation of the encoding.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 3 C m + 3 m + 2 C parameters; 2 C m (H + W) multiply-adds and two passes over the map.
    Raises: AttnzooError for reduction below 1, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"conv1": "encode.conv",
        r"bn1": "encode.norm",
        r"conv2": "conv_h",  # as named in the authors' released MobileNetV2
        r"conv3": "conv_w",
    }

    def __init__(
        self,
        channels: int,
        reduction: int = 32,
        norm_layer: Layer = nn.BatchNorm2d,
        act_layer: Activation = nn.Hardswish,
    ) -> None:
        super().__init__()
        checks.positive("coord", channels=channels, reduction=reduction)
        self.channels = channels
        width = max(8, channels // reduction)
        self.encode = ConvNormAct(channels, width, bias=True, norm_layer=norm_layer, act_layer=act_layer)
        self.conv_h = nn.Conv2d(width, channels, 1)
        self.conv_w = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("coord", x, self.channels)
        return product(self.gate(x), x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the product of a column of row gates and a row of column gates."""
        height, width = x.shape[2:]
        strips = torch.cat([mean(x, 3), mean(x, 2)], dim=2)[..., None]  # (B, C, H + W, 1)
        with without_autocast(x):
            rows, columns = self.encode(strips.to(self.conv_h.weight.dtype)).split([height, width], dim=2)
            rows, columns = self.conv_h(rows).sigmoid(), self.conv_w(columns).sigmoid().transpose(2, 3)
        return rows.to(x.dtype) * columns.to(x.dtype)
