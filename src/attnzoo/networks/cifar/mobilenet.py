"""MobileNetV2 for 32 x 32 images."""

from functools import partial
from typing import Final

from attnzoo.networks.cifar.residual import COLLECTION, POOLING
from attnzoo.networks.mobilenet import InvertedResidual, MobileNetV2
from attnzoo.networks.papers import MOBILENETV2
from attnzoo.networks.presets import preset

# of each stage, its rows: expansion, channels, blocks
STAGES: Final = (((1, 16, 1), (6, 24, 2)), ((6, 32, 3),), ((6, 64, 4), (6, 96, 3)), ((6, 160, 3), (6, 320, 1)))

preset(
    "cifar_mobilenetv2",
    partial(MobileNetV2, stages=STAGES, block=partial(InvertedResidual, full=True)),
    title="MobileNetV2 for CIFAR",
    classes=10,
    paper=MOBILENETV2,
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
