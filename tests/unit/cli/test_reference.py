# SPDX-License-Identifier: MIT
"""The page of all commands, and the commands that messages and help name."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import openpaisdk
from openpaisdk.cli import table

ROOT = Path(__file__).parents[3]
PACKAGE = Path(openpaisdk.__file__).parent
COMMANDS = {(group, verb) for group, verbs in table.COMMANDS.items() for verb in verbs}
KNOWN = {(group, verb.split()[0]) for group, verb in COMMANDS | set(table.HIDDEN_NAMES)}


def test_the_page_of_all_commands_is_up_to_date():
    script = runpy.run_path(str(ROOT / "docs" / "make_cli_reference.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["make_page"](), "run: make docs"


@pytest.mark.parametrize(
    "path", [*(PACKAGE / "cli").rglob("*.py"), PACKAGE / "engine.py"], ids=lambda p: p.name
)
def test_only_commands_that_exist_are_named(path):
    named = set(
        re.findall(rf"opai ({'|'.join(table.GROUPS)}) ([a-z][a-z-]*)", path.read_text(encoding="utf-8"))
    )
    assert named <= KNOWN
