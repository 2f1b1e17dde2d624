"""External attention: places attend to a small learnt memory that all images share."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, without_autocast
from attnzoo.modules.self_attention.external_attention_token import EXTERNAL_ATTENTION
from attnzoo.registry import register


@register(
    "external_attention",
    title="External Attention block",
    contract="feature",
    paper=EXTERNAL_ATTENTION,
    source="MenghaoGuo/EANet@59c03cb",
    source_license="none found",
    summary="Places attend to a small learnt memory, two linear layers shared by all images, instead of to each "
    "other; the map is normalised twice. The cost grows linearly with the map.",
    summary_zh="各位置不再相互关注，而是关注一个所有图像共享的小型可学习记忆（两个线性层），注意力图做双重归一化。"
    "代价随特征图大小线性增长。",
    placement="In the segmentation head, between a 3x3 convolution to 512 channels and one to 256.",
    reported="Pascal VOC test 84.0 mIoU (EANet with a dilated ResNet-101).",
    differences=(
        "The authors build the value memory as a view of the key memory, a tie that breaks with the first move to "
        "another device or dtype; here both are parameters of their own, equal at the start.",
        "The token form of a popular collection, external_attention_token, has no convolutions and no residual.",
    ),
    inert=("conv1.bias",),
)
class ExternalAttention(nn.Module):
    """relu(conv2(V a) + x): a the doubly normalised products of the memory K with the places of conv1(x).

    Args:
        channels: C, the channels of the input.
        num_memory: k, the slots of the memory.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C^2 + 2 C k + 3 C parameters; H W (2 C^2 + 2 C k) multiply-adds.
    Raises: AttnzooError for num_memory below 1, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"conv2\.0": "conv2.conv",
        r"conv2\.1": "conv2.norm",
        r"linear_0": "memory_key",
        r"linear_1": "memory_value",
    }

    def __init__(self, channels: int, num_memory: int = 64) -> None:
        super().__init__()
        checks.positive("external_attention", channels=channels, num_memory=num_memory)
        self.channels = channels
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.memory_key = nn.Linear(channels, num_memory, bias=False)
        self.memory_value = nn.Linear(num_memory, channels, bias=False)
        self.conv2 = ConvNormAct(channels, channels, act_layer=None)
        nn.init.normal_(self.memory_key.weight, std=(2 / channels) ** 0.5)
        with torch.no_grad():
            self.memory_value.weight.copy_(self.memory_key.weight.T)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("external_attention", x, self.channels)
        slots = self.attention(x)[:, 0].transpose(1, 2)  # (B, k, H W)
        y = (self.memory_value.weight @ slots).view_as(x)
        return (self.conv2(y).to(x.dtype) + x).relu()

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map from places to slots (B, 1, H W, k)."""
        places = precisely(self.conv1, x).flatten(2)
        with without_autocast(x):
            logits = self.memory_key.weight @ places  # (B, k, H W)
        over_places = logits.softmax(dim=2)
        doubly = over_places / (over_places.sum(dim=1, keepdim=True) + 1e-9)
        return doubly.transpose(1, 2)[:, None]
