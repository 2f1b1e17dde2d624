"""SE, Squeeze-and-Excitation: one gate per channel, predicted from the means of all channels."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, BottleneckMLP, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "se",
    title="Squeeze-and-Excitation",
    contract="feature",
    paper=Paper(
        title="Squeeze-and-Excitation Networks",
        authors="Hu, Shen, Albanie, Sun, Wu",
        venue="CVPR",
        year=2018,
        url="https://arxiv.org/abs/1709.01507",
    ),
    source="moskomule/senet.pytorch@8cb2669 (no bias); huggingface/pytorch-image-models@v1.0.31 (bias)",
    source_license="MIT; Apache-2.0",
    summary="Averages every channel over the map and lets a two-layer bottleneck predict from all the averages "
    "how much each channel passes. The first of the channel gates, and the one that others are measured by.",
    summary_zh="对每个通道做全局平均，再由两层瓶颈网络根据全部均值预测各通道的放行比例。"
    "它是最早的通道注意力，也是后来各方法的比较基准。",
    placement="End of every residual branch, after the last BatchNorm and before the addition.",
    reported="ImageNet top-1 error, single crop 224: ResNet-50 24.80 to 23.29; released Caffe weights 22.37.",
    differences=(
        "The authors' Caffe models have a bias in both layers (bias=True); the journal version and most ports "
        "have none, which is the default here.",
        "timm's SEModule has biases and rounds the width to a multiple of 8: 64 channels at ratio 16 give 8, here 4.",
    ),
)
class SE(nn.Module):
    """Scale channel c by sigmoid(fc2(act(fc1(z))))[c], z the spatial means.

    Args:
        channels: C, the channels of the input.
        reduction: r; the bottleneck is C // r wide.
        bias: whether both layers have a bias.
        hidden_channels: the width of the bottleneck itself, instead of C // r.
        act_layer: makes the activation between the layers.
        gate_layer: makes the gate's activation.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r weights, and as many multiply-adds per image.
    Raises: AttnzooError for a bottleneck without channels, or an input that is not (B, C, H, W).
    """

    reference_keys = {r"fc\.0": "mlp.fc1", r"fc\.2": "mlp.fc2", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        bias: bool = False,
        hidden_channels: int | None = None,
        act_layer: Activation = nn.ReLU,
        gate_layer: Activation = nn.Sigmoid,
    ) -> None:
        super().__init__()
        if hidden_channels is None:
            hidden_channels = checks.reduced("se", channels, reduction)
        checks.positive("se", channels=channels, hidden_channels=hidden_channels)
        self.channels = channels
        self.mlp = BottleneckMLP(channels, hidden_channels, bias, act_layer)
        self.gate_act = gate_layer()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("se", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        return self.gate_act(self.mlp(spatial_mean(x)))[:, :, None, None].to(x.dtype)
