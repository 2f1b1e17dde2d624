"""The focal block of CFNet in the form of Swin: attention in windows, and a dilated convolution behind it."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SwinBlock, depthwise
from attnzoo.modules.network.cfnet_focal_next import CFNET, focus
from attnzoo.registry import register


@register(
    "cfnet_focal_swin",
    title="CFNet focal block (Swin form)",
    contract="feature",
    paper=CFNET,
    source="zhanggang001/CEDNet@305d637",
    source_license="MIT",
    example={"window_size": 4, "shift": True},
    inputs=("B C 2*H 2*W",),
    summary="A Swin block, attention within windows and an MLP, with a dilated 7x7 depthwise convolution behind the "
    "attention. So a place sees beyond its window without more attention.",
    summary_zh="在 Swin 模块（窗口内注意力加 MLP）的注意力之后加入带空洞的 7x7 深度卷积。"
    "每个位置无需更多注意力也能看到窗口之外。",
    placement="In the last group of every stage of CFNet with Swin blocks; every other block shifts its windows.",
    reported="Part of CFNet; no headline figure recorded here.",
    differences=(
        "The original rolls a shifted map back even where it was not rolled forward, a map no higher than a window, "
        "and keeps the mask of the first size it meets; here such a map is not shifted, and every size gets its mask.",
        "Sides that the window does not divide, which the original refuses, are padded with zeros behind the "
        "normalisation and cropped after the attention, as in Swin.",
    ),
)
class CFNetFocalSwin(SwinBlock):
    """y + W2 gelu(W1 norm(y)), y = x + b, b = a + gelu(norm(conv(a))), a = n + gelu(norm(attend(n))), n = norm(x).

    Args:
        channels: C, the channels of the input.
        num_heads: h, which divides the channels; None takes heads of 32 channels.
        window_size: w, the side of the windows.
        dilation: of the convolution.
        shift: move the windows by w // 2, so that they straddle those of the block before.
        drop_path: with what probability a sample's branch is left out in training.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 12 C^2 + 68 C + (2 w - 1)^2 h parameters; 2 H W w^2 C multiply-adds within the windows.
    Raises: AttnzooError for numbers below 1, num_heads that do not divide the channels, a drop_path that is no
        probability, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        **SwinBlock.reference_keys,
        r"norm_act1\.0": "near_norm",
        r"norm_act2\.0": "far_norm",
        "dwconv2": "far",
    }

    def __init__(
        self,
        channels: int,
        num_heads: int | None = None,
        window_size: int = 7,
        dilation: int = 3,
        shift: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        checks.positive("cfnet_focal_swin", channels=channels, window_size=window_size, dilation=dilation)
        if num_heads is None:
            checks.multiple("cfnet_focal_swin", 32, channels=channels)
            num_heads = channels // 32
        checks.positive("cfnet_focal_swin", num_heads=num_heads)
        checks.divisible("cfnet_focal_swin", "channels", channels, num_heads=num_heads)
        checks.probability("cfnet_focal_swin", drop_path=drop_path)
        super().__init__(channels, num_heads, window_size, shift, drop_path)
        self.near_norm = nn.LayerNorm(channels, eps=1e-6)
        self.far = depthwise(channels, 7, dilation)
        self.far_norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cfnet_focal_swin", x, self.channels)
        return super().forward(x)

    def mix(self, n: Tensor) -> Tensor:
        a = (F.gelu(self.near_norm(self.attend(n))) + n).permute(0, 3, 1, 2)
        return focus(a, self.far, self.far_norm)
