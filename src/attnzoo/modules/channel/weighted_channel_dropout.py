"""Weighted Channel Dropout: in training, weak channels are dropped more often than strong ones."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import wide
from attnzoo.registry import Paper, register


@register(
    "weighted_channel_dropout",
    title="Weighted Channel Dropout",
    contract="feature",
    paper=Paper(
        title="Weighted Channel Dropout for Regularization of Deep Convolutional Neural Network",
        authors="Hou, Wang",
        venue="AAAI",
        year=2019,
        url="https://doi.org/10.1609/aaai.v33i01.33018425",
    ),
    source="paper",
    source_license="not applicable",
    summary="In training, draws the channels to keep at random with their mean activations as odds, thins them out a "
    "little more, and scales the survivors up. It learns nothing, and in evaluation does nothing.",
    summary_zh="训练时以各通道的平均激活为权重随机抽取要保留的通道，再随机稀疏一次，并放大留下的通道。"
    "没有可学习参数，推理时不起作用。",
    placement="Between high convolution layers, such as after the last pooling layers of VGG-16 or the last blocks of "
    "ResNet-101; meant for fine-tuning on small data sets.",
    reported="No headline figures recorded.",
    differences=(
        "No official code exists: the steps are certain, the scale less so; the survivors' scores, our reading, keep "
        "their sum, and rescale='selected' is that of a public port.",
        "A popular explanation prints the key as r to the minus score; the exponent is 1 / score.",
        "The defaults 0.8 and 0.9 are from memory, and the second draw is optional (q=1 leaves it out).",
        "Negative means, of maps that are not rectified, count as 0.",
    ),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class WeightedChannelDropout(nn.Module):
    """In training, x times alpha for the channels that survive and 0 for the others; in evaluation, x.

    Args:
        channels: C, the channels of the input; None takes any.
        keep_ratio: the share of channels drawn without replacement, with their means as weights.
        q: the probability of a drawn channel to survive.
        rescale: alpha is the sum of all means over that of the channels that survive ('survivors'), or that
            were drawn ('selected'). No gradient flows through it.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up. forward also takes the uniform numbers of
        both draws, (B, C) each, to make them repeatable; else they come from torch's generator.
    Cost: no parameters; one pass over the map for the means and one for the product, in training only.
    Raises: AttnzooError for keep_ratio or q outside (0, 1], a share that keeps no channel, an unknown rescale,
        numbers of another shape, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int | None = None,
        keep_ratio: float = 0.8,
        q: float = 0.9,
        rescale: str = "survivors",
    ) -> None:
        super().__init__()
        checks.above_zero("weighted_channel_dropout", keep_ratio=keep_ratio, q=q)
        checks.share("weighted_channel_dropout", keep_ratio=keep_ratio, q=q)
        checks.choice("weighted_channel_dropout", ("survivors", "selected"), rescale=rescale)
        if channels is not None:
            checks.positive("weighted_channel_dropout", channels=channels)
            checks.positive("weighted_channel_dropout", **{"keep_ratio * channels": int(keep_ratio * channels)})
        self.channels = channels
        self.keep_ratio = keep_ratio
        self.q = q
        self.rescale = rescale

    def forward(self, x: Tensor, select_noise: Tensor | None = None, drop_noise: Tensor | None = None) -> Tensor:
        checks.nchw("weighted_channel_dropout", x, self.channels)
        kept = int(self.keep_ratio * x.shape[1])
        checks.positive("weighted_channel_dropout", **{"keep_ratio * channels": kept})
        for name, noise in (("select_noise", select_noise), ("drop_noise", drop_noise)):
            if noise is not None:
                checks.shaped("weighted_channel_dropout", name, noise, x.shape[:2])
        gate = self.gate(x, select_noise, drop_noise)
        return x * gate if self.training else x

    def gate(self, x: Tensor, select_noise: Tensor | None = None, drop_noise: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1): 0 or alpha, and 1 in evaluation."""
        if not self.training:
            return x.new_ones(*x.shape[:2], 1, 1)
        scores = wide(x.detach()).mean(dim=(2, 3)).clamp(min=0)  # (B, C)
        select_noise = torch.rand_like(scores) if select_noise is None else select_noise
        drop_noise = torch.rand_like(scores) if drop_noise is None else drop_noise
        keys = select_noise.to(scores.dtype).log() / scores  # the order of noise ** (1 / score)
        keys = keys.masked_fill(scores == 0, float("-inf"))
        drawn = keys.topk(int(self.keep_ratio * x.shape[1]), dim=1).indices
        selected = torch.zeros_like(scores).scatter(1, drawn, 1.0)
        survivors = selected * (drop_noise < self.q)
        kept = survivors if self.rescale == "survivors" else selected
        total = (kept * scores).sum(dim=1, keepdim=True)
        alpha = (scores.sum(dim=1, keepdim=True) / total).masked_fill(total == 0, 0)
        return (alpha * survivors).to(x.dtype)[:, :, None, None]

    def extra_repr(self) -> str:
        return f"keep_ratio={self.keep_ratio}, q={self.q}, rescale={self.rescale!r}"
