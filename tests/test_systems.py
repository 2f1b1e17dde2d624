"""Do systems of several parts compute what their papers say, learn with their own losses, and refuse what is wrong?"""

import copy
import math
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import attnzoo
from attnzoo.lab.data import load
from attnzoo.networks.adversarial import PatchDiscriminator, discriminator_loss
from attnzoo.networks.branched import Branched
from attnzoo.networks.dense.boxes import covered, overlaps, owners, shrunk, suppressed
from attnzoo.networks.dense.guided_attention_loss import GuidedAttentionLoss
from attnzoo.networks.dense.guided_attention_net import Found, objects
from attnzoo.networks.dense.hatt_matting import resnext
from attnzoo.networks.imagenet.ra_cnn import strongest
from attnzoo.networks.losses import BiSeNetLoss, MattingLoss, OhemCrossEntropy, RACNNLoss, ssim
from attnzoo.networks.resnet import ResNet, basic, large_stem
from attnzoo.networks.vgg import VGG
from attnzoo.verify.fingerprint import fill

THIN = {"widths": (4, 6, 8, 8, 8), "depths": (1, 2, 1, 1, 1), "hidden_channels": 8}  # of RA-CNN


def backbone(in_channels: int, strides: tuple[int, ...] = (1, 2, 2, 2), pool: bool = True) -> ResNet:
    """The maps of a small ResNet."""
    return ResNet(
        "small",
        1,
        in_channels,
        True,
        blocks=[basic] * 4,
        depths=(1, 1, 1, 1),
        planes=(8, 8, 16, 16),
        strides=strides,
        expansion=1,
        stem=large_stem,
        stem_channels=8,
        stem_stride=2,
        pool=nn.MaxPool2d(3, 2, padding=1) if pool else None,
    )


def falls(step: Callable[[], float], to: float, most: int) -> bool:
    """Whether the loss of a training step falls to this share of the first's within so many steps."""
    first = step()
    return any(step() <= to * first for _ in range(most))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_equals_torchvision(batch_norm: bool) -> None:
    layers = torchvision.models.vgg.make_layers([4, 4, "M", 6, "M", 8, 8, "M"], batch_norm).double().eval()
    fill(layers, 1.0)
    network = VGG("vgg", 1, 3, True, depths=(2, 1, 2), widths=(4, 6, 8), batch_norm=batch_norm, last_pool=True)
    attnzoo.load_reference(network, layers.state_dict())
    x = torch.randn(2, 3, 21, 18, dtype=torch.float64)
    maps = network.double().eval()(x)
    torch.testing.assert_close(maps[-1], layers(x))
    assert [m.shape[1] for m in maps] == network.feature_info.channels() == [4, 6, 8, 8]
    assert network.feature_info.reduction() == [1, 2, 4, 8]


def test_ra_cnn_equals_the_papers_form() -> None:
    """Written out: pooled features and a classifier at each scale, a proposal and a crop between them, their fusion."""
    torch.manual_seed(0)
    network = attnzoo.create("ra_cnn", num_classes=5, image_size=70, **THIN).double()
    fill(network, 1.0)
    weights = network.state_dict()
    x = torch.randn(2, 3, 70, 70, dtype=torch.float64)
    looks = network(x)
    descriptors, image = [], x
    for scale in range(3):
        seen = network.trunks[scale](image)[-1]
        descriptors.append(seen.mean(dim=(2, 3)))
        logits = descriptors[-1] @ weights[f"classifiers.{scale}.weight"].T + weights[f"classifiers.{scale}.bias"]
        torch.testing.assert_close(looks.scales[scale], logits)
        if scale == 2:
            break
        at = f"proposals.{scale}.predict."
        flat = (F.max_pool2d(seen, 2) if scale == 0 else seen).flatten(1)
        hidden = (flat @ weights[f"{at}fc1.weight"].T + weights[f"{at}fc1.bias"]).tanh()
        box = (hidden @ weights[f"{at}fc2.weight"].T + weights[f"{at}fc2.bias"]).sigmoid()
        torch.testing.assert_close(looks.boxes[scale], box)
        image = attnzoo.create("ra_cnn_crop", out_size=35)(image, box * image.shape[2])
    whole = torch.cat([d / d.norm(dim=1, keepdim=True) for d in descriptors], dim=1)
    torch.testing.assert_close(looks.logits, whole @ weights["fusion.weight"].T + weights["fusion.bias"])


def test_ra_cnn_knows_where_features_are_strongest() -> None:
    features = torch.zeros(2, 3, 4, 5)
    features[0, :, 2, 1] = features[1, 0, 0, 4] = 1.0
    torch.testing.assert_close(strongest(features), torch.tensor([[2.5 / 4, 1.5 / 5], [0.5 / 4, 4.5 / 5]]))


def test_ra_cnn_learns_in_turns() -> None:
    torch.manual_seed(0)
    digits = load("digits", limit_train=40).train
    images, labels = F.interpolate(digits.images.float() / 255, 32), digits.labels
    network = attnzoo.create(
        "ra_cnn",
        num_classes=10,
        in_channels=1,
        image_size=32,
        batch_norm=True,
        **{**THIN, "widths": (8, 12, 16, 16, 16)},
    )
    criterion = RACNNLoss()
    judges = torch.optim.Adam(network.classification_parameters(), 1e-2)
    lookers = torch.optim.Adam(network.attention_parameters(), 1e-3)
    assert len(list(network.parameters())) == sum(
        len(group["params"]) for optimizer in (judges, lookers) for group in optimizer.param_groups
    )

    def judge() -> float:
        network.zero_grad()
        loss = criterion(network(images), labels).classification
        loss.backward()
        judges.step()
        return loss.item()

    def look(what: str) -> float:
        network.zero_grad()
        loss = getattr(criterion(network(images), labels), what)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.attention_parameters())
        lookers.step()
        return loss.item()

    assert falls(lambda: look("start"), to=0.5, most=50)

    def turn() -> float:
        look("ranking")
        return judge()

    assert falls(turn, to=0.5, most=40)


def test_resnext_equals_torchvision() -> None:
    """Without its pooling, and its last stage dilated from the second block on."""
    theirs = torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck,
        [1, 2, 1, 2],
        groups=32,
        width_per_group=8,
        replace_stride_with_dilation=[False, False, True],
    )
    theirs.maxpool = nn.Identity()
    theirs.fc = nn.Identity()
    ours = resnext("resnext", 3, depths=(1, 2, 1, 2))
    fill(theirs, 1.0)
    fill(ours, 1.0)
    x = torch.randn(1, 3, 40, 32, dtype=torch.float64)
    maps = ours.double().eval()(x)
    torch.testing.assert_close(maps[-1].mean(dim=(2, 3)), theirs.double().eval()(x))
    assert ours.feature_info.reduction() == [2, 4, 8, 8]


def test_hatt_matting_equals_the_papers_form() -> None:
    network = attnzoo.create("hatt_matting_resnext101", backbone=backbone(3, (1, 2, 2, 1), pool=False), channels=8)
    x = torch.randn(2, 3, 24, 32)
    network.eval()
    low, _, _, high = network.backbone(x)
    assert (low.shape, high.shape) == ((2, 8, 12, 16), (2, 16, 3, 4))
    head = attnzoo.create("hatt_matting", in_channels=16, low_channels=8, channels=8)
    head.load_state_dict(network.head.state_dict())
    alpha = network(x)
    assert alpha.shape == (2, 1, 24, 32)
    torch.testing.assert_close(alpha, head.eval()(low, high))


def scenes(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Soft discs of one colour on another, with noise, and their alpha mattes."""
    place = torch.arange(side).float()
    centre, radius = side * (0.3 + 0.4 * torch.rand(count, 2)), side * (0.15 + 0.15 * torch.rand(count))
    away = torch.hypot(place[:, None] - centre[:, :1, None], place - centre[:, 1:, None])
    alpha = ((radius[:, None, None] - away) / 2).sigmoid()[:, None]
    front, back = torch.rand(2, count, 3, 1, 1)
    return alpha * front + (1 - alpha) * back + 0.02 * torch.randn(count, 3, side, side), alpha


def test_hatt_matting_learns() -> None:
    torch.manual_seed(0)
    images, mattes = scenes(8, 32)
    network = attnzoo.create("hatt_matting_resnext101", backbone=backbone(3, (1, 2, 2, 1), pool=False), channels=8)
    discriminator, criterion = PatchDiscriminator(channels=8), MattingLoss()
    makers = torch.optim.Adam(network.parameters(), 1e-2)
    doubters = torch.optim.Adam(discriminator.parameters(), 1e-4)

    def make(adversarial: bool) -> float:
        alpha = network(images)
        verdict = discriminator(torch.cat([images, alpha], dim=1)) if adversarial else None
        makers.zero_grad()
        criterion(alpha, mattes, verdict).backward()
        makers.step()
        return criterion(alpha, mattes).item()

    def doubt() -> float:
        with torch.no_grad():
            made = torch.cat([images, network(images)], dim=1)
        loss = discriminator_loss(discriminator(torch.cat([images, mattes], dim=1)), discriminator(made))
        doubters.zero_grad()
        loss.backward()
        doubters.step()
        return loss.item()

    assert falls(lambda: make(adversarial=False), to=0.2, most=80)
    assert math.isfinite(doubt())
    assert make(adversarial=True) > 0


def test_ssim_by_hand() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(2, 1, 2, 12, 11, dtype=torch.float64)
    i = torch.arange(11) - 5.0
    g = torch.exp(-(i[:, None] ** 2 + i**2) / (2 * 1.5**2)).double()
    g = g / g.sum()
    found = []
    for channel in range(2):
        for row in range(2):
            a, b = (m[0, channel, row : row + 11] for m in (x, y))
            ma, mb = (g * a).sum(), (g * b).sum()
            va, vb, vab = (g * (a - ma) ** 2).sum(), (g * (b - mb) ** 2).sum(), (g * (a - ma) * (b - mb)).sum()
            found.append((2 * ma * mb + 1e-4) * (2 * vab + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    torch.testing.assert_close(ssim(x, y), torch.stack(found).mean()[None])
    torch.testing.assert_close(ssim(x, x), torch.ones(1, dtype=torch.float64))
    verdict = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    wanted = ((x - y) ** 2).mean() + 0.1 * (1 - ssim(x, y).mean()) - 0.05 * verdict.sigmoid().log().mean()
    torch.testing.assert_close(MattingLoss()(x, y, verdict), wanted)


def test_discriminator_judges_patches() -> None:
    """Each logit depends on 70 x 70 pixels."""
    discriminator = PatchDiscriminator(1, channels=2).eval()
    x = torch.zeros(1, 1, 160, 160, requires_grad=True)
    logits = discriminator(x)
    assert logits.shape == (1, 1, 18, 18)
    (reached,) = torch.autograd.grad(logits[0, 0, 9, 9], x)
    rows = reached[0, 0].abs().sum(dim=1).nonzero()
    assert rows.max() - rows.min() + 1 == 70


def test_guided_attention_net_equals_our_reading() -> None:
    torch.manual_seed(0)
    network = attnzoo.create("guided_attention_net", num_classes=2, backbone=backbone(3), channels=(8, 6, 4)).eval()
    x = torch.randn(2, 3, 50, 67)
    found = network(x)
    _, c4, c8, c16, c32 = network.backbone(x)
    y, masks = c32, []
    for step, low in zip(network.steps, (c16, c8, c4), strict=True):
        y, mask = step(low, y)
        masks.append(mask)
    y, parts = network.foreground(y)
    assert found.scores.shape == (2, 2, 13, 17)
    torch.testing.assert_close(found.scores, network.score(y))
    torch.testing.assert_close(found.distances, 4 * F.softplus(network.side(y)))
    torch.testing.assert_close(found.counts, F.softplus(network.share(y)).sum(dim=(2, 3)))
    torch.testing.assert_close(found.parts, parts)
    torch.testing.assert_close(found.masks, tuple(masks))
    assert [m.shape[2:] for m in masks] == [(4, 5), (7, 9), (13, 17)]


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "timm"])
def test_guided_attention_net_takes_several_backbones(name: str) -> None:
    with torch.device("meta"):
        chosen = timm.create_model("resnet18", features_only=True) if name == "timm" else name
        network = attnzoo.create("guided_attention_net", backbone=chosen)
        found = network(torch.zeros(2, 3, 64, 96))
    assert [m.shape[2:] for m in found.masks] == [(4, 6), (8, 12), (16, 24)]


def test_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 16, 12], [4, 4, 12, 12], [17, 9, 18, 10], [30, 30, 40, 40]])
    inside = covered(boxes, 4, 6, 4)
    assert inside.flatten(1).sum(dim=1).tolist() == [12, 4, 1, 0]  # the third is smaller than a place
    assert inside[2, 2, 4]
    assert owners(boxes, inside)[1].tolist() == [0, 1, 1, 0, -1, -1]
    assert (owners(boxes[:0], inside[:0]) == -1).all()
    torch.manual_seed(0)
    low = 20 * torch.rand(60, 2)
    many, scores = torch.cat([low, low + 1 + 9 * torch.rand(60, 2)], dim=1), torch.rand(60)
    torch.testing.assert_close(overlaps(many, boxes), torchvision.ops.box_iou(many, boxes))
    assert suppressed(many, scores, 0.4).tolist() == torchvision.ops.nms(many, scores, 0.4).tolist()
    assert suppressed(many[:0], scores[:0], 0.4).tolist() == []


def drawn(count: int, side: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Grey images with one to three bright (class 0) or dark (class 1) rectangles, their boxes and classes."""
    images, boxes, labels = 0.5 + 0.05 * torch.randn(count, 1, side, side), [], []
    for image in images:
        many = int(torch.randint(1, 4, ()))
        low = torch.randint(0, side - 20, (many, 2))
        boxes.append(torch.cat([low, low + torch.randint(10, 20, (many, 2))], dim=1).float())
        labels.append(torch.randint(0, 2, (many,)))
        for (x1, y1, x2, y2), label in zip(boxes[-1].int().tolist(), labels[-1].tolist(), strict=True):
            image[0, y1:y2, x1:x2] = 1.0 - label
    return images, boxes, labels


def test_guided_attention_net_learns() -> None:
    torch.manual_seed(0)
    images, boxes, labels = drawn(8, 64)
    network = attnzoo.create(
        "guided_attention_net", num_classes=2, in_channels=1, backbone=backbone(1), channels=(16, 16, 16)
    )
    criterion = GuidedAttentionLoss()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)

    def step() -> float:
        loss = criterion(network(images), boxes, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    assert falls(step, to=0.25, most=80)


def test_guided_attention_net_finds_what_its_maps_say() -> None:
    """Maps as the loss wants them cost next to nothing, and give the boxes back."""
    truth = torch.tensor([[8.0, 8, 40, 32], [44, 36, 60, 60]])
    labels = torch.tensor([1, 0])
    x = 4 * (torch.arange(16) + 0.5)
    scores, distances = torch.full((1, 2, 16, 16), -30.0), torch.ones(1, 4, 16, 16)
    parts = torch.full((1, 5, 16, 16), -30.0)
    masks = [torch.full((1, 1, n, n), -30.0) for n in (4, 8, 16)]
    for box, label in zip(truth, labels, strict=True):
        core = covered(shrunk(box[None], 0.3), 16, 16, 4)
        scores[0, label][core[0]] = 30.0
        sides = (x - box[0], (x - box[1])[:, None], box[2] - x, (box[3] - x)[:, None])
        distances[0][:, core[0]] = torch.stack(torch.broadcast_tensors(*sides))[:, core[0]]
        x1, y1, x2, y2 = box.tolist()
        x0, y0 = (x1 + x2) / 2, (y1 + y2) / 2
        corners = ((x1, y1, x2, y2), (x1, y1, x0, y0), (x0, y1, x2, y0), (x1, y0, x0, y2), (x0, y0, x2, y2))
        for part, corner in enumerate(corners):
            parts[0, part][covered(torch.tensor([corner]), 16, 16, 4)[0]] = 30.0
        for mask in masks:
            n = mask.shape[2]
            mask[0, 0][covered(box[None], n, n, 64 // n)[0]] = 30.0
    found = Found(scores, distances, torch.tensor([[1.0, 1.0]]), parts, tuple(masks))
    assert GuidedAttentionLoss()(found, [truth], [labels]) < 1e-4
    (seen,) = objects(found)
    assert sorted(seen.labels.tolist()) == [0, 1]
    torch.testing.assert_close(seen.boxes[seen.labels.argsort(descending=True)], truth)
    empty = found._replace(scores=torch.full_like(scores, -30.0), counts=torch.zeros(1, 2))
    assert len(objects(empty)[0].boxes) == 0
    assert GuidedAttentionLoss()(empty, [truth[:0]], [labels[:0]]).isfinite()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: attnzoo.create("ra_cnn", image_size=31), "ra_cnn: image_size=31 is not an integer of at least 32"),
        (lambda: attnzoo.create("ra_cnn", num_scales=1), "num_scales=1 is not an integer of at least 2"),
        (lambda: attnzoo.create("ra_cnn", widths=(8, 8)), r"widths=\(8, 8\) has 2 items; give 5"),
        (lambda: RACNNLoss(half_side=2), "half_side=2 is no share"),
        (lambda: attnzoo.create("hatt_matting", channels=4, reduction=8), "reduction=8 leaves no channels of 4"),
        (lambda: attnzoo.create("hatt_matting", dilations=()), r"dilations=\(\) has 0 items"),
        (
            lambda: attnzoo.create("hatt_matting_resnext101", backbone=backbone(3, (1, 1, 1, 2), pool=False)),
            r"expected a backbone with maps of strides \[2, 8\], got one of \[2, 2, 2, 4\]",
        ),
        (
            lambda: attnzoo.create("guided_attention_net", backbone=backbone(3, pool=False)),
            r"expected a backbone with maps of strides \[32, 16, 8, 4\], got one of \[2, 4, 8, 16\]",
        ),
        (
            lambda: attnzoo.create("guided_attention_net", backbone=nn.Identity()),
            "got Identity. Build it with features_on",
        ),
        (
            lambda: attnzoo.create("guided_attention_net", backbone="resnet5"),
            "backbone='resnet5' is unknown; use one of",
        ),
        (lambda: attnzoo.create("guided_attention_net", channels=(8,)), r"channels=\(8,\) has 1 items; give 3"),
        (lambda: MattingLoss(structure=-1), "structure=-1 is not a number of at least 0"),
        (lambda: GuidedAttentionLoss(count=-1), "count=-1 is not a number of at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(build: Callable[[], object], message: str) -> None:
    with torch.device("meta"), pytest.raises(attnzoo.AttnzooError, match=message):
        build()


def test_inputs_that_do_not_fit_are_refused() -> None:
    head = attnzoo.create("hatt_matting", in_channels=8, low_channels=6, channels=8, dilations=(1, 2))
    low, high = torch.zeros(2, 6, 12, 16), torch.zeros(2, 8, 3, 4)
    with pytest.raises(attnzoo.AttnzooError, match=r"low 4 times as high and wide as high, \(2, 8, 3, 4\), got"):
        head(low[..., :15], high)
    with pytest.raises(attnzoo.AttnzooError, match=r"expected high as \(2, 8, any, any\), got \(2, 6, 12, 16\)"):
        head(low, low)
    with pytest.raises(attnzoo.AttnzooError, match="expected a batch of at least 2 in training mode"):
        head.train()(low[:1], high[:1])
    matting = attnzoo.create("hatt_matting_resnext101", backbone=backbone(3, (1, 2, 2, 1), pool=False), channels=8)
    with pytest.raises(attnzoo.AttnzooError, match="height and width are multiples of 8"):
        matting(torch.zeros(2, 3, 24, 28))
    with pytest.raises(attnzoo.AttnzooError, match=r"expected target as \(2, 1, 12, 12\), got"):
        MattingLoss()(torch.zeros(2, 1, 12, 12), torch.zeros(2, 12, 12))
    with pytest.raises(attnzoo.AttnzooError, match="ssim: expected a map of at least 11 x 11"):
        ssim(torch.zeros(1, 1, 10, 12), torch.zeros(1, 1, 10, 12))
    rank = attnzoo.create("ra_cnn_rank_loss")
    with pytest.raises(attnzoo.AttnzooError, match=r"expected classes from 0 to 4 in target, got \[5, 0\]"):
        rank(torch.zeros(3, 2, 5), torch.tensor([5, 0]))
    with pytest.raises(attnzoo.AttnzooError, match=r"expected target as \(2\), the index of each sample's class"):
        rank(torch.zeros(3, 2, 5), torch.tensor([0]))
    assert rank(torch.zeros(1, 2, 5), torch.tensor([4, 0])) == 0
    guided = attnzoo.create("guided_attention_net", backbone=backbone(3), channels=(8, 6, 4)).eval()
    found, criterion = guided(torch.zeros(2, 3, 32, 32)), GuidedAttentionLoss()
    with pytest.raises(attnzoo.AttnzooError, match="has 1 items; give 2"):
        criterion(found, [torch.zeros(1, 4)])
    with pytest.raises(attnzoo.AttnzooError, match=r"expected boxes\[1\] as \(any, 4\), got \(1, 5\)"):
        criterion(found, [torch.zeros(1, 4), torch.zeros(1, 5)])
    with pytest.raises(attnzoo.AttnzooError, match=r"expected classes from 0 to 0 in target, got \[1\]"):
        criterion(found, [torch.zeros(1, 4), torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0, dtype=torch.long)])
    with pytest.raises(attnzoo.AttnzooError, match="threshold=2 is no share"):
        objects(found, threshold=2)


def test_bisenet_learns() -> None:
    example = runpy.run_path(str(Path(__file__).parent.parent / "examples/bisenet.py"))
    torch.manual_seed(0)
    images, target = example["draw"](4, 64)
    network = attnzoo.create("bisenet", num_classes=3, width_divisor=8)
    criterion = BiSeNetLoss()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)

    def step() -> float:
        loss = criterion(network(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    before = example["mean_iou"](network, images, target)
    network.train()
    assert falls(step, 0.5, 90)
    assert example["mean_iou"](network, images, target) > 2 * before


def test_ohem_takes_the_hard_places() -> None:
    """Written out, place by place: those below the threshold, or a sixteenth of those that count."""
    torch.manual_seed(0)
    criterion = OhemCrossEntropy()
    for spread in (0.2, 8.0):  # all places are hard, or next to none
        target = torch.randint(0, 5, (2, 8, 9))
        logits = torch.randn(2, 5, 8, 9, dtype=torch.float64) + spread * F.one_hot(target, 5).movedim(3, 1)
        target[:, :2] = 255
        of_class = [
            (b, int(c), y, x) for b in range(2) for y in range(8) for x in range(9) if (c := target[b, y, x]) != 255
        ]
        sure = torch.stack([logits.softmax(dim=1)[place] for place in of_class]).sort().values
        count = max(int((sure < 0.7).sum()), len(sure) // 16)
        torch.testing.assert_close(criterion(logits, target), -sure[:count].log().mean())
    torch.testing.assert_close(
        BiSeNetLoss()((logits, 2 * logits), target), criterion(logits, target) + criterion(2 * logits, target)
    )
    assert criterion(logits, torch.full_like(target, 255)) == 0
    with pytest.raises(attnzoo.AttnzooError, match="expected classes from 0 to 4, or 255 where none counts, in"):
        criterion(logits, torch.full_like(target, 7))
    with pytest.raises(attnzoo.AttnzooError, match=r"expected target as \(2, 8, 9\), the index of each place's class"):
        criterion(logits, target[:, :4])


@pytest.mark.parametrize(
    ("name", "stages", "all_heads", "features"),
    [
        ("cfnet_tiny", 3, 40_041_784, 30_718_336),
        ("cfnet_small", 4, 65_498_272, 53_067_008),
        ("cfnet_base", 4, 105_118_624, 91_114_496),
        ("cfnet_swin_tiny", 3, 38_001_249, 29_267_625),
        ("cfnet_res50", 3, 40_078_392, 31_541_376),
    ],
)
def test_cfnet_has_a_head_on_every_stage(name: str, stages: int, all_heads: int, features: int) -> None:
    with torch.device("meta"):
        network = attnzoo.create(name, aux=True)
        logits = network(torch.zeros(2, 3, 64, 96))
        maps = attnzoo.create(name, features_only=True)
    assert [one.shape for one in logits] == [(2, 1000)] * stages
    assert sum(p.numel() for p in network.parameters()) == all_heads
    assert sum(p.numel() for p in maps.parameters()) == features


def test_cfnets_last_head_comes_first() -> None:
    network = attnzoo.create("cfnet_tiny", num_classes=5, aux=True).eval()
    plain = attnzoo.create("cfnet_tiny", num_classes=5).eval()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if "aux" not in key})
    x = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        assert torch.equal(network(x)[0], plain(x))


@pytest.mark.parametrize(
    ("sizes", "channels", "message"),
    [
        (((8, 8), (4, 4)), (4, 6), "expected 3 maps, one by one, got 2"),
        (((8, 8), (4, 4), (2, 2)), (4, 5, 8), r"expected maps\[1\] as \(any, 6, any, any\), got \(2, 5, 4, 4\)"),
        (((8, 8), (4, 4), (4, 4)), (4, 6, 8), r"expected maps\[2\] at half the size of maps\[1\], \(2, 6, 4, 4\), got"),
        (((8, 8), (2, 4), (1, 2)), (4, 6, 8), r"expected maps\[1\] at half the size of maps\[0\]"),
    ],
)
def test_bifpn_names_what_does_not_fit(
    sizes: tuple[tuple[int, int], ...], channels: tuple[int, ...], message: str
) -> None:
    bifpn = attnzoo.create("bifpn", in_channels=(4, 6, 8), channels=4)
    with pytest.raises(attnzoo.AttnzooError, match=message):
        bifpn(*(torch.zeros(2, width, *size) for width, size in zip(channels, sizes, strict=True)))


def test_interflow_wraps_any_backbone() -> None:
    """Its own stages by name: outputs as by hand, gradients to every mixed stage, copies that share nothing."""
    torch.manual_seed(0)
    backbone = timm.create_model("resnet18", num_classes=10).eval()
    stages = ["layer2", "layer3", "layer4"]
    model = Branched(backbone, stages, 7, torch.zeros(1, 3, 64, 64)).eval()
    assert model.head.in_channels == (128, 256, 512)
    x = torch.randn(2, 3, 64, 64)
    maps = timm.create_model("resnet18", features_only=True, out_indices=(2, 3, 4)).eval()
    maps.load_state_dict(backbone.state_dict(), strict=False)
    logits = model(x)
    torch.testing.assert_close(logits, model.head(*maps(x)))
    logits.sum().backward()
    assert all(p.grad is not None for p in [*model.head.parameters(), backbone.layer2[0].conv1.weight])
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    assert not twin.seen
    for wrong, complaint in (
        (["layer2", "layer9"], "layer9"),
        ([], "stages"),
        (["layer4", "fc"], r"the output of 'fc'"),
    ):
        with pytest.raises(attnzoo.AttnzooError, match=complaint):
            Branched(timm.create_model("resnet18"), wrong, 7, torch.zeros(1, 3, 64, 64))
