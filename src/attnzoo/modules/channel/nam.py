"""NAM, Normalization-based Attention: the scales of a BatchNorm say how much each channel counts."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, to_map, to_tokens
from attnzoo.registry import Paper, register


@register(
    "nam",
    title="Normalization-based Attention Module",
    contract="feature",
    paper=Paper(
        title="NAM: Normalization-based Attention Module",
        authors="Liu, Shao, Teng, Hoffmann",
        venue="NeurIPS Workshops",
        year=2021,
        url="https://arxiv.org/abs/2111.12419",
    ),
    source="Christian-lyc/NAM@6e8d3e3 (channels); Christian-lyc/NAM@afbaf4c (pixels)",
    source_license="none found",
    summary="Normalises the map, weighs every channel by its share of the BatchNorm's absolute scales, and gates the "
    "input with the sigmoid of that. A second part, off by default, does the same for the pixels of a fixed size.",
    summary_zh="先对特征图做批归一化，再按各通道缩放系数绝对值所占的比例加权，取 sigmoid 后作为门。"
    "第二部分对固定尺寸特征图的像素做同样的事，默认关闭。",
    placement="End of every residual block of ResNet-50 and MobileNetV2, after the last BatchNorm and before the "
    "addition.",
    reported="No headline figures recorded.",
    differences=(
        "The authors have removed the pixel part, which the paper presents, from their repository; it follows an "
        "earlier commit, which takes square maps only.",
        "The paper's figures end with the sigmoid; the code multiplies it with the input.",
        "A popular explanation prints the shares without absolute values.",
        "The shares sum to 1, so that fresh gates are all close to 1/2; they part under the L1 penalty on the scales "
        "that the paper adds to the loss, which is no part of the module.",
    ),
    not_applicable={"gradcheck": "the authors read the scales' shares off without their gradient"},
)
class NAM(nn.Module):
    """Scale x by sigmoid(share * norm(x)), share = |weight| / sum |weight| of the normalisation.

    Args:
        channels: C, the channels of the input.
        spatial_size: the map's height and width, or one number for both; switches the pixel part on.
        eps, momentum: of the BatchNorms.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W but where spatial_size fixes them.
    Cost: 2 C parameters, and 2 H W for the pixel part; a gate of the input's size each.
    Raises: AttnzooError for sizes below 1 or another map size, eps not above 0, momentum outside [0, 1], a
        training batch of a single pixel, or an input that is not (B, C, H, W). Scales that are all 0 give NaN.
    """

    reference_keys = {
        "bn2": "channel_gate.norm",
        r"Channel_Att\.bn2": "channel_gate.norm",
        r"Spatial_Att\.bn": "pixel_gate.norm",
    }

    def __init__(
        self,
        channels: int,
        spatial_size: int | Sequence[int] | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        checks.positive("nam", channels=channels)
        checks.above_zero("nam", eps=eps)
        checks.share("nam", momentum=momentum)
        self.channels = channels
        self.spatial_size = None if spatial_size is None else checks.pair("nam", "spatial_size", spatial_size)
        self.channel_gate = ChannelGate(nn.BatchNorm2d(channels, eps, momentum))
        self.pixel_gate: nn.Module = nn.Identity()
        if self.spatial_size is not None:
            height, width = self.spatial_size
            self.pixel_gate = PixelGate(nn.BatchNorm1d(height * width, eps, momentum))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("nam", x, self.channels)
        if self.spatial_size is not None:
            checks.fixed_size("nam", x, spatial_size=self.spatial_size)
        if self.training:
            checks.several_values("nam", x)
        return self.pixel_gate(self.channel_gate(x))


class ChannelGate(nn.Module):
    """Gate a map by its normalisation, weighed by the shares of the scales. (B, C, H, W) -> the same."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return (self.shares()[:, None, None] * precisely(self.norm, x)).sigmoid().to(x.dtype)

    def shares(self) -> Tensor:
        """(C,), summing to 1; no gradient flows into them."""
        scales = self.norm.weight.detach().abs()
        return scales / scales.sum()


class PixelGate(ChannelGate):
    """The same with the places in the part of the channels. (B, C, H, W) -> the same, H * W fixed."""

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        scores = self.shares()[:, None] * precisely(self.norm, to_tokens(x))  # (B, H * W, C)
        return to_map(scores.sigmoid(), *x.shape[2:]).to(x.dtype)
