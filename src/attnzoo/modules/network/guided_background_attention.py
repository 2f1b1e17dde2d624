"""The background attention of GANet: a coarse map silences the background of a fine one."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, resize
from attnzoo.registry import Paper, register

GANET = Paper(
    title="Guided Attention Network for Object Detection and Counting on Drones",
    authors="Cai, Du, Zhang, Wen, Wang, Wu, Lyu",
    venue="ACM MM",
    year=2020,
    url="https://arxiv.org/abs/1909.11307",
)
UNSURE = (
    "This is our reading of the abstract, with low certainty: it fixes what the module is for, not its layers. No "
    "explanation, port or code could be found.",
    "Not to be confused with the GANet of stereo matching, nor with that of lanes.",
)


@register(
    "guided_background_attention",
    title="GANet background attention",
    contract="fusion",
    paper=GANET,
    source="paper",
    source_license="not applicable",
    summary="Predicts from the coarse map where objects are, silences the background of the fine map, and fuses the "
    "two. The mask is learnt from boxes alone.",
    summary_zh="由粗特征图预测物体所在之处，抑制细特征图的背景，再融合两者。该掩模只用检测框即可学习。",
    placement="In each top-down step of a pyramid of strides 32, 16, 8 and 4, on VGG-16 or ResNet-50.",
    reported="No headline figure recorded here.",
    differences=UNSURE,
    example={"high_channels": 64, "low_channels": 32, "out_channels": 32},
    inputs=("B 32 2*H 2*W", "B 64 H W"),
)
class GuidedBackgroundAttention(nn.Module):
    """fuse(concat(u, low * sigmoid(l))) and l, l = mask(u) the logits of objects, u the coarse map resized.

    Args:
        high_channels: channels of the coarse map.
        low_channels: channels of the fine map.
        out_channels: channels of the output.

    Shape: low (B, low_channels, H, W), fine, and high (B, high_channels, h, w), coarse, of any sizes -> (B,
        out_channels, H, W) and l (B, 1, H, W), to be trained against the filled boxes by binary cross-entropy.
    Cost: 9 out_channels (high_channels + out_channels) + out_channels (high_channels + low_channels) weights.
    Raises: AttnzooError for numbers below 1, a single value per channel in training, or inputs of other shapes, named
        one by one.
    """

    reference_keys = {
        r"attn\.0\.0": "look.conv",
        r"attn\.0\.1": "look.norm",
        r"attn\.1": "mask",
        r"fuse\.(\d)\.0": r"fuse.\1.conv",
        r"fuse\.(\d)\.1": r"fuse.\1.norm",
    }

    def __init__(self, high_channels: int, low_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = {"high_channels": high_channels, "low_channels": low_channels, "out_channels": out_channels}
        checks.positive("guided_background_attention", **widths)
        self.high_channels = high_channels
        self.low_channels = low_channels
        self.look = ConvNormAct(high_channels, out_channels, 3)
        self.mask = nn.Conv2d(out_channels, 1, 1)
        self.fuse = nn.Sequential(
            ConvNormAct(high_channels + low_channels, out_channels), ConvNormAct(out_channels, out_channels, 3)
        )

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        checks.shaped("guided_background_attention", "low", low, (None, self.low_channels, None, None))
        checks.shaped("guided_background_attention", "high", high, (low.shape[0], self.high_channels, None, None))
        if self.training:
            checks.several_values("guided_background_attention", low)
        coarse = resize(high, *low.shape[2:])
        logits = precisely(self.mask, precisely(self.look, coarse))
        return self.fuse(torch.cat([coarse, low * self.gate(logits).to(low.dtype)], dim=1)), logits.to(low.dtype)

    def gate(self, logits: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 1, H, W)."""
        return logits.sigmoid()
