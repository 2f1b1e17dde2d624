"""Does the package keep its shape: imports one way, light to import, public names stable?"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import attnzoo

PACKAGE = Path(attnzoo.__file__).parent
# What each part may import of the package, besides itself.
CORE = {"errors", "checks", "registry", "blocks"}
ALLOWED = {
    "errors": set(),
    "modes": set(),
    "checks": {"errors"},
    "registry": {"errors", "checks"},
    "blocks": {"errors", "checks", "kernels"},
    "reference": {"errors"},
    "recording": {"errors"},
    "examples": {"registry"},
    "kernels": {"errors"},
    "modules": CORE | {"kernels"},
    "networks": CORE | {"kernels", "modules", "modes"},
    "interplay": CORE | {"networks"},
    "surgery": CORE | {"modes"},
    "lab": {"errors", "checks", "registry", "modes", "recording", "surgery", "networks", "examples"},
    "verify": {"errors", "checks", "registry", "modes", "examples", "reference"},
}
EXTRAS = (
    "typer",
    "rich",
    "torchvision",
    "timm",
    "sklearn",
    "scipy",
    "pyarrow",
    "PIL",
    "matplotlib",
    "onnx",
    "lightning",
    "lightning_fabric",
    "tensorboard",
    "pytorch_grad_cam",
    "ray",
)


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The parts of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "attnzoo":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("attnzoo.")}
    return found


@pytest.mark.parametrize(
    "path", [p for p in sorted(PACKAGE.rglob("*.py")) if part(p) in ALLOWED], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_point_one_way(path: Path) -> None:
    own = part(path)
    beyond = imported(path) - ALLOWED[own] - {own, "AttnzooError"}
    if own == "lab":
        beyond -= {"insert", "cost", "names", "card"}  # public names
    assert not beyond, f"{own} must not know {beyond}"


def test_surgery_and_lab_name_no_single_module() -> None:
    for folder in ("surgery", "interplay", "lab", "verify"):
        for path in (PACKAGE / folder).rglob("*.py"):
            strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
            named = {s for s in strings if isinstance(s, str)} & set(attnzoo.names())
            assert not named, f"{path.name} names {named}"


def test_import_is_light() -> None:
    """import attnzoo brings in torch and no extra."""
    code = f"import sys, attnzoo; print([m for m in {EXTRAS!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_public_names() -> None:
    """A public name cannot vanish unseen."""
    promised = {"names", "card", "create", "load_reference", "sites", "insert", "remove", "record", "cost"}
    assert promised < set(attnzoo.__all__)
    for name in attnzoo.__all__:
        assert getattr(attnzoo, name).__doc__, f"{name} is not documented"
