"""LSK, Large Selective Kernel: two reaches, chosen between at every place, make one gate."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, depthwise, precisely
from attnzoo.registry import Paper, register

LSKNET = Paper(
    title="Large Selective Kernel Network for Remote Sensing Object Detection",
    authors="Li, Hou, Zheng, Cheng, Yang, Li",
    venue="ICCV",
    year=2023,
    url="https://arxiv.org/abs/2303.09030",
)


@register(
    "lsk",
    title="Large Selective Kernel",
    contract="feature",
    paper=LSKNET,
    source="zcablii/LSKNet@cbe06ca",
    source_license="CC BY-NC",
    summary="Two depthwise convolutions in a row give a near and a far view, and a small convolution on their mean "
    "and maximum decides at every place how much of each to take. What comes out multiplies the input.",
    summary_zh="两个串联的深度卷积给出近、远两种视野，再由其均值与最大值上的小卷积在每个位置决定各取多少。"
    "所得结果与输入相乘。",
    placement="Every block of LSKNet, in the shell lsk_block.",
    reported="No headline figure recorded here.",
    differences=(
        "It shares the kernels of lka; its spatial gate takes the mean before the maximum, cbam the other way round.",
    ),
    not_applicable=SQUARES,
)
class LSK(nn.Module):
    """Scale x by expand(near g_0 + far g_1), both on C / 2 channels, g the gates of `Selection`.

    Args:
        channels: C, the channels of the input, even.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 1.5 C^2 + 78 C + 198 parameters; linear in the map.
    Raises: AttnzooError for odd channels, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "conv0": "local",
        "conv_spatial": "spread",
        "conv1": "near",
        "conv2": "far",
        "conv_squeeze": "select.conv",
        "conv": "expand",
    }

    def __init__(self, channels: int) -> None:
        super().__init__()
        checks.positive("lsk", channels=channels)
        checks.divisible("lsk", "channels", channels, halves=2)
        self.channels = channels
        self.local = depthwise(channels, 5)
        self.spread = depthwise(channels, 7, dilation=3)
        self.near = nn.Conv2d(channels, channels // 2, 1)
        self.far = nn.Conv2d(channels, channels // 2, 1)
        self.select = Selection()
        self.expand = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("lsk", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        local = precisely(self.local, x)  # in full precision, as the selection is a sigmoid of what follows
        far = precisely(self.far, precisely(self.spread, local))
        return self.expand(self.select(precisely(self.near, local), far))


class Selection(nn.Module):
    """Weigh two maps at every place, by gates from their common mean and maximum over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 7, padding=3)

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        weights = self.gate(near, far)
        return torch.addcmul(near * weights[:, :1], far, weights[:, 1:])

    def gate(self, near: Tensor, far: Tensor) -> Tensor:
        """(B, C / 2, H, W) twice -> (B, 2, H, W)."""
        mean = (near.mean(dim=1, keepdim=True) + far.mean(dim=1, keepdim=True)) / 2
        largest = torch.maximum(near.amax(dim=1, keepdim=True), far.amax(dim=1, keepdim=True))
        return precisely(self.conv, torch.cat([mean, largest], dim=1)).sigmoid().to(near.dtype)
