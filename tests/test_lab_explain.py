"""Does explain show what the modules compute, at the right places, and draw it without losing anybody's file?"""

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

import attnzoo
from attnzoo import AttnzooError, examples, registry
from attnzoo.lab.building import build
from attnzoo.lab.explain import Explanation, Map, explain, figure, panels
from attnzoo.lab.explain.files import draw, save
from attnzoo.lab.explain.pictures import parse_point, read
from attnzoo.lab.explain.runs import open_run
from attnzoo.lab.explain.stages import Grid, Stage, grid_of, grid_of_tokens
from attnzoo.lab.store import Store
from attnzoo.lab.trained import About, save_trained
from attnzoo.lab.trial import Epoch, Outcome, Trial, Variant

SHAPE = (1, 8, 8)
ABOUT = About("digits", SHAPE, 10, tuple("abcdefghij"), (77.0,), (60.0,))


def picture(size: int = 8, channels: int = 1) -> Tensor:
    return torch.randint(0, 256, (channels, size, size), generator=torch.Generator().manual_seed(1)).float()


def network(module: str, size: int = 8, at: Any = "block", identity: bool = False, **arguments: Any) -> nn.Module:
    """A resnet20 of grey images with a module, all of its weights other than 0."""
    torch.manual_seed(0)
    model = attnzoo.create("resnet20", in_channels=1).eval()
    example = torch.zeros(2, 1, size, size)
    attnzoo.insert(model, module, at=at, identity=identity, example_input=example, **arguments)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def seen(model: nn.Module, size: int = 8, **options: Any) -> Explanation:
    return explain(model, picture(size), mean=(100.0,), std=(50.0,), **{"cam": False} | options)


def recorded(model: nn.Module, size: int = 8) -> dict[str, Tensor]:
    with attnzoo.record(model) as maps, torch.no_grad():
        model((picture(size)[None] - 100) / 50)
    return maps


def only(found: Explanation, stage: int = 0) -> Map:
    """The one map of a stage."""
    [one] = [each for each in found.maps if each.stage == stage]
    return one


def test_channel_gates_are_those_recorded() -> None:
    model = network("se")
    maps, found = recorded(model), seen(model)
    assert [(one.path, one.stage, one.kind, one.alpha) for one in found.maps] == [
        (f"layer{i + 1}.2.bn2", i, "channels", None) for i in range(3)
    ]
    for one in found.maps:
        torch.testing.assert_close(one.values, maps[f"{one.path}.attnzoo.module"][0])
    assert (found.modules, found.stages, found.points) == (("se",), ("layer1", "layer2", "layer3"), ())


def test_every_module_on_request() -> None:
    found = seen(network("eca"), every=True)
    assert [(one.path, one.stage) for one in found.maps] == [
        (f"layer{i + 1}.{k}.bn2", i) for i in range(3) for k in range(3)
    ]


def test_full_gates_become_a_map_and_bars() -> None:
    model = network("coord")
    gate = recorded(model)["layer1.2.bn2.attnzoo.module"][0]
    places, channels = [one for one in seen(model).maps if one.stage == 0]
    assert (places.kind, channels.kind) == ("places", "channels")
    torch.testing.assert_close(places.values, gate.mean(0))
    torch.testing.assert_close(channels.values, gate.mean((1, 2)))


def test_parts_on_request() -> None:
    model = network("triplet")
    whole = {one.what for one in seen(model).maps}
    parts = {one.what for one in seen(model, parts=True).maps}
    assert whole == {"gate of each place, mean of the channels", "gate of each channel, mean of the places"}
    assert parts - whole == {
        "hw: gate of each place",
        "cw: gate, neither of channels nor of places",
        "hc: gate, neither of channels nor of places",
    }


def test_gates_of_a_kernel_are_no_channels() -> None:
    """odconv has a gate for each of 9 places in the kernel, which is drawn as one, and a share of each of 4 kernels."""
    torch.manual_seed(0)
    model = attnzoo.create("resnet20", in_channels=1).eval()
    attnzoo.replace(model, "odconv", "layer1.2.conv2", preserve=False)
    found = {one.what: one for one in seen(model, parts=True).maps}
    assert found.keys() == {
        "channel: gate of each channel",
        "filter: gate of each channel",
        "spatial: gate of each place in the kernel",
        "kernel: shares of 4, no channels",
    }
    places = found["spatial: gate of each place in the kernel"]
    assert places.kind == "matrix"
    assert torch.equal(places.values, recorded(model)["layer1.2.conv2.spatial"][0].view(3, 3))


def test_a_single_bar_has_one_label() -> None:
    axes = Figure().subplots()
    panels.channels(axes, torch.tensor([0.5]), Normalize(0, 1), colormaps["viridis"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["the only one"]


@pytest.mark.parametrize("point", [(0, 0), (6, 3)])
def test_affinity_is_the_row_of_the_point(point: tuple[int, int]) -> None:
    model = network("da_position")
    one = only(seen(model, points=[point]))
    row = recorded(model)["layer1.2.bn2.attnzoo.module"][0, 0, point[1] * 8 + point[0]]
    torch.testing.assert_close(one.values, (row / row.mean()).view(8, 8))
    assert (one.kind, one.what, one.point) == ("places", "affinity of the point to all places", 0)


def test_pooled_keys_are_areas() -> None:
    model = network("non_local", at="layer1.2.bn2")
    one = only(seen(model, points=[(5, 2)]))
    row = recorded(model)["layer1.2.bn2.attnzoo.module"][0, 0, 2 * 8 + 5]
    areas = (row / row.mean()).view(4, 4).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert one.what == "affinity of the point to areas of 2 x 2 places"
    torch.testing.assert_close(one.values, areas)


def test_a_window_lies_around_the_point() -> None:
    model = network("sasa", at="layer1.2.bn2")
    first = only(seen(model, points=[(1, 6)]))
    rows = recorded(model)["layer1.2.bn2.attnzoo.module"][0, :, 6 * 8 + 1]
    window = (rows / rows.mean(1, keepdim=True)).mean(0).view(7, 7)
    assert first.what == "affinity of the point to a window of 7 x 7 places, mean of the heads"
    torch.testing.assert_close(first.values[3:, :5], window[:5, 2:])
    assert first.values[:3].isnan().all()
    assert first.values[:, 5:].isnan().all()


def test_a_cross_lies_on_row_and_column() -> None:
    one = only(seen(network("cc", at="layer1.2.bn2"), points=[(2, 5)]))
    there = ~one.values.isnan()
    cross = torch.zeros(8, 8, dtype=torch.bool)
    cross[5], cross[:, 2] = True, True
    assert torch.equal(there, cross)


def test_slots_are_not_taken_for_places() -> None:
    """64 slots of a memory, at 8 x 8 places."""
    model = network("external_attention", at="layer1.2.bn2")
    one = only(seen(model, points=[(3, 3)]))
    assert recorded(model)["layer1.2.bn2.attnzoo.module"].shape == (1, 1, 64, 64)
    assert (one.kind, one.what) == ("channels", "affinity of the point to keys of no known place")


def test_channels_are_not_taken_for_places() -> None:
    """64 channels, at 8 x 8 places."""
    model = network("da_channel", size=32, at="layer3.2.bn2")
    one = only(seen(model, size=32), 2)
    assert (one.kind, tuple(one.values.shape)) == ("matrix", (64, 64))
    torch.testing.assert_close(one.values, recorded(model, 32)["layer3.2.bn2.attnzoo.module"][0, 0])


def test_heads_on_request() -> None:
    model = network("bottleneck_attention", at="layer1.2.bn2")
    mean, each = seen(model).maps, seen(model, heads=True).maps
    assert [one.what.rpartition(", ")[2] for one in each] == [f"head {k}" for k in range(1, 5)]
    torch.testing.assert_close(mean[0].values, torch.stack([one.values for one in each]).mean(0))


def test_modules_without_a_map_show_their_change() -> None:
    model = network("glore", at="layer1.2.bn2", identity=True)
    plug = model.get_submodule("layer1.2.bn2.attnzoo")
    nn.init.constant_(plug.alpha, 0.25)
    inputs: list[Tensor] = []
    handle = plug.register_forward_hook(lambda _, args, out: inputs.extend([args[0], out]))
    one = only(seen(model, every=True))
    handle.remove()
    before, after = inputs[:2]
    wanted = (after - before).norm(dim=1)[0] / before.norm(dim=1).mean()
    torch.testing.assert_close(one.values, wanted)
    assert (one.kind, one.alpha) == ("places", 0.25)
    assert "no map to show" in one.what


PLUG_INS = [
    name
    for name in attnzoo.names(plug_in=True)
    if attnzoo.card(name).contract != "tokens" and not attnzoo.card(name).carries
]
FILLED_IN = {"channels", "in_channels", "out_channels", "size", "spatial_size", "height", "width"}


@pytest.mark.parametrize("name", PLUG_INS)
def test_every_module_shows_something(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 128, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 3)).eval()
    needed = {key for key, one in registry.signature(name).parameters.items() if one.default is one.empty}
    arguments = {key: value for key, value in examples.arguments(name, 128).items() if key in needed - FILLED_IN}
    attnzoo.insert(model, name, at="0", identity=False, example_input=torch.zeros(2, 1, 16, 16), **arguments)
    found = explain(model.eval(), picture(16), mean=(100.0,), std=(50.0,), stages=["0"], cam=False)
    assert found.maps
    for one in found.maps:
        assert one.values.dim() == (1 if one.kind == "channels" else 2)
        assert one.values.nan_to_num().isfinite().all()
        assert not one.values.isnan().all()


def test_the_model_is_left_as_it_was() -> None:
    model = network("cbam").train()
    before, hooks = copy.deepcopy(model.state_dict()), [len(part._forward_hooks) for part in model.modules()]
    seen(model, cam=True)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert hooks == [len(part._forward_hooks) for part in model.modules()]
    assert all(part.training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_without_is_the_model_with_its_modules_taken_out() -> None:
    model = network("se")
    plain = copy.deepcopy(model)
    attnzoo.remove(plain)
    found = seen(model)
    images = (picture()[None] - 100) / 50
    torch.testing.assert_close(found.plain, plain(images)[0].softmax(0))
    torch.testing.assert_close(found.probabilities, model(images)[0].softmax(0))
    assert found.without == "the same weights with the modules taken out"


def test_built_in_modules_are_seen() -> None:
    torch.manual_seed(0)
    model = attnzoo.create("cifar_senet18", in_channels=1).eval()
    found = seen(model, 16, every=True)
    assert (found.modules, found.plain, found.without) == (("se",), None, "")
    assert len(found.maps) == 8
    assert {one.stage for one in found.maps} == {0, 1, 2, 3}


def test_grad_cam_by_hand() -> None:
    """At 8 x 8 places of an 8 x 8 image, where nothing is resized."""
    model = network("se")
    found = seen(model, cam=True, stages=["layer1"], target=3)
    features: list[Tensor] = []
    handle = model.layer1.register_forward_hook(lambda *args: features.append(args[2]))
    logits = model(((picture()[None] - 100) / 50).requires_grad_())
    handle.remove()
    [gradient] = torch.autograd.grad(logits[0, 3], features)
    a, g = features[0].detach()[0], gradient[0]
    share = g**2 / (2 * g**2 + a.sum((1, 2), keepdim=True) * g**3 + 1e-6)
    weights = {"Grad-CAM": g.mean((1, 2)), "Grad-CAM++": (share.where(g != 0, 0) * g.relu()).sum((1, 2))}
    for cam in found.cams:
        if cam.inserted:
            wanted = (weights[cam.method][:, None, None] * a).sum(0).relu()
            wanted = (wanted - wanted.min()) / (wanted - wanted.min()).max()
            torch.testing.assert_close(cam.values, wanted, rtol=1e-3, atol=1e-3)
    assert [(cam.method, cam.inserted) for cam in found.cams] == [
        ("Grad-CAM", True),
        ("Grad-CAM++", True),
        ("Grad-CAM", False),
        ("Grad-CAM++", False),
    ]


def test_grad_cam_at_every_stage() -> None:
    model = network("se")
    each = seen(model, cam=True, cam_stages=True).cams
    assert len(each) == 12
    last = [cam for cam in each if cam.stage == 2]
    for one, cam in zip(seen(model, cam=True).cams, last, strict=True):
        assert (one.method, one.stage, one.layer) == (cam.method, 2, "layer3")
        torch.testing.assert_close(one.values, cam.values)


def test_tokens_that_the_class_does_not_read_are_looked_for_earlier() -> None:
    """A vision transformer that classifies by its class token: the last block's other outputs have no gradient."""
    import timm

    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=32, num_heads=2, num_classes=5, in_chans=1
    )
    found = explain(model.eval(), picture(32), mean=(100.0,), std=(50.0,))
    assert {cam.layer for cam in found.cams} == {"blocks.1.norm1"}
    assert all(cam.values.shape == (32, 32) and cam.values.max() == 1 for cam in found.cams)
    assert (found.maps, found.modules) == ((), ())


def test_layouts_become_maps() -> None:
    maps = torch.randn(1, 3, 2, 4)
    tokens = torch.cat([torch.zeros(1, 1, 3), maps.flatten(2).transpose(1, 2)], 1)
    for layout, features in {
        "BCHW": maps,
        "BHWC": maps.permute(0, 2, 3, 1),
        "BNC": tokens,
        "BCN": tokens.transpose(1, 2),
    }.items():
        assert torch.equal(Stage("x", layout, ()).as_maps(features, ratio=0.5), maps)
    with pytest.raises(AttnzooError, match="gives 168 tokens, which lie on no grid"):
        Stage("x", "BNC", ()).as_maps(torch.zeros(1, 168, 3), ratio=1.0)


def test_grids() -> None:
    assert grid_of((1, 8, 3, 4), 0.75) == Grid(0, 3, 4)
    assert grid_of_tokens(197, 1.0) == Grid(1, 14, 14)
    assert grid_of_tokens(201, 1.0) == Grid(5, 14, 14)
    assert grid_of_tokens(12, 0.75) == Grid(0, 3, 4)
    assert grid_of((1, 8), 1.0) is None
    assert [Grid(1, 2, 4).cell(x, 0.75) for x in (0, 0.3, 0.999)] == [4, 5, 7]


def test_target_by_number_and_name() -> None:
    model = network("se")
    names = [*"abcdefghi", "3"]
    assert seen(model, target=7).target == seen(model, target="7").target == 7
    assert seen(model, target="3", class_names=names).target == 9  # a name comes first
    assert seen(model).target == int(seen(model).probabilities.argmax())
    for wrong in (10, "x", "-1"):
        with pytest.raises(AttnzooError, match=re.escape(f"target={wrong!r} is no class; use a number from 0 to 9")):
            seen(model, target=wrong)
    with pytest.raises(AttnzooError, match="expected 10 class names, as many as logits, got 2"):
        seen(model, class_names=["a", "b"])


def test_wrong_inputs_are_refused() -> None:
    model = network("se")
    with pytest.raises(AttnzooError, match=r"the point 8,0 is outside; x is at least 0 and below 8"):
        seen(model, points=[(8, 0)])
    with pytest.raises(AttnzooError, match=r"expected an image \(C, H, W\), got \(8, 8\)"):
        explain(model, picture()[0])
    with pytest.raises(AttnzooError, match="expected mean of 1 or 1 channels, got 3"):
        explain(model, picture(), mean=(1.0, 2.0, 3.0))
    with pytest.raises(AttnzooError, match=r"expected a classifier with logits \(1, K\), got \(1, 4, 8, 8\)"):
        explain(nn.Sequential(nn.Conv2d(1, 4, 1)), picture(), stages=["0"], cam=False)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(AttnzooError, match=r"gives no features \(16, 8, 8\) at layer1"):
        seen(model, without=other, stages=["layer1"], cam=True)


def test_a_missing_grad_cam_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(AttnzooError, match=r"pip install 'attnzoo\[lab\]', or do without"):
        seen(network("se"), cam=True)


def test_importing_is_light() -> None:
    code = (
        "import sys, attnzoo.lab.explain, attnzoo.lab.explain.files as f;"
        "print([m for m in ('matplotlib', 'pytorch_grad_cam', 'PIL', 'torchvision', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Image files


def png(path: Path, width: int = 8, height: int = 8) -> Path:
    Image.effect_noise((width, height), 80).convert("RGB").save(path)
    return path


def test_points_are_mapped_through_crop_and_resize(tmp_path: Path) -> None:
    """Of 40 x 20 pixels the network's 8 x 8 keep the middle 20 x 20."""
    wide = read(png(tmp_path / "wide.png", 40, 20), SHAPE)
    assert (wide.size, wide.kept) == ((40, 20), (10, 0, 30, 20))
    assert wide.pixels.shape == SHAPE
    assert wide.point(10, 0) == pytest.approx((0.2, 0.2))
    assert wide.point(29, 19) == pytest.approx((7.8, 7.8))
    for x, y, message in (
        (9, 5, r"wide.png: the point 9,5 is cropped away; the network sees x from 10 to 30, y from 0 to 20"),
        (40, 5, "wide.png: the point 40,5 is outside; x is at least 0 and below 40, y below 20"),
    ):
        with pytest.raises(AttnzooError, match=message):
            wide.point(x, y)


def test_an_image_of_the_networks_size_stays_as_it_is(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png")
    exact = torch.tensor(list(Image.open(path).convert("L").tobytes())).view(1, 8, 8)
    assert torch.equal(read(path, SHAPE).pixels, exact.to(torch.uint8))
    assert read(path, (3, 8, 8)).pixels.shape == (3, 8, 8)
    with pytest.raises(AttnzooError, match="have 1 or 3 channels, but the network takes 4"):
        read(path, (4, 8, 8))


def test_points_as_text() -> None:
    assert parse_point("12,3.5") == (12.0, 3.5)
    for wrong in ("12", "a,b", "-1,2", "1,2,3", ""):
        with pytest.raises(AttnzooError, match="is no point; write it as x,y"):
            parse_point(wrong)


# Studies

SE, CBAM, PLAIN = (Trial(Variant(name, at=at), 0) for name, at in (("se", "block"), ("cbam", "block"), ("plain", "")))
WIDER = Trial(Variant(widths=((16, 17),), matches="parameters of se"), 0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with four networks, as yet untrained, and three images."""
    out = tmp_path_factory.mktemp("study")
    with Store(out, {"data": "digits", "epochs": 1}) as store:
        for trial in (SE, CBAM, PLAIN, WIDER):
            save_trained(out / "models" / f"{trial.slug()}.safetensors", build(trial, SHAPE, 10), trial, ABOUT)
            store.add(Outcome(trial, (Epoch(1.0, 50.0, 1.0),)), {})
    for name in ("a", "b"):
        png(out / f"{name}.png", 20, 16)
    (out / "broken.png").write_bytes((out / "a.png").read_bytes()[:80])
    return out


def test_runs(study: Path) -> None:
    se = study / "models" / f"{SE.slug()}.safetensors"
    for run in (open_run(se), open_run(study, "se"), open_run(study, "se", 0)):
        assert run.trained.trial == SE
        assert run.plain_is == "plain resnet20, seed 0, of the same study"
        assert run.plain is not None
    plain = open_run(study, "plain")
    assert (plain.trained.trial, plain.plain) == (PLAIN, None)
    wider = open_run(study / "models" / f"{WIDER.slug()}.safetensors")
    assert (wider.trained.trial, wider.plain_is) == (WIDER, "plain resnet20, seed 0, of the same study")


def test_runs_that_are_none_or_several(study: Path, tmp_path: Path) -> None:
    with pytest.raises(AttnzooError, match=r"expected one network, got 2 networks; give --module and --seed") as raised:
        open_run(study)
    assert f"models/{SE.slug()}.safetensors (se at block in resnet20, seed 0)" in str(raised.value)
    assert PLAIN.slug() not in str(raised.value)
    with pytest.raises(AttnzooError, match=r"got no network with module=se, seed=7"):
        open_run(study, "se", 7)
    with pytest.raises(AttnzooError, match="is one network; leave out module and seed"):
        open_run(study / "models" / f"{SE.slug()}.safetensors", "se")
    with pytest.raises(AttnzooError, match="expected a study, found no trials"):
        open_run(tmp_path)
    with pytest.raises(AttnzooError, match="expected a network trained by the laboratory"):
        open_run(study / "a.png")


def test_a_plain_network_of_something_else_is_refused(study: Path, tmp_path: Path) -> None:
    for trial, about in ((SE, ABOUT), (PLAIN, About("digits", SHAPE, 10, None, (77.0,), (60.0,)))):
        save_trained(tmp_path / f"{trial.slug()}.safetensors", build(trial, SHAPE, 10), trial, about)
    with pytest.raises(AttnzooError, match="expected plain resnet20, seed 0 on the images of se-block"):
        open_run(tmp_path / f"{SE.slug()}.safetensors")


def test_without_a_plain_network_the_modules_are_taken_out(tmp_path: Path) -> None:
    save_trained(tmp_path / "x.safetensors", build(SE, SHAPE, 10), SE, ABOUT)
    out = tmp_path / "x.svg"
    draw(tmp_path / "x.safetensors", [png(tmp_path / "a.png")], out=out, cam=False)
    assert "Without: the same weights with the modules taken out." in texts(out)


# Figures


def texts(svg: Path) -> str:
    """The text of a figure, which matplotlib leaves in comments beside the glyphs."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", svg.read_text(encoding="utf-8")))


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_figure_is_drawn_and_drawn_again(study: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"figure.{kind}"
    contents = []
    for _ in range(2):
        drawn = draw(study, [study / "a.png"], out=out, module="cbam", points=[(5, 5)], cam=False)
        assert (drawn.out, drawn.left_out) == (out, ())
        contents.append(out.read_bytes())
    content = contents[0]
    assert content == contents[1]  # no dates
    assert content[:4] == {"png": b"\x89PNG", "svg": b"<?xm", "pdf": b"%PDF"}[kind]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_the_figure_says_what_it_shows(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "figure.svg"
    draw(study, [study / "a.png"], out=out, module="cbam", target="d", cam_stages=True)
    said = texts(out)
    for text in (
        "a.png",
        "input, 8 x 8",
        "cbam · channel_gate: gate of each channel",
        "cbam · spatial_gate: gate of each place",
        "stage 3 · layer3.2.bn2",
        "Grad-CAM++ for class d, with cbam",
        "Grad-CAM for class d, without",
        "Without: plain resnet20, seed 0, of the same study.",
    ):
        assert text in said


def test_broken_images_are_left_out_by_name(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "figure.svg"
    images = [study / name for name in ("broken.png", "a.png", "missing.png")]
    drawn = draw(study, images, out=out, module="se", cam=False)
    assert [line.split(": ")[0] for line in drawn.left_out] == [str(images[0]), str(images[2])]
    assert "a.png" in texts(out)
    assert "broken.png" not in texts(out)
    with pytest.raises(AttnzooError, match=r"broken\.png: expected an image, .*missing\.png: expected an image file"):
        draw(study, [images[0], images[2]], out=tmp_path / "none.svg", module="se", cam=False)
    assert not (tmp_path / "none.svg").exists()


def test_other_files_are_not_overwritten(study: Path, tmp_path: Path) -> None:
    photo = png(tmp_path / "photo.png")
    content = photo.read_bytes()
    with pytest.raises(AttnzooError, match=r"photo\.png: is there, but no figure of attnzoo explain"):
        draw(study, [study / "a.png"], out=photo, module="se")
    assert photo.read_bytes() == content
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(AttnzooError, match="is there, but no figure"):
        draw(study, [study / "a.png"], out=tmp_path / "folder.svg", module="se")
    for name, got in (("figure.jpg", "'.jpg'"), ("figure", "'no suffix'")):
        with pytest.raises(AttnzooError, match=rf"expected a file \.png, \.svg, \.pdf, got {re.escape(got)}"):
            draw(study, [study / "a.png"], out=tmp_path / name, module="se")


def test_a_failed_write_keeps_the_figure_before(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "figure.svg"
    draw(study, [study / "a.png"], out=out, module="se", cam=False)
    content = out.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(AttnzooError, match=r"figure\.svg: cannot be written .*No space left"):
        draw(study, [study / "b.png"], out=out, module="se", cam=False)
    assert out.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("se", {"every": True}),
        ("cbam", {}),
        ("triplet", {"parts": True}),
        ("gam", {}),
        ("da_position", {"points": [(0, 0), (7, 7), (3, 4)]}),
        ("external_attention", {}),
        ("c3", {}),
        ("glore", {}),
    ],
)
def test_no_text_is_cut_off_and_no_panels_overlap(module: str, options: dict[str, Any]) -> None:
    names = [f"a class with the long name number {k}" for k in range(10)]
    found = seen(network(module), title="a" * 200, class_names=names, **options)
    drawn = figure([found, found])
    drawn.draw_without_rendering()
    ink = drawn.get_tightbbox()  # in inches
    assert min(ink.x0, ink.y0, drawn.get_figwidth() - ink.x1, drawn.get_figheight() - ink.y1) > 0
    boxes = [axes.get_window_extent() for axes in drawn.axes]
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


def test_all_panels_of_a_row_share_their_scale() -> None:
    found = seen(network("cbam"))
    drawn = figure([found])
    drawn.draw_without_rendering()
    shown = [axes.images[1].norm for axes in drawn.axes if len(axes.images) == 2]
    every = torch.cat([one.values.flatten() for one in found.maps if one.kind == "places"])
    assert len(shown) == 3
    for norm in shown:
        assert (norm.vmin, norm.vmax) == pytest.approx((float(every.min()), float(every.max())))


def test_too_many_images_for_a_figure() -> None:
    found = seen(network("se"))
    with pytest.raises(AttnzooError, match=r"100 images make a figure of .* inches, above 400; draw fewer"):
        figure([found] * 100)
    with pytest.raises(AttnzooError, match="expected an explanation or more, got none"):
        figure([])


def test_save_takes_any_figure(tmp_path: Path) -> None:
    save(figure([seen(network("se"))]), tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
