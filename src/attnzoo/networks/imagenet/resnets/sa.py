"""SA-Nets."""

from functools import partial

from attnzoo.modules.channel_spatial.shuffle_attention import ShuffleAttention
from attnzoo.networks.imagenet.resnets.build import resnet, usual_blocks
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import ResNet
from attnzoo.registry import paper_of


def shuffle_attention_resnet(
    called: str, num_classes: int, in_channels: int, features_only: bool, depth: int = 50
) -> ResNet:
    """An SA-Net under any name."""
    return resnet(
        called, num_classes, in_channels, features_only, depth=depth, blocks=usual_blocks(depth, ShuffleAttention, "sa")
    )


for depth, parameters, macs, added, reported, difference in (
    (50, 25_557_740, 4089.2, 708, "77.72 (paper), 77.88 (released model)", ()),
    (
        101,
        44_550_684,
        7801.4,
        1524,
        "78.96 (paper), 78.95 (released model)",
        ("The authors' function for 101 layers gave nothing back at first.",),
    ),
):
    preset(
        f"sa_resnet{depth}",
        partial(shuffle_attention_resnet, depth=depth),
        title=f"SA-Net-{depth}",
        paper=paper_of("shuffle_attention"),
        source="wofmanaf/SA-Net@00a6760",
        source_license="none found",
        summary=f"ResNet-{depth} with shuffle attention in 64 groups at the end of every bottleneck's branch. It gates "
        f"channels and places for {added} weights in all.",
        summary_zh=f"在 ResNet-{depth} 每个瓶颈块的残差分支末端接 64 组的混洗注意力。"
        f"通道门与空间门合计只增加 {added} 个参数。",
        reported=f"ImageNet top-1: {reported}.",
        differences=(
            "Counts printed by torchsummary miss the four vectors (two scales, two shifts) of each attention layer.",
            *difference,
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
