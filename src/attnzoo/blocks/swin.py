"""The block of Swin: attention within windows, which every other block shifts, then an MLP at each place."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo.blocks.layers import drop_path


class SwinBlock(nn.Module):
    """y + W2 gelu(W1 norm(y)), y = x + mix(norm(x)), mix the attention; a subclass may mix in another way.

    Sides that the window does not divide are padded with zeros behind the normalisation. A map no
    higher than a window is not shifted.

    Args:
        channels: C, the channels of the input.
        num_heads: h, which divides the channels.
        window_size: w, the side of the windows.
        shift: move the windows by w // 2, so that they straddle those of the block before.
        drop_path: with what probability a sample's branch is left out in training.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    """

    reference_keys = {
        r"attn\.qkv": "qkv",
        r"attn\.proj": "proj",
        r"attn\.relative_position_bias_table": "position_bias",
        "pwconv1": "fc1",
        "pwconv2": "fc2",
    }

    def __init__(
        self, channels: int, num_heads: int, window_size: int = 7, shift: bool = False, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.channels = channels
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift = window_size // 2 if shift else 0
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.position_bias = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        nn.init.trunc_normal_(self.position_bias, std=0.02)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the index of the offsets within a window, which is computed."""
        return {key: value for key, value in state.items() if not key.endswith("relative_position_index")}

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(self.norm1(x.permute(0, 2, 3, 1)))
        y = x + drop_path(mixed, self.drop_path, self.training).to(x.dtype)
        z = self.fc2(F.gelu(self.fc1(self.norm2(y.permute(0, 2, 3, 1)))))
        return y + drop_path(z.permute(0, 3, 1, 2), self.drop_path, self.training).to(x.dtype)

    def mix(self, n: Tensor) -> Tensor:
        """What joins the input: (B, H, W, C) -> (B, C, H, W)."""
        return self.attend(n).permute(0, 3, 1, 2)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, n h, w^2, w^2) of n windows, window by window of heads."""
        (q, k, _), logits = self._windows(self.norm1(x.permute(0, 2, 3, 1)))
        return (q @ k.mT * q.shape[-1] ** -0.5 + logits).softmax(dim=-1)

    def attend(self, n: Tensor) -> Tensor:
        """(B, H, W, C) -> the same: attention within windows, and the projection."""
        height, width = n.shape[1:3]
        (q, k, v), logits = self._windows(n)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=logits.to(q.dtype))  # (B, n h, w^2, d)
        down, across, side = *self._counts(height, width), self.window_size
        y = y.unflatten(1, (-1, self.num_heads)).transpose(2, 3).flatten(3)  # (B, n, w^2, C)
        y = y.unflatten(2, (side, side)).unflatten(1, (down, across))
        y = self.proj(y.transpose(2, 3).flatten(3, 4).flatten(1, 2))  # (B, H', W', C)
        back = -self._moved(down)
        return _turned(_turned(y, 1, back, height), 2, back, width)

    def _windows(self, n: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """(B, H, W, C) -> queries, keys and values (B, n h, w^2, d), and what joins the logits (n h, w^2, w^2)."""
        down, across = self._counts(*n.shape[1:3])
        side, moved = self.window_size, self._moved(down)
        padded = F.pad(n, (0, 0, 0, across * side - n.shape[2], 0, down * side - n.shape[1]))
        if self.shift:
            padded = _turned(_turned(padded, 1, moved, down * side), 2, moved, across * side)
        windows = padded.unflatten(1, (down, side)).unflatten(3, (across, side)).transpose(2, 3)
        tokens = windows.flatten(3, 4).flatten(1, 2)  # (B, n, w^2, C)
        qkv = self.qkv(tokens).unflatten(3, (3, self.num_heads, -1)).permute(3, 0, 1, 4, 2, 5)
        bias = self._bias()
        logits = bias + self._apart(down, across, moved, bias)[:, None]  # (n, h, w^2, w^2)
        return qkv.flatten(2, 3).unbind(0), logits.flatten(0, 1)

    def _counts(self, height: int, width: int) -> tuple[int, int]:
        """How many windows it takes down and across."""
        return (height + self.window_size - 1) // self.window_size, (width + self.window_size - 1) // self.window_size

    def _moved(self, down: int) -> int:
        """By how much the windows are shifted: not at all where one is as high as the map."""
        return self.shift * ((2 * down - 2) // down)

    def _bias(self) -> Tensor:
        """The learnt bias (h, w^2, w^2) of each pair of places in a window, by their offset."""
        side = self.window_size
        i = torch.arange(side, device=self.position_bias.device)
        offset = i[:, None] - i + side - 1  # (w, w)
        index = offset[:, None, :, None] * (2 * side - 1) + offset[None, :, None]  # (w, w, w, w)
        return self.position_bias[index.flatten(0, 1).flatten(1)].permute(2, 0, 1)

    def _apart(self, down: int, across: int, moved: int, like: Tensor) -> Tensor:
        """(n, w^2, w^2): -100 between places of a window that were rolled in from opposite sides of the map."""
        rows, columns = (self._region(count, moved, like) for count in (down, across))  # (windows, w)
        place = (3 * rows[:, None, :, None] + columns[None, :, None]).flatten(2).flatten(0, 1)  # (n, w^2)
        return -100.0 * (place[:, :, None] != place[:, None]).to(like.dtype)

    def _region(self, count: int, moved: int, like: Tensor) -> Tensor:
        """Which of three parts of a rolled side each place of its windows lies in: (count, w)."""
        side = self.window_size
        i = torch.arange(count * side, device=like.device)
        return ((i >= (count - 1) * side).long() + (i >= count * side - moved)).unflatten(0, (count, side))


def _turned(x: Tensor, dim: int, by: int, length: int) -> Tensor:
    """The first places along a dimension of x turned by so many; of any length, unlike a roll that is then cut."""
    size = x.shape[dim]
    places = torch.arange(length, device=x.device) + by
    places = torch.where(places < 0, places + size, places)
    return x.index_select(dim, torch.where(places < size, places, places - size))
