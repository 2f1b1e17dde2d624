"""Convolution and BatchNorm, which one convolution replaces exactly for inference."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import fuse_conv_bn, pass_on, plain_conv
from attnzoo.registry import Paper, register

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


@register(
    "fused_conv_bn",
    title="Convolution with BatchNorm, folded for inference",
    contract="conv",
    paper=Paper(
        title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        authors="Ioffe, Szegedy",
        venue="ICML",
        year=2015,
        url="https://arxiv.org/abs/1502.03167",
    ),
    source="paper",
    source_license="none: our reading of the paper",
    summary="A convolution followed by a BatchNorm, which together are linear once the statistics stand still. "
    "For inference the scale goes into the kernel and the shift into the bias, so that the second pass disappears.",
    summary_zh="卷积后接 BatchNorm，统计量固定之后二者合起来是线性的。"
    "推理时把缩放并入卷积核、把平移并入偏置，省去第二遍计算。",
    placement="Anywhere; folded before export.",
    reported="Exact: no accuracy changes.",
    differences=(
        "A popular collection's fold (from YOLOv3) forgets groups, dilation and padding_mode, and makes its bias on "
        "the CPU in float32.",
        "A BatchNorm without weights folds as one of scale 1; one without running statistics is refused.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class FusedConvBN(nn.Module):
    """norm(conv(x)); `folded` gives the convolution that equals it in eval mode.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: as in nn.Conv2d.
        eps, momentum: of the BatchNorm.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the convolution.
    Cost: the convolution's, and 2 out_channels weights; folded, that of the convolution with bias.
    Raises: AttnzooError for numbers below 1, groups that do not divide, an unknown padding_mode, an input that is
        not (B, in_channels, H, W) or smaller than the kernel, or a single value per channel in training mode.
    """

    reference_keys = {"bn": "norm"}

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
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        checks.channel_groups("fused_conv_bn", in_channels, out_channels, groups)
        checks.choice("fused_conv_bn", PADDING_MODES, padding_mode=padding_mode)
        checks.above_zero("fused_conv_bn", eps=eps)
        checks.share("fused_conv_bn", momentum=momentum)
        self.window = checks.window("fused_conv_bn", kernel_size, stride, padding, dilation)
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            *self.window,
            groups=groups,
            bias=bias,
            padding_mode=padding_mode,  # type: ignore[arg-type]
        )
        self.norm = nn.BatchNorm2d(out_channels, eps, momentum)

    def forward(self, x: Tensor) -> Tensor:
        kernel_size, _, padding, dilation = self.window
        checks.nchw("fused_conv_bn", x, self.conv.in_channels)
        checks.larger_than_kernel("fused_conv_bn", x, kernel_size, dilation, padding)
        checks.paddable("fused_conv_bn", x, padding, self.conv.padding_mode)
        y = self.conv(x)
        if self.training:
            checks.several_values("fused_conv_bn", y)
        return self.norm(y)

    def fused(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution."""
        return fuse_conv_bn(self.conv.weight, self.conv.bias, self.norm)

    def folded(self) -> nn.Conv2d:
        """A plain convolution that computes what this does in eval mode."""
        return plain_conv(*self.fused(), like=self.conv)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute in eval mode what a convolution of the same form does, with its weights."""
        checks.same_convolution("fused_conv_bn", conv, self.conv)
        self.conv.weight.data.copy_(conv.weight.detach())
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        pass_on(self.norm, conv.bias)
