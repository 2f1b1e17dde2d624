"""The residual non-local attention block of RNAN: a trunk, gated by a branch that looks far and at half size."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely
from attnzoo.modules.self_attention.non_local_column import RNAN, NonLocalColumn
from attnzoo.registry import register


@register(
    "residual_non_local",
    title="Residual (non-)local attention block (RNAN)",
    contract="feature",
    paper=RNAN,
    source="yulunzhang/RNAN@aedd126",
    source_license="none found",
    summary="A trunk of residual blocks is gated, channel by channel and place by place, by a mask branch that first "
    "attends to the whole map and then works at half its size. It has no BatchNorm, as is usual in restoration.",
    summary_zh="由残差块构成的主干被一个掩码分支逐通道、逐位置地门控；该分支先对全图做非局部注意力，再在一半分辨率上处理。"
    "与图像复原中的惯例一致，不用 BatchNorm。",
    placement="RNAN: ten in a row, the first and the last non-local, each followed by a 3x3 convolution.",
    reported="No headline figure recorded here.",
    differences=(
        "The non-local block normalises over the queries, see non_local_column.",
        "The convolution after the block belongs to the network.",
    ),
    inert=("look.query.bias",),
    not_applicable={"large-close": "the rounding of logits of 1e3, at the end of a deep branch, decides its sigmoid"},
    inputs=("B C 2*H 2*W",),
)
class ResidualNonLocal(nn.Module):
    """tail(x' + trunk(x') * gate(x')), x' = head(x), all residual blocks; the gate is the sigmoid of a mask branch.

    Args:
        channels: C, the channels of the input.
        kernel_size: of the residual blocks (odd).
        non_local: begin the mask branch with a non_local_column block.

    Shape: (B, C, H, W) -> (B, C, H, W), for even H and W.
    Cost: 18 convolutions of k^2 C^2 weights, four of them at half the size, 9 C^2 weights down to it and 36 C^2 up;
        the attention of non_local_column.
    Raises: AttnzooError for an even kernel_size, a single channel with non_local, or an input that is not
        (B, C, H, W) with even H and W.
    """

    reference_keys = {
        r"RA_RB1\.0": "head",
        r"RA_TB\.0\.body": "trunk",
        r"RA_MB\.0\.MB_RB1\.[01](?=\.body)": "near",
        r"RA_MB\.0\.MB_RB1\.0(?=\.(theta|phi|g|W))": "look",
        r"RA_MB\.0\.MB_Down\.0": "down",
        r"RA_MB\.0\.MB_RB2": "coarse",
        r"RA_MB\.0\.MB_Up\.0": "up",
        r"RA_MB\.0\.MB_RB3\.0": "merge",
        r"RA_MB\.0\.MB_1x1conv\.0": "select",
        "RA_tail": "tail",
    }

    def __init__(self, channels: int, kernel_size: int = 3, non_local: bool = True) -> None:
        super().__init__()
        checks.at_least("residual_non_local", 2 if non_local else 1, channels=channels)
        checks.odd("residual_non_local", kernel_size=kernel_size)
        self.channels = channels
        self.head = _ResBlock(channels, kernel_size)
        self.trunk = nn.Sequential(_ResBlock(channels, kernel_size), _ResBlock(channels, kernel_size))
        self.look = NonLocalColumn(channels) if non_local else nn.Identity()
        self.near = _ResBlock(channels, kernel_size)
        self.down = nn.Conv2d(channels, channels, 3, 2, padding=1)
        self.coarse = nn.Sequential(_ResBlock(channels, kernel_size), _ResBlock(channels, kernel_size))
        self.up = nn.ConvTranspose2d(channels, channels, 6, 2, padding=2)
        self.merge = _ResBlock(channels, kernel_size)
        self.select = nn.Conv2d(channels, channels, 1)
        self.tail = nn.Sequential(_ResBlock(channels, kernel_size), _ResBlock(channels, kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("residual_non_local", x, self.channels)
        checks.whole_blocks("residual_non_local", x, 2)
        x = self.head(x)
        return self.tail(torch.addcmul(x, self.trunk(x), self.gate(x)))

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        near = self.near(self.look(x))
        far = self.up(self.coarse(self.down(near)))
        return precisely(self.select, self.merge(near + far)).sigmoid().to(x.dtype)


class _ResBlock(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
