# SPDX-License-Identifier: MIT
"""Which part of the package may import which: only a lower layer, and nothing beside it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import openpaisdk

ROOT = Path(openpaisdk.__file__).parent

LAYERS = {
    "errors": 0,
    "constants": 0,
    "_files": 0,
    "_secret": 0,
    "spec": 1,
    "http": 1,
    "rest": 2,
    "storage": 2,
    "config": 2,
    "embedded": 2,
    "sources": 2,
    "core": 3,
    "job": 4,
    "local": 4,
    "runtime": 4,
    "notebook": 5,
    "processor": 5,
    "image": 5,
    "sweep": 5,
    "engine": 6,
    "cli": 6,
    "__main__": 7,
}
FRIENDS = [
    {"engine", "cli"},  # one unit
    {"errors", "constants", "_files", "_secret"},  # the floor
]
"""Parts of one layer that may know each other."""

NARROWER = {
    "errors": set(),
    "constants": set(),
    "local": {"errors", "constants", "_files", "_secret", "spec", "storage"},
    "runtime": set(),
}
"""Parts that use less than their layer allows: ``local`` meets clients on the wire, ``runtime`` travels."""


def part_of(module: str) -> str:
    """Return the folder or module right below the package that a dotted name belongs to."""
    return module.split(".")[1] if "." in module else ""


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        names = list(path.relative_to(ROOT).with_suffix("").parts)
        if names[-1] == "__init__":
            names.pop()
        if names:
            found.append((".".join(["openpaisdk", *names]), path))
    return found


def imports(module: str, path: Path, source: str | None = None) -> set[str]:
    """Return the parts of the package that a module imports anywhere, also inside functions."""
    parts = set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if source is None else source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{start}.{alias.name}" if start == "openpaisdk" else start for alias in node.names]
        else:
            continue
        parts |= {part_of(name) for name in names if name.split(".")[0] == "openpaisdk"}
    return parts - {""}


def may_import(part: str, other: str) -> bool:
    if part == other:
        return True
    if part in NARROWER:
        return other in NARROWER[part]
    if any(part in friends and other in friends for friends in FRIENDS):
        return True
    return LAYERS[other] < LAYERS[part]


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_a_module_imports_only_from_below(module, path):
    part = part_of(module)
    assert part in LAYERS, f"say in LAYERS on which layer {part!r} is"
    wrong = {other for other in imports(module, path) if other in LAYERS and not may_import(part, other)}
    assert not wrong, f"{module} (layer {LAYERS[part]}) imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("openpaisdk.spec.x", "from openpaisdk.rest import client", {"rest"}),
        ("openpaisdk.spec.x", "def f():\n    import openpaisdk.core", {"core"}),
        ("openpaisdk.rest.x", "from openpaisdk.storage.base import Storage", {"storage"}),
        ("openpaisdk.rest.x", "from openpaisdk import storage, errors", {"storage"}),
        ("openpaisdk.rest.x", "from ..job import Job", {"job"}),
        ("openpaisdk.local.x", "from openpaisdk.rest.client import RestClient", {"rest"}),
        ("openpaisdk.local.x", "from openpaisdk.spec.names import nearest", set()),
        ("openpaisdk.runtime.x", "from openpaisdk.errors import OpenPaiError", {"errors"}),
        ("openpaisdk.errors", "from openpaisdk import constants", {"constants"}),
        ("openpaisdk.engine", "from openpaisdk.cli import table", set()),
    ],
)
def test_the_check_sees_upward_and_sideways_imports(module, source, wrong):
    found = imports(module, Path("x.py"), source)
    assert {other for other in found if not may_import(part_of(module), other)} == wrong


LOCAL_LAYERS = {
    "home": 0,
    "databases": 0,
    "records": 0,
    "hardware": 0,
    "removal": 0,
    "api_error": 0,
    "jobs": 1,
    "access": 1,
    "services": 2,
    "departure": 3,
    "routing": 4,
    "api": 5,
    "files": 5,
    "web": 5,
    "app": 6,
    "connections": 6,
    "server": 7,
    "daemon": 8,
    "__main__": 9,
}
"""The same rule inside the embedded cluster: its jobs know nothing of HTTP, its HTTP parts not each other."""


def local_modules() -> list[tuple[str, Path]]:
    return [(module, path) for module, path in modules() if module.startswith("openpaisdk.local.")]


@pytest.mark.parametrize(("module", "path"), local_modules(), ids=[name for name, _ in local_modules()])
def test_the_embedded_cluster_has_layers_too(module, path):
    part = module.split(".")[2]
    wrong = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = getattr(node, "module", None) if isinstance(node, ast.ImportFrom) else None
        if name and name.startswith("openpaisdk.local."):
            other = name.split(".")[2]
            if other != part and LOCAL_LAYERS[other] >= LOCAL_LAYERS[part]:
                wrong.add(other)
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}"
