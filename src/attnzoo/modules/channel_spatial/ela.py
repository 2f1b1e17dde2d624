"""ELA, Efficient Local Attention: coordinate attention with one 1-D convolution, and no reduction of channels."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import mean, without_autocast
from attnzoo.registry import Paper, register

_VARIANTS = {
    "T": (5, 1, 32),
    "B": (7, 1, 16),
    "S": (5, 8, 16),
    "L": (7, 8, 16),
}  # kernel, channels a group, norm groups


@register(
    "ela",
    title="Efficient Local Attention",
    contract="feature",
    paper=Paper(
        title="ELA: Efficient Local Attention for Deep Convolutional Neural Networks",
        authors="Xu, Wan",
        venue="arXiv",
        year=2024,
        url="https://arxiv.org/abs/2403.01123",
    ),
    source="paper",
    source_license="not applicable",
    summary="Averages each channel along the rows and along the columns, as coordinate attention does, but sends each "
    "strip through one 1-D convolution with GroupNorm. No channel is reduced, and both strips share the weights.",
    summary_zh="像坐标注意力那样沿行、列取平均，但每条带只经过一个一维卷积与 GroupNorm。不降通道，且两条带共用权重。",
    placement="As coordinate attention: in the inverted residual of MobileNetV2, or at the end of a ResNet block.",
    reported="None that we have checked.",
    differences=(
        "timm's version has a convolution and norm for each direction, a SiLU before the gate, and a single group in "
        "the norm.",
        "Some ports convolve in 32 groups.",
    ),
)
class ELA(nn.Module):
    """Scale x[c, i, j] by g(rows)[c, i] * g(columns)[c, j], g = sigmoid(norm(conv(strip))).

    Args:
        channels: C, the channels of the input.
        kernel_size: k, of the 1-D convolution (odd).
        groups: of the convolution; it divides C.
        num_groups: of the GroupNorm; it divides C.
        variant: what the three are where they are None, as the paper names it: 'T' (5, C, 32), 'B' (7, C, 16),
            'S' (5, C // 8, 16) or 'L' (7, C // 8, 16).

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: k C^2 / groups + 2 C parameters; (H + W) k C^2 / groups multiply-adds and two passes over the map.
    Raises: AttnzooError for an even kernel_size, groups that do not divide the channels, an unknown variant, or an
        input that is not (B, C, H, W).
    """

    reference_keys = {"gn": "norm"}

    def __init__(
        self,
        channels: int,
        kernel_size: int | None = None,
        groups: int | None = None,
        num_groups: int | None = None,
        variant: str = "B",
    ) -> None:
        super().__init__()
        checks.positive("ela", channels=channels)
        checks.choice("ela", _VARIANTS, variant=variant)
        size, width, norm_groups = _VARIANTS[variant]
        kernel_size = size if kernel_size is None else kernel_size
        groups = max(1, channels // width) if groups is None else groups
        num_groups = norm_groups if num_groups is None else num_groups
        checks.odd("ela", kernel_size=kernel_size)
        checks.positive("ela", groups=groups, num_groups=num_groups)
        checks.divisible("ela", "channels", channels, groups=groups, num_groups=num_groups)
        self.channels = channels
        self.conv = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False)
        self.norm = nn.GroupNorm(num_groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ela", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the product of a column of row gates and a row of column gates."""
        return self._strip(mean(x, 3)).to(x.dtype)[..., None] * self._strip(mean(x, 2)).to(x.dtype)[:, :, None]

    def _strip(self, strip: Tensor) -> Tensor:
        """(B, C, L) -> (B, C, L)."""
        with without_autocast(strip):
            scores = self.conv(strip.to(self.conv.weight.dtype))
            # not nn.GroupNorm's forward, which refuses a strip of a single value per group
            return torch.group_norm(
                scores, self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps
            ).sigmoid()
