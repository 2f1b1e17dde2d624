"""Context encoding (EncNet): a learnt codebook sums up the map, and the summary gates its channels."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer, precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "enc",
    title="Context Encoding Module",
    contract="feature",
    paper=Paper(
        title="Context Encoding for Semantic Segmentation",
        authors="Zhang, Dana, Shi, Zhang, Wang, Tyagi, Agrawal",
        venue="CVPR",
        year=2018,
        url="https://arxiv.org/abs/1803.08904",
    ),
    source="zhanghang1989/PyTorch-Encoding@ac74841",
    source_license="MIT",
    summary="Sums up the map by its residuals to learnt codewords, softly assigned, and turns the summary into gates "
    "of the channels. The same summary can predict which classes occur in the image, an extra loss.",
    summary_zh="用软分配到可学习码字的残差概括整张特征图，再把概括结果变成各通道的门。"
    "同一概括还可预测图像中出现哪些类别，作为附加损失。",
    placement="EncNet's head: on 512 channels after a 3x3 reduction of a dilated ResNet's last stage, before the "
    "classifier; weight 0.2 of the extra loss.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' code takes the mean over the codewords, their paper the sum; we follow the code.",
        "Their compiled kernels, and plain ports of them, form all residuals (B, H W, K, C); here the square is "
        "expanded, so that only (B, H W, K) is stored.",
        "Some ports multiply only, without adding the input.",
        "A popular explanation has a minus sign before the scales, which start negative, and no BatchNorm and ReLU "
        "after the projection.",
    ),
)
class Enc(nn.Module):
    """relu(x + x g): g = sigmoid(W mean_k relu(norm(e_k)) + b), e_k the summed residuals to codeword k.

    e_k = sum_i a_ik (f_i - c_k), a_i = softmax over k of s_k |f_i - c_k|^2, f = relu(norm(conv(x))).

    Args:
        channels: C, the channels of the input.
        num_codes: K, the codewords.
        num_classes: also return logits (B, num_classes) of the classes that occur; None returns the map alone.
        norm_layer: makes both normalisations, of C and of K channels.

    Shape: (B, C, H, W) -> (B, C, H, W), and (B, num_classes) if asked for, for any H and W from 1 up.
    Cost: 2 C^2 + K C + 3 C + 3 K parameters; H W (C^2 + 2 K C) multiply-adds, memory H W (C + K).
    Raises: AttnzooError for num_codes or num_classes below 1, a single training value per channel, or an input
        that is not (B, C, H, W).
    """

    reference_keys = {
        r"encoding\.0": "project.conv",
        r"encoding\.1": "project.norm",
        r"encoding\.3\.codewords": "codewords",
        r"encoding\.3\.scale": "scales",
        r"encoding\.4": "norm",
        r"fc\.0": "gating",
        "selayer": "classify",
    }

    def __init__(
        self,
        channels: int,
        num_codes: int = 32,
        num_classes: int | None = None,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("enc", channels=channels, num_codes=num_codes)
        if num_classes is not None:
            checks.positive("enc", num_classes=num_classes)
        self.channels = channels
        self.project = ConvNormAct(channels, channels, norm_layer=norm_layer)
        bound = (num_codes * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(num_codes, channels).uniform_(-bound, bound))
        self.scales = nn.Parameter(torch.empty(num_codes).uniform_(-1, 0))
        self.norm = norm_layer(num_codes)
        self.gating = nn.Linear(channels, channels)
        self.classify = None if num_classes is None else nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        checks.nchw("enc", x, self.channels)
        if self.training:
            checks.several_values("enc", x)
        code = self._encode(x)
        y = (x * (1 + self.gate(code)).to(x.dtype)).relu_()
        return y if self.classify is None else (y, precisely(self.classify, code).to(x.dtype))

    def gate(self, code: Tensor) -> Tensor:
        """The summary (B, C) -> (B, C, 1, 1)."""
        return precisely(self.gating, code).sigmoid()[:, :, None, None]

    def _encode(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C), the mean of the codewords' normalised residuals."""
        f = wide(precisely(self.project, x)).flatten(2)  # (B, C, H W)
        codewords, scales = wide(self.codewords), wide(self.scales)
        with without_autocast(x):
            squares = (codewords**2).sum(dim=1)[:, None] - 2 * (codewords @ f) + (f**2).sum(dim=1, keepdim=True)
            shares = (scales[:, None] * squares).softmax(dim=1)  # (B, K, H W)
            residuals = shares @ f.mT - shares.sum(dim=2, keepdim=True) * codewords  # (B, K, C)
        return precisely(self.norm, residuals[..., None]).relu().mean(dim=(1, 3))
