"""SimAM: every element gated by how far it stands out of its channel, without parameters."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import product, spatial_mean, wide
from attnzoo.registry import Paper, register


@register(
    "simam",
    title="SimAM, parameter-free attention",
    contract="feature",
    paper=Paper(
        title="SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks",
        authors="Yang, Zhang, Li, Xie",
        venue="ICML",
        year=2021,
        url="https://proceedings.mlr.press/v139/yang21o.html",
    ),
    source="ZjjConan/SimAM@ae98f43",
    source_license="none found",
    summary="Weighs every element by a closed-form energy: the further it lies from its channel's mean, measured "
    "by the channel's variance, the wider its gate. There is nothing to learn.",
    summary_zh="以闭式能量函数为每个元素定权：它偏离所在通道均值越远（以方差衡量），门开得越大。没有任何可学习参数。",
    placement="Inside the residual block, after the BatchNorm of the second convolution.",
    reported="ImageNet top-1: ResNet-18 71.31, ResNet-50 77.45, ResNet-101 78.65, MobileNetV2 72.36.",
    differences=(
        "The class default of lambda is 1e-4, used for CIFAR; the authors' ImageNet models use 0.1.",
        "Statistics are taken in float32 for half-precision inputs, whose squares overflow above 255.",
        "A popular explanation prints the squared mean where the variance belongs.",
    ),
    min_pixels=2,
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class SimAM(nn.Module):
    """Scale x by sigmoid(d / (4 (sum(d) / (H W - 1) + lambda)) + 1/2), d = (x - mean)^2 within its channel.

    Args:
        channels: not needed; taken so that all feature modules are built alike.
        e_lambda: lambda, keeps flat channels from dividing by zero.

    Shape: (B, C, H, W) -> (B, C, H, W), for maps of at least 2 pixels.
    Cost: no parameters; about 6 C H W operations per image.
    Raises: AttnzooError for e_lambda not above 0, a map of one pixel, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int | None = None, e_lambda: float = 1e-4) -> None:
        super().__init__()
        if channels is not None:
            checks.positive("simam", channels=channels)
        checks.above_zero("simam", e_lambda=e_lambda)
        self.e_lambda = e_lambda

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("simam", x)
        checks.larger_than_one_pixel("simam", x)
        return product(self.gate(x), x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        deviation = wide(x) - spatial_mean(x, keepdim=True)
        squares = torch.linalg.vector_norm(deviation, dim=(2, 3), keepdim=True).square()
        variance = squares / (x.shape[2] * x.shape[3] - 1)
        scaled = deviation * (4 * (variance + self.e_lambda)).rsqrt()
        return (scaled * scaled).add_(0.5).sigmoid_().to(x.dtype)

    def extra_repr(self) -> str:
        return f"e_lambda={self.e_lambda}"
