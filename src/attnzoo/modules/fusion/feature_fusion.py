"""Feature fusion (BiSeNet): two maps side by side, mixed, and added to themselves through a channel gate."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, ConvNormAct, precisely, spatial_mean
from attnzoo.modules.channel.attention_refinement import BISENET
from attnzoo.registry import register


@register(
    "feature_fusion",
    title="Feature Fusion Module (BiSeNet)",
    contract="fusion",
    paper=BISENET,
    source="CoinCheung/BiSeNet@6b4b67a",
    source_license="MIT",
    summary="Joins spatial detail and context by concatenation and a 1x1 convolution, then adds a copy of the result "
    "whose channels are gated by their means. The two paths of BiSeNet meet in it.",
    summary_zh="把空间细节与上下文拼接后用 1x1 卷积混合，再加上一份按通道均值加门的结果。BiSeNet 的两条路径在此汇合。",
    placement="In BiSeNet where spatial and context path meet, 256 channels in and out.",
    reported="No headline figures recorded; it is a part of BiSeNet.",
    differences=(
        "The paper and older versions of this implementation have a gate of two layers without BatchNorm: gate='mlp'.",
        "A popular collection mixes by a 3x3 convolution to as many channels as classes and has biases in the gate.",
    ),
    example={"in_channels": 48},
    inputs=("B 16 H W", "B 32 H W"),
)
class FeatureFusion(nn.Module):
    """f + f sigmoid(norm(W mean(f))), f = relu(norm(mix([x, context]))).

    Args:
        in_channels: channels of both inputs together.
        out_channels: channels of the output.
        gate: 'conv_bn' for one layer and a normalisation, 'mlp' for two layers, the first out_channels // 4 wide.

    Shape: (B, C1, H, W) and (B, C2, H, W), C1 + C2 = in_channels -> (B, out_channels, H, W).
    Cost: in_channels out_channels weights at every place, and out_channels^2 for the gate (half of it for 'mlp').
    Raises: AttnzooError for channels below 1 (below 4 for 'mlp'), an unknown gate, a training batch of one, or
        inputs whose channels do not sum to in_channels or whose sizes differ.
    """

    reference_keys = {
        r"convblk\.bn": "mix.norm",
        r"convblk\.conv": "mix.conv",
        "conv": "score.conv",
        "bn": "score.norm",
        "conv1": "score.fc1",
        "conv2": "score.fc2",
    }

    def __init__(self, in_channels: int, out_channels: int, gate: str = "conv_bn") -> None:
        super().__init__()
        checks.positive("feature_fusion", in_channels=in_channels, out_channels=out_channels)
        checks.choice("feature_fusion", ("conv_bn", "mlp"), gate=gate)
        self.in_channels = in_channels
        self.mix = ConvNormAct(in_channels, out_channels)
        self.pools_batch = gate == "conv_bn"
        self.score: nn.Module = ConvNormAct(out_channels, out_channels, act_layer=None)
        if gate == "mlp":
            checks.at_least("feature_fusion", 4, out_channels=out_channels)
            self.score = BottleneckMLP(out_channels, out_channels // 4, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        checks.nchw("feature_fusion", x, name="x")
        rest = self.in_channels - x.shape[1]
        checks.shaped("feature_fusion", "context", context, (x.shape[0], rest, *x.shape[2:]))
        if self.training:
            (checks.batch_statistics if self.pools_batch else checks.several_values)("feature_fusion", x)
        f = self.mix(torch.cat([x, context], dim=1))
        return f * (1 + self.gate(f))

    def gate(self, f: Tensor) -> Tensor:
        """The mixed map (B, C, H, W) -> (B, C, 1, 1)."""
        means = spatial_mean(f, keepdim=self.pools_batch)  # the bottleneck takes vectors
        return precisely(self.score, means).sigmoid().to(f.dtype).view(*f.shape[:2], 1, 1)
