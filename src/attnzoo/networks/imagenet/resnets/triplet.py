"""ResNets with triplet attention."""

from functools import partial

from attnzoo.modules.channel_spatial.triplet import TripletAttention
from attnzoo.networks.imagenet.resnets.build import (
    DEPTHS,
    block_name,
    block_name_zh,
    resnet,
    usual_blocks,
)
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of

for depth, parameters, macs, reported in (
    (18, 11_691_912, 1820.5, "No figure recorded."),
    (50, 25_561_832, 4135.5, "ImageNet top-1: 77.48 (repository, 25.56M parameters, 4.169 G multiply-adds)."),
    (101, 44_559_060, 7895.8, "No figure recorded."),
):
    weights = 300 * sum(DEPTHS[depth])
    preset(
        f"triplet_resnet{depth}",
        partial(resnet, depth=depth, blocks=usual_blocks(depth, TripletAttention, "triplet_attention")),
        title=f"Triplet-ResNet-{depth}",
        paper=paper_of("triplet"),
        source="landskape-ai/triplet-attention@2cf02fb",
        source_license="MIT",
        summary=f"ResNet-{depth} with triplet attention, of 7x7 kernels, at the end of every {block_name(depth)}'s "
        f"branch. It adds {weights:,} weights in all.",
        summary_zh=f"在 ResNet-{depth} 每个{block_name_zh(depth)}的残差分支末端接 7x7 核的三元组注意力。"
        f"总共只增加 {weights} 个参数。",
        reported=reported,
        differences=(
            "The repository's 4.169 G multiply-adds for 50 layers are of a counter that counts more than products.",
            "The authors' network pools 7 x 7 windows at the end, and so takes 224 x 224 images only; here the mean is "
            "over any map.",
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
