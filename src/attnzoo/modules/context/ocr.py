"""OCR, Object-Contextual Representations: the classes' vectors, given back to every place beside its own feature."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.context.ocr_gather import OCR_PAPER, OCRGather
from attnzoo.modules.context.ocr_object_attention import OCRObjectAttention
from attnzoo.registry import register


@register(
    "ocr",
    title="Object-Contextual Representations",
    contract="fusion",
    paper=OCR_PAPER,
    source="HRNet/HRNet-Semantic-Segmentation@0bbb288",
    source_license="MIT",
    summary="Describes every class by one vector, from a coarse segmentation, lets every place attend to these "
    "vectors, and joins the answer with the place's own feature. A place so sees the object that it belongs to.",
    summary_zh="由粗分割结果为每个类别求得一个向量，让每个位置关注这些向量，再与该位置自身的特征拼接融合。"
    "每个位置因此能看到自己所属的物体。",
    placement="Segmentation heads: a 3x3 convolution block from the backbone to 512 channels gives the features, an "
    "auxiliary head the scores, and a 1x1 convolution afterwards the final scores.",
    reported="Cityscapes val, single scale, HRNetV2-W48: from 80.9 to 81.6 mIoU.",
    differences=(
        "The authors' gather and distribution take the number of classes and do not use it; here num_classes, if "
        "given, is checked against the scores.",
        "A popular collection copies the code, but imports a package that is not there.",
        "A Jittor collection has neither projections nor scaling, and its second softmax runs over the places too.",
    ),
    example={"key_channels": 32, "out_channels": 48},
    inputs=("B C H W", "B K H W"),
)
class OCR(nn.Module):
    """join([distribute(feats, gather(feats, probs)), feats]): see ocr_gather and ocr_object_attention.

    Args:
        channels: C, the channels of the features.
        key_channels: the width of queries, keys and values.
        out_channels: channels of the output.
        num_classes: K, what the scores must have; None takes any.
        scale: by which the features are shrunk before they attend.
        dropout: of whole channels, at the end.

    Shape: features (B, C, H, W) and scores (B, K, H, W) -> (B, out_channels, H, W), for any H and W from scale up.
    Cost: 4 C Kc + 2 Kc^2 + 2 C out_channels weights; linear in the map.
    Raises: AttnzooError for numbers below 1, dropout outside [0, 1), a map smaller than scale, a single training
        value per channel, or scores or features of another shape.
    """

    reference_keys = {
        r"ocr_distri_head\.object_context_block": "distribute",
        r"ocr_distri_head\.conv_bn_dropout\.0": "join.conv",
        r"ocr_distri_head\.conv_bn_dropout\.1\.0": "join.norm",
    }

    def __init__(
        self,
        channels: int = 512,
        key_channels: int = 256,
        out_channels: int = 512,
        num_classes: int | None = None,
        scale: int = 1,
        dropout: float = 0.05,
    ) -> None:
        super().__init__()
        checks.positive("ocr", channels=channels, key_channels=key_channels, out_channels=out_channels, scale=scale)
        if num_classes is not None:
            checks.positive("ocr", num_classes=num_classes)
        checks.probability("ocr", dropout=dropout)
        self.channels = channels
        self.num_classes = num_classes
        self.scale = scale
        self.gather = OCRGather()
        self.distribute = OCRObjectAttention(channels, key_channels, scale)
        self.join = ConvNormAct(2 * channels, out_channels)
        self.drop = nn.Dropout2d(dropout)

    def forward(self, feats: Tensor, probs: Tensor) -> Tensor:
        checks.nchw("ocr", feats, self.channels, name="feats")
        checks.shaped("ocr", "probs", probs, (feats.shape[0], self.num_classes, *feats.shape[2:]))
        checks.at_least_size("ocr", feats, self.scale)
        context = self.distribute(feats, self.gather(feats, probs))
        return self.drop(self.join(torch.cat([context, feats], dim=1)))
