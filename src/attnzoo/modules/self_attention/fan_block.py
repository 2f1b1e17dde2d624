"""A block of FAN: attention between the tokens, then between the channels."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ChannelNorm, drop_path, to_map, to_tokens
from attnzoo.modules.channel.fan_channel import FAN, FANChannel
from attnzoo.modules.channel.fan_se_mlp import FANSEMLP
from attnzoo.modules.self_attention.fan_attention import FANAttention
from attnzoo.registry import register


@register(
    "fan_block",
    title="FAN block",
    contract="feature",
    paper=FAN,
    source="NVlabs/FAN@ee1b7df",
    source_license="NVIDIA non-commercial",
    summary="A transformer block whose MLP is replaced by an attention over the channels. Each half has a LayerNorm "
    "before it and a learnt scale per channel after it.",
    summary_zh="以通道注意力取代 MLP 的 Transformer 块。两个部分之前各有 LayerNorm，之后各有可学习的逐通道缩放。",
    placement="FAN-ViT: four 3x3 convolutions of stride 2, a row of these blocks, and two class-attention blocks.",
    reported="FAN-L-Hybrid (76.8M): ImageNet top-1 87.1 with pre-training, 35.8 mCE on ImageNet-C.",
    differences=(
        "The authors' class takes tokens, with H and W set on it by the network; ours takes the map.",
        "Their LayerNorm has torch's eps 1e-5 in the class, but their models pass 1e-6.",
    ),
    inert=("mlp.q.bias",),
    example={"num_heads": 8},
)
class FANBlock(nn.Module):
    """x + gamma1 * attn(norm1(x)), and on that x + gamma2 * mlp(norm2(x)): fan_attention, then fan_channel.

    Args:
        channels: C, the channels of the input.
        num_heads: heads of the attention between places.
        channel_num_heads: heads of the channel processing; num_heads by default.
        mlp_ratio: width of the MLP over C.
        qkv_bias: whether queries, keys and values have a bias.
        se: take fan_se_mlp in place of fan_channel.
        eta: what the scales gamma1 and gamma2 start from.
        drop_path: probability with which a half is left out for a sample in training.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: (5 + 2 mlp_ratio) C^2 weights or so; 2 C (H W)^2 multiply-adds besides, in memory linear in H W.
    Raises: AttnzooError for heads that do not divide the channels, mlp_ratio not above 0, drop_path outside [0, 1), a
        training batch of a single pixel, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        channel_num_heads: int | None = None,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        se: bool = False,
        eta: float = 1.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        channel_num_heads = num_heads if channel_num_heads is None else channel_num_heads
        heads = {"num_heads": num_heads, "channel_num_heads": channel_num_heads}
        checks.positive("fan_block", channels=channels, **heads)
        checks.divisible("fan_block", "channels", channels, **heads)
        checks.above_zero("fan_block", mlp_ratio=mlp_ratio)
        checks.probability("fan_block", drop_path=drop_path)
        hidden = int(mlp_ratio * channels)
        self.channels = channels
        self.drop_path = drop_path
        self.norm1 = ChannelNorm(channels)
        self.attn = FANAttention(channels, num_heads, qkv_bias)
        self.norm2 = ChannelNorm(channels)
        self.mlp = FANSEMLP(channels, hidden) if se else FANChannel(channels, channel_num_heads, hidden, qkv_bias)
        self.gamma1 = nn.Parameter(torch.full((channels,), float(eta)))
        self.gamma2 = nn.Parameter(torch.full((channels,), float(eta)))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("fan_block", x, self.channels)
        if self.training:
            checks.several_values("fan_block", x)
        mixed = to_map(self.attn(to_tokens(self.norm1(x))), *x.shape[2:])
        x = self._add(x, self.gamma1, mixed)
        return self._add(x, self.gamma2, self.mlp(self.norm2(x)))

    def _add(self, x: Tensor, gamma: Tensor, y: Tensor) -> Tensor:
        branch = drop_path(y.to(x.dtype), self.drop_path, self.training)
        return torch.addcmul(x, gamma[:, None, None].to(x.dtype), branch)
