"""A stage of CFNet: three groups of blocks, each at half the size of the one before, and the fusion of their maps."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    Activation,
    ConvNeXtBlock,
    ConvNormAct,
    Layer,
    SwinBlock,
    drop_path,
)
from attnzoo.modules.network.cfnet_focal_next import CFNET, CFNetFocalNeXt
from attnzoo.modules.network.cfnet_focal_swin import CFNetFocalSwin
from attnzoo.modules.network.cfnet_transition import LAYER_NORM, CFNetTransition
from attnzoo.registry import register


class Bottleneck(nn.Module):
    """relu(x + narrow(widen(look(x)))), look a 3x3 convolution, each behind BatchNorm.

    Shape: (B, channels, H, W) -> the same, for any H and W from 1 up.
    """

    reference_keys = {"conv1": "near", "dwconv1": "far", "conv2": "widen", "conv3": "narrow"}

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.near = ConvNormAct(channels, channels, 3)
        self.widen = ConvNormAct(channels, 4 * channels)
        self.narrow = ConvNormAct(4 * channels, channels, act_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(self.widen(self.look(x)))
        return F.relu(drop_path(y, self.drop_path, self.training) + x)

    def look(self, x: Tensor) -> Tensor:
        """What is widened, of the shape of x."""
        return self.near(x)


class FocalBottleneck(Bottleneck):
    """As `Bottleneck`, with look(x) = far(a) + a, a = near(x) + x, far one dilated 7x7 filter per channel."""

    def __init__(self, channels: int, dilation: int, drop_path: float) -> None:
        super().__init__(channels, drop_path)
        self.far = ConvNormAct(channels, channels, 7, dilation=dilation, groups=channels, bias=True)

    def look(self, x: Tensor) -> Tensor:
        a = self.near(x) + x
        return self.far(a) + a


class Style(NamedTuple):
    """What a CFNet is made of: its blocks, for their channels, place in the group and drop_path, and its layers."""

    base: Callable[[int, int, float], nn.Module]
    focal: Callable[[int, int, float, int], nn.Module]  # its dilation too
    norm: Layer
    act: Activation


STYLES: Final = {
    "next": Style(
        lambda channels, _, rate: ConvNeXtBlock(channels, rate),
        lambda channels, _, rate, dilation: CFNetFocalNeXt(channels, dilation, rate),
        LAYER_NORM,
        nn.GELU,
    ),
    "swin": Style(
        lambda channels, i, rate: SwinBlock(channels, channels // 32, shift=i % 2 == 1, drop_path=rate),
        lambda channels, i, rate, dilation: CFNetFocalSwin(
            channels, dilation=dilation, shift=i % 2 == 1, drop_path=rate
        ),
        LAYER_NORM,
        nn.GELU,
    ),
    "bottleneck": Style(
        lambda channels, _, rate: Bottleneck(channels, rate),
        lambda channels, _, rate, dilation: FocalBottleneck(channels, dilation, rate),
        nn.BatchNorm2d,
        nn.ReLU,
    ),
}


@register(
    "cfnet_stage",
    title="CFNet stage",
    contract="fusion",
    paper=CFNET,
    source="zhanggang001/CEDNet@305d637",
    source_license="MIT",
    summary="Builds a three-level pyramid from one map, with blocks that see far at its coarsest level, and lets "
    "cfnet_transition fuse it. Stages follow each other, so that most of a network's parameters take part in the "
    "fusion.",
    summary_zh="由一张特征图构建三层金字塔，最粗一层使用视野更大的块，最后由 cfnet_transition 融合。"
    "多个阶段首尾相接，使网络的大部分参数都参与特征融合。",
    placement="Three or four in a row behind a short stem; p3 of one goes on to the next.",
    reported="Part of CFNet; no headline figure recorded here.",
    differences=(
        "Stages of the paper's first version always end with a transition; in the authors' code, of the second "
        "version, the last stage has none.",
        "Their other forms are left out: one in the manner of an FPN adds p4 and p5 of the stage before, one in the "
        "manner of a U-Net has half of the blocks on the way up.",
        "Blocks of Swin shift their windows only where the map is higher than one, see cfnet_focal_swin.",
    ),
    example={"channels": (16, 24, 32), "depths": (1, 2, 1)},
    inputs=("B 16 4*H 4*W",),
)
class CFNetStage(nn.Module):
    """transition(c3, c4, c5): c3 = blocks(x), c4 = blocks(halve(c3)), c5 = focal blocks(halve(c4)).

    Args:
        channels: d3, d4, d5 of the three levels, fine to coarse; multiples of 32 for the blocks of Swin.
        depths: how many blocks each level has.
        block: 'next' for blocks of ConvNeXt, 'swin', or 'bottleneck' for those of ResNet.
        dilation: of the focal blocks.
        transition: fuse the levels by `cfnet_transition`; else they come as they are.
        drop_path: with what probability a sample's branch is left out in training: one for all blocks, or a list.

    Shape: x (B, d3, H, W), or a tuple of maps that begins with it -> p3 (B, d3, H, W), p4 (B, d4, H / 2, W / 2), p5
        (B, d5, H / 4, W / 4), for H and W that are multiples of 4.
    Cost: 8 C^2 + 58 C parameters for a block of ConvNeXt, 8 C^2 + 110 C for a focal one; 5 (d3 d4 + d4 d5) or so for
        what joins the levels.
    Raises: AttnzooError for other than three channels or depths, numbers below 1, an unknown block, a drop_path that
        is no probability or not one for each block, or an input that is not such a map.
    """

    reference_keys = {  # the authors number the levels, and the parts of each step
        **{rf"0\.encoder\.{i}": f"level{i + 3}" for i in range(3)},
        **{rf"0\.encoder_downsample\.{i}": f"down{i + 4}" for i in range(2)},
        "1": "transition",
    }

    def __init__(
        self,
        channels: Sequence[int] = (192, 352, 512),
        depths: Sequence[int] = (2, 4, 2),
        block: str = "next",
        dilation: int = 3,
        transition: bool = True,
        drop_path: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        check_levels("cfnet_stage", channels, depths, block, dilation)
        rates = [drop_path] * sum(depths) if isinstance(drop_path, int | float) else drop_path
        checks.sequence("cfnet_stage", length=sum(depths), drop_path=rates)
        checks.probability("cfnet_stage", **checks.items(drop_path=rates))
        d3, d4, d5 = channels
        n3, n4, _ = depths
        self.block = block
        self.channels = tuple(channels)
        self.level3 = base_blocks(block, d3, rates[:n3])
        self.down4 = halving(block, d3, d4)
        self.level4 = base_blocks(block, d4, rates[n3 : n3 + n4])
        self.down5 = halving(block, d4, d5)
        focal = STYLES[block].focal
        self.level5 = nn.Sequential(*(focal(d5, i, rate, dilation) for i, rate in enumerate(rates[n3 + n4 :])))
        self.transition = CFNetTransition(channels, norm_layer=STYLES[block].norm) if transition else None

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        maps = x if isinstance(x, tuple) else (x,)
        checks.several_maps("cfnet_stage", maps)
        check_map("cfnet_stage", maps[0], self.channels[0], self.block, 4, self.training)
        c3 = self.level3(maps[0])
        c4 = self.level4(self.down4(c3))
        c5 = self.level5(self.down5(c4))
        return (c3, c4, c5) if self.transition is None else self.transition.fuse(c3, c4, c5)


def base_blocks(block: str, channels: int, rates: Sequence[float]) -> nn.Sequential:
    """A group of blocks, with one drop_path each: (B, channels, H, W) -> the same."""
    return nn.Sequential(*(STYLES[block].base(channels, i, rate) for i, rate in enumerate(rates)))


def halving(block: str, in_channels: int, out_channels: int) -> ConvNormAct:
    """A 2x2 convolution of stride 2, normalised: (B, in_channels, H, W) -> (B, out_channels, H / 2, W / 2)."""
    return ConvNormAct(in_channels, out_channels, 2, 2, bias=True, norm_layer=STYLES[block].norm, act_layer=None)


def check_levels(called: str, channels: Sequence[int], depths: Sequence[int], block: str, dilation: int) -> None:
    """Raise AttnzooError for what no stage can be built of; the network of stages checks as much."""
    checks.sequence(called, length=3, channels=channels, depths=depths)
    checks.positive(called, dilation=dilation, **checks.items(channels=channels, depths=depths))
    checks.choice(called, STYLES, block=block)
    if block == "swin":
        checks.multiple(called, 32, **checks.items(channels=channels))


def check_map(called: str, x: Tensor, channels: int, block: str, reduction: int, training: bool) -> None:
    """Raise AttnzooError for a map that cannot be shrunk so often, or, with BatchNorms, not be normalised then."""
    checks.nchw(called, x, channels)
    checks.whole_blocks(called, x, reduction)
    if training and block == "bottleneck":
        checks.several_values(called, x[:, :, ::reduction, ::reduction])
