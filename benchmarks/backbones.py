"""Where placements by meaning put modules in other people's networks, and whether the outputs stay the same bits.

For networks of timm, torchvision and segmentation_models.pytorch with random weights and small inputs: the sites of
'block', 'stage', 'last' and 'expansion', or why there are none; then se is inserted at the maps and
external_attention_token at the tokens (and at maps that have their channels last), as the identity, and the outputs
are compared. Writes results/backbones.json and prints the table. `--only` examines some networks anew.
"""

import argparse
import json
import platform
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch import nn

import attnzoo
from attnzoo.surgery.flow import tensors

RESULTS = Path(__file__).parent.parent / "results"
PLACEMENTS = ("block", "stage", "last", "expansion")
MODULES: dict[str, tuple[str, dict]] = {"feature": ("se", {"reduction": 2}), "tokens": ("external_attention_token", {})}

# By the side of the images, the least that serves: many fix theirs, or have windows and grids that must fit.
TIMM = {
    64: "resnet50 resnet18d resnext50_32x4d wide_resnet50_2 seresnet50 resnet50_gn skresnet18 resnest14d dpn68 "
    "res2net50_26w_4s resnetv2_50 nfnet_l0 dm_nfnet_f0 regnety_004 regnetx_004 repvgg_a0 mobileone_s1 vgg11_bn "
    "densenet121 dla34 gernet_s cspresnet50 cspdarknet53 darknet53 cs3darknet_s vovnet39a ese_vovnet19b_dw "
    "mobilenetv1_100 mobilenetv2_100 mobilenetv3_small_100 mobilenetv4_conv_small mobilenetv4_hybrid_medium "
    "mobilenet_edgetpu_100 efficientnet_b0 efficientnetv2_rw_t efficientnet_lite0 mixnet_s mnasnet_100 semnasnet_100 "
    "fbnetc_100 hardcorenas_a tinynet_e lcnet_050 ghostnet_100 ghostnetv2_100 ghostnetv3_100 repghostnet_100 "
    "rexnet_100 hgnet_tiny hgnetv2_b0 convnext_tiny convnextv2_atto inception_next_tiny mambaout_femto starnet_s1 "
    "fasternet_t0 edgenext_xx_small efficientvit_b0 fastvit_t8 repvit_m1 poolformer_s12 convformer_s18 caformer_s18 "
    "focalnet_tiny_srf davit_tiny nextvit_small swiftformer_xs mobilevit_xxs mobilevitv2_050 tresnet_m "
    "lambda_resnet26t gcresnet33ts convmixer_768_32 rdnet_tiny",
    128: "hrnet_w18_small inception_v3 inception_v4 inception_resnet_v2 xception41 legacy_xception pnasnet5large "
    "selecsls42 twins_svt_small pvt_v2_b0 shvit_s1",
    224: "swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224 vit_tiny_patch16_224 deit_tiny_patch16_224 "
    "beit_base_patch16_224 cait_xxs24_224 xcit_nano_12_p16_224 convit_tiny volo_d1_224 pit_ti_224 levit_128s "
    "tiny_vit_5m_224 efficientvit_m0 efficientformer_l1 efficientformerv2_s0 mvitv2_tiny hiera_tiny_224 nest_tiny "
    "coat_tiny gcvit_xxtiny coatnet_0_rw_224 maxvit_tiny_tf_224 visformer_tiny mixer_s32_224 gmlp_ti16_224 "
    "resmlp_12_224 sequencer2d_s vit_relpos_small_patch16_224 vit_small_r26_s32_224 eva02_tiny_patch14_224 "
    "samvit_base_patch16_224",
    240: "crossvit_tiny_240",
    256: "swinv2_tiny_window8_256 botnet26t_256 halonet26t bat_resnext26ts",
}
TORCHVISION = {
    64: "resnet18 resnext50_32x4d densenet121 mobilenet_v2 mobilenet_v3_small shufflenet_v2_x0_5 mnasnet0_5 "
    "efficientnet_b0 efficientnet_v2_s regnet_y_400mf convnext_tiny vgg11 alexnet squeezenet1_1 swin_t swin_v2_t",
    96: "googlenet fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large",
    128: "inception_v3 fasterrcnn_resnet50_fpn fasterrcnn_mobilenet_v3_large_fpn retinanet_resnet50_fpn "
    "fcos_resnet50_fpn maskrcnn_resnet50_fpn keypointrcnn_resnet50_fpn ssd300_vgg16 ssdlite320_mobilenet_v3_large",
    224: "vit_b_16 maxvit_t",
}
SMP = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet PAN DeepLabV3 DeepLabV3Plus UPerNet Segformer"


def of_timm(name: str) -> nn.Module:
    return timm.create_model(name, pretrained=False)


def of_torchvision(name: str) -> nn.Module:
    build = torchvision.models.get_model_builder(name)
    bare: dict[str, Any] = {"weights": None}
    if "detection" in build.__module__ or "segmentation" in build.__module__:
        bare["weights_backbone"] = None
    if "rcnn" in name or name.startswith(("retinanet", "fcos")):
        bare |= {"min_size": 128, "max_size": 128}
    return build(**bare, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {}))


def of_smp(name: str) -> nn.Module:
    return getattr(smp, name)("resnet18", encoder_weights=None, classes=2)


def cases() -> dict[str, tuple[str, str, Callable[[str], nn.Module], int]]:
    """By 'library:name': the library, the name, what builds it, and the side of its images."""
    listed = [("timm", of_timm, side, names) for side, names in TIMM.items()]
    listed += [("torchvision", of_torchvision, side, names) for side, names in TORCHVISION.items()]
    listed.append(("smp", of_smp, 128, SMP))
    return {
        f"{library}:{name}": (library, name, build, side)
        for library, build, side, names in listed
        for name in names.split()
    }


def examine(build: Callable[[str], nn.Module], name: str, side: int) -> dict:
    """What each placement finds in a network, and whether insertion there leaves its outputs the same bits."""
    torch.manual_seed(0)
    model = build(name).eval()
    images = torch.rand(2, 3, side, side)
    example = (list(images),) if "detection" in type(model).__module__ else images
    before = outputs(model, example)
    row: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    for at in PLACEMENTS:
        try:
            found = attnzoo.sites(model, at, example)
            row[at] = {
                "sites": len(found),
                "maps": sum(site.contract == "feature" for site in found),
                "tokens": sum(site.contract == "tokens" for site in found),
                "left_out": len(found.left_out),
                "first": found[0].path,
                "last": found[-1].path,
                "inserted": {
                    MODULES[contract][0]: insertion(model, at, contract, example, before)
                    for contract in sorted({site.contract for site in found})
                },
            }
        except attnzoo.AttnzooError as error:
            row[at] = {"sites": 0, "why": str(error)}
    return row


def insertion(model: nn.Module, at: str, contract: str, example: Any, before: list[torch.Tensor]) -> dict:
    """Insert as the identity, compare, remove, compare."""
    module, arguments = MODULES[contract]
    report = attnzoo.insert(model, module, at, example_input=example, **arguments)
    equal = same(outputs(model, example), before)
    attnzoo.remove(model)
    return {"sites": len(report.sites), "equal": equal, "equal_after_removal": same(outputs(model, example), before)}


def outputs(model: nn.Module, example: Any) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(tensors(model(*example) if isinstance(example, tuple) else model(example)))


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def totals(rows: list[dict]) -> dict:
    """How many networks, placements, sites and insertions, and how many of these kept every bit."""
    found = [row[at] for row in rows for at in PLACEMENTS if row.get(at, {}).get("sites")]
    inserted = [one for place in found for one in place["inserted"].values()]
    return {
        "networks": {
            library: sum(row["library"] == library for row in rows) for library in ("timm", "torchvision", "smp")
        },
        "failed": [f"{row['library']}:{row['name']}" for row in rows if "error" in row],
        "with": {at: sum(bool(row.get(at, {}).get("sites")) for row in rows) for at in PLACEMENTS},
        "sites": {at: sum(row.get(at, {}).get("sites", 0) for row in rows) for at in PLACEMENTS},
        "insertions": len(inserted),
        "equal": sum(one["equal"] and one["equal_after_removal"] for one in inserted),
    }


def table(rows: list[dict]) -> Table:
    """A row a network: sites of each placement; 'same' if every insertion kept every bit."""
    result = Table(title="sites by placement, maps + tokens; outputs after insertion", title_justify="left")
    for column in ("network", "images", *PLACEMENTS, "outputs"):
        result.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        if "error" in row:
            result.add_row(f"{row['library']}:{row['name']}", str(row["side"]), row["error"][:60])
            continue
        counts = (f"{row[at]['maps']} + {row[at]['tokens']}" if row[at]["sites"] else "-" for at in PLACEMENTS)
        equal = [one["equal"] for at in PLACEMENTS for one in row[at].get("inserted", {}).values()]
        result.add_row(
            f"{row['library']}:{row['name']}", str(row["side"]), *counts, "same" if all(equal) else "DIFFERENT"
        )
    return result


def main() -> None:
    """Examine, print, write."""
    known = cases()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(known), metavar="LIBRARY:NAME", default=list(known))
    parser.add_argument("--dry", action="store_true", help="write no file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for key in given.only:
        library, name, build, side = known[key]
        row = {"library": library, "name": name, "side": side}
        try:
            row |= examine(build, name, side)
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
        rows.append(row)
        print(key, row.get("error") or {at: row[at]["sites"] for at in PLACEMENTS}, flush=True)
    file = RESULTS / "backbones.json"
    if len(rows) < len(known) and file.exists():
        kept = {f"{row['library']}:{row['name']}": row for row in json.loads(file.read_text())["rows"]}
        fresh = {f"{row['library']}:{row['name']}": row for row in rows}
        rows = [row for key in known if (row := fresh.get(key, kept.get(key)))]
    Console(width=130).print(table(rows))
    print(json.dumps(totals(rows), indent=1))
    if given.dry:
        return
    about = {
        "images": "uniform noise, batch of 2; weights random",
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "torchvision": torchvision.__version__,
        "segmentation_models_pytorch": smp.__version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    head = json.dumps({**about, **totals(rows)}, indent=1).removesuffix("\n}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)  # a line a network
    file.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
