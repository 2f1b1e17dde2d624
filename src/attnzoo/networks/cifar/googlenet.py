"""GoogLeNet for 32 x 32 images."""

from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct
from attnzoo.networks.base import Level, Network
from attnzoo.networks.cifar.residual import COLLECTION
from attnzoo.registry import Paper, register_network

_conv = partial(ConvNormAct, bias=True)
# of each stage, of each block: 1x1, the 1x1 before one 3x3, that 3x3, the 1x1 before two 3x3, these, after pooling
STAGES: Final = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1, 3x3; 1x1, 3x3, 3x3; a 3x3 maximum, 1x1.

    Args:
        in_channels: of the input.
        one, reduce3, three, reduce5, five, pool: the channels of the convolutions, in this order.

    Shape: (B, in_channels, H, W) -> (B, one + three + five + pool, H, W).
    """

    reference_keys = {  # the layers of a branch are numbered, ReLU and pooling included
        "b1": "branches.0",
        **{
            rf"b{branch + 1}\.{first + j}": f"branches.{branch}.{i}.{part}"
            for branch, starts in ((1, {0: 0, 1: 3}), (2, {0: 0, 1: 3, 2: 6}), (3, {1: 1}))
            for i, first in starts.items()
            for j, part in enumerate(("conv", "norm"))
        },
    }

    def __init__(
        self, in_channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                _conv(in_channels, one),
                nn.Sequential(_conv(in_channels, reduce3), _conv(reduce3, three, 3)),
                nn.Sequential(_conv(in_channels, reduce5), _conv(reduce5, five, 3), _conv(five, five, 3)),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _conv(in_channels, pool)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class GoogLeNet(Network):
    """conv3x3, then stages of 2, 5 and 2 `Inception` blocks; arguments and shapes as in `Network`."""

    reference_keys = {
        "pre_layers": "stem",
        **{
            f"{letter}{i + 3}": f"layer{i + 1}.{j + (i > 0)}"  # behind a pooling in all stages but the first
            for i, blocks in enumerate(STAGES)
            for j, letter in enumerate("abcde"[: len(blocks)])
        },
        "linear": "fc",
    }

    def __init__(self, called: str, num_classes: int, in_channels: int, features_only: bool) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        self.stem = _conv(in_channels, 192, 3)
        channels, levels = 192, []
        for i, blocks in enumerate(STAGES):
            stage: list[nn.Module] = [nn.MaxPool2d(3, 2, padding=1)] if i else []
            for widths in blocks:
                stage.append(Inception(channels, *widths))
                one, _, three, _, five, pool = widths
                channels = one + three + five + pool
            levels.append(Level(f"layer{i + 1}", channels, 2**i))
            self.add_module(levels[-1].module, nn.Sequential(*stage))
        self.complete(("stem", "layer1", "layer2", "layer3"), levels, channels)


@register_network(
    "cifar_googlenet",
    title="GoogLeNet for CIFAR",
    paper=Paper(
        title="Going Deeper with Convolutions",
        authors="Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
        venue="CVPR",
        year=2015,
        url="https://arxiv.org/abs/1409.4842",
    ),
    source=COLLECTION,
    source_license="MIT",
    summary="Nine blocks of four branches with kernels of different reach, whose outputs stand side by side. Six "
    "million weights, but the most multiply-adds of the networks for CIFAR here.",
    summary_zh="九个四分支块，各分支卷积核的感受野不同，输出按通道拼接。"
    "它只有六百万个参数，乘加量却是这里 CIFAR 网络中最多的。",
    reported="No figure recorded.",
    differences=(
        "Two 3x3 convolutions stand in place of the paper's 5x5, every convolution has a bias and BatchNorm, and there "
        "are no auxiliary classifiers and no dropout.",
        "The original pools 8 x 8 windows, and so takes 32 x 32 images only; here the mean is over any map.",
    ),
    parameters=6_166_250,
    macs=1521.8,
    image_size=32,
)
def cifar_googlenet(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> GoogLeNet:
    """See `GoogLeNet`."""
    return GoogLeNet("cifar_googlenet", num_classes, in_channels, features_only)
