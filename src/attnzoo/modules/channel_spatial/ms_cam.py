"""MS-CAM, Multi-Scale Channel Attention: one bottleneck at every place, one on the means, added to a gate."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely
from attnzoo.registry import Paper, register

AFF = Paper(
    title="Attentional Feature Fusion",
    authors="Dai, Gieseke, Oehmcke, Wu, Barnard",
    venue="WACV",
    year=2021,
    url="https://arxiv.org/abs/2009.14082",
)


@register(
    "ms_cam",
    title="Multi-Scale Channel Attention Module",
    contract="feature",
    paper=AFF,
    source="YimianDai/open-aff@0bcfd8a",
    source_license="none found",
    summary="Runs a bottleneck of pointwise convolutions at every place and another on the means of the map, and "
    "makes a gate from their sum. Small objects so keep a say beside the global view.",
    summary_zh="逐点卷积组成的瓶颈一路作用于每个位置，另一路作用于全图均值，两者之和经 sigmoid 成为门。"
    "小目标因此不会被全局信息淹没。",
    placement="Wherever an SE block fits; the gate of aff and iaff.",
    reported="No figure for the module alone recorded here; see aff.",
    differences=(
        "In training the bottleneck on the means normalises single values over the batch, so that a batch of one "
        "fails in the authors' code with torch's message; here the error says what helps.",
    ),
)
class MSCAM(nn.Module):
    """Scale x by sigmoid(local(x) + whole(mean(x))).

    Args:
        channels: C, the channels of the input.
        reduction: r; both bottlenecks are C // r wide.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 4 C C/r + 6 C + 6 C/r parameters; 2 C C/r (H W + 1) multiply-adds.
    Raises: AttnzooError for bottlenecks without channels, a training batch of one, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {
        r"local_att\.0": "local.0.conv",
        r"local_att\.1": "local.0.norm",
        r"local_att\.3": "local.1.conv",
        r"local_att\.4": "local.1.norm",
        r"global_att\.1": "whole.0.conv",
        r"global_att\.2": "whole.0.norm",
        r"global_att\.4": "whole.1.conv",
        r"global_att\.5": "whole.1.norm",
    }

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        width = checks.reduced("ms_cam", channels, reduction)
        self.channels = channels
        self.local, self.whole = (
            nn.Sequential(
                ConvNormAct(channels, width, bias=True),
                ConvNormAct(width, channels, bias=True, act_layer=None),
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ms_cam", x, self.channels)
        if self.training:
            checks.batch_statistics("ms_cam", x)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        logits = precisely(self.local, x) + precisely(self.whole, x.mean(dim=(2, 3), keepdim=True))
        return logits.sigmoid().to(x.dtype)
