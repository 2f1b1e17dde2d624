"""Publications of networks that carry no module of the library."""

from typing import Final

from attnzoo.registry import Paper

RESNET: Final = Paper(
    title="Deep Residual Learning for Image Recognition",
    authors="He, Zhang, Ren, Sun",
    venue="CVPR",
    year=2016,
    url="https://arxiv.org/abs/1512.03385",
)
MOBILENETV2: Final = Paper(
    title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
    authors="Sandler, Howard, Zhu, Zhmoginov, Chen",
    venue="CVPR",
    year=2018,
    url="https://arxiv.org/abs/1801.04381",
)
