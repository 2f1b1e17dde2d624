"""Context gating: every component of a vector, gated by a linear map of the whole vector."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Layer, precisely
from attnzoo.registry import Paper, register


@register(
    "context_gating",
    title="Context Gating",
    contract="activation",
    paper=Paper(
        title="Learnable pooling with Context Gating for video classification",
        authors="Miech, Laptev, Sivic",
        venue="arXiv",
        year=2017,
        url="https://arxiv.org/abs/1706.06905",
    ),
    source="antoine77340/Mixture-of-Embedding-Experts@a53979f",
    source_license="none found",
    summary="Multiplies every component of a feature vector by a sigmoid of a linear map of the whole vector. What "
    "the context makes unlikely is turned down.",
    summary_zh="把特征向量的每个分量乘以整个向量线性映射后的 sigmoid。上下文中不太可能出现的成分因此被抑制。",
    placement="After a pooled descriptor of a video or an image, and again on the scores of the classes.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' earlier TensorFlow code stores the matrix as (in, out), with a bias only where there is no "
        "BatchNorm, whose eps is 1e-3; a popular port of it takes 1e-5: transpose the matrix and set the bias to 0.",
        "The reference builds the BatchNorm even where it is switched off; here it is left out.",
    ),
    inputs=("B C",),
    not_applicable={"two-sizes": "vectors (B, C) have neither height nor width"},
)
class ContextGating(nn.Module):
    """x sigmoid(norm(W x + b)).

    Args:
        channels: C, the length of the vectors.
        norm_layer: makes the normalisation; None leaves it out.

    Shape: (B, C) -> (B, C).
    Cost: C^2 + 3 C parameters (C^2 + C without normalisation), C^2 multiply-adds.
    Raises: AttnzooError for channels below 1, a training batch of one with a normalisation, or an input that is
        not (B, C).
    """

    reference_keys = {"batch_norm": "norm"}

    def __init__(self, channels: int, norm_layer: Layer | None = nn.BatchNorm1d) -> None:
        super().__init__()
        checks.positive("context_gating", channels=channels)
        self.channels = channels
        self.fc = nn.Linear(channels, channels)
        self.norm = norm_layer(channels) if norm_layer else None

    @property
    def unused_in_reference(self) -> int:
        """How many parameters the reference's BatchNorm has where it is switched off."""
        return 2 * self.channels if self.norm is None else 0

    def forward(self, x: Tensor) -> Tensor:
        checks.shaped("context_gating", "x", x, (None, self.channels))
        if self.training and self.norm is not None:
            checks.batch_statistics("context_gating", x)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, C)."""
        z = precisely(self.fc, x)
        z = z if self.norm is None else precisely(self.norm, z)
        return z.sigmoid().to(x.dtype)
