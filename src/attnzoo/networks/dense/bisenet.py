"""BiSeNet: a short wide path that keeps detail, a deep one that sees the whole, and one fusion of the two."""

from collections import OrderedDict
from typing import Final

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, resize
from attnzoo.modules.fusion.feature_fusion import FeatureFusion
from attnzoo.modules.network.bisenet_context_path import BiSeNetContextPath
from attnzoo.modules.network.bisenet_spatial_path import BiSeNetSpatialPath
from attnzoo.networks.base import FeatureInfo, ImageNetwork, Level
from attnzoo.registry import paper_of, register_network

HEADS: Final = ("conv_out", "conv_out16", "conv_out32")  # the authors' names, in our order


class BiSeNet(ImageNetwork):
    """resize(head(f)) of f = fuse(spatial(x), u8), (u8, u16) = context(x), and with `aux` of u8 and u16 as well.

    Args:
        num_classes, in_channels, features_only: as in `ImageNetwork`; the features are f, u8 and u16.
        aux: also give the logits of heads on u8 and u16, for training.
        width_divisor: divides all widths, for small instances: a power of two up to 64.

    Shape: (B, in_channels, H, W) -> (B, num_classes, H, W), or a tuple of three of these with `aux`, or a list of maps
        with strides 8, 8 and 16, their sides rounded up.
    """

    reference_keys = {
        "cp": "context",
        "sp": "spatial",
        "ffm": "fuse",
        **{rf"{theirs}\.conv_out": f"heads.{i}.classify" for i, theirs in enumerate(HEADS)},
        **{theirs: f"heads.{i}" for i, theirs in enumerate(HEADS)},
    }

    def __init__(self, num_classes: int, in_channels: int, features_only: bool, aux: bool, width_divisor: int) -> None:
        super().__init__("bisenet", num_classes, in_channels, features_only)
        checks.positive("bisenet", width_divisor=width_divisor)
        checks.divisible("bisenet", "the stem's 64 channels", 64, width_divisor=width_divisor)
        narrow, middle, wide = (width // width_divisor for width in (64, 128, 256))
        self.context = BiSeNetContextPath(in_channels, width_divisor=width_divisor)
        self.spatial = BiSeNetSpatialPath(in_channels, middle, narrow)
        self.fuse = FeatureFusion(2 * middle, wide)
        self.feature_info = FeatureInfo(
            [Level("fuse", wide, 8), Level("context.head16", middle, 8), Level("context.head32", middle, 16)]
        )
        self.heads = nn.ModuleList()
        if not features_only:
            self.heads.append(_head(wide, wide, num_classes))
        if not features_only and aux:
            self.heads.extend(_head(middle, narrow, num_classes) for _ in range(2))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=1)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the heads that this instance was built without."""
        absent = HEADS[len(self.heads) :]
        return {key: value for key, value in state.items() if key.partition(".")[0] not in absent}

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...] | list[Tensor]:
        self.check_input(x)
        u8, u16 = self.context(x)
        maps = [self.fuse(self.spatial(x), u8), u8, u16]
        if self.features_only:
            return maps
        logits = tuple(resize(head(f), *x.shape[2:]) for head, f in zip(self.heads, maps, strict=False))
        return logits if len(logits) > 1 else logits[0]


def _head(in_channels: int, channels: int, num_classes: int) -> nn.Sequential:
    """A 3x3 convolution, and one to the classes: (B, in_channels, H, W) -> (B, num_classes, H, W)."""
    return nn.Sequential(
        OrderedDict(conv=ConvNormAct(in_channels, channels, 3), classify=nn.Conv2d(channels, num_classes, 1))
    )


@register_network(
    "bisenet",
    title="BiSeNet V1",
    paper=paper_of("bisenet_context_path"),
    source="CoinCheung/BiSeNet@6b4b67a",
    source_license="MIT",
    summary="A short wide path keeps the detail of the image, a ResNet-18 beside it sees what the whole is, and one "
    "fusion joins them at an eighth of the image's size. It segments in real time.",
    summary_zh="一条短而宽的路径保留图像细节，旁边的 ResNet-18 路径理解整体，二者在八分之一尺寸处融合一次。"
    "它能实时完成分割。",
    reported="Cityscapes val: 75.44 mIoU, single scale (repository).",
    differences=(
        "The original has modes for training, for evaluation, which gives a tuple of one, and for prediction, which "
        "gives classes; here aux alone decides.",
        "It refuses sides that 32 does not divide; here the paths round up, and the logits have the image's size.",
        "Its learning rate is ten times higher for the fusion and the heads, and weights of BatchNorms and biases do "
        "not decay; that is left to the recipe. Its loss is BiSeNetLoss.",
        "A popular collection multiplies the coarsest map with its mean instead of adding it, has attention without "
        "convolutions, and fuses at as many channels as there are classes; its weights do not fit.",
        "A popular explanation has no auxiliary heads, biases throughout, and bilinear upsampling within the context "
        "path.",
    ),
    parameters=13_425_721,
    macs=60704.1,
    image_size=1024,
    task="segmentation",
)
def bisenet(
    num_classes: int = 19,
    in_channels: int = 3,
    features_only: bool = False,
    aux: bool = True,
    width_divisor: int = 1,
) -> BiSeNet:
    """ResNet-18 and a spatial path, see `BiSeNet`; 13,275,539 parameters without the auxiliary heads."""
    return BiSeNet(num_classes, in_channels, features_only, aux, width_divisor)
