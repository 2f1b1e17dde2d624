"""MobileNetV2 for images of about 224 x 224 pixels, plain and with attention."""

from functools import partial
from typing import Final

from torch import nn

from attnzoo.blocks import Activation
from attnzoo.modules.channel.eca import ECA
from attnzoo.modules.channel_spatial.coord import CoordAttention
from attnzoo.networks.mobilenet import Block, InvertedResidual, MobileNetV2
from attnzoo.networks.papers import MOBILENETV2
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import draw_weights
from attnzoo.registry import paper_of

# of each stage, its rows: expansion, channels, blocks
STAGES: Final = (
    ((1, 16, 1),),
    ((6, 24, 2),),
    ((6, 32, 3),),
    ((6, 64, 4), (6, 96, 3)),
    ((6, 160, 3), (6, 320, 1)),
)


def mobilenet(
    called: str,
    num_classes: int,
    in_channels: int,
    features_only: bool,
    *,
    dropout: float,
    block: Block = InvertedResidual,
) -> MobileNetV2:
    """A MobileNetV2 of any blocks, with a dropout before the classifier, its weights drawn."""
    network = MobileNetV2(
        called,
        num_classes,
        in_channels,
        features_only,
        stages=STAGES,
        block=block,
        stem_stride=2,
        act_layer=nn.ReLU6,
        tail=lambda _: nn.Dropout2d(dropout),  # to leave out channels is to leave out their means
    )
    draw_weights(network, biased=True)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
    return network


def eca_block(in_channels: int, channels: int, expansion: int, stride: int, act_layer: Activation) -> InvertedResidual:
    """A branch that ends with `eca`, of kernel 3 where it gives 96 channels or more, else of kernel 1."""
    end = partial(ECA, kernel_size=1 if channels < 96 else 3)
    return InvertedResidual(in_channels, channels, expansion, stride, act_layer, end=end)


preset(
    "mobilenetv2",
    partial(mobilenet, dropout=0.2),
    title="MobileNetV2",
    paper=MOBILENETV2,
    source="pytorch/vision (torchvision.models)",
    source_license="BSD-3-Clause",
    summary="Blocks that widen the map six times, filter every channel by itself, and narrow it again without an "
    "activation. The mobile network that attention is tried on most.",
    summary_zh="每个块先把通道扩展六倍，再逐通道滤波，最后不加激活地压缩回去。它是最常用来试验注意力的移动端网络。",
    reported="ImageNet top-1, single crop 224: 71.88 (torchvision's first weights).",
    differences=("timm's mobilenetv2_100 computes the same and names its layers otherwise.",),
    parameters=3_504_872,
    macs=300.8,
    image_size=224,
)
preset(
    "eca_mobilenetv2",
    partial(mobilenet, dropout=0.25, block=eca_block),
    title="ECA-MobileNetV2",
    paper=paper_of("eca"),
    source="BangguWu/ECANet@b332f6b",
    source_license="MIT",
    summary="MobileNetV2 with ECA at the end of every block's branch. Its 17 gates together have 31 weights.",
    summary_zh="在 MobileNetV2 每个块的分支末端接 ECA。其 17 个通道门合计只有 31 个权重。",
    reported="ImageNet top-1: 72.56 (repository, kernels 1 and 3).",
    differences=(
        "A kernel of 1 weighs every channel by its own mean alone; another version of the authors' code has it for "
        "the 96 channels as well (25 weights).",
        "The repository counts parameters in units of 2^20 (3.34).",
    ),
    parameters=3_504_903,
    macs=300.8,
    image_size=224,
)
preset(
    "coord_mobilenetv2",
    partial(mobilenet, dropout=0.1, block=partial(InvertedResidual, middle=CoordAttention, flat=True)),
    title="Coord-MobileNetV2",
    paper=paper_of("coord"),
    source="houqb/CoordAttention@7619bea",
    source_license="MIT",
    summary="MobileNetV2 with coordinate attention between filter and projection of every block that widens. The gates "
    "act on the widened maps, and cost an eighth more weights.",
    summary_zh="在 MobileNetV2 每个做通道扩展的块中，于逐通道滤波与投影之间接坐标注意力。"
    "门作用于扩展后的特征图，参数增加约八分之一。",
    reported="ImageNet top-1: 74.3, the plain network 72.3 (3.95M parameters).",
    differences=("The first block, which does not widen, has no attention, as in the authors' code.",),
    parameters=3_950_648,
    macs=306.7,
    image_size=224,
)
