"""LCT, Linear Context Transform: channel means normalised within groups, then a scale and a shift each."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "lct",
    title="Linear Context Transform",
    contract="feature",
    paper=Paper(
        title="Linear Context Transform Block",
        authors="Ruan, Wen, Zheng, Zheng",
        venue="AAAI",
        year=2020,
        url="https://arxiv.org/abs/1909.03834",
    ),
    source="changzy00/pytorch-attention@8ce59da (a port; no official repository could be had)",
    source_license="MIT",
    summary="Normalises the channel means within groups of channels, and lets each channel turn its own value into a "
    "gate by a scale and a shift. No weight joins two channels.",
    summary_zh="将通道均值按组归一化，再由每个通道以自己的缩放和平移参数把结果变成门。没有任何跨通道的权重。",
    placement="End of every residual branch, as SE.",
    reported="No headline figures recorded.",
    differences=(
        "The port starts with scale 1 and shift 0; here, as we read the paper, with scale 0 and shift 1: a constant "
        "gate of 0.731 at first.",
        "The port's variance, a difference of two means, can fall below zero in half precision; here it is centred.",
        "The default of 64 groups is our choice, as the port has none: give fewer for 64 channels or less.",
    ),
    example={"groups": 8},
)
class LCT(nn.Module):
    """Scale channel c by sigmoid(w[c] n[c] + b[c]), n the spatial means, normalised within their group.

    Args:
        channels: C, the channels of the input.
        groups: their number; each holds C / groups consecutive channels, at least 2.
        eps: added to the variance.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C parameters; one pass over the map for the means.
    Raises: AttnzooError for groups that do not divide the channels or hold only one, eps not above 0, or an
        input that is not (B, C, H, W).
    """

    reference_keys = {"w": "norm.weight", "b": "norm.bias"}

    def __init__(self, channels: int, groups: int = 64, eps: float = 1e-5) -> None:
        super().__init__()
        checks.positive("lct", channels=channels, groups=groups)
        checks.divisible("lct", "channels", channels, groups=groups)
        checks.at_least("lct", 2, **{"channels // groups": channels // groups})
        checks.above_zero("lct", eps=eps)
        self.channels = channels
        self.norm = nn.GroupNorm(groups, channels, eps)
        nn.init.zeros_(self.norm.weight)
        nn.init.ones_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("lct", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        return precisely(self.norm, spatial_mean(x)).sigmoid()[:, :, None, None].to(x.dtype)
