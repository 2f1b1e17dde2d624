"""Do the blocks that whole networks share compute what others, or the papers' formulas, compute?"""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformerBlock

from attnzoo import load_reference
from attnzoo.blocks import SwinBlock
from attnzoo.modules.network.cfnet_stage import STYLES
from attnzoo.verify.subject import randomise


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("size", [(14, 21), (15, 16), (7, 7), (3, 5)])
def test_swin_equals_torchvisions(shift: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = SwinTransformerBlock(64, 2, [7, 7], [3 * shift] * 2, norm_layer=norm).double().eval()
    randomise(theirs)
    state = theirs.state_dict()
    state = {key.replace("mlp.0", "pwconv1").replace("mlp.3", "pwconv2"): value for key, value in state.items()}
    ours = SwinBlock(64, 2, shift=shift).double()
    load_reference(ours, state)
    x = torch.randn(2, 64, *size, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


@pytest.mark.parametrize("focal", [False, True])
def test_bottlenecks_equal_their_formula(focal: bool) -> None:
    torch.manual_seed(0)
    style = STYLES["bottleneck"]
    block = randomise(style.focal(6, 0, 0.0, 3) if focal else style.base(6, 0, 0.0)).double().eval()
    weights = block.state_dict()
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64)

    def unit(x: Tensor, at: str, **how: int) -> Tensor:
        y = F.conv2d(x, weights[f"{at}.conv.weight"], weights.get(f"{at}.conv.bias"), **how)
        statistics = (weights[f"{at}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, *statistics)

    y = unit(x, "near", padding=1).relu()
    if focal:
        y = y + x
        y = unit(y, "far", padding=9, dilation=3, groups=6).relu() + y
    y = (unit(unit(y, "widen").relu(), "narrow") + x).relu()
    torch.testing.assert_close(block(x), y)
