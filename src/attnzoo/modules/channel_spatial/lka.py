"""LKA, Large Kernel Attention: a large kernel in three cheap steps makes one gate."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, depthwise
from attnzoo.registry import Paper, register

VAN = Paper(
    title="Visual Attention Network",
    authors="Guo, Lu, Liu, Cheng, Hu",
    venue="CVMJ",
    year=2023,
    url="https://arxiv.org/abs/2202.09741",
)


class LargeKernel(nn.Module):
    """Makes a gate in three steps: `local` looks near, `spread` far, and a pointwise `mix` across channels."""

    def __init__(self, channels: int, local: nn.Module, spread: nn.Module) -> None:
        super().__init__()
        self.channels = channels
        self.local = local
        self.spread = spread
        self.mix = nn.Conv2d(channels, channels, 1)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.mix(self.spread(self.local(x)))


@register(
    "lka",
    title="Large Kernel Attention",
    contract="feature",
    paper=VAN,
    source="Visual-Attention-Network/VAN-Classification@e19779b",
    source_license="Apache-2.0",
    summary="Takes a 21x21 neighbourhood apart into a depthwise 5x5, a dilated depthwise 7x7 and a pointwise "
    "convolution, and multiplies the input by their result. There is no sigmoid and no softmax.",
    summary_zh="把 21x21 的大卷积核拆成深度 5x5、空洞深度 7x7 与逐点卷积三步，并用其结果乘以输入。"
    "既没有 sigmoid，也没有 softmax。",
    placement="Inside the attention block of VAN, lka_block.",
    reported="VAN, ImageNet top-1: B0 75.4, B1 81.1, B2 82.8, B3 83.9.",
    differences=(
        "The authors' class has the kernels of K=21, d=3 written in; here kernel_size and dilation are arguments, "
        "by the paper's rule.",
    ),
    not_applicable=SQUARES,
)
class LKA(LargeKernel):
    """Scale x by mix(spread(local(x))), local depthwise of 2d - 1, spread depthwise of ceil(K / d), dilation d.

    Args:
        channels: C, the channels of the input.
        kernel_size: K, the reach of the three steps together; ceil(K / d) must be odd.
        dilation: d.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C (C + 77) parameters, C (C + 74) H W multiply-adds.
    Raises: AttnzooError for a kernel_size that gives an even ceil(K / d), or an input that is not (B, C, H, W).
    """

    reference_keys = {"conv0": "local", "conv_spatial": "spread", "conv1": "mix"}

    def __init__(self, channels: int, kernel_size: int = 21, dilation: int = 3) -> None:
        checks.positive("lka", channels=channels, kernel_size=kernel_size, dilation=dilation)
        spread = -(-kernel_size // dilation)
        checks.odd("lka", **{"ceil(kernel_size / dilation)": spread})
        super().__init__(channels, depthwise(channels, 2 * dilation - 1), depthwise(channels, spread, dilation))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("lka", x, self.channels)
        return x * self.gate(x)
