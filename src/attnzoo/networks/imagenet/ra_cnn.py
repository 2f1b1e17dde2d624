"""RA-CNN: three networks that look closer and closer, each at the square that the one before proposes."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import spatial_mean
from attnzoo.modules.network.ra_cnn_apn import AttentionProposal
from attnzoo.modules.network.ra_cnn_crop import AttentionCrop
from attnzoo.networks.base import ImageNetwork
from attnzoo.networks.vgg import VGG, VGG19, WIDTHS
from attnzoo.registry import paper_of, register_network


class Looks(NamedTuple):
    """What RA-CNN saw in S looks.

    Attributes:
        logits: (B, K), from the features of all looks.
        scales: (S, B, K), from those of each.
        boxes: (S - 1, B, 3), the squares that were proposed: row and column of the centre and half the side, over the
            side of the image that the look was at.
        peaks: (S - 1, B, 2), row and column of where the features of the look respond most, over its sides.
    """

    logits: Tensor
    scales: Tensor
    boxes: Tensor
    peaks: Tensor


class RACNN(ImageNetwork):
    """A VGG, a proposal from its last map, a crop of the image to that square, the next VGG, and so on.

    For its training in turns see `attnzoo.networks.losses.RACNNLoss`.

    Args:
        called, num_classes, in_channels: as in `ImageNetwork`.
        features_only: give the maps of the first VGG.
        image_size: the side of the images; all further looks have half of it.
        num_scales: S, how many looks.
        depths, widths, batch_norm: of each `VGG`.
        hidden_channels: of `ra_cnn_apn`.

    Shape: (B, in_channels, image_size, image_size) -> `Looks`, or a list of maps.
    Raises: AttnzooError for numbers below 1, fewer than two scales, an image_size that leaves no place in the last map
        of the second look, or an input that is not (B, in_channels, image_size, image_size).
    """

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        *,
        image_size: int = 448,
        num_scales: int = 3,
        depths: Sequence[int] = VGG19,
        widths: Sequence[int] = WIDTHS,
        batch_norm: bool = False,
        hidden_channels: int = 1024,
    ) -> None:
        checks.at_least(called, 2, num_scales=num_scales)
        trunks = [
            VGG(called, num_classes, in_channels, True, depths=depths, widths=widths, batch_norm=batch_norm)
            for _ in range(1 if features_only else num_scales)
        ]
        stride = trunks[0].min_size
        checks.at_least(called, 2 * stride, image_size=image_size)
        super().__init__(called, num_classes, in_channels, features_only, image_size=(image_size, image_size))
        self.trunks = nn.ModuleList(trunks)
        self.feature_info = trunks[0].feature_info.within("trunks.0")
        if features_only:
            return
        width = widths[-1]
        sides = [image_size // stride // 2, *[image_size // 2 // stride] * (num_scales - 2)]
        self.proposals = nn.ModuleList(AttentionProposal(width, (side, side), hidden_channels) for side in sides)
        self.crop = AttentionCrop(out_size=image_size // 2)
        self.classifiers = nn.ModuleList(nn.Linear(width, num_classes) for _ in trunks)
        self.fusion = nn.Linear(num_scales * width, num_classes)

    def forward(self, x: Tensor) -> Looks | list[Tensor]:
        checks.nchw(self.called, x, self.in_channels)
        checks.square_map(self.called, x)
        self.check_input(x)
        if self.features_only:
            return self.trunks[0](x)
        descriptors, scales, boxes, peaks = [], [], [], []
        for i, (trunk, classify) in enumerate(zip(self.trunks, self.classifiers, strict=True)):
            seen = trunk(x)[-1]
            descriptors.append(spatial_mean(seen).to(seen.dtype))
            scales.append(classify(descriptors[-1]))
            if i < len(self.proposals):
                boxes.append(self.proposals[i](seen if i else F.max_pool2d(seen, 2)))
                peaks.append(strongest(seen))
                x = self.crop(x, boxes[-1] * x.shape[2])
        logits = self.fusion(torch.cat([F.normalize(part) for part in descriptors], dim=1))
        return Looks(logits, torch.stack(scales), torch.stack(boxes), torch.stack(peaks))

    def classification_parameters(self) -> Iterator[nn.Parameter]:
        """What learns from labels: trunks, classifiers, fusion."""
        return chain(self.trunks.parameters(), self.classifiers.parameters(), self.fusion.parameters())

    def attention_parameters(self) -> Iterator[nn.Parameter]:
        """What learns where to look: the proposals."""
        return self.proposals.parameters()


def strongest(features: Tensor) -> Tensor:
    """Row and column of the place of the largest mean over the channels, over the sides: (B, C, H, W) -> (B, 2)."""
    height, width = features.shape[2:]
    place = features.mean(dim=1).flatten(1).argmax(dim=1)
    return torch.stack([(place // width + 0.5) / height, (place % width + 0.5) / width], dim=1).to(features.dtype)


@register_network(
    "ra_cnn",
    title="RA-CNN",
    paper=paper_of("ra_cnn_apn"),
    source="jeong-tae/RACNN-pytorch@463fa7f (a third-party port)",
    source_license="none found",
    summary="Three VGG-19 that look at an image closer and closer, the second and third at the square that the one "
    "before proposes by ra_cnn_apn and ra_cnn_crop. Classifiers and proposals are trained in turn, the latter by "
    "ra_cnn_rank_loss.",
    summary_zh="三个 VGG-19 逐级凑近观察图像，后两个只看前一个经 ra_cnn_apn 与 ra_cnn_crop 提议的正方形区域。"
    "分类器与提议网络交替训练，后者由 ra_cnn_rank_loss 训练。",
    reported="CUB-200-2011: 85.3% with three scales (paper); the port reaches 71.7% at the first.",
    differences=(
        "The logits come from the features of all scales, each normalised, by one linear layer, as in the paper; the "
        "port stops at the logits of the scales, which are given as well.",
        "Further looks have half the image's side, 224 pixels of 448, whatever the image_size.",
        "The crop's first number runs along the rows, as in the port.",
        "VGG-19 is that of the paper, without batch normalisation; batch_norm=True adds it.",
        "Nobody's run is stored: the parts equal the port, their assembly is our reading of the paper.",
    ),
    parameters=266_217_446,
    macs=117_526.5,
    image_size=448,
)
def ra_cnn(
    num_classes: int = 200,
    in_channels: int = 3,
    features_only: bool = False,
    image_size: int = 448,
    num_scales: int = 3,
    depths: Sequence[int] = VGG19,
    widths: Sequence[int] = WIDTHS,
    batch_norm: bool = False,
    hidden_channels: int = 1024,
) -> RACNN:
    """VGG-19 at several scales with `ra_cnn_apn` and `ra_cnn_crop`, see `RACNN`."""
    return RACNN(
        "ra_cnn",
        num_classes,
        in_channels,
        features_only,
        image_size=image_size,
        num_scales=num_scales,
        depths=depths,
        widths=widths,
        batch_norm=batch_norm,
        hidden_channels=hidden_channels,
    )
