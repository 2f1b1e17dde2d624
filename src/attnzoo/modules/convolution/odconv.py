"""ODConv, omni-dimensional dynamic convolution: a kernel of its own for every sample, gated along four axes."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    ComputedKernel,
    ConvNormAct,
    fuse_conv_bn,
    mixed,
    plain_conv,
    precisely,
    product,
    spatial_mean,
)
from attnzoo.registry import Paper, register


@register(
    "odconv",
    title="Omni-dimensional Dynamic Convolution",
    contract="conv",
    paper=Paper(
        title="Omni-Dimensional Dynamic Convolution",
        authors="Li, Zhou, Yao",
        venue="ICLR",
        year=2022,
        url="https://arxiv.org/abs/2209.07947",
    ),
    source="OSVAI/ODConv@0901cc1",
    source_license="Apache-2.0",
    summary="Mixes several kernels for every sample, and gates input channels, filters and places in the kernel as "
    "well. One small bottleneck over the pooled input gives all four attentions.",
    summary_zh="为每个样本混合若干个卷积核，并同时对输入通道、滤波器和核内位置加门。"
    "四种注意力都由池化输入上的一个小瓶颈给出。",
    placement="All convolutions but the first of MobileNetV2; the 3x3 and 1x1 ones in the residual blocks of a ResNet.",
    reported="ImageNet top-1 of the authors' release: ResNet-18 70.25 to 73.05 (1 kernel) and 74.19 (4 kernels), "
    "ResNet-50 76.23 to 77.87 and 78.50, MobileNetV2 71.65 to 74.74 and 75.29.",
    differences=(
        "The temperature divides all four attentions in the authors' code; the paper speaks of the kernels' softmax. "
        "They lower it from 30 to 1 over the first 10 epochs: set the attribute temperature.",
        "The bias, off by default, is ours: the authors have none.",
        "reduction is a ratio, not a divisor; the bottleneck has at least 16 channels.",
        "Listings under this name exist that mix the outputs of another method (DyNet), or have no BatchNorm, ReLU "
        "and temperature.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class ODConv(ComputedKernel):
    """filter * conv(channel * x; sum_n kernel_n (place * weight_n)), the gates from relu(norm(fc(mean x))).

    The gates are sigmoids, of logits over the temperature, but for `kernel`, a softmax over n.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as in nn.Conv2d.
        bias: add a bias, the same for all samples.
        reduction: the bottleneck has max(16, int(in_channels * reduction)) channels.
        num_kernels: n; a single kernel needs no mixing.
        temperature: divides all logits; an attribute that may be set at any time.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution.
    Cost: n out_channels in_channels k^2 / groups weights and the gates'; mixing takes as many multiply-adds per sample.
        Nothing gates the filters of a depthwise convolution, the places of a 1x1 kernel, or a single kernel.
    Raises: AttnzooError for numbers below 1, groups that do not divide, a reduction or temperature of 0 or less, an
        input that is not (B, in_channels, H, W) or smaller than the kernel, or a training batch of one.
    """

    reference_keys = {
        r"attention\.fc": "reduce.conv",
        r"attention\.bn": "reduce.norm",
        r"attention\.(channel|filter|spatial|kernel)_fc": r"\1.fc",
    }

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
        reduction: float = 0.0625,
        num_kernels: int = 4,
        temperature: float = 1.0,
    ) -> None:
        super().__init__("odconv", in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        checks.above_zero("odconv", reduction=reduction, temperature=temperature)
        checks.positive("odconv", num_kernels=num_kernels)
        self.temperature = temperature
        hidden = max(int(in_channels * reduction), 16)
        places = self.kernel_size[0] * self.kernel_size[1]
        self.reduce = ConvNormAct(in_channels, hidden)
        self.channel = Gate(hidden, in_channels)
        self.filter = None if groups == in_channels == out_channels else Gate(hidden, out_channels)
        self.spatial = Gate(hidden, places) if places > 1 else None
        self.kernel = Gate(hidden, num_kernels, softmax=True) if num_kernels > 1 else None
        self.weight = self.several(num_kernels)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        for weight in (*self.shaped(self.weight), self.reduce.conv.weight):
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        if self.training and not isinstance(self.reduce.norm, nn.Identity):
            checks.batch_statistics("odconv", x)
        z = precisely(self.reduce, spatial_mean(x, keepdim=True)).flatten(1)  # (B, hidden)
        gated = x * self.channel(z, self.temperature)[..., None, None].to(x.dtype)
        y = self.convolve(gated, self._kernels(z))
        if self.filter is not None:
            y = product(y, self.filter(z, self.temperature)[..., None, None].to(y.dtype))
        return y if self.bias is None else y + self.bias[:, None, None].to(y.dtype)

    def _kernels(self, z: Tensor) -> Tensor:
        """The kernel of every sample, (B, out, in / groups, h, w), or the one that all share."""
        shares = None if self.kernel is None else self.kernel(z, self.temperature)
        kernels = self.shaped(self.weight if shares is None else mixed(shares, self.weight))
        if self.spatial is None:
            return kernels[0] if shares is None else kernels
        return kernels * self.spatial(z, self.temperature).unflatten(1, (1, 1, *self.kernel_size))

    def from_reference(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' kernels, each flattened."""
        return {key: value.flatten(1) if key == "weight" else value for key, value in state.items()}

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a convolution of the same form does: equal kernels, and gates of 1/2 that they make up for."""
        weight, bias = self.taken_over(conv)
        halves = [gate for gate in (self.channel, self.filter, self.spatial) if gate is not None]
        for gate in halves:
            nn.init.zeros_(gate.fc.weight)
            nn.init.zeros_(gate.fc.bias)
        self.shaped(self.weight.data).copy_(weight * 2 ** len(halves))
        if self.bias is not None:
            self.bias.data.copy_(bias)

    def folded(self, norm: nn.BatchNorm2d | None = None) -> "ODConv":
        """A copy without the BatchNorm of the gates and, if given, the one that follows: the same in eval mode."""
        plain = copy.deepcopy(self)
        if isinstance(self.reduce.norm, nn.BatchNorm2d):
            fused = fuse_conv_bn(self.reduce.conv.weight, None, self.reduce.norm)
            plain.reduce.conv = plain_conv(*fused, like=self.reduce.conv)
            plain.reduce.norm = nn.Identity()
        if norm is not None:
            kernels = self.shaped(self.weight)
            weights, biases = zip(*(fuse_conv_bn(weight, self.bias, norm) for weight in kernels), strict=True)
            plain.shaped(plain.weight.data).copy_(torch.stack(weights))
            plain.bias = nn.Parameter(biases[0].detach().to(self.weight.dtype))
        return plain


class Gate(nn.Module):
    """Sigmoid, or softmax, of a linear map over a temperature: (B, hidden) -> (B, size), unrounded by autocast."""

    def __init__(self, hidden: int, size: int, softmax: bool = False) -> None:
        super().__init__()
        self.softmax = softmax
        self.fc = nn.Linear(hidden, size)
        nn.init.kaiming_normal_(self.fc.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, z: Tensor, temperature: float) -> Tensor:
        return self.gate(z, temperature)

    def gate(self, z: Tensor, temperature: float) -> Tensor:
        """(B, hidden) -> (B, size)."""
        logits = precisely(self.fc, z) / temperature
        return logits.softmax(dim=1) if self.softmax else logits.sigmoid()
