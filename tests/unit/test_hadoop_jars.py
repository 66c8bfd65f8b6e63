# SPDX-License-Identifier: MIT
"""Hadoop's jars come into the cache whole and once, or it is said why they do not."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hadoop.jars import HadoopMissingError, fetch_jars

MAVEN = """#!/bin/sh
echo called >> {calls}
for word; do case "$word" in -DoutputDirectory=*) folder="${{word#*=}}";; esac; done
mkdir -p "$folder" && echo jar > "$folder/a.jar" && {then}
"""


class Machine:
    """Programs of a machine: a Java, and a Maven that does what it is told."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self._programs = folder / "bin"
        self._programs.mkdir()
        self._calls = folder / "calls"
        self.install("java", "#!/bin/sh\n")
        self.let_maven("true")

    def install(self, name: str, script: str) -> None:
        path = self._programs / name
        path.write_text(script)
        path.chmod(0o755)

    def let_maven(self, then: str) -> None:
        self.install("mvn", MAVEN.format(calls=self._calls, then=then))

    @property
    def path(self) -> str:
        return f"{self._programs}:/usr/bin:/bin"

    @property
    def calls(self) -> int:
        return self._calls.read_text().count("called")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("OPENPAI_TEST_CACHE", str(machine.cache))
    monkeypatch.setenv("PATH", machine.path)
    return machine


def test_of_many_callers_one_fetches(machine: Machine) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: fetch_jars(), range(4)))
    assert len(set(folders)) == 1
    assert machine.calls == 1
    assert (folders[0] / "a.jar").exists()


def test_what_fails_leaves_nothing_and_is_tried_again(machine: Machine) -> None:
    machine.let_maven("echo 'no route to host'; exit 1")
    with pytest.raises(HadoopMissingError, match="no route to host"):
        fetch_jars()
    assert os.listdir(machine.cache) == ["hadoop.lock"]
    machine.let_maven("true")
    assert (fetch_jars() / "a.jar").exists()


def test_a_missing_program_is_named_with_its_package(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine.cache))
    with pytest.raises(HadoopMissingError, match="default-jre-headless"):
        fetch_jars()
