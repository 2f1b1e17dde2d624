"""MSCA, Multi-Scale Convolutional Attention: strips of several lengths on top of a 5x5 make one gate."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, depthwise
from attnzoo.registry import Paper, register

SEGNEXT = Paper(
    title="SegNeXt: Rethinking Convolutional Attention Design for Semantic Segmentation",
    authors="Guo, Lu, Hou, Liu, Cheng, Hu",
    venue="NeurIPS",
    year=2022,
    url="https://arxiv.org/abs/2209.08575",
)


@register(
    "msca",
    title="Multi-Scale Convolutional Attention",
    contract="feature",
    paper=SEGNEXT,
    source="Visual-Attention-Network/SegNeXt@c87bcae",
    source_license="Apache-2.0",
    summary="A depthwise 5x5 feeds pairs of long, thin convolutions of lengths 7, 11 and 21, and a pointwise one "
    "mixes their sum into a multiplier for every element. There is no sigmoid.",
    summary_zh="深度 5x5 卷积之后接长度为 7、11、21 的成对条状卷积，再由逐点卷积把它们的和混合成逐元素的乘数。"
    "没有使用 sigmoid。",
    placement="Inside every MSCAN block of SegNeXt, in the shell msca_block.",
    reported="SegNeXt, ADE20K mIoU at a single scale: T 41.1, S 44.3, B 48.5, L 51.0.",
    differences=(
        "No departures are known; projections and shortcut are in msca_block, and cpca has the same strips behind "
        "a channel gate.",
    ),
    not_applicable=SQUARES,
)
class MSCA(nn.Module):
    """Scale x by W (a + sum_k column_k(row_k(a))), a = local(x).

    Args:
        channels: C, the channels of the input.
        kernel_sizes: the lengths of the strips, odd.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C^2 + C (27 + sum over the lengths k of 2 k + 2) parameters; linear in the map.
    Raises: AttnzooError for even kernel_sizes, none, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"conv(\d+)_1": r"strips.pairs.\1.0",
        r"conv(\d+)_2": r"strips.pairs.\1.1",
        "conv0": "strips.local",
        "conv3": "mix",
    }

    def __init__(self, channels: int, kernel_sizes: Sequence[int] = (7, 11, 21)) -> None:
        super().__init__()
        checks.positive("msca", channels=channels)
        checks.sequence("msca", kernel_sizes=kernel_sizes)
        checks.odd("msca", **checks.items(kernel_sizes=kernel_sizes))
        self.channels = channels
        self.strips = Strips(channels, kernel_sizes)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("msca", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.mix(self.strips(x))


class Strips(nn.Module):
    """A depthwise 5x5 and, on top of it, a row and a column for every length, all summed. Keeps the shape."""

    def __init__(self, channels: int, lengths: Sequence[int]) -> None:
        super().__init__()
        self.local = depthwise(channels, 5)
        self.pairs = nn.ModuleList(
            nn.Sequential(depthwise(channels, (1, k)), depthwise(channels, (k, 1))) for k in lengths
        )

    def forward(self, x: Tensor) -> Tensor:
        a = total = self.local(x)
        for pair in self.pairs:
            total = total + pair(a)
        return total
