"""ACNet's asymmetric convolution block: a square, a vertical and a horizontal kernel, folded into one."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import plain_conv, silence, widened
from attnzoo.modules.convolution.fused_conv_bn import PADDING_MODES, FusedConvBN
from attnzoo.registry import Paper, register


@register(
    "ac_block",
    title="Asymmetric Convolution Block (ACNet)",
    contract="conv",
    paper=Paper(
        title="ACNet: Strengthening the Kernel Skeletons for Powerful CNN via Asymmetric Convolution Blocks",
        authors="Ding, Guo, Ding, Han",
        venue="ICCV",
        year=2019,
        url="https://arxiv.org/abs/1908.03930",
    ),
    source="DingXiaoH/ACNet@748fb0c",
    source_license="MIT",
    summary="In training a k x k convolution is the sum of three, k x k, k x 1 and 1 x k, each with a BatchNorm of its "
    "own, which strengthens the cross in the middle of the kernel. For inference they fold into one exactly.",
    summary_zh="训练时一个 k x k 卷积由 k x k、k x 1、1 x k 三个各带 BatchNorm 的卷积相加而成，"
    "从而加强卷积核中央的十字骨架。"
    "推理时三者精确合并为一个卷积。",
    placement="In place of a convolution and its BatchNorm; the activation follows.",
    reported="Authors: CIFAR-10 ResNet-56 94.55 to 95.06; ImageNet ResNet-18 about 70.6 to 71.2.",
    differences=(
        "With a dilation the authors' strips come out of another size than the square; here all stay aligned.",
        "An older release and a collection have strips of 3 whatever k, and fail where the padding is below k // 2.",
        "Another collection forces 3x3, ignores the stride in the training branches and adds a ReLU.",
        "Instead of the authors' deploy=True, `folded` gives a plain convolution, into which fused_conv weights fit.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class ACBlock(nn.Module):
    """norm(square(x)) + norm(vertical(x)) + norm(horizontal(x)): kernels k x k, k x 1 and 1 x k on the same middle.

    Args:
        in_channels, out_channels, stride, padding, dilation, groups, padding_mode: as in nn.Conv2d.
        kernel_size: k, odd.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the square convolution.
    Cost: (k^2 + 2 k) in_channels out_channels / groups weights and 6 out_channels; folded, those of one convolution.
    Raises: AttnzooError for an even kernel, groups that do not divide, an unknown padding_mode, or an input that is
        not (B, in_channels, H, W) or smaller than the kernel.
    """

    reference_keys = {
        "square_conv": "square.conv",
        "square_bn": "square.norm",
        "ver_conv": "vertical.conv",
        "ver_bn": "vertical.norm",
        "hor_conv": "horizontal.conv",
        "hor_bn": "horizontal.norm",
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
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        checks.channel_groups("ac_block", in_channels, out_channels, groups)
        checks.choice("ac_block", PADDING_MODES, padding_mode=padding_mode)
        k = checks.square("ac_block", "kernel_size", kernel_size)
        checks.odd("ac_block", kernel_size=k)
        self.window = checks.window("ac_block", k, stride, padding, dilation)
        _, steps, (pad_h, pad_w), rates = self.window
        # How far the middle row and column of the kernel lie outside the map, or inside where negative.
        out_h, out_w = pad_h - rates[0] * (k // 2), pad_w - rates[1] * (k // 2)

        def branch(size: tuple[int, int], border: tuple[int, int]) -> FusedConvBN:
            return FusedConvBN(
                in_channels, out_channels, size, steps, border, rates, groups, bias=False, padding_mode=padding_mode
            )

        self.square = branch((k, k), (pad_h, pad_w))
        self.vertical = branch((k, 1), (pad_h, max(out_w, 0)))
        self.horizontal = branch((1, k), (max(out_h, 0), pad_w))
        self.crop = max(-out_h, 0), max(-out_w, 0)

    def forward(self, x: Tensor) -> Tensor:
        kernel_size, _, padding, dilation = self.window
        checks.nchw("ac_block", x, self.square.conv.in_channels)
        checks.larger_than_kernel("ac_block", x, kernel_size, dilation, padding)
        checks.paddable("ac_block", x, padding, self.square.conv.padding_mode)
        rows, columns = self.crop
        narrow = x[:, :, :, columns : x.shape[3] - columns] if columns else x
        low = x[:, :, rows : x.shape[2] - rows] if rows else x
        return self.square(x) + self.vertical(narrow) + self.horizontal(low)

    def folded(self) -> nn.Conv2d:
        """A plain convolution that computes what this does in eval mode."""
        weight, bias = self.square.fused()
        for strip in (self.vertical, self.horizontal):
            kernel, shift = strip.fused()
            weight, bias = weight + widened(kernel, *weight.shape[2:]), bias + shift
        return plain_conv(weight, bias, like=self.square.conv)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute in eval mode what a convolution of the same form does, with its weights in the square kernel."""
        self.square.take_over(conv)
        silence(self.vertical.norm, self.horizontal.norm)
