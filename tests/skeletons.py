"""Published networks as skeletons: plain layers in the order of the data, under the authors' names, computing nothing.

Their state dicts have the keys and shapes of the authors' checkpoints.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

CLASSES = 7
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
DEPTHS |= {200: (3, 24, 36, 3), 269: (3, 30, 48, 8)}
Parts = dict[str, nn.Module]
Ends = Callable[[int, int], Parts]  # the stage, the channels that a block gives -> what its attention is made of
conv = partial(nn.Conv2d, bias=False)
norm = nn.BatchNorm2d
gap = nn.Identity  # a place in a Sequential without weights


def named(**parts: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict(parts)


def conv_bn(number: int | str, *args: Any, **others: Any) -> Parts:
    layer = conv(*args, **others)
    return {f"conv{number}": layer, f"bn{number}": norm(layer.out_channels)}


def nothing(_: int, __: int) -> Parts:
    return {}


def basic(channels: int, planes: int, ends: Parts) -> Parts:
    return {**conv_bn(1, channels, planes, 3), **conv_bn(2, planes, planes, 3), **ends}


def bottleneck(
    channels: int,
    planes: int,
    ends: Parts,
    widening: int = 1,
    groups: int = 1,
    middle: Callable[[int], Parts] | None = None,
) -> Parts:
    width = widening * planes
    between = middle(width) if middle else conv_bn(2, width, width, 3, groups=groups)
    return {**conv_bn(1, channels, width, 1), **between, **conv_bn(3, width, 4 * planes, 1), **ends}


def stages(
    depth: int,
    ends: Ends = nothing,
    block: Callable[..., Parts] | None = None,
    channels: int = 64,
    pooled: bool = False,
    kernels: Iterable[int] = (1, 1, 1, 1),
) -> Parts:
    block = block or (basic if depth < 50 else bottleneck)
    made: Parts = {}
    for i, (count, kernel) in enumerate(zip(DEPTHS[depth], kernels, strict=True)):
        planes = 64 * 2**i
        given = planes if depth < 50 else 4 * planes
        blocks = []
        for _ in range(count):
            parts = block(channels, planes, ends(i, given))
            if channels != given:
                pool = [gap()] if pooled else []
                parts["downsample"] = nn.Sequential(*pool, conv(channels, given, kernel), norm(given))
            blocks.append(nn.ModuleDict(parts))
            channels = given
        made[f"layer{i + 1}"] = nn.Sequential(*blocks)
    return made


def resnet(depth: int, ends: Ends = nothing, **others: Any) -> nn.ModuleDict:
    fc = nn.Linear(512 if depth < 50 else 2048, CLASSES)
    return named(**conv_bn(1, 3, 64, 7), **stages(depth, ends, **others), fc=fc)


def deep_stem(channels: int) -> Parts:
    half = channels // 2
    layers = [conv(3, half, 3), norm(half), gap(), conv(half, half, 3), norm(half), gap(), conv(half, channels, 3)]
    return {"conv1": nn.Sequential(*layers), "bn1": norm(channels)}


def deep_resnet(depth: int, stem_channels: int, block: Callable[..., Parts], pooled: bool = True) -> nn.ModuleDict:
    body = stages(depth, block=block, channels=stem_channels, pooled=pooled)
    return named(**deep_stem(stem_channels), **body, fc=nn.Linear(2048, CLASSES))


def se(_: int, channels: int) -> Parts:
    return {"se_module": named(fc1=nn.Conv2d(channels, channels // 16, 1), fc2=nn.Conv2d(channels // 16, channels, 1))}


def se_resnet(depth: int, **others: Any) -> nn.ModuleDict:
    body = stages(depth, se, **others)
    return named(layer0=named(**conv_bn(1, 3, 64, 7)), **body, last_linear=nn.Linear(2048, CLASSES))


def senet_block(channels: int, planes: int, ends: Parts) -> Parts:
    width = 4 * planes
    middle = conv_bn(2, width // 2, width, 3, groups=64)
    return {**conv_bn(1, channels, width // 2, 1), **middle, **conv_bn(3, width, width, 1), **ends}


def senet154() -> nn.ModuleDict:
    stem = named(**conv_bn(1, 3, 64, 3), **conv_bn(2, 64, 64, 3), **conv_bn(3, 64, 128, 3))
    body = stages(152, se, block=senet_block, channels=128, kernels=(1, 3, 3, 3))
    return named(layer0=stem, **body, last_linear=nn.Linear(2048, CLASSES))


def eca(*kernels: int) -> Ends:
    return lambda stage, _: {"eca": named(conv=nn.Conv1d(1, 1, kernels[stage], bias=False))}


def cbam(_: int, channels: int) -> Parts:
    hidden = channels // 16
    mlp = nn.Sequential(gap(), nn.Linear(channels, hidden), gap(), nn.Linear(hidden, channels))
    return {"cbam": named(ChannelGate=named(mlp=mlp), SpatialGate=named(spatial=named(conv=conv(2, 1, 7), bn=norm(1))))}


def bam(channels: int) -> nn.Module:
    r = channels // 16
    channel = named(
        gate_c_fc_0=nn.Linear(channels, r), gate_c_bn_1=nn.BatchNorm1d(r), gate_c_fc_final=nn.Linear(r, channels)
    )
    spatial = named(
        gate_s_conv_reduce0=nn.Conv2d(channels, r, 1),
        gate_s_bn_reduce0=norm(r),
        gate_s_conv_di_0=nn.Conv2d(r, r, 3),
        gate_s_bn_di_0=norm(r),
        gate_s_conv_di_1=nn.Conv2d(r, r, 3),
        gate_s_bn_di_1=norm(r),
        gate_s_conv_final=nn.Conv2d(r, 1, 1),
    )
    return named(channel_att=named(gate_c=channel), spatial_att=named(gate_s=spatial))


def after(network: nn.ModuleDict, extras: dict[str, Parts]) -> nn.ModuleDict:
    """The parts of a network, each followed by its extras."""
    made: Parts = {}
    for name, part in network.items():
        made |= {name: part, **extras.get(name, {})}
    return nn.ModuleDict(made)


def bam_resnet(depth: int) -> nn.ModuleDict:
    widths = [64 * 2**i * (1 if depth < 50 else 4) for i in range(3)]
    return after(resnet(depth), {f"layer{i + 1}": {f"bam{i + 1}": bam(width)} for i, width in enumerate(widths)})


def shuffle(channels: int, groups: int) -> nn.Module:
    half = channels // (2 * groups)
    made = named(gn=nn.GroupNorm(half, half))
    for vector in ("cweight", "cbias", "sweight", "sbias"):
        made.register_parameter(vector, nn.Parameter(torch.empty(1, half, 1, 1)))
    return made


def sa(_: int, channels: int) -> Parts:
    return {"sa": shuffle(channels, 64)}


def triplet(_: int, __: int) -> Parts:
    gates = {gate: named(conv=named(conv=conv(2, 1, 7), bn=norm(1))) for gate in ("cw", "hc", "hw")}
    return {"triplet_attention": nn.ModuleDict(gates)}


def old_triplet(_: int, __: int) -> Parts:
    names = ("ChannelGateH", "ChannelGateW", "SpatialGate")
    gates = {gate: named(spatial=named(conv=conv(2, 1, 7), bn=norm(1))) for gate in names}
    return {"triplet_attention": nn.ModuleDict(gates)}


def psa(width: int) -> Parts:
    q = width // 4
    branches = zip((3, 5, 7, 9), (1, 4, 8, 16), strict=True)
    convs = {f"conv_{i + 1}": conv(width, q, kernel, groups=groups) for i, (kernel, groups) in enumerate(branches)}
    scorer = named(fc1=nn.Conv2d(q, q // 16, 1), fc2=nn.Conv2d(q // 16, q, 1))
    return {"conv2": named(**convs, se=scorer), "bn2": norm(width)}


def split_attention(radix: int, groups: int, width: int) -> Parts:
    hidden = max(width * radix // 4, 32)
    parts = named(
        conv=conv(width, width * radix, 3, groups=groups * radix),
        bn0=norm(width * radix),
        fc1=nn.Conv2d(width, hidden, 1, groups=groups),
        bn1=norm(hidden),
        fc2=nn.Conv2d(hidden, width * radix, 1, groups=groups),
    )
    return {"conv2": parts}


def resnest_block(channels: int, planes: int, ends: Parts, radix: int = 2, groups: int = 1, width: int = 64) -> Parts:
    inner = planes * width // 64 * groups
    middle = split_attention(radix, groups, inner)
    return {**conv_bn(1, channels, inner, 1), **middle, **conv_bn(3, inner, 4 * planes, 1), **ends}


def sk_block(channels: int, planes: int, ends: Parts, least: int = 32) -> Parts:
    width = 2 * planes
    hidden = max(width // 16, least if planes == 128 else 32)

    def unit(*args: Any, **others: Any) -> nn.Module:
        layer = conv(*args, **others)
        return named(conv=layer, bn=norm(layer.out_channels))

    gate = named(fc_reduce=conv(width, hidden, 1), bn=norm(hidden), fc_select=conv(hidden, 2 * width, 1))
    middle = named(paths=nn.ModuleList(unit(width, width, 3, groups=32) for _ in range(2)), attn=gate)
    return {"conv1": unit(channels, width, 1), "conv2": middle, "conv3": unit(width, 4 * planes, 1), **ends}


def sc_block(channels: int, planes: int, ends: Parts) -> Parts:
    lane = planes // 2
    unit = nn.Sequential
    calibrated = named(
        k2=unit(gap(), conv(lane, lane, 3), norm(lane)),
        k3=unit(conv(lane, lane, 3), norm(lane)),
        k4=unit(conv(lane, lane, 3), norm(lane)),
    )
    return {
        **{f"conv1_{x}": conv(channels, lane, 1) for x in "ab"},
        **{f"bn1_{x}": norm(lane) for x in "ab"},
        "k1": unit(conv(lane, lane, 3), norm(lane)),
        "scconv": calibrated,
        **conv_bn(3, 2 * lane, 4 * planes, 1),
        **ends,
    }


def gsop(parts: bool, _: int, channels: int) -> Parts:
    """The authors' modules stand side by side in the last block of a stage."""
    if not parts:
        return {}
    d = 128
    return {
        "conv_for_DR": nn.Conv2d(channels, d, 1),
        "bn_for_DR": norm(d),
        "row_bn": norm(d),
        "row_conv_group": nn.Conv2d(d, 4 * d, (d, 1), groups=d),
        "fc_adapt_channels": nn.Conv2d(4 * d, channels, 1),
    }


def gsop_resnet(second: bool) -> nn.ModuleDict:
    places = iter(
        [j == count - 1 and not (second and i == 3) for i, count in enumerate(DEPTHS[50]) for j in range(count)]
    )
    made = resnet(50, lambda stage, channels: gsop(next(places), stage, channels))
    if second:
        made.update({"layer_reduce": conv(2048, 256, 1), "layer_reduce_bn": norm(256)})
        made["fc"] = nn.Linear(256 * 257 // 2, CLASSES)
    return made


def conv_bn_relu(*args: Any, **others: Any) -> nn.Sequential:
    layer = conv(*args, **others)
    return nn.Sequential(layer, norm(layer.out_channels))


MOBILE = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


def mobilenet(block: Callable[[int, int, int], nn.Module]) -> tuple[nn.Module, ...]:
    """Stem and blocks."""
    made: list[nn.Module] = [conv_bn_relu(3, 32, 3)]
    channels = 32
    for expansion, width, count in MOBILE:
        for _ in range(count):
            made.append(block(channels, width, expansion))
            channels = width
    return tuple(made)


def classifier() -> nn.Module:
    return nn.Sequential(gap(), nn.Linear(1280, CLASSES))


def grouped_block(channels: int, width: int, expansion: int, gated: bool) -> nn.Module:
    """Of torchvision, and of ECA's authors."""
    inner = expansion * channels
    layers = [conv_bn_relu(channels, inner, 1)] if expansion > 1 else []
    layers += [conv_bn_relu(inner, inner, 3, groups=inner), conv(inner, width, 1), norm(width)]
    if gated:
        layers.append(named(conv=nn.Conv1d(1, 1, 1 if width < 96 else 3, bias=False)))
    return named(conv=nn.Sequential(*layers))


def torchvision_mobilenet(gated: bool) -> nn.Module:
    features = *mobilenet(partial(grouped_block, gated=gated)), conv_bn_relu(320, 1280, 1)
    return named(features=nn.Sequential(*features), classifier=classifier())


def flat_block(channels: int, width: int, expansion: int) -> nn.Module:
    """Of coordinate attention's authors, whose released network names its convolutions by numbers."""
    inner = expansion * channels
    layers = [conv(channels, inner, 1), norm(inner), gap()] if expansion > 1 else []
    layers += [conv(inner, inner, 3, groups=inner), norm(inner), gap()]
    if expansion > 1:
        m = max(8, inner // 32)
        gates = {f"conv{i}": nn.Conv2d(m, inner, 1) for i in (2, 3)}
        layers.append(named(conv1=nn.Conv2d(inner, m, 1), bn1=norm(m), **gates))
    return named(conv=nn.Sequential(*layers, conv(inner, width, 1), norm(width)))


def coord_mobilenet() -> nn.Module:
    features = nn.Sequential(*mobilenet(flat_block))
    return named(features=features, conv=conv_bn_relu(320, 1280, 1), classifier=classifier())


def cifar_block(channels: int, width: int, expansion: int, strided: bool) -> nn.Module:
    inner = expansion * channels
    parts = {
        **conv_bn(1, channels, inner, 1),
        **conv_bn(2, inner, inner, 3, groups=inner),
        **conv_bn(3, inner, width, 1),
    }
    if channels != width and not strided:
        parts["shortcut"] = conv_bn_relu(channels, width, 1)
    return nn.ModuleDict(parts)


def cifar_mobilenet() -> nn.Module:
    _, *layers = mobilenet(lambda c, width, e: cifar_block(c, width, e, strided=width in (32, 64, 160)))
    ends = {**conv_bn(2, 320, 1280, 1), "linear": nn.Linear(1280, CLASSES)}
    return named(**conv_bn(1, 3, 32, 3), layers=nn.Sequential(*layers), **ends)


def cifar_resnet(depth: int) -> nn.Module:
    body = stages(depth)
    for stage in body.values():
        for block in stage:
            if "downsample" in block:
                block["shortcut"] = block.pop("downsample")
    return named(**conv_bn(1, 3, 64, 3), **body, linear=nn.Linear(512 if depth < 50 else 2048, CLASSES))


def pre_activation(attention: Callable[[int], Parts]) -> nn.Module:
    body, channels = {}, 64
    for i in range(4):
        width, blocks = 64 * 2**i, []
        for _ in range(2):
            parts = {
                "bn1": norm(channels),
                "conv1": conv(channels, width, 3),
                "bn2": norm(width),
                "conv2": conv(width, width, 3),
            }
            if channels != width:
                parts["shortcut"] = nn.Sequential(conv(channels, width, 1))
            blocks.append(nn.ModuleDict({**parts, **attention(width)}))
            channels = width
        body[f"layer{i + 1}"] = nn.Sequential(*blocks)
    return named(**conv_bn(1, 3, 64, 3), **body, linear=nn.Linear(512, CLASSES))


def gates_of_se(channels: int) -> Parts:
    return {"fc1": nn.Conv2d(channels, channels // 16, 1), "fc2": nn.Conv2d(channels // 16, channels, 1)}


def cell(channels: int) -> nn.Module:
    maps = {
        f"w_{of}": nn.ModuleList(
            [
                named(
                    seq=nn.Sequential(nn.Linear(channels, channels // 4), gap(), nn.Linear(channels // 4, 4 * channels))
                )
            ]
        )
        for of in ("ih", "hh")
    }
    return nn.ModuleDict(maps)


def dia(
    blocks: int, block: Callable[..., Parts], planes: tuple[int, ...], channels: int, given: int, stage: str
) -> Parts:
    made = {}
    for i, width in enumerate(planes):
        layers = []
        for _ in range(blocks):
            layers.append(nn.ModuleDict(block(channels, width)))
            channels = given * width
        made[stage.format(i + 1)] = named(ModuleList=nn.ModuleList(layers), lstm=cell(channels))
    return made


def dia_block(channels: int, planes: int) -> Parts:
    parts = bottleneck(channels, planes, {})
    return {**parts, "downsample": conv_bn_relu(channels, 4 * planes, 1)} if channels != 4 * planes else parts


def dia_pre_block(channels: int, planes: int) -> Parts:
    parts = {
        "bn1": norm(channels),
        "conv1": conv(channels, planes, 1),
        "bn2": norm(planes),
        "conv2": conv(planes, planes, 3),
        "bn3": norm(planes),
        "conv3": conv(planes, 4 * planes, 1),
    }
    if channels != 4 * planes:
        parts["downsample"] = nn.Sequential(conv(channels, 4 * planes, 1))
    return {**parts, "bn_additional": norm(4 * planes)}


def dia_wide_block(channels: int, width: int) -> Parts:
    parts = {
        "bn1": norm(channels),
        "conv1": conv(channels, width, 3),
        "bn2": norm(width),
        "conv2": conv(width, width, 3),
    }
    if channels != width:
        parts["convShortcut"] = conv(channels, width, 1)
    return {**parts, "bn_additional": norm(width)}


def dia_next_block(channels: int, planes: int) -> Parts:
    given, inner = 4 * planes, 8 * planes
    parts = {
        "conv_reduce": conv(channels, inner, 1),
        "bn_reduce": norm(inner),
        "conv_conv": conv(inner, inner, 3, groups=8),
        "bn": norm(inner),
        "conv_expand": conv(inner, given, 1),
        "bn_expand": norm(given),
    }
    if channels != given:
        parts["shortcut"] = named(shortcut_conv=conv(channels, given, 1), shortcut_bn=norm(given))
    return parts


def dia_resnet(blocks: int) -> nn.Module:
    body = dia(blocks, dia_block, (16, 32, 64), 16, 4, "layer{}")
    return named(**conv_bn(1, 3, 16, 3), **body, fc=nn.Linear(256, CLASSES))


def dia_preresnet() -> nn.Module:
    body = dia(18, dia_pre_block, (16, 32, 64), 16, 4, "layer{}")
    return named(conv1=conv(3, 16, 3), **body, bn=norm(256), fc=nn.Linear(256, CLASSES))


def dia_wide_resnet() -> nn.Module:
    body = dia(8, dia_wide_block, (64, 128, 256), 16, 1, "block{}")
    return named(conv1=conv(3, 16, 3), **body, bn1=norm(256), fc=nn.Linear(256, CLASSES))


def dia_resnext() -> nn.Module:
    body = dia(11, dia_next_block, (32, 64, 128), 32, 4, "stage_{}")
    return named(conv_1_3x3=conv(3, 32, 3), bn_1=norm(32), **body, classifier=nn.Linear(512, CLASSES))


def inception(channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> nn.Module:
    def chain(*layers: nn.Module) -> nn.Module:
        parts = [part for layer in layers for part in (layer, norm(layer.out_channels), gap())]
        return nn.Sequential(*parts)

    full = nn.Conv2d
    return named(
        b1=chain(full(channels, one, 1)),
        b2=chain(full(channels, reduce3, 1), full(reduce3, three, 3)),
        b3=chain(full(channels, reduce5, 1), full(reduce5, five, 3), full(five, five, 3)),
        b4=nn.Sequential(gap(), *chain(full(channels, pool, 1))),
    )


def googlenet() -> nn.Module:
    return named(
        pre_layers=nn.Sequential(nn.Conv2d(3, 192, 3), norm(192)),
        a3=inception(192, 64, 96, 128, 16, 32, 32),
        b3=inception(256, 128, 128, 192, 32, 96, 64),
        a4=inception(480, 192, 96, 208, 16, 48, 64),
        b4=inception(512, 160, 112, 224, 24, 64, 64),
        c4=inception(512, 128, 128, 256, 24, 64, 64),
        d4=inception(512, 112, 144, 288, 32, 64, 64),
        e4=inception(528, 256, 160, 320, 32, 128, 128),
        a5=inception(832, 256, 160, 320, 32, 128, 128),
        b5=inception(832, 384, 192, 384, 48, 128, 128),
        linear=nn.Linear(1024, CLASSES),
    )


def shufflenet() -> nn.Module:
    body, channels = {}, 24
    for i, (width, count) in enumerate(((116, 3), (232, 7), (464, 3))):
        half = width // 2
        left = {**conv_bn(1, channels, channels, 3, groups=channels), **conv_bn(2, channels, half, 1)}
        right = {**conv_bn(3, channels, half, 1), **conv_bn(4, half, half, 3, groups=half), **conv_bn(5, half, half, 1)}
        middle = partial(conv_bn, 2, half, half, 3, groups=half)
        blocks = [named(**conv_bn(1, half, half, 1), **middle(), **conv_bn(3, half, half, 1)) for _ in range(count)]
        body[f"layer{i + 1}"] = nn.Sequential(named(**left, **right), *blocks)
        channels = width
    return named(**conv_bn(1, 3, 24, 3), **body, **conv_bn(2, 464, 1024, 1), linear=nn.Linear(1024, CLASSES))


def emanet() -> nn.Module:
    body = deep_resnet(50, 128, bottleneck, pooled=False)
    extractor = nn.Sequential(body["conv1"], body["bn1"], gap(), gap(), *(body[f"layer{i}"] for i in range(1, 5)))
    emau = named(conv1=nn.Conv2d(512, 512, 1), conv2=nn.Sequential(conv(512, 512, 1), norm(512)))
    emau.register_buffer("mu", torch.empty(1, 512, 64))
    reduce = nn.Sequential(named(conv=conv(512, 256, 3), bn=norm(256)))
    enter = named(conv=conv(2048, 512, 3), bn=norm(512))
    return named(extractor=extractor, fc0=enter, emau=emau, fc1=reduce, fc2=nn.Conv2d(256, CLASSES, 1))


def iau(channels: int) -> nn.Module:
    def projection(given: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, given, 1), norm(given))

    masks = named(conv=named(conv=nn.Conv2d(channels, 4, 1), bn=norm(4)))
    inner = named(module_w=named(relation=projection(1)), module_l=named(fsm=projection(channels // 2)))
    reduce = nn.Conv2d(channels, channels // 2, 1)
    return named(W1=projection(channels), sa=masks, g=reduce, SIAU=inner, W2=projection(channels))


def iaunet() -> nn.Module:
    made = resnet(50)
    del made["fc"]
    made = after(made, {"layer2": {"IAU2": iau(512)}, "layer3": {"IAU3": iau(1024)}})
    return named(**made, classifier=nn.Linear(2048, CLASSES), bn=nn.BatchNorm1d(2048))


def san_attention(channels: int, kernel: int, pairwise: bool) -> nn.Module:
    width, compared, shared = channels // 4, channels // 16, channels // 32
    full = partial(nn.Conv2d, kernel_size=1)
    parts = named(conv1=full(channels, compared), conv2=full(channels, compared), conv3=full(channels, width))
    seen = compared + 2 if pairwise else compared * (kernel**2 + 1)
    hidden = compared if pairwise else shared
    given = shared if pairwise else kernel**2 * shared
    if pairwise:
        parts["conv_p"] = full(2, 2)
    parts["conv_w"] = nn.Sequential(norm(seen), gap(), conv(seen, hidden, 1), norm(hidden), gap(), full(hidden, given))
    return parts


def san(pairwise: bool) -> nn.Module:
    made, channels = named(conv_in=conv(3, 64, 1), bn_in=norm(64)), 64
    for i, (width, count, kernel) in enumerate(
        zip((64, 256, 512, 1024, 2048), (2, 1, 2, 4, 1), (3, 7, 7, 7, 7), strict=True)
    ):
        made[f"conv{i}"] = conv(channels, width, 1)
        made[f"layer{i}"] = nn.Sequential(
            *(
                named(
                    bn1=norm(width),
                    sam=san_attention(width, kernel, pairwise),
                    bn2=norm(width // 4),
                    conv=nn.Conv2d(width // 4, width, 1),
                )
                for _ in range(count)
            )
        )
        made[f"bn{i}"] = norm(width)
        channels = width
    made["fc"] = nn.Linear(2048, CLASSES)
    return made


def exchange(widths: list[int]) -> nn.Module:
    def path(source: int, target: int) -> nn.Module:
        if source == target:
            return gap()
        if source > target:
            return conv_bn_relu(widths[source], widths[target], 1)
        steps = range(target - source)
        return nn.Sequential(
            *(conv_bn_relu(widths[source], widths[target if k == steps[-1] else source], 3) for k in steps)
        )

    places = range(len(widths))
    branches = [nn.Sequential(*(nn.ModuleDict(basic(w, w, {})) for _ in range(4))) for w in widths]
    fuse = [nn.ModuleList(path(source, target) for source in places) for target in places]
    return named(branches=nn.ModuleList(branches), fuse_layers=nn.ModuleList(fuse))


def ocrnet(width: int) -> nn.Module:
    widths, total = [width * 2**i for i in range(4)], 15 * width
    first = [nn.ModuleDict(bottleneck(64 if not i else 256, 64, {})) for i in range(4)]
    first[0]["downsample"] = conv_bn_relu(64, 256, 1)
    body = {"layer1": nn.Sequential(*first)}
    starts = [conv_bn_relu(256, widths[0], 3), nn.Sequential(conv_bn_relu(256, widths[1], 3))]
    for i in (1, 2, 3):
        body[f"transition{i}"] = nn.ModuleList(starts)
        starts = [gap()] * (i + 1) + [nn.Sequential(conv_bn_relu(widths[i], widths[min(i + 1, 3)], 3))]

    for i, count in ((2, 1), (3, 4), (4, 3)):
        body[f"stage{i}"] = nn.Sequential(*(exchange(widths[:i]) for _ in range(count)))

    def unit(channels: int, given: int) -> list[nn.Module]:
        return [conv(channels, given, 1), nn.Sequential(norm(given))]

    context = named(
        f_pixel=nn.Sequential(*unit(512, 256), *unit(256, 256)),
        f_object=nn.Sequential(*unit(512, 256), *unit(256, 256)),
        f_down=nn.Sequential(*unit(512, 256)),
        f_up=nn.Sequential(*unit(256, 512)),
    )
    return named(
        **{**conv_bn(1, 3, 64, 3), **conv_bn(2, 64, 64, 3), **body},
        aux_head=nn.Sequential(nn.Conv2d(total, total, 1), norm(total), gap(), nn.Conv2d(total, CLASSES, 1)),
        conv3x3_ocr=nn.Sequential(nn.Conv2d(total, 512, 3), norm(512)),
        ocr_distri_head=named(object_context_block=context, conv_bn_dropout=nn.Sequential(*unit(1024, 512))),
        cls_head=nn.Conv2d(512, CLASSES, 1),
    )


def layer_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels)  # weight and bias, as a layer normalisation


def next_block(channels: int, focal: bool) -> nn.Module:
    depthwise = partial(nn.Conv2d, channels, channels, 7, groups=channels)
    looks = (
        {f"dwconv{i}": nn.Sequential(depthwise(), layer_norm(channels)) for i in (1, 2)}
        if focal
        else {"dwconv": depthwise(), "norm": layer_norm(channels)}
    )
    made = named(**looks, pwconv1=nn.Linear(channels, 4 * channels), pwconv2=nn.Linear(4 * channels, channels))
    made.register_parameter("gamma", nn.Parameter(torch.empty(channels)))
    return made


def cednet(channels: tuple[int, ...] = (192, 352, 512), depths: tuple[int, ...] = (2, 4, 2)) -> nn.Module:
    def halving(given: int, width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(given, width, 2), layer_norm(width))

    stem = [nn.Conv2d(3, 32, 3), layer_norm(32), gap(), nn.Conv2d(32, 96, 3), layer_norm(96)]
    stage: list[nn.Module] = [nn.Sequential(*(next_block(96, False) for _ in range(3)), halving(96, channels[0]))]
    for i in range(3):
        levels = zip(channels, depths, (False, False, True), strict=True)
        encoder = named(
            encoder=nn.ModuleList(nn.Sequential(*(next_block(c, focal) for _ in range(n))) for c, n, focal in levels),
            encoder_downsample=nn.ModuleList([halving(*channels[:2]), halving(*channels[1:])]),
        )
        ups = [nn.Sequential(nn.Conv2d(channels[2 - j], channels[1 - j], 1)) for j in range(2)]
        norms = nn.Sequential(layer_norm(channels[1]), layer_norm(channels[0]))
        decoder = named(decoder_upsample=nn.ModuleList(ups), decoder_norm=norms)
        stage.append(nn.Sequential(encoder, *([decoder] if i < 2 else [])))
    widen = (nn.Sequential(nn.Conv2d(channels[2], 2048, 1), layer_norm(2048)) for _ in range(3))
    return named(
        stem=nn.Sequential(*stem),
        stages=nn.ModuleList(stage),
        final_layers=nn.ModuleList(widen),
        norms=nn.ModuleList(nn.LayerNorm(2048) for _ in range(3)),
        heads=nn.ModuleList(nn.Linear(2048, CLASSES) for _ in range(3)),
    )
