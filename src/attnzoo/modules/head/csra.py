"""CSRA, Class-Specific Residual Attention: each class looks where its own scores are high, beside the plain mean."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import peak, wide, without_autocast
from attnzoo.registry import Paper, register

_MAX = 99  # the authors' sign for maximum pooling
_TEMPERATURES: dict[int, tuple[float, ...]] = {
    1: (1,),
    2: (1, _MAX),
    4: (1, 2, 4, _MAX),
    6: (1, 2, 3, 4, 5, _MAX),
    8: (1, 2, 3, 4, 5, 6, 7, _MAX),
}


@register(
    "csra",
    title="Class-Specific Residual Attention head",
    contract="head",
    paper=Paper(
        title="Residual Attention: A Simple but Effective Method for Multi-Label Recognition",
        authors="Zhu, Wu",
        venue="ICCV",
        year=2021,
        url="https://arxiv.org/abs/2108.02456",
    ),
    source="Kevinz-code/CSRA@c8480d1; xmu-xiaoma666/External-Attention-pytorch@d75848e (no normalisation)",
    source_license="AGPL-3.0; MIT",
    summary="Classifies every place and adds to the mean of each class's scores their mean weighted by a softmax of "
    "the same scores over the places. Several heads with a temperature each are summed.",
    summary_zh="先对每个位置分类，再在各类得分的均值之外，加上以同一得分在空间上的 softmax 加权的均值。"
    "多个各有温度的头相加得到结果。",
    placement="In place of the global average pooling and the classifier of a ResNet, VGG or ViT, for images with "
    "several labels.",
    reported="mAP of the authors' repository: VOC2007 94.7 (ResNet-101, 1 head), COCO 83.3 (4 heads), "
    "COCO 86.5 (ViT-L, 8 heads).",
    differences=(
        "The authors write maximum pooling as the temperature 99; both 99 and infinity mean it here.",
        "A popular collection has an older reading: temperatures=[99], lam=0.2 and normalize=False.",
        "The trick of four lines without training is temperatures=[inf] and normalize=False; a bias of the classifier "
        "would count 1 + lam times in it.",
        "For a ViT the authors give the patch tokens, without the class token, reshaped to a map.",
    ),
)
class CSRA(nn.Module):
    """Sum over the heads of mean_n s_n + lam sum_n softmax(T s)_n s_n, s_n = W x_n / |W| the scores at place n.

    Args:
        channels: C, the channels of the input.
        num_classes: K.
        num_heads: 1, 2, 4, 6 or 8 heads with the authors' temperatures, each with its own W.
        lam: the weight of the attention; the authors take 0.1 to 0.4.
        temperatures: T of every head, instead of num_heads; 99 or infinity takes the maximum.
        normalize: divide by the norms of the class weights.

    Shape: (B, C, H, W) -> (B, K), for any H and W from 1 up.
    Cost: num_heads K C weights, num_heads K C H W multiply-adds.
    Raises: AttnzooError for numbers below 1, a number of heads without preset, temperatures not above 0, or an
        input that is not (B, C, H, W).
    """

    reference_keys = {"fc": "classify"}

    def __init__(
        self,
        channels: int,
        num_classes: int,
        num_heads: int = 1,
        lam: float = 0.1,
        temperatures: list[float] | tuple[float, ...] | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        checks.positive("csra", channels=channels, num_classes=num_classes)
        if temperatures is None:
            checks.choice("csra", _TEMPERATURES, num_heads=num_heads)
            temperatures = _TEMPERATURES[num_heads]
        checks.sequence("csra", temperatures=temperatures)
        for name, value in checks.items(temperatures=temperatures).items():
            if value != math.inf:
                checks.above_zero("csra", **{name: value})
        self.channels = channels
        self.temperatures = tuple(math.inf if value == _MAX else value for value in temperatures)
        self.lam = lam
        self.normalize = normalize
        self.classify = nn.Conv2d(channels, len(temperatures) * num_classes, 1, bias=False)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Stack the classifiers of the heads."""
        keys = [f"multi_head.{i}.head.weight" for i in range(len(self.temperatures))]
        if not all(key in state for key in keys):
            return state
        rest = {key: value for key, value in state.items() if key not in keys}
        return rest | {"classify.weight": torch.cat([state[key] for key in keys])}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("csra", x, self.channels)
        scores = self._scores(x)
        logits = scores.mean(dim=3).sum(dim=1)  # (B, K)
        for score, temperature in zip(scores.unbind(1), self.temperatures, strict=True):
            if temperature == math.inf:
                pooled = peak(score, 2)
            else:
                pooled = (score * (temperature * score).softmax(dim=2)).sum(dim=2)
            logits = logits + self.lam * pooled
        return logits.to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights of the places for every head and class (B, h, K, H W)."""
        scores = self._scores(x)
        heads = zip(scores.unbind(1), self.temperatures, strict=True)
        return torch.stack([_weights(score, temperature) for score, temperature in heads], dim=1)

    def _scores(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the scores (B, h, K, H W)."""
        weight = wide(self.classify.weight)
        if self.normalize:
            weight = weight / weight.norm(dim=1, keepdim=True)
        with without_autocast(x):
            scores = F.conv2d(x.to(weight.dtype), weight)
        return scores.flatten(2).unflatten(1, (len(self.temperatures), -1))


def _weights(score: Tensor, temperature: float) -> Tensor:
    """(B, K, N) -> (B, K, N), which sum to 1."""
    if temperature == math.inf:
        return F.one_hot(score.argmax(dim=2), score.shape[2]).to(score.dtype)
    return (temperature * score).softmax(dim=2)
