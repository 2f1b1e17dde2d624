"""ECA, Efficient Channel Attention: one gate per channel, read from its neighbours in channel order."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import spatial_mean, without_autocast
from attnzoo.registry import Paper, register


@register(
    "eca",
    title="Efficient Channel Attention",
    contract="feature",
    paper=Paper(
        title="ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
        authors="Wang, Wu, Zhu, Li, Zuo, Hu",
        venue="CVPR",
        year=2020,
        url="https://arxiv.org/abs/1910.03151",
    ),
    source="BangguWu/ECANet@b332f6b",
    source_license="MIT",
    summary="Slides one short filter along the vector of channel means, so that each gate sees only a few "
    "neighbouring channels. It replaces the bottleneck of SE by a handful of weights.",
    summary_zh="用一个很短的一维卷积沿通道均值向量滑动，每个门只看相邻的几个通道。它以寥寥数个权重取代了 SE 的瓶颈层。",
    placement="End of every residual branch, after the last BatchNorm and before the addition; in MobileNetV2 "
    "after the projection convolution.",
    reported="ImageNet top-1: ECA-Net50 77.42-77.48, ECA-Net101 78.65, ECA-MobileNetV2 72.56.",
    differences=(
        "The authors' class never applies the paper's kernel rule, k is given by hand (default 3); the released "
        "ResNet-50 uses 3, 5, 5, 7 in its stages, which the rule does not give: pass kernel_size to load it.",
        "timm's EcaModule applies the rule but never goes below 3.",
        "Some collections build the filter with a bias: one number more than the authors' weights.",
    ),
)
class ECA(nn.Module):
    """Scale channel c by sigmoid((w * z)[c]): z the spatial means, w one filter along the channels.

    Args:
        channels: C, the channels of the input.
        kernel_size: k, how many neighbouring channels a gate reads (odd). None takes the paper's rule: the
            whole part t of |log2(C) + b| / gamma where it is odd, else t + 1; 64 channels give 3.
        gamma, b: the constants of the rule.
        shared: one filter for all channels; False gives every channel its own (the authors' ECA-NS).

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: k weights (C k unshared), C k multiply-adds per image.
    Raises: AttnzooError for an even kernel_size, gamma 0, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int | None = None,
        gamma: float = 2,
        b: float = 1,
        shared: bool = True,
    ) -> None:
        super().__init__()
        checks.positive("eca", channels=channels)
        checks.above_zero("eca", gamma=gamma)
        kernel_size = filter_size(channels, gamma, b) if kernel_size is None else kernel_size
        checks.odd("eca", kernel_size=kernel_size)
        self.channels = channels
        self.shared = shared
        filters = 1 if shared else channels
        self.conv = nn.Conv1d(1, filters, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("eca", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        means = spatial_mean(x).to(self.conv.weight.dtype)  # (B, C)
        if self.shared:
            with without_autocast(x):
                scores = self.conv(means[:, None])[:, 0]
        else:
            size = self.conv.weight.shape[2]
            windows = F.pad(means, (size // 2, size // 2)).unfold(1, size, 1)  # (B, C, k)
            scores = (windows * self.conv.weight[:, 0]).sum(dim=2)
        return scores.sigmoid()[:, :, None, None].to(x.dtype)


def filter_size(channels: int, gamma: float = 2, b: float = 1) -> int:
    """The paper's rule for the length of the filter: odd, and longer for more channels."""
    whole = int(abs((math.log2(channels) + b) / gamma))
    return whole if whole % 2 else whole + 1
