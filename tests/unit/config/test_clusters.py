# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from openpaisdk.config.clusters import ClusterBook
from openpaisdk.errors import ConfigError, UnknownClusterError

PROD = {"pai_uri": "http://pai.example", "user": "alice", "passwd": "hunter2"}

EARLIER = """
- cluster_alias: old
  pai_uri: http://old.example
  user: bob
  password: hunter3
  token: null
  storages:
    builtin:
      protocol: hdfs
      uri: http://old.example
      ports: {webhdfs: 50070}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path))
    return tmp_path


def write(home: Path, value: Any, mode: int = 0o600) -> Path:
    path = home / "clusters.json"
    path.write_text(json.dumps(value))
    path.chmod(mode)
    return path


def test_without_a_file_there_is_only_local(home: Path) -> None:
    book = ClusterBook.load()
    assert book.aliases() == ["local"]
    assert book.get("local") == {}
    assert book.choose(None) == "local"


def test_clusters_are_read_by_alias(home: Path) -> None:
    write(home, {"prod": PROD})
    book = ClusterBook.load()
    assert book.aliases() == ["prod", "local"]
    assert book.get("prod") == PROD
    assert book.warnings == []


def test_a_file_that_others_can_read_is_reported(home: Path) -> None:
    write(home, {"prod": PROD}, 0o644)
    assert "0644" in ClusterBook.load().warnings[0]


def test_the_list_of_the_earlier_sdk_is_read_too(home: Path) -> None:
    (home / "clusters.yaml").write_text(EARLIER)
    entry = ClusterBook.load().get("old")
    assert (entry["user"], entry["passwd"]) == ("bob", "hunter3")
    assert entry["hdfs_web_uri"] == "http://old.example:50070"
    assert "token" not in entry


def test_a_yaml_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(EARLIER)
    assert ClusterBook.load(str(path)).defined() == ["old"]


def test_the_json_file_wins_over_the_yaml_file(home: Path) -> None:
    (home / "clusters.yaml").write_text(EARLIER)
    write(home, {"old": PROD})
    assert ClusterBook.load().get("old") == PROD


def test_a_path_without_an_alias_needs_a_single_cluster(home: Path) -> None:
    write(home, {"prod": PROD})
    assert ClusterBook.load().choose(None) == "prod"
    write(home, {"prod": PROD, "test": PROD})
    with pytest.raises(ConfigError, match="several clusters"):
        ClusterBook.load().choose(None)


def test_an_unknown_alias_is_refused_with_the_nearest(home: Path) -> None:
    write(home, {"prod": PROD})
    with pytest.raises(UnknownClusterError) as caught:
        ClusterBook.load().get("prdo")
    assert "'prod'" in str(caught.value.hint)


def test_a_cluster_is_added_to_a_file_for_its_owner_only(home: Path) -> None:
    ClusterBook.load().add("prod", {**PROD, "token": None})
    path = home / "clusters.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"prod": PROD}


def test_an_alias_is_not_taken_twice_unless_told(home: Path) -> None:
    book = ClusterBook.load()
    book.add("prod", PROD)
    with pytest.raises(ConfigError, match="already"):
        book.add("prod", {})
    book.add("prod", {"pai_uri": "http://new.example"}, replace=True)
    assert ClusterBook.load().get("prod") == {"pai_uri": "http://new.example"}


@pytest.mark.parametrize("alias", ["", " a", "a/b", "-a"])
def test_an_alias_that_cannot_be_typed_is_refused(home: Path, alias: str) -> None:
    with pytest.raises(ConfigError, match="cannot be an alias"):
        ClusterBook.load().add(alias, PROD)


def test_local_can_be_redefined(home: Path) -> None:
    book = ClusterBook.load()
    book.add("local", PROD)
    assert ClusterBook.load().get("local") == PROD
    assert book.aliases() == ["local"]


def test_an_entry_is_changed_key_by_key(home: Path) -> None:
    book = ClusterBook.load()
    book.add("prod", PROD)
    entry = book.update("prod", {"passwd": None, "token": "t"})
    assert entry == {"pai_uri": "http://pai.example", "user": "alice", "token": "t"}


def test_a_change_to_an_earlier_entry_is_kept_in_the_json_file(home: Path) -> None:
    (home / "clusters.yaml").write_text(EARLIER)
    ClusterBook.load().update("old", {"token": "t"})
    entry = ClusterBook.load().get("old")
    assert (entry["token"], entry["user"]) == ("t", "bob")
    assert (home / "clusters.yaml").read_text() == EARLIER


def test_a_cluster_is_forgotten(home: Path) -> None:
    book = ClusterBook.load()
    book.add("prod", PROD)
    book.remove("prod")
    assert ClusterBook.load().aliases() == ["local"]
    with pytest.raises(UnknownClusterError):
        book.remove("prod")


def test_the_file_of_the_earlier_sdk_is_not_written_to(home: Path) -> None:
    (home / "clusters.yaml").write_text(EARLIER)
    with pytest.raises(ConfigError, match=r"clusters\.yaml"):
        ClusterBook.load().remove("old")


def test_secrets_are_masked_wherever_they_stand(home: Path) -> None:
    storages = {"s": {"uri": "http://h", "secret_key": "hunter5"}}
    write(home, {"prod": {**PROD, "token": "hunter4", "storages": storages}})
    book = ClusterBook.load()
    shown = book.masked()
    assert shown[0]["alias"] == "prod"
    assert (shown[0]["passwd"], shown[0]["token"]) == ("***", "***")
    assert "hunter" not in repr(shown) + repr(book)
    assert shown[1]["alias"] == "local"


@pytest.mark.parametrize("value", [[{"user": "x"}], {"prod": "http://x"}, "text", [1]])
def test_what_does_not_hold_clusters_is_refused(home: Path, value: Any) -> None:
    write(home, value)
    with pytest.raises(ConfigError, match="does not hold clusters"):
        ClusterBook.load()


def test_damaged_yaml_is_named_with_its_line(home: Path) -> None:
    (home / "clusters.yaml").write_text("- a: 1\n  b: [\n")
    with pytest.raises(ConfigError, match=r"clusters\.yaml.*line"):
        ClusterBook.load()


@pytest.mark.parametrize(
    ("storage", "uri"),
    [
        ({"protocol": "hdfs", "uri": "http://h", "ports": {"webHDFS": "/webhdfs"}}, "http://h/webhdfs"),
        ({"protocol": "webHDFS", "uri": "http://h:50070"}, "http://h:50070"),
        ({"protocol": "hdfs", "uri": "http://h:1", "ports": {"native": 9000}}, "http://h:1"),
        ({"protocol": "nfs", "uri": "http://h"}, None),
        ({"protocol": "hdfs", "uri": "hdfs://h:9000"}, None),
        (None, None),
    ],
)
def test_the_builtin_storage_of_the_earlier_sdk_gives_the_web_address(
    home: Path, storage: Any, uri: Any
) -> None:
    write(home, [{"cluster_alias": "old", "pai_uri": "http://old", "storages": {"builtin": storage}}])
    assert ClusterBook.load().get("old").get("hdfs_web_uri") == uri
