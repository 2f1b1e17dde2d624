"""The channel attention of HAttMatting: what the pyramid found, gated by its maxima."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, peak, spatial_mean
from attnzoo.registry import Paper, register

HATT = Paper(
    title="Attention-Guided Hierarchical Structure Aggregation for Image Matting",
    authors="Qiao, Liu, Yang, Zhou, Xu, Zhang, Wei",
    venue="CVPR",
    year=2020,
    url="https://openaccess.thecvf.com/content_CVPR_2020/html/"
    "Qiao_Attention-Guided_Hierarchical_Structure_Aggregation_for_Image_Matting_CVPR_2020_paper.html",
)
UNSURE = (
    "The authors published no network code; this is our reading of the paper, with medium to low certainty, guided by "
    "two third-party ports, of which one was trained.",
    "One port has group normalisation, standardised weights and ELU, the other average pooling and a gate of one "
    "channel; plain convolution, BatchNorm and ReLU are used here.",
)


@register(
    "hatt_channel",
    title="HAttMatting pyramidal feature distillation",
    contract="feature",
    paper=HATT,
    source="paper",
    source_license="not applicable",
    summary="Gates the channels of the upsampled ASPP features by a small MLP on their maxima. So only the scales that "
    "matter for the matte go on.",
    summary_zh="用一个小型 MLP 根据各通道的最大值为上采样后的 ASPP 特征加门。只有对抠图有用的尺度被保留下来。",
    placement="On the ASPP features of HAttMatting, upsampled; hatt_spatial follows.",
    reported="Part of HAttMatting; no headline figure recorded here.",
    differences=UNSURE,
)
class HAttChannel(nn.Module):
    """x * sigmoid(W2 relu(W1 p + b1) + b2), p the maxima (or means) of the channels.

    Args:
        channels: C, the channels of the input.
        reduction: r; the bottleneck has C // r units.
        pool: 'max' or 'avg'.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C^2 / r weights and the biases.
    Raises: AttnzooError for a bottleneck without units, an unknown pool, or an input that is not (B, C, H, W).
    """

    reference_keys = {"fc1": "predict.fc1", "fc2": "predict.fc2"}

    def __init__(self, channels: int = 256, reduction: int = 2, pool: str = "max") -> None:
        super().__init__()
        width = checks.reduced("hatt_channel", channels, reduction)
        checks.choice("hatt_channel", ("max", "avg"), pool=pool)
        self.channels = channels
        self.pool = pool
        self.predict = BottleneckMLP(channels, width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("hatt_channel", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        pooled = peak(x, (2, 3)) if self.pool == "max" else spatial_mean(x)
        return self.predict(pooled).sigmoid()[:, :, None, None].to(x.dtype)
