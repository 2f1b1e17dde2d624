"""OCR's gather: one vector per class, the mean of the features weighted by where the class is."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import laid_out_like, wide, without_autocast
from attnzoo.registry import Paper, register

OCR_PAPER = Paper(
    title="Object-Contextual Representations for Semantic Segmentation",
    authors="Yuan, Chen, Wang",
    venue="ECCV",
    year=2020,
    url="https://arxiv.org/abs/1909.11065",
)


@register(
    "ocr_gather",
    title="Spatial gather of OCR (object region representations)",
    contract="fusion",
    paper=OCR_PAPER,
    source="HRNet/HRNet-Semantic-Segmentation@0bbb288",
    source_license="MIT",
    summary="Averages the features of all places into one vector per class, weighted by a softmax of the class's "
    "coarse scores. The softmax runs over the places, not over the classes.",
    summary_zh="按每个类别的粗略得分在所有位置上做 softmax，把各位置的特征加权平均成每类一个向量。"
    "softmax 沿位置方向，而不是沿类别方向。",
    placement="Between the auxiliary head, which gives the scores, and ocr_object_attention; see ocr.",
    reported="Part of OCR: Cityscapes val with HRNetV2-W48 from 80.9 to 81.6 mIoU, single scale.",
    differences=(
        "The authors' class also takes the number of classes, which it stores and never uses.",
        "It takes raw logits: the softmax is its own.",
    ),
    inputs=("B C H W", "B K H W"),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class OCRGather(nn.Module):
    """sum_n softmax(scale * probs)_kn feats_n, the softmax over the places n, for every class k.

    Args:
        scale: what the scores are multiplied by.

    Shape: features (B, C, H, W) and scores (B, K, H, W) -> (B, C, K, 1), for any H and W from 1 up.
    Cost: no parameters; K C H W multiply-adds.
    Raises: AttnzooError for a scale not above 0, or scores of another batch or size than the features.
    """

    def __init__(self, scale: float = 1) -> None:
        super().__init__()
        checks.above_zero("ocr_gather", scale=scale)
        self.scale = float(scale)

    def forward(self, feats: Tensor, probs: Tensor) -> Tensor:
        checks.nchw("ocr_gather", feats, name="feats")
        checks.shaped("ocr_gather", "probs", probs, (feats.shape[0], None, *feats.shape[2:]))
        with without_autocast(feats):
            means = wide(feats).flatten(2) @ self._weights(probs).mT.to(wide(feats).dtype)  # (B, C, K)
        return laid_out_like(means[..., None].to(feats.dtype), feats)

    def attention(self, _: Tensor, probs: Tensor) -> Tensor:
        """The inputs of forward -> the weights of all places for every class (B, 1, K, H W)."""
        return self._weights(probs)[:, None]

    def _weights(self, probs: Tensor) -> Tensor:
        return (self.scale * wide(probs).flatten(2)).softmax(dim=2)
