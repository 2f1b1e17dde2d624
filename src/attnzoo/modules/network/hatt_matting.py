"""The head of HAttMatting: from deep and shallow features to an alpha matte, without a trimap."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, resize
from attnzoo.modules.context.aspp import ASPP
from attnzoo.modules.network.hatt_channel import HATT, UNSURE, HAttChannel
from attnzoo.modules.network.hatt_spatial import HAttSpatial
from attnzoo.registry import register


@register(
    "hatt_matting",
    title="HAttMatting head",
    contract="fusion",
    paper=HATT,
    source="paper",
    source_license="not applicable",
    summary="Reads the deepest features at several scales, keeps the useful channels, and lets them choose which "
    "shallow detail passes into the matte. It needs the image alone, no trimap.",
    summary_zh="在多个尺度上读取最深层特征，保留有用的通道，再由它们决定哪些浅层细节进入透明度图。"
    "它只需要图像，不需要三分图。",
    placement="On the first and the last features of a dilated ResNeXt-101, of strides 2 and 8.",
    reported="Part of HAttMatting; no headline figure recorded here.",
    differences=(
        *UNSURE,
        "The order of the ASPP branches and their rates are choices of ours; the trained port has the rates 3, 6 and "
        "18.",
    ),
    not_applicable={
        "large-close": "the rounding of logits of 1e3, at the end of a deep head, decides the alpha's sigmoid"
    },
    example={"low_channels": 32, "dilations": (1, 2, 3)},
    inputs=("B 32 4*H 4*W", "B C H W"),
)
class HAttMatting(nn.Module):
    """sigmoid(up(W spatial(low, channel(up(aspp(high)))))), up the bilinear resizing with aligned corners.

    Args:
        in_channels: channels of the deepest features.
        low_channels: channels of the shallow features.
        channels: C, of everything between.
        dilations: of the 3x3 convolutions of the ASPP.
        reduction: of `hatt_channel`.

    Shape: low (B, low_channels, 4 H, 4 W), high (B, in_channels, H, W) -> alpha (B, 1, 8 H, 8 W) in (0, 1), for any H
        and W from 1 up.
    Cost: in_channels C (2 + 9 n) + 9 C^2 (n + 2) weights in the ASPP of n dilations, 31 C^2 + 9 low_channels C or so in
        the rest.
    Raises: AttnzooError for numbers below 1, no dilations, a bottleneck without units, a training batch of one (the
        mean is normalised over the batch), or inputs of other shapes: low must be four times as high and wide.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        low_channels: int = 256,
        channels: int = 256,
        dilations: Sequence[int] = (6, 12, 18),
        reduction: int = 2,
    ) -> None:
        super().__init__()
        checks.positive("hatt_matting", in_channels=in_channels, low_channels=low_channels)
        checks.reduced("hatt_matting", channels, reduction)
        checks.reduced("hatt_matting", channels, 2)
        checks.sequence("hatt_matting", dilations=dilations)
        checks.positive("hatt_matting", **checks.items(dilations=dilations))
        self.in_channels = in_channels
        self.low_channels = low_channels
        self.aspp = ASPP(in_channels, channels, dilations, dropout=0.0)
        self.aspp.fuse = ConvNormAct((len(dilations) + 2) * channels, channels, 3)
        self.distill = HAttChannel(channels, reduction)
        self.filter = HAttSpatial(channels, low_channels)
        self.out = nn.Conv2d(2 * channels, 1, 3, padding=1)

    @property
    def reference_keys(self) -> dict[str, str]:
        """The ASPP's branches are numbered through."""
        branches = ["point", *(f"atrous.{i}" for i in range(len(self.aspp.atrous)))]
        theirs = {rf"aspp\.{i}": branch for i, branch in enumerate(branches)}
        keys: dict[str, str] = {}
        for key, own in {**theirs, "aspp_pool": "image", "aspp_out": "fuse"}.items():
            keys |= {rf"{key}\.0": f"aspp.{own}.conv", rf"{key}\.1": f"aspp.{own}.norm"}
        return keys

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        checks.shaped("hatt_matting", "low", low, (None, self.low_channels, None, None))
        checks.shaped("hatt_matting", "high", high, (low.shape[0], self.in_channels, None, None))
        checks.times_larger("hatt_matting", 4, low=low, high=high)
        if self.training:
            checks.batch_statistics("hatt_matting", high)
        deep = self.distill(resize(self.aspp(high), *low.shape[2:], align_corners=True))
        logits = precisely(self.out, self.filter(low, deep))
        return resize(logits, 2 * low.shape[2], 2 * low.shape[3], align_corners=True).sigmoid().to(low.dtype)
