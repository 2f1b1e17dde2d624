"""Losses of whole systems."""

from torch import Tensor, nn

from attnzoo import checks


class RankLoss(nn.Module):
    """RA-CNN: every finer scale shall be surer of the true class than the one before, by a margin.

    The mean over the batch of sum_s max(0, z_s - z_(s+1) + margin), z_s what scale s gives the true class.

    Args:
        margin: at least 0; the authors' is 0.05.
        on: what is ranked: 'logits', as the published port does, or 'probs', their softmax, as in the paper.

    Shape: logits (S, B, K), the scales stacked from coarse to fine, and target (B), indices of classes -> one number,
        0 for a single scale.
    Raises: AttnzooError for a negative margin, an unknown `on`, or inputs of other shapes.
    """

    def __init__(self, margin: float = 0.05, on: str = "logits") -> None:
        super().__init__()
        checks.no_less("ra_cnn_rank_loss", 0, margin=margin)
        checks.choice("ra_cnn_rank_loss", ("logits", "probs"), on=on)
        self.margin = margin
        self.on = on

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        checks.shaped("ra_cnn_rank_loss", "logits", logits, (None, None, None))
        checks.class_indices("ra_cnn_rank_loss", target, logits.shape[1])
        ranked = logits if self.on == "logits" else logits.softmax(dim=2)
        sure = ranked.gather(2, target.expand(logits.shape[0], -1)[:, :, None])[:, :, 0]  # (S, B)
        return (sure[:-1] - sure[1:] + self.margin).relu().sum(dim=0).mean()
