"""SEB, Semantic Embedding Branch (ExFuse): low-level features times what the high level sees there."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, resize
from attnzoo.registry import Paper, register


@register(
    "seb",
    title="Semantic Embedding Branch (ExFuse)",
    contract="fusion",
    paper=Paper(
        title="ExFuse: Enhancing Feature Fusion for Semantic Segmentation",
        authors="Zhang, Zhang, Peng, Xue, Sun",
        venue="ECCV",
        year=2018,
        url="https://arxiv.org/abs/1804.03821",
    ),
    source="lxtGH/fuse_seg_pytorch@942f1cd (no official code)",
    source_license="none found",
    summary="Multiplies low-level features by the convolved and enlarged features of a higher level. Fine detail so "
    "carries a notion of what it belongs to.",
    summary_zh="把低层特征与经卷积并放大的高层特征相乘。细节因此带上了它所属物体的语义。",
    placement="The skip connections of a U-shaped segmentation network; in the paper together with GCN.",
    reported="No headline figure recorded here.",
    differences=(
        "There is no code by the authors; the numbers come from a port.",
        "The paper brings in all higher levels at once: enlarge and concatenate them first, as the port does.",
        "A popular collection also convolves the low level and resizes with aligned corners; other ports have a "
        "BatchNorm and a ReLU after the convolution.",
    ),
    not_applicable=SQUARES,
    example={"low_channels": 24, "high_channels": 32},
    inputs=("B 24 2*H 2*W", "B 32 H W"),
)
class SEB(nn.Module):
    """low resize(conv(high)), the resizing bilinear, to the size of low.

    Args:
        low_channels: channels of the low-level map, and of the output.
        high_channels: channels of the high-level map.

    Shape: low (B, low_channels, H, W) and high (B, high_channels, h, w) -> (B, low_channels, H, W).
    Cost: 9 low_channels high_channels + low_channels parameters, at every place of the high-level map.
    Raises: AttnzooError for channels below 1, maps of other channels, or batches that differ.
    """

    def __init__(self, low_channels: int, high_channels: int) -> None:
        super().__init__()
        checks.positive("seb", low_channels=low_channels, high_channels=high_channels)
        self.low_channels = low_channels
        self.high_channels = high_channels
        self.conv = nn.Conv2d(high_channels, low_channels, 3, padding=1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        checks.nchw("seb", low, self.low_channels, name="low")
        checks.shaped("seb", "high", high, (low.shape[0], self.high_channels, None, None))
        return low * self.gate(low, high)

    def gate(self, low: Tensor, high: Tensor) -> Tensor:
        """The inputs of forward -> (B, low_channels, H, W)."""
        return resize(self.conv(high), *low.shape[2:])
