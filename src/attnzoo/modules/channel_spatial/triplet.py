"""Triplet attention: the spatial gate of CBAM on three pairs of axes, averaged."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import product
from attnzoo.modules.channel_spatial.cbam import SpatialGate
from attnzoo.registry import Paper, register


@register(
    "triplet",
    title="Triplet Attention",
    contract="feature",
    paper=Paper(
        title="Rotate to Attend: Convolutional Triplet Attention Module",
        authors="Misra, Nalamada, Arasanipalai, Hou",
        venue="WACV",
        year=2021,
        url="https://arxiv.org/abs/2010.03045",
    ),
    source="landskape-ai/triplet-attention@2cf02fb",
    source_license="MIT",
    summary="Pools the map along height, width and channels in turn, and lets a 7x7 convolution over each pair of "
    "remaining axes give a gate. The three gated maps are averaged, for about 300 parameters in all.",
    summary_zh="依次沿高、宽、通道三个轴池化，再在剩下的两个轴上用 7x7 卷积得到门。"
    "三份加门后的结果取平均，总共约 300 个参数。",
    placement="End of each residual block, before the addition.",
    reported="ImageNet top-1 error: ResNet-50 22.52 with 7x7 kernels, 23.88 with 3x3 (25.56M).",
    differences=(
        "The authors turn the tensor and gate it three times; here the three gates are summed first and applied once.",
        "The result depends on the order of the channels, as a gate convolves along them.",
        "A popular explanation lists the convolutions with a bias and BatchNorm momentum 0.1 (0.01 here), and does "
        "not run as printed.",
    ),
)
class TripletAttention(nn.Module):
    """x times the mean of three gates, over (C, W), (C, H) and (H, W), each pooled along the axis that is missing.

    Args:
        channels: not needed; taken so that all feature modules are built alike.
        no_spatial: leave out the gate over (H, W).
        kernel_size: of the gates' convolutions (odd).

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 k^2 + 2 parameters a gate; 2 k^2 (C W + C H + H W) multiply-adds.
    Raises: AttnzooError for an even kernel_size, a training batch of a single pixel, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {
        rf"{theirs}\.{layer}": f"{ours}.{part}"
        for ours, names in {
            "cw": (r"cw\.conv", r"ChannelGateH\.spatial"),  # the second as in the authors' older checkpoints
            "hc": (r"hc\.conv", r"ChannelGateW\.spatial"),
            "hw": (r"hw\.conv", r"SpatialGate\.spatial"),
        }.items()
        for theirs in names
        for layer, part in (("conv", "conv"), ("bn", "norm"))
    }

    def __init__(self, channels: int | None = None, no_spatial: bool = False, kernel_size: int = 7) -> None:
        super().__init__()
        if channels is not None:
            checks.positive("triplet", channels=channels)
        checks.odd("triplet", kernel_size=kernel_size)
        self.cw = SpatialGate(kernel_size)
        self.hc = SpatialGate(kernel_size)
        self.hw = None if no_spatial else SpatialGate(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("triplet", x)
        if self.training:
            checks.several_values("triplet", x)
        return product(self.gate(x), x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the mean of the gates."""
        share = 1 / 2 if self.hw is None else 1 / 3
        cw = self.cw.gate(x, 2).transpose(1, 2) * share  # (B, C, 1, W)
        hc = self.hc.gate(x, 3).transpose(1, 3).contiguous() * share  # (B, C, H, 1)
        if self.hw is None:
            return cw + hc
        return cw + hc + self.hw.gate(x, 1) * share
