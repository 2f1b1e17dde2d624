"""SAN: residual networks whose only view beyond a place is self-attention in a window around it."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.self_attention.san_pairwise import SANPairwise
from attnzoo.modules.self_attention.san_patchwise import SANPatchwise
from attnzoo.networks.base import Level, Network
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of

Attention = type[SANPairwise] | type[SANPatchwise]
WIDTHS: Final = (64, 256, 512, 1024, 2048)
DEPTHS: Final = {10: (2, 1, 2, 4, 1), 15: (3, 2, 3, 5, 2), 19: (3, 3, 4, 6, 3)}  # the blocks of each stage
KERNEL_SIZES: Final = (3, 7, 7, 7, 7)


class SANBlock(nn.Module):
    """x + conv(relu(norm2(attention(relu(norm1(x)))))), the attention from C to C / 4 channels, which compares C / 16.

    Shape: (B, channels, H, W) -> the same, for H and W above kernel_size // 2.
    """

    reference_keys = {r"bn([12])": r"norm\1", "sam": "attention"}

    def __init__(self, channels: int, kernel_size: int, attention: Attention) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attention = attention(channels, channels // 4, channels // 16, kernel_size=kernel_size)
        self.norm2 = nn.BatchNorm2d(channels // 4)
        self.conv = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.attention(F.relu(self.norm1(x)))
        return x + self.conv(F.relu(self.norm2(y)))


class SAN(Network):
    """conv1x1, then five stages: a maximum over 2 x 2, conv1x1, blocks, BatchNorm, ReLU.

    Args:
        called, num_classes, in_channels, features_only: as in `Network`.
        depth: 10, 15 or 19 blocks.
        attention: of the blocks.
        kernel_sizes: the side of the windows in each stage, odd. Windows reach over the border by reflection, so that
            a last stage of 7 x 7 needs images of at least 128 x 128.
    """

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        depth: int,
        attention: Attention,
        kernel_sizes: Sequence[int] = KERNEL_SIZES,
    ) -> None:
        checks.sequence(called, length=5, kernel_sizes=kernel_sizes)
        checks.odd(called, **checks.items(kernel_sizes=kernel_sizes))
        least = max(2 ** (i + 1) * (k // 2 + 1) for i, k in enumerate(kernel_sizes))
        super().__init__(called, num_classes, in_channels, features_only, least)
        self.stem = ConvNormAct(in_channels, 64)
        self.reference_keys = {"conv_in": "stem.conv", "bn_in": "stem.norm"}  # and for each stage what is beside it
        channels, levels = 64, []
        for i, (count, width, k) in enumerate(zip(DEPTHS[depth], WIDTHS, kernel_sizes, strict=True)):
            levels.append(Level(f"layer{i + 1}", width, 2 ** (i + 1)))
            stage = nn.Sequential(
                nn.MaxPool2d(2),
                nn.Conv2d(channels, width, 1, bias=False),
                *(SANBlock(width, k, attention) for _ in range(count)),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            ours = levels[-1].module
            self.reference_keys |= {f"conv{i}": f"{ours}.1", f"bn{i}": f"{ours}.{count + 2}"}
            self.reference_keys |= {rf"layer{i}\.{j}": f"{ours}.{j + 2}" for j in range(count)}
            self.add_module(ours, stage)
            channels = width
        self.complete(("stem", *(level.module for level in levels)), levels, channels)


_preset = partial(
    preset,
    options=["kernel_sizes"],
    source="hszhao/SAN@d88b022",
    source_license="none found",
    image_size=224,
    min_size=128,
)
_KERNELS = (
    "The authors' kernels for windows run on CUDA only; here they are plain tensor operations, which take more memory."
)
_COUNTED = (
    "The authors' table has up to a tenth more multiply-adds; here only convolutions count, not the sums over windows."
)
_UNSTORED = "No run of the authors' code is stored for this depth; one is for ten blocks, of the same class."

_preset(
    "san10_pairwise",
    partial(SAN, depth=10, attention=SANPairwise),
    title="SAN10 (pairwise)",
    paper=paper_of("san_pairwise"),
    summary="Ten residual blocks in which every place compares itself with each neighbour in a window, instead of "
    "convolving. All its convolutions are 1x1, and it has fewer than half of the weights of ResNet-50.",
    summary_zh="十个残差块，每个位置与窗口内的各个邻居逐一比较，以此取代卷积。"
    "全部卷积都是 1x1，参数不到 ResNet-50 的一半。",
    reported="ImageNet top-1: 74.9.",
    differences=(_KERNELS, _COUNTED),
    parameters=10_531_848,
    macs=2009.3,
)

_preset(
    "san15_pairwise",
    partial(SAN, depth=15, attention=SANPairwise),
    title="SAN15 (pairwise)",
    paper=paper_of("san_pairwise"),
    summary="SAN10 with fifteen blocks of pairwise self-attention. It is the middle one of three depths, and lighter "
    "than a ResNet of 38 layers that is a little less accurate.",
    summary_zh="与 SAN10 相同，但有十五个成对自注意力块。它是三种深度中居中的一种，比精度略低的 38 层 ResNet 更轻。",
    reported="ImageNet top-1: 76.6.",
    differences=(_KERNELS, _COUNTED, _UNSTORED),
    parameters=14_065_436,
    macs=2804.1,
)

_preset(
    "san19_pairwise",
    partial(SAN, depth=19, attention=SANPairwise),
    title="SAN19 (pairwise)",
    paper=paper_of("san_pairwise"),
    summary="SAN10 with nineteen blocks of pairwise self-attention. It is as accurate as ResNet-50 with two "
    "thirds of the weights.",
    summary_zh="与 SAN10 相同，但有十九个成对自注意力块。精度与 ResNet-50 相当，参数约为其三分之二。",
    reported="ImageNet top-1: 76.9.",
    differences=(_KERNELS, _COUNTED, _UNSTORED),
    parameters=17_596_156,
    macs=3563.1,
)

_preset(
    "san10_patchwise",
    partial(SAN, depth=10, attention=SANPatchwise),
    title="SAN10 (patchwise)",
    paper=paper_of("san_patchwise"),
    summary="Ten residual blocks in which a small network reads the whole window of a place and gives all its weights "
    "at once. It is a little more accurate than ResNet-50 with less than half of the weights and multiply-adds.",
    summary_zh="十个残差块，由小网络读入每个位置的整个窗口，一次给出全部权重。"
    "参数与乘加量不到 ResNet-50 的一半，精度略高。",
    reported="ImageNet top-1: 77.1.",
    differences=(_KERNELS, _COUNTED),
    parameters=11_841_124,
    macs=1756.7,
)

_preset(
    "san15_patchwise",
    partial(SAN, depth=15, attention=SANPatchwise),
    title="SAN15 (patchwise)",
    paper=paper_of("san_patchwise"),
    summary="SAN10 with fifteen blocks of patchwise self-attention. It is more accurate than ResNet-50 by one point "
    "with two thirds of the weights.",
    summary_zh="与 SAN10 相同，但有十五个块状自注意力块。精度比 ResNet-50 高约一个百分点，参数约为其三分之二。",
    reported="ImageNet top-1: 78.0.",
    differences=(_KERNELS, _COUNTED, _UNSTORED),
    parameters=16_181_310,
    macs=2423.7,
)

_preset(
    "san19_patchwise",
    partial(SAN, depth=19, attention=SANPatchwise),
    title="SAN19 (patchwise)",
    paper=paper_of("san_patchwise"),
    summary="SAN10 with nineteen blocks of patchwise self-attention. It is the most accurate of the family, and still "
    "lighter than ResNet-50.",
    summary_zh="与 SAN10 相同，但有十九个块状自注意力块。它是这一族中精度最高的，仍比 ResNet-50 更轻。",
    reported="ImageNet top-1: 78.2.",
    differences=(_KERNELS, _COUNTED, _UNSTORED),
    parameters=20_518_470,
    macs=3057.1,
)
