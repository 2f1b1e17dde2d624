"""The Ghost bottleneck: two Ghost modules, a depthwise convolution and SE between them, and a shortcut."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import make_divisible
from attnzoo.modules.channel.se import SE
from attnzoo.modules.convolution.fused_conv_bn import FusedConvBN
from attnzoo.modules.convolution.ghost import GHOSTNET, Ghost
from attnzoo.registry import register


@register(
    "ghost_bottleneck",
    title="Ghost bottleneck",
    contract="conv",
    paper=GHOSTNET,
    source="huawei-noah/Efficient-AI-Backbones@f90e129",
    source_license="none found",
    summary="A Ghost module widens, a strided depthwise convolution and SE may follow, and a second Ghost module "
    "without activation narrows again. The input is added, by way of a separable convolution where the shape changes.",
    summary_zh="先由 Ghost 模块升维，可选地接步进深度卷积与 SE，再由不带激活的第二个 Ghost 模块降维。"
    "最后与输入相加，形状改变时输入先经过一个可分离卷积。",
    placement="Each of the 16 blocks of GhostNet, se_ratio 0.25 in some.",
    reported="ImageNet top-1 of the paper: GhostNet 1.0x 73.9, 141M FLOPs.",
    differences=(
        "An older release (iamhankai/ghostnet.pytorch) has another SE: linear layers of the reduction 4 without "
        "rounding, and a gate clipped to [0, 1] instead of the hard sigmoid.",
    ),
    example={"mid_channels": 128},
)
class GhostBottleneck(nn.Module):
    """narrow(se(down(widen(x)))) + shortcut(x).

    Args:
        in_channels, out_channels: channels of input and output.
        mid_channels: between the two Ghost modules.
        dw_kernel_size: of the strided convolution and of the shortcut's, odd.
        stride: 1 or 2; at 1 there is no depthwise convolution between the Ghost modules.
        se_ratio: the width of SE's bottleneck relative to mid_channels, rounded to a multiple of 4; 0 leaves SE out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: of two Ghost modules, with mid k^2 + 2 mid r weights for the depthwise convolution and SE, r its width.
    Raises: AttnzooError for numbers below 1, an even kernel, a stride that is neither 1 nor 2, a negative se_ratio, or
        an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        "conv_dw": "down.conv",
        "bn_dw": "down.norm",
        r"se\.conv_reduce": "se.mlp.fc1",
        r"se\.conv_expand": "se.mlp.fc2",
        r"shortcut\.0": "shortcut.0.conv",
        r"shortcut\.1": "shortcut.0.norm",
        r"shortcut\.2": "shortcut.1.conv",
        r"shortcut\.3": "shortcut.1.norm",
        "ghost1": "widen",
        "ghost2": "narrow",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        dw_kernel_size: int = 3,
        stride: int = 1,
        se_ratio: float = 0.0,
    ) -> None:
        super().__init__()
        name = "ghost_bottleneck"
        checks.positive(name, in_channels=in_channels, out_channels=out_channels, mid_channels=mid_channels)
        checks.odd(name, dw_kernel_size=dw_kernel_size)
        checks.choice(name, (1, 2), stride=stride)
        checks.no_less(name, 0, se_ratio=se_ratio)
        padding = dw_kernel_size // 2
        self.in_channels = in_channels
        self.widen = Ghost(in_channels, mid_channels)
        self.down: nn.Module = nn.Identity()
        if stride > 1:
            self.down = FusedConvBN(
                mid_channels, mid_channels, dw_kernel_size, stride, padding, groups=mid_channels, bias=False
            )
        self.se: nn.Module = nn.Identity()
        if se_ratio > 0:
            width = make_divisible(mid_channels * se_ratio, 4)
            self.se = SE(mid_channels, bias=True, hidden_channels=width, gate_layer=nn.Hardsigmoid)
        self.narrow = Ghost(mid_channels, out_channels, act_layer=None)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                FusedConvBN(in_channels, in_channels, dw_kernel_size, stride, padding, groups=in_channels, bias=False),
                FusedConvBN(in_channels, out_channels, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ghost_bottleneck", x, self.in_channels)
        return self.narrow(self.se(self.down(self.widen(x)))) + self.shortcut(x)
