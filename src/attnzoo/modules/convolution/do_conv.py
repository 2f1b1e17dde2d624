"""DO-Conv: a kernel trained as a product of two factors, and folded into one for inference."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ComputedKernel, without_autocast
from attnzoo.modules.convolution.fused_conv_bn import PADDING_MODES
from attnzoo.registry import Paper, register


@register(
    "do_conv",
    title="Depthwise Over-parameterized Convolution (DO-Conv)",
    contract="conv",
    paper=Paper(
        title="DO-Conv: Depthwise Over-parameterized Convolutional Layer",
        authors="Cao, Li, Sun, Chen, Lischinski, Cohen-Or, Chen, Tu",
        venue="IEEE TIP",
        year=2022,
        url="https://arxiv.org/abs/2006.12030",
    ),
    source="yangyanli/DO-Conv@66fa862",
    source_license="MIT",
    summary="Trains every kernel as the product of a usual one and a small matrix for each input channel, which starts "
    "as the identity. For inference the product is taken once, and a plain convolution remains.",
    summary_zh="训练时把卷积核表示为普通卷积核与每个输入通道一个小矩阵的乘积，后者从单位阵开始。推理时只需一次性算出乘积，剩下的就是普通卷积。",
    placement="Any convolution; the authors replace all of them.",
    reported="No headline figure recorded here.",
    differences=(
        "The factor stores its deviation from the identity, as the authors' does, so that weight decay pulls it there.",
        "In a grouped convolution a filter meets the factors of the block that follows from the authors' reshaping, "
        "not those of its own group: what released weights mean.",
        "The authors keep the identity as an untrained parameter, d_diag, which is counted in theirs and not loaded.",
        "For other padding modes than zeros and unequal padding the authors swap the axes; here they are as in "
        "nn.Conv2d.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class DOConv(ComputedKernel):
    """conv(x; kernel), kernel = (I + depth) weight: for each input channel a matrix over the places of the kernel.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: as in nn.Conv2d.
        depth_multiplier: s, the columns of the matrix, at least as many as places in the kernel, which None takes.
            The identity is repeated in them as often as it fits whole.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution.
    Cost: s (out_channels / groups + k^2) in_channels weights in training; folded, those of the convolution. A 1x1
        kernel has no second factor.
    Raises: AttnzooError for numbers below 1, groups that do not divide, too small a depth_multiplier, an unknown
        padding_mode, or an input that is not (B, in_channels, H, W) or smaller than the kernel.
    """

    reference_keys = {"W": "weight", "D": "depth"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        depth_multiplier: int | None = None,
    ) -> None:
        shape = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        super().__init__("do_conv", *shape, padding_mode=padding_mode)
        checks.choice("do_conv", PADDING_MODES, padding_mode=padding_mode)
        places = math.prod(self.kernel_size)
        columns = places if depth_multiplier is None or places == 1 else depth_multiplier
        checks.at_least("do_conv", places, depth_multiplier=columns)
        self.weight = nn.Parameter(torch.empty(*self.kernel_shape[:2], columns))
        self.depth = nn.Parameter(torch.zeros(in_channels, places, columns)) if places > 1 else None
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.unused_in_reference = 0 if self.depth is None else self.depth.numel()  # the authors' constant d_diag
        self.fill(fan_in=self.kernel_shape[1] * columns)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.convolve(x, self.kernel(), self.bias)

    def kernel(self) -> Tensor:
        """(out_channels, in_channels / groups, h, w)."""
        if self.depth is None:
            return self.weight[..., None]
        with without_autocast(self.weight):
            kernel = self._repeats(self.weight).sum(dim=2)
            by_channel = self.weight.reshape(-1, *self.depth.shape[::2]).transpose(0, 1)  # (in, out / groups, s)
            product = by_channel @ self.depth.mT  # (in, out / groups, places)
            return (kernel + product.transpose(0, 1).reshape(kernel.shape)).unflatten(2, self.kernel_size)

    def _repeats(self, weight: Tensor) -> Tensor:
        """What each identity lets through: (out, in / groups, s) -> (out, in / groups, repeats, places), a view."""
        places = math.prod(self.kernel_size)
        return weight[..., : weight.shape[2] // places * places].unflatten(2, (-1, places))

    def folded(self) -> nn.Conv2d:
        """A plain convolution that computes the same."""
        return self.plain(self.kernel(), self.bias)

    def from_reference(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' state without the identity."""
        return {key: value for key, value in state.items() if key not in ("d_diag", "D_diag")}

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a convolution of the same form does, with the second factor at the identity."""
        weight, bias = self.taken_over(conv)
        repeats = self._repeats(self.weight.data)
        repeats[:, :, 0] = weight.flatten(2) - repeats[:, :, 1:].sum(dim=2)
        if self.depth is not None:
            nn.init.zeros_(self.depth)
        if self.bias is not None:
            self.bias.data.copy_(bias)
