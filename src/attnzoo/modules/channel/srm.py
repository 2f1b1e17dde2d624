"""SRM, Style-based Recalibration: each channel gated by its own mean and standard deviation."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Layer, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "srm",
    title="Style-based Recalibration Module",
    contract="feature",
    paper=Paper(
        title="SRM: A Style-based Recalibration Module for Convolutional Neural Networks",
        authors="Lee, Kim, Nam",
        venue="ICCV",
        year=2019,
        url="https://arxiv.org/abs/1903.10829",
    ),
    source="hyunjaelee410/style-based-recalibration-module@f6221c7",
    source_license="none found",
    summary="Sums up each channel as its mean and standard deviation, weighs the two with the channel's own pair of "
    "weights, and normalises the score over the batch before the sigmoid. Channels never see each other.",
    summary_zh="用均值和标准差概括每个通道，以该通道自己的两个权重加权求和，再经批归一化与 sigmoid 得到门。"
    "通道之间互不影响。",
    placement="End of every residual branch, before the addition.",
    reported="No headline figures recorded.",
    differences=(
        "Ports with a biased deviation, or with epsilon added after the root, give other numbers: the authors divide "
        "by H W - 1 and add epsilon before it.",
        "The authors exempt the parameters from weight decay, which is a matter of the optimiser.",
        "The original gives NaN for maps of one pixel; here they are refused.",
        "A popular explanation leaves out epsilon, and draws the channel weights at random where the authors start "
        "them at zero.",
    ),
    min_pixels=2,
)
class SRM(nn.Module):
    """Scale channel c by sigmoid(norm(w[c, 0] mean + w[c, 1] deviation)).

    Args:
        channels: C, the channels of the input.
        eps: added to the variance before the root.
        norm_layer: makes the normalisation of the (B, C, 1, 1) scores.

    Shape: (B, C, H, W) -> (B, C, H, W), for maps of at least 2 pixels.
    Cost: 4 C parameters; two passes over the map for the statistics.
    Raises: AttnzooError for eps not above 0, a map of one pixel, a training batch of one, or an input that is
        not (B, C, H, W).
    """

    reference_keys = {"cfc": "style_weight", "bn": "norm"}

    def __init__(self, channels: int, eps: float = 1e-5, norm_layer: Layer = nn.BatchNorm2d) -> None:
        super().__init__()
        checks.positive("srm", channels=channels)
        checks.above_zero("srm", eps=eps)
        self.channels = channels
        self.eps = eps
        self.style_weight = nn.Parameter(torch.zeros(channels, 2))
        self.norm = norm_layer(channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("srm", x, self.channels)
        checks.larger_than_one_pixel("srm", x)
        if self.training:
            checks.batch_statistics("srm", x)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        means = spatial_mean(x, keepdim=True)  # (B, C, 1, 1)
        norms = torch.linalg.vector_norm(x - means, dim=(2, 3), keepdim=True)
        deviations = (norms.square() / (x.shape[2] * x.shape[3] - 1) + self.eps).sqrt()
        of_mean, of_deviation = self.style_weight[:, :, None, None].unbind(1)  # (C, 1, 1)
        scores = of_mean * means + of_deviation * deviations
        return self.norm(scores.to(self.style_weight.dtype)).sigmoid().to(x.dtype)
