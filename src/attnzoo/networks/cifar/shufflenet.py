"""ShuffleNetV2 for 32 x 32 images."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct, shuffle_channels
from attnzoo.networks.base import Level, Network
from attnzoo.networks.cifar.residual import COLLECTION, POOLING
from attnzoo.registry import Paper, register_network


class Branch(nn.Sequential):
    """1x1, depthwise 3x3 and 1x1 convolutions; only the first and last with ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(
            OrderedDict(
                conv1=ConvNormAct(in_channels, channels),
                conv2=ConvNormAct(channels, channels, 3, stride, groups=channels, act_layer=None),
                conv3=ConvNormAct(channels, channels),
            )
        )


class SplitBlock(nn.Module):
    """shuffle([a, branch(b)]), a and b the halves of x: (B, C, H, W) -> (B, C, H, W)."""

    reference_keys = {r"conv(\d)": r"branch.conv\1.conv", r"bn(\d)": r"branch.conv\1.norm"}

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = Branch(channels // 2, channels // 2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        return shuffle_channels(torch.cat([kept, self.branch(changed)], dim=1), 2)


class DownBlock(nn.Module):
    """shuffle([left(x), branch(x)]), both with stride 2: (B, C, H, W) -> (B, channels, ceil(H / 2), ceil(W / 2))."""

    reference_keys = {  # numbered through
        f"{theirs}{i + 1}": f"{at}.{part}"
        for i, at in enumerate(("left.0", "left.1", "branch.conv1", "branch.conv2", "branch.conv3"))
        for theirs, part in (("conv", "conv"), ("bn", "norm"))
    }

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.left = nn.Sequential(
            ConvNormAct(in_channels, in_channels, 3, 2, groups=in_channels, act_layer=None),
            ConvNormAct(in_channels, channels // 2),
        )
        self.branch = Branch(in_channels, channels // 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return shuffle_channels(torch.cat([self.left(x), self.branch(x)], dim=1), 2)


class ShuffleNetV2(Network):
    """conv3x3, three stages that begin with a `DownBlock`, conv1x1; arguments and shapes as in `Network`."""

    reference_keys = {
        "conv1": "stem.conv",
        "bn1": "stem.norm",
        "conv2": "tail.conv",
        "bn2": "tail.norm",
        "linear": "fc",
    }

    def __init__(self, called: str, num_classes: int, in_channels: int, features_only: bool) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        self.stem = ConvNormAct(in_channels, 24, 3)
        widths, levels = (24, 116, 232, 464), [Level("stem", 24, 1)]
        for i, blocks in enumerate((3, 7, 3)):
            stage = [DownBlock(widths[i], widths[i + 1]), *(SplitBlock(widths[i + 1]) for _ in range(blocks))]
            levels.append(Level(f"layer{i + 1}", widths[i + 1], 2 ** (i + 1)))
            self.add_module(levels[-1].module, nn.Sequential(*stage))
        self.tail = ConvNormAct(464, 1024)
        self.complete(("stem", "layer1", "layer2", "layer3", "tail"), levels, 1024)


@register_network(
    "cifar_shufflenetv2",
    title="ShuffleNetV2 1x for CIFAR",
    paper=Paper(
        title="ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        authors="Ma, Zhang, Zheng, Sun",
        venue="ECCV",
        year=2018,
        url="https://arxiv.org/abs/1807.11164",
    ),
    source=COLLECTION,
    source_license="MIT",
    summary="Every block works on half of the channels, hands on the other half, and shuffles the two. A light network "
    "whose cost in time is near its cost in multiply-adds.",
    summary_zh="每个块只处理一半通道，另一半直接传下去，随后把两半混洗。它很轻，实际耗时与乘加量接近。",
    reported="No figure recorded.",
    differences=(
        "The stem has stride 1 and no pooling follows it, as the images are small; the stages have 4, 8 and 4 blocks.",
        POOLING,
    ),
    parameters=1_263_854,
    macs=45.0,
    image_size=32,
)
def cifar_shufflenetv2(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> ShuffleNetV2:
    """The width 1x, see `ShuffleNetV2`."""
    return ShuffleNetV2("cifar_shufflenetv2", num_classes, in_channels, features_only)
