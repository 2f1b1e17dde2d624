"""What the residual networks for images of about 224 x 224 pixels share."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from torch import nn

from attnzoo.networks.resnet import (
    Attention,
    Block,
    ResNet,
    Stem,
    basic,
    bottleneck,
    draw_weights,
    large_stem,
)

DEPTHS: Final = {  # layers -> blocks of each stage
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
CAFFE_POOL: Final = "The first pooling rounds up instead of padding, as in the authors' Caffe graph."
CAFFE_STRIDE: Final = (
    "A stage's stride is in its first 1x1 convolution; networks of the same count with it in the 3x3 convolution, as "
    "torchvision's, compute other numbers."
)


def resnet(
    called: str,
    num_classes: int,
    in_channels: int,
    features_only: bool,
    *,
    depth: int,
    blocks: Sequence[Block | Sequence[Block]],
    stem: Stem = large_stem,
    caffe: bool = False,
    biased: bool = False,
    min_size: int = 1,
    **others: Any,
) -> ResNet:
    """A ResNet with stem and pooling of stride 2 each, its weights drawn.

    Args:
        called, num_classes, in_channels, features_only, blocks, stem, min_size, others: as in `ResNet`.
        depth: layers; basic blocks below 50, else bottlenecks.
        caffe: the first pooling rounds up instead of padding.
        biased: as in `draw_weights`.
    """
    network = ResNet(
        called,
        num_classes,
        in_channels,
        features_only,
        blocks=blocks,
        depths=DEPTHS[depth],
        expansion=1 if depth < 50 else 4,
        stem=stem,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, ceil_mode=True) if caffe else nn.MaxPool2d(3, 2, padding=1),
        min_size=max(min_size, 3 if caffe else 1),
        **others,
    )
    draw_weights(network, biased)
    return network


def usual_blocks(depth: int, attention: Attention | None = None, called: str | None = None) -> Sequence[Block]:
    """For each of four stages what makes its blocks, see `usual_block`."""
    return [usual_block(depth, attention, called)] * 4


def usual_block(depth: int, attention: Attention | None = None, called: str | None = None) -> Block:
    """What makes the blocks of a stage, whose branches end with an attention, `called` so by its authors."""
    keys = {called: "branch.attention"} if called else None
    return partial(basic if depth < 50 else bottleneck, attention=attention, keys=keys)


def block_name(depth: int) -> str:
    """How a card calls the blocks."""
    return "basic block" if depth < 50 else "bottleneck"


def block_name_zh(depth: int) -> str:
    """As `block_name`, in Chinese."""
    return "基本块" if depth < 50 else "瓶颈块"
