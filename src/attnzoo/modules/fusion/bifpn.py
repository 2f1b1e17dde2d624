"""BiFPN: a feature pyramid fused from the top down and back up, again and again, every sum with learnt weights."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.convolution.depthwise_separable import DepthwiseSeparable
from attnzoo.modules.fusion.weighted_fusion import WeightedFusion
from attnzoo.registry import paper_of, register

NORM: Final = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)


class BiFPNNode(nn.Module):
    """norm(conv(silu(fuse(maps)))), conv depthwise separable, once the maps have one width and one size.

    Args:
        in_channels: of the maps.
        channels: C, of what is fused.
        method: of `WeightedFusion`.
        pools: the last map is twice as large as the others, not half.

    Shape: maps (B, in_channels[i], H, W), of which the last has another size -> (B, C, H, W).
    """

    def __init__(self, in_channels: Sequence[int], channels: int, method: str, pools: bool) -> None:
        super().__init__()
        self.pools = pools
        self.match = nn.ModuleList(match(width, channels) for width in in_channels)
        self.fuse = WeightedFusion(len(in_channels), method, channels)
        self.conv = DepthwiseSeparable(channels, channels, bias=False)
        self.norm = NORM(channels)

    def forward(self, *maps: Tensor) -> Tensor:
        *own, other = (match(x) for match, x in zip(self.match, maps, strict=True))
        other = pool(other) if self.pools else F.interpolate(other, size=own[0].shape[2:])
        return self.norm(self.conv(F.silu(self.fuse(*own, other))))


class BiFPNLayer(nn.Module):
    """One pass from the top down and one back up: d_i = node(x_i, d_(i+1)), then y_i = node(x_i, d_i, y_(i-1)).

    At the finest level y is d, at the coarsest d is x.

    Shape: L maps (B, in_channels[i], H / 2^i, W / 2^i) -> L maps (B, channels, H / 2^i, W / 2^i).
    """

    def __init__(self, in_channels: Sequence[int], channels: int, method: str) -> None:
        super().__init__()
        *fine, top = in_channels
        above = [*[channels] * (len(fine) - 1), top]
        self.down = nn.ModuleList(
            BiFPNNode((own, other), channels, method, pools=False) for own, other in zip(fine, above, strict=True)
        )
        between = [(own, channels, channels) for own in fine[1:]]
        self.up = nn.ModuleList(
            BiFPNNode(widths, channels, method, pools=True) for widths in (*between, (top, channels))
        )

    def forward(self, *maps: Tensor) -> list[Tensor]:
        *fine, top = maps
        down = [top]
        for x, node in zip(reversed(fine), reversed(self.down), strict=True):
            down.insert(0, node(x, down[0]))
        *between, last = self.up
        made = [down[0]]
        for x, d, node in zip(fine[1:], down[1:-1], between, strict=True):
            made.append(node(x, d, made[-1]))
        return [*made, last(top, made[-1])]


@register(
    "bifpn",
    title="Bidirectional feature pyramid network (BiFPN)",
    contract="fusion",
    paper=paper_of("weighted_fusion"),
    source="paper",
    source_license="none: our reading of the paper",
    summary="Fuses a pyramid from the coarsest map down and from the finest back up, several times over, with "
    "weighted_fusion at every node. Its convolutions are depthwise separable, so that repeating it is cheap.",
    summary_zh="把特征金字塔自顶向下、再自底向上地融合，并重复多次，每个节点都用 weighted_fusion 加权。"
    "卷积均为深度可分离卷积，因此重复堆叠的代价很小。",
    placement="Between a backbone's maps at strides 8, 16 and 32 and the detection heads, which share their weights "
    "across its levels; 64 channels and 3 repeats in EfficientDet-D0, 384 and 8 in D7.",
    reported="COCO test-dev: EfficientDet-D7 52.2 AP with 52M parameters.",
    differences=(
        "No run of the authors' code is stored; the vectors are a plain reading of the paper, written out apart from "
        "this class.",
        "As in the authors' code the activation stands before the convolution, every edge from a map of another "
        "width has a 1x1 convolution of its own, and maps are pooled over 3x3 windows, padded as TensorFlow pads: an "
        "even side at its end only. PyTorch ports that pad both ends compute other numbers.",
        "The authors' convolutions have biases, which the normalisation behind them takes out; ours have none.",
    ),
    example={"in_channels": (16, 24, 32), "channels": 16, "repeats": 1},
    inputs=("B 16 8*H 8*W", "B 24 4*H 4*W", "B 32 2*H 2*W"),
)
class BiFPN(nn.Module):
    """layer(...layer(maps, and further ones pooled from the coarsest)...).

    Args:
        in_channels: channels of the maps, fine to coarse.
        channels: C, of every level of the output.
        repeats: how many layers there are.
        extra_levels: how many coarser maps are added, each half as large as the one before.
        method: how the nodes weigh their maps, of `weighted_fusion`.

    Shape: maps (B, in_channels[i], H, W), one by one, sides half the ones before, rounded up -> a list of
        len(in_channels) + extra_levels maps (B, C, H, W), the sizes going on alike.
    Cost: per layer of L levels 2 (L - 1) (C^2 + 11 C) parameters and the nodes' weights; in the first also a 1x1
        convolution for each edge from a map of another width.
    Raises: AttnzooError for fewer than two levels in all, numbers below 1, an unknown method, a single value per
        channel in training, or maps that are no such pyramid, named level by level.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 64,
        repeats: int = 3,
        extra_levels: int = 2,
        method: str = "fastattn",
    ) -> None:
        super().__init__()
        checks.sequence("bifpn", in_channels=in_channels)
        checks.positive("bifpn", channels=channels, repeats=repeats, **checks.items(in_channels=in_channels))
        checks.at_least("bifpn", 0 if len(in_channels) > 1 else 1, extra_levels=extra_levels)
        self.in_channels = tuple(in_channels)
        self.extra_levels = extra_levels
        widths = [*in_channels, *[channels] * extra_levels]
        self.enter = match(in_channels[-1], channels) if extra_levels else None
        self.layers = nn.ModuleList(
            BiFPNLayer(widths if i == 0 else [channels] * len(widths), channels, method) for i in range(repeats)
        )

    def forward(self, *maps: Tensor) -> list[Tensor]:
        checks.several_maps("bifpn", maps, len(self.in_channels))
        levels = {f"maps[{i}]": x for i, x in enumerate(maps)}
        for (name, x), width in zip(levels.items(), self.in_channels, strict=True):
            checks.shaped("bifpn", name, x, (None, width, None, None))
        checks.pyramid("bifpn", levels)
        pyramid = list(maps)
        if self.training:
            step = 2**self.extra_levels
            checks.several_values("bifpn", maps[-1][:, :, ::step, ::step])
        for i in range(self.extra_levels):
            x = pyramid[-1] if self.enter is None or i else self.enter(pyramid[-1])
            pyramid.append(pool(x))
        for layer in self.layers:
            pyramid = layer(*pyramid)
        return pyramid


def match(in_channels: int, channels: int) -> nn.Module:
    """A 1x1 convolution, normalised, where the channels differ."""
    if in_channels == channels:
        return nn.Identity()
    return ConvNormAct(in_channels, channels, norm_layer=NORM, act_layer=None)


def pool(x: Tensor) -> Tensor:
    """Maxima over 3x3 windows, every second one: (B, C, H, W) -> (B, C, ceil(H / 2), ceil(W / 2)).

    An even side is padded at its end only, an odd one at both.
    """
    height, width = x.shape[2:]
    return F.max_pool2d(F.pad(x, (width % 2, 1, height % 2, 1), value=-math.inf), 3, stride=2)
