"""Mixed pooling (SPNet): near context from two grids, far context from strips, added to the map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer, adaptive_avg_pool, mean, resize, strip_norm_act
from attnzoo.modules.context.strip_pooling import SPNET
from attnzoo.registry import register

_NAMES = {
    "conv1_1": "reduce_near",
    "conv1_2": "reduce_far",
    "conv2_0": "full",
    "conv2_1": "grids.0",
    "conv2_2": "grids.1",
    "conv2_3": "row",
    "conv2_4": "column",
    "conv2_5": "smooth_near",
    "conv2_6": "smooth_far",
    "conv3": "merge",
}


@register(
    "mixed_pooling",
    title="Mixed Pooling Module",
    contract="feature",
    paper=SPNET,
    source="Andrew-Qibin/SPNet@5e97da3",
    source_license="none found",
    summary="One half of the block averages over two square grids for what lies near, the other over rows and columns "
    "for what lies far. Both are fused and added to the input.",
    summary_zh="模块的一半在两个方形网格上取平均以获得近处的上下文，另一半沿行与列取平均以获得远处的上下文。"
    "两者融合后加回输入。",
    placement="Two in a row in the head of SPNet, after a 1x1 reduction of the backbone's 2048 channels to 1024.",
    reported="No headline figure recorded here.",
    differences=(
        "The grids are resized with aligned corners, which is not torch's default.",
        "A popular collection has the same code, but its caller must pass the arguments of the resizing.",
    ),
)
class MixedPooling(nn.Module):
    """relu(x + merge(concat(near(a), far(b)))), a and b reductions of x to a quarter of its channels.

    near(a) smooths relu(conv(a) + the two pooled grids, each through a convolution and resized); far(b) smooths
    relu of the sum of the column means and the row means, each through a convolution along its strip.

    Args:
        channels: C, the channels of the input, at least 4.
        pool_sizes: the sides of the two grids; they may be larger than the map.
        norm_layer: makes the normalisations.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: with q = C // 4, 4 C q + 51 q^2 weights and the normalisations'.
    Raises: AttnzooError for channels below 4, other than two pool_sizes, a strip of a single value per channel in
        training, or an input that is not (B, C, H, W).
    """

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors number the convolutions through."""
        keys: dict[str, str] = {}
        for theirs, ours in _NAMES.items():
            keys |= {rf"{theirs}\.0": f"{ours}.conv", rf"{theirs}\.1": f"{ours}.norm"}
        return keys

    def __init__(self, channels: int, pool_sizes: Sequence[int] = (20, 12), norm_layer: Layer = nn.BatchNorm2d) -> None:
        super().__init__()
        checks.at_least("mixed_pooling", 4, channels=channels)
        checks.sequence("mixed_pooling", length=2, pool_sizes=pool_sizes)
        checks.positive("mixed_pooling", **checks.items(pool_sizes=pool_sizes))
        q = channels // 4

        def smooth(act: bool) -> ConvNormAct:
            return ConvNormAct(q, q, 3, norm_layer=norm_layer, act_layer=nn.ReLU if act else None)

        self.channels = channels
        self.pool_sizes = tuple(pool_sizes)
        self.reduce_near = ConvNormAct(channels, q, norm_layer=norm_layer)
        self.reduce_far = ConvNormAct(channels, q, norm_layer=norm_layer)
        self.full = smooth(act=False)
        self.grids = nn.ModuleList(smooth(act=False) for _ in pool_sizes)
        self.row = strip_norm_act(q, q, (1, 3), norm_layer, nn.Identity)
        self.column = strip_norm_act(q, q, (3, 1), norm_layer, nn.Identity)
        self.smooth_near = smooth(act=True)
        self.smooth_far = smooth(act=True)
        self.merge = ConvNormAct(2 * q, channels, norm_layer=norm_layer, act_layer=None)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mixed_pooling", x, self.channels)
        if self.training:
            checks.several_values("mixed_pooling", x[:, :, :, :1])
            checks.several_values("mixed_pooling", x[:, :, :1])
        both = torch.cat([self._near(self.reduce_near(x)), self._far(self.reduce_far(x))], dim=1)
        return self.act(x + self.merge(both))

    def _near(self, a: Tensor) -> Tensor:
        total = self.full(a)
        for side, grid in zip(self.pool_sizes, self.grids, strict=True):
            pooled = adaptive_avg_pool(a, side, side).to(a.dtype)
            total = total + resize(grid(pooled), *a.shape[2:], align_corners=True)
        return self.smooth_near(self.act(total))

    def _far(self, b: Tensor) -> Tensor:
        across = self.row(mean(b, 2, keepdim=True).to(b.dtype))  # (B, q, 1, W)
        down = self.column(mean(b, 3, keepdim=True).to(b.dtype))  # (B, q, H, 1)
        return self.smooth_far(self.act(across + down))
