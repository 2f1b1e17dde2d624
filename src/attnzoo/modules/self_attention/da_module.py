"""A dual attention of a popular collection, inspired by DANet but another method: for maps of one fixed size."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import to_map, to_tokens
from attnzoo.modules.self_attention.da_position import DANET
from attnzoo.modules.self_attention.self_attention import SelfAttention
from attnzoo.modules.self_attention.simplified_self_attention import SimplifiedSelfAttention
from attnzoo.registry import register


@register(
    "da_module",
    title="Dual attention module (xmu collection)",
    contract="feature",
    paper=DANET,
    source="xmu-xiaoma666/External-Attention-pytorch@d75848e",
    source_license="MIT",
    summary="Adds scaled dot-product attention between the places to the same between the channels, each behind a "
    "convolution. Known from a popular collection; for DANet itself take dual_attention.",
    summary_zh="位置之间与通道之间的缩放点积注意力各接在一个卷积之后，两者相加。"
    "出自一个流行的代码合集；若要 DANet 本身，请用 dual_attention。",
    placement="Anywhere with maps of a fixed size.",
    reported="No figures of its own.",
    differences=(
        "The collection's class ignores its arguments and builds 512 channels for 7x7 maps; ours takes them.",
        "It is not DANet: no learnt scalar, no residual, and projections where DANet has none.",
    ),
    inert=("position.fc_k.bias",),
    not_applicable={
        "two-sizes": "the channel branch has a linear layer over all places, so H and W are fixed",
        "large-close-bfloat16": "the rounding of logits of 1e6 decides the softmax",
    },
)
class DAModule(nn.Module):
    """position(conv(x)) + channel(conv(x)); the channel branch has a linear layer over all H W places.

    Args:
        channels: C, the channels of the input.
        kernel_size: of both convolutions (odd).
        height, width: H and W, fixed.

    Shape: (B, C, height, width) -> (B, C, height, width).
    Cost: 2 k^2 C^2 + 4 C^2 + (H W)^2 weights.
    Raises: AttnzooError for an even kernel_size, or an input that is not (B, C, height, width).
    """

    reference_keys = {
        r"position_attention_module\.cnn": "position_conv",
        r"position_attention_module\.pa": "position",
        r"channel_attention_module\.cnn": "channel_conv",
        r"channel_attention_module\.pa": "channel",
    }

    def __init__(self, channels: int, kernel_size: int = 3, *, height: int, width: int) -> None:
        super().__init__()
        checks.positive("da_module", channels=channels, height=height, width=width)
        checks.odd("da_module", kernel_size=kernel_size)
        self.channels, self.height, self.width = channels, height, width
        self.position_conv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.position = SelfAttention(channels, num_heads=1)
        self.channel_conv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.channel = SimplifiedSelfAttention(height * width, num_heads=1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("da_module", x, self.channels)
        checks.same_size("da_module", x, self.height, self.width)
        position = to_map(self.position(to_tokens(self.position_conv(x))), self.height, self.width)
        channel = self.channel(self.channel_conv(x).flatten(2))  # (B, C, H W): the channels are the tokens
        return position + channel.view_as(x)
