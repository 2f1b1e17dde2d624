"""IAUNet: a ResNet-50 for the re-identification of persons, which learns where the parts of their bodies are."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import spatial_mean
from attnzoo.modules.channel_spatial.iau import IAU
from attnzoo.networks.resnet import ResNet, bottleneck, draw_weights, large_stem
from attnzoo.registry import paper_of, register_network

PARTED: Final = {512: "layer2", 1024: "layer3"}  # the stages that end with IAU, by their channels


class IAUNet(ResNet):
    """ResNet-50 whose last stage keeps the map's size, with IAU after the second and third stage.

    Arguments as in `Network`.

    Shape: (B, in_channels, H, W) -> logits (B, num_classes), the features of persons (B, 2048), normalised over the
        batch, and the masks of four body parts from both IAUs, (B, 4, H / 8, W / 8) and (B, 4, H / 16, W / 16).
    Raises: AttnzooError for a training batch of one, and as `Network`.
    """

    def __init__(self, called: str, num_classes: int, in_channels: int, features_only: bool) -> None:
        super().__init__(
            called,
            num_classes,
            in_channels,
            features_only,
            blocks=[bottleneck] * 4,
            depths=(3, 4, 6, 3),
            strides=(1, 2, 2, 1),
            stem=large_stem,
            stem_stride=2,
            pool=nn.MaxPool2d(3, 2, padding=1),
            stage=_stage,
            keys={"IAU2": "layer2.4", "IAU3": "layer3.6", "bn": "norm", "classifier": "fc"},
        )
        if not features_only:
            self.norm = nn.BatchNorm1d(2048)
        draw_weights(self)

    def forward(self, x: Tensor) -> list[Tensor] | tuple[Tensor, Tensor, tuple[Tensor, ...]]:  # type: ignore[override]
        self.check_input(x)
        if self.training:
            checks.batch_statistics(self.called, x)
        maps, masks = [], []
        for step in self.steps:
            x = getattr(self, step)(x)
            if step in PARTED.values():
                x, parts = x
                masks.append(parts)
            if step in self.feature_info.module_name():
                maps.append(x)
        if self.features_only:
            return maps
        feature = self.norm(spatial_mean(x).to(x.dtype))
        return self.fc(feature), feature, tuple(masks)


def _stage(blocks: Sequence[nn.Module], channels: int) -> nn.Sequential:
    return nn.Sequential(*blocks, *([IAU(channels, return_attention=True)] if channels in PARTED else []))


@register_network(
    "iaunet",
    title="IAUNet",
    paper=paper_of("iau"),
    source="blue-blue272/ImgReID-IAnet@e104e28",
    source_license="none found",
    summary="ResNet-50 with an interaction-aggregation-update block after its second and third stage, for finding a "
    "person again on other cameras. It gives logits of known persons, a feature to compare any others by, and the "
    "masks of four body parts.",
    summary_zh="在 ResNet-50 第二、三阶段之后各接一个 IAU 块，用于行人重识别。"
    "它给出已知行人的分类得分、用于比对其他行人的特征，以及四个身体部位的掩码。",
    reported="No figure recorded.",
    differences=(
        "The authors give the masks part by part (head, upper body, lower body, shoes), each a list of both blocks'; "
        "here they are two maps of four channels, in that order.",
        "Their training draws the masks to those of a parser of human bodies, by a loss that is not here.",
        "The classes are identities, 751 for Market-1501.",
    ),
    parameters=29_003_085,
    macs=9732.2,
    image_size=256,
)
def iaunet(num_classes: int = 751, in_channels: int = 3, features_only: bool = False) -> IAUNet:
    """See `IAUNet`."""
    return IAUNet("iaunet", num_classes, in_channels, features_only)
