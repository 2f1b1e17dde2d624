"""eSE, Effective Squeeze-and-Excitation: an SE gate of a single full layer."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, precisely, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "ese",
    title="Effective Squeeze-and-Excitation",
    contract="feature",
    paper=Paper(
        title="CenterMask: Real-Time Anchor-Free Instance Segmentation",
        authors="Lee, Park",
        venue="CVPR",
        year=2020,
        url="https://arxiv.org/abs/1911.06667",
    ),
    source="youngwanLEE/vovnet-detectron2@b81c813",
    source_license="CC BY-NC",
    summary="Replaces the two layers of SE by one that maps all channel means to all gates, so that no bottleneck "
    "loses information. The gate is a hard sigmoid.",
    summary_zh="用一个把全部通道均值映射到全部门的线性层取代 SE 的两层结构，避免瓶颈造成的信息损失。"
    "门函数为硬 sigmoid。",
    placement="VoVNetV2: after the 1x1 aggregation of every One-Shot-Aggregation module, before its identity addition.",
    reported="No headline figures recorded.",
    differences=(
        "The authors' class has an argument reduction and ignores it; there is none here.",
        "timm's EffectiveSEModule computes the same, and offers an experimental maximum pooling besides.",
    ),
)
class ESE(nn.Module):
    """Scale channel c by hardsigmoid(fc(z))[c], z the spatial means.

    Args:
        channels: C, the channels of the input.
        gate_layer: makes the gate's activation.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C^2 + C parameters, C^2 multiply-adds per image.
    Raises: AttnzooError for channels below 1, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, gate_layer: Activation = nn.Hardsigmoid) -> None:
        super().__init__()
        checks.positive("ese", channels=channels)
        self.channels = channels
        self.fc = nn.Linear(channels, channels)
        self.gate_act = gate_layer()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ese", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        return self.gate_act(precisely(self.fc, spatial_mean(x)))[:, :, None, None].to(x.dtype)
