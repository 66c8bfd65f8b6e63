# SPDX-License-Identifier: MIT
"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openpaisdk.engine import Engine

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path / "openpai"))
    monkeypatch.chdir(ROOT)
    yield
    Engine().process(["local", "stop", "--kill"])


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The `opai` commands that need nothing but the embedded cluster and the examples."""
    lines = "".join(blocks("")).splitlines()
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("opai job ")]
    return [line[1:] for line in words if "src" not in line and "prod" not in line]


def test_the_commands_work_in_their_order() -> None:
    run = commands()
    assert len(run) >= 6
    for words in run:
        Engine().process(words)
    assert Engine().process(["job", "logs", "hello"]) == "hello\n"


def test_the_python_lines_work() -> None:
    code = "\n".join(blocks("python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "SUCCEEDED\n42\n\n"
