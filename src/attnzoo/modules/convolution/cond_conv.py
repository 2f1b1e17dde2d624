"""CondConv, conditionally parameterised convolution: for every sample a mixture of expert kernels."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ComputedKernel, mixed, precisely, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "cond_conv",
    title="Conditionally Parameterized Convolution (CondConv)",
    contract="conv",
    paper=Paper(
        title="CondConv: Conditionally Parameterized Convolutions for Efficient Inference",
        authors="Yang, Bender, Le, Ngiam",
        venue="NeurIPS",
        year=2019,
        url="https://arxiv.org/abs/1904.04971",
    ),
    source="huggingface/pytorch-image-models@aa4b585",
    source_license="Apache-2.0",
    summary="Sums several expert kernels for every sample, weighed by sigmoids of a linear map of the pooled input, "
    "and then convolves once. Capacity grows with the experts while the convolution costs what one does.",
    summary_zh="以池化输入的线性映射经 sigmoid 得到权重，为每个样本加权求和若干专家卷积核，然后只做一次卷积。"
    "容量随专家数增长，而卷积本身的开销不变。",
    placement="The last stages of MobileNets, ResNet-50, MnasNet and EfficientNet-B0, and the classifier; 8 experts "
    "are usual.",
    reported="Paper: MobileNetV1 on ImageNet top-1 71.9 to 73.7 with 8 experts.",
    differences=(
        "In the authors' networks one routing vector feeds the three convolutions of a block: pass routing_weights.",
        "Their TensorFlow layers store kernels as (height, width, in, out).",
        "Ports exist whose routing has no bias, whose output must have the input's size, that loop over the samples, "
        "or that take a softmax over the experts.",
    ),
    example={"kernel_size": 3},
)
class CondConv(ComputedKernel):
    """conv(x; sum_e r_e weight_e) + sum_e r_e bias_e, r = sigmoid(routing(mean x)), which need not sum to 1.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups: as in nn.Conv2d.
        padding: as in nn.Conv2d; None takes (stride - 1 + dilation (kernel_size - 1)) // 2.
        bias: every expert has a bias.
        num_experts: E.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution; with
        routing_weights (B, E), already activated, these are r.
    Cost: E out_channels in_channels k^2 / groups + E (in_channels + 1) weights; mixing the kernels takes as many
        multiply-adds per sample.
    Raises: AttnzooError for numbers below 1, groups that do not divide, or an input that is not (B, in_channels, H, W)
        or smaller than the kernel.
    """

    reference_keys = {"routing_fn": "routing", r"conv\.weight": "weight", r"conv\.bias": "bias"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = False,
        num_experts: int = 4,
    ) -> None:
        if padding is None:
            sizes, steps, _, rates = checks.window("cond_conv", kernel_size, stride, 0, dilation)
            padding = [(s - 1 + d * (k - 1)) // 2 for k, s, d in zip(sizes, steps, rates, strict=True)]
        super().__init__("cond_conv", in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        checks.positive("cond_conv", num_experts=num_experts)
        self.routing = nn.Linear(in_channels, num_experts)
        self.weight = self.several(num_experts)
        self.bias = nn.Parameter(torch.empty(num_experts, out_channels)) if bias else None
        self.fill()

    def forward(self, x: Tensor, routing_weights: Tensor | None = None) -> Tensor:
        self.check(x)
        if routing_weights is None:
            shares = self.gate(x)
        else:
            sizes = (x.shape[0], self.weight.shape[0])
            shares = checks.shaped("cond_conv", "routing_weights", routing_weights, sizes)
        bias = None if self.bias is None else mixed(shares, self.bias)
        return self.convolve(x, self.shaped(mixed(shares, self.weight)), bias)

    def gate(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the shares of the experts (B, E)."""
        return precisely(self.routing, spatial_mean(x)).sigmoid()

    def from_reference(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' state, with our routing where theirs is left to the block."""
        own = {f"routing.{key}": value for key, value in self.routing.state_dict().items()}
        return dict(state) if any(key.startswith("routing") for key in state) else {**own, **state}

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a convolution of the same form does: equal experts, in shares that do not depend on x yet.

        The shares differ, so that training tells the experts apart.
        """
        weight, bias = self.taken_over(conv)
        nn.init.zeros_(self.routing.weight)
        logits = torch.linspace(-1, 1, len(self.weight)) if len(self.weight) > 1 else torch.zeros(1)
        self.routing.bias.data.copy_(logits)
        total = self.routing.bias.detach().sigmoid().sum()
        self.shaped(self.weight.data).copy_(weight / total)
        if self.bias is not None:
            self.bias.data.copy_(bias / total)
