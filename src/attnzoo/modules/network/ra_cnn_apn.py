"""The attention proposal network of RA-CNN: where to look closer."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP
from attnzoo.registry import Paper, register

RACNN = Paper(
    title="Look Closer to See Better: Recurrent Attention Convolutional Neural Network for Fine-grained Image "
    "Recognition",
    authors="Fu, Zheng, Mei",
    venue="CVPR",
    year=2017,
    url="https://openaccess.thecvf.com/content_cvpr_2017/html/Fu_Look_Closer_to_CVPR_2017_paper.html",
)


@register(
    "ra_cnn_apn",
    title="RA-CNN attention proposal network",
    contract="feature",
    plug_in=False,
    paper=RACNN,
    source="jeong-tae/RACNN-pytorch@463fa7f (a third-party port)",
    source_license="none found",
    summary="Predicts the centre and half the side of the square to look at next, as fractions of the image's side, "
    "from all the features of the last map. ra_cnn_crop cuts it out.",
    summary_zh="根据最后特征图的全部特征，预测下一步要看的正方形区域的中心与半边长（以图像边长的比例表示）。"
    "随后由 ra_cnn_crop 裁出该区域。",
    placement="On conv5_4 of VGG-19, max-pooled to 14 x 14 at the first scale, as it is at the second.",
    reported="Part of RA-CNN: CUB-200-2011 85.3% with three scales; the port reaches 71.7% at the first.",
    differences=(
        "The authors published Caffe code outside their repository; the numbers are those of the port.",
        "The port is trained first towards the strongest response of conv5 with a half side of 0.33, the paper a "
        "quarter of the image.",
    ),
    example={"spatial_size": (7, 9), "hidden_channels": 32},
    inputs=("B C 7 9",),
    not_applicable={"two-sizes": "the first layer reads every place, so H and W are fixed"},
)
class AttentionProposal(nn.Module):
    """sigmoid(W2 tanh(W1 x + b1) + b2), x flattened.

    Args:
        channels: C, the channels of the map.
        spatial_size: its height H and width W, which the first layer fixes.
        hidden_channels: of the first layer.

    Shape: (B, C, H, W) -> (B, 3), in (0, 1): the centre's row and column, and half the side.
    Cost: (C H W + 4) hidden_channels + 3 parameters: 102.8M with the defaults.
    Raises: AttnzooError for numbers below 1, or an input that is not (B, C, H, W) of that size.
    """

    reference_keys = {r"apn\.0": "predict.fc1", r"apn\.2": "predict.fc2"}

    def __init__(
        self, channels: int = 512, spatial_size: Sequence[int] = (14, 14), hidden_channels: int = 1024
    ) -> None:
        super().__init__()
        checks.positive("ra_cnn_apn", channels=channels, hidden_channels=hidden_channels)
        self.channels = channels
        self.spatial_size = checks.pair("ra_cnn_apn", "spatial_size", spatial_size)
        inputs = channels * self.spatial_size[0] * self.spatial_size[1]
        self.predict = BottleneckMLP(inputs, hidden_channels, bias=True, act_layer=nn.Tanh, out_channels=3)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ra_cnn_apn", x, self.channels)
        checks.fixed_size("ra_cnn_apn", x, spatial_size=self.spatial_size)
        return self.predict(x.flatten(1)).sigmoid().to(x.dtype)
