"""ResNets with CBAM."""

from functools import partial

from attnzoo.blocks import silence
from attnzoo.modules.channel_spatial.cbam import CBAM
from attnzoo.networks.imagenet.resnets.build import block_name, block_name_zh, resnet, usual_blocks
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of


def attention(channels: int) -> CBAM:
    """CBAM whose places all weigh 1/2 at first, as in the authors' networks."""
    made = CBAM(channels)
    if made.spatial_gate:
        silence(made.spatial_gate.norm)
    return made


for depth, parameters, macs, reported in (
    (18, 11_779_392, 1815.1, "No figure recorded."),
    (34, 21_960_468, 3665.4, "No figure recorded."),
    (
        50,
        28_089_624,
        4095.6,
        "ImageNet top-1: 75.44 to 77.34 (paper), 77.62 (released model); 77.63 in the 100 epochs of PytorchInsight, "
        "where the plain network has 76.38.",
    ),
    (101, 49_330_172, 7812.6, "ImageNet top-1: 78.35 in the 100 epochs of PytorchInsight, the plain network 78.20."),
):
    preset(
        f"cbam_resnet{depth}",
        partial(resnet, depth=depth, blocks=usual_blocks(depth, attention, "cbam")),
        title=f"CBAM-ResNet-{depth}",
        paper=paper_of("cbam"),
        source="Jongchan/attention-module@459efad",
        source_license="MIT",
        summary=f"ResNet-{depth} with CBAM at the end of every {block_name(depth)}'s branch. At first all places weigh "
        "one half.",
        summary_zh=f"在 ResNet-{depth} 每个{block_name_zh(depth)}的残差分支末端接 CBAM。"
        "训练开始时各位置的权重均为二分之一。",
        reported=reported,
        differences=(
            "timm's CBAM networks have other gates: no biases, and the mean before the maximum.",
            "The authors' network pools 7 x 7 windows at the end, and so takes 224 x 224 images only; here the mean is "
            "over any map.",
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
