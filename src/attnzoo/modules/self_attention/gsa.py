"""GSA, Global Self-Attention: keys times values first for the content, learnt offsets along both axes for positions."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "gsa",
    title="Global Self-Attention module",
    contract="feature",
    plug_in=False,
    paper=Paper(
        title="Global Self-Attention Networks for Image Recognition",
        authors="Shen, Bello, Vemulapalli, Jia, Chen",
        venue="arXiv",
        year=2020,
        url="https://arxiv.org/abs/2010.03019",
    ),
    source="lucidrains/global-self-attention-network@c31594a",
    source_license="MIT",
    summary="Adds two kinds of attention between all places: one by content, which multiplies keys with values first, "
    "and one by position, along the columns and then along the rows. Neither forms the map of all pairs.",
    summary_zh="把所有位置之间的两种注意力相加：一种按内容，先让键与值相乘；另一种按位置，先沿列、再沿行。"
    "二者都不构造所有位置两两之间的图。",
    placement="In place of the 3x3 convolutions of ResNet bottlenecks.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors released no code; the numbers come from the port that is used most.",
        "The position branch takes the raw queries even where norm_queries normalises those of the content.",
        "Its batch norm has one set of statistics for all heads.",
    ),
    example={"rel_pos_length": 8},
    not_applicable=dict.fromkeys(
        ("large-finite-float16", "large-close-float16"),
        "the output grows with the cube of the input, past float16's range",
    ),
)
class GSA(nn.Module):
    """to_out(context q + positions), context = v softmax(k)^T, the softmax over the places.

    The positions take s . v along the columns, s_i = q . rel_rows[i - y], then the same along the rows on the
    normalised result; offsets beyond rel_pos_length - 1 count nothing.

    Args:
        channels: C, the channels of the input.
        out_channels: channels of the output; channels by default.
        num_heads: h.
        key_dim: d, width of queries, keys and values per head.
        rel_pos_length: how many offsets either way the tables know, the place itself included; None leaves the
            positions out.
        norm_queries: take a softmax of the content's queries over their channels.
        batch_norm: normalise between the two axes.

    Shape: (B, C, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: 3 C h d + h d out_channels weights and the tables; H W h d (3 C + 2 d + 2 (H + W) + out_channels)
        multiply-adds, H W (H + W) h numbers of memory.
    Raises: AttnzooError for numbers below 1, or an input that is not (B, C, H, W); for a single value per channel
        in training mode.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        num_heads: int = 8,
        key_dim: int = 64,
        rel_pos_length: int | None = None,
        norm_queries: bool = False,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        out_channels = channels if out_channels is None else out_channels
        checks.positive("gsa", channels=channels, out_channels=out_channels, num_heads=num_heads, key_dim=key_dim)
        self.channels = channels
        self.num_heads = num_heads
        self.rel_pos_length = rel_pos_length
        self.norm_queries = norm_queries
        self.to_qkv = nn.Conv2d(channels, 3 * num_heads * key_dim, 1, bias=False)
        self.to_out = nn.Conv2d(num_heads * key_dim, out_channels, 1)
        self.norm: nn.Module | None = None
        if rel_pos_length is not None:
            checks.positive("gsa", rel_pos_length=rel_pos_length)
            self.rel_rows = nn.Parameter(torch.randn(2 * rel_pos_length - 1, key_dim))
            self.rel_columns = nn.Parameter(torch.randn(2 * rel_pos_length - 1, key_dim))
            self.norm = nn.BatchNorm2d(key_dim) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("gsa", x, self.channels)
        if self.training and self.norm is not None:
            checks.several_values("gsa", x)
        with without_autocast(x):
            q, k, v = (part.unflatten(1, (self.num_heads, -1)).flatten(0, 1) for part in self._qkv(x).chunk(3, dim=1))
            asking = q.softmax(dim=1) if self.norm_queries else q
            context = v.flatten(2) @ k.flatten(2).softmax(dim=2).mT  # (B h, d, d)
            y = (context @ asking.flatten(2)).unflatten(2, x.shape[2:])  # (B h, d, H, W)
            if self.rel_pos_length is not None:
                y = y + self._by_position(q, v)
            y = y.unflatten(0, (-1, self.num_heads)).flatten(1, 2)
            return precisely(self.to_out, y).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the map that the content's products stand for (B, h, H W, H W)."""
        with without_autocast(x):
            q, k, _ = (part.flatten(2).unflatten(1, (self.num_heads, -1)) for part in self._qkv(x).chunk(3, dim=1))
            return (q.softmax(dim=2) if self.norm_queries else q).mT @ k.softmax(dim=3)

    def _qkv(self, x: Tensor) -> Tensor:
        return wide(precisely(self.to_qkv, x))

    def _by_position(self, q: Tensor, v: Tensor) -> Tensor:
        """Values along the columns, then along the rows: (B h, d, H, W) twice -> (B h, d, H, W)."""
        q = q.permute(0, 2, 3, 1)  # (B h, H, W, d)
        down = q @ self._offsets(self.rel_rows, q.shape[1], q).mT  # (B h, H, W, H), to every row of the column
        across = q.transpose(1, 2) @ self._offsets(self.rel_columns, q.shape[2], q).mT  # (B h, W, H, W)
        y = (down.transpose(1, 2) @ v.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)  # over (B h, W, H, H) and (B h, W, H, d)
        if self.norm is not None:
            y = wide(precisely(self.norm, y))
        return (across.transpose(1, 2) @ y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _offsets(self, table: Tensor, size: int, like: Tensor) -> Tensor:
        """The table's vector of offset j - i at [i, j], zero where it is too far (size, size, d)."""
        most = table.shape[0] // 2
        i = torch.arange(size, device=table.device)
        offset = i - i[:, None]
        return table[offset.clamp(-most, most) + most].to(like.dtype) * (offset.abs() <= most)[..., None]
