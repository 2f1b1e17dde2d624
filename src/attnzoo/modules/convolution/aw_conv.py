"""AW-convolution: the kernel, not the map, is gated by what the input holds."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ComputedKernel, ConvNormAct, adaptive_avg_pool, precisely
from attnzoo.registry import Paper, register

ACTS: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "relu": torch.relu, "identity": lambda a: a}


@register(
    "aw_conv",
    title="AW-convolution (attentional weights)",
    contract="conv",
    paper=Paper(
        title="An Attention Module for Convolutional Neural Networks",
        authors="Zhu, Hofstee, Lee, Al-Ars",
        venue="ICANN",
        year=2021,
        url="https://arxiv.org/abs/2108.08205",
    ),
    source="paper",
    source_license="not applicable",
    summary="Predicts from the input an attention map in the shape of the kernel and adds the weighted kernel to the "
    "kernel itself. Every image so gets a kernel of its own, and every output channel its own recalibration.",
    summary_zh="由输入预测与卷积核同形的注意力图，并把加权后的卷积核加回卷积核自身。每幅图像因此有自己的卷积核，每个输出通道也有各自的重标定。",
    placement="The 3x3 convolutions of a ResNet; it goes together with SE or CBAM on the maps.",
    reported="Abstract: ResNet-101 gains 1.00 points of ImageNet top-1, Faster R-CNN with ResNet-101-FPN 0.63 AP on "
    "COCO.",
    differences=(
        "Experimental: there is no code by the authors. The frame follows the abstract and published explanations; the "
        "pooling to the kernel's size, the axis that the map is expanded over, and the BatchNorm are our reading.",
        "No source names the last activation: the sigmoid is ours, gate_act='relu' the other reading.",
        "One explanation adds the kernel itself, the most read one does not: residual=False.",
        "Groups are ours; they change nothing but the kernel's shape.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class AWConv(ComputedKernel):
    """conv(x; weight + a * weight), a = act(expand(relu(norm(reduce(x pooled to k x k))))), for every sample.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as in nn.Conv2d.
        reduction: the bottleneck has max(in_channels // reduction, 1) channels.
        gate_act: the last activation, 'sigmoid', 'relu' or 'identity'.
        residual: add the kernel itself; False leaves a * weight.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution.
    Cost: the convolution's weights and (in_channels + out_channels) times the bottleneck; a kernel in memory for each
        sample.
    Raises: AttnzooError for numbers below 1, groups that do not divide, an unknown gate_act, a single value per channel
        to be normalised in training, or an input that is not (B, in_channels, H, W) or smaller than the kernel.
    """

    reference_keys = {"pointconv1": "reduce.conv", "bn": "reduce.norm", "pointconv2": "expand"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = False,
        reduction: int = 16,
        gate_act: str = "sigmoid",
        residual: bool = True,
    ) -> None:
        super().__init__("aw_conv", in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        checks.positive("aw_conv", reduction=reduction)
        checks.choice("aw_conv", ACTS, gate_act=gate_act)
        hidden = max(in_channels // reduction, 1)
        self.gate_act = gate_act
        self.residual = residual
        self.reduce = ConvNormAct(in_channels, hidden)
        self.expand = nn.Conv2d(hidden, out_channels, 1)
        self.weight = nn.Parameter(torch.empty(self.kernel_shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.fill()

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        factor = self.gate(x)[:, :, None]
        if self.residual:
            factor = 1 + factor
        return self.convolve(x, self.weight * factor, self.bias)

    def gate(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> what the kernel is multiplied by, (B, out_channels, h, w)."""
        pooled = adaptive_avg_pool(x, *self.kernel_size)
        if self.training:
            checks.several_values("aw_conv", pooled)
        return ACTS[self.gate_act](precisely(self.expand, precisely(self.reduce, pooled)))

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a convolution of the same form does: gates that do not depend on x yet, made up for."""
        weight, bias = self.taken_over(conv)
        nn.init.zeros_(self.expand.weight)
        start = 0.0 if self.gate_act == "sigmoid" else 1.0  # where no activation is flat
        self.expand.bias.data.fill_(start)  # type: ignore[union-attr]
        factor = ACTS[self.gate_act](torch.tensor(start)).item() + self.residual
        self.weight.data.copy_(weight / factor)
        if self.bias is not None:
            self.bias.data.copy_(bias)
