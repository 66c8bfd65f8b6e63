# SPDX-License-Identifier: MIT
"""Where control groups are made, and what is written into them, in both versions; on folders that stand in
for the kernel's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from openpaisdk.local.jobs.executors import groups
from openpaisdk.local.jobs.executors.groups import GroupRoot

MB = 1 << 20


def root_on(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    own: list[tuple[str, str]],
    mounts: list[tuple[str, str, str]],
) -> GroupRoot:
    monkeypatch.delenv(groups.CGROUP_VARIABLE, raising=False)
    monkeypatch.setattr(groups, "has_fast_paths", lambda: True)
    monkeypatch.setattr(groups, "_own_groups", lambda: own)
    monkeypatch.setattr(groups, "_mounts", lambda: mounts)
    return GroupRoot(str(folder / "home"), str(folder / "note"))


@pytest.fixture
def version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GroupRoot:
    for name in ("memory", "pids"):
        (tmp_path / name / "mine").mkdir(parents=True)
    mounts = [(name, "/outer", str(tmp_path / name)) for name in ("memory", "pids")]
    own = [("memory", "/outer/mine"), ("pids", "/outer/mine"), ("", "/")]
    return root_on(monkeypatch, tmp_path, own, mounts)


@pytest.fixture
def version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GroupRoot:
    delegated = tmp_path / "user.slice"
    (delegated / "shell.scope").mkdir(parents=True)
    for folder in (delegated, delegated / "shell.scope"):
        (folder / "cgroup.procs").touch()
        (folder / "cgroup.subtree_control").touch()
    (delegated / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return root_on(monkeypatch, tmp_path, [("", "/user.slice/shell.scope")], [("", "/", str(tmp_path))])


def test_version_1_has_a_folder_in_each_hierarchy_below_the_servers_own(
    version_1: GroupRoot, tmp_path: Path
) -> None:
    group = version_1.make("pod", 64 * MB)
    assert group is not None
    memory = Path(group.memory)
    assert memory.parent.parent == tmp_path / "memory" / "mine"
    assert (memory / "memory.limit_in_bytes").read_text() == str(64 * MB)
    [pids] = (tmp_path / "pids" / "mine").glob("*/pod/pids.max")
    assert int(pids.read_text()) > 0
    group.add(17)
    assert group.members() == [17]
    group.stop_growth()
    assert pids.read_text() == "0"


def test_version_2_goes_up_to_where_memory_is_delegated(version_2: GroupRoot, tmp_path: Path) -> None:
    group = version_2.make("pod", 64 * MB)
    assert group is not None
    memory = Path(group.memory)
    assert memory.parent.parent == tmp_path / "user.slice"
    assert (memory / "memory.max").read_text() == str(64 * MB)
    assert (memory / "memory.oom.group").read_text() == "1"
    assert (memory / "memory.swap.max").read_text() == "0"
    assert group.open_alarm() is None


@pytest.mark.parametrize(
    ("version", "file", "text"),
    [
        ("version_1", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ("version_2", "memory.events", "low 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 1\n"),
    ],
)
def test_the_kernels_kills_are_counted(
    request: pytest.FixtureRequest, version: str, file: str, text: str
) -> None:
    group = request.getfixturevalue(version).make("pod", MB)
    assert group.kills() == 0
    Path(group.memory, file).write_text(text)
    assert group.kills() == 2


def test_the_next_server_finds_the_groups_wherever_it_runs_itself(
    version_1: GroupRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_1.make("pod", MB)
    elsewhere = root_on(monkeypatch, tmp_path, [], [])
    assert [group.name for group in elsewhere.left()] == ["pod"]
    assert elsewhere.make("other", MB) is None


@pytest.mark.parametrize("version", ["version_1", "version_2"])
def test_where_nothing_may_be_made_there_are_no_groups(
    request: pytest.FixtureRequest, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = request.getfixturevalue(version)

    def refuse(_path: str, *_mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(groups.os, "mkdir", refuse)
    assert root.make("pod", MB) is None


def test_the_variable_switches_groups_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version_2: GroupRoot
) -> None:
    monkeypatch.setenv(groups.CGROUP_VARIABLE, "0")
    assert GroupRoot(str(tmp_path), str(tmp_path / "note")).make("pod", MB) is None


def test_mounts_are_read_with_their_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "30 23 0:26 / /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,memory\n"
        "31 23 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n"
        "32 23 0:28 / /tmp rw - tmpfs tmpfs rw\n"
    )
    monkeypatch.setattr(groups, "_read", lambda _folder, _name: text)
    assert list(groups._mounts()) == [
        ("rw", "/", "/sys/fs/cgroup/with space"),
        ("memory", "/", "/sys/fs/cgroup/with space"),
        ("", "/", "/sys/fs/cgroup/unified"),
    ]


def test_groups_are_removed_also_when_the_home_is_gone(version_2: GroupRoot, tmp_path: Path) -> None:
    group = version_2.make("pod", MB)
    assert group is not None
    (tmp_path / "note").unlink()
    assert [one.name for one in version_2.left()] == ["pod"]
    version_2.close()
