"""GANet: a pyramid whose steps silence the background, and a head that finds and counts objects."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.modules.network.guided_background_attention import UNSURE, GuidedBackgroundAttention
from attnzoo.modules.network.guided_foreground_attention import GuidedForegroundAttention
from attnzoo.networks.base import ImageNetwork
from attnzoo.networks.dense.boxes import grid, suppressed
from attnzoo.networks.resnet import ResNet, bottleneck, draw_weights, large_stem
from attnzoo.networks.vgg import VGG, VGG16
from attnzoo.registry import paper_of, register_network

STRIDES: Final = (32, 16, 8, 4)  # of the maps, coarse to fine
BACKBONES: Final = ("resnet50", "vgg16")
FEW: Final = -6.0  # where the count's logits start: next to nothing in each place


class Found(NamedTuple):
    """What GANet gives for B images, h x w the sides of their maps of stride 4.

    Attributes:
        scores: (B, K, h, w), logits of an object of each class around a place.
        distances: (B, 4, h, w), from a place to the left, upper, right and lower side of its object, in pixels.
        counts: (B, K), objects of each class.
        parts: (B, 5, h, w), logits of objects and of their four corners.
        masks: logits of objects, (B, 1, H / s, W / s), at the strides s = 16, 8 and 4.
    """

    scores: Tensor
    distances: Tensor
    counts: Tensor
    parts: Tensor
    masks: tuple[Tensor, ...]


class Objects(NamedTuple):
    """The objects of one image, best first: boxes (N, 4) as x1, y1, x2, y2 in pixels, scores (N), labels (N)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class GuidedAttentionNet(ImageNetwork):
    """Top-down steps of `guided_background_attention`, `guided_foreground_attention`, three 1x1 convolutions.

    It is trained with `attnzoo.networks.dense.guided_attention_loss.GuidedAttentionLoss`.

    Args:
        called, num_classes, in_channels: as in `ImageNetwork`.
        backbone: gives maps and tells of them in `feature_info`, as our networks and timm's do with features_only=True.
        channels: behind each of the three steps.

    Shape: (B, in_channels, H, W) -> `Found`.
    Raises: AttnzooError for a backbone without maps of strides 4, 8, 16 and 32, other than three channels, and as
        `ImageNetwork`.
    """

    def __init__(
        self, called: str, num_classes: int, in_channels: int, backbone: nn.Module, channels: Sequence[int]
    ) -> None:
        checks.sequence(called, length=len(STRIDES) - 1, channels=channels)
        checks.positive(called, **checks.items(channels=channels))
        super().__init__(called, num_classes, in_channels, min_size=getattr(backbone, "min_size", 1))
        self.places, (high, *lows) = checks.strides(called, backbone, STRIDES)
        self.backbone = backbone
        self.steps = nn.ModuleList(
            GuidedBackgroundAttention(coarse, fine, out)
            for coarse, fine, out in zip((high, *channels), lows, channels, strict=False)
        )
        self.foreground = GuidedForegroundAttention(channels[-1])
        self.score = nn.Conv2d(channels[-1], num_classes, 1)
        self.side = nn.Conv2d(channels[-1], 4, 1)
        self.share = nn.Conv2d(channels[-1], num_classes, 1)
        nn.init.constant_(self.share.bias, FEW)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Found:
        self.check_input(x)
        maps = self.backbone(x)
        y, *finer = (maps[place] for place in self.places)
        masks = []
        for step, low in zip(self.steps, finer, strict=True):
            y, mask = step(low, y)
            masks.append(mask)
        y, parts = self.foreground(y)
        distances = F.softplus(self.side(y)) * STRIDES[-1]
        counts = F.softplus(self.share(y)).sum(dim=(2, 3))
        return Found(self.score(y), distances, counts, parts, tuple(masks))


def objects(found: Found, threshold: float = 0.8, overlap: float = 0.5, most: int = 1000) -> list[Objects]:
    """The objects of each image: places above a threshold, their boxes, without those that overlap a better one.

    Args:
        found: what the network gave.
        threshold: of the sigmoid of the scores.
        overlap: the highest intersection over union of two boxes of a class.
        most: how many places are looked at, the best ones.

    Raises:
        AttnzooError: threshold or overlap lies outside [0, 1], or most is below 1.
    """
    checks.share("objects", threshold=threshold, overlap=overlap)
    checks.positive("objects", most=most)
    return [
        _objects(scores.sigmoid(), distances, threshold, overlap, most)
        for scores, distances in zip(found.scores.detach(), found.distances.detach(), strict=True)
    ]


def _objects(scores: Tensor, distances: Tensor, threshold: float, overlap: float, most: int) -> Objects:
    """One image: (K, h, w), (4, h, w)."""
    height, width = scores.shape[1:]
    best, place = scores.flatten().topk(min(most, scores.numel()))
    best, place = best[best > threshold], place[best > threshold]
    labels, place = place // (height * width), place % (height * width)
    x, y = grid(height, width, STRIDES[-1], distances)
    left, upper, right, lower = distances.flatten(1)[:, place]
    x, y = x[place % width], y[place // width]
    boxes = torch.stack([x - left, y - upper, x + right, y + lower], dim=1)
    apart = labels[:, None] * (boxes.abs().max() * 2 + 1 if len(boxes) else 1)  # so that classes do not meet
    kept = suppressed(boxes + apart, best, overlap)
    return Objects(boxes[kept], best[kept], labels[kept])


def resnet50(called: str, in_channels: int) -> ResNet:
    """The maps of a ResNet-50."""
    network = ResNet(
        called,
        1,
        in_channels,
        features_only=True,
        blocks=[bottleneck] * 4,
        depths=(3, 4, 6, 3),
        stem=large_stem,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, padding=1),
    )
    draw_weights(network)
    return network


@register_network(
    "guided_attention_net",
    title="GANet (guided attention network)",
    paper=paper_of("guided_background_attention"),
    source="paper",
    source_license="not applicable",
    summary="A pyramid of four maps on ResNet-50 or VGG-16, whose top-down steps silence the background by "
    "guided_background_attention, and guided_foreground_attention on the finest. A plain head finds and counts "
    "objects in views from drones.",
    summary_zh="在 ResNet-50 或 VGG-16 的四级金字塔上，自顶向下每一步用 guided_background_attention 抑制背景，"
    "并在最细一级用 guided_foreground_attention。简洁的检测头在无人机视角中检测并计数物体。",
    reported="No headline figure recorded here.",
    differences=(
        *UNSURE,
        "The head is a reading of ours, with low certainty: for each place of stride 4 a score, the distances to the "
        "four sides of its object, as in EAST, and a share of the count.",
        "The channels 128, 64 and 32 of the steps, and the targets of the losses, are choices of ours.",
    ),
    parameters=26_605_582,
    macs=25_671.6,
    image_size=512,
    task="detection",
)
def guided_attention_net(
    num_classes: int = 1,
    in_channels: int = 3,
    backbone: str | nn.Module = "resnet50",
    channels: Sequence[int] = (128, 64, 32),
) -> GuidedAttentionNet:
    """Guided attention on 'resnet50', 'vgg16', or a backbone of your own, see `GuidedAttentionNet`."""
    name = "guided_attention_net"
    checks.positive(name, num_classes=num_classes, in_channels=in_channels)
    if isinstance(backbone, str):
        checks.choice(name, BACKBONES, backbone=backbone)
        vgg = backbone == "vgg16"
        backbone = VGG(name, 1, in_channels, True, depths=VGG16, last_pool=True) if vgg else resnet50(name, in_channels)
    return GuidedAttentionNet(name, num_classes, in_channels, backbone, channels)
