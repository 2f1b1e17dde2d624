"""MobileNetV2 for 32 x 32 images."""

from collections import OrderedDict
from typing import Final

from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct
from attnzoo.networks.base import Level, Network
from attnzoo.networks.cifar.residual import COLLECTION, POOLING
from attnzoo.registry import Paper, register_network

# of each stage, its rows: expansion, channels, blocks
STAGES: Final = (((1, 16, 1), (6, 24, 2)), ((6, 32, 3),), ((6, 64, 4), (6, 96, 3)), ((6, 160, 3), (6, 320, 1)))


class InvertedResidual(nn.Module):
    """branch(x) + shortcut(x), the branch widening, filtering channel by channel, narrowing; no sum with stride 2.

    Shape: (B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = expansion * in_channels
        self.branch = nn.Sequential(
            OrderedDict(
                expand=ConvNormAct(in_channels, width),
                filter=ConvNormAct(width, width, 3, stride, groups=width),
                project=ConvNormAct(width, channels, act_layer=None),
            )
        )
        self.adds = stride == 1
        widens = self.adds and in_channels != channels
        self.shortcut = ConvNormAct(in_channels, channels, act_layer=None) if widens else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        return y + self.shortcut(x) if self.adds else y


class MobileNetV2(Network):
    """conv3x3, stages of `InvertedResidual` blocks, conv1x1; arguments and shapes as in `Network`."""

    def __init__(self, called: str, num_classes: int, in_channels: int, features_only: bool) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        self.stem = ConvNormAct(in_channels, 32, 3)
        before, levels = 32, []
        for i, rows in enumerate(STAGES):
            stage: list[nn.Module] = []
            for expansion, channels, blocks in rows:
                for _ in range(blocks):
                    stage.append(InvertedResidual(before, channels, expansion, stride=1 if stage or not i else 2))
                    before = channels
            levels.append(Level(f"layer{i + 1}", before, 2**i))
            self.add_module(levels[-1].module, nn.Sequential(*stage))
        self.tail = ConvNormAct(before, 1280)
        self.complete(("stem", "layer1", "layer2", "layer3", "layer4", "tail"), levels, 1280)


@register_network(
    "cifar_mobilenetv2",
    title="MobileNetV2 for CIFAR",
    paper=Paper(
        title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        authors="Sandler, Howard, Zhu, Zhmoginov, Chen",
        venue="CVPR",
        year=2018,
        url="https://arxiv.org/abs/1801.04381",
    ),
    source=COLLECTION,
    source_license="MIT",
    summary="Blocks that widen the map six times, filter every channel by itself, and narrow it again without an "
    "activation. The usual mobile baseline, fitted to small images.",
    summary_zh="每个块先把通道扩展六倍，再逐通道滤波，最后不加激活地压缩回去。它是移动端常用的基线，这里适配小图像。",
    reported="CIFAR-10 top-1 94.43 (older schedule of the collection).",
    differences=(
        "Stem and second row have stride 1, as the images are small.",
        "A block with stride 1 always has a shortcut, with a convolution where the channels change; the paper's has "
        "none there.",
        "ReLU instead of ReLU6, and a 1x1 convolution also where nothing is widened.",
        POOLING,
    ),
    parameters=2_296_922,
    macs=91.2,
    image_size=32,
)
def cifar_mobilenetv2(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> MobileNetV2:
    """See `MobileNetV2`."""
    return MobileNetV2("cifar_mobilenetv2", num_classes, in_channels, features_only)
