"""IA, Interaction-and-Aggregation: places exchange by likeness and nearness, then channels by their products."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import to_map_like, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "ia",
    title="Interaction-and-Aggregation block",
    contract="feature",
    paper=Paper(
        title="Interaction-and-Aggregation Network for Person Re-identification",
        authors="Hou, Ma, Chang, Gu, Shan, Chen",
        venue="CVPR",
        year=2019,
        url="https://arxiv.org/abs/1907.08435",
    ),
    source="blue-blue272/ImgReID-IAnet@e104e28",
    source_license="none found",
    summary="Adds to every place a mixture of the others, by likeness of their features times a fixed Gaussian of "
    "their distance, and then to every channel a mixture of the others. Two BatchNorms are all that is learnt.",
    summary_zh="先按特征相似度乘以固定的高斯距离先验，让各位置汇聚其他位置；再让各通道汇聚其他通道。"
    "要学习的只有两个 BatchNorm。",
    placement="After the last block of ResNet-50's stages 2 and 3.",
    reported="None for the block alone that we have checked.",
    differences=(
        "The spatial weights are the softmax of a product of two softmaxes, hence nearly equal on large maps: so it is "
        "in the authors' code.",
        "The authors store the prior for one size; here it is computed as it is needed, for the size the block was "
        "built for.",
    ),
    example={"sigma_x": 5.0, "sigma_y": 10.0},
    not_applicable={"two-sizes": "the prior belongs to one height and width"},
)
class IA(nn.Module):
    """y = z + norm(A z), z = x + norm(S x): S between the places, A = softmax(z z^T) between the channels.

    Args:
        channels: C, the channels of the input.
        height, width: H and W, fixed.
        sigma_x, sigma_y: widths of the Gaussian in columns and rows; the authors take 10 and 20 at 32 x 16, 5 and
            10 at 16 x 8.

    Shape: (B, C, height, width) -> (B, C, height, width).
    Cost: 4 C parameters; 2 C N^2 + 2 C^2 N multiply-adds and a map of N^2 weights, N = H W places.
    Raises: AttnzooError for a sigma not above 0, maps of another size, or an input that is not (B, C, H, W).
    """

    reference_keys = {"W1": "spatial_norm", "W2": "channel_norm"}

    def __init__(self, channels: int, height: int, width: int, sigma_x: float, sigma_y: float) -> None:
        super().__init__()
        checks.positive("ia", channels=channels, height=height, width=width)
        checks.above_zero("ia", sigma_x=sigma_x, sigma_y=sigma_y)
        self.channels, self.height, self.width = channels, height, width
        self.sigma_x, self.sigma_y = sigma_x, sigma_y
        self.spatial_norm = nn.BatchNorm2d(channels)
        self.mixing = ChannelMixing()
        self.channel_norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.spatial_norm.weight)
        nn.init.zeros_(self.channel_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ia", x, self.channels)
        checks.same_size("ia", x, self.height, self.width)
        if self.training:
            checks.several_values("ia", x)
        with without_autocast(x):
            weights = self.attention(x)[:, 0]
            mixed = to_map_like(weights @ wide(x).flatten(2).transpose(1, 2), x)
            z = x + self.spatial_norm(mixed.to(self.spatial_norm.weight.dtype))
            return (z + self.channel_norm(self.mixing(z).to(self.channel_norm.weight.dtype))).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights between the places, (B, 1, H W, H W)."""
        features = wide(x).flatten(2)  # (B, C, N)
        with without_autocast(x):
            likeness = (features.transpose(1, 2) @ features * self.channels**-0.5).softmax(dim=2)
        rows, columns = _near(self.height, self.sigma_y, features), _near(self.width, self.sigma_x, features)
        prior = (rows[:, None, :, None] * columns[:, None]).flatten(2).flatten(0, 1)  # (N, N)
        return (prior * likeness).softmax(dim=2)[:, None]


def _near(size: int, sigma: float, like: Tensor) -> Tensor:
    """How near the places of one axis are: (size, size), the softmax of -(i - j)^2 / (2 sigma^2) over j."""
    places = torch.arange(size, dtype=like.dtype, device=like.device)
    return (-(places[:, None] - places).square() / (2 * sigma**2)).softmax(dim=1)


class ChannelMixing(nn.Module):
    """softmax(x x^T) x between the channels, in at least float32. (B, C, H, W) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        channels = wide(x).flatten(2)[:, None]  # (B, 1, C, N)
        with without_autocast(x):
            return F.scaled_dot_product_attention(channels, channels, channels, scale=1.0).view_as(x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights between the channels, (B, 1, C, C)."""
        channels = wide(x).flatten(2)
        with without_autocast(x):
            return (channels @ channels.transpose(1, 2)).softmax(dim=2)[:, None]
