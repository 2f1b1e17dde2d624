"""The plain ResNets, which attention is measured against."""

from functools import partial

from attnzoo.networks.imagenet.resnets.build import (
    DEPTHS,
    block_name,
    block_name_zh,
    resnet,
    usual_blocks,
)
from attnzoo.networks.papers import RESNET
from attnzoo.networks.presets import preset

for depth, parameters, macs, top1 in (
    (18, 11_689_512, 1814.1, "69.76"),
    (34, 21_797_672, 3663.8, "73.31"),
    (50, 25_557_032, 4089.2, "76.13"),
    (101, 44_549_160, 7801.4, "77.37"),
    (152, 60_192_808, 11513.6, "78.31"),
):
    a, b, c, d = DEPTHS[depth]
    preset(
        f"resnet{depth}",
        partial(resnet, depth=depth, blocks=usual_blocks(depth)),
        title=f"ResNet-{depth}",
        paper=RESNET,
        source="pytorch/vision (torchvision.models)",
        source_license="BSD-3-Clause",
        summary=f"A 7x7 convolution, a pooling, and four stages of {a}, {b}, {c} and {d} {block_name(depth)}s. The "
        "plain network that its kin with attention are measured against.",
        summary_zh=f"7x7 卷积与池化之后接四个阶段，分别有 {a}、{b}、{c}、{d} 个{block_name_zh(depth)}。"
        "它是不带注意力的基线，各种注意力都以它为参照。",
        reported=f"ImageNet top-1, single crop 224: {top1} (torchvision's first weights).",
        differences=(
            "A stage's stride is in its first 3x3 convolution, as in torchvision; the original Caffe networks of 50 "
            "layers and more have it in the 1x1 convolution before.",
            "timm's network of this name has as many parameters and names them as torchvision does.",
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
