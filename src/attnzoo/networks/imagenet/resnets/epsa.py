"""EPSANets."""

from functools import partial
from typing import Final

from torch import nn

from attnzoo.modules.channel.psa import PSA
from attnzoo.networks.imagenet.resnets.build import resnet
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import bottleneck
from attnzoo.registry import paper_of

KEYS: Final = {"conv2": "branch.conv2.0", "bn2": "branch.conv2.1"}


def middle(channels: int, stride: int) -> nn.Module:
    """What stands in place of the 3x3 convolution."""
    return nn.Sequential(PSA(channels, stride=stride), nn.BatchNorm2d(channels), nn.ReLU())


for depth, parameters, macs, top1, large in (
    (50, 22_561_715, 3597.9, "77.49", "27.90M"),
    (101, 38_900_279, 6788.1, "78.43", "49.59M"),
):
    preset(
        f"epsanet{depth}",
        partial(resnet, depth=depth, blocks=[partial(bottleneck, middle=middle, keys=KEYS)] * 4),
        title=f"EPSANet-{depth} (small)",
        paper=paper_of("psa"),
        source="murufeng/EPSANet@9955041",
        source_license="MIT",
        summary=f"ResNet-{depth} whose 3x3 convolutions are pyramids of kernels 3, 5, 7 and 9, weighed against each "
        f"other per channel. It has fewer weights than ResNet-{depth}.",
        summary_zh=f"把 ResNet-{depth} 的 3x3 卷积换成 3、5、7、9 四种卷积核的金字塔，并逐通道相互加权。"
        f"参数比 ResNet-{depth} 更少。",
        reported=f"ImageNet top-1: {top1}.",
        differences=(
            f"Only the small form of the paper is in the authors' code; the large one, published with {large}, is not.",
            "PSA's map is normalised and rectified, as a convolution's.",
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
