"""scSE: the map recalibrated per channel and per place side by side, and of both the larger value kept."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.modules.channel.cse import CSE, SCSE
from attnzoo.modules.spatial.sse import SSE
from attnzoo.registry import register


@register(
    "scse",
    title="Concurrent Spatial and Channel Squeeze and Excitation",
    contract="feature",
    paper=SCSE,
    source="ai-med/squeeze_and_excitation@acdd26e",
    source_license="none found",
    summary="Gates the channels as SE does and, beside it, the places by a 1x1 convolution. Of the two gated maps the "
    "larger value is kept at every element.",
    summary_zh="一路像 SE 那样给通道加门，另一路用 1x1 卷积给位置加门。两张结果在每个元素上取较大者。",
    placement="After every encoder and decoder block of a fully convolutional network (U-Net, SD-Net, DenseNet-FCN).",
    reported="None for the module alone that we have checked.",
    differences=(
        "The first paper adds the two maps (fusion='add'); the authors' code and the journal version take the "
        "maximum, the default here.",
        "Common segmentation libraries add, with reduction 16 and 1x1 convolutions instead of linear layers.",
        "Where the input is negative the maximum picks the smaller gate: so it is in the authors' code.",
    ),
)
class ChannelSpatialSE(nn.Module):
    """max(x channel_gate(x), x spatial_gate(x)), or their sum.

    Args:
        channels: C, the channels of the input.
        reduction: r; the bottleneck of the channel gate is C // r wide.
        fusion: 'max' or 'add'.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r + C/r + 2 C + 1 parameters; C H W multiply-adds for the spatial gate.
    Raises: AttnzooError for a bottleneck without channels, an unknown fusion, or an input that is not (B, C, H, W).
    """

    reference_keys = {r"cSE\.fc1": "cse.mlp.fc1", r"cSE\.fc2": "cse.mlp.fc2", "sSE": "sse"}

    def __init__(self, channels: int, reduction: int = 2, fusion: str = "max") -> None:
        super().__init__()
        checks.reduced("scse", channels, reduction)
        checks.choice("scse", ("max", "add"), fusion=fusion)
        self.channels = channels
        self.fusion = fusion
        self.cse = CSE(channels, reduction)
        self.sse = SSE(channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("scse", x, self.channels)
        channel, spatial = self.cse.gate(x), self.sse.gate(x)
        if self.fusion == "add":
            return (x * (channel + spatial)).to(x.dtype)
        return torch.maximum(x * channel, x * spatial).to(x.dtype)
