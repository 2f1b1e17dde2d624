"""Does record collect every attention map, cost nothing when off, and survive compilation?"""

import copy

import pytest
import torch
from torch import nn

import attnzoo
from attnzoo import examples
from attnzoo.verify.subject import outputs_of

FAMILIES = ("channel", "spatial", "channel_spatial", "self_attention")  # whose modules have maps to show
MAPLESS = ("cgnl", "glore")  # one number relates all places; features are projected, without weights that compete


def built(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    size = examples.fitting(name, (5, 6))
    return attnzoo.create(name, **examples.arguments(name, size=size)), examples.inputs(name, size=size)


@pytest.mark.parametrize("name", attnzoo.names())
def test_every_module_shows_its_maps(name: str) -> None:
    module, inputs = built(name)
    module.eval()
    plain = module(*inputs)
    kinds = {type(part) for part in module.modules() if type(part).__module__.startswith("attnzoo.")}
    if not any(hasattr(kind, "gate") or hasattr(kind, "attention") for kind in kinds):
        assert attnzoo.card(name).family not in FAMILIES or name in MAPLESS
        with pytest.raises(attnzoo.AttnzooError, match="holds no attnzoo module"), attnzoo.record(module):
            pass
        return
    with attnzoo.record(module) as maps:
        recorded = module(*inputs)
    torch.testing.assert_close(recorded, plain, rtol=0, atol=0)
    assert maps
    for value in maps.values():
        assert value.shape[0] == 2
        assert value.isfinite().all()
        assert not value.requires_grad
    count = len(maps)
    module(*inputs)
    assert len(maps) == count
    assert not any("gate" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize("name", sorted(set(attnzoo.names("self_attention")) - set(MAPLESS)))
def test_recording_does_not_disturb_training(name: str) -> None:
    """Outputs, running statistics, gradients and the next random draw are those of a run without it."""
    module, inputs = built(name)
    found = []
    for watched in (False, True):
        twin = copy.deepcopy(module).train()
        torch.manual_seed(1)
        if watched:
            with attnzoo.record(twin):
                y = outputs_of(twin(*inputs))[0]
        else:
            y = outputs_of(twin(*inputs))[0]
        drawn = torch.rand(1)
        y.sum().backward()
        found.append(
            [y, drawn, *twin.state_dict().values(), *(p.grad for p in twin.parameters() if p.grad is not None)]
        )
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_maps_of_training_are_those_that_forward_used() -> None:
    """The bases move within forward; the map belongs to where they were."""
    module, inputs = built("em_attention")
    module.train()
    before = copy.deepcopy(module)
    with attnzoo.record(module) as maps:
        module(*inputs)
    assert not torch.equal(before.bases, module.bases)
    torch.testing.assert_close(maps[""], before.attention(*inputs))


def test_gates_are_what_forward_multiplies_by() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, 5, 6)
    cbam = attnzoo.create("cbam", channels=64).eval()
    with attnzoo.record(cbam) as maps:
        y = cbam(x)
    channel, spatial = maps["channel_gate"], maps["spatial_gate"]
    assert (channel.shape, spatial.shape) == ((2, 64), (2, 5, 6))
    torch.testing.assert_close(y, x * channel[:, :, None, None] * spatial[:, None])


def test_affinities_give_the_output_again() -> None:
    torch.manual_seed(0)
    module = attnzoo.create("da_position", channels=16).eval()
    nn.init.ones_(module.gamma)
    x = torch.randn(2, 16, 5, 6)
    with attnzoo.record(module) as maps:
        y = module(x)
    attention = maps[""]
    assert attention.shape == (2, 1, 30, 30)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 1, 30))
    values = module.value_conv(x).flatten(2)
    torch.testing.assert_close(y, (values @ attention[:, 0].mT).view_as(x) + x)


def test_paths_name_the_places_and_repetitions() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1)).eval()
    attnzoo.insert(model, "se", at=["0", "2"])
    x = torch.randn(1, 3, 4, 4)
    with attnzoo.record(model) as maps:
        model(x)
        assert list(maps) == ["0.attnzoo.module", "2.attnzoo.module"]
        model(x)
    assert list(maps)[2:] == ["0.attnzoo.module#2", "2.attnzoo.module#2"]


def test_compiled_models_are_recorded_and_stay_compiled() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 1)).eval()
    attnzoo.insert(model, "eca", at="0", identity=False)
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, backend=backend, fullgraph=True)
    x = torch.randn(1, 3, 4, 4)
    wanted = compiled(x)
    with attnzoo.record(compiled) as maps:
        compiled(x)
    assert list(maps) == ["0.attnzoo.module"]
    torch.testing.assert_close(compiled(x), wanted)
    assert len(graphs) == 1


def test_a_model_without_maps_is_refused() -> None:
    with pytest.raises(attnzoo.AttnzooError, match="holds no attnzoo module"), attnzoo.record(nn.Conv2d(3, 3, 1)):
        pass
