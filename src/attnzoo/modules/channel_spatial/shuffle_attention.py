"""Shuffle attention: in every group of channels one half is gated per channel, the other per place, then mixed."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import laid_out_like, mean, shuffle_channels, wide
from attnzoo.registry import Paper, register


@register(
    "shuffle_attention",
    title="Shuffle Attention (SA-Net)",
    contract="feature",
    paper=Paper(
        title="SA-Net: Shuffle Attention for Deep Convolutional Neural Networks",
        authors="Zhang, Yang",
        venue="ICASSP",
        year=2021,
        url="https://arxiv.org/abs/2102.00240",
    ),
    source="wofmanaf/SA-Net@00a6760",
    source_license="none found",
    summary="Groups the channels, gates half of each group by the channels' means and the other half by their "
    "normalised values, with scales and shifts that all groups share. A channel shuffle then mixes the halves.",
    summary_zh="把通道分组，每组一半由通道均值加门，另一半由归一化后的各位置取值加门，缩放与偏移为各组共用。"
    "最后用通道混洗把两半打散。",
    placement="After the last BatchNorm of every residual block of ResNet, before the addition.",
    reported="ImageNet top-1: ResNet-50 76.38 (retrained by the authors) to 77.72, released model 77.88 (25.56M).",
    differences=(
        "A popular collection takes 8 groups, and an argument reduction that it never uses.",
        "A popular explanation replaces the scales and shifts by full 1x1 convolutions within each half group: its "
        "weights do not fit.",
        "The shuffle leaves the channels in another order, so that in a pretrained network the module does not start "
        "near the identity.",
    ),
    example={"groups": 8},
)
class ShuffleAttention(nn.Module):
    """shuffle(x sigmoid(a s + b)), s the means of a group's first half, the normalised values of its second.

    Args:
        channels: C, the channels of the input, divisible by 2 groups.
        groups: G; each holds C // G channels, a half of it k = C // 2G.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 6 k parameters; about 4 C H W operations in three passes over the map.
    Raises: AttnzooError for channels that 2 groups do not divide, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "cweight": "channel.scale",
        "cbias": "channel.shift",
        "sweight": "spatial.scale",
        "sbias": "spatial.shift",
        "gn": "spatial.norm",
    }

    def __init__(self, channels: int, groups: int = 64) -> None:
        super().__init__()
        checks.positive("shuffle_attention", channels=channels, groups=groups)
        checks.halved_groups("shuffle_attention", channels, groups)
        self.channels, self.groups = channels, groups
        half = channels // (2 * groups)
        self.channel = ChannelHalf(half)
        self.spatial = SpatialHalf(half)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Drop the dimensions of 1 of the authors' scales and shifts."""
        return {key: value.flatten() if value.dim() == 4 else value for key, value in state.items()}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("shuffle_attention", x, self.channels)
        first, second = x.unflatten(1, (self.groups, 2, -1)).unbind(2)  # (B, G, k, H, W) each
        y = torch.stack([first * self.channel.gate(first), second * self.spatial.gate(second)], dim=2)
        return laid_out_like(shuffle_channels(y.flatten(1, 3), 2), x)


class ChannelHalf(nn.Module):
    """sigmoid(scale * mean + shift) for each of k channels; all groups share the k scales and shifts."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.ones(channels))

    def gate(self, x: Tensor) -> Tensor:
        """(B, G, k, H, W) -> (B, G, k, 1, 1)."""
        return torch.addcmul(self.shift, self.scale, mean(x, (3, 4))).sigmoid().to(x.dtype)[..., None, None]


class SpatialHalf(ChannelHalf):
    """sigmoid(scale * norm(x) + shift) at each place, the norm taken within each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.GroupNorm(channels, channels)

    def gate(self, x: Tensor) -> Tensor:
        """(B, G, k, H, W) -> (B, G, k, H, W)."""
        weight = (self.scale * self.norm.weight).to(wide(x).dtype)  # both affine maps in one
        bias = (self.scale * self.norm.bias + self.shift).to(wide(x).dtype)
        # not nn.GroupNorm's forward, which refuses a single value per channel
        scores = torch.group_norm(wide(x).flatten(0, 1), self.norm.num_groups, weight, bias, self.norm.eps)
        return scores.sigmoid().view_as(x).to(x.dtype)
