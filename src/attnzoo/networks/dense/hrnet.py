"""HRNet: branches of several resolutions side by side, which exchange their maps again and again."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct, resize
from attnzoo.networks.base import FeatureInfo, Level
from attnzoo.networks.resnet import basic, bottleneck, draw_weights


class Fusion(nn.Module):
    """relu of the sum of all branches, each brought to the channels and the size of one of them.

    A finer map goes through convolutions with stride 2, a coarser one through a 1x1 convolution and interpolation.

    Args:
        widths: the channels of the branches, fine to coarse.
        target: the index of that one.

    Shape: maps (B, widths[i], H_i, W_i), each half as large as the one before -> a map like that of the target.
    """

    reference_keys = {r"(\d+)": r"paths.\1"}

    def __init__(self, widths: Sequence[int], target: int) -> None:
        super().__init__()
        self.target = target
        self.paths = nn.ModuleList(_path(widths, source, target) for source in range(len(widths)))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        size = maps[self.target].shape[2:]
        y = maps[self.target]
        for source, (path, x) in enumerate(zip(self.paths, maps, strict=True)):
            if source < self.target:
                y = y + path(x)
            elif source > self.target:
                y = y + resize(path(x), *size, align_corners=True)
        return F.relu(y)


class Exchange(nn.Module):
    """Four basic blocks on each branch, then a `Fusion` for each. Maps -> as many, of the same shapes."""

    reference_keys = {"fuse_layers": "fusions"}

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(basic(width, width, 1) for _ in range(4))) for width in widths)
        self.fusions = nn.ModuleList(Fusion(widths, target) for target in range(len(widths)))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [fusion(maps) for fusion in self.fusions]


class HRNet(nn.Module):
    """Two convolutions with stride 2, four bottlenecks, then stages of two, three and four branches.

    Every stage has one branch more than the one before, with half the size and twice the channels of its last.

    Args:
        in_channels: of the images.
        width: w, the channels of the finest branch.

    Shape: (B, in_channels, H, W) -> the maps of all four branches, (B, 2^i w, H / (4 * 2^i), W / (4 * 2^i)) for i from
        0 to 3, the quotients rounded up.
    """

    reference_keys = {
        **{
            f"{theirs}{i + 1}": f"stem.{i}.{ours}"
            for i in range(2)
            for theirs, ours in (("conv", "conv"), ("bn", "norm"))
        },
        r"transition1\.0": "starts.0",
        **{rf"transition{i}\.{i}\.0": f"starts.{i}" for i in range(1, 4)},
    }

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        self.stem = nn.Sequential(ConvNormAct(in_channels, 64, 3, stride=2), ConvNormAct(64, 64, 3, stride=2))
        self.layer1 = nn.Sequential(bottleneck(64, 64, 1), *(bottleneck(256, 64, 1) for _ in range(3)))
        self.starts = nn.ModuleList(
            [
                ConvNormAct(256, widths[0], 3),
                ConvNormAct(256, widths[1], 3, stride=2),
                ConvNormAct(widths[1], widths[2], 3, stride=2),
                ConvNormAct(widths[2], widths[3], 3, stride=2),
            ]
        )
        self.stage2 = _stage(widths[:2], 1)
        self.stage3 = _stage(widths[:3], 4)
        self.stage4 = _stage(widths, 3)
        self.feature_info = FeatureInfo([Level(f"stage4.2.fusions.{i}", widths[i], 4 * 2**i) for i in range(4)])
        draw_weights(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.layer1(self.stem(x))
        maps = self.stage2([self.starts[0](x), self.starts[1](x)])
        maps = self.stage3([*maps, self.starts[2](maps[-1])])
        return self.stage4([*maps, self.starts[3](maps[-1])])


def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """What gives the channels of one branch to the map of another, and the size where that is smaller."""
    if source == target:
        return nn.Identity()
    if source > target:
        return ConvNormAct(widths[source], widths[target], act_layer=None)
    halving = [ConvNormAct(widths[source], widths[source], 3, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*halving, ConvNormAct(widths[source], widths[target], 3, stride=2, act_layer=None))


def _stage(widths: Sequence[int], count: int) -> nn.Sequential:
    return nn.Sequential(*(Exchange(widths) for _ in range(count)))
