"""Write numbers and tables of modules and networks in both READMEs from the cards.

With --check only say whether they are stale.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import attnzoo
from attnzoo.registry import TASKS
from attnzoo.verify import read

ROOT = Path(__file__).parent.parent
MATRIX = ROOT / "results" / "verify.json"
BEGIN, END = "<!-- modules: made by tools/readme.py -->", "<!-- end of modules -->"
NETWORKS, END_NETWORKS = "<!-- networks: made by tools/readme.py -->", "<!-- end of networks -->"
FAMILIES = {
    "channel": "Channel gates",
    "spatial": "Spatial gates",
    "channel_spatial": "Channel and spatial gates",
    "self_attention": "Self-attention and global context",
    "convolution": "Convolutions",
    "activation": "Activations",
    "fusion": "Fusion",
    "context": "Context",
    "head": "Heads",
    "regularization": "Regularization",
    "network": "Parts of networks",
}
FAMILIES_ZH = {
    "channel": "通道注意力",
    "spatial": "空间注意力",
    "channel_spatial": "通道与空间注意力",
    "self_attention": "自注意力与全局上下文",
    "convolution": "卷积",
    "activation": "激活函数",
    "fusion": "融合",
    "context": "上下文",
    "head": "任务头",
    "regularization": "正则化",
    "network": "网络组件",
}


def english(card: attnzoo.Card, badge: str) -> str:
    """A row of README.md."""
    return f"| `{card.name}` | {card.title} | {_paper(card)} | {_contract(card)} | {badge} | {card.summary} |"


def chinese(card: attnzoo.Card, badge: str) -> str:
    """A row of README.zh.md."""
    return f"| `{card.name}` | {card.title} | {_paper(card)} | {_contract(card)} | {badge} | {card.summary_zh} |"


def table(header: str, row: Callable[[attnzoo.Card, str], str], title: Callable[[str], str]) -> str:
    """All modules, family by family."""
    cards = [attnzoo.card(name) for name in attnzoo.names()]
    parts, badges = [], _badges()
    for family in FAMILIES:
        rows = [row(card, badges.get(card.name, "")) for card in cards if card.family == family]
        if not rows:
            continue
        parts.append(f"### {title(family)}\n\n{header}\n|---|---|---|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts)


def networks(header: str) -> str:
    """All networks, those of one task together."""
    cards = [attnzoo.card(name) for name in attnzoo.networks()]
    tasks = list(TASKS)
    rows = [
        f"| `{card.name}` | {card.title} | {_paper(card)} | {card.task} | {card.parameters / 1e6:.2f} | "
        f"{card.macs / 1e3:.2f} | {card.image_size} |"
        for card in sorted(cards, key=lambda card: (tasks.index(card.task), card.name))
    ]
    return f"{header}\n|---|---|---|---|---|---|---|\n" + "\n".join(rows)


def pages() -> dict[Path, str]:
    """Both READMEs with fresh tables."""
    fresh = {
        "README.md": (
            table("| name | method | published | contract | matrix | what it does |", english, FAMILIES.__getitem__),
            networks("| name | network | published | task | parameters, M | multiply-adds, G | image side |"),
        ),
        "README.zh.md": (
            table("| 名称 | 方法 | 出处 | 接口 | 矩阵 | 作用 |", chinese, FAMILIES_ZH.__getitem__),
            networks("| 名称 | 网络 | 出处 | 任务 | 参数（百万） | 乘加（十亿） | 图像边长 |"),
        ),
    }
    return {ROOT / name: _filled((ROOT / name).read_text(encoding="utf-8"), *texts) for name, texts in fresh.items()}


def _paper(card: attnzoo.Card) -> str:
    return f"[{card.venue} {card.year}]({card.url})"


def _contract(card: attnzoo.Card) -> str:
    return f"{card.contract}{' ⊕' if card.plug_in else ''}"


def _badges() -> dict[str, str]:
    """What the last full run of the matrix found, by module; nothing where it has not been run."""
    if not MATRIX.exists():
        return {}
    modules = read(MATRIX)["modules"]
    return {name: _badge([cell["status"] for cell in cells]) for name, cells in modules.items()}


def _badge(statuses: list[str]) -> str:
    passed, failed = statuses.count("pass"), statuses.count("fail")
    return f"✗ {failed}" if failed else f"✓ {passed}/{len(statuses)}"


def _filled(page: str, modules: str, of_networks: str) -> str:
    page = re.sub(r"(<!-- count -->)\d+", rf"\g<1>{len(attnzoo.names())}", page)
    page = re.sub(r"(<!-- count of networks -->)\d+", rf"\g<1>{len(attnzoo.networks())}", page)
    return _between(_between(page, BEGIN, modules, END), NETWORKS, of_networks, END_NETWORKS)


def _between(page: str, begin: str, text: str, end: str) -> str:
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"


def main() -> int:
    """Write what is stale, or with --check only name it."""
    stale = {path: text for path, text in pages().items() if path.read_text(encoding="utf-8") != text}
    for path, text in stale.items():
        print(f"stale: {path.name}")
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
