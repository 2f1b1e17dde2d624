"""Gaussian Context Transformer: a bell curve over the normalised channel means."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import spatial_mean
from attnzoo.registry import Paper, register


@register(
    "gct_gaussian",
    title="Gaussian Context Transformer",
    contract="feature",
    paper=Paper(
        title="Gaussian Context Transformer",
        authors="Ruan, Wang, Wen, Xie, Zheng",
        venue="CVPR",
        year=2021,
        url="https://openaccess.thecvf.com/content/CVPR2021/papers/Ruan_Gaussian_Context_Transformer_CVPR_2021_paper.pdf",
    ),
    source="paper",
    source_license="not applicable",
    summary="Normalises the channel means of an image among themselves and passes each channel the less, the further "
    "its mean lies from the others'. The gate is a Gaussian whose width is fixed, or the only thing to learn.",
    summary_zh="在同一幅图像的通道均值之间做归一化，某通道的均值离总体越远，通过得越少。"
    "门是一条高斯曲线，其宽度固定，或是唯一可学习的参数。",
    placement="End of every residual branch, as SE.",
    reported="No headline figures recorded.",
    differences=(
        "No official code exists; this is the paper's formula.",
        "Two widely copied ports multiply by c / 2 where the formula divides by 2 c^2, for lack of a parenthesis, and "
        "put epsilon under the root: a far stronger gate.",
        "The bounds of the learned width are a choice of ours: it starts at 2, the best fixed value.",
        "Not to be confused with the Gated Channel Transformation, here gct.",
    ),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class GaussianContext(nn.Module):
    """Scale channel c by exp(-n[c]^2 / (2 width^2)), n the means normalised over the channels.

    Args:
        channels: C, the channels of the input, at least 2; no weight depends on it.
        c: the width, where it is fixed.
        learnable: learn the width as alpha * sigmoid(theta) + beta, theta a number that starts at 0.
        alpha, beta: the bounds of the learned width: it stays between beta and alpha + beta.
        eps: added to the standard deviation.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: no parameter, or one; one pass over the map for the means.
    Raises: AttnzooError for c, alpha, beta or eps not above 0, fewer than 2 channels, or an input that is not
        (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        c: float = 2.0,
        learnable: bool = False,
        alpha: float = 2.0,
        beta: float = 1.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        checks.at_least("gct_gaussian", 2, channels=channels)
        checks.above_zero("gct_gaussian", c=c, alpha=alpha, beta=beta, eps=eps)
        self.channels = channels
        self.c = c
        self.alpha = alpha
        self.beta = beta
        self.eps = eps
        self.theta = nn.Parameter(torch.zeros(1)) if learnable else None

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("gct_gaussian", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        means = spatial_mean(x)  # (B, C)
        deviations = means - means.mean(dim=1, keepdim=True)
        normalised = deviations / (means.std(dim=1, correction=0, keepdim=True) + self.eps)
        width = self.c if self.theta is None else self.alpha * self.theta.sigmoid() + self.beta
        return (-0.5 * (normalised / width).square()).exp().to(x.dtype)[:, :, None, None]

    def extra_repr(self) -> str:
        return f"c={self.c}" if self.theta is None else f"alpha={self.alpha}, beta={self.beta}"
