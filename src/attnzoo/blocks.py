"""The vocabulary that modules share."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Layer = Callable[[int], nn.Module]  # channels -> normalisation
Activation = Callable[[], nn.Module]


class ConvNormAct(nn.Module):
    """Convolution, normalisation, activation; at stride 1 the map keeps its size.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias: as in `nn.Conv2d`.
        norm_layer: makes the normalisation for out_channels; None leaves it out.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for odd kernels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        norm_layer: Layer | None = nn.BatchNorm2d,
        act_layer: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=bias)
        self.norm = norm_layer(out_channels) if norm_layer else nn.Identity()
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class BottleneckMLP(nn.Module):
    """Two linear layers with an activation between: the usual predictor of channel gates.

    Shape: (B, channels) -> (B, channels), logits.
    """

    def __init__(self, channels: int, hidden: int, bias: bool, act_layer: Activation = nn.ReLU) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden, channels, bias=bias)

    def forward(self, z: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(z)))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, heads * d) -> (B, heads, N, d): head h takes the h-th run of d channels."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, N, d) -> (B, N, heads * d), the inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)


def affinity(q: Tensor, k: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Softmax over the keys of q k^T / sqrt(d), stored in full: (B, h, N, d), (B, h, M, d) -> (B, h, N, M).

    `weights` (B, h, N, M) multiply the logits; then `mask`, True where a key is removed, takes effect.
    """
    logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if weights is not None:
        logits = logits * weights
    if mask is not None:
        logits = logits.masked_fill(mask, float("-inf"))
    return logits.softmax(dim=-1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """`affinity` times v, its entries dropped with probability `dropout`: (B, h, N, d) -> (B, h, N, dv).

    Only multiplicative weights need the stored map; without them it is never formed where torch can avoid it.
    """
    if weights is None:
        keep = None if mask is None else ~mask
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout)
    return F.dropout(affinity(q, k, mask, weights), dropout) @ v


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C), row by row."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), the inverse of `to_tokens`."""
    return tokens.transpose(1, 2).unflatten(2, (height, width))
