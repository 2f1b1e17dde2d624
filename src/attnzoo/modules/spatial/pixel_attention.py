"""Pixel attention of PAN: every element has its own gate, from a 1x1 convolution."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely
from attnzoo.registry import Paper, register

PAN = Paper(
    title="Efficient Image Super-Resolution Using Pixel Attention",
    authors="Zhao, Kong, He, Qiao, Dong",
    venue="ECCVW",
    year=2020,
    url="https://arxiv.org/abs/2010.01073",
)


@register(
    "pixel_attention",
    title="Pixel Attention (PAN)",
    contract="feature",
    paper=PAN,
    source="zhaohengyuan1/PAN@4d045d1",
    source_license="none found",
    summary="A 1x1 convolution and a sigmoid give every channel at every place a gate of its own. Nothing is pooled, "
    "which suits restoration, where each pixel counts.",
    summary_zh="一个 1x1 卷积加 sigmoid，为每个位置的每个通道各给出一个门。全程不做池化，适合逐像素都重要的图像复原。",
    placement="The up-sampling part of PAN; scpa holds it in its residual blocks.",
    reported="None for the module alone; see scpa for the network.",
    differences=(
        "The pixel attention of FFA-Net is another module: two convolutions and a single map for all channels.",
        "sse has one map for all channels as well, from one convolution.",
    ),
)
class PixelAttention(nn.Module):
    """x sigmoid(W x + b), W acting on the channels of each place.

    Args:
        channels: C, the channels of the input.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C^2 + C parameters, C^2 H W multiply-adds.
    Raises: AttnzooError for channels below 1, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        checks.positive("pixel_attention", channels=channels)
        self.channels = channels
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("pixel_attention", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return precisely(self.conv, x).sigmoid().to(x.dtype)
