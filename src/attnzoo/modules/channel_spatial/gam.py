"""GAM: the two gates of CBAM without any pooling, so that every element keeps its own."""

from typing import Any

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, shuffle_channels, wide
from attnzoo.registry import Paper, register


@register(
    "gam",
    title="Global Attention Mechanism",
    contract="feature",
    paper=Paper(
        title="Global Attention Mechanism: Retain Information to Enhance Channel-Spatial Interactions",
        authors="Liu, Shao, Hoffmann",
        venue="arXiv",
        year=2021,
        url="https://arxiv.org/abs/2112.05561",
    ),
    source="dengbuqi/GAM_Pytorch@f09c9df (replicate padding); the public GAM_Attention port, re-read (the rest)",
    source_license="none found",
    summary="Multiplies every place by an MLP of its own channels, and the result by a gate from two 7x7 convolutions "
    "over the full map. Nothing is pooled, which makes it by far the most expensive module of its family.",
    summary_zh="先让每个位置乘以由自身通道经 MLP 得到的系数，再乘以在整张特征图上做两次 7x7 卷积得到的门。"
    "全程不做池化，因此是同类模块中开销最大的。",
    placement="After a residual block's last BatchNorm.",
    reported="By others, CIFAR-100: ResNet-50 77.26 to 81.33, but 23.7M to 149.5M parameters (ungrouped).",
    differences=(
        "There is no official repository; two public versions pad the 7x7 convolutions with zeros (the default here) "
        "or by replication (padding_mode='replicate').",
        "The grouped form of the common port takes the reduction as its number of groups, and shuffles by 4.",
        "Some ports drop the BatchNorms, or put a sigmoid on the first product; the public code has none there.",
        "The ports accept another number of output channels, but multiply with the input all the same.",
    ),
    not_applicable={
        "large-finite-float16": "the output grows as the square of the input, beyond float16's range",
        "large-close-float16": "the output grows as the square of the input, beyond float16's range",
    },
)
class GAM(nn.Module):
    """y sigmoid(convolutions(y)), y = x mlp(x).

    Args:
        channels: C, the channels of the input.
        reduction: r; both stages go through c = C // r channels.
        groups: of the 7x7 convolutions, against their cost; the gate's channels are then shuffled.
        padding_mode: of the 7x7 convolutions, 'zeros' or 'replicate'.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C c + 98 C c / groups weights, and H W times as many multiply-adds: at ratio 4, five times a 3x3
        convolution from C to C channels on a quarter of them.
    Raises: AttnzooError for a bottleneck without channels, groups that do not divide C and c, an unknown
        padding_mode, a training batch of a single pixel, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"channel_attention\.0": "channel_gate.fc1",
        r"channel_attention\.2": "channel_gate.fc2",
        r"spatial_attention\.0": "spatial_gate.conv1",
        r"spatial_attention\.1": "spatial_gate.norm1",
        r"spatial_attention\.3": "spatial_gate.conv2",
        r"spatial_attention\.4": "spatial_gate.norm2",
        "linear1": "channel_gate.fc1",
        "linear2": "channel_gate.fc2",
        **{f"{layer}{i}": f"spatial_gate.{layer}{i}" for layer in ("conv", "norm") for i in (1, 2)},
    }

    def __init__(self, channels: int, reduction: int = 4, groups: int = 1, padding_mode: str = "zeros") -> None:
        super().__init__()
        width = checks.reduced("gam", channels, reduction)
        checks.positive("gam", groups=groups)
        checks.divisible("gam", "channels", channels, groups=groups)
        checks.divisible("gam", "channels // reduction", width, groups=groups)
        checks.choice("gam", ("zeros", "replicate"), padding_mode=padding_mode)
        self.channels = channels
        self.channel_gate = PixelMLP(channels, width)
        self.spatial_gate = PlainSpatialGate(channels, width, groups, padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("gam", x, self.channels)
        if self.training:
            checks.several_values("gam", x)
        y = wide(x) * self.channel_gate.gate(x)
        return (y * self.spatial_gate.gate(y)).to(x.dtype)


class PixelMLP(nn.Module):
    """Two 1x1 convolutions: a coefficient for every element, from the channels of its place."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, width, 1)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(width, channels, 1)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), of any size and sign."""
        return precisely(self.fc2, self.act(precisely(self.fc1, x)))


class PlainSpatialGate(nn.Module):
    """Two 7x7 convolutions with BatchNorm: a gate for every element, from the surroundings of its place."""

    def __init__(self, channels: int, width: int, groups: int, padding_mode: str) -> None:
        super().__init__()
        self.groups = groups
        how: dict[str, Any] = {"padding": 3, "groups": groups, "padding_mode": padding_mode}
        self.conv1 = nn.Conv2d(channels, width, 7, **how)
        self.norm1 = nn.BatchNorm2d(width)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(width, channels, 7, **how)
        self.norm2 = nn.BatchNorm2d(channels)

    def gate(self, y: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        hidden = self.act(self.norm1(precisely(self.conv1, y)))
        return shuffle_channels(self.norm2(precisely(self.conv2, hidden)).sigmoid(), self.groups)
