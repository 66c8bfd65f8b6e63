# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from openpaisdk.config import settings as module
from openpaisdk.config.settings import Settings
from openpaisdk.errors import ConfigError, UnknownSettingError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The home folder, and a project's folder below it."""
    home = tmp_path / "home"
    project = home / "work" / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("OPENPAI_HOME", raising=False)
    return home, project


def write(folder: Path, **values: Any) -> Path:
    path = folder / ".openpai" / "defaults.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name.replace("_", "-"): value for name, value in values.items()}))
    return path


def load(folder: Path, **environ: str) -> Settings:
    return Settings.load(str(folder), environ)


def test_without_any_file_the_built_in_values_hold(places: Any) -> None:
    settings = load(places[1])
    names = ("image", "cpu", "gpu", "mem", "virtual-cluster")
    assert [settings.get(name) for name in names] == ["python:3.11", 1, 0, "1g", "default"]
    assert settings.get("sdk-install") is True
    assert settings.get("cluster-alias") is None


def test_environment_beats_project_beats_home(places: Any) -> None:
    home, project = places
    write(home, image="from-home", mem="2g", cpu=3)
    write(project, image="from-project", mem="3g")
    settings = load(project, PAI_SDK_IMAGE="from-environment")
    assert settings.get("image") == "from-environment"
    assert settings.get("mem") == "3g"
    assert settings.get("cpu") == 3


def test_each_value_tells_where_it_comes_from(places: Any) -> None:
    home, project = places
    home_file, project_file = write(home, cpu=2), write(project, gpu=1)
    found = {item["name"]: item for item in load(project, PAI_SDK_CLUSTER_ALIAS="prod").describe()}
    assert found["cluster-alias"] == {
        "name": "cluster-alias",
        "value": "prod",
        "origin": "PAI_SDK_CLUSTER_ALIAS",
    }
    assert found["cpu"]["origin"] == str(home_file)
    assert found["gpu"]["origin"] == str(project_file)
    assert found["image"]["origin"] == "built-in"
    assert found["workspace"]["value"] == "/user/<user>"
    assert "user" not in found


def test_the_project_is_searched_upward_to_the_git_root(places: Any) -> None:
    _, project = places
    write(project, cpu=5)
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    assert load(inner).get("cpu") == 5
    (inner / ".git").mkdir()
    assert load(inner).get("cpu") == 1
    assert load(inner).project_folder() == str(inner / ".openpai")


def test_the_homes_folder_is_not_a_project(places: Any) -> None:
    home, project = places
    write(home, cpu=7)
    settings = load(project)
    assert settings.get("cpu") == 7
    assert settings.project_folder() == str(project / ".openpai")


def test_the_home_of_settings_can_be_moved(
    places: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "elsewhere", cpu=9)
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path / "elsewhere" / ".openpai"))
    assert load(places[1]).get("cpu") == 9


def test_a_folder_of_another_user_is_skipped_and_said(places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(places[1], cpu=5)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    settings = load(places[1])
    assert settings.get("cpu") == 1
    assert any("another user" in warning for warning in settings.warnings)
    with pytest.raises(ConfigError, match="another user"):
        settings.set({"cpu": 2})


def test_values_are_written_to_the_project_or_everywhere(places: Any) -> None:
    home, project = places
    settings = load(project)
    written = settings.set({"cpu": "2", "sdk-install": "off"})
    path = project / ".openpai" / "defaults.json"
    assert json.loads(path.read_text()) == {"cpu": 2, "sdk-install": False}
    assert written[0] == {"name": "cpu", "value": 2, "origin": str(path)}
    settings.set({"gpu": 1}, everywhere=True)
    assert json.loads((home / ".openpai" / "defaults.json").read_text()) == {"gpu": 1}
    assert (settings.get("cpu"), settings.get("gpu"), settings.get("sdk-install")) == (2, 1, False)


def test_a_removed_value_is_no_longer_set(places: Any) -> None:
    settings = load(places[1])
    settings.set({"cpu": 2, "gpu": 1})
    settings.remove("cpu")
    assert settings.get("cpu") == 1
    assert load(places[1]).get("gpu") == 1


def test_removing_what_is_set_elsewhere_says_where(places: Any) -> None:
    path = write(places[0], cpu=3)
    with pytest.raises(ConfigError) as caught:
        load(places[1]).remove("cpu")
    assert str(path) in str(caught.value.hint)


def test_an_unknown_name_is_refused_with_the_nearest(places: Any) -> None:
    settings = load(places[1])
    for call in (
        lambda: settings.get("imgae"),
        lambda: settings.set({"imgae": "x"}),
        lambda: settings.remove("imgae"),
    ):
        with pytest.raises(UnknownSettingError, match="did you mean 'image'"):
            call()
    assert not (places[1] / ".openpai").exists()


def test_an_unknown_name_in_a_file_is_a_warning(places: Any) -> None:
    write(places[1], imgae="x", cpu=2)
    settings = load(places[1])
    assert settings.get("cpu") == 2
    assert any("'imgae'" in warning and "'image'" in warning for warning in settings.warnings)


def test_unknown_and_empty_variables_are_ignored(places: Any) -> None:
    settings = load(places[1], PAI_SDK_JOB_WORKSPACE="webhdfs://x", PAI_SDK_CPU="")
    assert settings.get("cpu") == 1
    assert settings.warnings == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpu", "0"),
        ("cpu", "two"),
        ("cpu", True),
        ("gpu", -1),
        ("mem", "lots"),
        ("format", "xml"),
        ("sdk-install", "perhaps"),
        ("image", ""),
        ("image", ["a"]),
        ("workspace", "user/alice"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(places: Any, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"setting '{name}'"):
        load(places[1]).set({name: value})


def test_a_senseless_value_names_its_origin_when_it_is_used(places: Any) -> None:
    settings = load(places[1], PAI_SDK_CPU="many")
    with pytest.raises(ConfigError, match="PAI_SDK_CPU"):
        settings.get("cpu")


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_file_is_named(places: Any, content: str) -> None:
    path = write(places[1])
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"defaults\.json"):
        load(places[1])


def test_a_project_that_is_a_link_to_anothers_folder_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module._is_ours(str(tmp_path / "missing"))
    assert module._is_ours(str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not module._is_ours(str(tmp_path))
