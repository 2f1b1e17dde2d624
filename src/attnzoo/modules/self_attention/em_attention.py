"""EM attention: a few bases are fitted to the map by expectation and maximisation, and the map is rebuilt from them."""

import math

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "em_attention",
    title="Expectation-Maximization Attention Unit",
    contract="feature",
    paper=Paper(
        title="Expectation-Maximization Attention Networks for Semantic Segmentation",
        authors="Li, Zhong, Wu, Yang, Lin, Liu",
        venue="ICCV",
        year=2019,
        url="https://arxiv.org/abs/1907.13426",
    ),
    source="XiaLiPKU/EMANet@f09ffac",
    source_license="none found",
    summary="Replaces the many keys of self-attention by a few bases, which some steps of expectation and "
    "maximisation fit to the image at hand. The map rebuilt from them is of low rank and so free of noise.",
    summary_zh="用少量基向量取代自注意力中的众多键，这些基由几步期望最大化迭代在当前图像上拟合而得。"
    "由它们重建的特征图是低秩的，因而去除了噪声。",
    placement="After a 3x3 convolution from 2048 to 512 channels on dilated ResNet features, before another one and "
    "the classifier.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' forward always returns the bases as well; here return_bases asks for them.",
        "No gradient passes through the rebuilt map, as in the authors' code, who report slightly lower accuracy with "
        "it; conv1 is therefore frozen from the start, so that DistributedDataParallel does not wait for it.",
        "The authors update the running bases in their training script, averaged over GPUs; here forward does it in "
        "training mode, each replica with its own batch.",
        "A segmentation toolbox has a 3x3 convolution before, no BatchNorm after the last convolution, no 1e-6 in the "
        "norms, and normalises the running bases once more.",
    ),
    not_applicable={
        "gradcheck": "the authors cut the gradient through the rebuilt map on purpose",
        "parameters": "the authors cut the gradient, so that none reaches the first convolution",
    },
)
class EMAttention(nn.Module):
    """relu(norm(conv2(relu(mu z^T))) + x): mu bases of conv1(x), z the share of each basis at each place.

    Each stage sets z = softmax over the bases of conv1(x)^T mu, then mu to the means weighted by z, of length 1.

    Args:
        channels: C, the channels of the input.
        num_bases: K.
        num_stages: steps of expectation and maximisation.
        momentum: the share of the running bases, where the stages start, that a training step keeps.
        return_bases: also return this batch's bases (B, C, K).

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C^2 + 3 C parameters and C K bases; H W (2 C^2 + (2 num_stages + 1) C K) multiply-adds, memory H W K.
    Raises: AttnzooError for num_bases or num_stages below 1, a momentum that is no share, a single training value
        per channel, or an input that is not (B, C, H, W).
    """

    reference_keys = {"mu": "bases", r"conv2\.0": "conv2.conv", r"conv2\.1": "conv2.norm"}

    def __init__(
        self,
        channels: int,
        num_bases: int = 64,
        num_stages: int = 3,
        momentum: float = 0.9,
        return_bases: bool = False,
    ) -> None:
        super().__init__()
        checks.positive("em_attention", channels=channels, num_bases=num_bases, num_stages=num_stages)
        checks.share("em_attention", momentum=momentum)
        self.channels = channels
        self.num_stages = num_stages
        self.momentum = momentum
        self.return_bases = return_bases
        self.conv1 = nn.Conv2d(channels, channels, 1).requires_grad_(False)
        self.conv2 = ConvNormAct(
            channels, channels, norm_layer=lambda width: nn.BatchNorm2d(width, momentum=3e-4), act_layer=None
        )
        for conv in (self.conv1, self.conv2.conv):
            nn.init.normal_(conv.weight, std=math.sqrt(2 / channels))
        bases = torch.randn(1, channels, num_bases) * math.sqrt(2 / num_bases)
        self.bases: Tensor
        self.register_buffer("bases", _unit(bases))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        checks.nchw("em_attention", x, self.channels)
        if self.training:
            checks.several_values("em_attention", x)
        bases, shares = self._fit(x)
        with without_autocast(x):
            rebuilt = (bases @ shares.mT).relu_().unflatten(2, x.shape[2:]).to(x.dtype)  # (B, C, H, W)
        y = (x + self.conv2(rebuilt)).relu_()
        if self.training:
            self.bases.lerp_(bases.mean(dim=0, keepdim=True).to(self.bases.dtype), 1 - self.momentum)
        return (y, bases.to(x.dtype)) if self.return_bases else y

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the share of each basis at each place (B, 1, H W, K)."""
        return self._fit(x)[1][:, None]

    def _fit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> bases (B, C, K), and the shares (B, H W, K) that they came from, without gradient."""
        features = wide(precisely(self.conv1, x.detach()).detach().flatten(2))  # (B, C, H W)
        with without_autocast(x):
            bases = wide(self.bases).expand(x.shape[0], -1, -1)
            for _ in range(self.num_stages):
                shares = (features.mT @ bases).softmax(dim=2)
                bases = _unit(features @ shares / (1e-6 + shares.sum(dim=1, keepdim=True)))
        return bases, shares


def _unit(bases: Tensor) -> Tensor:
    """Every basis of (B, C, K) at length 1."""
    return bases / (1e-6 + bases.norm(dim=1, keepdim=True))
