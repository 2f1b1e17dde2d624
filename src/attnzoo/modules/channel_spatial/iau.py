"""IAU, Interaction-Aggregation-Update: channels exchange, then body parts, whose mean is given to all places."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import spatial_mean, without_autocast
from attnzoo.modules.channel_spatial.ia import ChannelMixing
from attnzoo.registry import Paper, register


@register(
    "iau",
    title="Interaction-Aggregation-Update block (IAUNet)",
    contract="feature",
    paper=Paper(
        title="IAUnet: Global Context-Aware Feature Learning for Person Re-Identification",
        authors="Hou, Ma, Chang, Gu, Shan, Chen",
        venue="TNNLS",
        year=2020,
        url="https://arxiv.org/abs/2009.01035",
    ),
    source="blue-blue272/ImgReID-IAnet@e104e28",
    source_license="none found",
    summary="Lets the channels attend to each other by their products, then pools the map under a few learnt masks and "
    "updates these parts as the nodes of a small graph. Their mean, with the global vector, is added to every place.",
    summary_zh="先让通道按内积互相注意，再用若干可学习的掩码汇聚出部件向量，把它们当作小图的节点相互更新。"
    "部件均值与全局向量一起加回每个位置。",
    placement="After ResNet-50's stages 2 and 3 (512 and 1024 channels).",
    reported="None for the block alone that we have checked.",
    differences=(
        "In the authors' network the masks learn from labelled human parts (head, upper and lower body, shoes); "
        "without that loss they are free.",
        "The authors' forward always gives the masks too; here it does with return_attention=True.",
        "The video form of the same repository, with a step in time, is not covered; ia is the earlier block.",
    ),
    inert=("edges.0.bias", "edges.1.bias"),
)
class IAU(nn.Module):
    """z + update(parts of z, mean of z), z = x + norm(project(softmax(x x^T) x)).

    Args:
        channels: C, the channels of the input, even.
        num_parts: P, the number of masks, at least 2.
        return_attention: give the masks (B, P, H, W) as a second output.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 3 C^2 weights; 2 C^2 H W multiply-adds for the channels, C^2 H W for their projection.
    Raises: AttnzooError for an odd number of channels, fewer than 2 parts, a training batch of one, or an input
        that is not (B, C, H, W).
    """

    reference_keys = {
        r"W1\.0": "mixed.0",
        r"W1\.1": "mixed.1",
        r"W2\.0": "spread.0",
        r"W2\.1": "spread.1",
        r"sa\.conv\.conv": "masks.0",
        r"sa\.conv\.bn": "masks.1",
        "g": "reduce",
        r"SIAU\.module_w\.relation\.0": "edges.0",
        r"SIAU\.module_w\.relation\.1": "edges.1",
        r"SIAU\.module_l\.fsm\.0": "nodes.0",
        r"SIAU\.module_l\.fsm\.1": "nodes.1",
    }

    def __init__(self, channels: int, num_parts: int = 4, return_attention: bool = False) -> None:
        super().__init__()
        checks.multiple("iau", 2, channels=channels)
        checks.at_least("iau", 2, num_parts=num_parts)
        half = channels // 2
        self.channels, self.return_attention = channels, return_attention
        self.mixing = ChannelMixing()
        self.mixed = _projection(channels, channels)
        self.masks = _projection(channels, num_parts)
        self.reduce = nn.Conv2d(channels, half, 1)
        self.edges = _projection(channels, 1)
        self.nodes = _projection(channels, half)
        self.spread = _projection(channels, channels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.out_channels))
        nn.init.zeros_(self.mixed[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.spread[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        checks.nchw("iau", x, self.channels)
        if self.training:
            checks.batch_statistics("iau", x)
        with without_autocast(x):
            z = x.to(self.reduce.weight.dtype)
            z = z + self.mixed(self.mixing(z).to(z.dtype))
            masks = self.gate(z)
            parts = (masks.flatten(2) @ z.flatten(2).mT).mT[..., None]  # (B, C, P, 1)
            vectors = self.reduce(torch.cat([parts, spatial_mean(z, keepdim=True).to(z.dtype)], dim=2))
            parts, whole = vectors.split([masks.shape[1], 1], dim=2)  # (B, C / 2, P, 1), (B, C / 2, 1, 1)
            parts = self._update(parts, whole)
            y = z + self.spread(torch.cat([parts.mean(dim=2, keepdim=True), whole], dim=1))
        y, masks = y.to(x.dtype), masks.to(x.dtype)
        return (y, masks) if self.return_attention else y

    def gate(self, z: Tensor) -> Tensor:
        """(B, C, H, W) -> the masks of the parts, (B, P, H, W)."""
        return self.masks(z).sigmoid()

    def _update(self, parts: Tensor, whole: Tensor) -> Tensor:
        """Every part (B, C / 2, P, 1) takes in the others, by edges that the whole (B, C / 2, 1, 1) has a say in."""
        apart = (parts - parts.transpose(2, 3)).abs()  # (B, C / 2, P, P)
        edges = self.edges(torch.cat([apart, whole.expand_as(apart)], dim=1))[:, 0]  # (B, P, P)
        itself = torch.eye(edges.shape[1], dtype=torch.bool, device=edges.device)
        weights = edges.masked_fill(itself, float("-inf")).softmax(dim=2)
        others = (parts[..., 0] @ weights.transpose(1, 2))[..., None]  # (B, C / 2, P, 1)
        return F.relu(self.nodes(torch.cat([parts, others], dim=1)))


def _projection(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))
