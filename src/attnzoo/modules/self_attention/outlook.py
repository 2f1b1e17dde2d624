"""Outlook attention (VOLO): every place predicts how the members of its window attend to each other."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import laid_out_like, precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "outlook",
    title="Outlook attention",
    contract="feature",
    paper=Paper(
        title="VOLO: Vision Outlooker for Visual Recognition",
        authors="Yuan, Hou, Jiang, Feng, Yan",
        venue="TPAMI",
        year=2022,
        url="https://arxiv.org/abs/2106.13112",
    ),
    source="sail-sg/volo@cf35775",
    source_license="Apache-2.0",
    summary="One linear layer on the feature of a place predicts the whole attention map between the members of its "
    "window, without queries or keys. The windows that have attended are added up where they overlap.",
    summary_zh="仅由一个位置的特征经一个线性层，就预测出其窗口内各成员之间的整张注意力图，无需查询与键。"
    "各窗口的结果在重叠处相加。",
    placement="In the first stage of VOLO, on features of stride 8 with stride=2: LayerNorm, outlook attention, "
    "shortcut, LayerNorm, MLP, shortcut.",
    residual=True,
    reported="ImageNet top-1: VOLO-D5 87.1 without extra data.",
    differences=(
        "The authors' class takes (B, H, W, C); ours takes the map.",
        "A popular collection hands the padding to nn.Unfold as its dilation, right only for a 3x3 window at stride "
        "1, and drops out a tenth by default.",
    ),
)
class OutlookAttention(nn.Module):
    """proj(fold(A_i v_i)): v_i the window of value(x) around i, A_i = softmax(attn(x_i) / sqrt(d)), k^2 by k^2.

    Args:
        channels: C, the channels of the input.
        num_heads: h; it divides C.
        kernel_size: k, the side of the window.
        padding: zeros around the values.
        stride: s, of the windows' centres; x is averaged over s x s places to predict the maps (VOLO takes 2).
        qkv_bias: whether the values have a bias.
        attn_drop, proj_drop: dropout of the maps and of the output.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W whose windows number ceil(H / s) by ceil(W / s).
    Cost: 2 C^2 + h k^4 (C + 1) weights or so; 2 C^2 multiply-adds at every place and k^4 C (h + 1) at every window,
        in memory of h k^4 at every window.
    Raises: AttnzooError for heads that do not divide the channels, a window and padding that do not fit the stride,
        dropout outside [0, 1), or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 1,
        kernel_size: int = 3,
        padding: int = 1,
        stride: int = 1,
        qkv_bias: bool = False,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        checks.positive("outlook", channels=channels, num_heads=num_heads, kernel_size=kernel_size, stride=stride)
        checks.at_least("outlook", 0, padding=padding)
        checks.divisible("outlook", "channels", channels, num_heads=num_heads)
        checks.probability("outlook", attn_drop=attn_drop, proj_drop=proj_drop)
        self.channels = channels
        self.num_heads = num_heads
        self.kernel_size, self.padding, self.stride = kernel_size, padding, stride
        self.attn_drop = attn_drop
        self.v = nn.Conv2d(channels, channels, 1, bias=qkv_bias)
        self.attn = nn.Conv2d(channels, num_heads * kernel_size**4, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("outlook", x, self.channels)
        checks.strided_windows("outlook", x, self.kernel_size, self.padding, self.stride)
        maps = F.dropout(self._maps(x), self.attn_drop, self.training).permute(0, 1, 4, 2, 3)  # (B, h, L, k^2, k^2)
        values = self.v(x)
        window = {"kernel_size": self.kernel_size, "padding": self.padding, "stride": self.stride}
        with without_autocast(x):
            y = (maps @ self._windows(wide(values))).permute(0, 1, 4, 3, 2)  # (B, h, d, k^2, L)
            y = F.fold(y.flatten(1, 3), x.shape[2:], **window)
        return self.proj_drop(self.proj(laid_out_like(y.to(x.dtype), x)))

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the maps of all windows, one below another: (B, h, L k^2, k^2)."""
        return self._maps(x).permute(0, 1, 4, 2, 3).flatten(2, 3)

    def _windows(self, v: Tensor) -> Tensor:
        """(B, C, H, W) -> the L windows, places above channels (B, h, L, k^2, d)."""
        v = F.pad(v, [self.padding] * 4).permute(0, 2, 3, 1).unflatten(3, (self.num_heads, -1))
        held = v.unfold(1, self.kernel_size, self.stride).unfold(2, self.kernel_size, self.stride)
        return held.permute(0, 3, 1, 2, 5, 6, 4).flatten(4, 5).flatten(2, 3)

    def _maps(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, h, k^2, k^2, L), in at least float32, for L windows."""
        pooled = F.avg_pool2d(wide(x), self.stride, ceil_mode=True) if self.stride > 1 else x
        logits = wide(precisely(self.attn, pooled)).flatten(2)
        scale = (self.channels // self.num_heads) ** -0.5
        places = self.kernel_size**2
        return (logits.unflatten(1, (self.num_heads, places, places)) * scale).softmax(dim=3)
