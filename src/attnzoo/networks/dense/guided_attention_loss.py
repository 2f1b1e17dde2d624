"""What GANet is trained with: boxes, turned into masks, parts, scores, distances and counts."""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.networks.dense.boxes import covered, grid, owners, quartered, shrunk
from attnzoo.networks.dense.guided_attention_net import STRIDES, Found

CORE: Final = 0.3  # how far the sides of a box move inwards to leave the places that score, as in EAST


class GuidedAttentionLoss(nn.Module):
    """score + geometry g + background b + foreground f + count c, each term with its weight.

    score: cross-entropy, the mean over the places in the cores of boxes and over all others weighing the same. g: the
    mean over the former of -log((I + 1) / (U + 1)), I and U intersection and union of found and true box. b: cross-
    entropy of the masks of all steps with the filled boxes. f: cross-entropy of the parts with the boxes and their
    corners. c: the smooth absolute error of the counts.

    Args:
        geometry, background, foreground, count: the weights.

    Shape: what the network gives for B images; for each image boxes (N, 4), N from 0 up, as x1, y1, x2, y2 in pixels,
        and labels (N), or None where there is one class -> one number.
    Raises: AttnzooError for negative weights, or other than B lists of boxes, boxes that are not (N, 4), or labels that
        are not from 0 to K - 1.
    """

    def __init__(
        self, geometry: float = 1.0, background: float = 1.0, foreground: float = 1.0, count: float = 0.1
    ) -> None:
        super().__init__()
        self.weights = {"geometry": geometry, "background": background, "foreground": foreground, "count": count}
        checks.no_less("guided_attention_loss", 0, **self.weights)

    def forward(self, found: Found, boxes: Sequence[Tensor], labels: Sequence[Tensor] | None = None) -> Tensor:
        batch, classes = found.counts.shape
        checks.sequence("guided_attention_loss", length=batch, least=0, boxes=boxes)
        for name, part in checks.items(boxes=boxes).items():
            checks.shaped("guided_attention_loss", name, part, (None, 4))
        if labels is None:
            labels = [torch.zeros(len(part), dtype=torch.long, device=part.device) for part in boxes]
        checks.sequence("guided_attention_loss", length=batch, least=0, labels=labels)
        for part, kinds in zip(boxes, labels, strict=True):
            checks.class_indices("guided_attention_loss", kinds, len(part), classes)
        cores, distances, parts = (
            torch.stack(maps) for maps in zip(*map(_targets, boxes, labels, found.scores), strict=True)
        )
        counts = torch.stack([F.one_hot(kinds.long(), classes).sum(dim=0) for kinds in labels])
        masks = [_filled(mask, boxes, stride) for mask, stride in zip(found.masks, STRIDES[1:], strict=True)]
        terms = {
            "geometry": _apart(found.distances, distances, cores.amax(dim=1)),
            "background": torch.stack(masks).mean(),
            "foreground": F.binary_cross_entropy_with_logits(found.parts, parts),
            "count": F.smooth_l1_loss(found.counts, counts.to(found.counts.dtype)),
        }
        return _balanced(found.scores, cores) + sum(self.weights[name] * term for name, term in terms.items())


def _targets(boxes: Tensor, labels: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cores (K, h, w), distances (4, h, w) and parts (5, h, w) of the boxes of one image, for its scores (K, h, w)."""
    classes, height, width = scores.shape
    stride = STRIDES[-1]
    owner = owners(boxes, covered(shrunk(boxes, CORE), height, width, stride))
    owned = owner >= 0
    x, y = grid(height, width, stride, boxes)
    own = torch.cat([boxes, boxes.new_zeros(1, 4)])[owner].permute(2, 0, 1)  # the zeros stand for no owner
    distances = torch.stack([x - own[0], y[:, None] - own[1], own[2] - x, own[3] - y[:, None]]).clamp_min(0)
    kind = torch.cat([labels.long(), labels.new_zeros(1, dtype=torch.long)])[owner]
    cores = F.one_hot(kind, classes).permute(2, 0, 1) * owned
    parts = torch.stack([covered(part, height, width, stride).any(dim=0) for part in quartered(boxes).unbind(dim=1)])
    return cores.to(scores.dtype), distances.to(scores.dtype), parts.to(scores.dtype)


def _balanced(logits: Tensor, target: Tensor) -> Tensor:
    """Half the sum of the mean cross-entropies of the places of value 1 and of the others."""
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    ones, zeros = losses * target, losses * (1 - target)
    return (ones.sum() / target.sum().clamp_min(1) + zeros.sum() / (1 - target).sum().clamp_min(1)) / 2


def _apart(found: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """The mean of -log((I + 1) / (U + 1)) over some places: distances (B, 4, h, w) twice, (B, h, w)."""
    common = torch.minimum(found, true)
    first, second, both = ((d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3]) for d in (found, true, common))
    losses = ((first + second - both + 1) / (both + 1)).log()
    return (losses * where).sum() / where.sum().clamp_min(1)


def _filled(mask: Tensor, boxes: Sequence[Tensor], stride: int) -> Tensor:
    """Cross-entropy of a mask's logits (B, 1, H, W) with the filled boxes."""
    height, width = mask.shape[2:]
    target = torch.stack([covered(part, height, width, stride).any(dim=0) for part in boxes])
    return F.binary_cross_entropy_with_logits(mask, target[:, None].to(mask.dtype))
