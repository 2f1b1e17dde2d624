"""FPT rendering transformer: a fine map's mean gates a coarse one, and its detail is added."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, ConvNormAct, precisely, spatial_mean
from attnzoo.modules.fusion.fpt_self import FPT
from attnzoo.registry import register


@register(
    "fpt_rendering",
    title="FPT rendering transformer",
    contract="fusion",
    paper=FPT,
    source="ZHANGDONG-NJUST/FPT@c7c76f9; @75dec07 (source_map 'high')",
    source_license="none found",
    summary="Renders a coarse map with the detail of a fine one: the mean of the fine map weighs the channels of the "
    "coarse one, and the fine map itself is added at half its size. The cheapest of FPT's three transformers.",
    summary_zh="用细特征图的细节渲染粗特征图：细图的均值为粗图的通道加权，细图本身缩小一半后再相加。"
    "这是 FPT 三种变换中开销最小的一种。",
    placement="From every level of fpt to all coarser ones, with source_map 'high'.",
    reported="Part of FPT; no headline figure recorded here.",
    differences=(
        "The first published file, source_map 'high', adds a 1x1 convolution of the coarse map instead of the fine "
        "one, so that the fine map may have any size; only so can the whole pyramid run.",
        "Two convolutions of the authors' checkpoints are never used, and are left out.",
        "Its other option of that first file, a doubled size, could not run and is refused.",
    ),
    not_applicable=SQUARES,
    example={"high_channels": 64, "low_channels": 32},
    inputs=("B 64 H W", "B 32 2*H 2*W"),
    settled=("source_map",),
)
class FPTRendering(nn.Module):
    """relu(residual + norm(conv3x3(x_high)) * relu(norm(W mean(x_low)))).

    The residual is norm(conv(x_low)), 3x3 at stride 2, or norm(conv1x1(x_high)).

    Args:
        high_channels: C, the channels of the coarse map and of the output.
        low_channels: the channels of the fine map.
        upsample: only how the authors' checkpoints call the residual's normalisation; needs source_map 'low'.
        source_map: where the residual comes from: 'low' (the authors' last code), or 'high' (their first), which
            needs equal channels and takes a fine map of any size.

    Shape: x_high (B, C, h, w), coarse, and x_low (B, low_channels, H, W), fine -> (B, C, h, w); with source_map
        'low', h and w are halves of H and W, rounded up.
    Cost: 9 C^2 + 10 C low_channels weights, or 10 C^2 + C low_channels.
    Raises: AttnzooError for numbers below 1, an unknown source_map or one that does not go with the rest, a training
        batch of one (the mean is normalised over the batch), or inputs of other shapes, named one by one.
    """

    reference_keys = {
        "conv1x1": "weigh.conv",
        "bn_low": "weigh.norm",
        "conv3x3": "content.conv",
        "bn_high": "content.norm",
        "str_conv3x3": "residual.conv",
        "conv_reduction": "residual.conv",
        "bn_reduction": "residual.norm",
        "bn_upsample": "residual.norm",
    }

    def __init__(self, high_channels: int, low_channels: int, upsample: bool = False, source_map: str = "low") -> None:
        super().__init__()
        checks.positive("fpt_rendering", high_channels=high_channels, low_channels=low_channels)
        checks.choice("fpt_rendering", ("low", "high"), source_map=source_map)
        of_low = source_map == "low"
        checks.only_with("fpt_rendering", of_low or not upsample, "upsample=True", "source_map='low'")
        if not of_low:
            checks.equal("fpt_rendering", high_channels=high_channels, low_channels=low_channels)
        self.high_channels = high_channels
        self.low_channels = low_channels
        self.source_map = source_map
        self.weigh = ConvNormAct(low_channels, high_channels)
        self.content = ConvNormAct(high_channels, high_channels, 3, act_layer=None)
        self.residual = (
            ConvNormAct(low_channels, high_channels, 3, stride=2, act_layer=None)
            if of_low
            else ConvNormAct(high_channels, high_channels, act_layer=None)
        )
        self.act = nn.ReLU()
        transposed = 16 * high_channels * low_channels
        spare = (transposed if upsample else high_channels * low_channels) if of_low else 0
        self.unused_in_reference = 2 * high_channels**2 + spare

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the convolutions that the authors never use."""
        spare = {"conv_cat", "conv_upsample", *(["conv_reduction"] if self.source_map == "low" else [])}
        return {key: value for key, value in state.items() if key.split(".")[0] not in spare}

    def forward(self, x_high: Tensor, x_low: Tensor) -> Tensor:
        checks.shaped("fpt_rendering", "x_high", x_high, (None, self.high_channels, None, None))
        checks.shaped("fpt_rendering", "x_low", x_low, (x_high.shape[0], self.low_channels, None, None))
        if self.training:
            checks.batch_statistics("fpt_rendering", x_high)
        if self.source_map == "low":
            checks.pyramid("fpt_rendering", {"x_low": x_low, "x_high": x_high})
        residual = self.residual(x_low if self.source_map == "low" else x_high)
        return self.act(residual + self.content(x_high) * self.gate(x_low))

    def gate(self, x_low: Tensor) -> Tensor:
        """The fine map (B, low_channels, H, W) -> the weights (B, C, 1, 1) of the coarse map's channels."""
        return precisely(self.weigh, spatial_mean(x_low, keepdim=True)).to(x_low.dtype)
