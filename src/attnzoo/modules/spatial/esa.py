"""ESA, Enhanced Spatial Attention: a gate for restoration, from few channels and a strongly shrunk map."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import without_autocast
from attnzoo.registry import Paper, register


@register(
    "esa",
    title="Enhanced Spatial Attention",
    contract="feature",
    paper=Paper(
        title="Residual Feature Aggregation Network for Image Super-Resolution",
        authors="Liu, Zhang, Tang, Wu",
        venue="CVPR",
        year=2020,
        url="https://openaccess.thecvf.com/content_CVPR_2020/html/"
        "Liu_Residual_Feature_Aggregation_Network_for_Image_Super-Resolution_CVPR_2020_paper.html",
    ),
    source="njulj/RFDN@7cf4e25",
    source_license="MIT",
    summary="Reduces the channels, shrinks the map by a strided convolution and a wide pooling, works on what is left, "
    "and enlarges it again. Joined with the reduced map it gives every element a gate.",
    summary_zh="先降通道，再用步进卷积与大窗口池化把特征图缩得很小，处理后放大回原尺寸。"
    "与降维后的特征相加，得到逐元素的门。",
    placement="The end of every residual feature block of a super-resolution network.",
    reported="None for the module alone.",
    differences=(
        "RFANet, which introduced it, describes groups of convolutions in the small branch; the code in use is that of "
        "RFDN, which is followed here.",
        "Entries of later challenges cut the number of convolutions further.",
    ),
    min_size=15,
)
class ESA(nn.Module):
    """Scale x by sigmoid(expand(up(small(c)) + skip(c))), c = reduce(x) on C // r channels.

    Args:
        channels: C, the channels of the input.
        reduction: r; the branches work on f = C // r channels.

    Shape: (B, C, H, W) -> (B, C, H, W), for H and W from 15 up.
    Cost: 2 C f + 37 f^2 weights; H W (2 C f + 3.3 f^2) multiply-adds or so.
    Raises: AttnzooError for branches without channels, a map smaller than 15 x 15, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {
        "conv1": "reduce",
        "conv_f": "skip",
        "conv2": r"small.0",
        "conv_max": r"small.2",
        "conv3": r"small.4",
        "conv3_": r"small.6",
        "conv4": "expand",
    }

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        width = checks.reduced("esa", channels, reduction)
        self.channels = channels
        self.reduce = nn.Conv2d(channels, width, 1)
        self.skip = nn.Conv2d(width, width, 1)
        self.small = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2),
            nn.MaxPool2d(7, stride=3),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.expand = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("esa", x, self.channels)
        checks.at_least_size("esa", x, 15)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        with without_autocast(x):
            reduced = self.reduce(x.to(self.reduce.weight.dtype))
            small = F.interpolate(self.small(reduced), size=x.shape[2:], mode="bilinear", align_corners=False)
            return self.expand(small + self.skip(reduced)).sigmoid().to(x.dtype)
