"""GSoP-Nets: a gate of covariances in the last block of each stage, and a head of covariances."""

from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct, covariance, precisely, square_root, without_autocast
from attnzoo.modules.channel.gsop import GSoP
from attnzoo.networks.imagenet.resnets.build import DEPTHS, resnet
from attnzoo.networks.resnet import Block, ResNet, bottleneck
from attnzoo.registry import paper_of, register_network

KEYS: Final = {r"((conv|bn)_for_\w+|row_\w+|fc_adapt\w+|dilate_\w+)": r"branch.attention.\1"}


class CovariancePooling(nn.Module):
    """The root of the covariance of reduced channels, its upper triangle laid out as channels of one pixel.

    Args:
        channels: of the input.
        width: d, of the reduced map.
        steps: Newton-Schulz steps for the root.

    Shape: (B, channels, H, W) -> (B, d (d + 1) / 2, 1, 1), row by row.
    """

    def __init__(self, channels: int, width: int = 256, steps: int = 3) -> None:
        super().__init__()
        self.reduce = ConvNormAct(channels, width)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        reduced = precisely(self.reduce, x).flatten(2)
        with without_autocast(x):
            root = square_root(covariance(reduced), self.steps)  # (B, d, d)
        rows, columns = torch.triu_indices(*root.shape[1:], device=x.device)
        return root[:, rows, columns, None, None].to(x.dtype)


def blocks(depth: int, stages: int, mode: str, attn_channels: int) -> list[list[Block]]:
    """What makes the blocks of each stage; in so many stages the branch of the last one ends with `gsop`."""
    made: list[list[Block]] = []
    for i, count in enumerate(DEPTHS[depth]):
        gate = partial(GSoP, attn_channels=attn_channels, mode=mode, reduction_stride=1 if i else 2)
        last: Block = partial(bottleneck, attention=gate, keys=KEYS) if i < stages else bottleneck
        made.append([*[bottleneck] * (count - 1), last])
    return made


def _enter(
    name: str,
    depth: int,
    parameters: int,
    macs: float,
    reported: str,
    *,
    title: str,
    summary: str,
    summary_zh: str,
    second: bool,
    differences: tuple[str, ...] = (),
) -> None:
    @register_network(
        name,
        title=title,
        paper=paper_of("gsop"),
        source="ZilinGao/Global-Second-order-Pooling-Convolutional-Networks@662a699",
        source_license="MIT",
        summary=summary,
        summary_zh=summary_zh,
        reported=reported,
        differences=(
            "The last stage has stride 1, and so ends on maps of a sixteenth of the image's side.",
            "The authors choose the gated blocks on the command line; here it is the last one of a stage.",
            *differences,
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
    def make(
        num_classes: int = 1000,
        in_channels: int = 3,
        features_only: bool = False,
        mode: str = "channel",
        attn_channels: int = 128,
    ) -> ResNet:
        """ResNet with `gsop` of any mode and width; arguments and shapes as in `Network`."""
        return resnet(
            name,
            num_classes,
            in_channels,
            features_only,
            depth=depth,
            blocks=blocks(depth, 3 if second else 4, mode, attn_channels),
            strides=(1, 2, 2, 1),
            tail=CovariancePooling if second else None,
            tail_channels=256 * 257 // 2 if second else None,
            keys={"layer_reduce": "tail.reduce.conv", "layer_reduce_bn": "tail.reduce.norm"},
            biased=True,
        )


for depth, parameters, macs, reported in (
    (50, 28_285_224, 6397.1, "ImageNet top-1 error: 22.02 (repository)."),
    (101, 47_277_352, 10109.3, "No figure recorded."),
):
    _enter(
        f"gsop_resnet{depth}",
        depth,
        parameters,
        macs,
        reported,
        title=f"GSoP-Net1, ResNet-{depth}",
        summary=f"ResNet-{depth} where the branch of the last block of each stage is gated by the covariance of its "
        "channels. Four gates in all, and a last stage that keeps the map's size.",
        summary_zh=f"ResNet-{depth} 每个阶段最后一个块的残差分支由其通道协方差得到的门加权。"
        "全网共四个门，最后一个阶段不再缩小特征图。",
        second=False,
    )

for depth, parameters, macs, reported in (
    (50, 58_278_568, 6605.3, "ImageNet top-1 error: 21.19 (repository)."),
    (101, 77_270_696, 10317.5, "No figure recorded."),
):
    _enter(
        f"gsopnet2_resnet{depth}",
        depth,
        parameters,
        macs,
        reported,
        title=f"GSoP-Net2, ResNet-{depth}",
        summary=f"ResNet-{depth} with covariance gates in its first three stages, and the root of a covariance in "
        "place of the global average. More accurate than GSoP-Net1, with many more weights, most of them in the last "
        "layer.",
        summary_zh=f"ResNet-{depth} 的前三个阶段带协方差门，并以协方差矩阵的平方根取代全局平均池化。"
        "它比 GSoP-Net1 更准，但参数多得多，且主要在分类层。",
        second=True,
        differences=(
            "The root takes 3 Newton-Schulz steps, as in the authors' code; iSQRT-COV, which it is from, takes 5.",
        ),
    )
