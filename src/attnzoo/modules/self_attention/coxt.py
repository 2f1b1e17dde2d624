"""CoXt, the ResNeXt version of the Contextual Transformer: the same with grouped convolutions."""

from attnzoo.modules.self_attention.cot import COT, PORT, ContextualTransformer
from attnzoo.registry import register


@register(
    "coxt",
    title="CoXt block (grouped CoT)",
    contract="feature",
    paper=COT,
    source="JDAI-CV/CoTNet@895e024",
    source_license="Apache-2.0",
    summary="The Contextual Transformer with two groups in its 1x1 convolutions and eight in the one that gives the "
    "context. Input and context are interleaved first, so that both groups read both.",
    summary_zh="上下文 Transformer 的分组版本：1x1 卷积分两组，给出上下文的卷积分八组。"
    "输入与上下文先交错排列，使两组都能读到二者。",
    placement="In place of every 3x3 convolution of a ResNeXt, which makes it CoTNeXt.",
    reported="No headline figure recorded here.",
    differences=(PORT, "The values of each half are gathered by weights of their own half, unlike in cot."),
)
class CoXt(ContextualTransformer):
    """a_0 y + a_1 k as in cot, its 1x1 convolutions in 2 groups, the convolution of the context in 8.

    Channel c of either half of the values takes the weights c modulo C / 16 of that half.

    Args:
        channels: C, the channels of the input, a multiple of 16.
        kernel_size: of the convolution and the windows, odd.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: k^2 C^2 / 8 + C^2 + k^2 C^2 / 32 + 3 C max(C / 2, 32) weights or so; memory as cot.
    Raises: AttnzooError for channels that are no multiple of 16, an even kernel_size, a training batch of one, or an
        input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__("coxt", channels, kernel_size, groups=2, key_groups=8)
