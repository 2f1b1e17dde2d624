"""ResNet-50 with coordinate attention."""

from functools import partial

from attnzoo.modules.channel_spatial.coord import CoordAttention
from attnzoo.networks.imagenet.resnets.build import resnet, usual_blocks
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of

preset(
    "coord_resnet50",
    partial(resnet, depth=50, blocks=usual_blocks(50, CoordAttention)),
    title="Coord-ResNet-50",
    paper=paper_of("coord"),
    source="paper",
    source_license="not applicable",
    summary="ResNet-50 with coordinate attention at the end of every bottleneck's branch. The place that ports for "
    "ResNets have taken, as the paper has mobile networks only.",
    summary_zh="在 ResNet-50 每个瓶颈块的残差分支末端接坐标注意力。论文只用于移动端网络，此位置取自各种 ResNet 移植。",
    reported="No figure of the authors.",
    differences=(
        "The authors publish MobileNetV2 and MobileNeXt only (see coord_mobilenetv2); users report that a ResNet can "
        "lose accuracy with it.",
    ),
    parameters=27_474_864,
    macs=4116.3,
    image_size=224,
)
