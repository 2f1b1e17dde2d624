"""Weight excitation: attention over a convolution's own weights, gone after training."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, ComputedKernel, without_autocast
from attnzoo.registry import Paper, register

METHODS = ("lwe", "mwe", "both")


@register(
    "weight_excitation",
    title="Weight Excitation",
    contract="conv",
    paper=Paper(
        title="Weight Excitation: Built-in Attention Mechanisms in Convolutional Neural Networks",
        authors="Quader, Bhuiyan, Lu, Dai, Li",
        venue="ECCV",
        year=2020,
        url="https://www.ecva.net/papers/eccv_2020/papers_ECCV/papers/123750086.pdf",
    ),
    source="authors (ECCV 2020), layer file circulated with the paper",
    source_license="none found",
    summary="Weighs the kernel itself in training: by a squeeze-and-excitation over the input channels of every "
    "filter, by a function that stretches large weights, or by both. As the input has no part in it, a plain "
    "convolution remains for inference.",
    summary_zh="训练时对卷积核本身加权：在每个滤波器的输入通道上做 SE，或用函数放大较大的权重，或二者并用。"
    "因与输入无关，推理时只剩一个普通卷积。",
    placement="Every convolution of the network.",
    reported="No headline figure recorded here.",
    differences=(
        "The circulated file standardises the weights first, which the paper's formulas do not: standardize=False. It "
        "is said not to help depthwise convolutions.",
        "The file leaves the magnitudes alone in the very first call of a layer, by a counter; here all calls are "
        "alike.",
        "The paper leaves mwe_epsilon free between 0 and 0.2; the file fixes 0.1.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class WeightExcitation(ComputedKernel):
    """conv(x; stretch(weight * gate)), gate = sigmoid(mlp(mean over places)), stretch(w) = M atanh(w / M).

    M is (1 + mwe_epsilon) max |w|. The gate has a value for each filter and input channel.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as in nn.Conv2d; the gate wants
            a square kernel.
        method: 'lwe' gates, 'mwe' stretches, 'both' does one after the other.
        standardize: first bring each filter to mean 0 and standard deviation 1.
        reduction: the gate's bottleneck is max(in_channels // reduction, 1) wide.
        mwe_epsilon: above 0; how far M lies above the largest weight.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution.
    Cost: the convolution's weights and 2 (in_channels / groups) times the bottleneck in training; folded, those of the
        convolution.
    Raises: AttnzooError for numbers below 1, groups that do not divide, an unknown method, an mwe_epsilon of 0 or less,
        a gate on a kernel that is not square, filters of one weight to be standardised, or an input that is not
        (B, in_channels, H, W) or smaller than the kernel.
    """

    reference_keys = {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}

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
        method: str = "lwe",
        standardize: bool = True,
        reduction: int = 16,
        mwe_epsilon: float = 0.1,
    ) -> None:
        super().__init__("weight_excitation", in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        checks.choice("weight_excitation", METHODS, method=method)
        checks.positive("weight_excitation", reduction=reduction)
        checks.above_zero("weight_excitation", mwe_epsilon=mwe_epsilon)
        self.weight = nn.Parameter(torch.empty(self.kernel_shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.standardize = standardize
        self.mlp: BottleneckMLP | None = None
        if standardize:
            checks.at_least("weight_excitation", 2, **{"the weights of a standardised filter": self.weight[0].numel()})
        if method != "mwe":
            checks.square("weight_excitation", "kernel_size", kernel_size)
            self.mlp = BottleneckMLP(self.kernel_shape[1], max(in_channels // reduction, 1), bias=True)
        self.room = None if method == "lwe" else 1 + mwe_epsilon
        self.fill()

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.convolve(x, self.kernel(), self.bias)

    def kernel(self) -> Tensor:
        """(out_channels, in_channels / groups, h, w)."""
        weight: Tensor = self.weight
        with without_autocast(weight):
            if self.standardize:
                spread, centre = torch.std_mean(weight, dim=(1, 2, 3), keepdim=True)
                weight = (weight - centre) / (spread + 1e-5)
            if self.mlp is not None:
                weight = weight * self.mlp(weight.mean(dim=(2, 3))).sigmoid()[..., None, None]
            if self.room is not None:
                largest = self.room * weight.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
                weight = largest * (weight / largest).atanh()
        return weight

    def folded(self) -> nn.Conv2d:
        """A plain convolution that computes the same."""
        return self.plain(self.kernel(), self.bias)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a convolution of the same form does: its weights unstretched, with gates of 1/2 made up for."""
        checks.takes_over("weight_excitation", conv, not self.standardize, "none; build it with standardize=False")
        weight, bias = self.taken_over(conv)
        if self.room is not None:
            largest = weight.abs().max().clamp_min(torch.finfo(weight.dtype).tiny) * (1 / math.atanh(1 / self.room))
            weight = largest * (weight / largest).tanh()
        if self.mlp is not None:
            nn.init.ones_(self.mlp.fc1.bias)  # no unit starts dead
            nn.init.zeros_(self.mlp.fc2.weight)
            nn.init.zeros_(self.mlp.fc2.bias)
            weight = 2 * weight
        self.weight.data.copy_(weight)
        if self.bias is not None:
            self.bias.data.copy_(bias)
