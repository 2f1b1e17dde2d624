"""Losses of whole systems."""

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import wide, without_autocast
from attnzoo.modules.network.ra_cnn_rank_loss import RankLoss
from attnzoo.networks.imagenet.ra_cnn import Looks

WINDOW: Final = 11  # places, of SSIM's Gaussian
SIGMA: Final = 1.5
C1, C2 = 0.01**2, 0.03**2  # keep SSIM's quotients finite, for values in [0, 1]


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of maps with values in [0, 1]: (B, C, H, W) twice -> (B), 1 where they are equal.

    The mean over channels and places of (2 m_x m_y + C1) (2 v_xy + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2)), means
    and variances under a Gaussian of 11 x 11 places, wherever it fits into the map.

    Raises:
        AttnzooError: the shapes differ, or are smaller than the Gaussian.
    """
    checks.nchw("ssim", x)
    checks.shaped("ssim", "y", y, x.shape)
    checks.at_least_size("ssim", x, WINDOW)
    with without_autocast(x):
        x, y = wide(x), wide(y)
        i = torch.arange(WINDOW, device=x.device, dtype=x.dtype) - WINDOW // 2
        g = (-0.5 * (i / SIGMA) ** 2).softmax(dim=0)
        maps = torch.stack([x, y, x * x, y * y, x * y]).flatten(0, 2)[:, None]
        means = F.conv2d(F.conv2d(maps, g.view(1, 1, -1, 1)), g.view(1, 1, 1, -1))
        m_x, m_y, xx, yy, xy = means.unflatten(0, (5, *x.shape[:2]))  # (B, C, 1, H - 10, W - 10) each
        v_x, v_y, v_xy = xx - m_x**2, yy - m_y**2, xy - m_x * m_y
        similarity = (2 * m_x * m_y + C1) * (2 * v_xy + C2) / ((m_x**2 + m_y**2 + C1) * (v_x + v_y + C2))
    return similarity.flatten(1).mean(dim=1)


class MattingLoss(nn.Module):
    """HAttMatting: mean squared error + structure (1 - SSIM) + adversarial cross-entropy(a discriminator's verdict).

    The authors train without the last term first.

    Args:
        structure: weight of the dissimilarity.
        adversarial: weight of the verdict.

    Shape: alpha and target (B, 1, H, W) in [0, 1], H and W from 11 up, and the logits of a `PatchDiscriminator` for
        alpha, of any shape, or None to leave that term out -> one number.
    Raises: AttnzooError for negative weights, or maps whose shapes differ or that are too small.
    """

    def __init__(self, structure: float = 0.1, adversarial: float = 0.05) -> None:
        super().__init__()
        checks.no_less("matting_loss", 0, structure=structure, adversarial=adversarial)
        self.structure = structure
        self.adversarial = adversarial

    def forward(self, alpha: Tensor, target: Tensor, verdict: Tensor | None = None) -> Tensor:
        checks.shaped("matting_loss", "target", target, alpha.shape)
        loss = self.structure * (1 - ssim(alpha, target).mean()) + F.mse_loss(alpha, target)
        if verdict is None:
            return loss
        return loss + self.adversarial * F.binary_cross_entropy_with_logits(verdict, torch.ones_like(verdict))


class LookLosses(NamedTuple):
    """What RA-CNN is trained with, each by its own parameters (see `RACNNLoss`)."""

    classification: Tensor
    ranking: Tensor
    start: Tensor


class RACNNLoss(nn.Module):
    """RA-CNN's three losses, for training in turn.

    `start` moves the proposals to where the features respond most, with squares of twice half_side: for
    `attention_parameters()` of a `RACNN` whose trunks are trained already. Then `classification`, the cross-entropy of
    every scale and of all together, for `classification_parameters()`, and `ranking`, for `attention_parameters()`,
    take turns until neither falls.

    Args:
        margin, on: of `RankLoss`.
        half_side: where `start` wants half the side, over the image's; the paper has a quarter, the port 0.33.

    Shape: what a `RACNN` gives, and target (B), indices of classes -> three numbers.
    Raises: AttnzooError for a negative margin, an unknown `on`, a half_side outside [0, 1], or another target.
    """

    def __init__(self, margin: float = 0.05, on: str = "logits", half_side: float = 0.25) -> None:
        super().__init__()
        checks.share("ra_cnn_loss", half_side=half_side)
        self.rank = RankLoss(margin, on)
        self.half_side = half_side

    def forward(self, looks: Looks, target: Tensor) -> LookLosses:
        ranking = self.rank(looks.scales, target)
        judged = torch.cat([looks.logits[None], looks.scales])
        classification = F.cross_entropy(judged.flatten(0, 1), target.repeat(len(judged)), reduction="sum")
        wanted = F.pad(looks.peaks, (0, 1), value=self.half_side)
        return LookLosses(classification / len(target), ranking, F.smooth_l1_loss(looks.boxes, wanted))


class OhemCrossEntropy(nn.Module):
    """Cross-entropy over the hard places alone: the mean of the losses above -log(threshold), or of the largest.

    Those are the places whose class has a probability below the threshold. Where they are fewer than a sixteenth of
    the places that count, that sixteenth with the largest losses is taken.

    Args:
        threshold: of the probability, above 0 and up to 1.
        ignore_index: the class of places that do not count.

    Shape: logits (B, K, H, W), target (B, H, W), indices of classes -> one number, 0 if no place counts.
    Raises: AttnzooError for a threshold outside its bounds, or inputs of other shapes or classes.
    """

    def __init__(self, threshold: float = 0.7, ignore_index: int = 255) -> None:
        super().__init__()
        checks.above_zero("ohem_cross_entropy", threshold=threshold)
        checks.share("ohem_cross_entropy", threshold=threshold)
        self.threshold = threshold
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        checks.nchw("ohem_cross_entropy", logits)
        checks.class_map("ohem_cross_entropy", target, logits, self.ignore_index)
        each = F.cross_entropy(wide(logits), target.long(), ignore_index=self.ignore_index, reduction="none").flatten()
        least = max(int((target != self.ignore_index).sum()) // 16, 1)
        hard = each[each > -math.log(self.threshold)]
        return (hard if len(hard) >= least else each.topk(least).values).mean()


class BiSeNetLoss(nn.Module):
    """The sum of `OhemCrossEntropy` over all that a `bisenet` gives: its logits, and those of the auxiliary heads.

    Args:
        threshold, ignore_index: of `OhemCrossEntropy`.

    Shape: one or several logits (B, K, H, W), and target (B, H, W), indices of classes -> one number.
    Raises: AttnzooError as `OhemCrossEntropy`.
    """

    def __init__(self, threshold: float = 0.7, ignore_index: int = 255) -> None:
        super().__init__()
        self.each = OhemCrossEntropy(threshold, ignore_index)

    def forward(self, outputs: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        logits = outputs if isinstance(outputs, tuple) else (outputs,)
        return torch.stack([self.each(one, target) for one in logits]).sum()
