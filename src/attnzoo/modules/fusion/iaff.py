"""iAFF, Iterative Attentional Feature Fusion: a first choice between two maps is what the second choice looks at."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, spatial_mean, wide
from attnzoo.modules.channel_spatial.ms_cam import AFF as PAPER
from attnzoo.modules.channel_spatial.ms_cam import MSCAM
from attnzoo.registry import register


@register(
    "iaff",
    title="Iterative Attentional Feature Fusion",
    contract="fusion",
    paper=PAPER,
    source="YimianDai/open-aff@0bcfd8a",
    source_license="none found",
    summary="Fuses two maps twice: the first choice between them gives a better mixture than their sum, and a second "
    "gate looks at that mixture to choose again. Both gates are those of ms_cam.",
    summary_zh="对两张特征图做两轮融合：第一轮的软选择给出比相加更好的混合，第二个门再根据该混合重新选择。"
    "两个门都来自 ms_cam。",
    placement="As aff: in place of the addition in residual blocks, FPN links and inception branches.",
    reported="ImageNet top-1 error of the authors' repository: 20.2 for iAFF-ResNet-50, 19.8 for iAFF-ResNeXt-50.",
    differences=(
        "The authors' main code, in MXNet, and the paper have two branches on the means; their PyTorch file, and what "
        "copies it, calls the first one twice: shared_global=True, for checkpoints trained with it.",
        "Unlike in aff there is no factor 2.",
        "In training the gates normalise pooled vectors over the batch, so that a batch of one fails in the authors' "
        "code with torch's message; here the error says what helps.",
    ),
    inputs=("B C H W", "B C H W"),
)
class IAFF(nn.Module):
    """x w + residual (1 - w), w the gate of m = x v + residual (1 - v), v the gate of x + residual.

    Args:
        channels: C, the channels of both inputs.
        reduction: r; the gates' bottlenecks are C // r wide.
        shared_global: both gates use the first branch on the means.

    Shape: (B, C, H, W) twice -> (B, C, H, W), for any H and W from 1 up.
    Cost: 8 C C/r + 12 C + 12 C/r parameters; 4 C C/r (H W + 1) multiply-adds.
    Raises: AttnzooError for bottlenecks without channels, a training batch of one, a residual of another shape, or
        an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 4, shared_global: bool = False) -> None:
        super().__init__()
        checks.reduced("iaff", channels, reduction)
        self.channels = channels
        self.shared_global = shared_global
        first, second = MSCAM(channels, reduction), MSCAM(channels, reduction)
        self.local = nn.ModuleList([first.local, second.local])
        self.whole = nn.ModuleList([first.whole] if shared_global else [first.whole, second.whole])
        self.unused_in_reference = sum(p.numel() for p in second.whole.parameters()) if shared_global else 0

    @property
    def reference_keys(self) -> dict[str, str]:
        """Those of ms_cam, for both rounds."""
        return {
            theirs.replace("_att", f"_att{suffix}"): ours.replace("local", f"local.{i}").replace("whole", f"whole.{i}")
            for i, suffix in enumerate(("", "2"))
            for theirs, ours in MSCAM.reference_keys.items()
        }

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the second branch on the means where the first one is used twice."""
        return {key: x for key, x in state.items() if not (self.shared_global and key.startswith("global_att2."))}

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        checks.nchw("iaff", x, self.channels, name="x")
        checks.shaped("iaff", "residual", residual, x.shape)
        if self.training:
            checks.batch_statistics("iaff", x)
        a, b = wide(x), wide(residual)
        mixed = torch.lerp(b, a, self.gate(a + b, 0))
        return torch.lerp(b, a, self.gate(mixed, 1)).to(x.dtype)

    def gate(self, x: Tensor, step: int) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the gate of the first step (0) or the second (1)."""
        local = precisely(self.local[step], x)
        whole = precisely(self.whole[0 if self.shared_global else step], spatial_mean(x, keepdim=True))
        return (local + whole).sigmoid().to(x.dtype)
