# SPDX-License-Identifier: MIT
"""How much ``pip install openpaisdk[local]`` puts on the disk, and ``papermill`` beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def measure_installed_size() -> Iterator[tuple[str, str, str, str]]:
    """Yield the row of the table, and one for the biggest parts."""
    with tempfile.TemporaryDirectory() as folder:
        ours, parts, count = _install(f"{ROOT}[local]", Path(folder, "ours"))
        theirs, _, their_count = _install("papermill", Path(folder, "papermill"))
    shown = f"{ours:.1f} MB in {count} (papermill {theirs:.1f} in {their_count})"
    yield ("installed size of openpaisdk[local]", shown, "say it", "<= papermill")
    biggest = ", ".join(f"{name} {size:.1f}" for name, size in parts[:8])
    yield (f"  biggest parts (MB): {biggest}", "", "", "")


def _install(requirement: str, folder: Path) -> tuple[float, list[tuple[str, float]], int]:
    """Install into an empty environment: MB in all, MB by top-level name, number of distributions."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "--quiet", requirement], check=True)
    listed = subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True, text=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    sizes = {
        entry.name: _size(entry) / 1e6
        for entry in packages.iterdir()
        if not entry.name.endswith(".dist-info")
    }
    parts = sorted(sizes.items(), key=lambda item: -item[1])
    return _size(packages) / 1e6, parts, len(json.loads(listed.stdout))


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
