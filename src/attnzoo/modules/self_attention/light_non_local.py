"""The lightweight non-local block of AutoNL: no projections, no softmax, a depthwise convolution at the end."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "light_non_local",
    title="Lightweight non-local block (AutoNL)",
    contract="feature",
    paper=Paper(
        title="Neural Architecture Search for Lightweight Non-Local Networks",
        authors="Li, Jin, Mei, Lian, Yang, Xie, Yu, Zhou, Bai, Yuille",
        venue="CVPR",
        year=2020,
        url="https://arxiv.org/abs/2004.01961",
    ),
    source="LiYingwei/AutoNL@6fec214",
    source_license="none found",
    summary="Non-local attention for mobile networks: the features are their own queries, keys and values, compared "
    "on some of the channels and at some of the places. A depthwise convolution replaces the output projection.",
    summary_zh="面向移动网络的非局部注意力：特征本身就是查询、键和值，只在部分通道、部分位置上比较。"
    "输出投影由深度卷积代替。",
    placement="After the projection BatchNorm of inverted-residual blocks, before their addition.",
    reported="AutoNL-L: 77.7 ImageNet top-1 at about 350M FLOPs.",
    differences=(
        "The source is TensorFlow, with maps (B, H, W, C), and finds ratio and stride by search.",
        "The sum over the keys is divided by all H W places, also where the keys are subsampled.",
        "A popular explanation mentions neither that division nor the BatchNorm.",
    ),
    not_applicable=dict.fromkeys(
        ("large-finite-float16", "large-close-float16"),
        "the output grows with the cube of the input, past float16's range",
    ),
)
class LightNonLocal(nn.Module):
    """x + norm(conv(y)), y_i = 1/(H W) sum_j (q_i k_j) g_j: g every stride-th place of x, q and k the first channels.

    Args:
        channels: C, the channels of the input.
        ratio: share of the channels by which places are compared: d = int(ratio C).
        stride: keys and values are taken at every stride-th row and column.
        zero_init: let the BatchNorm start at zero: the fresh block returns its input.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 11 C parameters; C d (H W + M) + 9 C H W multiply-adds for M keys.
    Raises: AttnzooError for a ratio that leaves no channels, a stride below 1, or an input that is not (B, C, H, W).
    """

    reference_keys = {"bn": "norm"}

    def __init__(self, channels: int, ratio: float = 0.25, stride: int = 1, zero_init: bool = True) -> None:
        super().__init__()
        checks.positive("light_non_local", channels=channels, stride=stride)
        checks.share("light_non_local", ratio=ratio)
        self.compared = int(ratio * channels)
        checks.positive("light_non_local", **{"int(ratio * channels)": self.compared})
        self.channels = channels
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        if zero_init:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("light_non_local", x, self.channels)
        queries, keys, values = self._parts(x)
        with without_autocast(x):
            summary = values @ keys.mT / (x.shape[2] * x.shape[3])  # (B, C, d)
            y = (summary @ queries).unflatten(2, x.shape[2:]).to(self.conv.weight.dtype)
            return x + self.norm(self.conv(y)).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights (B, 1, H W, M), which need not sum to 1."""
        queries, keys, _ = self._parts(x)
        return (queries.mT @ keys)[:, None] / queries.shape[2]

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, d, H W), keys (B, d, M) and values (B, C, M)."""
        x = wide(x)
        values = x[:, :, :: self.stride, :: self.stride].flatten(2)
        return x[:, : self.compared].flatten(2), values[:, : self.compared], values
