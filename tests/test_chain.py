"""Do modules that live across blocks get a natural way to be used?"""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

import attnzoo

AT = "layer*.*.bn2"


def build() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_one_cell_serves_a_stage() -> None:
    model = build()
    report = attnzoo.insert(model, "dia", at=AT, share="stage", identity=False)
    assert [count > 0 for count in report.parameters] == [True, False] * 4
    cells = [block.bn2.attnzoo.module for stage in (model.layer1, model.layer2) for block in stage]
    assert cells[0] is cells[1]
    assert cells[2] is cells[3]
    assert cells[0] is not cells[2]


def test_the_state_is_handed_on_within_a_stage_and_begins_anew() -> None:
    """Against the same computation by hand, on two blocks of one stage."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)).eval()
    first, second, third = copy.deepcopy(model)
    attnzoo.insert(model, "dia", at="*", share="stage", identity=False, example_input=torch.randn(1, 3, 4, 4))
    eights, four = model[0].attnzoo.module, model[2].attnzoo.module
    x = torch.randn(2, 3, 4, 4)
    y, state = eights(first(x))
    y, _ = eights(second(y), state)
    y, _ = four(third(y))
    for _ in range(2):  # nothing is left over from one pass to the next
        assert torch.equal(model(x), y)
    assert model[0].attnzoo.memory.carried == ()


@pytest.mark.parametrize("attention", ["se", "eca", "ge", "gc", "cbam"])
def test_attention_of_neighbours_is_connected(attention: str) -> None:
    model = build()
    before = model(images())
    report = attnzoo.insert(model, "dca", at=AT, connect=True, attention=attention)
    assert torch.equal(model(images()), before)
    assert all(count > 0 for count in report.parameters)
    second = model.layer2[0].bn2.attnzoo.module
    assert (second.prev_channels, second.channels) == (64, 128)
    attnzoo.remove(model)
    attnzoo.insert(model, "dca", at=AT, connect=True, attention=attention, identity=False)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)  # some forms begin by handing on zeros
    connected = model(images())
    model.layer1[1].bn2.attnzoo.memory = type(model.layer1[0].bn2.attnzoo.memory)()  # cut the chain after one block
    assert not torch.equal(model(images()), connected)


@pytest.mark.parametrize(("name", "how"), [("dia", {"share": "stage"}), ("dca", {"connect": True})])
def test_chains_copy_pickle_compile_and_export(name: str, how: dict) -> None:
    model = build()
    attnzoo.insert(model, name, at=AT, identity=False, **how)
    wanted = model(images())
    clone = copy.deepcopy(model)
    assert torch.equal(clone(images()), wanted)
    assert clone.layer1[0].bn2.attnzoo.memory is clone.layer1[1].bn2.attnzoo.memory
    assert clone.layer1[0].bn2.attnzoo.memory is not model.layer1[0].bn2.attnzoo.memory
    assert torch.equal(pickle.loads(pickle.dumps(model))(images()), wanted)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images()), wanted, rtol=1e-4, atol=1e-4)
    program = torch.export.export(model, (images(),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.testing.assert_close(program.module()(images()[:1]), wanted[:1], rtol=1e-3, atol=1e-4)
    attnzoo.remove(model)
    assert "attnzoo" not in repr(model)


def test_wrong_uses_say_what_is_right() -> None:
    model = build()
    with pytest.raises(attnzoo.AttnzooError, match=r"give either share='stage' .* or connect=True"):
        attnzoo.insert(model, "dia", at=AT)
    with pytest.raises(attnzoo.AttnzooError, match="share='block' is unknown; use 'stage'"):
        attnzoo.insert(model, "dia", at=AT, share="block")
    with pytest.raises(attnzoo.AttnzooError, match=r"se: hands nothing on .* dca, dia do"):
        attnzoo.insert(model, "se", at=AT, connect=True)
    with pytest.raises(attnzoo.AttnzooError, match=r"relu runs 2 times in a pass"):
        attnzoo.insert(model, "dia", at="layer1.*.relu", share="stage")
    assert "attnzoo" not in repr(model)
