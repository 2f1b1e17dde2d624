"""The foreground attention of GANet: the whole object and its corners, each with a map of its own."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely
from attnzoo.modules.network.guided_background_attention import GANET, UNSURE
from attnzoo.registry import register


@register(
    "guided_foreground_attention",
    title="GANet foreground attention",
    contract="feature",
    plug_in=False,
    paper=GANET,
    source="paper",
    source_license="not applicable",
    summary="Predicts maps for the whole object and for its four corners, weighs the features by each of them, and "
    "fuses the results with the input. The maps are learnt from boxes.",
    summary_zh="为整个物体及其四个角分别预测注意力图，用每张图为特征加权，再与输入融合。这些图由检测框监督学习。",
    placement="On the fused map of GANet, before its detection head.",
    reported="No headline figure recorded here.",
    differences=UNSURE,
)
class GuidedForegroundAttention(nn.Module):
    """relu(norm(W concat(x, x * sigmoid(l_1), ..., x * sigmoid(l_P)))) and l = parts(x), P maps of logits.

    Args:
        channels: C, the channels of the input.
        num_parts: P; 5 are the whole object and its four corners.

    Shape: (B, C, H, W) -> (B, C, H, W) and l (B, P, H, W), to be trained against the parts of the boxes, for any H
        and W from 1 up.
    Cost: C P + C^2 (P + 1) weights.
    Raises: AttnzooError for numbers below 1, a single value per channel in training, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {"attn": "parts", r"fuse\.0": "fuse.conv", r"fuse\.1": "fuse.norm"}

    def __init__(self, channels: int, num_parts: int = 5) -> None:
        super().__init__()
        checks.positive("guided_foreground_attention", channels=channels, num_parts=num_parts)
        self.channels = channels
        self.parts = nn.Conv2d(channels, num_parts, 1)
        self.fuse = ConvNormAct(channels * (num_parts + 1), channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        checks.nchw("guided_foreground_attention", x, self.channels)
        if self.training:
            checks.several_values("guided_foreground_attention", x)
        logits = precisely(self.parts, x)
        gates = self.gate(logits).to(x.dtype)[:, :, None]  # (B, P, 1, H, W)
        weighed = (x[:, None] * gates).flatten(1, 2)  # part by part of channels
        return self.fuse(torch.cat([x, weighed], dim=1)), logits.to(x.dtype)

    def gate(self, logits: Tensor) -> Tensor:
        """(B, P, H, W) -> (B, P, H, W)."""
        return logits.sigmoid()
