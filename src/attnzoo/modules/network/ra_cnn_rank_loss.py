"""The rank loss of RA-CNN: every finer scale shall be surer of the true class than the one before."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.modules.network.ra_cnn_apn import RACNN
from attnzoo.registry import register


@register(
    "ra_cnn_rank_loss",
    title="RA-CNN inter-scale ranking loss",
    contract="loss",
    paper=RACNN,
    source="jeong-tae/RACNN-pytorch@463fa7f (a third-party port)",
    source_license="none found",
    summary="Asks every finer scale to give the true class a margin more than the coarser one did. It trains the "
    "attention proposals, which no classification loss reaches.",
    summary_zh="要求每个更细的尺度对真实类别的打分都比前一尺度高出一个间隔。分类损失够不到的注意力提议网络由它训练。",
    placement="On the logits of all scales of RA-CNN, in turn with their cross-entropy.",
    reported="Part of RA-CNN: CUB-200-2011 85.3% with three scales; the port reaches 71.7% at the first.",
    differences=(
        "The port ranks logits, though a comment of its calls them probabilities; on='probs' ranks probabilities, as "
        "in the paper.",
    ),
    inputs=("3 B C", "B <C"),
    not_applicable={
        "two-sizes": "logits and classes have neither height nor width",
        "ddp": "no parameters, so nothing to synchronise",
    },
)
class RankLoss(nn.Module):
    """The mean over the batch of sum_s max(0, z_s - z_(s+1) + margin), z_s what scale s gives the true class.

    Args:
        margin: at least 0; the authors' is 0.05.
        on: what is ranked: 'logits', as the published port does, or 'probs', their softmax, as in the paper.

    Shape: logits (S, B, K), the scales stacked from coarse to fine, and target (B), indices of classes -> one number,
        0 for a single scale.
    Cost: no parameters.
    Raises: AttnzooError for a negative margin, an unknown `on`, inputs of other shapes, or classes that are not from
        0 to K - 1 (unchecked on a GPU, where reading them would wait for it).
    """

    def __init__(self, margin: float = 0.05, on: str = "logits") -> None:
        super().__init__()
        checks.no_less("ra_cnn_rank_loss", 0, margin=margin)
        checks.choice("ra_cnn_rank_loss", ("logits", "probs"), on=on)
        self.margin = margin
        self.on = on

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        checks.shaped("ra_cnn_rank_loss", "logits", logits, (None, None, None))
        checks.at_least("ra_cnn_rank_loss", 1, **{"number of scales in logits": logits.shape[0]})
        checks.class_indices("ra_cnn_rank_loss", target, *logits.shape[1:])
        ranked = logits if self.on == "logits" else logits.softmax(dim=2)
        sure = ranked.gather(2, target.long().expand(logits.shape[0], -1)[:, :, None])[:, :, 0]  # (S, B)
        return (sure[:-1] - sure[1:] + self.margin).relu().sum(dim=0).mean()
