"""ResT: four stages of attention with reduced keys and values, and a gate for every pixel before each."""

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ChannelNorm, ConvNormAct, depthwise, drop_path, precisely
from attnzoo.modules.self_attention.emsa import EMSA
from attnzoo.networks.base import Level, Network
from attnzoo.networks.presets import preset
from attnzoo.networks.transformers import COUNTED, POINT, draw_narrowly, mlp
from attnzoo.registry import paper_of, register_network


class PixelGate(nn.Module):
    """x * gate(x), a gate for every element from the 3x3 places around it: (B, channels, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = depthwise(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        return precisely(self.conv, x).sigmoid().to(x.dtype)


class Block(nn.Module):
    """EMSA and an MLP, each added to its input, which is normalised first.

    Args:
        channels, num_heads, sr_ratio, apply_transform: of `EMSA`.
        mlp_ratio: the MLP's width over the channels.
        drop_path: probability with which a half is left out for a sample in training.

    Shape: (B, channels, H, W) -> the same.
    """

    def __init__(
        self, channels: int, num_heads: int, sr_ratio: int, mlp_ratio: float, apply_transform: bool, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.attn = EMSA(channels, num_heads, qkv_bias=True, sr_ratio=sr_ratio, apply_transform=apply_transform)
        self.norm2 = ChannelNorm(channels)
        self.mlp = mlp(channels, int(mlp_ratio * channels), POINT)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + drop_path(self.attn(self.norm1(x)), self.drop_path, self.training).to(x.dtype)
        return x + drop_path(self.mlp(self.norm2(x)), self.drop_path, self.training).to(x.dtype)


class ResT(Network):
    """A stem of stride 4, stages of `Block`s, each but the first at half the map of the one before, LayerNorm, mean.

    Args:
        called, num_classes, in_channels, features_only: as in `Network`.
        channels, depths, num_heads, mlp_ratios, sr_ratios: of each stage.
        apply_transform: mix the heads of the attention, see `EMSA`.
        drop_path_rate: probability with which a half of the last block is left out for a sample in training; it grows
            to that from 0 in the first block.

    Shape: (B, in_channels, H, W) -> (B, num_classes), or a list of (B, channels, H / reduction, W / reduction), the
        quotients rounded up.
    """

    reference_keys = {
        r"stem\.conv([12])": r"stem.conv\1.conv",
        r"stem\.norm([12])": r"stem.conv\1.norm",
        r"stem\.pos\.pa_conv": "stem.gate.conv",
        r"patch_embed_(\d+)\.pos\.pa_conv": r"embed\1.gate.conv",
        r"patch_embed_(\d+)": r"embed\1.conv",
        r"stage(\d+)": r"layer\1",
        "head": "fc",
    }

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        *,
        channels: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int] = (1, 2, 4, 8),
        mlp_ratios: Sequence[float] = (4, 4, 4, 4),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        apply_transform: bool = True,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        checks.probability(called, drop_path_rate=drop_path_rate)
        steps, levels = ["stem"], []
        self.stem = _stem(in_channels, channels[0])
        rate, places = drop_path_rate / max(sum(depths) - 1, 1), itertools.count()
        for i, (width, depth, heads, mlp_ratio, sr_ratio) in enumerate(
            zip(channels, depths, num_heads, mlp_ratios, sr_ratios, strict=True)
        ):
            if i:
                steps.append(f"embed{i + 1}")
                self.add_module(steps[-1], _embedding(channels[i - 1], width))
            blocks = (
                Block(width, heads, sr_ratio, mlp_ratio, apply_transform, rate * next(places)) for _ in range(depth)
            )
            steps.append(f"layer{i + 1}")
            self.add_module(steps[-1], nn.Sequential(*blocks))
            levels.append(Level(steps[-1], width, 4 * 2**i))
        self.norm = ChannelNorm(channels[-1])
        self.complete([*steps, "norm"], levels, channels[-1])
        draw_narrowly(self.modules())


def _stem(in_channels: int, channels: int) -> nn.Sequential:
    """Three 3x3 convolutions, the first and last with stride 2, and a gate."""
    half = channels // 2
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=ConvNormAct(in_channels, half, 3, stride=2),
        conv2=ConvNormAct(half, half, 3),
        conv3=nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False),
        gate=PixelGate(channels),
    )
    return nn.Sequential(parts)


def _embedding(in_channels: int, channels: int) -> nn.Sequential:
    """A 3x3 convolution with stride 2, and a gate."""
    conv = ConvNormAct(in_channels, channels, 3, stride=2, bias=True, act_layer=None)
    return nn.Sequential(OrderedDict[str, nn.Module](conv=conv, gate=PixelGate(channels)))


CARD: Final[dict[str, Any]] = {
    "paper": paper_of("emsa"),
    "source": "wofmanaf/ResT@b9245d3",
    "source_license": "Apache-2.0",
    "image_size": 224,
}
NARROW: Final = (64, 128, 256, 512)
WIDE: Final = (96, 192, 384, 768)
SIZES: Final = (
    "The authors' code fails where a map of odd height or width is to be halved; here it is halved rounding up."
)
SECOND: Final = "ResTv2, in the same repository, embeds its stages otherwise and has a second branch: another network."


@register_network(
    "rest",
    title="ResT of any size",
    summary="The ResT pyramid, whose widths, depths, heads and reductions are yours to choose. By default it is "
    "rest_lite.",
    summary_zh="ResT 金字塔网络，各阶段的宽度、深度、头数与缩减倍数均可自定。默认即 rest_lite。",
    reported="See rest_lite and its larger kin.",
    differences=(SIZES, SECOND, "The authors' code has four stages; here there are as many as the lists have items."),
    parameters=10_508_300,
    macs=1533.1,
    **CARD,
)
def rest(
    num_classes: int = 1000,
    in_channels: int = 3,
    features_only: bool = False,
    channels: Sequence[int] = NARROW,
    depths: Sequence[int] = (2, 2, 2, 2),
    num_heads: Sequence[int] = (1, 2, 4, 8),
    mlp_ratios: Sequence[float] = (4, 4, 4, 4),
    sr_ratios: Sequence[int] = (8, 4, 2, 1),
    apply_transform: bool = True,
    drop_path_rate: float = 0.0,
) -> ResT:
    """Lists have one item a stage; see `ResT`."""
    checks.sequence("rest", channels=channels)
    checks.at_least("rest", 2, **checks.items(channels=channels))
    stages = len(channels)
    checks.sequence("rest", stages, depths=depths, num_heads=num_heads, mlp_ratios=mlp_ratios, sr_ratios=sr_ratios)
    checks.positive("rest", **checks.items(depths=depths, num_heads=num_heads, sr_ratios=sr_ratios))
    checks.above_zero("rest", **checks.items(mlp_ratios=mlp_ratios))

    return ResT(
        "rest",
        num_classes,
        in_channels,
        features_only,
        channels=channels,
        depths=depths,
        num_heads=num_heads,
        mlp_ratios=mlp_ratios,
        sr_ratios=sr_ratios,
        apply_transform=apply_transform,
        drop_path_rate=drop_path_rate,
    )


preset(
    "rest_lite",
    partial(ResT, channels=NARROW, depths=(2, 2, 2, 2)),
    options=["drop_path_rate"],
    title="ResT-Lite",
    summary="Four stages of two blocks each, of 64 to 512 channels, with heads from 1 to 8. The smallest ResT.",
    summary_zh="四个阶段各两个块，通道数 64 到 512，头数从 1 到 8。它是最小的 ResT。",
    reported="ImageNet top-1: 77.2.",
    differences=(SIZES, SECOND, COUNTED.format("1.46")),
    parameters=10_508_300,
    macs=1533.1,
    **CARD,
)
preset(
    "rest_small",
    partial(ResT, channels=NARROW, depths=(2, 2, 6, 2)),
    options=["drop_path_rate"],
    title="ResT-Small",
    summary="ResT-Lite with six blocks in its third stage. Two points more accurate for 3 million parameters.",
    summary_zh="第三阶段增至六个块的 ResT-Lite。以多 300 万参数换取两个百分点的精度。",
    reported="ImageNet top-1: 79.6.",
    differences=(SIZES, SECOND, COUNTED.format("2.0")),
    parameters=13_679_708,
    macs=2093.4,
    **CARD,
)
preset(
    "rest_base",
    partial(ResT, channels=WIDE, depths=(2, 2, 6, 2)),
    options=["drop_path_rate"],
    title="ResT-Base",
    summary="ResT-Small at one and a half times its width, of 96 to 768 channels. The ResT of 30 million parameters.",
    summary_zh="宽度为 ResT-Small 一倍半的版本，通道数 96 到 768。它是 3000 万参数的 ResT。",
    reported="ImageNet top-1: 81.6.",
    differences=(SIZES, SECOND, COUNTED.format("4.49")),
    parameters=30_327_052,
    macs=4625.9,
    **CARD,
)
preset(
    "rest_large",
    partial(ResT, channels=WIDE, depths=(2, 2, 18, 2)),
    options=["drop_path_rate"],
    title="ResT-Large",
    summary="ResT-Base with eighteen blocks in its third stage. The largest of the family.",
    summary_zh="第三阶段增至十八个块的 ResT-Base。它是该系列中最大的网络。",
    reported="ImageNet top-1: 83.6.",
    differences=(SIZES, SECOND, COUNTED.format("8.13")),
    parameters=51_676_156,
    macs=8359.8,
    **CARD,
)
