"""Depthwise separable convolution: one filter per channel, then a 1x1 convolution."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import NORMS, Activation, Layer, norm_of
from attnzoo.registry import Paper, register

ACTIVATIONS: Final[dict[str, Activation]] = {"relu": nn.ReLU}  # as a configuration file may call them


@register(
    "depthwise_separable",
    title="Depthwise separable convolution",
    contract="conv",
    paper=Paper(
        title="MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
        authors="Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto, Adam",
        venue="arXiv",
        year=2017,
        url="https://arxiv.org/abs/1704.04861",
    ),
    source="paper",
    source_license="none: our reading of the paper",
    summary="Filters every channel by a kernel of its own and mixes the channels by a 1x1 convolution afterwards. "
    "That is a k x k convolution at 1/C_out + 1/k^2 of its cost.",
    summary_zh="先用各自的卷积核逐通道滤波，再用 1x1 卷积混合通道。其代价约为普通 k x k 卷积的 1/C_out + 1/k^2。",
    placement="In place of a k x k convolution.",
    reported="ImageNet top-1 of the paper: MobileNetV1 1.0 70.6, 4.2M parameters, 569M multiply-adds.",
    differences=(
        "Two collections have neither norm nor activation, which is the default here; MobileNetV1 takes "
        "norm_layer='batch_norm', act_layer='relu', bias=False.",
        "Keras' SeparableConv2D has one bias only, after the 1x1; Xception has no activation between the two.",
        "TensorFlow's MobileNetV1 clips by ReLU6; the paper says ReLU.",
    ),
)
class DepthwiseSeparable(nn.Module):
    """act(norm(pointwise(act(norm(depthwise(x)))))).

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size, stride, padding, dilation: of the depthwise convolution, as in nn.Conv2d.
        bias: whether both convolutions have one.
        norm_layer: makes both normalisations, or is 'batch_norm'; None leaves them out.
        act_layer: makes both activations, or is 'relu'; None leaves them out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the depthwise convolution.
    Cost: in_channels (k^2 + out_channels) weights, and as many multiply-adds per place.
    Raises: AttnzooError for numbers below 1, an unknown norm_layer or act_layer, or an input that is not
        (B, in_channels, H, W) or smaller than the kernel.
    """

    reference_keys = {"bn1": "norm1", "bn2": "norm2"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
        norm_layer: Layer | str | None = None,
        act_layer: Activation | str | None = None,
    ) -> None:
        super().__init__()
        checks.positive("depthwise_separable", in_channels=in_channels, out_channels=out_channels)
        if isinstance(norm_layer, str):
            checks.choice("depthwise_separable", NORMS, norm_layer=norm_layer)
        if isinstance(act_layer, str):
            checks.choice("depthwise_separable", ACTIVATIONS, act_layer=act_layer)
        make_norm = norm_of(norm_layer)
        make_act = ACTIVATIONS[act_layer] if isinstance(act_layer, str) else act_layer
        self.window = checks.window("depthwise_separable", kernel_size, stride, padding, dilation)
        self.depthwise = nn.Conv2d(in_channels, in_channels, *self.window, groups=in_channels, bias=bias)
        self.norm1 = make_norm(in_channels) if make_norm else nn.Identity()
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        self.norm2 = make_norm(out_channels) if make_norm else nn.Identity()
        self.act = make_act() if make_act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        kernel_size, _, padding, dilation = self.window
        checks.nchw("depthwise_separable", x, self.depthwise.in_channels)
        checks.larger_than_kernel("depthwise_separable", x, kernel_size, dilation, padding)
        x = self.act(self.norm1(self.depthwise(x)))
        return self.act(self.norm2(self.pointwise(x)))
