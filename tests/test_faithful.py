"""Does each module compute what its authors' code computes?"""

from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch import nn

import attnzoo
from attnzoo.verify.vectors import TOLERANCE, VECTORS, Case, cases_of

CASES = sorted(VECTORS.glob("*.safetensors"))
by_case = pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)


@by_case
def test_equals_reference(path: Path) -> None:
    case = Case.load(path)
    module = case.build()
    assert case.count(module) == case.parameters
    assert case.error(module) <= TOLERANCE


@pytest.mark.parametrize("name", attnzoo.names())
def test_every_weight_matters(name: str) -> None:
    """Scaling any one parameter by 1.01 breaks a vector, but for those that the card calls inert.

    A module without parameters has its numbers scaled instead.
    """
    cases = [Case.load(path) for path in cases_of(name)]
    parameters = {key for case in cases for key, _ in case.build().named_parameters()}
    for key in parameters:
        errors = [case.error(_scale_parameter(case.build(), key)) for case in cases if _has(case, key)]
        if any(fnmatch(key, pattern) for pattern in attnzoo.card(name).inert):
            assert min(errors) <= TOLERANCE, f"{key} is not inert"
        else:
            assert max(errors) > TOLERANCE, f"{key} does not matter"
    if not parameters and any(isinstance(value, float) for value in vars(cases[0].build()).values()):
        assert max(case.error(_scale_numbers(case.build())) for case in cases) > TOLERANCE


def test_every_module_has_a_vector() -> None:
    assert {path.stem.rpartition("-")[0] for path in CASES} == set(attnzoo.names())


def _has(case: Case, key: str) -> bool:
    return any(key == name for name, _ in case.build().named_parameters())


def _scale_parameter(module: nn.Module, key: str) -> nn.Module:
    with torch.no_grad():
        module.get_parameter(key).mul_(1.01)
    return module


def _scale_numbers(module: nn.Module) -> nn.Module:
    """Scale every floating-point attribute by 1.01."""
    for key, value in vars(module).items():
        if isinstance(value, float):
            setattr(module, key, value * 1.01)
    return module
