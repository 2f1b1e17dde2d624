"""The spatial attention of HAttMatting: deep features decide where shallow detail may pass."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, strip_norm_act
from attnzoo.modules.network.hatt_channel import HATT, UNSURE
from attnzoo.registry import register


@register(
    "hatt_spatial",
    title="HAttMatting appearance cue filtration",
    contract="fusion",
    paper=HATT,
    source="paper",
    source_license="not applicable",
    summary="Lets the distilled deep features decide, by pairs of long strip convolutions, where detail of the shallow "
    "ones such as hair may pass. Both are then concatenated.",
    summary_zh="由提炼后的深层特征经成对的长条卷积决定浅层细节（如发丝）可在何处通过。随后两者拼接在一起。",
    placement="In HAttMatting, after hatt_channel, with the shallow features of stride 4.",
    reported="Part of HAttMatting; no headline figure recorded here.",
    differences=UNSURE,
    example={"low_channels": 32},
    inputs=("B 32 H W", "B C H W"),
    settled=("low_channels",),
)
class HAttSpatial(nn.Module):
    """concat(h, conv3x3(low * sigmoid(W concat(u, v)))), h = conv3x3(high), u and v the strips 1x7 and 7x1 in turn.

    Args:
        channels: C, the channels of the deep features.
        low_channels: channels of the shallow features.
        attention_channels: of the gate: low_channels, which None takes, or 1.

    Shape: low (B, low_channels, H, W), high (B, C, H, W) -> (B, 2 C, H, W), for any H and W from 1 up.
    Cost: 30 C^2 + 9 low_channels C weights or so.
    Raises: AttnzooError for numbers below 1, C below 2, other attention_channels, a single value per channel in
        training, or inputs that are not low (B, low_channels, H, W) and high (B, C, H, W).
    """

    reference_keys = {
        r"conv_in\.0": "enter.conv",
        r"conv_in\.1": "enter.norm",
        r"conv_low\.0": "detail.conv",
        r"conv_low\.1": "detail.norm",
        r"path(\d)\.(\d)\.0": r"path\1.\2.conv",
        r"path(\d)\.(\d)\.1": r"path\1.\2.norm",
        "attention": "score",
    }

    def __init__(self, channels: int = 256, low_channels: int = 256, attention_channels: int | None = None) -> None:
        super().__init__()
        checks.positive("hatt_spatial", low_channels=low_channels)
        half = checks.reduced("hatt_spatial", channels, 2)
        gates = low_channels if attention_channels is None else attention_channels
        checks.choice("hatt_spatial", (1, low_channels), attention_channels=gates)
        self.channels = channels
        self.low_channels = low_channels
        self.enter = ConvNormAct(channels, channels, 3)
        self.path1 = nn.Sequential(strip_norm_act(channels, channels, (1, 7)), strip_norm_act(channels, half, (7, 1)))
        self.path2 = nn.Sequential(strip_norm_act(channels, channels, (7, 1)), strip_norm_act(channels, half, (1, 7)))
        self.score = nn.Conv2d(2 * half, gates, 1)
        self.detail = ConvNormAct(low_channels, channels, 3)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        checks.shaped("hatt_spatial", "low", low, (None, self.low_channels, None, None))
        checks.shaped("hatt_spatial", "high", high, (low.shape[0], self.channels, *low.shape[2:]))
        if self.training:
            checks.several_values("hatt_spatial", low)
        h = self.enter(high)
        return torch.cat([h, self.detail(low * self.gate(h).to(low.dtype))], dim=1)

    def gate(self, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, attention_channels, H, W)."""
        return precisely(self.score, torch.cat([self.path1(h), self.path2(h)], dim=1)).sigmoid().to(h.dtype)
