"""Hamburger: the map as a product of two thin matrices, found by a few steps, between two 1x1 convolutions."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, laid_out_like, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "hamburger",
    title="Hamburger (matrix decomposition as global context)",
    contract="feature",
    paper=Paper(
        title="Is Attention Better Than Matrix Decomposition?",
        authors="Geng, Guo, Chen, Li, Wei, Lin",
        venue="ICLR",
        year=2021,
        url="https://arxiv.org/abs/2109.04553",
    ),
    source="Gsunshine/Enjoy-Hamburger@d9b51f6",
    source_license="AGPL-3.0",
    summary="Rebuilds the map from a few bases by non-negative matrix factorisation, concept decomposition or soft "
    "vector quantisation, between two 1x1 convolutions. The gradient takes the last step only.",
    summary_zh="在两个 1x1 卷积之间，用非负矩阵分解、概念分解或软向量量化由少量基向量重建特征图。梯度只经过最后一步。",
    placement="Segmentation heads, between a 3x3 convolution to 512 channels and another with the classifier; in "
    "SegNeXt a light form.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors draw the first bases anew at every call, so that outputs vary in evaluation too; here as well, "
        "unless they are given as forward's second argument.",
        "Their bases kept from call to call (RAND_INIT off, updated even in evaluation) and V2+ are left out.",
        "CD inverts a matrix, for which ONNX has no operator: export NMF or VQ.",
    ),
    not_applicable={"gradcheck": "the authors cut the gradient through all steps but the last"},
    example={"md_channels": 32, "num_bases": 8},
    inputs=("B C H W", "B 32 8"),
    settled=("spatial",),
)
class Hamburger(nn.Module):
    """relu(upper(B C^T) + x): B C^T, C the coefficients of bases B, near to the matrix of lower(x).

    Args:
        channels: C, the channels of the input.
        ham_type: 'NMF', 'CD' or 'VQ'; NMF has a ReLU before it.
        version: 'V1' has a BatchNorm after the upper convolution, 'V2' a convolution block before it.
        md_channels: D, the channels of the decomposed map.
        num_bases: R.
        spatial: describe places by their channels; False describes channels by their places.
        train_steps, eval_steps: of the iteration, in either mode.
        inv_t: what CD and VQ multiply the logits by.
        beta: what CD adds to the diagonal of B^T B.

    Shape: (B, C, H, W), and optionally the first bases (B, D, R), (B, H W, R) if not spatial, whose signs NMF
        drops -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C D + D + 2 C parameters (V1); 2 H W D (C + steps R) multiply-adds or so, memory H W (D + R).
    Raises: AttnzooError for an unknown ham_type or version, numbers below 1, inv_t or beta not above 0, a single
        training value per channel, bases of another shape, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"lower_bread\.0": "lower",
        "lower_bread": "lower",
        r"cheese\.bn": "cheese.norm",
        r"upper_bread\.0": "upper.conv",
        r"upper_bread\.1": "upper.norm",
        "upper_bread": "upper",
    }

    def __init__(
        self,
        channels: int,
        ham_type: str = "NMF",
        version: str = "V1",
        md_channels: int = 512,
        num_bases: int = 64,
        spatial: bool = True,
        train_steps: int = 6,
        eval_steps: int = 7,
        inv_t: float = 100,
        beta: float = 0.1,
    ) -> None:
        super().__init__()
        checks.positive("hamburger", channels=channels, md_channels=md_channels, num_bases=num_bases)
        checks.positive("hamburger", train_steps=train_steps, eval_steps=eval_steps)
        checks.choice("hamburger", ("NMF", "CD", "VQ"), ham_type=ham_type)
        checks.choice("hamburger", ("V1", "V2"), version=version)
        checks.above_zero("hamburger", inv_t=inv_t, beta=beta)
        self.channels = channels
        self.ham_type = ham_type
        self.num_bases = num_bases
        self.spatial = spatial
        self.train_steps = train_steps
        self.eval_steps = eval_steps
        self.inv_t = inv_t
        self.beta = beta
        self.lower = nn.Conv2d(channels, md_channels, 1)
        self.cheese: nn.Module = nn.Identity()
        self.upper: nn.Module = ConvNormAct(md_channels, channels, act_layer=None)
        if version == "V2":
            self.cheese = ConvNormAct(md_channels, md_channels)
            self.upper = nn.Conv2d(md_channels, channels, 1, bias=False)

    def forward(self, x: Tensor, bases: Tensor | None = None) -> Tensor:
        checks.nchw("hamburger", x, self.channels, name="x")
        if self.training:
            checks.several_values("hamburger", x)
        coefficients, bases = self._decompose(x, bases)
        with without_autocast(x):
            y = bases @ coefficients.mT  # (B, D, H W) if spatial
        y = (y if self.spatial else y.mT).unflatten(2, x.shape[2:]).to(x.dtype)
        return (x + self.upper(self.cheese(laid_out_like(y, x)))).relu_()

    def attention(self, x: Tensor, bases: Tensor | None = None) -> Tensor:
        """The inputs of forward -> the coefficients of each place (B, 1, H W, R), of each channel if not spatial."""
        return self._decompose(x, bases)[0][:, None]

    def _decompose(self, x: Tensor, bases: Tensor | None) -> tuple[Tensor, Tensor]:
        """Coefficients (B, n, R) of the n places, and bases (B, rows, R) with a row per channel; or n channels."""
        with without_autocast(x):
            z = wide(self.lower(x.to(self.lower.weight.dtype)))
            z = z.relu_() if self.ham_type == "NMF" else z
            z = z.flatten(2).mT if self.spatial else z.flatten(2)  # (B, n, rows)
            start = self._start(z, bases)
            steps = self.train_steps if self.training else self.eval_steps
            if self.ham_type == "NMF":
                return _nmf(z, start, steps)
            return (self._cd if self.ham_type == "CD" else self._vq)(z, start, steps)

    def _start(self, z: Tensor, bases: Tensor | None) -> Tensor:
        sizes = (z.shape[0], z.shape[2], self.num_bases)
        if bases is not None:
            bases = checks.shaped("hamburger", "bases", bases, sizes).detach().to(z.dtype)
            return bases.abs() if self.ham_type == "NMF" else bases
        draw: Callable[..., Tensor] = torch.rand if self.ham_type == "NMF" else torch.randn
        return F.normalize(draw(sizes, dtype=z.dtype, device=z.device), dim=1)

    def _cd(self, z: Tensor, bases: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Concept decomposition: spherical k-means with soft shares, then regularised least squares."""
        with torch.no_grad():
            unit = F.normalize(z, dim=2, eps=1e-6)
            for _ in range(steps):
                bases = F.normalize(z.mT @ _over_places(self.inv_t * (unit @ bases)), dim=1, eps=1e-6)
            gram = bases.mT @ bases + self.beta * torch.eye(self.num_bases, dtype=z.dtype, device=z.device)
            inverse = torch.linalg.inv(gram)
        return z @ bases @ inverse, bases

    def _vq(self, z: Tensor, bases: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Soft vector quantisation: k-means with soft shares by cosine."""
        with torch.no_grad():
            unit = F.normalize(z, dim=2, eps=1e-6)
            for _ in range(steps):
                bases = z.mT @ _over_places(self.inv_t * (unit @ F.normalize(bases, dim=1, eps=1e-6)))
            directions = F.normalize(bases, dim=1, eps=1e-6)
            length = z.norm(dim=2, keepdim=True)
        return (self.inv_t * (z / (1e-6 + length)) @ directions).softmax(dim=2), bases


def _nmf(z: Tensor, bases: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Non-negative matrix factorisation by multiplicative updates; z (B, n, rows) is not negative."""
    with torch.no_grad():
        coefficients = (z @ bases).softmax(dim=2)
        for _ in range(steps):
            coefficients = _updated(coefficients, z, bases)
            bases = _updated(bases, z.mT, coefficients)
    return _updated(coefficients, z, bases), bases


def _updated(factor: Tensor, matrix: Tensor, other: Tensor) -> Tensor:
    """One multiplicative update of a factor towards factor @ other^T = matrix."""
    return factor * (matrix @ other) / (factor @ (other.mT @ other) + 1e-6)


def _over_places(logits: Tensor) -> Tensor:
    """Softmax over the bases, then divided by the sum over the n places: (B, n, R) -> (B, n, R)."""
    shares = logits.softmax(dim=2)
    return shares / (1e-6 + shares.sum(dim=1, keepdim=True))
