"""The parts of FAN beside its blocks: patches, positions, the class token."""

import itertools
import math

import torch
from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct, attend, merge_heads, precisely, split_heads, to_tokens
from attnzoo.networks.transformers import mlp

EPS = 1e-6  # of the layer normalisations
WAVES = 16  # sines, and as many cosines, for the row and for the column


def patch_embedding(in_channels: int, channels: int, patch_size: int) -> nn.Sequential:
    """3x3 convolutions with stride 2 that double the channels, with GELU between.

    Shape: (B, in_channels, H, W) -> (B, channels, H / patch_size, W / patch_size), rounded up, for powers of 2.
    """
    count = patch_size.bit_length() - 1
    widths = [in_channels, *(channels // 2**i for i in reversed(range(count)))]
    layers = [ConvNormAct(a, b, 3, stride=2, act_layer=nn.GELU) for a, b in itertools.pairwise(widths)]
    layers[-1].act = nn.Identity()
    return nn.Sequential(*layers)


class FourierPosition(nn.Module):
    """x + proj(waves): sines and cosines of the row and the column, each a share of one turn, at 16 rates.

    Shape: (B, channels, H, W) -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(4 * WAVES, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        rows, columns = waves(height, x)[:, :, None], waves(width, x)[:, None]
        places = torch.cat([rows.expand(-1, -1, width), columns.expand(-1, height, -1)])
        return x + precisely(self.proj, places[None]).to(x.dtype)


def waves(size: int, like: Tensor) -> Tensor:
    """(2 * WAVES, size): sine and cosine in turn, from one rate to the next slower; in at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    turns = torch.arange(1, size + 1, dtype=dtype, device=like.device) / (size + 1e-6)
    rates = 10000 ** (-torch.arange(WAVES, dtype=dtype, device=like.device) / WAVES)
    angles = 2 * math.pi * rates[:, None] * turns
    return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1)


class ClassAttention(nn.Module):
    """Multi-head attention whose one query is the class token: (B, 1, C), (B, N, C) -> (B, 1, C).

    Keys and values are those of the token and of the patches.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, token: Tensor, patches: Tensor) -> Tensor:
        seen = torch.cat([token, patches], dim=1)
        q, k, v = (split_heads(x, self.num_heads) for x in (self.q(token), self.k(seen), self.v(seen)))
        return self.proj(merge_heads(attend(q, k, v)))


class ClassBlock(nn.Module):
    """Class attention and an MLP for the token; the patches are normalised, and doubled.

    Args:
        channels, num_heads: of the attention.
        eta: where the scales of both branches start.
        tokens_norm: whether the second normalisation is for the patches as well.

    Shape: (B, 1, channels), (B, N, channels) -> the same.
    """

    def __init__(self, channels: int, num_heads: int, eta: float, tokens_norm: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, EPS)
        self.attn = ClassAttention(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels, EPS)
        self.mlp = mlp(channels, 4 * channels)
        self.gamma1 = nn.Parameter(torch.full((channels,), float(eta)))
        self.gamma2 = nn.Parameter(torch.full((channels,), float(eta)))
        self.tokens_norm = tokens_norm

    def forward(self, token: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.norm1(patches)
        token = self.norm2(token + self.gamma1 * self.attn(self.norm1(token), seen))
        patches = patches + self.gamma1 * seen
        if self.tokens_norm:
            patches = self.norm2(patches)
        return token + self.gamma2 * self.mlp(token), 2 * patches


class ClassReadout(nn.Module):
    """What a class token gathers from a map in a few blocks: (B, channels, H, W) -> (B, channels).

    Args: as of `ClassBlock`, and how many there are.
    """

    def __init__(self, channels: int, num_heads: int, layers: int, eta: float, tokens_norm: bool) -> None:
        super().__init__()
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, channels), std=0.02))
        self.blocks = nn.ModuleList(ClassBlock(channels, num_heads, eta, tokens_norm) for _ in range(layers))
        self.norm = nn.LayerNorm(channels, EPS)

    def forward(self, x: Tensor) -> Tensor:
        token, patches = self.token.expand(x.shape[0], -1, -1), to_tokens(x)
        for block in self.blocks:
            token, patches = block(token, patches)
        return self.norm(token[:, 0])
