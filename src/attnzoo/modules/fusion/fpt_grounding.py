"""FPT grounding transformer: every place of a fine map gathers from all of a coarse one."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import attend, to_map_like, to_tokens, wide, without_autocast
from attnzoo.modules.fusion.fpt_self import FPT
from attnzoo.modules.self_attention.non_local import sum_rectified
from attnzoo.registry import register

CUBES = dict.fromkeys(
    ("large-finite-float16", "large-close-float16"), "the output grows with the cube of the input, past float16's range"
)
MODES = ("gaussian", "embedded", "dot", "concatenate")


@register(
    "fpt_grounding",
    title="FPT grounding transformer",
    contract="fusion",
    paper=FPT,
    source="ZHANGDONG-NJUST/FPT@c7c76f9",
    source_license="none found",
    summary="Grounds the concepts of a coarse map in the pixels of a fine one: every fine place takes a sum over all "
    "coarse places, weighed by a pairwise function. By default that is the plain product, which needs no map of all "
    "pairs.",
    summary_zh="把粗特征图中的概念落实到细特征图的像素上：每个细位置对所有粗位置求加权和，权重为成对函数。"
    "默认用普通内积，不需要存下所有位置对。",
    placement="From every level of fpt to all finer ones.",
    reported="Part of FPT; no headline figure recorded here.",
    differences=(
        "The paper describes a mixture of softmaxes over negative squared distances; the code has the products of a "
        "non-local block.",
        "A call in the published file cannot run; mended for the numbers here.",
        "'Low' is the fine map: low in the pyramid.",
    ),
    not_applicable=CUBES,
    inputs=("B C 2*H 2*W", "B C H W"),
)
class FPTGrounding(nn.Module):
    """norm(proj(y)), y_i = sum_j f(q_i, k_j) v_j: queries of the fine map, keys and values of the coarse one.

    f is q_i k_j / M ('dot'), softmax_j(q_i k_j) ('embedded', and 'gaussian', where queries and keys are the maps), or
    relu(w [q_i, k_j] + b) / M ('concatenate').

    Args:
        channels: C, the channels of both maps.
        inter_channels: C', of queries, keys and values; half the channels by default.
        mode: the pairwise function f.
        use_norm: a BatchNorm after the projection. It starts at zero, or the projection does, so that the fresh module
            gives zeros.

    Shape: x_low (B, C, H, W), fine, and x_high (B, C, h, w), coarse -> (B, C, H, W), for any sizes from 1 up.
    Cost: 4 C C' weights; with N = H W and M = h w, (N + M) C'^2 multiply-adds for the products of 'dot', 2 N M C' for a
        softmax, N C' log M for 'concatenate'. No mode stores the N x M map.
    Raises: AttnzooError for an unknown mode, inter_channels below 1, or inputs that are not (B, C, H, W) and
        (B, C, h, w).
    """

    reference_keys = {
        "theta": "query",
        "phi": "key",
        "g": "value",
        r"W_z\.0": "proj",
        r"W_z\.1": "norm",
        "W_z": "proj",
        r"W_f\.0": "pair",
    }

    def __init__(
        self, channels: int, inter_channels: int | None = None, mode: str = "dot", use_norm: bool = True
    ) -> None:
        super().__init__()
        checks.positive("fpt_grounding", channels=channels)
        width = max(channels // 2, 1) if inter_channels is None else inter_channels
        checks.positive("fpt_grounding", inter_channels=width)
        checks.choice("fpt_grounding", MODES, mode=mode)
        self.channels = channels
        self.mode = mode
        self.query = nn.Identity() if mode == "gaussian" else nn.Conv2d(channels, width, 1)
        self.key = nn.Identity() if mode == "gaussian" else nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, width, 1)
        self.pair = nn.Conv2d(2 * width, 1, 1) if mode == "concatenate" else None
        self.proj = nn.Conv2d(width, channels, 1)
        self.norm = nn.BatchNorm2d(channels) if use_norm else nn.Identity()
        last = self.norm if use_norm else self.proj
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x_low: Tensor, x_high: Tensor) -> Tensor:
        checks.shaped("fpt_grounding", "x_low", x_low, (None, self.channels, None, None))
        checks.shaped("fpt_grounding", "x_high", x_high, (x_low.shape[0], self.channels, None, None))
        q, k = self._queries_keys(x_low, x_high)
        v = to_tokens(self.value(x_high))
        if self.mode == "dot":
            with without_autocast(v):
                y = wide(q) @ (wide(k).mT @ wide(v) / k.shape[1])
        elif self.mode == "concatenate":
            with without_autocast(v):
                y = sum_rectified(*self._scores(q, k), wide(v)) / k.shape[1]
        else:
            y = attend(q[:, None], k[:, None], v[:, None], scale=1.0)[:, 0]
        return self.norm(self.proj(to_map_like(y.to(v.dtype), x_low)))

    def attention(self, x_low: Tensor, x_high: Tensor) -> Tensor:
        """The weights (B, 1, H W, h w), which sum to 1 only where they come from a softmax."""
        q, k = self._queries_keys(x_low, x_high)
        if self.mode == "concatenate":
            a, b = self._scores(q, k)
            return (a[:, None, :, None] + b[:, None, None, :]).relu() / k.shape[1]
        products = (q @ k.mT)[:, None]
        return products / k.shape[1] if self.mode == "dot" else products.softmax(dim=-1)

    def _queries_keys(self, x_low: Tensor, x_high: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H W, C') and (B, h w, C')."""
        return to_tokens(self.query(x_low)), to_tokens(self.key(x_high))

    def _scores(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """What a query (B, N) and a key (B, M) add to the logit of their pair."""
        weight, bias = self.pair.parameters()  # type: ignore[union-attr]
        of_query, of_key = weight.flatten().to(wide(q).dtype).chunk(2)
        return wide(q) @ of_query, wide(k) @ of_key + bias
