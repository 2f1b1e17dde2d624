"""ECA-Nets."""

from collections.abc import Sequence
from functools import partial

from attnzoo import checks
from attnzoo.modules.channel.eca import ECA
from attnzoo.networks.imagenet.resnets.build import DEPTHS, block_name, block_name_zh, resnet, usual_block
from attnzoo.networks.resnet import ResNet
from attnzoo.registry import paper_of, register_network


def _enter(
    depth: int, kernels: tuple[int, ...], parameters: int, macs: float, top1: str, differences: tuple[str, ...] = ()
) -> None:
    name, block = f"eca_resnet{depth}", block_name(depth)
    weights = sum(count * k for count, k in zip(DEPTHS[depth], kernels, strict=True))
    with_threes = parameters - weights + 3 * sum(DEPTHS[depth])
    rule = "3, 5, 5, 5" if depth < 50 else "5, 5, 5, 7"

    @register_network(
        name,
        title=f"ECA-Net-{depth}",
        paper=paper_of("eca"),
        source="BangguWu/ECANet@b332f6b",
        source_license="MIT",
        summary=f"ResNet-{depth} with ECA at the end of every {block}'s branch. All its gates together have {weights} "
        "weights.",
        summary_zh=f"在 ResNet-{depth} 每个{block_name_zh(depth)}的残差分支末端接 ECA。"
        f"全部通道门合计只有 {weights} 个权重。",
        reported=f"ImageNet top-1: {top1} (repository, kernels {', '.join(map(str, kernels))}).",
        differences=(
            "The authors' code takes the kernels from a list, 3 in all stages by default "
            f"({with_threes:,} parameters); their released weights have {', '.join(map(str, kernels))}, the default "
            "here.",
            f"The paper's rule gives {rule}.",
            "The repository counts parameters in units of 2^20, and multiply-adds in units of 2^30.",
            *differences,
        ),
        parameters=parameters,
        macs=macs,
        image_size=224,
    )
    def make(
        num_classes: int = 1000,
        in_channels: int = 3,
        features_only: bool = False,
        kernel_sizes: Sequence[int] = kernels,
    ) -> ResNet:
        """ResNet with `eca`, its kernels one for each stage; arguments and shapes as in `Network`."""
        checks.sequence(name, length=4, kernel_sizes=kernel_sizes)

        blocks = [usual_block(depth, partial(ECA, kernel_size=k), "eca") for k in kernel_sizes]
        return resnet(name, num_classes, in_channels, features_only, depth=depth, blocks=blocks)


_enter(
    18,
    (3, 5, 7, 7),
    11_689_556,
    1814.1,
    "70.92",
    ("The authors' function for 18 layers takes 3 in all stages whatever it is given.",),
)
_enter(34, (3, 3, 5, 7), 21_797_744, 3663.8, "74.21")
_enter(50, (3, 5, 5, 7), 25_557_112, 4089.3, "77.42")
_enter(101, (3, 3, 5, 7), 44_549_317, 7801.6, "78.65")
_enter(152, (3, 3, 5, 7), 60_193_042, 11513.9, "78.92")
