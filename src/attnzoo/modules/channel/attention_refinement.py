"""Attention refinement (BiSeNet): a 3x3 convolution, its channels gated by their means."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, spatial_mean
from attnzoo.registry import Paper, register

BISENET = Paper(
    title="BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
    authors="Yu, Wang, Peng, Gao, Yu, Sang",
    venue="ECCV",
    year=2018,
    url="https://arxiv.org/abs/1808.00897",
)


@register(
    "attention_refinement",
    title="Attention Refinement Module (BiSeNet)",
    contract="context",
    plug_in=True,
    paper=BISENET,
    source="CoinCheung/BiSeNet@6b4b67a",
    source_license="MIT",
    summary="Refines the features of a deep stage by a 3x3 convolution and gates the resulting channels by a single "
    "normalised layer on their means. It costs little more than the convolution.",
    summary_zh="用 3x3 卷积整理深层特征，再由一个带归一化的线性层根据通道均值给出各通道的门。开销几乎只有这一个卷积。",
    placement="In BiSeNet's context path, on the features of strides 16 and 32, with 128 output channels.",
    reported="No headline figures recorded; it is a part of BiSeNet.",
    differences=(
        "The paper's figure gates the backbone's own features; the 3x3 convolution in front is this implementation's.",
        "A port in a popular collection has no 3x3 convolution, defines a BatchNorm without using it, and gates its "
        "input.",
        "A popular explanation reads the gate from the block's input, which only runs when both widths agree.",
    ),
)
class AttentionRefinement(nn.Module):
    """f * sigmoid(norm(W mean(f))), f = relu(norm(conv(x))).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: 9 in_channels out_channels weights at every place, and out_channels^2 for the gate.
    Raises: AttnzooError for channels below 1, a training batch of one, or an input that is not
        (B, in_channels, H, W).
    """

    reference_keys = {
        r"conv\.bn": "conv.norm",
        "conv_atten": "score.conv",
        "bn_atten": "score.norm",
    }

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        checks.positive("attention_refinement", in_channels=in_channels, out_channels=out_channels)
        self.in_channels = in_channels
        self.conv = ConvNormAct(in_channels, out_channels, 3)
        self.score = ConvNormAct(out_channels, out_channels, act_layer=nn.Sigmoid)
        for layer in (self.conv, self.score):
            nn.init.kaiming_normal_(layer.conv.weight, a=1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("attention_refinement", x, self.in_channels)
        if self.training:
            checks.batch_statistics("attention_refinement", x)
        f = self.conv(x)
        return f * self.gate(f)

    def gate(self, f: Tensor) -> Tensor:
        """The convolution's output (B, C, H, W) -> (B, C, 1, 1)."""
        return precisely(self.score, spatial_mean(f, keepdim=True)).to(f.dtype)
