"""Strip pooling (SPNet): a gate for every place, from the means of its row and its column."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Layer, mean, precisely, product
from attnzoo.registry import Paper, register

SPNET = Paper(
    title="Strip Pooling: Rethinking Spatial Pooling for Scene Parsing",
    authors="Hou, Zhang, Cheng, Feng",
    venue="CVPR",
    year=2020,
    url="https://arxiv.org/abs/2003.13328",
)


@register(
    "strip_pooling",
    title="Strip Pooling Module",
    contract="feature",
    paper=SPNET,
    source="Andrew-Qibin/SPNet@5e97da3",
    source_license="none found",
    summary="Averages every row and every column, passes each of the two strips through a convolution along itself, "
    "and adds them at every place. A 1x1 convolution turns the sum into the gate.",
    summary_zh="分别对每一行、每一列取平均，各自沿条带方向卷积，再在每个位置相加。1x1 卷积把这个和变成门。",
    placement="After the 3x3 convolution and its ReLU in the last bottleneck of each ResNet stage, and in all of the "
    "last stage.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' block gives the gate and its caller multiplies; ours does both.",
        "Their block may change the number of channels, and then only gives a gate.",
        "The means of the rows, a column of H numbers, meet the 3x1 kernel; swapping the two is a common slip.",
    ),
)
class StripPooling(nn.Module):
    """x * sigmoid(W relu(r + c)), r = norm(conv_3x1(row means)), c = norm(conv_1x3(column means)).

    Args:
        channels: C, the channels of the input.
        norm_layer: makes the two normalisations.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 7 C^2 + 5 C parameters; about C^2 H W multiply-adds.
    Raises: AttnzooError for a strip of a single value per channel in training, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "conv1": "row_conv",
        "bn1": "row_norm",
        "conv2": "column_conv",
        "bn2": "column_norm",
        "conv3": "expand",
    }

    def __init__(self, channels: int, norm_layer: Layer = nn.BatchNorm2d) -> None:
        super().__init__()
        checks.positive("strip_pooling", channels=channels)
        self.channels = channels
        self.row_conv = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), bias=False)
        self.row_norm = norm_layer(channels)
        self.column_conv = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), bias=False)
        self.column_norm = norm_layer(channels)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("strip_pooling", x, self.channels)
        if self.training:
            checks.several_values("strip_pooling", x[:, :, :, :1])
            checks.several_values("strip_pooling", x[:, :, :1])
        return product(self.gate(x), x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        rows = self.row_norm(precisely(self.row_conv, mean(x, 3, keepdim=True)))  # (B, C, H, 1)
        columns = self.column_norm(precisely(self.column_conv, mean(x, 2, keepdim=True)))  # (B, C, 1, W)
        return precisely(self.expand, self.act(rows + columns)).sigmoid().to(x.dtype)
