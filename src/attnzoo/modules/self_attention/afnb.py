"""AFNB, Asymmetric Fusion Non-local Block: a high-level map asks, pyramid samples of a low-level one answer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer, affinity, attend, to_map_like, to_tokens
from attnzoo.modules.self_attention.apnb import ANN, pyramid, zero_conv
from attnzoo.registry import register


@register(
    "afnb",
    title="Asymmetric Fusion Non-local Block",
    contract="fusion",
    paper=ANN,
    source="MendelXu/ANN@f4eabeb",
    source_license="Apache-2.0",
    summary="Fuses two stages of a network by attention: every place of the high-level map gathers from pyramid-pooled "
    "samples of the low-level map. The two maps may differ in size.",
    summary_zh="用注意力融合网络的两个阶段：高层特征图的每个位置从低层特征图的金字塔池化样本中汇聚信息。"
    "两张特征图的大小可以不同。",
    placement="Between res4 (1024 channels) and res5 (2048) of a dilated ResNet: AFNB(1024, 2048, 2048, 256, 256).",
    reported="Part of a network with Cityscapes test 81.3 mIoU.",
    differences=(
        "Unlike apnb, it has no ReLU at the end, and queries and keys have layers of their own.",
        "The reference convolves the values before it averages them, ours after, which is the same and costs less.",
        "A popular explanation returns the gathered context alone, and fixes the low map to half the width.",
    ),
    not_applicable={"large-close": "the rounding of logits of 1e6 decides the softmax"},
    example={"low_channels": 32, "high_channels": 64},
    inputs=("B 32 2*H 2*W", "B 64 H W"),
)
class AFNB(nn.Module):
    """drop(norm(conv([proj(softmax(q P(k)^T / sqrt(K)) P(v)), high]))), P the pyramid of means; k and v from low.

    Args:
        low_channels: Cl, of the map that gives keys and values.
        high_channels: Ch, of the map that asks.
        out_channels: Co; high_channels by default.
        key_channels: K; high_channels // 8 by default.
        value_channels: V; high_channels // 8 by default.
        dropout: probability with which a channel of the output is dropped.
        psp_size: the grids of the pyramid, s x s each; finer than the map, they repeat pixels.
        norm_layer: makes the normalisations.

    Shape: low (B, Cl, H1, W1), high (B, Ch, H, W) -> (B, Co, H, W), for sides from 1 up.
    Cost: N (Ch K + S (K + V) + V Co + (Co + Ch) Co) + N1 Cl K multiply-adds for N and N1 places, S samples.
    Raises: AttnzooError for numbers below 1, an empty psp_size, a single value per channel in training mode,
        batches that differ, or inputs of other channels or rank.
    """

    reference_keys = {
        r"stages\.0\.f_query\.0": "query.conv",
        r"stages\.0\.f_query\.1\.0": "query.norm",
        r"stages\.0\.f_key\.0": "key.conv",
        r"stages\.0\.f_key\.1\.0": "key.norm",
        r"stages\.0\.f_value": "value",
        r"stages\.0\.W": "proj",
        r"conv_bn_dropout\.0": "fuse.conv",
        r"conv_bn_dropout\.1": "fuse.norm",
    }

    def __init__(
        self,
        low_channels: int,
        high_channels: int,
        out_channels: int | None = None,
        key_channels: int | None = None,
        value_channels: int | None = None,
        dropout: float = 0.05,
        psp_size: Sequence[int] = (1, 3, 6, 8),
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("afnb", low_channels=low_channels, high_channels=high_channels)
        out_channels = high_channels if out_channels is None else out_channels
        key_channels = max(high_channels // 8, 1) if key_channels is None else key_channels
        value_channels = max(high_channels // 8, 1) if value_channels is None else value_channels
        checks.positive("afnb", out_channels=out_channels, key_channels=key_channels, value_channels=value_channels)
        checks.probability("afnb", dropout=dropout)
        checks.sequence("afnb", psp_size=psp_size)
        checks.positive("afnb", **checks.items(psp_size=psp_size))
        self.low_channels, self.high_channels = low_channels, high_channels
        self.psp_size = tuple(psp_size)
        self.query = ConvNormAct(high_channels, key_channels, bias=True, norm_layer=norm_layer)
        self.key = ConvNormAct(low_channels, key_channels, bias=True, norm_layer=norm_layer)
        self.value = nn.Conv1d(low_channels, value_channels, 1)
        self.proj = zero_conv(value_channels, out_channels)
        fused = out_channels + high_channels
        self.fuse = ConvNormAct(fused, out_channels, bias=True, norm_layer=norm_layer, act_layer=None)
        self.drop = nn.Dropout2d(dropout)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        checks.nchw("afnb", low, self.low_channels, name="low")
        checks.shaped("afnb", "high", high, (low.shape[0], self.high_channels, None, None))
        if self.training:
            checks.several_values("afnb", low)
            checks.several_values("afnb", high)
        q, k = self._queries_keys(low, high)
        v = self.value(pyramid(low, self.psp_size)).mT[:, None]
        y = to_map_like(attend(q, k, v)[:, 0], high)
        return self.drop(self.fuse(torch.cat([self.proj(y), high], dim=1)))

    def attention(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, Cl, H1, W1), (B, Ch, H, W) -> the attention map (B, 1, H W, S)."""
        return affinity(*self._queries_keys(low, high))

    def _queries_keys(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H W, K) and (B, 1, S, K)."""
        return to_tokens(self.query(high))[:, None], pyramid(self.key(low), self.psp_size).mT[:, None]
