"""Is a module with arguments read as it was meant, and nothing else?"""

import pytest

from attnzoo import AttnzooError
from attnzoo.lab.building import build
from attnzoo.lab.planning import plan
from attnzoo.lab.spelling import parse, spelled
from attnzoo.lab.trial import Trial, Variant


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("se", "se", {}),
        (" se() ", "se", {}),
        ("se(reduction=8)", "se", {"reduction": 8}),
        ("dia(share='stage', a=-1, b=None, c=(1, 2))", "dia", {"share": "stage", "a": -1, "b": None, "c": (1, 2)}),
    ],
)
def test_names_and_arguments_are_read(text: str, name: str, arguments: dict[str, object]) -> None:
    assert parse(text) == (name, arguments)
    assert parse(spelled(text)) == (name, arguments)


def test_one_spelling_stands_for_all() -> None:
    assert spelled("sk( groups = 16,branches=2)") == spelled("sk(branches=2, groups=16)") == "sk(branches=2, groups=16)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "se(",
        "se(4)",
        "se(**{'a': 1})",
        "se(a=b)",
        "se(a=print(1))",
        "se(a={{}})",
        "se(a={1, 2})",
        "se(a=[{'b': 1}])",
        "se(a=set())",
        "se(a=b'c')",
        "se(a=1+2j)",
        "a.b(c=1)",
        "se;eca",
        "se(a=1, a=2)",
        "(" * 999,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(AttnzooError, match="expected a module's name, or one with arguments"):
        parse(text)


def test_arguments_reach_the_module_and_are_variants_of_their_own() -> None:
    sizes = plan(["se", "se(reduction=2)", "se( reduction = 2 )"], ["resnet20"], ["last"], (1, 8, 8), 10).parameters
    assert [variant.module for variant in sizes] == ["plain", "se", "se(reduction=2)"]
    _, few, many = sizes.values()
    assert few < many
    with pytest.raises(AttnzooError, match="identity= is not an argument of the module here"):
        build(Trial(Variant("se(identity=True)", at="block"), 0), (1, 8, 8), 10)
    with pytest.raises(AttnzooError, match="nothing"):
        plan(["se(nothing=1)"], ["resnet20"], ["last"], (1, 8, 8), 10)
