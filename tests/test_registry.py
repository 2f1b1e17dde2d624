"""Is the registry complete, consistent, and clear about what it refuses?"""

import ast
import inspect
from pathlib import Path

import pytest
from torch import nn

import attnzoo
from attnzoo import registry

PACKAGE = Path(attnzoo.__file__).parent
FIRST = {  # what a constructor of each contract begins with
    "feature": ({"channels"},),
    "tokens": ({"channels"},),
    "conv": ({"in_channels"}, {"out_channels"}),
    "context": ({"in_channels"}, {"out_channels"}),
    "head": ({"in_channels", "channels"},),
    "fusion": (),
    "activation": (),
    "loss": (),
}
every_module = pytest.mark.parametrize("name", attnzoo.names())


@every_module
def test_card_is_complete(name: str) -> None:
    card = attnzoo.card(name)
    texts = ("title", "paper", "authors", "venue", "source", "source_license", "placement", "reported")
    for field in texts:
        assert len(getattr(card, field)) > 2, f"{field} is empty"
    assert card.url.startswith("https://")
    assert 1990 < card.year < 2030
    assert card.differences
    assert card.summary.count(". ") == 1, "two sentences"
    assert card.summary.endswith(".")
    assert card.summary_zh.count("。") == 2, "two sentences"
    assert any("\u4e00" <= sign <= "\u9fff" for sign in card.summary_zh)
    assert card.frameworks


@every_module
def test_stem_is_the_name_and_folder_the_family(name: str) -> None:
    path = PACKAGE / "modules" / attnzoo.card(name).family / f"{name}.py"
    assert f'@register(\n    "{name}",' in path.read_text()


@every_module
def test_constructor_fits_its_contract(name: str) -> None:
    arguments = list(registry.signature(name).parameters)
    first = FIRST[attnzoo.card(name).contract]
    assert len(arguments) >= len(first)
    assert all(given in allowed for given, allowed in zip(arguments, first, strict=False))


@every_module
def test_docstring_has_its_parts(name: str) -> None:
    page = registry.docstring(name)
    for part in ("Args:", "Shape:", "Cost:", "Raises:"):
        assert f"\n    {part}" in page, f"{part} is missing"
    for argument in registry.signature(name).parameters:
        assert f"{argument}:" in page or f"{argument}," in page, f"{argument} is not explained"


@every_module
def test_module_files_fit_a_screen_or_two(name: str) -> None:
    path = PACKAGE / "modules" / attnzoo.card(name).family / f"{name}.py"
    code = ast.parse(path.read_text())
    lines = [node.end_lineno - node.lineno for node in code.body if isinstance(node, ast.ClassDef)]
    assert sum(lines) <= 160


def test_every_module_file_is_registered() -> None:
    files = {path.stem for path in (PACKAGE / "modules").glob("*/*.py") if path.stem != "__init__"}
    assert files == set(attnzoo.names())


def test_names_filter() -> None:
    assert attnzoo.names() == sorted(attnzoo.names())
    assert attnzoo.names("channel") == [n for n in attnzoo.names() if attnzoo.card(n).family == "channel"]
    assert "dual_attention" in attnzoo.names(plug_in=False)
    assert not set(attnzoo.names(plug_in=True)) & set(attnzoo.names(plug_in=False))
    with pytest.raises(attnzoo.AttnzooError, match=r"unknown family 'chanel'; did you mean channel"):
        attnzoo.names("chanel")


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(attnzoo.AttnzooError, match=r"unknown module 'cbma'; did you mean cbam"):
        attnzoo.create("cbma", channels=8)
    with pytest.raises(attnzoo.AttnzooError, match=r"unknown module 'xyzzy'\. See attnzoo\.names\(\)"):
        attnzoo.card("xyzzy")


def test_wrong_arguments_name_the_right_ones() -> None:
    with pytest.raises(attnzoo.AttnzooError, match=r"se: unknown argument 'ratio'.* It takes channels, reduction"):
        attnzoo.create("se", channels=8, ratio=4)
    with pytest.raises(attnzoo.AttnzooError, match="se: the argument 'channels' is missing"):
        attnzoo.create("se")


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


FACTS = dict.fromkeys(("title", "source", "source_license", "summary", "summary_zh", "placement", "reported"), "x")
PAPER = attnzoo.Paper("a", "b", "c", 2020, "https://example.org")


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("name", "contract", "folder", "message"),
    [
        ("se", "feature", "channel", "se: taken by SE"),
        ("mine", "featur", "channel", "contract='featur' is unknown"),
        ("mine", "feature", "chanel", "its folder 'chanel' is no family"),
    ],
)
def test_registering_is_checked(name: str, contract: str, folder: str, message: str) -> None:
    made = type("Mine", (nn.Module,), {"__module__": f"package.{folder}.mine"})
    with pytest.raises(attnzoo.AttnzooError, match=message):
        attnzoo.register(name, paper=PAPER, contract=contract, differences=(), **FACTS)(made)


@pytest.mark.usefixtures("scratch")
def test_a_module_of_ones_own_joins_the_rest() -> None:
    class Twice(nn.Module):
        __module__ = "package.channel.twice"

        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x):
            return 2 * x

    attnzoo.register("twice", paper=PAPER, contract="feature", differences=(), **FACTS)(Twice)
    assert attnzoo.card("twice").family == "channel"
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    attnzoo.insert(model, "twice", at="0")
    assert "twice" in attnzoo.names("channel", plug_in=True)
    assert inspect.signature(Twice) == registry.signature("twice")
