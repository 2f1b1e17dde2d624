"""Channel processing of FAN: one gate per channel from where it looks, on the values of a convolutional MLP."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import depthwise, precisely, to_map, to_tokens, wide
from attnzoo.registry import Paper, register

FAN = Paper(
    title="Understanding The Robustness in Vision Transformers",
    authors="Zhou, Yu, Xie, Xiao, Anandkumar, Feng, Alvarez",
    venue="ICML",
    year=2022,
    url="https://arxiv.org/abs/2204.12451",
)


@register(
    "fan_channel",
    title="FAN channel processing",
    contract="feature",
    paper=FAN,
    source="NVlabs/FAN@ee1b7df",
    source_license="NVIDIA non-commercial",
    summary="Lets every channel look at the map through a softmax over its places and gates it by how well that fits "
    "the common view of its head. What is gated are the values of an MLP with depthwise convolutions inside.",
    summary_zh="每个通道先对所有位置做 softmax，再按它与所在头的平均视图的吻合程度得到门。"
    "被门控的是一个内含深度卷积的 MLP 的输出。",
    placement="In place of the MLP of a FAN block.",
    residual=True,
    reported="No headline figures recorded; it is a part of FAN.",
    differences=(
        "The released code holds this efficient form, one pooled key per head; the covariance between channels that "
        "the paper describes is not in it.",
        "The authors' class takes tokens with H and W; ours takes the map.",
        "A bias of the queries is a constant under the softmax over the places, and has no effect.",
    ),
    inert=("q.bias",),
)
class FANChannel(nn.Module):
    """v * gate: v = norm(mlp(x)), the gate temperature * sigmoid(q . k) for every channel.

    q are the projected channels and k the input's own, averaged over their head; both are a softmax over
    the places.

    Args:
        channels: C, the channels of the input.
        num_heads: h; it divides C.
        hidden_channels: the MLP's width, 4 C by default.
        qkv_bias: whether the queries have a bias.
        drop: dropout of the MLP.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C^2 + 2 C m + 24 m parameters or so, m the MLP's width; as many multiply-adds at every place.
    Raises: AttnzooError for heads that do not divide the channels, drop outside [0, 1), a training batch of
        a single pixel, or an input that is not (B, C, H, W).
    """

    reference_keys = {r"mlp_v\.dwconv": "mlp.depthwise", "mlp_v": "mlp", "norm_v": "norm"}

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        hidden_channels: int | None = None,
        qkv_bias: bool = False,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        checks.positive("fan_channel", channels=channels, num_heads=num_heads)
        checks.divisible("fan_channel", "channels", channels, num_heads=num_heads)
        hidden_channels = 4 * channels if hidden_channels is None else hidden_channels
        checks.positive("fan_channel", hidden_channels=hidden_channels)
        checks.probability("fan_channel", drop=drop)
        self.channels = channels
        self.num_heads = num_heads
        self.q = nn.Conv2d(channels, channels, 1, bias=qkv_bias)
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.mlp = ConvMLP(channels, hidden_channels, drop)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("fan_channel", x, self.channels)
        if self.training:
            checks.several_values("fan_channel", x)
        values = to_map(self.norm(to_tokens(self.mlp(x))), *x.shape[2:])
        return values.to(x.dtype) * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        heads = (self.num_heads, -1)
        q = precisely(self.q, x).flatten(2).softmax(dim=2).unflatten(1, heads)  # (B, h, c, N)
        k = wide(x).flatten(2).softmax(dim=2).unflatten(1, heads).mean(dim=2)  # (B, h, N)
        gate = (q @ k[..., None].to(q.dtype)).sigmoid() * self.temperature  # (B, h, c, 1)
        return gate.flatten(1).to(x.dtype)[:, :, None, None]


class ConvMLP(nn.Module):
    """fc2(a + gamma * depthwise(a)), a = fc1(x): (B, C, H, W) -> the same, no activation after the sum."""

    def __init__(self, channels: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.depthwise = _DepthwisePair(hidden)
        self.gamma = nn.Parameter(torch.ones(hidden))
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        a = self.fc1(x)
        return self.drop(self.fc2(a + self.drop(self.gamma[:, None, None] * self.depthwise(a))))


class _DepthwisePair(nn.Module):
    """Depthwise 3x3, GELU, BatchNorm, depthwise 3x3: (B, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = depthwise(channels, 3)
        self.act = nn.GELU()
        self.bn = nn.BatchNorm2d(channels)
        self.conv2 = depthwise(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.bn(self.act(self.conv1(x))))
