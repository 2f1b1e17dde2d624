"""sSE, the spatial half of scSE: a 1x1 convolution looks at a place and gates it."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely
from attnzoo.modules.channel.cse import SCSE
from attnzoo.registry import register


@register(
    "sse",
    title="Spatial squeeze and excitation (sSE)",
    contract="feature",
    paper=SCSE,
    source="ai-med/squeeze_and_excitation@acdd26e",
    source_license="none found",
    summary="Scores every place by one weighted sum of its channels and scales the place by the sigmoid of the score. "
    "It is the spatial half of scse, and works alone as well.",
    summary_zh="对每个位置的全部通道做一次加权求和，用其 sigmoid 缩放该位置。它是 scse 的空间分支，也可单独使用。",
    placement="After every encoder and decoder block of a fully convolutional network.",
    reported="Given with scse, as one of its two parts.",
    differences=(
        "The authors' forward also takes weights from outside, for few-shot segmentation; here the convolution's own "
        "weights are the only ones.",
    ),
)
class SSE(nn.Module):
    """Scale the place (i, j) by sigmoid(<w, x[:, i, j]> + b).

    Args:
        channels: C, the channels of the input.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C + 1 parameters, C H W multiply-adds.
    Raises: AttnzooError for channels below 1, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        checks.positive("sse", channels=channels)
        self.channels = channels
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("sse", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W)."""
        return precisely(self.conv, x).sigmoid().to(x.dtype)
