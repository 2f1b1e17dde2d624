"""The EffNet block: a 3x3 depthwise convolution taken apart, with the pooling between its two halves."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register


@register(
    "effnet_block",
    title="EffNet block",
    contract="conv",
    paper=Paper(
        title="EffNet: An Efficient Structure for Convolutional Neural Networks",
        authors="Freeman, Roese-Koerner, Kummert",
        venue="ICIP",
        year=2018,
        url="https://arxiv.org/abs/1801.06434",
    ),
    source="arthurdouillard/keras-effnet (the authors' Keras listing)",
    source_license="none found",
    summary="Takes a depthwise 3x3 convolution apart into a row and a column, pools the height between them, and "
    "halves the width by the stride of the projection. No step so loses more than half of its numbers.",
    summary_zh="把 3x3 深度卷积拆成行与列两步，其间对高度做池化，再由投影卷积的步长将宽度减半。"
    "这样每一步丢失的数值都不超过一半。",
    placement="Three such blocks of 64, 128 and 256 channels, and a linear layer.",
    reported="No headline figure recorded here.",
    differences=(
        "PyTorch ports project by a 1x2 kernel on pairs of columns; the listing, and so this, by 2x1 on pairs of rows.",
        "The ports take Keras' momentum 0.99 over as it is, which in torch averages hardly at all; it is 0.01 here.",
        "Some Keras copies leave the last activation and norm out.",
    ),
    min_size=2,
)
class EffNetBlock(nn.Module):
    """post(conv_2x1(post(column(pool(post(row(post(conv_1x1(x)))))))), post(z) = norm(leaky_relu(z)).

    `row` and `column` are depthwise, 1x3 and 3x1, `pool` takes the larger of two rows, and the last convolution has
    stride 2 across, with a row of zeros below the map.

    Args:
        in_channels, out_channels: channels of input and output.
        mid_channels: channels between; None takes in_channels.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H // 2, ceil(W / 2)), for H from 2 up.
    Cost: mid (in_channels + 6 + 2 out_channels) weights and the norms.
    Raises: AttnzooError for numbers below 1, or an input that is not (B, in_channels, H, W) or has a single row.
    """

    reference_keys = {
        "conv1": "widen",
        "bn1": "norms.0",
        "conv2": "row",
        "bn2": "norms.1",
        "conv3": "column",
        "bn3": "norms.2",
        "conv4": "project",
        "bn4": "norms.3",
    }

    def __init__(self, in_channels: int, out_channels: int, mid_channels: int | None = None) -> None:
        super().__init__()
        mid = in_channels if mid_channels is None else mid_channels
        checks.positive("effnet_block", in_channels=in_channels, out_channels=out_channels, mid_channels=mid)
        self.in_channels = in_channels
        self.widen = nn.Conv2d(in_channels, mid, 1, bias=False)
        self.row = nn.Conv2d(mid, mid, (1, 3), padding=(0, 1), groups=mid, bias=False)
        self.pool = nn.MaxPool2d((2, 1))
        self.column = nn.Conv2d(mid, mid, (3, 1), padding=(1, 0), groups=mid, bias=False)
        self.project = nn.Conv2d(mid, out_channels, (2, 1), (1, 2), bias=False)
        self.act = nn.LeakyReLU(0.3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, eps=1e-3, momentum=0.01) for c in (mid, mid, mid, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("effnet_block", x, self.in_channels)
        checks.larger_than_kernel("effnet_block", x, (2, 1), (1, 1), (0, 0))
        if self.training:
            checks.several_values("effnet_block", x)
        first, second, third, last = self.norms
        x = first(self.act(self.widen(x)))
        x = self.pool(second(self.act(self.row(x))))
        x = third(self.act(self.column(x)))
        return last(self.act(self.project(F.pad(x, (0, 0, 0, 1)))))
