"""SOCA, Second-order Channel Attention: an SE gate fed with the square root of the channels' covariance."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, covariance, square_root, without_autocast
from attnzoo.registry import Paper, register


@register(
    "soca",
    title="Second-order Channel Attention",
    contract="feature",
    paper=Paper(
        title="Second-Order Attention Network for Single Image Super-Resolution",
        authors="Dai, Cai, Zhang, Xia, Zhang",
        venue="CVPR",
        year=2019,
        url="https://openaccess.thecvf.com/content_CVPR_2019/html/Dai_Second-Order_Attention_Network_for_Single_Image_Super-Resolution_CVPR_2019_paper.html",
    ),
    source="daitao/SAN@7c1e61f",
    source_license="none found",
    summary="Feeds an SE bottleneck with the column means of a matrix, the square root of the covariance between the "
    "channels, in place of the channel means. A few Newton-Schulz steps approximate the root.",
    summary_zh="用通道协方差矩阵平方根的列均值代替通道均值，送入 SE 的瓶颈层。"
    "矩阵平方根由数步 Newton-Schulz 迭代近似得到。",
    placement="End of each local residual group of SAN, before its addition: 64 channels, reduction 16.",
    reported="No headline figures recorded; it is a part of SAN.",
    differences=(
        "The authors form a centring matrix between all pixels and so run out of memory on large images; the centred "
        "product here is equal and linear in the pixels.",
        "Their test of the crop takes a wrong branch where one side is exactly 1000 and the other smaller; here each "
        "side is cropped by itself.",
        "A constant map gives NaN in the original, and here a root of 0.",
        "An exact root, as in a popular explanation, can differ by some per cent, as five steps need not converge.",
    ),
)
class SOCA(nn.Module):
    """Scale channel c by sigmoid(fc2(relu(fc1(z))))[c], z the column means of the covariance's square root.

    Args:
        channels: C, the channels of the input.
        reduction: r; the bottleneck is C // r wide.
        num_iterations: Newton-Schulz steps for the root.
        max_size: the statistics read at most this many rows and columns, from the middle.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r + C/r + C parameters; C^2 H W multiply-adds for the covariance and 3 C^3 for each step.
    Raises: AttnzooError for a bottleneck without channels, num_iterations or max_size below 1, or an input
        that is not (B, C, H, W).
    """

    reference_keys = {r"conv_du\.0": "mlp.fc1", r"conv_du\.2": "mlp.fc2"}

    def __init__(self, channels: int, reduction: int = 8, num_iterations: int = 5, max_size: int = 1000) -> None:
        super().__init__()
        hidden = checks.reduced("soca", channels, reduction)
        checks.positive("soca", num_iterations=num_iterations, max_size=max_size)
        self.channels = channels
        self.num_iterations = num_iterations
        self.max_size = max_size
        self.mlp = BottleneckMLP(channels, hidden, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("soca", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        top, left = (max(0, (size - self.max_size) // 2) for size in x.shape[2:])
        middle = x[:, :, top : top + self.max_size, left : left + self.max_size]
        with without_autocast(x):
            root = square_root(covariance(middle.flatten(2)), self.num_iterations)  # (B, C, C)
        means = root.mean(dim=1).to(self.mlp.fc1.weight.dtype)
        return self.mlp(means).sigmoid().to(x.dtype)[:, :, None, None]
