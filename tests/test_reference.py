"""Does load_reference take the authors' weights strictly, and leave the module alone otherwise?"""

import copy

import pytest
import torch

import attnzoo
from attnzoo import examples
from attnzoo.verify.vectors import Case, cases_of


def test_both_key_families_of_se_load() -> None:
    module = attnzoo.create("se", channels=32, bias=True)
    flat = {"fc1.weight": torch.ones(2, 32), "fc1.bias": torch.ones(2)}
    flat |= {"fc2.weight": torch.ones(32, 2), "fc2.bias": torch.ones(32)}
    for shape in ((2, 32), (2, 32, 1, 1)):
        attnzoo.load_reference(module, {**flat, "fc1.weight": torch.full(shape, 2.0)})
        assert (module.mlp.fc1.weight == 2).all()
    attnzoo.load_reference(module, module.state_dict())
    attnzoo.load_reference(
        module, {f"fc.{i}.{k}": flat[f"fc{j}.{k}"] for i, j in ((0, 1), (2, 2)) for k in ("weight", "bias")}
    )
    assert (module.mlp.fc1.weight == 1).all()


def test_released_names_of_coord_load() -> None:
    module = attnzoo.create("coord", channels=16)
    state = {f"conv2.{k}": v + 1 for k, v in module.conv_h.state_dict().items()}
    state |= {f"conv3.{k}": v + 2 for k, v in module.conv_w.state_dict().items()}
    state |= {f"conv1.{k}": v for k, v in module.encode.conv.state_dict().items()}
    state |= {f"bn1.{k}": v for k, v in module.encode.norm.state_dict().items() if k != "num_batches_tracked"}
    attnzoo.load_reference(module, state)
    assert torch.equal(module.conv_h.bias, state["conv2.bias"])
    assert torch.equal(module.conv_w.bias, state["conv3.bias"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fc.0.weight"), "SE: the state dict does not fit: missing mlp.fc1.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra"),
        (
            lambda s: s.update({"fc.0.weight": torch.zeros(4, 32)}),
            r"fc\.0\.weight has shape \(4, 32\), expected \(2, 32\)",
        ),
        (lambda s: s.update({"fc1.weight": torch.zeros(2, 32)}), "mlp.fc1.weight given twice"),
        (lambda s: s.update({"fc.0.weight": "text"}), r"SE: .* got one whose entries are no tensors: fc\.0\.weight"),
    ],
)
def test_misfits_are_named_and_change_nothing(change, message: str) -> None:
    module = attnzoo.create("se", channels=32)
    before = copy.deepcopy(module.state_dict())
    state = {"fc.0.weight": torch.zeros(2, 32), "fc.2.weight": torch.zeros(32, 2)}
    change(state)
    with pytest.raises(attnzoo.AttnzooError, match=message):
        attnzoo.load_reference(module, state)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def counted(module: torch.nn.Module) -> torch.nn.Module:
    """The module, each of its tensors filled with a number of its own."""
    for i, value in enumerate(module.state_dict().values()):
        value.fill_(i % 127)  # which every type holds
    return module


@pytest.mark.parametrize("name", attnzoo.names())
def test_our_own_keys_load(name: str) -> None:
    """Also where the authors mean another layer by the same name."""
    arguments = examples.arguments(name)
    state = counted(attnzoo.create(name, **arguments)).state_dict()
    module = attnzoo.create(name, **arguments)
    attnzoo.load_reference(module, state)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize(
    "name", ["bam_resnet18", "san10_pairwise", "cifar_googlenet", "coord_mobilenetv2", "rest_lite"]
)
def test_our_own_keys_of_networks_load(name: str) -> None:
    state = counted(attnzoo.create(name)).state_dict()
    network = attnzoo.create(name)
    attnzoo.load_reference(network, state)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", attnzoo.names())
def test_each_missing_weight_of_the_authors_is_noticed(name: str) -> None:
    """With the one error, whichever tensor of a stored state is left out; but counters, and what ours does without."""
    case = max((Case.load(path) for path in cases_of(name)), key=lambda case: len(case.state))
    module = attnzoo.create(name, **case.config)
    for key in case.state:
        left = {k: v for k, v in case.state.items() if k != key}
        if loads(module, left) and not key.endswith("num_batches_tracked"):
            assert _is_spare(name, case.config, case.state, key), key


def loads(module: torch.nn.Module, state: dict) -> bool:
    try:
        attnzoo.load_reference(module, state)
    except attnzoo.AttnzooError:
        return False
    return True


def _is_spare(name: str, config: dict, state: dict, key: str) -> bool:
    """Whether a tensor of the authors makes no difference to what is loaded."""
    modules = [attnzoo.create(name, **config) for _ in range(2)]
    for module, given in zip(modules, (state, {**state, key: state[key] + 1}), strict=True):
        attnzoo.load_reference(module, given)
    ours, other = (module.state_dict() for module in modules)
    return all(torch.equal(value, other[at]) for at, value in ours.items())
