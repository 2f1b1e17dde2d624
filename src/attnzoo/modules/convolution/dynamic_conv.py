"""Dynamic convolution: for every sample a softmax mixture of kernels and biases."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ComputedKernel, mixed, precisely, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "dynamic_conv",
    title="Dynamic Convolution: attention over convolution kernels",
    contract="conv",
    paper=Paper(
        title="Dynamic Convolution: Attention over Convolution Kernels",
        authors="Chen, Dai, Liu, Chen, Yuan, Liu",
        venue="CVPR",
        year=2020,
        url="https://arxiv.org/abs/1912.03458",
    ),
    source="kaijieshi7/Dynamic-convolution-Pytorch@4befa50",
    source_license="none found",
    summary="Mixes several kernels and biases for every sample, by a softmax that a small network computes from the "
    "pooled input. A high temperature early in training keeps all kernels learning.",
    summary_zh="由小网络根据池化输入算出 softmax 权重，为每个样本混合若干卷积核与偏置。"
    "训练初期使用高温度，使所有卷积核都得到学习。",
    placement="Every convolution but the first of MobileNetV2 and V3; every 3x3 convolution but the stem of a ResNet.",
    reported="Abstract: MobileNetV3-Small gains 2.9 points of ImageNet top-1 for 4% more FLOPs.",
    differences=(
        "The authors published no code; the numbers come from the best known port. It starts at 34 and takes 3 off "
        "every epoch, down to 1, where the paper goes linearly from 30 to 1 in 10 epochs: set the attribute "
        "temperature.",
        "The port's bottleneck is one wider than the paper's quarter, and as wide as there are kernels for three input "
        "channels.",
        "Other ports have no bias in the second layer, fail for groups, or must keep the input's size.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class DynamicConv(ComputedKernel):
    """conv(x; sum_k a_k weight_k) + sum_k a_k bias_k, a = softmax(fc2(relu(fc1(mean x))) / temperature).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as in nn.Conv2d.
        bias: every kernel has a bias.
        ratio: the bottleneck has int(in_channels * ratio) + 1 channels, or num_kernels for three input channels.
        num_kernels: K.
        temperature: at least 1; an attribute that may be set at any time.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution.
    Cost: K out_channels (in_channels k^2 / groups + 1) weights and the bottleneck's; mixing the kernels takes as many
        multiply-adds per sample.
    Raises: AttnzooError for numbers below 1, groups that do not divide, a ratio of 0 or less, or an input that is not
        (B, in_channels, H, W) or smaller than the kernel.
    """

    reference_keys = {r"attention\.fc1": "fc1", r"attention\.fc2": "fc2"}

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
        ratio: float = 0.25,
        num_kernels: int = 4,
        temperature: float = 34,
    ) -> None:
        super().__init__("dynamic_conv", in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        checks.above_zero("dynamic_conv", ratio=ratio)
        checks.positive("dynamic_conv", num_kernels=num_kernels)
        checks.no_less("dynamic_conv", 1, temperature=temperature)
        self.temperature = temperature
        hidden = num_kernels if in_channels == 3 else int(in_channels * ratio) + 1
        self.fc1 = nn.Linear(in_channels, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, num_kernels)
        self.weight = self.several(num_kernels)
        self.bias = nn.Parameter(torch.zeros(num_kernels, out_channels)) if bias else None
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc2.bias)
        for weight in self.shaped(self.weight):
            nn.init.kaiming_uniform_(weight)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        shares = self.gate(x)
        bias = None if self.bias is None else mixed(shares, self.bias)
        return self.convolve(x, self.shaped(mixed(shares, self.weight)), bias)

    def gate(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the shares of the kernels (B, K), which sum to 1."""
        logits = precisely(self.fc2, precisely(self.fc1, spatial_mean(x)).relu())
        return (logits / self.temperature).softmax(dim=1)

    def from_reference(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' kernels, each flattened."""
        return {key: value.flatten(1) if key == "weight" else value for key, value in state.items()}

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a convolution of the same form does: equal kernels, which their unequal shares soon part."""
        weight, bias = self.taken_over(conv)
        self.shaped(self.weight.data).copy_(weight)
        if self.bias is not None:
            self.bias.data.copy_(bias)
