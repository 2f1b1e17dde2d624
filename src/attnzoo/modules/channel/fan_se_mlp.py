"""The MLP of FAN's SE blocks: depthwise convolutions inside, squeeze-and-excitation at the end."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.modules.channel.fan_channel import FAN, ConvMLP
from attnzoo.modules.channel.se import SE
from attnzoo.registry import register


@register(
    "fan_se_mlp",
    title="FAN MLP with squeeze-and-excitation",
    contract="feature",
    paper=FAN,
    source="NVlabs/FAN@ee1b7df",
    source_license="NVIDIA non-commercial",
    summary="A transformer MLP with two depthwise convolutions on its hidden map, whose output channels pass an SE "
    "gate. It replaces the channel processing of FAN in the hybrid models.",
    summary_zh="在隐藏层特征图上带两个深度卷积的 Transformer MLP，输出通道再经过 SE 门。"
    "在 FAN 的混合模型中用来代替通道处理模块。",
    placement="The MLP of the SE blocks of the hybrid FAN models.",
    residual=True,
    reported="No headline figures recorded; it is a part of FAN.",
    differences=("The authors' class takes tokens with H and W, and returns all three; ours maps a map to a map.",),
)
class FANSEMLP(nn.Module):
    """se(mlp(x)), mlp as in fan_channel.

    Args:
        channels: C, the channels of the input.
        hidden_channels: the MLP's width, 4 C by default.
        drop: dropout of the MLP.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C m + 24 m + C^2/2 parameters or so, m the MLP's width.
    Raises: AttnzooError for widths below 1, drop outside [0, 1), a training batch of a single pixel, or an
        input that is not (B, C, H, W).
    """

    reference_keys = {
        "dwconv": "mlp.depthwise",
        r"se\.conv_reduce": "se.mlp.fc1",
        r"se\.conv_expand": "se.mlp.fc2",
        "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
        "gamma": "mlp.gamma",
    }

    def __init__(self, channels: int, hidden_channels: int | None = None, drop: float = 0.0) -> None:
        super().__init__()
        checks.positive("fan_se_mlp", channels=channels)
        hidden_channels = 4 * channels if hidden_channels is None else hidden_channels
        checks.positive("fan_se_mlp", hidden_channels=hidden_channels)
        checks.probability("fan_se_mlp", drop=drop)
        self.channels = channels
        self.mlp = ConvMLP(channels, hidden_channels, drop)
        width = max(1, (channels + 2) // 4)  # C / 4 rounded, and then up where that lost more than a tenth
        self.se = SE(channels, bias=True, hidden_channels=width + (width < 0.225 * channels))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("fan_se_mlp", x, self.channels)
        if self.training:
            checks.several_values("fan_se_mlp", x)
        return self.se(self.mlp(x))
