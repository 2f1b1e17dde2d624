"""AFF, Attentional Feature Fusion: a choice between two maps, per channel and place, instead of their sum."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import wide
from attnzoo.modules.channel_spatial.ms_cam import AFF as PAPER
from attnzoo.modules.channel_spatial.ms_cam import MSCAM
from attnzoo.registry import register


@register(
    "aff",
    title="Attentional Feature Fusion",
    contract="fusion",
    paper=PAPER,
    source="YimianDai/open-aff@0bcfd8a",
    source_license="none found",
    summary="Replaces the sum of two maps by a soft choice between them, made per channel and place by the gate of "
    "ms_cam on their sum. At a gate of one half it is the sum.",
    summary_zh="用两张特征图之间的软选择代替相加，由 ms_cam 的门根据两者之和逐通道、逐位置决定。"
    "门为二分之一时即为相加。",
    placement="In place of the addition in every residual block, before its last ReLU; also for the lateral links of "
    "an FPN and for inception branches.",
    reported="ImageNet top-1 error of the authors' repository: 20.3 for AFF-ResNet-50 and for AFF-ResNeXt-50, with "
    "AutoAugment and label smoothing.",
    differences=(
        "The paper and popular explanations have no factor 2; the authors' code has it in both frameworks.",
        "In training the gate normalises pooled vectors over the batch, so that a batch of one fails in the authors' "
        "code with torch's message; here the error says what helps.",
    ),
    inputs=("B C H W", "B C H W"),
)
class AFF(nn.Module):
    """2 (x w + residual (1 - w)), w the gate of ms_cam on x + residual.

    Args:
        channels: C, the channels of both inputs.
        reduction: r; the gate's bottlenecks are C // r wide.

    Shape: (B, C, H, W) twice -> (B, C, H, W), for any H and W from 1 up.
    Cost: 4 C C/r + 6 C + 6 C/r parameters; 2 C C/r (H W + 1) multiply-adds.
    Raises: AttnzooError for bottlenecks without channels, a training batch of one, a residual of another shape, or
        an input that is not (B, C, H, W).
    """

    reference_keys = {"(local_att|global_att)": r"ms_cam.\1"}

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        checks.reduced("aff", channels, reduction)
        self.channels = channels
        self.ms_cam = MSCAM(channels, reduction)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        checks.nchw("aff", x, self.channels, name="x")
        checks.shaped("aff", "residual", residual, x.shape)
        if self.training:
            checks.batch_statistics("aff", x)
        a, b = wide(x), wide(residual)
        return (2 * torch.lerp(b, a, self.ms_cam.gate(a + b))).to(x.dtype)
