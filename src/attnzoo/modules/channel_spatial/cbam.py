"""CBAM: a channel gate from several poolings through one MLP, then a spatial gate from pooled channels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, mean, peak, product, spatial_mean, wide, without_autocast
from attnzoo.registry import Paper, register

_POOLS: dict[str, Callable[[Tensor], Tensor]] = {  # (B, C, H, W) -> (B, C)
    "avg": spatial_mean,
    "max": lambda x: peak(x, (2, 3)),
    "lp": lambda x: torch.linalg.vector_norm(wide(x), dim=(2, 3)),
    "lse": lambda x: wide(x).logsumexp(dim=(2, 3)),
}


@register(
    "cbam",
    title="Convolutional Block Attention Module",
    contract="feature",
    paper=Paper(
        title="CBAM: Convolutional Block Attention Module",
        authors="Woo, Park, Lee, Kweon",
        venue="ECCV",
        year=2018,
        url="https://arxiv.org/abs/1807.06521",
    ),
    source="Jongchan/attention-module@459efad",
    source_license="MIT",
    summary="Gates the channels by their mean and maximum, sent through one shared bottleneck, and then the places "
    "by a 7x7 convolution over the maximum and mean of the channels. The two gates follow each other.",
    summary_zh="先让各通道的均值与最大值经过同一个瓶颈网络得到通道门，再对通道的最大值与均值做 7x7 卷积得到空间门。"
    "两个门依次作用。",
    placement="End of every residual block, after the last BatchNorm and before the addition.",
    reported="ImageNet top-1: ResNet-50 75.44 to 77.34 in the paper; released weights 77.62.",
    differences=(
        "timm's CBAM has no bias in the MLP, puts the mean before the maximum in the spatial gate, uses BatchNorm "
        "momentum 0.1 (0.01 here), and only the two poolings.",
        "Popular collections leave out the MLP's bias and the spatial BatchNorm, or add the input to the output.",
        "In the authors' ResNet the spatial BatchNorm's weight starts at 0, so that all places weigh 1/2 at first: "
        "nn.init.zeros_(module.spatial_gate.norm.weight).",
    ),
    not_applicable={
        "large-close-bfloat16": "the second gate reads the first one's output, whose rounding at 1e3 moves a sigmoid"
    },
)
class CBAM(nn.Module):
    """Channel gate, then spatial gate.

    Args:
        channels: C, the channels of the input.
        reduction: r; the channel gate's bottleneck is C // r wide.
        pool_types: the poolings of the channel gate, of 'avg', 'max', 'lp' (root of the sum of squares) and
            'lse' (log of the sum of exponentials).
        no_spatial: leave out the spatial gate.
        kernel_size: of the spatial gate's convolution (odd).

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r + C/r + C + 2 k^2 + 2 parameters.
    Raises: AttnzooError for a bottleneck without channels, unknown or no poolings, an even kernel_size, or
        an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"ChannelGate\.mlp\.1": "channel_gate.mlp.fc1",
        r"ChannelGate\.mlp\.3": "channel_gate.mlp.fc2",
        r"SpatialGate\.spatial\.conv": "spatial_gate.conv",
        r"SpatialGate\.spatial\.bn": "spatial_gate.norm",
    }

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        pool_types: Sequence[str] = ("avg", "max"),
        no_spatial: bool = False,
        kernel_size: int = 7,
    ) -> None:
        super().__init__()
        hidden = checks.reduced("cbam", channels, reduction)
        checks.sequence("cbam", pool_types=pool_types)
        checks.choice("cbam", _POOLS, **checks.items(pool_types=pool_types))
        checks.odd("cbam", kernel_size=kernel_size)
        self.channels = channels
        self.channel_gate = ChannelGate(channels, hidden, pool_types)
        self.spatial_gate = None if no_spatial else SpatialGate(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cbam", x, self.channels)
        y = self.channel_gate(x)
        return y if self.spatial_gate is None else product(y, self.spatial_gate.gate(y))


class ChannelGate(nn.Module):
    """Scale channel c by the sigmoid of the summed MLP outputs of all poolings. (B, C, H, W) -> the same."""

    def __init__(self, channels: int, hidden: int, pool_types: Sequence[str]) -> None:
        super().__init__()
        self.pool_types = tuple(pool_types)
        self.mlp = BottleneckMLP(channels, hidden, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        pooled = torch.stack([_POOLS[name](x).to(self.mlp.fc1.weight.dtype) for name in self.pool_types])
        return self.mlp(pooled).sum(dim=0).sigmoid()[:, :, None, None].to(x.dtype)  # pooled as (poolings, B, C)


class SpatialGate(nn.Module):
    """Scale every place by a convolution over the channels' maximum and mean. (B, C, H, W) -> the same.

    `gate` takes any axis in the place of the channels.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor, dim: int = 1) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W), (B, 1, C, W) or (B, 1, H, C), for the axis 1, 2 or 3."""
        pooled = torch.stack([peak(x, dim), mean(x, dim).to(x.dtype)], dim=3)
        if dim == 3:
            pooled = pooled.transpose(1, 2).contiguous()
        pooled = pooled.permute(0, 3, 1, 2)  # channels last: on a CPU the backward pass is 5 times faster
        with without_autocast(x):
            logits = self.norm(self.conv(pooled.to(self.conv.weight.dtype)))
        return logits.sigmoid().to(x.dtype)
