"""SPA, Spatial Pyramid Attention: an SE gate that reads each channel's means on three grids."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, ConvNormAct, adaptive_averaging, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "spa",
    title="Spatial Pyramid Attention",
    contract="feature",
    paper=Paper(
        title="SPANet: Spatial Pyramid Attention Network for Enhanced Image Recognition",
        authors="Guo, Ma, Sansom, McGuire, Kalaani, Chen, Tang, Yang, Fu",
        venue="ICME",
        year=2020,
        url="https://ieeexplore.ieee.org/document/9102906",
    ),
    source="13952522076/SPANet@031320d",
    source_license="none found",
    summary="Describes every channel by its means on grids of 1, 4 and 16 cells before the bottleneck, so that the "
    "gate knows roughly where things are. It may also read another map than the one it gates, such as the block's "
    "input.",
    summary_zh="在 1、4、16 格的网格上对每个通道取平均，再送入瓶颈层，使门大致了解布局。"
    "门也可以从另一张特征图（如残差块的输入）读取。",
    placement="End of the residual branch, in ResNets, VGG, MobileNetV2, DenseNet and ResNeXt; with a context, that is "
    "the block's input before its first BatchNorm.",
    reported="CIFAR-100 accuracy, pre-activation ResNet-18/50/101: plain 74.91/77.39/77.74, SE 75.19/77.91/78.03, "
    "from the map itself 75.41/78.21/78.11, from the block's input 75.56/77.95/79.17.",
    differences=(
        "The authors name the forms SPPSE (no context), PSPPSE ('direct') and CPSPPSE ('conv'); with a context their "
        "layers return the gate alone, and the block multiplies.",
        "Pooling with fixed strides, as in some ports, gives other cells where 4 does not divide the size.",
    ),
    settled=("context_channels",),
)
class SpatialPyramidAttention(nn.Module):
    """Scale channel c of x by sigmoid(fc2(relu(fc1(pyramid(t)))))[c], t the context or x itself.

    Args:
        channels: C, the channels of the input.
        reduction: r; the bottleneck is C' // r wide, C' the channels of the map that the gate reads.
        levels: the sides of the grids.
        context_channels: channels of a second input, which the gate reads instead.
        connect: 'conv' brings a context of other width to C channels by a 1x1 convolution; 'direct' reads it
            as it is.

    Shape: (B, C, H, W) and, where context_channels is given, (B, context_channels, H', W') -> (B, C, H, W),
        for any sizes from 1 up.
    Cost: n C'^2/r + C C'/r weights, n the number of cells (21).
    Raises: AttnzooError for a bottleneck without channels, levels below 1, an unknown connect, a context
        that is missing or not expected, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"fc\.0": "mlp.fc1",
        r"fc\.2": "mlp.fc2",
        r"conv1\.0": "connect.conv",
        r"conv1\.1": "connect.norm",
    }

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        levels: Sequence[int] = (1, 2, 4),
        context_channels: int | None = None,
        connect: str = "conv",
    ) -> None:
        super().__init__()
        checks.positive("spa", channels=channels)
        checks.sequence("spa", levels=levels)
        checks.positive("spa", **checks.items(levels=levels))
        checks.choice("spa", ("conv", "direct"), connect=connect)
        seen = channels if context_channels is None else context_channels
        checks.positive("spa", context_channels=seen)
        self.channels = channels
        self.context_channels = context_channels
        self.levels = tuple(levels)
        self.connect: nn.Module = nn.Identity()
        if connect == "conv" and seen != channels:
            self.connect = ConvNormAct(seen, channels)
            seen = channels
        hidden = checks.reduced("spa", seen, reduction)
        cells = sum(side * side for side in levels)
        self.mlp = BottleneckMLP(cells * seen, hidden, bias=False, out_channels=channels)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        checks.nchw("spa", x, self.channels)
        if self.context_channels is None:
            checks.absent("spa", context=context)
            return x * self.gate(x).to(x.dtype)
        shape = (x.shape[0], self.context_channels, None, None)
        return x * self.gate(checks.shaped("spa", "context", context, shape)).to(x.dtype)

    def gate(self, t: Tensor) -> Tensor:
        """The map to read (B, C', H', W') -> (B, C, 1, 1)."""
        t = wide(self.connect(t))
        with without_autocast(t):
            # One pass over the map: the columns of all levels at once.
            columns = torch.cat([adaptive_averaging(t, 3, side) for side in self.levels])
            strips = (t @ columns.mT).split(self.levels, dim=3)  # (B, C', H', side)
            grids = [adaptive_averaging(t, 2, side) @ strip for side, strip in zip(self.levels, strips, strict=True)]
        described = torch.cat([grid.flatten(1) for grid in grids], dim=1)  # (B, cells * C')
        return self.mlp(described).sigmoid()[:, :, None, None]
