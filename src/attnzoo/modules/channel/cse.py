"""cSE, the channel half of scSE: squeeze-and-excitation with biases and a wide bottleneck."""

from torch import Tensor

from attnzoo import checks
from attnzoo.modules.channel.se import SE
from attnzoo.registry import Paper, register

SCSE = Paper(
    title="Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
    authors="Roy, Navab, Wachinger",
    venue="MICCAI",
    year=2018,
    url="https://arxiv.org/abs/1803.02579",
)


@register(
    "cse",
    title="Channel squeeze and excitation (scSE)",
    contract="feature",
    paper=SCSE,
    source="ai-med/squeeze_and_excitation@acdd26e",
    source_license="none found",
    summary="The channel half of scSE on its own: an SE gate with biases whose bottleneck keeps half of the channels. "
    "Its partner, a gate per place, is sse.",
    summary_zh="scSE 中的通道部分，可单独使用：带偏置、瓶颈保留一半通道的 SE 门。与之配对的逐位置的门是 sse。",
    placement="As scse: after the blocks of fully convolutional segmentation networks.",
    reported="None of its own; the paper reports it as part of scSE.",
    differences=("The arithmetic is that of se with bias=True; the ratio is 2 instead of 16.",),
)
class CSE(SE):
    """Scale channel c by sigmoid(fc2(relu(fc1(z))))[c], z the spatial means.

    Args:
        channels: C, the channels of the input.
        reduction: r; the bottleneck is C // r wide.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r + C/r + C parameters, 2 C C/r multiply-adds per image.
    Raises: AttnzooError for a bottleneck without channels, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 2) -> None:
        hidden = checks.reduced("cse", channels, reduction)
        super().__init__(channels, bias=True, hidden_channels=hidden)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cse", x, self.channels)
        return x * self.gate(x)
