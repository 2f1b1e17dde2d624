"""ResNets with BAM between their stages."""

from functools import partial

from torch import nn

from attnzoo.modules.channel_spatial.bam import BAM
from attnzoo.networks.imagenet.resnets.build import DEPTHS, resnet, usual_blocks
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of


def stage(last: int, blocks: list[nn.Module], channels: int) -> nn.Module:
    """The blocks, then BAM where the stage is not the last, of `last` channels."""
    return nn.Sequential(*blocks) if channels == last else nn.Sequential(*blocks, BAM(channels))


for depth, parameters, macs, reported in (
    (18, 11_712_503, 1819.2, "No figure recorded."),
    (34, 21_820_663, 3668.9, "No figure recorded."),
    (
        50,
        25_915_099,
        4171.3,
        "ImageNet top-1: 75.44 to 75.98 (paper), 76.86 (released model); 76.90 in the 100 epochs of PytorchInsight, "
        "where the plain network has 76.38.",
    ),
    (101, 44_907_227, 7883.6, "ImageNet top-1: 78.22 in the 100 epochs of PytorchInsight, the plain network 78.20."),
):
    preset(
        f"bam_resnet{depth}",
        partial(
            resnet,
            depth=depth,
            blocks=usual_blocks(depth),
            stage=partial(stage, 512 if depth < 50 else 2048),
            keys={f"bam{i + 1}": f"layer{i + 1}.{blocks}" for i, blocks in enumerate(DEPTHS[depth][:3])},
        ),
        title=f"BAM-ResNet-{depth}",
        paper=paper_of("bam"),
        source="Jongchan/attention-module@459efad",
        source_license="MIT",
        summary=f"ResNet-{depth} with BAM at the ends of its first three stages, where the map is about to shrink. "
        "Three modules in all, none of them inside a block.",
        summary_zh=f"在 ResNet-{depth} 前三个阶段的末尾、特征图即将缩小之处接 BAM。全网仅三个模块，均不在残差块之内。",
        reported=reported,
        differences=(
            "The branches of BAM are multiplied, as in the authors' code, where the paper adds them.",
            "The maps of the first three stages that features_only gives are those behind BAM.",
            "The authors' BAM pools square windows, and so takes square images only; here the mean is over any map.",
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
