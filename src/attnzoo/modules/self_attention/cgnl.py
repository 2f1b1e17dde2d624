"""CGNL, Compact Generalized Non-local: attention between all places and channels at once, by scalars alone."""

import math

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, wide
from attnzoo.registry import Paper, register

GAMMA = 1e-4  # of the radial basis function


@register(
    "cgnl",
    title="Compact Generalized Non-local block",
    contract="feature",
    paper=Paper(
        title="Compact Generalized Non-local Network",
        authors="Yue, Sun, Yuan, Zhou, Ding, Xu",
        venue="NeurIPS",
        year=2018,
        url="https://arxiv.org/abs/1810.13125",
    ),
    source="KaiyuYue/cgnl-network.pytorch@33e348b",
    source_license="none found",
    summary="Non-local attention in which every channel of every place is an element of its own, compared by a dot "
    "product or a short Taylor series. Within a group of channels, all that is exchanged are then a few scalars.",
    summary_zh="把每个位置的每个通道都当作一个元素的非局部注意力，用点积或截断的泰勒级数比较。"
    "于是每个通道组内只需交换几个标量。",
    placement="One block in res3 or res4 of a ResNet.",
    reported="No headline figure recorded here.",
    differences=(
        "No gate starts at zero: the fresh block is not the identity.",
        "The reference fails without groups, though None is its default; it rounds the RBF's gamma to float32.",
        "As in the reference, the GroupNorm has the groups of the scalars: of the dot product's it leaves only the "
        "signs, and where one turns, the output jumps.",
    ),
    not_applicable={
        "int8": "the GroupNorm divides the size of a group's scalar away: near zero, int8 rounding turns its sign"
    },
)
class CGNL(nn.Module):
    """x + norm(z(y)), y = sum_o a_o t(x)^o, a_o = alpha_o sum(p(x)^o g(x)) over the channels and places of a group.

    The dot product has o = 1 alone, with alpha = 1; the RBF has o = 0 to order, alpha_o = (2e-4)^o / o! exp(-2e-4).

    Args:
        channels: C, the channels of the input.
        inter_channels: C', of t, p and g; half the channels by default.
        groups: of channels, each with its own scalars; it divides both.
        use_scale: divide a_o by the square root of the number of a group's elements.
        kernel: 'dot' or 'rbf'.
        order: of the Taylor series.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 3 C C' + C C' / groups + 2 C parameters, and as many multiply-adds per place; nothing grows faster.
    Raises: AttnzooError for groups that do not divide the channels, an unknown kernel, a negative order, or an input
        that is not (B, C, H, W).
    """

    reference_keys = {"t": "theta", "p": "phi", "gn": "norm", "z": "proj"}

    def __init__(
        self,
        channels: int,
        inter_channels: int | None = None,
        groups: int = 8,
        use_scale: bool = False,
        kernel: str = "dot",
        order: int = 2,
    ) -> None:
        super().__init__()
        checks.positive("cgnl", channels=channels, groups=groups)
        width = max(channels // 2, 1) if inter_channels is None else inter_channels
        checks.positive("cgnl", inter_channels=width)
        checks.divisible("cgnl", "channels", channels, groups=groups)
        checks.divisible("cgnl", "inter_channels", width, groups=groups)
        checks.choice("cgnl", ("dot", "rbf"), kernel=kernel)
        checks.at_least("cgnl", 0, order=order)
        self.channels = channels
        self.groups = groups
        self.use_scale = use_scale
        self.alphas = (
            {o: (2 * GAMMA) ** o / math.factorial(o) * math.exp(-2 * GAMMA) for o in range(order + 1)}
            if kernel == "rbf"
            else {1: 1.0}
        )
        self.theta, self.phi, self.g = (nn.Conv2d(channels, width, 1, bias=False) for _ in range(3))
        self.proj = nn.Conv2d(width, channels, 1, groups=groups, bias=False)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cgnl", x, self.channels)
        theta, phi, g = (wide(conv(x)) for conv in (self.theta, self.phi, self.g))
        y = torch.stack([self._term(theta, phi, g, o) for o in self.alphas]).sum(dim=0)
        return x + precisely(self.norm, y).to(x.dtype)

    def _term(self, theta: Tensor, phi: Tensor, g: Tensor, order: int) -> Tensor:
        """a_o z(theta^o), as (B, C, H, W)."""
        products = (phi**order * g).unflatten(1, (self.groups, -1))  # (B, groups, C' / groups, H, W)
        factor = self.alphas[order] * (math.prod(products.shape[2:]) ** -0.5 if self.use_scale else 1.0)
        scalars = factor * products.sum(dim=(2, 3, 4))
        projected = wide(precisely(self.proj, theta**order)).unflatten(1, (self.groups, -1))
        return (scalars[:, :, None, None, None] * projected).flatten(1, 2)
